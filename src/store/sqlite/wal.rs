//! Keeps the write-ahead log small, frees its disk space, and warns people if it grows.
//!
//! SQLite copies the log into the database when it has [`CHECKPOINT_PAGES`], and the next write
//! restarts the file. Another program that stays in a read transaction prevents that, and the log
//! grows for as long as it stays. Only refusing writes would bound it, so instead people are warned
//! from [`WARN_BYTES`] on. Once that program has gone, the next write restarts the file, and
//! `journal_size_limit` cuts it to [`KEPT_BYTES`]. If no write follows, the idle writer does the
//! same.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use crate::base::ByteSize;

/// How long a connection waits for another program that has the database locked. This process needs
/// no such wait: it has one writer.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The number of pages at which SQLite copies the log into the database. A checkpoint syncs; with
/// 32 MiB between two, it is rare.
pub(super) const CHECKPOINT_PAGES: u32 = 8_192;
/// How large the file may stay. Twice what a checkpoint needs, so that it is not cut and extended
/// again all the time.
pub(super) const KEPT_BYTES: u64 = 64 << 20;
/// The size of the file from which on people are warned.
const WARN_BYTES: u64 = 256 << 20;
/// How often an idle writer tries to free space, while there is some to free.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// The file of the log. Clones share what they know about its size.
#[derive(Debug, Clone)]
pub(super) struct Log {
    database: PathBuf,
    file: PathBuf,
    /// The size of the file while people should know about it, otherwise 0.
    too_large: Arc<AtomicU64>,
}

impl Log {
    /// The log `file` of a database.
    pub(super) fn new(database: PathBuf, file: PathBuf) -> Self {
        Self { database, file, too_large: Arc::default() }
    }

    /// Looks at the file. Returns how long the writer waits for a job before it calls
    /// [`give_back`]; `None`, forever, if the file is as small as it should be.
    pub(super) fn patience(&self) -> Option<Duration> {
        let bytes = std::fs::metadata(&self.file).map_or(0, |file| file.len());
        self.note(bytes);
        (bytes > KEPT_BYTES).then_some(TRY_EVERY)
    }

    /// Notes the size of the file, and logs once that it is too large.
    fn note(&self, bytes: u64) {
        let before = self.too_large.load(Ordering::Relaxed);
        if bytes >= WARN_BYTES || (before > 0 && bytes > KEPT_BYTES) {
            self.too_large.store(bytes, Ordering::Relaxed);
        } else if before > 0 {
            self.too_large.store(0, Ordering::Relaxed);
            tracing::info!("the write-ahead log of the metadata store is small again");
        }
        if before == 0
            && let Some(warning) = self.warning()
        {
            tracing::warn!("{warning}");
        }
    }

    /// Returns the warning about the size of the file, if it is too large.
    pub(super) fn warning(&self) -> Option<String> {
        let bytes = self.too_large.load(Ordering::Relaxed);
        let (size, database) = (ByteSize(bytes), self.database.display());
        (bytes > 0).then(|| {
            format!(
                "the write-ahead log of the metadata store takes {size} and grows with each write, probably because another \
                 program stays in a transaction that reads {database}: end that program, or its transaction, and the \
                 host frees the space"
            )
        })
    }
}

/// Copies the log into the database, and cuts the file. Does nothing while another program reads;
/// the writer tries again later.
pub(super) fn give_back(db: &Connection) {
    // Waiting for the other program would make jobs wait too. If this fails, the log stays as it
    // is.
    let _ = db.busy_timeout(Duration::ZERO);
    if let Err(error) = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        tracing::warn!("failed to give back the space of the metadata store's write-ahead log: {error}");
    }
    let _ = db.busy_timeout(BUSY_TIMEOUT);
}
