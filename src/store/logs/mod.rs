//! Log lines of attempts.
//!
//! They are apart from the metadata store, because there are many more bytes of them than of everything else, nobody asks for them by anything but
//! their attempt, and none is worth a transaction. The record of an attempt says between which positions of the log its lines lie.

mod segment;
mod segments;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::Result;
use crate::base::AttemptId;
use crate::model::{LogLine, LogPosition, Page};

use segments::SegmentLog;

/// Where log lines are kept. Methods that are not `async` may block for as long as a disk does: they are called by threads that
/// may wait. A kind on another machine answers them from a bounded spool on this one.
#[async_trait]
pub trait LogStore: Send + Sync + std::fmt::Debug {
    /// Where the next line goes. Opened for reading only: the end of what is there. Positions grow; only the store that made one knows what it means.
    fn end(&self) -> LogPosition;

    /// Appends lines, all or none, and returns how many bytes they took. Lines whose append has returned survive the death of the process.
    ///
    /// # Errors
    /// When they could not be written (none of them is there), or the log was opened for reading only.
    fn append(&self, lines: &[LogLine]) -> Result<u64>;

    /// Lines of `attempt` between two positions, oldest first; `cursor` is `next_cursor` of the page before. With `to` absent, up to the end.
    /// `next_cursor` is absent only when `to` is given and reached; else it says where to look for more. A page may be empty and have a
    /// `next_cursor`: then many lines of other attempts lie there.
    ///
    /// # Errors
    /// [`StoreError::Invalid`](super::StoreError::Invalid) if the cursor is not one of this log.
    fn read(
        &self,
        attempt: AttemptId,
        from: LogPosition,
        to: Option<LogPosition>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<LogLine>>;

    /// Waits until what is appended would not be found again (removed or replaced by someone), and says what was lost, and how.
    async fn lost(&self) -> String;
}

/// Opens the log of the pipeline whose state lies in the folder `state`, for appending; makes it if there is none.
///
/// # Errors
/// When it can not be read or written.
pub fn open(state: &Path) -> Result<Arc<dyn LogStore>> {
    Ok(Arc::new(SegmentLog::open(&state.join(FOLDER))?))
}

/// Opens the log of the pipeline whose state lies in the folder `state`, for reading beside a host that appends to it.
///
/// # Errors
/// When there is none, or it can not be read.
pub fn open_read_only(state: &Path) -> Result<Arc<dyn LogStore>> {
    Ok(Arc::new(SegmentLog::open_read_only(&state.join(FOLDER))?))
}

/// The folder of the segments in the state folder.
const FOLDER: &str = "logs";

#[cfg(test)]
mod tests;
