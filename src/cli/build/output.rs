//! Formats the output of a failed build: with its colours, from the first line with an error on,
//! and bounded in length.

use std::fmt::Write as _;

use crate::cli::show::plain;

/// Most lines that are shown.
const MAX_LINES: usize = 100;
/// How many of these are the last ones, in which tools print their summary.
const LAST_LINES: usize = 5;
/// Most characters of a line.
const MAX_LINE: usize = 1_000;

/// Returns the part of a build's output that shows what went wrong.
pub(crate) fn shown(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    // Text that a progress line has overwritten is not shown.
    let lines: Vec<&str> =
        text.lines().map(|line| line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or("")).collect();
    let mut shown = String::new();
    let mut say = |lines: &[&str]| {
        for line in lines {
            let _ = writeln!(shown, "{}", coloured(line));
        }
    };
    if lines.len() <= MAX_LINES {
        say(&lines);
        return shown;
    }
    let complains = |line: &&str| anstream::adapter::strip_str(line).to_string().to_lowercase().contains("error");
    let last = lines.len() - LAST_LINES;
    let first = lines.iter().position(complains).unwrap_or(usize::MAX).min(lines.len() - MAX_LINES);
    let end = first + MAX_LINES - LAST_LINES;
    if first > 0 {
        say(&[&format!("… {first} lines before this")]);
    }
    say(lines.get(first..end).unwrap_or_default());
    if end < last {
        say(&[&format!("… {} lines left out", last - end)]);
    }
    say(lines.get(last..).unwrap_or_default());
    shown
}

/// A line with its colours, and without other control sequences.
fn coloured(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    let mut is_coloured = false;
    while let Some(at) = rest.find('\u{1b}') {
        let (before, sequence) = rest.split_at(at);
        text.push_str(&visible(before));
        let length = sequence_length(sequence);
        let (sequence, after) = sequence.split_at(length);
        let parameters = sequence.strip_prefix("\u{1b}[").and_then(|rest| rest.strip_suffix('m'));
        if parameters.is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b';' || byte == b':'))
        {
            text.push_str(sequence);
            is_coloured = true;
        }
        rest = after;
    }
    text.push_str(&visible(rest));
    if is_coloured {
        text.push_str("\u{1b}[0m");
    }
    text
}

/// Keeps tabs.
fn visible(text: &str) -> String {
    let cut: String = text.chars().take(MAX_LINE).collect();
    cut.split('\t').map(plain).collect::<Vec<_>>().join("\t")
}

/// Returns the length in bytes of the control sequence at the start of `text`: one with parameters
/// (CSI), one with a text that BEL or ST ends (OSC), or two characters.
fn sequence_length(text: &str) -> usize {
    let body = text.get(2..).unwrap_or_default();
    let length = match text.as_bytes().get(1) {
        Some(b'[') => body.find(|end: char| ('@'..='~').contains(&end)).map(|at| 2 + at + 1),
        Some(b']') => [("\u{7}", 1), ("\u{1b}\\", 2)]
            .iter()
            .filter_map(|(end, length)| body.find(end).map(|at| 2 + at + length))
            .min(),
        Some(next) if next.is_ascii() => Some(2),
        _ => Some(1),
    };
    length.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::{LAST_LINES, MAX_LINES, coloured, shown};

    #[test]
    fn colours_are_kept_and_other_escape_sequences_are_removed() {
        assert_eq!(coloured("\u{1b}[1;31merror\u{1b}[0m: no"), "\u{1b}[1;31merror\u{1b}[0m: no\u{1b}[0m");
        assert_eq!(coloured("a\u{1b}[2Jb\u{1b}]8;;http://x\u{1b}\\c\u{1b}]0;t\u{7}d\u{1b}ce\tf"), "abcde\tf");
        assert_eq!(coloured("a\u{1b}[31"), "a");
        assert_eq!(coloured("a\u{1b}"), "a");
        assert_eq!(coloured("a\u{1b}é\u{7}"), "aé\\u{7}");
        assert_eq!(coloured("a\u{1b}[3\u{7}m"), "a", "an invalid sequence does not become a colour");
    }

    #[test]
    fn long_output_is_shown_from_the_first_error() {
        assert_eq!(shown(b"one\r\rtwo\rthree\r\nfour\n"), "three\nfour\n");
        let lines = |count: usize| (0..count).map(|at| format!("line {at}\n")).collect::<Vec<_>>();
        assert_eq!(shown(lines(MAX_LINES).concat().as_bytes()).lines().count(), MAX_LINES);
        let mut many = lines(1_000);
        many[300] = "\u{1b}[31mError\u{1b}[0m: here\n".to_owned();
        let text = shown(many.concat().as_bytes());
        let text: Vec<&str> = text.lines().collect();
        assert_eq!(text.len(), MAX_LINES + 2);
        assert_eq!((text[0], text[2]), ("… 300 lines before this", "line 301"));
        assert_eq!(text[MAX_LINES + 1 - LAST_LINES], "… 600 lines left out");
        assert_eq!(*text.last().unwrap(), "line 999");
        let text = shown(lines(1_000).concat().as_bytes());
        assert!(text.starts_with("… 900 lines before this\nline 900\n") && text.ends_with("line 999\n"), "{text}");
    }
}
