//! Log lines.

use serde::{Deserialize, Serialize};

use super::words;
use crate::base::{AttemptId, Timestamp};

words! {
    /// How much a line matters.
    LogLevel {
        /// For who looks closely.
        Debug = "debug",
        /// The normal course.
        Info = "info",
        /// Something to look at.
        Warn = "warn",
        /// Something failed.
        Error = "error",
    }
}

words! {
    /// Where a line came from.
    LogStream {
        /// The `log` interface.
        Log = "log",
        /// Standard output.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
        /// The host, about the attempt.
        Host = "host",
    }
}

/// One line of an attempt's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub t: Timestamp,
    /// The attempt.
    pub attempt: AttemptId,
    /// 1, 2, 3, … within the attempt.
    pub n: u64,
    /// How much it matters.
    pub level: LogLevel,
    /// Where it came from.
    pub stream: LogStream,
    /// One line, masked; control characters are escaped.
    pub text: String,
    /// Names and values that belong to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(String, String)>,
}

/// A place in a log. Only the log store that made it knows what its two numbers mean; for everybody
/// else it is a value that grows with the log. The default is before everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogPosition(u64, u64);

impl LogPosition {
    /// The position of these numbers; the first counts more.
    #[must_use]
    pub fn from_parts(parts: (u64, u64)) -> Self {
        Self(parts.0, parts.1)
    }

    /// Its numbers: for the log store that made it, and for a store that keeps it.
    #[must_use]
    pub fn parts(self) -> (u64, u64) {
        (self.0, self.1)
    }
}

/// The part of a log in which the lines of an attempt lie, among those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    /// Where the log ended before the attempt started.
    pub from: LogPosition,
    /// Where it ended when the attempt had; `None` while it is active.
    pub to: Option<LogPosition>,
}
