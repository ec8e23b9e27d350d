//! Splits the terminal output of a program into lines.
//!
//! A progress bar redraws the same line: it writes `\r`, which moves the cursor to the start of the
//! line, and writes `\n` only when it is done. A log is not a terminal, so a line is the text after
//! the last `\r`. Earlier drawings are dropped, except one every ten seconds, so a bar that runs
//! for an hour shows its progress in the log without filling it.

use std::time::Duration;

/// How often a line that is being redrawn is logged.
const REDRAW_INTERVAL: Duration = Duration::from_secs(10);

/// Sequences that clear the rest of a line, or all of it. Progress bars write them before or after
/// `\r`.
const CLEAR: [&[u8]; 3] = [b"\x1b[2K", b"\x1b[0K", b"\x1b[K"];

/// Splits a stream of bytes into lines.
#[derive(Debug)]
pub(super) struct Lines {
    /// Maximum number of bytes of a line that are kept. The rest is dropped.
    window: usize,
    line: Vec<u8>,
    /// Whether the last byte was `\r`. The following text overwrites the line, unless it is `\n`.
    returned: bool,
    /// Whether this line was redrawn.
    redrawn: bool,
    /// When a redrawn line was last logged.
    kept_at: Duration,
}

impl Lines {
    /// Creates a splitter without content.
    pub(super) fn new(window: usize) -> Self {
        Self { window, line: Vec::new(), returned: false, redrawn: false, kept_at: Duration::ZERO }
    }

    /// Adds bytes that are written at `now`, the time since the program started, and passes
    /// complete lines to `emit`.
    pub(super) fn take<E>(
        &mut self,
        bytes: &[u8],
        now: Duration,
        mut emit: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for part in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let text = part.strip_suffix(b"\n").or_else(|| part.strip_suffix(b"\r")).unwrap_or(part);
            if self.returned && !text.is_empty() {
                self.draw_over(now, &mut emit)?;
            }
            let room = self.window.saturating_sub(self.line.len());
            self.line.extend_from_slice(text.get(..room).unwrap_or(text));
            match part.last() {
                Some(b'\n') => {
                    let line = self.end_line();
                    emit(&line)?;
                }
                Some(b'\r') => self.returned = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the text after the last newline, if there is any.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        let line = self.end_line();
        (!line.is_empty()).then_some(line)
    }

    fn draw_over<E>(&mut self, now: Duration, emit: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let due = now.saturating_sub(self.kept_at) >= REDRAW_INTERVAL;
        let line = self.end_line();
        self.redrawn = true;
        if due && !line.is_empty() {
            self.kept_at = now;
            emit(&line)?;
        }
        Ok(())
    }

    fn end_line(&mut self) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.redrawn) {
            line = without_clears(&line);
            // A short drawing is padded with spaces to cover a longer one.
            line.truncate(line.trim_ascii_end().len());
        }
        self.returned = false;
        line
    }
}

fn without_clears(line: &[u8]) -> Vec<u8> {
    let (mut kept, mut rest) = (Vec::with_capacity(line.len()), line);
    while let Some((first, after)) = rest.split_first() {
        if let Some(after_clear) = CLEAR.iter().find_map(|clear| rest.strip_prefix(*clear)) {
            rest = after_clear;
        } else {
            kept.push(*first);
            rest = after;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that result from writing these parts, each this many seconds after the start.
    fn lines(parts: &[(u64, &str)]) -> Vec<String> {
        let (mut lines, mut said) = (Lines::new(40), Vec::new());
        for (at, part) in parts {
            let taken = lines.take(part.as_bytes(), Duration::from_secs(*at), |line| {
                said.push(String::from_utf8_lossy(line).into_owned());
                Ok::<(), ()>(())
            });
            assert!(taken.is_ok());
        }
        said.extend(lines.finish().map(|line| String::from_utf8_lossy(&line).into_owned()));
        said
    }

    #[test]
    fn a_progress_bar_is_kept_as_its_last_state() {
        // As tqdm, pip and cargo write it.
        assert_eq!(
            lines(&[(0, "\r  0%|    |"), (1, "\r 50%|##  |"), (2, "\r100%|####|\nafter\n")]),
            ["100%|####|", "after"]
        );
        assert_eq!(lines(&[(0, "10%\r\x1b[K20%\r\x1b[2Kdone    \n")]), ["done"]);
        assert_eq!(lines(&[(0, "Building 1/3\rBuilding 3/3\r            \rFinished")]), ["Finished"]);
        assert_eq!(lines(&[(0, "50%\r100%\r")]), ["100%"], "a carriage return at the end discards nothing");
    }

    #[test]
    fn crlf_ends_a_line() {
        assert_eq!(lines(&[(0, "one\r\n\r\ntwo\r"), (0, "\nthree \n")]), ["one", "", "two", "three "]);
        assert_eq!(lines(&[(0, "one\r\r\n")]), ["one"]);
    }

    #[test]
    fn a_long_running_progress_bar_is_sampled() {
        let drawings: Vec<(u64, String)> = (0..=35).map(|second| (second, format!("\rat {second}"))).collect();
        let parts: Vec<(u64, &str)> = drawings.iter().map(|(at, text)| (*at, text.as_str())).collect();
        assert_eq!(lines(&parts), ["at 9", "at 19", "at 29", "at 35"]);
    }

    #[test]
    fn the_kept_length_of_a_line_is_bounded() {
        let long = "x".repeat(100);
        assert_eq!(lines(&[(0, &long), (0, &long), (0, "\n")]), ["x".repeat(40)]);
        let bars = format!("\r{long}").repeat(10_000);
        assert_eq!(lines(&[(0, &bars)]), ["x".repeat(40)]);
    }
}
