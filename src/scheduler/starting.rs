//! Starts runs: those whose triggers fire, and those that people start by hand.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::at_work::AtWork;
use super::core::{Fire, Plan, Situation, plan};
use super::definition::Definition;
use super::dispatcher::Dispatcher;
use super::driver::Driver;
use super::new_run::{ManualRun, fired};
use super::shared::{Shared, TRY_AGAIN, persist};
use super::stepper::Stepper;
use crate::base::bounds::MAX_PAGE;
use crate::base::{Moment, RunId, fault};
use crate::model::{Pending, Run, RunState, Tick, TriggerMark};
use crate::store::{CreatedRun, NewRun, PageRequest, StoreError, UnfinishedRun};

/// The shortest time between recorded ticks that did not fire. Without it, each of many runs in
/// quick succession would record that it was held for a moment.
const HELD_PAUSE: Duration = Duration::from_millis(250);
/// The most runs that wait for a slot; beyond that, no run is started by hand.
const MAX_WAITING: usize = 10_000;
/// The name under which `/readyz` reports that no run can be created.
const NEW_RUNS: &str = "new runs";

/// A run that was created: its driver, its record, and the pending artifacts after it.
type Opened = (Driver, Run, Vec<(String, Pending)>);

impl Dispatcher {
    /// Evaluates the triggers, and starts runs as long as they fire. Returns the moment when time
    /// alone could change the result.
    pub(super) async fn evaluate(&mut self, work: &mut AtWork) -> Result<Option<Moment>, StoreError> {
        let (mut fresh, mut lost) = (false, false);
        self.look_back(work).await?;
        loop {
            self.read_groups(work).await?;
            let unseen = self.statuses.unseen();
            let paused_resources = self.shared.pauses.resources();
            let now = self.shared.clock.both();
            let situation = Situation {
                pending: &self.pending,
                unseen: &unseen,
                history: &self.history,
                runs: work.runs.len(),
                left: self.shared.left.borrow().len(),
                queued: self.waiting.len(),
                paused: self.paused,
                paused_resources: &paused_resources,
                draining: self.draining,
                now,
                due: if self.draining { self.started } else { now },
            };
            let mut plan = plan(&self.library.current().pipeline, situation);
            if let Plan::Wait { ticks, idle, .. } = &mut plan {
                ticks.extend(idle.drain(..).filter(|tick| work.ends_a_reason(tick)));
            }
            match plan {
                Plan::Fire(fires) => match self.fire(fires, work).await? {
                    Fired::All => {}
                    // Some pending artifacts were gone, and were counted again. Evaluate again at
                    // once, but only once.
                    Fired::Some if !std::mem::replace(&mut lost, true) => {}
                    Fired::Some => return Ok(Some(self.shared.clock.moment().after(HELD_PAUSE))),
                    Fired::Refused => return Ok(Some(self.shared.clock.moment().after(TRY_AGAIN))),
                },
                // Refresh the counts before asking, because a component is asked about what it will
                // see.
                Plan::Wait { asks, .. } if !asks.is_empty() && !fresh => {
                    self.refresh(work).await?;
                    fresh = true;
                }
                Plan::Wait { asks, .. } if !asks.is_empty() => self.ask(&asks, work),
                Plan::Wait { ticks, until, .. }
                    if work.ticked.is_some_and(|then| then.elapsed() < HELD_PAUSE)
                        // A host that drains may end now, so it records this tick as its last.
                        && !(self.draining && work.is_idle(&self.shared.left.borrow())) =>
                {
                    let again = (!ticks.is_empty()).then(|| situation.now.moment.after(HELD_PAUSE));
                    return Ok(until.into_iter().chain(again).min());
                }
                // The counts may be older than the last claim of a run. Refresh them before
                // recording a tick that people see.
                Plan::Wait { ticks, .. } if !fresh && ticks.iter().any(|tick| work.is_news(tick)) => {
                    self.refresh(work).await?;
                    fresh = true;
                }
                Plan::Wait { ticks, until, passed, .. } => {
                    self.record_ticks(ticks, work).await?;
                    if !passed.is_empty() {
                        self.history.set(&passed, now);
                        self.record_marks(work).await?;
                    }
                    return Ok(until);
                }
            }
        }
    }

    /// Creates runs concurrently, so that they share commits. The attempts of a run begin while
    /// other runs are still being created. If some pending artifacts are gone, or the store refuses
    /// a run, counts all pending artifacts again.
    async fn fire(&mut self, fires: Vec<Fire>, work: &mut AtWork) -> Result<Fired, StoreError> {
        work.ticked = Some(Instant::now());
        for tick in fires.iter().flat_map(|fire| &fire.ticks) {
            work.last_ticks.remove(&tick.trigger);
        }
        let definition = self.library.current().clone();
        let (shared, definition) = (Arc::clone(&self.shared), &definition);
        let marks: Vec<Vec<TriggerMark>> = fires.iter().map(|fire| fire.marks.clone()).collect();
        let runs = fires.into_iter().map(|fire| fired(definition, RunId::new(), serde_json::json!({}), fire));
        let opens = join_all(runs.map(|run| open(&shared, definition, run, Patience::Endless)));
        let mut fired = Fired::All;
        for (opened, marks) in self.wait_for(work, opens).await.into_iter().zip(marks) {
            match opened {
                Ok(Some(opened)) => {
                    self.fired(&marks);
                    drop(self.launch(opened, work));
                }
                Ok(None) if fired == Fired::All => fired = Fired::Some,
                Ok(None) => {}
                Err(
                    error @ (StoreError::Fenced { .. }
                    | StoreError::TakenOver { .. }
                    | StoreError::Forgotten { .. }
                    | StoreError::Unavailable { .. }),
                ) => return Err(error),
                Err(error) => {
                    tracing::error!("no run can be created: {error}; it is tried again every second");
                    self.shared.health.trouble(NEW_RUNS, error.to_string());
                    fired = Fired::Refused;
                }
            }
        }
        if fired == Fired::All {
            self.shared.health.mended(NEW_RUNS);
        } else {
            self.refresh(work).await?;
        }
        Ok(fired)
    }

    /// Starts the driver of a run that was just created. Returns the run.
    fn launch(&mut self, (driver, run, pending): Opened, work: &mut AtWork) -> Run {
        fault::point("run.created");
        self.note(pending);
        work.spawn(run.id, driver, Vec::new());
        run
    }

    /// Starts a run by hand. If the store does not work, returns an error at once; the caller can
    /// send the same request again.
    pub(super) async fn start_by_hand(&mut self, manual: ManualRun, work: &mut AtWork) -> Result<Run, StoreError> {
        let (shared, id) = (Arc::clone(&self.shared), manual.id);
        if let Some(known) = self.wait_for(work, shared.store.run_summary(id)).await? {
            // One page is enough, because a request gives no more artifacts than that.
            let page = PageRequest { cursor: None, limit: MAX_PAGE };
            let inputs = self.wait_for(work, shared.store.run_inputs(id, page)).await?.items;
            return if manual.is(&known) && manual.gives(&inputs) {
                // The answer to its creation may have been lost. The run is then on record without
                // a driver.
                self.resume(id, work).await?;
                Ok(known)
            } else {
                Err(StoreError::Conflict(format!("run {id} exists already, and was started with another request")))
            };
        }
        if self.waiting.len() >= MAX_WAITING {
            return Err(StoreError::Conflict(format!(
                "{MAX_WAITING} runs wait for a slot; ask again when some have ended"
            )));
        }
        let definition = self.library.current().clone();
        if let Some(schema) = &definition.pipeline.params_schema {
            schema.check(&definition.pipeline.params, &manual.params).map_err(StoreError::Invalid)?;
        }
        let paused = self.shared.pauses.resources();
        if let Some(why) = manual.paused(&definition.pipeline, &paused) {
            return Err(StoreError::Conflict(why));
        }
        let refusal = manual.refusal();
        let run = manual.under(&definition, &paused);
        let refused = || StoreError::Conflict(refusal);
        if self.waiting.is_empty() && self.has_slot(work) {
            let opening = open(&shared, &definition, run, Patience::None);
            let opened = self.wait_for(work, opening).await?.ok_or_else(refused)?;
            return Ok(self.launch(opened, work));
        }
        let creating = create(&shared, run, Patience::None);
        let created = self.wait_for(work, creating).await?.ok_or_else(refused)?;
        self.note(created.pending);
        let started = created.detail.run.clone();
        self.waiting.push_back(UnfinishedRun { detail: created.detail, attempts: Vec::new() }.into());
        Ok(started)
    }

    async fn record_ticks(&mut self, ticks: Vec<Tick>, work: &mut AtWork) -> Result<(), StoreError> {
        for tick in ticks {
            if !work.is_news(&tick) {
                continue;
            }
            let shared = Arc::clone(&self.shared);
            let record = persist(&shared, || shared.store.record_tick(tick.clone()));
            self.wait_for(work, record).await?;
            work.ticked = Some(Instant::now());
            work.last_ticks.insert(tick.trigger.clone(), tick);
        }
        Ok(())
    }
}

/// The result of creating the planned runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fired {
    /// All runs were created.
    All,
    /// For some runs, the pending artifacts were gone.
    Some,
    /// The store refused some runs.
    Refused,
}

/// How long to wait for a store that does not work at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// As long as it takes.
    Endless,
    /// Not at all, because a caller waits for the answer.
    None,
}

/// Creates a run together with its first step, which starts the actions that can start at once.
/// `None` if the pending artifacts are gone.
async fn open(
    shared: &Arc<Shared>,
    definition: &Definition,
    mut run: NewRun,
    patience: Patience,
) -> Result<Option<Opened>, StoreError> {
    let actions = run.actions.clone();
    let mut stepper = Stepper::new(Arc::clone(shared), definition.clone(), RunState::Queued, actions);
    let (starts, step) = stepper.decide();
    run.step = step;
    let Some(created) = create(shared, run, patience).await? else { return Ok(None) };
    let run = created.detail.run;
    let driver = Driver::begun(stepper, run.clone(), created.inputs, starts, created.started);
    Ok(Some((driver, run, created.pending)))
}

async fn create(shared: &Shared, run: NewRun, patience: Patience) -> Result<Option<CreatedRun>, StoreError> {
    match patience {
        Patience::Endless => persist(shared, || shared.store.create_run(run.clone(), shared.clock.now())).await,
        Patience::None => shared.store.create_run(run, shared.clock.now()).await,
    }
}
