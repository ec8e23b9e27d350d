//! Decides when runs start, and keeps a driver at each that has not ended.
//!
//! One task that owns what it knows and is told the rest in messages. It never polls: it wakes for a message, for the time at which a
//! trigger could become ready, or for the end of a run.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::abandon::abandon;
use super::core::{Fire, Plan, Situation, Waiting, plan};
use super::definition::Definition;
use super::driver::Driver;
use super::host::StartError;
use super::library::{Bound, Library};
use super::recorder::StatusBoard;
use super::shared::{Phase, Shared, persist, stopping};
use super::stepper::Stepper;
use crate::base::{RunId, Timestamp, fault};
use crate::model::{Pending, Run, RunDetail, RunState, Tick, TickOutcome};
use crate::store::{Claim, CreatedRun, NewRun, RunStep, StoreError, UnfinishedAttempt, UnfinishedRun};

/// From one tick to the next that did not fire, at least: while runs follow each other fast, each would be held for a moment, and say so.
const HELD_PAUSE: Duration = Duration::from_millis(250);
/// Most messages that wait for the dispatcher; senders wait beyond that.
pub(super) const MESSAGES: usize = 1_024;

/// Most runs that wait for a slot: beyond it none is started by hand.
const MAX_WAITING: usize = 10_000;

/// What the dispatcher is told.
pub(super) enum Message {
    /// What waits in a resource changed.
    Waiting {
        /// The resource.
        resource: String,
        /// What waits there.
        pending: Pending,
    },
    /// A run on record is to be taken up: someone retried it.
    TakeUp(RunId),
    /// A run is to end.
    Cancel(RunId),
    /// Someone starts a run by hand.
    Start {
        /// Its id.
        run: RunId,
        /// Its params.
        params: serde_json::Value,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Run, StoreError>>,
    },
    /// The pipeline is paused, or goes on.
    Paused(bool),
    /// Another manifest, or other components, are to come into force.
    Reload {
        /// What is to come into force.
        bound: Box<Bound>,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<(), StartError>>,
    },
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
    /// Runs that could not be taken up, because the manifest that they began under can not be used any more.
    pub stuck: u64,
}

/// A run that was created: its driver, the run as it was created, and what waits after it.
type Opened = (Driver, Run, Vec<(String, Pending)>);

/// Decides when runs start.
pub(super) struct Dispatcher {
    pub(super) shared: Arc<Shared>,
    /// What runs are bound to.
    pub(super) library: Library,
    pub(super) statuses: StatusBoard,
    pub(super) messages: mpsc::Receiver<Message>,
    pub(super) paused: bool,
    /// Whether to end once nothing is left to do.
    pub(super) draining: bool,
    /// What waits in each watched resource.
    pub(super) pending: Waiting,
    /// Runs that wait for a slot, oldest first.
    pub(super) waiting: VecDeque<UnfinishedRun>,
}

/// What the dispatcher has at work.
#[derive(Default)]
struct AtWork {
    /// Cancels, by run.
    runs: HashMap<RunId, watch::Sender<bool>>,
    drivers: JoinSet<(RunId, Result<RunState, StoreError>)>,
    /// Runs that someone retried while their driver was still putting its last step on record.
    again: Vec<RunId>,
    tally: Tally,
    /// The last tick of each resource: the same one twice says nothing.
    last_ticks: HashMap<String, (TickOutcome, String)>,
    /// When the last tick was recorded.
    ticked: Option<Instant>,
}

impl AtWork {
    /// Sets a driver to work.
    fn spawn(&mut self, run: RunId, driver: Driver, unfinished: Vec<UnfinishedAttempt>) {
        let (cancel, cancelled) = watch::channel(false);
        self.runs.insert(run, cancel);
        self.drivers.spawn(async move { (run, driver.drive(unfinished, cancelled).await) });
    }

    /// Whether a tick says something else than the one before it.
    fn is_news(&self, tick: &Tick) -> bool {
        let before = self.last_ticks.get(&tick.resource);
        before.is_none_or(|(outcome, reason)| (*outcome, reason) != (tick.outcome, &tick.reason))
    }
}

impl Dispatcher {
    /// Works until the host stops, or until nothing is left to do if it drains. Returns once every driver has ended.
    ///
    /// # Errors
    /// When the store refuses, so that nothing more can be done.
    pub(super) async fn work(mut self) -> Result<Tally, StoreError> {
        let mut work = AtWork::default();
        let mut phase = self.shared.phase.clone();
        while *phase.borrow() == Phase::Running {
            // The order matters: what a resource has sent before it said that it is through is in the queue by now.
            let reconciled = self.statuses.not_ready().is_empty();
            while let Ok(message) = self.messages.try_recv() {
                self.take(message, &mut work).await?;
            }
            // All that have ended: the runs that take their slots are created side by side.
            while let Some(ended) = work.drivers.try_join_next() {
                self.ended(ended, &mut work).await?;
            }
            self.start_waiting(&mut work).await?;
            let until = self.look(&mut work).await?;
            if self.draining && reconciled && work.runs.is_empty() && self.waiting.is_empty() {
                break;
            }
            tokio::select! {
                Some(message) = self.messages.recv() => self.take(message, &mut work).await?,
                Some(ended) = work.drivers.join_next() => self.ended(ended, &mut work).await?,
                () = sleep_until(until, self.shared.clock.now()) => {}
                () = self.statuses.changed() => {}
                _ = phase.changed() => {}
            }
        }
        self.wind_up(work).await
    }

    /// Nothing new starts; a run at work may still be cancelled.
    async fn wind_up(mut self, mut work: AtWork) -> Result<Tally, StoreError> {
        while !work.drivers.is_empty() {
            tokio::select! {
                Some(ended) = work.drivers.join_next() => self.ended(ended, &mut work).await?,
                Some(message) = self.messages.recv() => match message {
                    Message::Cancel(run) => {
                        if let Some(cancel) = work.runs.get(&run) {
                            cancel.send_replace(true);
                        }
                    }
                    // Who asked may be gone.
                    Message::Start { answer, .. } => drop(answer.send(Err(stopping()))),
                    Message::Reload { answer, .. } => drop(answer.send(Err(stopping().into()))),
                    // What is on record is seen by the next host.
                    Message::Waiting { .. } | Message::TakeUp(_) | Message::Paused(_) => {}
                },
            }
        }
        Ok(work.tally)
    }

    async fn take(&mut self, message: Message, work: &mut AtWork) -> Result<(), StoreError> {
        match message {
            Message::Waiting { resource, pending } => {
                self.pending.note(&resource, pending);
            }
            Message::TakeUp(run) if work.runs.contains_key(&run) => work.again.push(run),
            Message::TakeUp(run) => self.take_up(run).await?,
            Message::Cancel(run) => {
                if let Some(cancel) = work.runs.get(&run) {
                    cancel.send_replace(true);
                } else {
                    // It has no driver yet. It gets one at once, whose first step is to end it: that needs no slot.
                    self.waiting.retain(|waiting| waiting.detail.run.id != run);
                    if let Some(unfinished) = persist(&self.shared, || self.shared.store.unfinished(run)).await? {
                        self.drive(unfinished, work).await?;
                    }
                }
            }
            Message::Start { run, params, answer } => {
                // Who asked may be gone; the run is there all the same.
                let _ = answer.send(self.start_by_hand(run, params, work).await);
            }
            Message::Paused(paused) => self.paused = paused,
            Message::Reload { bound, answer } => drop(answer.send(self.library.replace(*bound).await)),
        }
        Ok(())
    }

    /// Puts a run on record into the queue, if it has not ended.
    async fn take_up(&mut self, run: RunId) -> Result<(), StoreError> {
        if let Some(unfinished) = persist(&self.shared, || self.shared.store.unfinished(run)).await? {
            self.waiting.push_back(unfinished);
        }
        Ok(())
    }

    /// Whether one more run may be at work.
    fn has_slot(&self, work: &AtWork) -> bool {
        work.runs.len() < self.library.current().pipeline.max_concurrent_runs as usize
    }

    async fn start_waiting(&mut self, work: &mut AtWork) -> Result<(), StoreError> {
        while self.has_slot(work) {
            let Some(run) = self.waiting.pop_front() else { break };
            self.drive(run, work).await?;
        }
        Ok(())
    }

    async fn drive(&mut self, unfinished: UnfinishedRun, work: &mut AtWork) -> Result<(), StoreError> {
        let id = unfinished.detail.run.id;
        let Some(definition) = self.library.get(unfinished.detail.run.revision).await else {
            if !abandon(&self.shared, &unfinished).await? {
                tracing::error!("run #{} waits for the next start, or to be cancelled", unfinished.detail.run.number);
                work.tally.stuck += 1;
            }
            return Ok(());
        };
        let RunDetail { run, inputs, actions, .. } = unfinished.detail;
        let stepper = Stepper::new(Arc::clone(&self.shared), definition, run.state, actions);
        work.spawn(id, Driver::new(stepper, run, inputs), unfinished.attempts);
        Ok(())
    }

    async fn ended(
        &mut self,
        ended: Result<(RunId, Result<RunState, StoreError>), tokio::task::JoinError>,
        work: &mut AtWork,
    ) -> Result<(), StoreError> {
        let (run, state) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                return Err(StoreError::Conflict(format!("the driver of a run ended abruptly: {error}")));
            }
        };
        work.runs.remove(&run);
        self.library.tidy();
        if self.library.current().pipeline.actions.iter().any(|action| action.retrigger) {
            // Its outputs may be inputs, and no watcher tells of them.
            self.refresh().await?;
        }
        let state = state?;
        if state.ended() {
            metrics::counter!("anacostia_runs_ended_total", "state" => state.as_str()).increment(1);
        }
        match state {
            RunState::Succeeded => work.tally.succeeded += 1,
            RunState::Failed => work.tally.failed += 1,
            RunState::Cancelled => work.tally.cancelled += 1,
            RunState::Queued | RunState::Running | RunState::Cancelling => {}
        }
        if work.again.contains(&run) {
            work.again.retain(|again| *again != run);
            self.take_up(run).await?;
        }
        Ok(())
    }

    /// Evaluates the triggers, and starts runs while they say so. Returns when time alone could change the answer.
    async fn look(&mut self, work: &mut AtWork) -> Result<Option<Timestamp>, StoreError> {
        let (mut fresh, mut lost) = (false, false);
        loop {
            let unseen = self.statuses.unseen();
            let situation = Situation {
                pending: &self.pending,
                unseen: &unseen,
                runs: work.runs.len(),
                queued: self.waiting.len(),
                paused: self.paused,
                draining: self.draining,
                now: self.shared.clock.now(),
            };
            match plan(&self.library.current().pipeline, situation) {
                Plan::Fire(fires) => {
                    // Some of what waited was gone, and was looked up anew: another look at once, but not one after the other for ever.
                    if !self.fire(fires, work).await? && std::mem::replace(&mut lost, true) {
                        return Ok(Some(self.shared.clock.now().after(HELD_PAUSE)));
                    }
                }
                Plan::Wait { ticks, until } if work.ticked.is_some_and(|then| then.elapsed() < HELD_PAUSE) => {
                    let again = (!ticks.is_empty()).then(|| situation.now.after(HELD_PAUSE));
                    return Ok(until.into_iter().chain(again).min());
                }
                // What a resource told may be older than what a run has claimed since: look before telling people.
                Plan::Wait { ticks, .. } if !fresh && ticks.iter().any(|tick| work.is_news(tick)) => {
                    self.refresh().await?;
                    fresh = true;
                }
                Plan::Wait { ticks, until } => {
                    self.record_ticks(ticks, work).await?;
                    return Ok(until);
                }
            }
        }
    }

    /// Creates runs, side by side, so that they share commits. `false` when some of what waited is gone; then all that waits has been looked up anew. Attempts
    /// begin while others of the runs are still being created: what the store refuses ends the host, and recovery closes them.
    async fn fire(&mut self, fires: Vec<Fire>, work: &mut AtWork) -> Result<bool, StoreError> {
        work.ticked = Some(Instant::now());
        for tick in fires.iter().flat_map(|fire| &fire.ticks) {
            work.last_ticks.remove(&tick.resource);
        }
        let definition = self.library.current();
        let runs = fires.into_iter().map(|fire| new_run(definition, RunId::new(), serde_json::json!({}), fire));
        let opened = join_all(runs.map(|run| self.open(run))).await;
        let mut all = true;
        for opened in opened {
            let Some(opened) = opened? else {
                all = false;
                continue;
            };
            self.set_off(opened, work);
        }
        if !all {
            self.refresh().await?;
        }
        Ok(all)
    }

    /// Sets the driver of a run that was just created to work. Returns the run as it was created.
    fn set_off(&mut self, (driver, run, pending): Opened, work: &mut AtWork) -> Run {
        fault::point("run.created");
        self.note(pending);
        work.spawn(run.id, driver, Vec::new());
        run
    }

    fn note(&mut self, pending: Vec<(String, Pending)>) {
        pending.into_iter().for_each(|(resource, pending)| self.pending.note(&resource, pending));
    }

    /// Asks the store what waits.
    async fn refresh(&mut self) -> Result<(), StoreError> {
        let resources: Vec<String> = self.pending.resources().cloned().collect();
        for resource in resources {
            let pending = persist(&self.shared, || self.shared.store.pending(&resource)).await?;
            self.pending.note(&resource, pending);
        }
        Ok(())
    }

    /// Creates a run with its first step: what can start at once is on record with it. `None` when what waited is gone.
    async fn open(&self, mut run: NewRun) -> Result<Option<Opened>, StoreError> {
        let definition = self.library.current();
        let actions = run.actions.clone();
        let mut stepper = Stepper::new(Arc::clone(&self.shared), definition.clone(), RunState::Queued, actions);
        let (starts, step) = stepper.decide();
        run.step = step;
        let Some(created) = self.create(run).await? else { return Ok(None) };
        let RunDetail { run, inputs, .. } = created.detail;
        let mut driver = Driver::new(stepper, run.clone(), inputs);
        driver.begin(starts, created.started);
        Ok(Some((driver, run, created.pending)))
    }

    async fn create(&self, run: NewRun) -> Result<Option<CreatedRun>, StoreError> {
        persist(&self.shared, || self.shared.store.create_run(run.clone(), self.shared.clock.now())).await
    }

    async fn start_by_hand(
        &mut self,
        id: RunId,
        params: serde_json::Value,
        work: &mut AtWork,
    ) -> Result<Run, StoreError> {
        if let Some(known) = self.shared.store.run_summary(id).await? {
            return if known.params == params {
                Ok(known)
            } else {
                Err(StoreError::Conflict(format!("run {id} exists already, with other params")))
            };
        }
        if self.waiting.len() >= MAX_WAITING {
            return Err(StoreError::Conflict(format!(
                "{MAX_WAITING} runs wait for a slot; ask again when some have ended"
            )));
        }
        let watched = self.library.current().pipeline.resources.iter().filter(|resource| resource.watch);
        let claims: Vec<Claim> = watched
            .map(|resource| Claim {
                resource: resource.name.clone(),
                at_most: resource.trigger.max_artifacts,
                at_least: 0,
                min_bytes: 0,
            })
            .collect();
        let fire = Fire { claims, ticks: Vec::new(), trigger: "started by hand".to_owned() };
        let run = new_run(self.library.current(), id, params, fire);
        let refused = || StoreError::Conflict("the run could not be created".to_owned());
        if self.waiting.is_empty() && self.has_slot(work) {
            let opened = self.open(run).await?.ok_or_else(refused)?;
            return Ok(self.set_off(opened, work));
        }
        let created = self.create(run).await?.ok_or_else(refused)?;
        self.note(created.pending);
        let started = created.detail.run.clone();
        self.waiting.push_back(UnfinishedRun { detail: created.detail, attempts: Vec::new() });
        Ok(started)
    }

    async fn record_ticks(&self, ticks: Vec<Tick>, work: &mut AtWork) -> Result<(), StoreError> {
        for tick in ticks {
            if !work.is_news(&tick) {
                continue;
            }
            let said = (tick.outcome, tick.reason.clone());
            persist(&self.shared, || self.shared.store.record_tick(tick.clone())).await?;
            work.ticked = Some(Instant::now());
            work.last_ticks.insert(tick.resource, said);
        }
        Ok(())
    }
}

/// A run of this definition, without a first step.
fn new_run(definition: &Definition, id: RunId, params: serde_json::Value, fire: Fire) -> NewRun {
    let fired: Vec<&str> = fire.claims.iter().map(|claim| claim.resource.as_str()).collect();
    NewRun {
        id,
        trigger: fire.trigger,
        params,
        revision: definition.revision,
        actions: definition.new_actions(&fired),
        claims: fire.claims,
        ticks: fire.ticks,
        step: RunStep::default(),
    }
}

/// Sleeps until a moment of the clock; for ever if there is none.
async fn sleep_until(until: Option<Timestamp>, now: Timestamp) {
    match until {
        Some(until) => tokio::time::sleep(until.since(now)).await,
        None => std::future::pending().await,
    }
}
