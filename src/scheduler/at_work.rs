//! The active runs of the dispatcher.

use std::collections::{BTreeSet, HashMap};

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::answered::{AnswerEnd, Question};
use super::definition::Definition;
use super::driver::Driver;
use super::error::StartError;
use super::shared::{TRY_AGAIN, Told};
use super::supervise::panic_text;
use crate::base::{Digest, RunId};
use crate::model::{RunState, Tick};
use crate::sandbox::DecisionReport;
use crate::store::{StoreError, UnfinishedAttempt, UnfinishedRun};

/// Why a driver ended before its run had.
#[derive(Debug, thiserror::Error)]
pub(super) enum DriverError {
    /// The store refused a write or a read of the driver.
    #[error("{0}")]
    Refused(StoreError),
    /// The driver panicked, with this message.
    #[error("{0}")]
    Panicked(String),
}

/// The number of runs by how they ended, since the host started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs that succeeded.
    pub succeeded: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that were cancelled.
    pub cancelled: u64,
    /// Runs that are left unfinished by a host that has drained: they wait for an approval, for the
    /// end of a pause, or for the slot of a run that does.
    pub unfinished: u64,
    /// Runs that cannot be driven: their manifest cannot be used any more, or their driver fails
    /// repeatedly and they cannot be ended either.
    pub stuck: u64,
}

/// The active runs of the dispatcher, and their state.
#[derive(Default)]
pub(super) struct AtWork {
    /// Tells the driver of each run that has one.
    pub(super) runs: HashMap<RunId, watch::Sender<Told>>,
    pub(super) drivers: JoinSet<Result<RunState, StoreError>>,
    /// The run of each driver's task.
    tasks: HashMap<Id, RunId>,
    /// Runs that someone retried while their driver was still recording its last step.
    pub(super) again: Vec<RunId>,
    /// How often the drivers of a run have failed in a row.
    pub(super) failures: HashMap<RunId, u32>,
    /// Timers for the runs whose driver failed; each returns its run when its pause is over.
    pub(super) pausing: JoinSet<RunId>,
    /// Tasks that restore the definitions of runs that began under another manifest.
    pub(super) restoring: JoinSet<(Digest, Result<Definition, StartError>)>,
    /// The runs that wait for each of these definitions.
    pub(super) restored_for: HashMap<Digest, Vec<UnfinishedRun>>,
    /// Tasks that ask trigger components; each returns the answer.
    pub(super) asking: JoinSet<DecisionReport>,
    /// The question of each of these tasks.
    questions: HashMap<Id, Question>,
    pub(super) tally: Tally,
    /// The last tick of each trigger, so that an equal one is not recorded again.
    pub(super) last_ticks: HashMap<String, Tick>,
    /// Whether the history that triggers look at is up to date.
    pub(super) is_history_read: bool,
    /// When the last tick was recorded.
    pub(super) ticked: Option<Instant>,
}

/// The end of a driver.
pub(super) type DriverEnd = Result<(Id, Result<RunState, StoreError>), JoinError>;

impl AtWork {
    /// Starts a driver.
    pub(super) fn spawn(&mut self, run: RunId, driver: Driver, unfinished: Vec<UnfinishedAttempt>) {
        let (tell, told) = watch::channel(Told::default());
        self.runs.insert(run, tell);
        // If a driver panics, its task id identifies the run, which gets a new driver from the
        // record.
        let task = self.drivers.spawn(async move { driver.drive(unfinished, told).await });
        self.tasks.insert(task.id(), run);
    }

    /// Tells the driver of a run to cancel it. `false` if the run has no driver.
    pub(super) fn cancel(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|tell| {
            tell.send_modify(|told| told.cancel = true);
            true
        })
    }

    /// Tells the driver of a run that a decision about an approval is on record. Without a driver,
    /// its next one finds it.
    pub(super) fn decided(&self, run: RunId) {
        if let Some(tell) = self.runs.get(&run) {
            tell.send_modify(|told| told.decided = true);
        }
    }

    /// Tells every driver to end as soon as only a person can continue its run.
    pub(super) fn leave(&self) {
        for tell in self.runs.values() {
            tell.send_modify(|told| told.leave = true);
        }
    }

    /// Returns whether nothing continues without a person. `left` are the runs that wait for one.
    pub(super) fn is_idle(&self, left: &BTreeSet<RunId>) -> bool {
        let works = !self.pausing.is_empty() || !self.restoring.is_empty() || !self.asking.is_empty();
        !works && self.runs.keys().all(|run| left.contains(run))
    }

    /// Starts a task that asks a trigger component.
    pub(super) fn ask(&mut self, question: Question, answer: impl Future<Output = DecisionReport> + Send + 'static) {
        let task = self.asking.spawn(answer);
        self.questions.insert(task.id(), question);
    }

    /// Removes the task of a question that has ended. If the task panicked, closes its question
    /// without a decision; otherwise the host would wait for it forever. `None` for an unknown
    /// task.
    pub(super) fn remove_question(&mut self, end: AnswerEnd) -> Option<(Question, DecisionReport)> {
        let (task, report) = match end {
            Ok((task, report)) => (task, report),
            Err(error) => (error.id(), DecisionReport::failed(&panic_text(error))),
        };
        Some((self.questions.remove(&task)?, report))
    }

    /// Removes a driver that has ended. Returns its run and the run's state. `None` for an unknown
    /// task.
    pub(super) fn remove_driver(&mut self, end: DriverEnd) -> Option<(RunId, Result<RunState, DriverError>)> {
        let (task, state) = match end {
            Ok((task, state)) => (task, state.map_err(DriverError::Refused)),
            Err(error) => (error.id(), Err(DriverError::Panicked(panic_text(error)))),
        };
        let run = self.tasks.remove(&task)?;
        self.runs.remove(&run);
        Some((run, state))
    }

    /// Handles the failure of a driver, which must not end the host. After a pause, the run gets a
    /// new driver from the record.
    pub(super) fn driver_failed(&mut self, run: RunId, why: &str) {
        let failures = self.failures.entry(run).or_default();
        *failures += 1;
        let pause = TRY_AGAIN * *failures;
        tracing::error!("the driver of run {run} has failed: {why}");
        self.again.retain(|again| *again != run);
        // The task is only a timer: it cannot panic, and is dropped with the dispatcher.
        self.pausing.spawn(async move {
            tokio::time::sleep(pause).await;
            run
        });
    }

    /// Returns whether a tick differs from the previous one of its trigger.
    pub(super) fn is_news(&self, tick: &Tick) -> bool {
        let before = self.last_ticks.get(&tick.trigger);
        before.is_none_or(|before| !before.says_the_same(tick))
    }

    /// Returns whether a tick shows that the reason in the trigger's previous tick, such as an
    /// outage or a pause, is over. If it were not recorded, readers would believe that the old
    /// reason still holds.
    pub(super) fn ends_a_reason(&self, tick: &Tick) -> bool {
        self.last_ticks.get(&tick.trigger).is_some_and(|before| before.reason != tick.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_whose_task_ends_without_an_answer_has_failed() {
        let mut work = AtWork::default();
        let question = |number| Question {
            asked: ("raw".into(), "component".into()),
            name: "raw".into(),
            number,
            component: Digest::of(b"1"),
        };
        work.ask(question(1), async { panic!("at the worst time") });
        let end = work.asking.join_next_with_id().await.unwrap();
        let (asked, report) = work.remove_question(end).unwrap();
        assert_eq!(asked, question(1));
        let error = report.decision.unwrap_err();
        assert!(!error.retryable && error.message.ends_with("bug in Anacostia: at the worst time"), "{error:?}");
        work.ask(question(2), std::future::pending());
        work.asking.abort_all();
        let end = work.asking.join_next_with_id().await.unwrap();
        let (asked, report) = work.remove_question(end).unwrap();
        assert_eq!(asked, question(2));
        assert!(report.decision.unwrap_err().message.ends_with("it was aborted"));
    }
}
