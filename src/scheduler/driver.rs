//! Drives one run: asks the core what to do, puts each step on record, and starts the attempts of
//! the step.
//!
//! A step is written before anything acts on it. So whatever dies at whatever time, the record
//! covers at least everything that has happened, and a driver that begins from the record
//! ([`Driver::drive`] with the unfinished attempts) continues where the last one stopped.
//!
//! Attempts are tasks of the driver, and end with it. If the task of an attempt panics, the driver
//! reads the attempt's record and closes it like an attempt of a dead host.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::{Id, JoinError, JoinSet};

use super::core::{Event, Start};
use super::executor::{
    Close, HOST_DIED, HOST_FAILED, crashed_end, discard, execute, make_visible, mark_published, stopped_end,
};
use super::pauses::Pauses;
use super::shared::{Phase, Told, persist, read_on};
use super::slots::Ticket;
use super::stepper::Stepper;
use super::supervise::panic_text;
use crate::base::bounds::MAX_PAGE;
use crate::base::{WriteId, fault};
use crate::model::{Artifact, Decision, Fence, Outcome, Page, Run, RunState, Verdict};
use crate::sandbox::Stop;
use crate::store::{PageRequest, RunStep, StartedAttempt, StoreError, UnfinishedAttempt};

/// Drives one run.
pub(super) struct Driver {
    stepper: Stepper,
    run: Run,
    /// The artifacts that the run claimed or was given. `None` if they were not read yet: a run
    /// that waits does not hold them in memory.
    inputs: Option<Arc<[Artifact]>>,
    /// The attempts of the first step, if they start once the inputs are read.
    first: Option<(Vec<Start>, Vec<StartedAttempt>)>,
    /// Active attempts, by the place of their action in the graph.
    active: BTreeMap<usize, ActiveAttempt>,
    attempts: JoinSet<Ended>,
}

/// An active attempt.
struct ActiveAttempt {
    fence: Fence,
    stop: watch::Sender<Stop>,
    task: Id,
    /// The named limits that it uses. They are given back only once its end is on record, so that
    /// on record, too, what takes its place starts after its end.
    ticket: Option<Ticket>,
}

/// The end of an attempt.
struct Ended {
    action: usize,
    fence: Fence,
    outcome: Outcome,
    close: Close,
    permit: OwnedSemaphorePermit,
}

/// What a driver waits for.
enum Next {
    Ended(Box<Ended>),
    Panicked(JoinError),
    Told(Told),
    RetryDue(usize),
    TimedOut(usize),
    Permit(OwnedSemaphorePermit),
    /// Some actions are held back now, or no longer.
    Holds,
    HandBack,
    Finishing,
}

impl Driver {
    /// Creates a driver for a run on record, whose steps `stepper` decides.
    pub(super) fn new(stepper: Stepper, run: Run) -> Self {
        Self { stepper, run, inputs: None, first: None, active: BTreeMap::new(), attempts: JoinSet::new() }
    }

    /// Creates a driver for a run that was just created. `inputs` are its first inputs; if there
    /// are no others, starts the attempts of its first step.
    pub(super) fn begun(
        stepper: Stepper,
        run: Run,
        inputs: Page<Artifact>,
        starts: Vec<Start>,
        started: Vec<StartedAttempt>,
    ) -> Self {
        let mut driver = Self::new(stepper, run);
        if inputs.next_cursor.is_none() {
            let inputs: Arc<[Artifact]> = inputs.items.into();
            driver.spawn_all(starts, started, &inputs);
            driver.inputs = Some(inputs);
        } else {
            driver.first = Some((starts, started));
        }
        driver
    }

    /// Drives the run until it has ended or the host stops, and returns its state. `unfinished` are
    /// the attempts of a dead host. `told` changes when the driver has to look at something.
    ///
    /// # Errors
    /// [`StoreError`] if the store refuses a write: another host has taken over, or the record is
    /// invalid.
    pub(super) async fn drive(
        mut self,
        unfinished: Vec<UnfinishedAttempt>,
        told: watch::Receiver<Told>,
    ) -> Result<RunState, StoreError> {
        let state = self.drive_to_completion(unfinished, told).await;
        if state.is_err() {
            // The next driver of the run begins from the record, so the attempts of this one must
            // not write any more.
            self.attempts.shutdown().await;
        }
        state
    }

    async fn drive_to_completion(
        &mut self,
        unfinished: Vec<UnfinishedAttempt>,
        mut told: watch::Receiver<Told>,
    ) -> Result<RunState, StoreError> {
        fault::point("driver.begin");
        if let Some((starts, started)) = self.first.take() {
            self.begin(starts, started).await?;
        }
        for attempt in unfinished {
            if let Some(why) = self.unrecoverable(&attempt) {
                // An error would end the host, again at every start, because of a single run.
                tracing::error!("run #{} stays unfinished: {why}", self.run.number);
                return Ok(self.stepper.core.state());
            }
            self.recover(attempt, HOST_DIED, &told).await?;
        }
        let mut pauses = self.stepper.shared.pauses.subscribe();
        let mut log = self.stepper.shared.log_gate.subscribe();
        self.take_decisions().await?;
        self.step(None).await?;
        let mut phase = self.stepper.shared.phase.clone();
        while !self.stepper.core.state().ended() {
            if *phase.borrow() != Phase::Running && self.active.is_empty() {
                break;
            }
            let left = self.is_left_to_people();
            if left && told.borrow().leave {
                break;
            }
            self.stepper.shared.note_left(self.run.id, left);
            match self.next(&mut told, &mut phase, &mut pauses, &mut log).await {
                Next::Ended(end) => self.close(*end).await?,
                Next::Panicked(error) => self.recover_panicked(error, &told).await?,
                Next::Told(told) => {
                    if told.cancel {
                        self.cancel();
                    }
                    if told.decided {
                        self.take_decisions().await?;
                    }
                    self.step(None).await?;
                }
                Next::RetryDue(action) => {
                    self.stepper.core.apply(Event::BackoffOver { action });
                    self.step(None).await?;
                }
                Next::TimedOut(action) => {
                    self.time_out(action).await?;
                    self.step(None).await?;
                }
                Next::Permit(permit) => {
                    self.stepper.permits.push(permit);
                    self.step(None).await?;
                }
                Next::Holds => self.step(None).await?,
                Next::HandBack => self.signal(Stop::HandBack),
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

    async fn next(
        &mut self,
        told: &mut watch::Receiver<Told>,
        phase: &mut watch::Receiver<Phase>,
        pauses: &mut watch::Receiver<Arc<Pauses>>,
        log: &mut watch::Receiver<Option<String>>,
    ) -> Next {
        let running = *phase.borrow() == Phase::Running;
        let retry = self.stepper.core.next_retry().filter(|_| running);
        let now = self.stepper.shared.clock.moment();
        let retry_in = retry.map_or(Duration::MAX, |(due, _)| due.since(now));
        let timeout = self.stepper.core.next_timeout().filter(|_| running);
        let timeout_in = timeout.map_or(Duration::MAX, |(due, _)| due.since(now));
        let (slots, granted) = (Arc::clone(&self.stepper.shared.slots), Arc::clone(&self.stepper.granted));
        tokio::select! {
            biased;
            Some(end) = self.attempts.join_next() => match end {
                Ok(end) => Next::Ended(Box::new(end)),
                Err(error) => Next::Panicked(error),
            },
            Ok(()) = told.changed() => Next::Told(*told.borrow()),
            Ok(()) = phase.changed() => match *phase.borrow() {
                Phase::HandingBack => Next::HandBack,
                Phase::Running | Phase::Finishing => Next::Finishing,
            },
            Ok(()) = pauses.changed(), if running => Next::Holds,
            Ok(()) = log.changed(), if running => Next::Holds,
            () = granted.notified(), if running => Next::Holds,
            () = sleep(retry_in), if retry.is_some() => Next::RetryDue(retry.map_or(0, |(_, action)| action)),
            () = sleep(timeout_in), if timeout.is_some() => Next::TimedOut(timeout.map_or(0, |(_, action)| action)),
            Ok(permit) = slots.acquire_owned(), if running && self.stepper.core.ready() > 0 => Next::Permit(permit),
        }
    }

    /// Returns why an attempt of a dead host cannot be recovered, if so.
    fn unrecoverable(&self, attempt: &UnfinishedAttempt) -> Option<String> {
        let UnfinishedAttempt { fence, action, files, .. } = attempt;
        let id = fence.attempt_id;
        if self.stepper.definition.graph.place(action).is_none() {
            return Some(format!("attempt {id} is of `{action}`, which its manifest does not have"));
        }
        if files.as_ref().is_some_and(Vec::is_empty) && !attempt.cached {
            return Some(format!(
                "attempt {id} has passed its commit point, but its record does not say what it publishes"
            ));
        }
        let resources = &self.stepper.definition.services.resources;
        let missing = files.iter().flatten().find(|file| !resources.contains_key(&file.resource))?;
        Some(format!(
            "`{}` of attempt {id} cannot be published: its manifest has no resource {}; it stays staged",
            missing.path, missing.resource
        ))
    }

    /// Recovers an attempt of a dead host: rolls it forward if it had passed its commit point.
    /// Otherwise hands it back if the host was asked to stop, and closes it as crashed if not. What
    /// waits for a service meanwhile is given up once the run is to be cancelled.
    async fn recover(
        &mut self,
        attempt: UnfinishedAttempt,
        why: &str,
        told: &watch::Receiver<Told>,
    ) -> Result<(), StoreError> {
        let Some(action) = self.stepper.definition.graph.place(&attempt.action) else { return Ok(()) };
        let (outcome, close) = match attempt.files {
            None if attempt.stopped => {
                let end = stopped_end(self.stepper.shared.logs.end());
                (Outcome::HandedBack, Close::Finish(Box::new(end)))
            }
            None => (Outcome::Crashed, Close::Finish(Box::new(crashed_end(why, self.stepper.shared.logs.end())))),
            Some(files) => {
                let id = attempt.fence.attempt_id;
                let (is_cancelled, mut heard) = (self.stepper.core.state() == RunState::Cancelling, told.clone());
                let cancelled = async move {
                    if !is_cancelled && heard.wait_for(|told| told.cancel).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                };
                let close = make_visible(&self.stepper.shared, &self.stepper.definition, id, &files, cancelled).await;
                if told.borrow().cancel {
                    self.cancel();
                }
                let message = attempt.message;
                let outcome = match attempt.skip {
                    skip if attempt.cached => Outcome::Cached { skip, message },
                    true => Outcome::Skip(message.unwrap_or_default()),
                    false => Outcome::Done(message),
                };
                (close.outcome(outcome), close)
            }
        };
        fault::point("recover.attempt");
        self.record_end(action, attempt.fence, outcome, close).await
    }

    /// Recovers an attempt whose task panicked. The record says how far the attempt was.
    async fn recover_panicked(&mut self, error: JoinError, told: &watch::Receiver<Told>) -> Result<(), StoreError> {
        let Some((action, fence)) =
            self.active.iter().find(|(_, it)| it.task == error.id()).map(|(action, it)| (*action, it.fence))
        else {
            return Ok(());
        };
        let ended = self.active.remove(&action);
        let shared = Arc::clone(&self.stepper.shared);
        shared.progress.clear(fence.attempt_id);
        tracing::error!(attempt = %fence.attempt_id, "the task of an attempt has ended: {}", panic_text(error));
        let run = self.run.id;
        let unfinished = read_on(&shared, || shared.store.unfinished(run)).await?;
        let attempts = unfinished.into_iter().flat_map(|run| run.attempts);
        let Some(attempt) = attempts.into_iter().find(|it| it.fence == fence) else {
            return Err(StoreError::Conflict(format!(
                "attempt {} has ended on record, but its task was still running",
                fence.attempt_id
            )));
        };
        let staged: Vec<_> =
            if attempt.files.is_none() { self.stepper.definition.written().cloned().collect() } else { Vec::new() };
        self.recover(attempt, HOST_FAILED, told).await?;
        drop(ended);
        discard(&staged, fence.attempt_id).await;
        Ok(())
    }

    /// Returns whether the run cannot continue now until a person acts.
    fn is_left_to_people(&self) -> bool {
        let now = self.stepper.shared.clock.moment();
        self.stepper.is_held() && self.stepper.core.next_timeout().is_none_or(|(due, _)| due > now)
    }

    /// Records that nobody has decided about an action in time, unless someone has just done so,
    /// and continues from what is on record.
    async fn time_out(&mut self, action: usize) -> Result<(), StoreError> {
        let (shared, id, run) = (Arc::clone(&self.stepper.shared), WriteId::new(), self.run.id);
        let name = self.stepper.definition.graph.name(action);
        let decision = Decision::new(Verdict::TimedOut, None, None, shared.clock.now());
        let refused = match persist(&shared, || shared.store.decide_approval(run, name, decision.clone(), id)).await {
            Ok(_) => None,
            Err(error @ StoreError::Conflict(_)) => Some(error),
            Err(error) => return Err(error),
        };
        self.take_decisions().await?;
        // An action that still awaits approval after a refused write would wait forever.
        refused.filter(|_| self.stepper.core.awaiting().any(|it| it == action)).map_or(Ok(()), Err)
    }

    /// Takes over what is on record about the actions that wait for approval: the decisions about
    /// them, or that their run is to be cancelled.
    async fn take_decisions(&mut self) -> Result<(), StoreError> {
        let awaiting: Vec<usize> = self.stepper.core.awaiting().collect();
        if awaiting.is_empty() {
            return Ok(());
        }
        let (shared, run) = (Arc::clone(&self.stepper.shared), self.run.id);
        let Some(record) = read_on(&shared, || shared.store.run_progress(run)).await? else { return Ok(()) };
        let now = shared.clock.both();
        for action in awaiting {
            let name = self.stepper.definition.graph.name(action);
            let on_record = record.actions.iter().find(|action| action.name == name);
            let decision = on_record.and_then(|action| action.awaited()?.decision.clone());
            if let Some(decision) = decision {
                self.stepper.core.apply(Event::Decided { action, decision, now });
            }
        }
        if record.run.state == RunState::Cancelling {
            self.cancel();
        }
        Ok(())
    }

    /// Takes over that the run is to be cancelled.
    fn cancel(&mut self) {
        if self.stepper.core.state() != RunState::Cancelling {
            self.stepper.core.apply(Event::CancelRequested);
            self.signal(Stop::Cancel);
        }
    }

    async fn close(&mut self, end: Ended) -> Result<(), StoreError> {
        let ended = self.active.remove(&end.action);
        self.stepper.permits.push(end.permit);
        let recorded = self.record_end(end.action, end.fence, end.outcome, end.close).await;
        drop(ended.and_then(|attempt| attempt.ticket));
        recorded
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
        metrics::counter!("anacostia_attempts_ended_total", "outcome" => label(&outcome)).increment(1);
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

    /// Leaves an attempt unclosed. If this host is stopping, the next host recovers it. Otherwise
    /// returns an error, so that the next driver of the run recovers it from the record.
    fn leave(&self, fence: Fence) -> Result<(), StoreError> {
        if *self.stepper.shared.phase.borrow() == Phase::HandingBack {
            return Ok(());
        }
        let why = "could not be closed; the next driver of the run tries to recover it";
        Err(StoreError::Conflict(format!("attempt {} of run #{} {why}", fence.attempt_id, self.run.number)))
    }

    /// Takes the next step: puts it on record, together with the end of an attempt if one has
    /// ended, and starts the attempts of the step.
    async fn step(&mut self, closing: Option<(Fence, Close)>) -> Result<(), StoreError> {
        let (starts, step) = self.stepper.decide();
        if closing.is_none() && step == RunStep::default() {
            self.stepper.permits.clear();
            return Ok(());
        }
        let started = self.write(closing, step).await?;
        fault::point("step.recorded");
        self.begin(starts, started).await
    }

    /// Starts the attempts of a step that is on record.
    async fn begin(&mut self, starts: Vec<Start>, started: Vec<StartedAttempt>) -> Result<(), StoreError> {
        let inputs = if starts.is_empty() { Arc::default() } else { self.inputs().await? };
        self.spawn_all(starts, started, &inputs);
        Ok(())
    }

    fn spawn_all(&mut self, starts: Vec<Start>, started: Vec<StartedAttempt>, inputs: &Arc<[Artifact]>) {
        for (start, started) in starts.into_iter().zip(started) {
            self.spawn(start, started, inputs);
        }
        // Remaining permits are for other runs.
        self.stepper.permits.clear();
    }

    /// Returns the inputs of the run, which are read the first time.
    async fn inputs(&mut self) -> Result<Arc<[Artifact]>, StoreError> {
        if let Some(inputs) = &self.inputs {
            return Ok(Arc::clone(inputs));
        }
        let (shared, run) = (Arc::clone(&self.stepper.shared), self.run.id);
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let request = || PageRequest { cursor: cursor.clone(), limit: MAX_PAGE };
            let page = read_on(&shared, || shared.store.run_inputs(run, request())).await?;
            all.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(Arc::clone(self.inputs.insert(all.into())))
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
                persist(shared, || mark_published(shared, *fence, visible, step.clone(), now)).await
            }
            // `record_end` returns early for these.
            Some((_, Close::Left)) => Ok(Vec::new()),
        }
    }

    fn spawn(&mut self, start: Start, started: StartedAttempt, inputs: &Arc<[Artifact]>) {
        let Some(permit) = self.stepper.permits.pop() else { return };
        let Some(order) = self.stepper.definition.order(&self.run, inputs, start.action, start.number, started.fence)
        else {
            return;
        };
        let (stop, signal) = watch::channel(Stop::No);
        let (shared, definition) = (Arc::clone(&self.stepper.shared), self.stepper.definition.clone());
        let retrigger = self.stepper.definition.retrigger(start.action);
        let ticket = self.stepper.tickets.remove(&start.action);
        let is_first = self.stepper.core.is_first(start);
        let fence = started.fence;
        let task = self.attempts.spawn(async move {
            let (outcome, close) = execute(&shared, &definition, order, is_first, retrigger, signal).await;
            Ended { action: start.action, fence, outcome, close, permit }
        });
        self.active.insert(start.action, ActiveAttempt { fence, stop, task: task.id(), ticket });
    }

    fn signal(&self, stop: Stop) {
        for attempt in self.active.values() {
            attempt.stop.send_replace(stop);
        }
    }
}

/// Returns the label of an outcome in metrics.
fn label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done(_) => "done",
        Outcome::Skip(_) => "skip",
        Outcome::Cached { .. } => "cached",
        Outcome::Failed(_) => "failed",
        Outcome::TimedOut(_) => "timed_out",
        Outcome::Cancelled => "cancelled",
        Outcome::HandedBack => "handed_back",
        Outcome::Crashed => "crashed",
    }
}

/// Sleeps for `span`; forever if the end is beyond what a timer can represent, such as for
/// [`Duration::MAX`].
async fn sleep(span: Duration) {
    match tokio::time::Instant::now().checked_add(span) {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}
