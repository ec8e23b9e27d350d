//! Decides the next step of one run: the decision of the core, limited by the free slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::core::{RunCore, Start, WAITS_FOR};
use super::definition::Definition;
use super::shared::{Phase, Shared};
use super::slots::Ticket;
use crate::base::AttemptId;
use crate::model::{ActionState, LogPosition, Pause, RunAction, RunState};
use crate::store::{NewAttempt, RunStep};

/// Decides the steps of one run.
pub(super) struct Stepper {
    pub(super) shared: Arc<Shared>,
    pub(super) definition: Definition,
    pub(super) core: RunCore,
    /// Permits that no attempt holds.
    pub(super) permits: Vec<OwnedSemaphorePermit>,
    /// The tickets of ready actions for the named limits that they use, by place.
    pub(super) tickets: BTreeMap<usize, Ticket>,
    /// Notified when one of these that waited is granted.
    pub(super) granted: Arc<Notify>,
}

impl Stepper {
    /// Creates a stepper for a run with this state and these actions.
    pub(super) fn new(shared: Arc<Shared>, definition: Definition, state: RunState, actions: Vec<RunAction>) -> Self {
        let core = RunCore::new(
            Arc::clone(&definition.graph),
            Arc::clone(&definition.rules),
            state,
            actions,
            shared.clock.both(),
        );
        let (tickets, granted) = (BTreeMap::new(), Arc::default());
        Self { shared, definition, core, permits: Vec::new(), tickets, granted }
    }

    /// Returns the next step, and the attempts that it starts. No attempt may begin before the step
    /// is on record.
    pub(super) fn decide(&mut self) -> (Vec<Start>, RunStep) {
        self.hold();
        let starts = self.starts();
        let log_from = self.shared.logs.end();
        let (actions, run) = self.core.take_changes();
        let new = starts.iter().filter_map(|start| self.new_attempt(*start, log_from)).collect();
        (starts, RunStep { actions, starts: new, run })
    }

    /// Holds back the ready actions that are paused, or wait for the log or a named limit, and lets
    /// the others continue. Those that wait for a limit stay in line; the others leave it.
    fn hold(&mut self) {
        let pauses = self.shared.pauses.all();
        let log = self.shared.log_gate.closed();
        for (place, action) in self.definition.pipeline.actions.iter().enumerate() {
            let pause = pauses.action(&action.name).map(Pause::describe);
            let is_ready = self.core.actions().get(place).is_some_and(|it| it.state == ActionState::Ready);
            if pause.is_some() || !is_ready {
                self.tickets.remove(&place);
                self.core.hold(place, pause);
            } else if let Some(why) = &log {
                self.tickets.remove(&place);
                self.core.hold(place, Some(format!("{WAITS_FOR}its log: the host {why}")));
            } else if !action.uses.is_empty() {
                let take = || self.shared.named.take(action.uses.as_slice().into(), &self.granted);
                let waits_for = self.tickets.entry(place).or_insert_with(take).waits_for();
                self.core.hold(place, waits_for);
            } else {
                self.core.hold(place, None);
            }
        }
    }

    /// Returns whether the run cannot continue until a person acts.
    pub(super) fn is_held(&self) -> bool {
        self.core.is_held() && self.tickets.is_empty() && self.shared.log_gate.closed().is_none()
    }

    /// Starts as many of the ready actions as there are free slots.
    fn starts(&mut self) -> Vec<Start> {
        if *self.shared.phase.borrow() != Phase::Running {
            return Vec::new();
        }
        while self.permits.len() < self.core.ready() {
            let Ok(permit) = Arc::clone(&self.shared.slots).try_acquire_owned() else { break };
            self.permits.push(permit);
        }
        self.core.start(self.permits.len())
    }

    fn new_attempt(&self, start: Start, log_from: LogPosition) -> Option<NewAttempt> {
        Some(NewAttempt {
            id: AttemptId::new(),
            action: self.definition.graph.name(start.action).to_owned(),
            number: start.number,
            component_digest: self.definition.component(start.action)?,
            grants: Arc::clone(self.definition.grants.get(start.action)?),
            log_from,
        })
    }
}
