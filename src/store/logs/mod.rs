//! Log lines: append-only segments of JSON lines.

use std::path::Path;

use crate::base::AttemptId;
use crate::model::{LogLine, LogPosition, Page};

use super::{Result, StoreError};

/// The log segments of a pipeline.
#[derive(Debug)]
pub struct LogBook {}

impl LogBook {
    /// Opens the segments in `folder` for appending; makes the folder if need be; cuts the last segment at its last whole line.
    pub fn open(_folder: &Path) -> Result<Self> {
        Err(StoreError::Corrupt("not built yet".to_owned()))
    }

    /// Opens the segments for reading only, beside a host that writes them.
    pub fn open_read_only(_folder: &Path) -> Result<Self> {
        Err(StoreError::Corrupt("not built yet".to_owned()))
    }

    /// Where the next line goes.
    pub fn end(&self) -> LogPosition {
        LogPosition::default()
    }

    /// Appends lines (one write), and returns how many bytes they took.
    pub fn append(&self, _lines: &[LogLine]) -> Result<u64> {
        Ok(0)
    }

    /// Lines of `attempt` between two positions, oldest first; `cursor` is `next_cursor` of the page before. With `to` absent, up to the end.
    /// `next_cursor` is absent only when `to` is given and reached; else it is where to look for more.
    pub fn read(
        &self,
        _attempt: AttemptId,
        _from: LogPosition,
        _to: Option<LogPosition>,
        _cursor: Option<&str>,
        _limit: u32,
    ) -> Result<Page<LogLine>> {
        Err(StoreError::Corrupt("not built yet".to_owned()))
    }
}
