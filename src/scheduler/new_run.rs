//! The runs that the dispatcher creates: by a trigger, by hand, or once more.

use serde_json::Value;

use super::core::Fire;
use super::definition::Definition;
use crate::base::{ArtifactId, RunId};
use crate::store::{Claim, NewRun, RunStep};

/// A run that someone starts by hand.
#[derive(Debug, Clone)]
pub(super) struct ManualRun {
    /// The id of the run.
    pub(super) id: RunId,
    /// The params of the run.
    pub(super) params: Value,
    /// The run to repeat. Without it, the run claims all new artifacts.
    pub(super) again: Option<Repeated>,
}

/// A run whose inputs another run works on again.
#[derive(Debug, Clone)]
pub(super) struct Repeated {
    /// The id of the run.
    pub(super) run: RunId,
    /// The number of the run.
    pub(super) number: u64,
    /// The inputs of the run, each with its resource.
    pub(super) inputs: Vec<(ArtifactId, String)>,
}

impl ManualRun {
    /// Returns the id of the run that it repeats.
    pub(super) fn rerun_of(&self) -> Option<RunId> {
        self.again.as_ref().map(|again| again.run)
    }

    /// Returns the run to create under a definition, without a first step.
    pub(super) fn under(self, definition: &Definition) -> NewRun {
        let Self { id, params, again } = self;
        let Some(Repeated { run, number, inputs }) = again else {
            return fired(definition, id, params, all_new(definition));
        };
        let resources: Vec<&str> = inputs.iter().map(|(_, resource)| resource.as_str()).collect();
        NewRun {
            id,
            trigger: format!("run #{number} again"),
            params,
            revision: definition.revision,
            claims: Vec::new(),
            actions: definition.new_actions(&resources),
            ticks: Vec::new(),
            step: RunStep::default(),
            given: inputs.into_iter().map(|(artifact, _)| artifact).collect(),
            rerun_of: Some(run),
        }
    }
}

/// Returns the run to create because its triggers have fired, without a first step.
pub(super) fn fired(definition: &Definition, id: RunId, params: Value, fire: Fire) -> NewRun {
    let resources: Vec<&str> = fire.claims.iter().map(|claim| claim.resource.as_str()).collect();
    NewRun {
        id,
        trigger: fire.trigger,
        params,
        revision: definition.revision,
        actions: definition.new_actions(&resources),
        claims: fire.claims,
        ticks: fire.ticks,
        step: RunStep::default(),
        given: Vec::new(),
        rerun_of: None,
    }
}

/// Returns what a run claims that is started by hand: all new artifacts, even if there are none.
fn all_new(definition: &Definition) -> Fire {
    let watched = definition.pipeline.resources.iter().filter(|resource| resource.watch);
    let claims = watched
        .map(|resource| Claim {
            resource: resource.name.clone(),
            at_most: resource.trigger.max_artifacts,
            at_least: 0,
            min_bytes: 0,
        })
        .collect();
    Fire { claims, ticks: Vec::new(), trigger: "started by hand".to_owned() }
}
