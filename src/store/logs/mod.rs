//! Log lines of attempts.
//!
//! They are stored apart from the metadata store, because they have many more bytes than everything
//! else, are only read by attempt, and need no transactions. The record of an attempt says between
//! which positions of the log its lines lie.

mod backward;
mod copy;
mod open;
mod segment;
mod segments;

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::Result;
use crate::base::{AttemptId, Freed};
use crate::model::{LogLine, LogPosition, LogRange};

pub use copy::copy;
pub(super) use open::FOLDER;
pub use open::{open, open_read_only};

/// A page of the log of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPage {
    /// The lines, oldest first.
    pub items: Vec<LogLine>,
    /// The cursor of the next page; see [`LogStore::read`].
    pub next_cursor: Option<String>,
    /// Whether [`LogStore::trim`] has removed lines that belong before or between these. Also true
    /// if only lines of other attempts were removed there, because the log no longer knows whose
    /// they were.
    pub removed: bool,
}

/// The last lines of an attempt before a position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogTail {
    /// The lines, oldest first.
    pub items: Vec<LogLine>,
    /// The cursor with which [`LogStore::read`] begins with these lines, and before which
    /// [`LogStore::tail`] finds those before them.
    pub first: String,
    /// Whether there may be lines before them.
    pub earlier: bool,
    /// Whether [`LogStore::trim`] has removed lines that belong before or between these; see
    /// [`LogPage::removed`].
    pub removed: bool,
}

/// A store of log lines. Methods that are not `async` may block for as long as a disk does:
/// they are called by threads that may wait. A kind on another machine answers them from a bounded
/// spool on this one.
#[async_trait]
pub trait LogStore: Send + Sync + std::fmt::Debug {
    /// Returns the position of the next line; for a log that is opened for reading only, its end.
    /// Positions grow. Only the store that made a position can interpret it.
    fn end(&self) -> LogPosition;

    /// Appends lines, all or none, and returns how many bytes they took. Lines whose append has
    /// returned survive the death of the process.
    ///
    /// # Errors
    /// When they could not be written (none of them is there), or the log was opened for reading
    /// only.
    fn append(&self, lines: &[LogLine]) -> Result<u64>;

    /// Checks whether lines can be appended now, and leaves no trace: as many bytes are written as
    /// an attempt appends at once, and are taken back.
    ///
    /// # Errors
    /// As for [`LogStore::append`].
    fn probe(&self) -> Result<()>;

    /// Returns the lines of `attempt` in a range, oldest first; `cursor` is `next_cursor` of the
    /// page before. Without an end the range goes up to the end of the log. `next_cursor` is absent
    /// only when the end of the range is reached; else it says where to look for more. A page may
    /// be empty and have a `next_cursor`: then many lines of other attempts lie there.
    ///
    /// # Errors
    /// [`StoreError::Invalid`](super::StoreError::Invalid) if the cursor is not one of this log.
    fn read(&self, attempt: AttemptId, range: LogRange, cursor: Option<&str>, limit: u32) -> Result<LogPage>;

    /// Returns the last lines of `attempt` in a range, or those before a cursor in it, `limit` of
    /// them at most. The cost does not grow with the lines before them, unless those are lines of
    /// other attempts: a tail may be shorter than `limit`, and say that there may be more.
    ///
    /// # Errors
    /// [`StoreError::Invalid`](super::StoreError::Invalid) if the cursor is not one of this log.
    fn tail(&self, attempt: AttemptId, range: LogRange, before: Option<&str>, limit: u32) -> Result<LogTail>;

    /// Removes the oldest lines until the log is within its bound, and those that were written
    /// longer than `keep_for` ago, but none in the ranges that are `needed`, and not the newest.
    /// Lines go in groups: some that are up to a quarter older may stay. With `dry_run`, only
    /// returns what it would remove.
    ///
    /// # Errors
    /// When the log cannot be read, or was opened for reading only. A segment that cannot be
    /// removed stays.
    fn trim(&self, needed: &[LogRange], keep_for: Option<Duration>, dry_run: bool) -> Result<Freed>;

    /// Returns a number that changes whenever [`LogStore::trim`] could remove more.
    fn grown(&self) -> watch::Receiver<u64>;

    /// Waits until appended lines would be lost, because the log was removed or replaced, and
    /// returns what was lost, and how.
    async fn lost(&self) -> String;
}

#[cfg(test)]
mod tests;
