//! Drives one run: asks the core what to do, puts each step on record, and starts what the step
//! says.
//!
//! A step is written before it is acted on. So whatever dies, and whenever, the record says at
//! least as much as has happened, and a driver that begins from the record ([`Driver::drive`] with
//! what was unfinished) goes on where the last one stopped.
//!
//! Attempts are tasks of the driver: with it they end. A task that panics has ended too; its
//! attempt is looked up on record and closed as one that a dead host left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::{Id, JoinError, JoinSet};

use super::core::{Event, Start};
use super::executor::{Close, HOST_DIED, HOST_FAILED, crashed_end, discard, execute, make_visible};
use super::shared::{Phase, persist, read_on};
use super::stepper::Stepper;
use super::supervise::panic_text;
use crate::base::{WriteId, fault};
use crate::model::{Artifact, Fence, Outcome, Run, RunState};
use crate::sandbox::Stop;
use crate::store::{RunStep, StartedAttempt, StoreError, UnfinishedAttempt};

/// Drives one run.
pub(super) struct Driver {
    stepper: Stepper,
    run: Run,
    /// What the run claimed.
    inputs: Arc<[Artifact]>,
    /// Active attempts, by the place of their action.
    at_work: BTreeMap<usize, AtWork>,
    attempts: JoinSet<Ended>,
}

/// An active attempt.
struct AtWork {
    fence: Fence,
    stop: watch::Sender<Stop>,
    task: Id,
}

/// The end of an attempt.
struct Ended {
    action: usize,
    fence: Fence,
    outcome: Outcome,
    close: Close,
    permit: OwnedSemaphorePermit,
}

/// Something a driver waits for.
enum Next {
    Ended(Box<Ended>),
    Panicked(JoinError),
    Cancel,
    RetryDue(usize),
    Permit(OwnedSemaphorePermit),
    HandBack,
    Finishing,
}

impl Driver {
    /// A driver for a run as it is on record, whose steps `stepper` decides.
    pub(super) fn new(stepper: Stepper, run: Run, inputs: Vec<Artifact>) -> Self {
        Self { stepper, run, inputs: inputs.into(), at_work: BTreeMap::new(), attempts: JoinSet::new() }
    }

    /// Drives the run until it has ended or the host stops. `unfinished`: attempts that a dead host
    /// left. `cancel` turns true when the run is to end. Returns where the run stands.
    ///
    /// # Errors
    /// When the store refuses: another host has taken over, or the record is invalid.
    pub(super) async fn drive(
        mut self,
        unfinished: Vec<UnfinishedAttempt>,
        cancel: watch::Receiver<bool>,
    ) -> Result<RunState, StoreError> {
        let state = self.drive_to_the_end(unfinished, cancel).await;
        if state.is_err() {
            // The next driver of the run begins from the record, so nothing may write to it for
            // this one any more.
            self.attempts.shutdown().await;
        }
        state
    }

    async fn drive_to_the_end(
        &mut self,
        unfinished: Vec<UnfinishedAttempt>,
        mut cancel: watch::Receiver<bool>,
    ) -> Result<RunState, StoreError> {
        fault::point("driver.begin");
        for attempt in unfinished {
            if let Some(why) = self.not_ours(&attempt) {
                // An error would end the host, at every start anew, for the sake of one run.
                tracing::error!("run #{} is left as it is: {why}", self.run.number);
                return Ok(self.stepper.core.state());
            }
            self.take_over(attempt, HOST_DIED).await?;
        }
        self.step(None).await?;
        let mut phase = self.stepper.shared.phase.clone();
        while !self.stepper.core.state().ended() {
            if *phase.borrow() != Phase::Running && self.at_work.is_empty() {
                break;
            }
            match self.next(&mut cancel, &mut phase).await {
                Next::Ended(end) => self.close(*end).await?,
                Next::Panicked(error) => self.recover(error).await?,
                Next::Cancel => {
                    self.stepper.core.apply(Event::CancelRequested);
                    self.tell(Stop::Cancel);
                    self.step(None).await?;
                }
                Next::RetryDue(action) => {
                    self.stepper.core.apply(Event::BackoffOver { action });
                    self.step(None).await?;
                }
                Next::Permit(permit) => {
                    self.stepper.permits.push(permit);
                    self.step(None).await?;
                }
                Next::HandBack => self.tell(Stop::HandBack),
                Next::Finishing => {}
            }
        }
        let state = self.stepper.core.state();
        if state.ended() {
            // The receiver may be gone.
            let _ = self.stepper.shared.ends.send(self.run.id);
        }
        Ok(state)
    }

    async fn next(&mut self, cancel: &mut watch::Receiver<bool>, phase: &mut watch::Receiver<Phase>) -> Next {
        let running = *phase.borrow() == Phase::Running;
        let cancelling = self.stepper.core.state() == RunState::Cancelling;
        let retry = self.stepper.core.next_retry().filter(|_| running);
        let now = self.stepper.shared.clock.moment();
        let retry_in = retry.map_or(Duration::MAX, |(due, _)| due.since(now));
        let slots = Arc::clone(&self.stepper.shared.slots);
        tokio::select! {
            biased;
            Some(end) = self.attempts.join_next() => match end {
                Ok(end) => Next::Ended(Box::new(end)),
                Err(error) => Next::Panicked(error),
            },
            Ok(_) = cancel.wait_for(|cancel| *cancel), if !cancelling => Next::Cancel,
            Ok(()) = phase.changed() => match *phase.borrow() {
                Phase::HandingBack => Next::HandBack,
                Phase::Running | Phase::Finishing => Next::Finishing,
            },
            () = sleep(retry_in), if retry.is_some() => Next::RetryDue(retry.map_or(0, |(_, action)| action)),
            Ok(permit) = slots.acquire_owned(), if running && self.stepper.core.ready() > 0 => Next::Permit(permit),
        }
    }

    /// Why an attempt that a dead host left cannot be taken over, if it cannot.
    fn not_ours(&self, attempt: &UnfinishedAttempt) -> Option<String> {
        let UnfinishedAttempt { fence, action, files, .. } = attempt;
        let id = fence.attempt_id;
        if self.stepper.definition.graph.place(action).is_none() {
            return Some(format!("attempt {id} is of `{action}`, which its manifest does not have"));
        }
        if files.as_ref().is_some_and(Vec::is_empty) {
            return Some(format!(
                "attempt {id} has passed its commit point, and nothing is on record of what it publishes"
            ));
        }
        let resources = &self.stepper.definition.services.resources;
        let missing = files.iter().flatten().find(|file| !resources.contains_key(&file.resource))?;
        Some(format!(
            "`{}` of attempt {id} goes to {}, which its manifest does not have; it stays staged",
            missing.path, missing.resource
        ))
    }

    /// An attempt that a dead host left: rolled forward if it had passed its commit point, crashed
    /// otherwise.
    async fn take_over(&mut self, attempt: UnfinishedAttempt, why: &str) -> Result<(), StoreError> {
        let Some(action) = self.stepper.definition.graph.place(&attempt.action) else { return Ok(()) };
        let (outcome, close) = match attempt.files {
            None => (Outcome::Crashed, Close::Finish(Box::new(crashed_end(why, self.stepper.shared.logs.end())))),
            Some(files) => {
                let id = attempt.fence.attempt_id;
                let close = make_visible(&self.stepper.shared, &self.stepper.definition, id, &files).await;
                let message = attempt.message;
                let outcome =
                    if attempt.skip { Outcome::Skip(message.unwrap_or_default()) } else { Outcome::Done(message) };
                (outcome, close)
            }
        };
        fault::point("recover.attempt");
        self.record_end(action, attempt.fence, outcome, close).await
    }

    /// The task of an attempt panicked. How far the attempt was is on record.
    async fn recover(&mut self, error: JoinError) -> Result<(), StoreError> {
        let Some((action, fence)) =
            self.at_work.iter().find(|(_, it)| it.task == error.id()).map(|(action, it)| (*action, it.fence))
        else {
            return Ok(());
        };
        self.at_work.remove(&action);
        let shared = Arc::clone(&self.stepper.shared);
        shared.progress.clear(fence.attempt_id);
        tracing::error!(attempt = %fence.attempt_id, "the task of an attempt has ended: {}", panic_text(error));
        let run = self.run.id;
        let unfinished = read_on(&shared, || shared.store.unfinished(run)).await?;
        let attempts = unfinished.into_iter().flat_map(|run| run.attempts);
        let Some(attempt) = attempts.into_iter().find(|it| it.fence == fence) else {
            return Err(StoreError::Conflict(format!(
                "attempt {} has ended on record, and not here",
                fence.attempt_id
            )));
        };
        let staged: Vec<_> =
            if attempt.files.is_none() { self.stepper.definition.written().cloned().collect() } else { Vec::new() };
        self.take_over(attempt, HOST_FAILED).await?;
        discard(&staged, fence.attempt_id).await;
        Ok(())
    }

    async fn close(&mut self, end: Ended) -> Result<(), StoreError> {
        self.at_work.remove(&end.action);
        self.stepper.permits.push(end.permit);
        self.record_end(end.action, end.fence, end.outcome, end.close).await
    }

    async fn record_end(
        &mut self,
        action: usize,
        fence: Fence,
        outcome: Outcome,
        close: Close,
    ) -> Result<(), StoreError> {
        let kept = match &close {
            Close::Left => return self.leave(fence),
            Close::Published(visible) => visible.resources.clone(),
            Close::Finish(_) => Vec::new(),
        };
        metrics::counter!("anacostia_attempts_ended_total", "outcome" => word(&outcome)).increment(1);
        self.stepper.core.apply(Event::Ended {
            action,
            outcome,
            now: self.stepper.shared.clock.both(),
            jitter: fastrand::f64(),
        });
        self.step(Some((fence, close))).await?;
        discard(&kept, fence.attempt_id).await;
        Ok(())
    }

    /// The host that recovers the attempt decides what follows: the next host, or, unless this
    /// one stops anyway, the next driver of the run, which begins from the record.
    fn leave(&self, fence: Fence) -> Result<(), StoreError> {
        if *self.stepper.shared.phase.borrow() == Phase::HandingBack {
            return Ok(());
        }
        let why = "could be neither committed nor given up";
        Err(StoreError::Conflict(format!("attempt {} of run #{} {why}", fence.attempt_id, self.run.number)))
    }

    /// Takes the step that is due: puts it on record, closing an attempt with it if one has ended,
    /// and starts what it says.
    async fn step(&mut self, closing: Option<(Fence, Close)>) -> Result<(), StoreError> {
        let (starts, step) = self.stepper.decide();
        if closing.is_none() && step == RunStep::default() {
            self.stepper.permits.clear();
            return Ok(());
        }
        let started = self.write(closing, step).await?;
        fault::point("step.recorded");
        self.begin(starts, started);
        Ok(())
    }

    /// Begins what a step on record starts.
    pub(super) fn begin(&mut self, starts: Vec<Start>, started: Vec<StartedAttempt>) {
        for (start, started) in starts.into_iter().zip(started) {
            self.spawn(start, started);
        }
        // What is left over is for other runs.
        self.stepper.permits.clear();
    }

    async fn write(&self, closing: Option<(Fence, Close)>, step: RunStep) -> Result<Vec<StartedAttempt>, StoreError> {
        let shared = &self.stepper.shared;
        let now = shared.clock.now();
        match &closing {
            None => {
                let id = WriteId::new();
                persist(shared, || shared.store.advance(self.run.id, id, step.clone(), now)).await
            }
            Some((fence, Close::Finish(end))) => {
                persist(shared, || shared.store.finish_attempt(*fence, (**end).clone(), step.clone(), now)).await
            }
            Some((fence, Close::Published(visible))) => {
                persist(shared, || shared.store.published(*fence, visible.stamps.clone(), step.clone(), now)).await
            }
            // `record_end` keeps these away.
            Some((_, Close::Left)) => Ok(Vec::new()),
        }
    }

    fn spawn(&mut self, start: Start, started: StartedAttempt) {
        let Some(permit) = self.stepper.permits.pop() else { return };
        let Some(order) =
            self.stepper.definition.order(&self.run, &self.inputs, start.action, start.number, started.fence)
        else {
            return;
        };
        let (stop, signal) = watch::channel(Stop::No);
        let (shared, definition) = (Arc::clone(&self.stepper.shared), self.stepper.definition.clone());
        let retrigger = self.stepper.definition.retrigger(start.action);
        let fence = started.fence;
        let task = self.attempts.spawn(async move {
            let (outcome, close) = execute(&shared, &definition, order, retrigger, signal).await;
            Ended { action: start.action, fence, outcome, close, permit }
        });
        self.at_work.insert(start.action, AtWork { fence, stop, task: task.id() });
    }

    fn tell(&self, stop: Stop) {
        for attempt in self.at_work.values() {
            attempt.stop.send_replace(stop);
        }
    }
}

/// What the end of an attempt is counted under.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done(_) => "done",
        Outcome::Skip(_) => "skip",
        Outcome::Failed(_) => "failed",
        Outcome::TimedOut(_) => "timed_out",
        Outcome::Cancelled => "cancelled",
        Outcome::HandedBack => "handed_back",
        Outcome::Crashed => "crashed",
    }
}

/// Sleeps, forever if need be: a timer has an end, [`Duration::MAX`] has none.
async fn sleep(span: Duration) {
    match tokio::time::Instant::now().checked_add(span) {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}
