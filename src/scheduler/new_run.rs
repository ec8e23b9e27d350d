//! The runs that the dispatcher creates: by a trigger, by hand, or as a repetition.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::core::{Fire, all_new};
use super::definition::Definition;
use crate::base::{ArtifactId, RunId};
use crate::manifest::Pipeline;
use crate::model::{Artifact, Run};
use crate::store::{NewRun, RunStep};

/// The reason of a run that is started by hand and claims all new artifacts.
const BY_HAND: &str = "started by hand";

/// A run that someone starts by hand.
#[derive(Debug, Clone)]
pub(super) struct ManualRun {
    /// The id of the run.
    pub(super) id: RunId,
    /// The params of the run.
    pub(super) params: Value,
    /// The resource whose new artifacts the run claims, instead of all new artifacts.
    pub(super) resource: Option<String>,
    /// The artifacts to work on. Without them, the run claims new artifacts.
    pub(super) given: Option<Given>,
}

/// The artifacts that a run is given.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// The run whose inputs they are, and its partition.
    pub(super) repeats: Option<(RunId, Option<String>)>,
    /// Why the run starts, for people.
    pub(super) trigger: String,
    /// The artifacts.
    pub(super) artifacts: Vec<GivenArtifact>,
}

/// An artifact that a run is given.
#[derive(Debug, Clone)]
pub(super) struct GivenArtifact {
    id: ArtifactId,
    resource: String,
    path: String,
}

impl From<Artifact> for GivenArtifact {
    fn from(Artifact { id, resource, path, .. }: Artifact) -> Self {
        Self { id, resource, path }
    }
}

impl Given {
    fn rerun_of(&self) -> Option<RunId> {
        self.repeats.as_ref().map(|(run, _)| *run)
    }

    /// Returns the group that it is about: that of the run that it repeats, or the one that all
    /// artifacts belong to, if the trigger of their resource groups them.
    fn partition(&self, pipeline: &Pipeline) -> Option<String> {
        if let Some((_, partition)) = &self.repeats {
            return partition.clone();
        }
        let resource = &self.artifacts.first()?.resource;
        let by = pipeline.resource(resource)?.trigger.group_by.as_ref()?;
        let group = |it: &GivenArtifact| by.group(&it.path).filter(|_| it.resource == *resource);
        let first = group(self.artifacts.first()?)?;
        self.artifacts.iter().all(|it| group(it).as_ref() == Some(&first)).then_some(first)
    }
}

impl ManualRun {
    /// Returns a run that claims new artifacts: all, or those in one resource.
    pub(super) fn claiming(id: RunId, params: Option<Value>, resource: Option<String>) -> Self {
        Self { id, params: params.unwrap_or_else(|| json!({})), resource, given: None }
    }

    /// Returns whether a run on record was started in this way.
    pub(super) fn is(&self, known: &Run) -> bool {
        let trigger = self.given.as_ref().map_or_else(|| self.reason(), |given| given.trigger.clone());
        let rerun_of = self.given.as_ref().and_then(Given::rerun_of);
        known.params == self.params && known.rerun_of == rerun_of && known.trigger == trigger
    }

    /// Returns why the run starts, if it claims new artifacts.
    fn reason(&self) -> String {
        match &self.resource {
            Some(resource) => format!("{BY_HAND} on {resource}"),
            None => BY_HAND.to_owned(),
        }
    }

    /// Returns why no run could be created.
    pub(super) fn refusal(&self) -> String {
        match &self.resource {
            Some(resource) => format!("nothing is new in `{resource}`, so there is nothing to start a run on"),
            None => "the run could not be created".to_owned(),
        }
    }

    /// Returns whether these are the artifacts that it is given. A run that repeats another is not
    /// compared, because the inputs of a run never change.
    pub(super) fn gives(&self, inputs: &[Artifact]) -> bool {
        self.given.as_ref().filter(|given| given.repeats.is_none()).is_none_or(|given| {
            let asked: BTreeSet<ArtifactId> = given.artifacts.iter().map(|it| it.id).collect();
            inputs.iter().map(|input| input.id).collect::<BTreeSet<_>>() == asked
        })
    }

    /// Returns why it cannot start, if one of the resources that it is about is paused. `paused`
    /// says since when and why, by resource. A run on all new artifacts leaves out paused
    /// resources, and cannot start only if all are paused.
    pub(super) fn paused(&self, pipeline: &Pipeline, paused: &BTreeMap<String, String>) -> Option<String> {
        if self.given.is_none() && self.resource.is_none() && all_new(pipeline, paused).is_empty() {
            let mut watched = pipeline.resources.iter().filter(|resource| resource.watch);
            let first = watched.next()?;
            let why = paused.get(&first.name)?;
            let others = if watched.next().is_some() { ", and so are all other watched resources" } else { "" };
            let name = &first.name;
            return Some(format!("`{name}` is {why}{others}; `anacostia resume --resource {name}` ends that"));
        }
        let given = self.given.iter().flat_map(|given| &given.artifacts).map(|it| &it.resource);
        let (name, why) = given.chain(&self.resource).find_map(|name| paused.get_key_value(name))?;
        Some(format!("`{name}` is {why}; resume it to start a run on it, with `anacostia resume --resource {name}`"))
    }

    /// Returns what it claims: all new artifacts, even if there are none, or those in its resource.
    fn by_hand(&self, definition: &Definition, paused: &BTreeMap<String, String>) -> Fire {
        let mut claims = all_new(&definition.pipeline, paused);
        if let Some(resource) = &self.resource {
            claims.retain(|claim| claim.resource == *resource);
            for claim in &mut claims {
                claim.at_least = 1;
            }
        }
        let trigger = self.reason();
        Fire { claims, ticks: Vec::new(), trigger, fired_by: Vec::new(), marks: Vec::new(), partition: None }
    }

    /// Returns the run to create under a definition, without a first step. It claims nothing from
    /// resources that are `paused`.
    pub(super) fn under(self, definition: &Definition, paused: &BTreeMap<String, String>) -> NewRun {
        let by_hand = self.by_hand(definition, paused);
        let Self { id, params, given, .. } = self;
        let Some(given) = given else {
            return fired(definition, id, params, by_hand);
        };
        let (rerun_of, partition) = (given.rerun_of(), given.partition(&definition.pipeline));
        let Given { trigger, artifacts, .. } = given;
        let resources: Vec<&str> = artifacts.iter().map(|it| it.resource.as_str()).collect();
        NewRun {
            id,
            trigger,
            params,
            revision: definition.revision,
            claims: Vec::new(),
            actions: definition.new_actions(&resources),
            ticks: Vec::new(),
            fired_by: Vec::new(),
            partition,
            marks: Vec::new(),
            step: RunStep::default(),
            given: artifacts.into_iter().map(|it| it.id).collect(),
            rerun_of,
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
        fired_by: fire.fired_by,
        partition: fire.partition,
        marks: fire.marks,
        step: RunStep::default(),
        given: Vec::new(),
        rerun_of: None,
    }
}
