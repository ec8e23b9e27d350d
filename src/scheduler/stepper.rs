//! Decides the next step of one run: the decision of the core, limited by the free slots.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::core::{RunCore, Start};
use super::definition::Definition;
use super::shared::{Phase, Shared};
use crate::base::AttemptId;
use crate::model::{LogPosition, Pause, RunAction, RunState};
use crate::store::{NewAttempt, RunStep};

/// Decides the steps of one run.
pub(super) struct Stepper {
    pub(super) shared: Arc<Shared>,
    pub(super) definition: Definition,
    pub(super) core: RunCore,
    /// Permits that no attempt holds.
    pub(super) permits: Vec<OwnedSemaphorePermit>,
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
        Self { shared, definition, core, permits: Vec::new() }
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

    /// Holds back the actions that are paused, and lets the others go on.
    fn hold(&mut self) {
        let pauses = self.shared.pauses.all();
        for (place, action) in self.definition.pipeline.actions.iter().enumerate() {
            self.core.hold(place, pauses.action(&action.name).map(Pause::describe));
        }
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
