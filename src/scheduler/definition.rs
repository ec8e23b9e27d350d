//! A manifest in force, with all that is needed to run it.
//!
//! A run is bound to the definition of its creation: after an edit and a restart, a run that goes
//! on does so by the manifest and the components that it began with, which are kept in the
//! pipeline's state folder.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::core::Rule;
use crate::base::{ByteSize, Digest, TimeSpan};
use crate::graph::Graph;
use crate::manifest::{ActionSpec, HeaderSecretSpec, Join, Limits, Pipeline, SecretSource};
use crate::model::{ActionState, Artifact, Fence, NOT_TRIGGERED, Run, RunAction};
use crate::resource::{self, Resource, ResourceError};
use crate::sandbox::{AttemptOrder, HeaderSecret, Services};

/// A manifest in force. Cheap to clone.
#[derive(Clone)]
pub(super) struct Definition {
    /// What it is known by.
    pub(super) revision: Digest,
    /// The manifest.
    pub(super) pipeline: Arc<Pipeline>,
    /// Its graph; places are those of `pipeline.actions`.
    pub(super) graph: Arc<Graph>,
    /// How each action is to be treated, by place.
    pub(super) rules: Arc<[Rule]>,
    /// The component of each action.
    pub(super) components: Arc<BTreeMap<String, Digest>>,
    /// The grants of each action for people, by place.
    pub(super) grants: Arc<[Arc<serde_json::Value>]>,
    /// What attempts work with.
    pub(super) services: Services,
}

impl Definition {
    pub(super) fn new(
        pipeline: Arc<Pipeline>,
        components: BTreeMap<String, Digest>,
        revision: Digest,
        services: Services,
    ) -> Self {
        let rules =
            pipeline.actions.iter().map(|action| Rule { run_when: action.run_when, retry: action.retry }).collect();
        let grants = pipeline.actions.iter().map(|action| Arc::new(grants(action))).collect();
        let graph = Arc::new(Graph::of(&pipeline));
        Self { revision, graph, rules, components: Arc::new(components), grants, services, pipeline }
    }

    /// The actions of a new run. With `join = "any"` those without a fired resource before them are
    /// skipped from the start.
    pub(super) fn new_actions(&self, fired: &[&str]) -> Vec<RunAction> {
        let triggered = |place: usize| {
            let before = self.graph.resources_before(place);
            self.pipeline.join == Join::All || before.is_empty() || fired.iter().any(|name| before.contains(name))
        };
        let actions = self.pipeline.actions.iter().enumerate();
        actions
            .map(|(place, action)| {
                let mut action = RunAction::pending(&action.name);
                if !triggered(place) {
                    action.state = ActionState::Skipped;
                    action.reason = Some(NOT_TRIGGERED.to_owned());
                }
                action
            })
            .collect()
    }

    /// The resources that its actions write to.
    pub(super) fn written(&self) -> impl Iterator<Item = &Arc<dyn Resource>> {
        written(&self.pipeline, &self.services.resources)
    }

    /// Whether an active run is bound to it. Who asks holds one itself.
    pub(super) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.components) > 1
    }

    /// The component of the action at `place`.
    pub(super) fn component(&self, place: usize) -> Option<Digest> {
        self.components.get(self.graph.name(place)).copied()
    }

    /// The order for an attempt of the action at `place`. `None` if there is no such action, which
    /// a checked definition excludes.
    pub(super) fn order(
        &self,
        run: &Run,
        inputs: &Arc<[Artifact]>,
        place: usize,
        number: u32,
        fence: Fence,
    ) -> Option<AttemptOrder> {
        let action = self.pipeline.actions.get(place)?;
        Some(AttemptOrder {
            pipeline: self.pipeline.name.clone(),
            run_id: run.id,
            run_number: run.number,
            trigger: run.trigger.clone(),
            action: action.name.clone(),
            number,
            fence,
            inputs: Arc::clone(inputs),
            component: self.component(place)?,
            params: self.params(action, run).to_string(),
            reads: action.reads.clone(),
            writes: action.writes.clone(),
            ancestors: self.publishing_ancestors(place),
            args: action.args.clone(),
            stdin: action.stdin.clone(),
            env: action.env.clone(),
            secrets: action
                .secrets
                .iter()
                .map(|(name, SecretSource::Env(variable))| (name.clone(), variable.clone()))
                .collect(),
            http: action.http.clone(),
            header_secrets: action.header_secrets.iter().map(|(name, spec)| header_secret(name, spec)).collect(),
            limits: action.limits.clone(),
        })
    }

    /// The ancestors that may publish something: guests need not ask for outputs of the others.
    fn publishing_ancestors(&self, place: usize) -> Vec<String> {
        let writes = |name: &String| self.pipeline.actions.iter().any(|it| it.name == *name && !it.writes.is_empty());
        self.graph.ancestors(place).into_iter().filter(writes).collect()
    }

    /// The params of an action in a run: the run's over the action's over the pipeline's.
    fn params(&self, action: &ActionSpec, run: &Run) -> serde_json::Value {
        let mut merged = self.pipeline.params.clone();
        merged.extend(action.params.clone());
        if let serde_json::Value::Object(own) = &run.params {
            merged.extend(own.clone());
        }
        serde_json::Value::Object(merged)
    }

    /// Resources in which the outputs of the action at `place` are new.
    pub(super) fn retrigger(&self, place: usize) -> Vec<String> {
        let Some(action) = self.pipeline.actions.get(place).filter(|action| action.retrigger) else {
            return Vec::new();
        };
        let watched = |name: &&String| self.pipeline.resource(name).is_some_and(|resource| resource.watch);
        action.writes.iter().filter(watched).cloned().collect()
    }
}

fn header_secret(name: &str, spec: &HeaderSecretSpec) -> HeaderSecret {
    let SecretSource::Env(variable) = &spec.source;
    HeaderSecret {
        name: name.to_owned(),
        variable: variable.clone(),
        header: spec.header.clone(),
        endpoint: spec.host.clone(),
        prefix: spec.prefix.clone(),
    }
}

/// The grants of an action, for people.
fn grants(action: &ActionSpec) -> serde_json::Value {
    json!({
        "reads": action.reads,
        "writes": action.writes,
        "env": action.env.keys().collect::<Vec<_>>(),
        "secrets": action.secrets.keys().chain(action.header_secrets.keys()).collect::<Vec<_>>(),
        "http": action.http,
        "limits": limits(&action.limits),
    })
}

/// Limits under the names and in the words of the manifest.
fn limits(limits: &Limits) -> serde_json::Value {
    json!({
        "memory": ByteSize(limits.memory_bytes).to_string(),
        "cpu": TimeSpan(limits.cpu).to_string(),
        "wall": TimeSpan(limits.wall).to_string(),
        "output": ByteSize(limits.output_bytes).to_string(),
        "log": ByteSize(limits.log_bytes).to_string(),
        "handles": limits.handles,
        "metric_names": limits.metric_names,
        "http_body": ByteSize(limits.http_body_bytes).to_string(),
        "http_requests": limits.http_requests,
        "http_wait": TimeSpan(limits.http_wait).to_string(),
    })
}

/// Resources, by name.
pub(super) type Resources = BTreeMap<String, Arc<dyn Resource>>;

/// The resources that the actions of a pipeline write to.
fn written<'a>(pipeline: &'a Pipeline, resources: &'a Resources) -> impl Iterator<Item = &'a Arc<dyn Resource>> {
    let is_written = |name: &String| pipeline.actions.iter().any(|action| action.writes.contains(name));
    resources.iter().filter(move |(name, _)| is_written(name)).map(|(_, resource)| resource)
}

/// Ensures that the resources of a pipeline can do what it asks of them, and claims the right to
/// write where its actions write.
pub(super) async fn claim_written(pipeline: &Pipeline, resources: &Resources) -> Result<(), ResourceError> {
    for spec in &pipeline.resources {
        let written = pipeline.actions.iter().any(|action| action.writes.contains(&spec.name));
        if let Some(resource) = resources.get(&spec.name) {
            resource.capabilities().check(&spec.name, spec.watch, written)?;
        }
    }
    let (name, file, process) = (&pipeline.name, pipeline.file.display(), std::process::id());
    let holder = format!("pipeline `{name}` ({file}, process {process})");
    for resource in written(pipeline, resources) {
        resource.claim_writing(&holder).await?;
    }
    Ok(())
}

/// The resources of a pipeline. Those in `reuse` with the same spec are taken over.
pub(super) fn resources(
    pipeline: &Pipeline,
    reuse: Option<(&Pipeline, &Resources)>,
) -> Result<Resources, ResourceError> {
    let mut all = BTreeMap::new();
    for spec in &pipeline.resources {
        let same = reuse.and_then(|(other, made)| {
            let unchanged = other.resource(&spec.name).is_some_and(|resource| resource.kind == spec.kind);
            made.get(&spec.name).filter(|_| unchanged)
        });
        let resource = match same {
            Some(same) => Arc::clone(same),
            None => resource::open(spec, pipeline.durability)?,
        };
        all.insert(spec.name.clone(), resource);
    }
    Ok(all)
}
