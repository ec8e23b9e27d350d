//! The write-ahead log is bounded, and its space is given back.
//!
//! SQLite copies the log into the database when it has [`CHECKPOINT_PAGES`], and the next write
//! begins the file anew. Another program that stays in a read transaction prevents that, and the
//! log grows for as long as it stays. Once it has gone, the next write begins the file anew, and
//! `journal_size_limit` cuts it to [`KEPT_BYTES`]. If no write follows, the idle writer does the
//! same.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

/// How long a connection waits for another program that has the database locked. This process needs
/// no such wait: it has one writer.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// From how many pages on SQLite copies the log into the database. A checkpoint syncs: with 32 MiB
/// between two it is rare.
pub(super) const CHECKPOINT_PAGES: u32 = 8_192;
/// How large the file may stay. Twice what a checkpoint needs, so that it is not cut and extended
/// again all the time.
pub(super) const KEPT_BYTES: u64 = 64 << 20;
/// How often an idle writer tries to give space back, while there is some to give.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// How long the writer waits for a job before it calls [`give_back`]; `None`, forever, if the log
/// is as small as it should be.
pub(super) fn patience(db: &Connection) -> Option<Duration> {
    let length = |path: &str| std::fs::metadata(Path::new(&format!("{path}-wal"))).map_or(0, |file| file.len());
    db.path().is_some_and(|path| length(path) > KEPT_BYTES).then_some(TRY_EVERY)
}

/// Copies the log into the database, and cuts the file. Does nothing while another program reads:
/// it is tried again.
pub(super) fn give_back(db: &Connection) {
    // Waiting for the other program would make jobs wait too. If this fails, the log stays as it
    // is.
    let _ = db.busy_timeout(Duration::ZERO);
    if let Err(error) = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        tracing::warn!("failed to give back the space of the metadata store's write-ahead log: {error}");
    }
    let _ = db.busy_timeout(BUSY_TIMEOUT);
}
