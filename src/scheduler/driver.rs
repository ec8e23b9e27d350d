//! Drives one run: asks the core what to do, puts each step on record, and starts what the step says.
//!
//! A step is written before it is acted on. So whatever dies, and whenever, the record says at least as much as has happened, and a driver
//! that begins from the record ([`Driver::drive`] with what was unfinished) goes on where the last one stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::core::{Event, Start};
use super::executor::{Close, crashed_end, discard, execute, make_visible};
use super::shared::{Phase, persist};
use super::stepper::Stepper;
use crate::base::{WriteId, fault};
use crate::model::{Artifact, Fence, Outcome, Run, RunState};
use crate::sandbox::Stop;
use crate::store::{RunStep, StartedAttempt, StoreError, UnfinishedAttempt};

/// Most ends of attempts that wait for their driver: more attempts than slots are never at work.
const ENDS: usize = 64;

/// Drives one run.
pub(super) struct Driver {
    stepper: Stepper,
    run: Run,
    /// What the run claimed.
    inputs: Arc<[Artifact]>,
    /// Attempts at work, by the place of their action.
    at_work: BTreeMap<usize, watch::Sender<Stop>>,
    ends: mpsc::Receiver<Ended>,
    ended: mpsc::Sender<Ended>,
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
    Cancel,
    RetryDue(usize),
    Permit(OwnedSemaphorePermit),
    HandBack,
    Finishing,
}

impl Driver {
    /// A driver for a run as it is on record, whose steps `stepper` decides.
    pub(super) fn new(stepper: Stepper, run: Run, inputs: Vec<Artifact>) -> Self {
        let (ended, ends) = mpsc::channel(ENDS);
        Self { stepper, run, inputs: inputs.into(), at_work: BTreeMap::new(), ends, ended }
    }

    /// Drives the run until it has ended or the host stops. `unfinished`: attempts that a dead host left. `cancel` turns true when the run is to end.
    /// Returns where the run stands.
    ///
    /// # Errors
    /// When the store refuses: another host has taken over, or the record makes no sense.
    pub(super) async fn drive(
        mut self,
        unfinished: Vec<UnfinishedAttempt>,
        mut cancel: watch::Receiver<bool>,
    ) -> Result<RunState, StoreError> {
        for attempt in unfinished {
            if let Some(why) = self.not_ours(&attempt) {
                // An error would end the host, at every start anew, for the sake of one run.
                tracing::error!("run #{} is left as it is: {why}", self.run.number);
                return Ok(self.stepper.core.state());
            }
            self.take_over(attempt).await?;
        }
        self.step(None).await?;
        let mut phase = self.stepper.shared.phase.clone();
        while !self.stepper.core.state().ended() {
            if *phase.borrow() != Phase::Running && self.at_work.is_empty() {
                break;
            }
            match self.next(&mut cancel, &mut phase).await {
                Next::Ended(end) => self.close(*end).await?,
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
            // Nobody may be waiting for it.
            let _ = self.stepper.shared.ends.send(self.run.id);
        }
        Ok(state)
    }

    async fn next(&mut self, cancel: &mut watch::Receiver<bool>, phase: &mut watch::Receiver<Phase>) -> Next {
        let running = *phase.borrow() == Phase::Running;
        let cancelling = self.stepper.core.state() == RunState::Cancelling;
        let retry = self.stepper.core.next_retry().filter(|_| running);
        let now = self.stepper.shared.clock.now();
        let retry_in = retry.map_or(Duration::MAX, |(due, _)| due.since(now));
        let slots = Arc::clone(&self.stepper.shared.slots);
        tokio::select! {
            biased;
            Some(end) = self.ends.recv() => Next::Ended(Box::new(end)),
            Ok(_) = cancel.wait_for(|cancel| *cancel), if !cancelling => Next::Cancel,
            Ok(()) = phase.changed() => match *phase.borrow() {
                Phase::HandingBack => Next::HandBack,
                Phase::Running | Phase::Finishing => Next::Finishing,
            },
            () = sleep(retry_in), if retry.is_some() => Next::RetryDue(retry.map_or(0, |(_, action)| action)),
            Ok(permit) = slots.acquire_owned(), if running && self.stepper.core.ready() > 0 => Next::Permit(permit),
        }
    }

    /// Why an attempt that a dead host left can not be taken over, if it can not.
    fn not_ours(&self, attempt: &UnfinishedAttempt) -> Option<String> {
        let UnfinishedAttempt { fence, action, files, .. } = attempt;
        let id = fence.attempt_id;
        if self.stepper.definition.graph.place(action).is_none() {
            return Some(format!("attempt {id} is of `{action}`, which its manifest does not have"));
        }
        let resources = &self.stepper.definition.services.resources;
        let missing = files.iter().flatten().find(|file| !resources.contains_key(&file.resource))?;
        Some(format!(
            "`{}` of attempt {id} goes to {}, which its manifest does not have; it stays staged",
            missing.path, missing.resource
        ))
    }

    /// An attempt that a dead host left: rolled forward if it had passed its commit point, crashed otherwise.
    async fn take_over(&mut self, attempt: UnfinishedAttempt) -> Result<(), StoreError> {
        let Some(action) = self.stepper.definition.graph.place(&attempt.action) else { return Ok(()) };
        let (outcome, close) = match attempt.files {
            None => (Outcome::Crashed, Close::Finish(Box::new(crashed_end(self.stepper.shared.logs.end())))),
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
            now: self.stepper.shared.clock.now(),
            jitter: fastrand::f64(),
        });
        self.step(Some((fence, close))).await?;
        discard(&kept, fence.attempt_id).await;
        Ok(())
    }

    /// Whoever recovers the attempt decides what follows from it. Unless this host stops anyway it ends with an error: its run would
    /// never end, and hold its slot, with nobody told.
    fn leave(&self, fence: Fence) -> Result<(), StoreError> {
        if *self.stepper.shared.phase.borrow() == Phase::HandingBack {
            return Ok(());
        }
        let why = "could be neither committed nor given up: the next start takes it over";
        Err(StoreError::Conflict(format!("attempt {} of run #{} {why}", fence.attempt_id, self.run.number)))
    }

    /// Takes the step that is due: puts it on record, closing an attempt with it if one has ended, and starts what it says.
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
        self.at_work.insert(start.action, stop);
        let (shared, definition, ended) =
            (Arc::clone(&self.stepper.shared), self.stepper.definition.clone(), self.ended.clone());
        let retrigger = self.stepper.definition.retrigger(start.action);
        tokio::spawn(async move {
            let (outcome, close) = execute(&shared, &definition, order, retrigger, signal).await;
            let end = Ended { action: start.action, fence: started.fence, outcome, close, permit };
            // Nobody listens only when the driver has failed, and then recovery closes the attempt.
            let _ = ended.send(end).await;
        });
    }

    fn tell(&self, stop: Stop) {
        for attempt in self.at_work.values() {
            attempt.send_replace(stop);
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

/// Sleeps, for ever if need be: a timer has an end, [`Duration::MAX`] has none.
async fn sleep(span: Duration) {
    match tokio::time::Instant::now().checked_add(span) {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}
