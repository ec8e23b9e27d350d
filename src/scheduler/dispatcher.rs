//! Decides when runs start, and keeps a driver for each run that has not ended.
//!
//! The dispatcher is one task that owns its state and learns of changes by messages. It never
//! polls: it wakes for a message, when a trigger could become ready, or when a run ends.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::abandon::{GiveUp, abandon};
use super::at_work::{AtWork, DriverEnd, DriverError, Tally};
use super::core::{History, Waiting};
use super::definition::Definition;
use super::driver::Driver;
use super::error::StartError;
use super::library::Library;
use super::messages::{MESSAGES, Message};
use super::recorder::StatusBoard;
use super::shared::{Phase, Shared, read_on, stopping};
use super::stepper::Stepper;
use crate::base::{Digest, Moment, Now, RunId, fault};
use crate::model::{Pending, RunDetail, RunState, TriggerMark};
use crate::store::{StoreError, UnfinishedRun};

/// How often the driver of a run may fail in a row. After that the run is abandoned, because the
/// next driver would probably fail too.
const MAX_DRIVER_FAILURES: u32 = 3;

/// Decides when runs start; see the module.
pub(super) struct Dispatcher {
    pub(super) shared: Arc<Shared>,
    /// The definitions that runs are bound to.
    pub(super) library: Library,
    pub(super) statuses: StatusBoard,
    pub(super) messages: mpsc::Receiver<Message>,
    pub(super) paused: bool,
    /// Whether to end once nothing is left to do.
    pub(super) draining: bool,
    /// The pending artifacts in each watched resource.
    pub(super) pending: Waiting,
    /// What conditions on time, metrics and runs look at.
    pub(super) history: History,
    /// The marks of triggers that are on record.
    pub(super) marks: Vec<TriggerMark>,
    /// When the host started.
    pub(super) started: Now,
    /// Runs that wait for a slot, oldest first.
    pub(super) waiting: VecDeque<QueuedRun>,
    /// Messages that arrived while the dispatcher waited for the store, oldest first; at most
    /// [`MESSAGES`].
    pub(super) deferred: VecDeque<Message>,
}

/// A run that waits for a slot.
pub(super) struct QueuedRun {
    run: UnfinishedRun,
    /// Its definition, if it had to be restored. The library keeps it as long as it is held here.
    definition: Option<Definition>,
}

impl From<UnfinishedRun> for QueuedRun {
    fn from(run: UnfinishedRun) -> Self {
        Self { run, definition: None }
    }
}

impl Dispatcher {
    /// Works until the host stops or, if it drains, until nothing is left to do. Returns once every
    /// driver has ended.
    ///
    /// # Errors
    /// [`StoreError`] if the store refuses something that concerns all runs, or another host has
    /// taken over. A failure of a single run is not an error.
    pub(super) async fn work(mut self) -> Result<Tally, StoreError> {
        let mut work = AtWork::default();
        self.recall_ticks(&mut work).await?;
        let mut phase = self.shared.phase.clone();
        let mut left = self.shared.left.subscribe();
        let mut pauses = self.shared.pauses.subscribe();
        while *phase.borrow() == Phase::Running {
            fault::panic_point("dispatcher.turn");
            // Read this before the messages: everything that a resource sent before it reported
            // that it has reconciled is then in the queue.
            let reconciled = self.statuses.not_ready().is_empty();
            while let Some(message) = self.deferred.pop_front().or_else(|| self.messages.try_recv().ok()) {
                self.handle(message, &mut work).await?;
            }
            // Handle all that have ended, so that the runs for their slots are created together.
            while let Some(end) = work.drivers.try_join_next_with_id() {
                self.ended(end, &mut work).await?;
            }
            self.start_waiting(&mut work).await?;
            let until = self.evaluate(&mut work).await?;
            if self.draining && reconciled && self.is_drained(&work) {
                work.tally.unfinished += self.waiting.len() as u64;
                work.leave();
                break;
            }
            if !self.deferred.is_empty() {
                continue;
            }
            tokio::select! {
                Some(message) = self.messages.recv() => self.handle(message, &mut work).await?,
                Some(end) = work.drivers.join_next_with_id() => self.ended(end, &mut work).await?,
                Some(end) = work.asking.join_next_with_id() => self.answered(end, &mut work),
                Some(Ok(run)) = work.pausing.join_next() => self.resume(run, &mut work).await?,
                Some(Ok((revision, definition))) = work.restoring.join_next() => {
                    self.restored(revision, definition, &mut work).await?;
                }
                () = sleep_until(until, self.shared.clock.moment()) => {}
                () = self.statuses.changed() => {}
                Ok(()) = left.changed() => {}
                // A pause may concern a trigger. Drivers look at pauses themselves.
                _ = pauses.changed() => {}
                _ = phase.changed() => {}
            }
        }
        self.finish(work).await
    }

    /// Returns whether nothing is left to do, unless a person decides about an approval or ends a
    /// pause.
    fn is_drained(&self, work: &AtWork) -> bool {
        // Runs that wait for a person keep their slots.
        let is_stuck = self.waiting.is_empty() || !self.has_slot(work);
        is_stuck && self.deferred.is_empty() && work.is_idle(&self.shared.left.borrow())
    }

    /// Waits until every driver has ended. Starts nothing new, but still cancels active runs.
    async fn finish(mut self, mut work: AtWork) -> Result<Tally, StoreError> {
        work.asking.abort_all();
        while !work.drivers.is_empty() {
            let message = self.deferred.pop_front();
            let messages = &mut self.messages;
            let next = async { if message.is_some() { message } else { messages.recv().await } };
            tokio::select! {
                biased;
                Some(message) = next => match message {
                    Message::Cancel(run) => drop(work.cancel(run)),
                    Message::Decided(run) => work.decided(run),
                    // The receiver may be gone.
                    Message::Start { answer, .. } => drop(answer.send(Err(stopping()))),
                    Message::Reload { answer, .. } => drop(answer.send(Err(stopping().into()))),
                    // These are on record, so the next host sees them.
                    Message::Waiting { .. } | Message::Resume(_) | Message::Paused(_) => {}
                },
                Some(end) = work.drivers.join_next_with_id() => self.ended(end, &mut work).await?,
            }
        }
        Ok(work.tally)
    }

    /// Waits for the store or the compiler, and handles cancellations meanwhile. Defers other
    /// messages.
    pub(super) async fn wait_for<T>(&mut self, work: &AtWork, waits: impl Future<Output = T>) -> T {
        let mut waits = pin!(waits);
        loop {
            tokio::select! {
                biased;
                done = &mut waits => return done,
                Some(message) = self.messages.recv(), if self.deferred.len() < MESSAGES => match message {
                    Message::Cancel(run) if work.cancel(run) => {}
                    message => self.deferred.push_back(message),
                },
            }
        }
    }

    async fn handle(&mut self, message: Message, work: &mut AtWork) -> Result<(), StoreError> {
        match message {
            Message::Waiting { resource, pending } => {
                self.pending.note(&resource, pending, self.shared.clock.both());
            }
            Message::Resume(run) if work.runs.contains_key(&run) => work.again.push(run),
            Message::Resume(run) => self.resume(run, work).await?,
            Message::Cancel(run) => {
                if !work.cancel(run) {
                    // The run has no driver yet. It gets one at once, whose first step ends the
                    // run. That needs no slot.
                    self.waiting.retain(|waiting| waiting.run.detail.run.id != run);
                    for runs in work.restored_for.values_mut() {
                        runs.retain(|waiting| waiting.detail.run.id != run);
                    }
                    if let Some(unfinished) = self.unfinished(run, work).await? {
                        self.drive(unfinished.into(), work).await?;
                    }
                }
            }
            Message::Decided(run) => work.decided(run),
            // The caller timed out, and was told that the run was not started.
            Message::Start { answer, .. } if answer.is_closed() => {}
            Message::Start { run, answer } => {
                let _ = answer.send(self.start_by_hand(run, work).await);
            }
            Message::Paused(paused) => self.paused = paused,
            Message::Reload { bound, answer } => {
                // A run that ended may have unloaded a component since the manifest was bound.
                let components = self.library.load(&bound);
                let loaded = self.wait_for(work, components).await;
                let before = self.answerable();
                let replaced = loaded.map(|()| {
                    self.library.replace(*bound);
                    self.shared.named.set_limits(self.library.current().pipeline.concurrency.clone());
                });
                drop(answer.send(replaced));
                self.forget_answers(&before);
                work.is_history_read = false;
            }
        }
        Ok(())
    }

    /// Returns a run on record, if it has not ended. Ignores a run whose record is invalid.
    async fn unfinished(&mut self, run: RunId, work: &AtWork) -> Result<Option<UnfinishedRun>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let read = read_on(&shared, || shared.store.unfinished(run));
        match self.wait_for(work, read).await {
            Err(error @ (StoreError::Corrupt(_) | StoreError::Conflict(_))) => {
                tracing::error!("run {run} cannot be read, and stays unfinished: {error}");
                Ok(None)
            }
            answer => answer,
        }
    }

    /// Queues a run on record, if it has not ended.
    pub(super) async fn resume(&mut self, run: RunId, work: &mut AtWork) -> Result<(), StoreError> {
        let is_queued = self.waiting.iter().any(|waiting| waiting.run.detail.run.id == run);
        if is_queued || work.runs.contains_key(&run) {
            return Ok(());
        }
        if let Some(unfinished) = self.unfinished(run, work).await? {
            self.waiting.push_back(unfinished.into());
        }
        Ok(())
    }

    /// Returns whether one more run may be active.
    pub(super) fn has_slot(&self, work: &AtWork) -> bool {
        work.runs.len() < self.library.current().pipeline.max_concurrent_runs as usize
    }

    async fn start_waiting(&mut self, work: &mut AtWork) -> Result<(), StoreError> {
        while self.has_slot(work) {
            let Some(run) = self.waiting.pop_front() else { break };
            self.drive(run, work).await?;
        }
        Ok(())
    }

    /// Starts a driver for a run. If its definition has to be restored, which may mean compiling,
    /// another task does that, and the run waits without a slot.
    async fn drive(&mut self, queued: QueuedRun, work: &mut AtWork) -> Result<(), StoreError> {
        let QueuedRun { run: unfinished, definition } = queued;
        let run = &unfinished.detail.run;
        if work.failures.get(&run.id).is_some_and(|failures| *failures >= MAX_DRIVER_FAILURES) {
            let why = format!("the host failed to drive it {MAX_DRIVER_FAILURES} times; see the host's log");
            let definition = definition.or_else(|| self.library.get(run.revision));
            return self.give_up(unfinished, GiveUp::Failed(why, definition), work).await;
        }
        let revision = run.revision;
        let Some(definition) = definition.or_else(|| self.library.get(revision)) else {
            let is_restored_already = work.restored_for.contains_key(&revision);
            work.restored_for.entry(revision).or_default().push(unfinished);
            if !is_restored_already {
                let restored = self.library.restore(revision);
                work.restoring.spawn(async move {
                    // On a task of its own, so that a panic is reported as an error.
                    let restored = tokio::spawn(restored).await;
                    (
                        revision,
                        restored
                            .unwrap_or_else(|_| Err(StoreError::Corrupt("restoring it panicked".to_owned()).into())),
                    )
                });
            }
            return Ok(());
        };
        let id = run.id;
        let RunDetail { run, actions, .. } = unfinished.detail;
        let stepper = Stepper::new(Arc::clone(&self.shared), definition, run.state, actions);
        work.spawn(id, Driver::new(stepper, run), unfinished.attempts);
        Ok(())
    }

    /// Handles the result of restoring a definition: the runs that wait for it continue, or are
    /// abandoned.
    async fn restored(
        &mut self,
        revision: Digest,
        definition: Result<Definition, StartError>,
        work: &mut AtWork,
    ) -> Result<(), StoreError> {
        let runs = work.restored_for.remove(&revision).unwrap_or_default();
        match definition {
            Ok(definition) => {
                self.library.keep(definition.clone());
                for run in runs.into_iter().rev() {
                    let is_cancelled = run.detail.run.state == RunState::Cancelling;
                    let run = QueuedRun { run, definition: Some(definition.clone()) };
                    if is_cancelled {
                        // Ending the run needs no slot.
                        self.drive(run, work).await?;
                    } else {
                        self.waiting.push_front(run);
                    }
                }
            }
            Err(error) => {
                tracing::error!("manifest {revision} of an unfinished run can no longer be used: {error}");
                for run in runs {
                    self.give_up(run, GiveUp::Cancelled, work).await?;
                }
            }
        }
        Ok(())
    }

    /// Ends a run that cannot be driven. If that fails too, its record stays unchanged.
    async fn give_up(&mut self, run: UnfinishedRun, how: GiveUp, work: &mut AtWork) -> Result<(), StoreError> {
        let number = run.detail.run.number;
        work.is_history_read = false;
        work.failures.remove(&run.detail.run.id);
        let has_failed = matches!(how, GiveUp::Failed(..)).then_some(run.detail.run.state) == Some(RunState::Running);
        // On a task of its own, so that a panic counts as a failure to end the run.
        let ending = tokio::spawn(abandon(Arc::clone(&self.shared), run, how));
        match self.wait_for(work, ending).await.unwrap_or(Ok(false)) {
            Ok(true) => work.tally.failed += u64::from(has_failed),
            Ok(false) => {
                tracing::error!("run #{number} waits for the next start, or to be cancelled");
                work.tally.stuck += 1;
            }
            Err(
                error @ (StoreError::Fenced { .. }
                | StoreError::TakenOver { .. }
                | StoreError::Forgotten { .. }
                | StoreError::Unavailable { .. }),
            ) => return Err(error),
            Err(error) => {
                tracing::error!("run #{number} stays unfinished: {error}");
                work.tally.stuck += 1;
            }
        }
        Ok(())
    }

    async fn ended(&mut self, end: DriverEnd, work: &mut AtWork) -> Result<(), StoreError> {
        let Some((run, state)) = work.remove_driver(end) else { return Ok(()) };
        self.shared.note_left(run, false);
        work.is_history_read = false;
        self.library.drop_unused();
        if self.library.current().pipeline.actions.iter().any(|action| action.retrigger) {
            // Its outputs may be new inputs, and no watcher reports those.
            self.refresh(work).await?;
        }
        let state = match state {
            Ok(state) => state,
            // Another host has taken over, or this one is stopping while the store does not work.
            Err(DriverError::Refused(
                error @ (StoreError::Fenced { .. }
                | StoreError::TakenOver { .. }
                | StoreError::Forgotten { .. }
                | StoreError::Unavailable { .. }),
            )) => {
                return Err(error);
            }
            Err(error) => {
                work.driver_failed(run, &error.to_string());
                return Ok(());
            }
        };
        work.failures.remove(&run);
        if state.ended() {
            metrics::counter!("anacostia_runs_ended_total", "state" => state.as_str()).increment(1);
        }
        match state {
            RunState::Succeeded => work.tally.succeeded += 1,
            RunState::Failed => work.tally.failed += 1,
            RunState::Cancelled => work.tally.cancelled += 1,
            RunState::Queued | RunState::Running | RunState::Cancelling => {
                let has_drained = self.draining && *self.shared.phase.borrow() == Phase::Running;
                work.tally.unfinished += u64::from(has_drained);
            }
        }
        if work.again.contains(&run) {
            work.again.retain(|again| *again != run);
            self.resume(run, work).await?;
        }
        Ok(())
    }

    pub(super) fn note(&mut self, pending: Vec<(String, Pending)>) {
        let now = self.shared.clock.both();
        for (resource, pending) in pending {
            self.pending.note(&resource, pending, now);
        }
    }

    /// Reads the pending artifacts of all resources from the store.
    pub(super) async fn refresh(&mut self, work: &AtWork) -> Result<(), StoreError> {
        let resources: Vec<String> = self.pending.resources().cloned().collect();
        for resource in resources {
            let shared = Arc::clone(&self.shared);
            let read = read_on(&shared, || shared.store.pending(&resource));
            let pending = self.wait_for(work, read).await?;
            self.pending.note(&resource, pending, self.shared.clock.both());
        }
        Ok(())
    }
}

/// Sleeps until a moment of the clock; forever if `until` is `None`.
async fn sleep_until(until: Option<Moment>, now: Moment) {
    match until {
        Some(until) => tokio::time::sleep(until.since(now)).await,
        None => std::future::pending().await,
    }
}
