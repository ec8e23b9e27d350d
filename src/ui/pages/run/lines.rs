//! Log lines as a page shows them.

use serde::Serialize;

use crate::model::{LogLevel, LogLine, LogStream};
use crate::ui::ansi::{self, Piece};

/// A line.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    n: u64,
    /// The time in full, and without its date.
    time: (String, String),
    level: &'static str,
    /// Where it came from, if not from the `log` interface.
    stream: Option<&'static str>,
    pieces: Vec<Piece>,
    fields: Vec<(String, String)>,
    /// The address of the line.
    href: String,
    /// Whether it is the one that a search or the head leads to.
    marked: bool,
}

impl Line {
    /// Converts a line that is on the page `page`.
    pub(super) fn of(line: &LogLine, page: &str, marked: bool) -> Self {
        let full = line.t.to_string();
        let short = full.get(11..23).unwrap_or_default().to_owned();
        Self {
            n: line.n,
            time: (full, short),
            level: line.level.as_str(),
            stream: (line.stream != LogStream::Log).then_some(line.stream.as_str()),
            pieces: ansi::pieces(&line.text),
            fields: line.fields.clone(),
            href: format!("{page}#L{}", line.n),
            marked,
        }
    }
}

/// Returns the number of the line that most likely says why an attempt failed: the last error, or
/// the last line.
pub(super) fn telling(lines: &[LogLine]) -> Option<u64> {
    let error = lines.iter().rfind(|line| line.level == LogLevel::Error);
    error.or_else(|| lines.last()).map(|line| line.n)
}
