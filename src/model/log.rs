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

/// A place in the log segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogPosition {
    /// The segment's number, from 1; 0 is before everything.
    pub segment: u64,
    /// The byte in it.
    pub offset: u64,
}
