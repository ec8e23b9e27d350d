//! Hashes large files on other threads, so that small ones do not wait for them.
//!
//! At most one task hashes a path at a time, and events about the path are handled after it. So the
//! reports about a path are in order.

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::stable_read::{ReadOutcome, Settled, read_stable};
use super::tree::Root;
use super::unsupported::shown;
use crate::base::fault;

/// The most files that are hashed at once.
const AT_ONCE: usize = 2;
/// The most files that wait to be hashed; the next scan finds any others.
const MAX_QUEUED: usize = 16_384;
/// The number of bytes that are hashed between two checks for a waiting writer.
const PIECE: usize = 1 << 20;

/// A large file that was hashed.
#[derive(Debug)]
pub(super) struct Hashed {
    pub(super) path: OsString,
    pub(super) outcome: ReadOutcome,
    /// Whether an event about the file came since the job was queued.
    pub(super) touched: bool,
}

/// The hash jobs of large files.
#[derive(Debug, Default)]
pub(super) struct Hashing {
    tasks: JoinSet<(OsString, ReadOutcome)>,
    queue: VecDeque<(OsString, Settled)>,
    /// The paths in `tasks` or `queue`, and whether an event about each came since.
    paths: HashMap<OsString, bool>,
}

impl Hashing {
    /// Records an event about a path. Returns whether the path is being hashed or queued.
    pub(super) fn touch(&mut self, path: &OsStr) -> bool {
        self.paths.get_mut(path).map(|touched| *touched = true).is_some()
    }

    /// Returns whether a path is being hashed or queued.
    pub(super) fn has(&self, path: &OsStr) -> bool {
        self.paths.contains_key(path)
    }

    /// Returns the paths that are being hashed or queued.
    pub(super) fn paths(&self) -> impl Iterator<Item = &OsString> {
        self.paths.keys()
    }

    /// Queues a file. Returns `false` if there is no room.
    pub(super) fn push(&mut self, path: &OsStr, settled: Settled) -> bool {
        if self.queue.len() >= MAX_QUEUED {
            return false;
        }
        self.paths.insert(path.to_owned(), false);
        self.queue.push_back((path.to_owned(), settled));
        true
    }

    /// Starts queued jobs while there are free workers.
    pub(super) fn pump(&mut self, root: &Arc<Root>, stop: &CancellationToken) {
        while self.tasks.len() < AT_ONCE
            && let Some((path, settled)) = self.queue.pop_front()
        {
            let (root, stop) = (Arc::clone(root), stop.clone());
            self.tasks.spawn_blocking(move || {
                let job = || {
                    fault::panic_point("hash.panic");
                    read_stable(&root, &path, settled, &mut vec![0; PIECE], &stop)
                };
                // A panic must not lose the path, or the file would never be checked again. Nothing
                // that the job had is used afterwards.
                let outcome = catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|_| {
                    tracing::error!(path = %shown(&path), "hashing a file failed, which is a bug: it is tried again");
                    ReadOutcome::Busy
                });
                (path, outcome)
            });
        }
    }

    /// Waits for the next file that was hashed; forever if none is being hashed. Cancel safe.
    pub(super) async fn next(&mut self) -> Hashed {
        loop {
            match self.tasks.join_next().await {
                Some(Ok((path, outcome))) => {
                    let touched = self.paths.remove(&path).unwrap_or(true);
                    return Hashed { path, outcome, touched };
                }
                // A job catches its own panics, and is cancelled only with the whole set.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}
