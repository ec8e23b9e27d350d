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
/// the last line. Of an error of the host with several lines it is the first one: the others are
/// details.
pub(super) fn telling(lines: &[LogLine]) -> Option<u64> {
    let Some(last) = lines.iter().rposition(|line| line.level == LogLevel::Error) else {
        return lines.last().map(|line| line.n);
    };
    let of_host = |line: &&LogLine| line.level == LogLevel::Error && line.stream == LogStream::Host;
    let errors = lines.get(..=last)?;
    errors.iter().rev().take_while(of_host).last().or_else(|| errors.last()).map(|line| line.n)
}

#[cfg(test)]
mod tests {
    use super::telling;
    use crate::base::{AttemptId, Timestamp};
    use crate::model::{LogLevel, LogLine, LogStream};

    #[test]
    fn the_line_that_tells_is_the_last_error_and_the_first_line_of_one_of_the_host() {
        let (t, attempt) = (Timestamp::from_micros(0), AttemptId::new());
        let lines = |all: &[(LogLevel, LogStream)]| -> Vec<LogLine> {
            let line = |(n, (level, stream)): (u64, &(LogLevel, LogStream))| LogLine {
                t,
                attempt,
                n,
                level: *level,
                stream: *stream,
                text: "x".to_owned(),
                fields: vec![],
            };
            (1..).zip(all).map(line).collect()
        };
        let (info, error) = ((LogLevel::Info, LogStream::Log), (LogLevel::Error, LogStream::Log));
        let (host, note) = ((LogLevel::Error, LogStream::Host), (LogLevel::Info, LogStream::Host));
        for (all, told) in [
            (&[info, error, error, info][..], Some(3)),
            (&[info, error, host, host, host], Some(3)),
            (&[host, note, host, host, info], Some(3)),
            (&[info, info], Some(2)),
            (&[], None),
        ] {
            assert_eq!(telling(&lines(all)), told, "{all:?}");
        }
    }
}
