//! Opens a log: the only place that knows every kind.

use std::path::Path;
use std::sync::Arc;

use super::LogStore;
use super::segments::SegmentLog;
use crate::store::Result;

/// Opens the log of the pipeline whose state is in the folder `state`, for appending; makes it if
/// there is none. [`LogStore::trim`] keeps it at about `max_bytes`.
///
/// # Errors
/// When it cannot be read or written.
pub fn open(state: &Path, max_bytes: u64) -> Result<Arc<dyn LogStore>> {
    Ok(Arc::new(SegmentLog::open(&state.join(FOLDER), max_bytes)?))
}

/// Opens the log of the pipeline whose state is in the folder `state`, for reading while a host may
/// append to it.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn open_read_only(state: &Path) -> Result<Arc<dyn LogStore>> {
    Ok(Arc::new(SegmentLog::open_read_only(&state.join(FOLDER))?))
}

/// The folder of the segments in the state folder.
pub(in crate::store) const FOLDER: &str = "logs";
