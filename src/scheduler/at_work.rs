//! The active runs of the dispatcher.

use std::collections::HashMap;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::definition::Definition;
use super::driver::Driver;
use super::error::StartError;
use super::shared::TRY_AGAIN;
use super::supervise::panic_text;
use crate::base::{Digest, RunId};
use crate::model::{RunState, Tick, TickOutcome};
use crate::store::{StoreError, UnfinishedAttempt, UnfinishedRun};

/// Why a driver ended before its run had.
#[derive(Debug, thiserror::Error)]
pub(super) enum DriverError {
    /// The store refused what the driver asked of it.
    #[error("{0}")]
    Refused(StoreError),
    /// The driver panicked. The text is what it said.
    #[error("{0}")]
    Panicked(String),
}

/// How many runs have ended how, since the host started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs that succeeded.
    pub succeeded: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that were cancelled.
    pub cancelled: u64,
    /// Runs that cannot be driven: the manifest that they began under cannot be used any more, or
    /// their driver fails again and again and they cannot be ended either.
    pub stuck: u64,
}

/// The active runs of the dispatcher, and what is known of them.
#[derive(Default)]
pub(super) struct AtWork {
    /// How each run with a driver is cancelled.
    pub(super) runs: HashMap<RunId, watch::Sender<bool>>,
    pub(super) drivers: JoinSet<Result<RunState, StoreError>>,
    /// Whose driver a task is.
    tasks: HashMap<Id, RunId>,
    /// Runs that someone retried while their driver was still putting its last step on record.
    pub(super) again: Vec<RunId>,
    /// How often the drivers of a run have failed in a row.
    pub(super) failures: HashMap<RunId, u32>,
    /// Runs whose driver failed, each until its pause is over.
    pub(super) pausing: JoinSet<RunId>,
    /// Definitions of runs that began under another manifest, while they are read and compiled.
    pub(super) restoring: JoinSet<(Digest, Result<Definition, StartError>)>,
    /// The runs that wait for each of them.
    pub(super) restored_for: HashMap<Digest, Vec<UnfinishedRun>>,
    pub(super) tally: Tally,
    /// The last tick of each trigger: the same one twice says nothing.
    pub(super) last_ticks: HashMap<String, (TickOutcome, String)>,
    /// When the last tick was recorded.
    pub(super) ticked: Option<Instant>,
}

/// The end of a driver.
pub(super) type DriverEnd = Result<(Id, Result<RunState, StoreError>), JoinError>;

impl AtWork {
    /// Starts a driver.
    pub(super) fn spawn(&mut self, run: RunId, driver: Driver, unfinished: Vec<UnfinishedAttempt>) {
        let (cancel, cancelled) = watch::channel(false);
        self.runs.insert(run, cancel);
        // A driver that panics is known by its task, and its run is driven anew from the record.
        let task = self.drivers.spawn(async move { driver.drive(unfinished, cancelled).await });
        self.tasks.insert(task.id(), run);
    }

    /// Tells the driver of a run that the run is to end. `false` if it has none.
    pub(super) fn cancel(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|cancel| {
            cancel.send_replace(true);
            true
        })
    }

    /// Whether nothing is left that would go on by itself.
    pub(super) fn is_idle(&self) -> bool {
        self.runs.is_empty() && self.pausing.is_empty() && self.restoring.is_empty()
    }

    /// Strikes a driver off, and says whose it was and how the run stands. `None` for a task that
    /// is not known.
    pub(super) fn remove_driver(&mut self, end: DriverEnd) -> Option<(RunId, Result<RunState, DriverError>)> {
        let (task, state) = match end {
            Ok((task, state)) => (task, state.map_err(DriverError::Refused)),
            Err(error) => (error.id(), Err(DriverError::Panicked(panic_text(error)))),
        };
        let run = self.tasks.remove(&task)?;
        self.runs.remove(&run);
        Some((run, state))
    }

    /// The driver of a run failed: its trouble must not end the host. The run is driven anew from
    /// the record after a pause.
    pub(super) fn driver_failed(&mut self, run: RunId, why: &str) {
        let failures = self.failures.entry(run).or_default();
        *failures += 1;
        let pause = TRY_AGAIN * *failures;
        tracing::error!("the driver of run {run} has failed: {why}");
        self.again.retain(|again| *again != run);
        // The pause is a timer: it cannot panic, and is dropped with the dispatcher.
        self.pausing.spawn(async move {
            tokio::time::sleep(pause).await;
            run
        });
    }

    /// Whether a tick says something else than the one before it.
    pub(super) fn is_news(&self, tick: &Tick) -> bool {
        let before = self.last_ticks.get(&tick.trigger);
        before.is_none_or(|(outcome, reason)| (*outcome, reason) != (tick.outcome, &tick.reason))
    }
}
