//! The one thread that writes.
//!
//! The thread takes all waiting jobs into one transaction, each in its own savepoint, commits, and
//! then answers them all (group commit): under load, jobs share a commit. While several attempts
//! are running, the thread waits a moment for more jobs, because each attempt submits one when it
//! ends: a commit for each, and a thread woken for each answer, would cost more than the wait. With
//! fewer attempts no job waits. If a job fails or panics, only its own work is rolled back. SQLite
//! has one writer at a time anyway; several writing threads would wait for each other in its busy
//! handler, by sleeping.
//!
//! A job may ask for a synced commit. Then its whole batch is synced, because the log is one file.
//!
//! The counters (sequence, event, run number, token) are kept here. They are reset when the work
//! that advanced them is rolled back, which keeps `seq` of events dense.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::queue::Queue;
use super::sql::{self, Work, execute};
use super::wal;
use crate::base::fault;
use crate::store::steps::Step;
use crate::store::{Result, StoreError};

/// The most jobs of one transaction. With more, the first would wait long for the last.
const MAX_BATCH: usize = 128;
/// From this many running attempts on, a job waits for others to share its commit.
const GROUP_COMMIT_MIN: u64 = 4;
/// The longest such wait. A transaction takes about as long.
const GROUP_COMMIT_WAIT: Duration = Duration::from_micros(100);
/// The most jobs that wait; then callers wait.
pub(super) const MAX_WAITING: usize = 1024;

/// The counters. Each holds the last number that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counters {
    /// Orders artifacts, and what happens to them.
    pub(super) seq: u64,
    /// Events.
    pub(super) event: u64,
    /// Runs.
    pub(super) run: u64,
    /// Fencing tokens of this epoch; not on record, because the epoch grows.
    pub(super) token: u64,
    /// Attempts with a token of this epoch that have ended.
    pub(super) ended: u64,
}

impl Counters {
    /// Running attempts. Each will submit a job when it ends.
    pub(super) fn at_work(self) -> u64 {
        self.token.saturating_sub(self.ended)
    }
}

/// A running transaction.
pub(super) struct Tx<'c> {
    /// The connection that writes.
    pub(super) db: &'c Connection,
    /// The counters.
    pub(super) at: &'c mut Counters,
    /// This host's epoch.
    pub(super) epoch: u64,
}

impl Tx<'_> {
    /// The next number of the store's sequence.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.at.seq += 1;
        self.at.seq
    }
}

/// A job of the writer, whatever it returns.
pub(super) trait Job: Send {
    /// The step that it is.
    fn step(&self) -> Step;
    /// Whether its transaction is synced even if others are not.
    fn synced(&self) -> bool;
    /// Does its work, and returns whether the changes are to be kept.
    fn work(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Tells the caller. `failed` says why the transaction was not committed, if it was not.
    fn answer(self: Box<Self>, failed: Option<&StoreError>);
}

/// Work that returns a `T`.
pub(super) struct Call<T, F> {
    step: Step,
    synced: bool,
    work: Option<F>,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Call<T, F> {
    /// Returns a job, and the receiver of its answer.
    pub(super) fn new(step: Step, work: F) -> (Self, oneshot::Receiver<Result<T>>) {
        let (reply, answer) = oneshot::channel();
        (Self { step, synced: false, work: Some(work), result: None, reply }, answer)
    }

    /// The same job, in a transaction that is synced if `synced` is set.
    pub(super) fn synced(self, synced: bool) -> Self {
        Self { synced, ..self }
    }
}

impl<T: Send, F: FnOnce(&mut Tx<'_>) -> Work<T> + Send> Job for Call<T, F> {
    fn step(&self) -> Step {
        self.step
    }

    fn synced(&self) -> bool {
        self.synced
    }

    fn work(&mut self, tx: &mut Tx<'_>) -> bool {
        let Some(work) = self.work.take() else { return false };
        let result = sql::guarded(|| {
            let done = work(tx)?;
            fault::point(self.step.in_transaction);
            Ok(done)
        });
        let result = result.map_err(|fail| fail.into_store(self.step.doing));
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn answer(self: Box<Self>, failed: Option<&StoreError>) {
        let answer = match (self.result, failed) {
            (Some(Err(own)), _) => Err(own),
            (_, Some(failed)) => {
                let why = match failed {
                    StoreError::Unavailable { why, .. } => why.clone(),
                    other => other.to_string(),
                };
                Err(StoreError::Unavailable { doing: self.step.doing.to_owned(), why })
            }
            (Some(Ok(_)), None) if fault::loses_answer(self.step.name) => Err(StoreError::Unavailable {
                doing: self.step.doing.to_owned(),
                why: "the answer was lost".to_owned(),
            }),
            (Some(result), None) => result,
            (None, None) => {
                Err(StoreError::Unavailable { doing: self.step.doing.to_owned(), why: "it was not tried".to_owned() })
            }
        };
        // The caller may have dropped the receiver; then nobody needs the answer.
        let _ = self.reply.send(answer);
    }
}

/// The state of the writer thread.
pub(super) struct Writer {
    /// The connection that writes.
    pub(super) db: Connection,
    /// Whether every transaction is synced.
    pub(super) syncs_all: bool,
    /// The write-ahead log.
    pub(super) log: wal::Log,
    /// The counters as of the last commit.
    pub(super) counters: Counters,
    /// This host's epoch.
    pub(super) epoch: u64,
    /// Where jobs come from.
    pub(super) queue: Arc<Queue<Box<dyn Job>>>,
    /// Announces the newest event.
    pub(super) newest: watch::Sender<u64>,
}

/// Drops waiting jobs when the writer has ended, so that their callers get an error.
struct AbandonOnDrop(Arc<Queue<Box<dyn Job>>>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        let guard = AbandonOnDrop(Arc::clone(&queue));
        loop {
            let Some(mut batch) = queue.take(MAX_BATCH, self.log.patience()) else {
                wal::give_back(&self.db);
                continue;
            };
            if batch.is_empty() {
                break;
            }
            let at_work = self.counters.at_work();
            if at_work >= GROUP_COMMIT_MIN {
                let enough = usize::try_from(at_work).unwrap_or(MAX_BATCH).min(MAX_BATCH);
                queue.top_up(&mut batch, enough, GROUP_COMMIT_WAIT);
            }
            self.work_off(batch);
        }
        drop(guard);
    }

    /// Does a batch in one transaction, or in several if SQLite gives one up in the middle.
    fn work_off(&mut self, batch: Vec<Box<dyn Job>>) {
        let mut jobs = batch.into_iter();
        while jobs.len() > 0 {
            self.transaction(&mut jobs);
        }
    }

    /// Takes jobs into one transaction until there are no more, or until SQLite has given it up
    /// (disk full, I/O error).
    fn transaction(&mut self, jobs: &mut std::vec::IntoIter<Box<dyn Job>>) {
        let before = self.counters;
        let is_alone = jobs.len() == 1;
        let is_special = !self.syncs_all && jobs.as_slice().iter().any(|job| job.synced());
        let mut done = Vec::with_capacity(jobs.len());
        let mut failed = self.begin(is_special).err();
        if failed.is_some() {
            done.extend(jobs.map(|job| (job, false)));
        }
        while failed.is_none()
            && let Some(mut job) = jobs.next()
        {
            let kept = if is_alone { self.whole(job.as_mut()) } else { self.savepoint(job.as_mut()) };
            done.push((job, matches!(kept, Ok(true))));
            failed = kept.err();
        }
        if failed.is_none() && !self.db.is_autocommit() {
            failed = self.commit(before).err();
        }
        if failed.is_some() {
            self.counters = before;
            if !self.db.is_autocommit() {
                // It fails only if there is nothing left to roll back.
                let _ = execute(&self.db, "ROLLBACK", []);
            }
        }
        if is_special {
            // If it fails, later commits only take longer.
            let _ = sql::sync_commits(&self.db, false);
        }
        let failed = failed.map(|error| sql::from_sqlite(&error, "commit"));
        // Before the answers: who has one finds the events of the write announced.
        if self.counters.event != before.event {
            self.newest.send_replace(self.counters.event);
        }
        for (job, kept) in done {
            if kept && failed.is_none() {
                fault::point(job.step().committed);
            }
            job.answer(failed.as_ref());
        }
    }

    /// Begins a transaction. With `synced`, its commit is synced; that cannot be changed within it.
    fn begin(&self, synced: bool) -> rusqlite::Result<()> {
        if synced {
            sql::sync_commits(&self.db, true)?;
        }
        execute(&self.db, "BEGIN IMMEDIATE", []).map(drop)
    }

    /// Does a job that is alone in its transaction. Its failure rolls back the transaction, which
    /// saves the page copies of a savepoint.
    fn whole(&mut self, job: &mut dyn Job) -> rusqlite::Result<bool> {
        let before = self.counters;
        let kept = job.work(&mut Tx { db: &self.db, at: &mut self.counters, epoch: self.epoch });
        if !kept {
            self.counters = before;
            if !self.db.is_autocommit() {
                execute(&self.db, "ROLLBACK", [])?;
            }
        }
        Ok(kept)
    }

    /// Does one job in its savepoint. An error means that the whole transaction is lost.
    fn savepoint(&mut self, job: &mut dyn Job) -> rusqlite::Result<bool> {
        execute(&self.db, "SAVEPOINT job", [])?;
        let before = self.counters;
        let kept = job.work(&mut Tx { db: &self.db, at: &mut self.counters, epoch: self.epoch });
        if kept {
            execute(&self.db, "RELEASE job", [])?;
            return Ok(true);
        }
        self.counters = before;
        // Fails if SQLite has rolled back the whole transaction, and then all of it is lost.
        execute(&self.db, "ROLLBACK TO job", [])?;
        execute(&self.db, "RELEASE job", [])?;
        Ok(false)
    }

    fn commit(&mut self, before: Counters) -> rusqlite::Result<()> {
        let now = self.counters;
        // The counters of events and runs can be read from their rows, which saves most
        // transactions writing a page.
        if now.seq != before.seq {
            let sql = "UPDATE meta SET seq = ?1, event = ?2, run = ?3 WHERE one = 1";
            execute(&self.db, sql, [now.seq, now.event, now.run])?;
        }
        execute(&self.db, "COMMIT", []).map(drop)
    }
}
