//! Log lines.

use serde::{Deserialize, Serialize};

use super::string_enum;
use crate::base::{AttemptId, Timestamp};

string_enum! {
    /// The level of a line.
    LogLevel {
        /// Details for debugging.
        Debug = "debug",
        /// Normal operation.
        Info = "info",
        /// A possible problem.
        Warn = "warn",
        /// A failure.
        Error = "error",
    }
}

string_enum! {
    /// The source of a line.
    LogStream {
        /// The `log` interface.
        Log = "log",
        /// Standard output.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
        /// The host, with a message about the attempt.
        Host = "host",
    }
}

/// One line of an attempt's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Time of the line.
    pub t: Timestamp,
    /// The attempt.
    pub attempt: AttemptId,
    /// Line number within the attempt, from 1.
    pub n: u64,
    /// Its level.
    pub level: LogLevel,
    /// Its source.
    pub stream: LogStream,
    /// One line, with secrets masked and control characters escaped.
    pub text: String,
    /// Structured fields of the line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(String, String)>,
}

/// A position in a log. Only the log store that created it interprets its two numbers; to all other
/// code it is a value that grows with the log. The default is before all lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogPosition(u64, u64);

impl LogPosition {
    /// Creates a position. The first number is the more significant one.
    #[must_use]
    pub fn from_parts(parts: (u64, u64)) -> Self {
        Self(parts.0, parts.1)
    }

    /// Returns its numbers, for the log store that created it and for a store that records it.
    #[must_use]
    pub fn parts(self) -> (u64, u64) {
        (self.0, self.1)
    }
}

/// The part of a log that has the lines of an attempt, mixed with those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    /// End of the log before the attempt started.
    pub from: LogPosition,
    /// End of the log when the attempt ended; `None` while it is active.
    pub to: Option<LogPosition>,
}
