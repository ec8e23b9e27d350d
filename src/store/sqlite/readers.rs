//! Threads that read, each with a connection of its own.
//!
//! In WAL mode a reader sees the database as of its `BEGIN`; it does not wait for a writer, and no
//! writer waits for it. These are threads of our own, not `spawn_blocking`, because each keeps its
//! connection, their number is the bound, and the store needs no runtime.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::queue::Queue;
use super::sql::{Work, execute, guarded};
use crate::base::memory;
use crate::store::Result;

/// How many threads read.
pub(super) const READERS: usize = 2;
/// The most reads that wait; then callers wait.
pub(super) const MAX_WAITING: usize = 1024;
/// After how many reads an idle thread gives memory back: fewer do not allocate much.
const MANY_READS: usize = 16;
/// How long a thread is idle before it gives memory back.
const IDLE: Duration = Duration::from_secs(1);

/// A read, whatever it returns.
pub(super) type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Returns a read in one transaction, and the receiver of its answer.
pub(super) fn read<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce(&Connection) -> Work<T> + Send + 'static,
) -> (Read, oneshot::Receiver<Result<T>>) {
    let (reply, answer) = oneshot::channel();
    let read = Box::new(move |db: &Connection| {
        let result = in_transaction(db, work).map_err(|fail| fail.into_store(doing));
        // The caller may have dropped the receiver; then nobody needs the answer.
        let _ = reply.send(result);
    });
    (read, answer)
}

/// Does `work` on one snapshot of the database.
fn in_transaction<T>(db: &Connection, work: impl FnOnce(&Connection) -> Work<T>) -> Work<T> {
    execute(db, "BEGIN", [])?;
    let result = guarded(|| work(db));
    let ended = execute(db, if result.is_ok() { "COMMIT" } else { "ROLLBACK" }, []);
    if ended.is_err() && !db.is_autocommit() {
        // A transaction that stays open would show its snapshot forever.
        let _ = execute(db, "ROLLBACK", []);
    }
    result
}

/// Works until the queue is closed and empty.
pub(super) fn run(db: &Connection, queue: &Arc<Queue<Read>>) {
    let mut reads = 0;
    loop {
        let Some(work) = queue.take(1, (reads >= MANY_READS).then_some(IDLE)) else {
            give_back(db);
            reads = 0;
            continue;
        };
        if work.is_empty() {
            return;
        }
        reads += work.len();
        for read in work {
            read(db);
        }
    }
}

/// Gives back the pages that SQLite keeps, and what the receivers of answers have dropped: an
/// allocator can free that only on the thread that allocated it.
fn give_back(db: &Connection) {
    // If this fails, SQLite keeps its pages.
    let _ = db.execute_batch("PRAGMA shrink_memory");
    memory::give_back();
}
