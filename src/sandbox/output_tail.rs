//! The last output of a guest: what it wrote to standard error, or logged as an error, before it
//! trapped or exited with a nonzero code. A failing runtime (a panic in Rust or Go, an exception in
//! Python, `abort` in C) writes the reason and the place there, and then executes `unreachable` or
//! exits. The trap or the exit code alone shows neither.
//!
//! The end is kept, not the beginning, because a runtime writes its report last. The size is
//! bounded so that the frames of the trap fit next to it.

use std::collections::VecDeque;

use crate::base::bounds::cut;

/// Maximum number of lines that are kept.
const MAX_LINES: usize = 40;
/// Maximum length of a kept line, in bytes.
const MAX_LINE_BYTES: usize = 400;
/// Maximum total size, in bytes.
const MAX_BYTES: usize = 3 << 10;

/// The last lines, oldest first.
#[derive(Debug, Default)]
pub(super) struct OutputTail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl OutputTail {
    /// Adds a line, which is already masked and escaped, with its fields.
    pub(super) fn push(&mut self, line: &str, fields: &[(String, String)]) {
        let fields = fields.iter().map(|(name, value)| format!("  {name}={value}"));
        let line = cut(&fields.fold(line.to_owned(), |line, field| line + &field), MAX_LINE_BYTES).into_owned();
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
            self.bytes -= self.lines.pop_front().map_or(self.bytes, |oldest| oldest.len());
        }
    }

    /// Removes all lines, because they belong to the previous call.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns the lines, indented, without empty lines at the start and the end. Returns `None` if
    /// there are none.
    pub(super) fn text(&self) -> Option<String> {
        let said = |line: &&String| !line.trim().is_empty();
        let first = self.lines.iter().position(|line| said(&line))?;
        let after = self.lines.iter().rposition(|line| said(&line))? + 1;
        let lines = self.lines.range(first..after).map(|line| format!("    {line}").trim_end().to_owned());
        Some(lines.collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_kept_without_surrounding_empty_lines() {
        let mut tail = OutputTail::default();
        assert_eq!(tail.text(), None);
        for line in ["", "panic: no", "", "main.go:12", " "] {
            tail.push(line, &[]);
        }
        assert_eq!(tail.text().unwrap(), "    panic: no\n\n    main.go:12");
        tail.clear();
        assert_eq!(tail.text(), None);
        tail.push("panicked", &[("at".to_owned(), "lib.rs:1:2".to_owned())]);
        assert_eq!(tail.text().unwrap(), "    panicked  at=lib.rs:1:2");
    }

    #[test]
    fn the_tail_of_a_flood_is_bounded() {
        let mut tail = OutputTail::default();
        for number in 0..10_000 {
            tail.push(&format!("{number} {}", "x".repeat(number % 1_000)), &[]);
            let text = tail.text().unwrap();
            assert!(text.len() <= MAX_BYTES + MAX_LINES * 5, "{}", text.len());
        }
        assert!(tail.text().unwrap().contains("9999 x"));
        for number in 0..100 {
            tail.push(&number.to_string(), &[]);
        }
        assert_eq!(tail.text().unwrap().lines().count(), MAX_LINES);
    }
}
