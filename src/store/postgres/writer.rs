//! The one connection that writes.
//!
//! Each write is a transaction that begins by locking the row of `meta`. So transactions of all
//! hosts follow one another, none waits for two locks, and the counters in that row are dense and
//! in the order of the commits. The row also has the epoch: a host whose epoch is not on record any
//! more is refused, whatever it wants to write.
//!
//! Callers wait for the connection in the order in which they come. A write is a task of its own,
//! so it is completed even if its caller goes away, and if it panics only its transaction is lost.
//! With `synchronous_commit = off`, a server that crashes forgets its last commits, and the numbers
//! in them. If it has, this host must not give them again with another meaning: it writes nothing
//! any more, and ends. The next one has another epoch.
//!
//! There is no group commit: with one connection, two writes can share a commit only as savepoints
//! of one transaction, and each would then cost two statements more.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deadpool_postgres::Pool;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::connect::{Place, no_connection};
use super::db::Db;
use super::holder;
use super::sql::{Fail, Work, params};
use crate::base::fault;
use crate::store::steps::Step;
use crate::store::{Result, StoreError};

/// The counters. Each holds the last number that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counters {
    /// Orders artifacts, and what happens to them.
    pub(super) seq: u64,
    /// Events.
    pub(super) event: u64,
    /// Runs.
    pub(super) run: u64,
    /// Fencing tokens of this epoch.
    pub(super) token: u64,
}

impl Counters {
    /// Returns whether one of them is less than in `other`.
    fn is_behind(&self, other: &Self) -> bool {
        self.seq < other.seq || self.event < other.event || self.run < other.run || self.token < other.token
    }
}

/// A running transaction.
#[derive(Debug)]
pub(super) struct Tx {
    /// The connection that writes.
    pub(super) db: Db,
    /// The counters.
    pub(super) at: Counters,
    /// This host's epoch.
    pub(super) epoch: u64,
    /// The counters on record.
    before: Counters,
}

impl Tx {
    /// Begins a transaction on a connection, and locks the counters. Returns the epoch on record
    /// too. With `synced`, the commit survives a power cut.
    pub(super) async fn begin(client: deadpool_postgres::Object, synced: bool) -> Work<Self> {
        let db = Db::new(client, Some("BEGIN"));
        if synced {
            db.later("SET LOCAL synchronous_commit = on", &[]);
        }
        let row = db.one("SELECT epoch, seq, event, run, token FROM meta WHERE one FOR UPDATE", &[]).await?;
        let at = Counters { seq: row.get(1)?, event: row.get(2)?, run: row.get(3)?, token: row.get(4)? };
        Ok(Self { db, at, epoch: row.get(0)?, before: at })
    }

    /// The next number of the store's sequence.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.at.seq += 1;
        self.at.seq
    }

    /// Writes the counters, and commits.
    pub(super) async fn commit(self) -> Work<Counters> {
        let Self { db, at, before, .. } = self;
        if at != before {
            let sql = "UPDATE meta SET seq = $1, event = $2, run = $3, token = $4 WHERE one";
            db.later(sql, &params![at.seq, at.event, at.run, at.token]);
        }
        db.end(Some("COMMIT")).await?;
        Ok(at)
    }
}

/// What a host writes with.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    /// One connection, for which writes wait.
    pub(super) pool: Pool,
    /// Which store it is.
    pub(super) place: Place,
    /// This host's epoch.
    pub(super) epoch: u64,
    /// Announces the newest event.
    pub(super) newest: watch::Sender<u64>,
    /// The counters that the server has confirmed last.
    pub(super) confirmed: Arc<Mutex<Counters>>,
    /// Tells that the server has less on record than it had confirmed.
    pub(super) forgotten: watch::Sender<bool>,
}

impl Writer {
    /// Does `work` in a transaction.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        step: Step,
        synced: bool,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Work<T>> + Send + 'static,
    ) -> Result<T> {
        let writer = self.clone();
        let task = tokio::spawn(async move {
            let written = AssertUnwindSafe(writer.transaction(step, synced, work)).catch_unwind().await;
            written.unwrap_or_else(|payload| Err(Fail::panicked(&*payload)))
        });
        // It is never aborted, except with the runtime.
        let written = task.await.unwrap_or_else(|_| Err(Fail::Connection("the host is stopping".to_owned())));
        match written {
            Ok(_) if fault::loses_answer(step.name) => {
                Err(StoreError::Unavailable { doing: step.doing.to_owned(), why: "the answer was lost".to_owned() })
            }
            written => written.map_err(|fail| fail.into_store(step.doing)),
        }
    }

    async fn transaction<T>(
        &self,
        step: Step,
        synced: bool,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Work<T>>,
    ) -> Work<T> {
        let client = self.pool.get().await.map_err(no_connection)?;
        let mut tx = Tx::begin(client, synced).await?;
        if tx.epoch != self.epoch {
            let error = StoreError::TakenOver { store: self.place.to_string(), by: holder::last(&tx.db).await? };
            tx.db.undo().await;
            return Err(error.into());
        }
        if tx.at.is_behind(&self.confirmed()) {
            tx.db.undo().await;
            self.forgotten.send_replace(true);
            return Err(StoreError::Forgotten { store: self.place.to_string() }.into());
        }
        let done = match work(&mut tx).await {
            Ok(done) => done,
            Err(fail) => {
                tx.db.undo().await;
                return Err(fail);
            }
        };
        fault::point(step.in_transaction);
        let at = tx.commit().await?;
        *self.confirmed() = at;
        fault::point(step.committed);
        self.announce(at.event);
        Ok(done)
    }

    fn confirmed(&self) -> MutexGuard<'_, Counters> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the server has less on record than it had confirmed.
    pub(super) async fn forgets(&self) {
        // The sender lives as long as this.
        let _ = self.forgotten.subscribe().wait_for(|forgotten| *forgotten).await;
    }

    /// Tells those who wait that this event is on record.
    pub(super) fn announce(&self, event: u64) {
        self.newest.send_if_modified(|newest| {
            let is_newer = event > *newest;
            *newest = event.max(*newest);
            is_newer
        });
    }
}
