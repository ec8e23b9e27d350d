//! A revision of the manifest, with everything that is needed to run it.
//!
//! A run is bound to the definition in force at its creation. After an edit and a restart, an
//! unfinished run continues with the manifest and the components that it began with, which are kept
//! in the pipeline's state folder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use super::core::Rule;
use crate::base::{ByteSize, Digest, TimeSpan};
use crate::graph::Graph;
use crate::manifest::{ActionSpec, Condition, HeaderSecretSpec, Limits, Pipeline, ResourceSpec, SecretSource};
use crate::model::{ActionState, Artifact, Fence, NOT_TRIGGERED, Run, RunAction};
use crate::resource::{self, Resource, ResourceError, SqlGrant, SqlTables};
use crate::sandbox::{AttemptOrder, HeaderSecret, Services};

/// A revision of the manifest, ready to run. Cheap to clone.
#[derive(Clone)]
pub(super) struct Definition {
    /// The digest that identifies the revision.
    pub(super) revision: Digest,
    /// The manifest.
    pub(super) pipeline: Arc<Pipeline>,
    /// Its graph. The place of an action is its index in `pipeline.actions`.
    pub(super) graph: Arc<Graph>,
    /// The rule for each action, by place.
    pub(super) rules: Arc<[Rule]>,
    /// The component of each action.
    pub(super) components: Arc<BTreeMap<String, Digest>>,
    /// The grants of each action for display, by place.
    pub(super) grants: Arc<[Arc<serde_json::Value>]>,
    /// The services that attempts use.
    pub(super) services: Services,
}

impl Definition {
    pub(super) fn new(
        pipeline: Arc<Pipeline>,
        components: BTreeMap<String, Digest>,
        revision: Digest,
        services: Services,
    ) -> Self {
        let rules = pipeline.actions.iter().map(rule).collect();
        let grants = pipeline.actions.iter().map(|action| Arc::new(grants(action))).collect();
        let graph = Arc::new(Graph::of(&pipeline));
        Self { revision, graph, rules, components: Arc::new(components), grants, services, pipeline }
    }

    /// Returns the actions of a new run. With `join = "any"`, actions without a fired resource
    /// before them are skipped from the start.
    pub(super) fn new_actions(&self, fired: &[&str]) -> Vec<RunAction> {
        let actions = self.pipeline.actions.iter().enumerate();
        actions
            .map(|(place, action)| {
                let mut action = RunAction::pending(&action.name);
                if !self.graph.is_triggered(place, self.pipeline.join, fired) {
                    action.state = ActionState::Skipped;
                    action.reason = Some(NOT_TRIGGERED.to_owned());
                }
                action
            })
            .collect()
    }

    /// Returns the resources that its actions write to.
    pub(super) fn written(&self) -> impl Iterator<Item = &Arc<dyn Resource>> {
        written(&self.pipeline, &self.services.resources)
    }

    /// Returns whether an active run is bound to it, assuming that the caller holds exactly one
    /// clone.
    pub(super) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.components) > 1
    }

    /// Returns the component of the action at `place`.
    pub(super) fn component(&self, place: usize) -> Option<Digest> {
        self.components.get(self.graph.name(place)).copied()
    }

    /// Returns the order for an attempt of the action at `place`. `None` if there is no such
    /// action, which a checked definition excludes.
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
            databases: self.databases(action),
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
            cache: action.cache.as_ref().map(|cache| cache.ignore.clone()),
            replay: None,
        })
    }

    /// Returns what an action may do with each database that it may read or write.
    fn databases(&self, action: &ActionSpec) -> BTreeMap<String, SqlGrant> {
        let is_database = |name: &&String| self.services.resources.get(*name).is_some_and(|it| it.database().is_some());
        let names: BTreeSet<&String> = action.reads.iter().chain(&action.writes).filter(is_database).collect();
        let tables = |granted: &[String], name: &String, named: Option<&Vec<String>>| match named {
            _ if !granted.contains(name) => SqlTables::None,
            Some(tables) => SqlTables::Named(tables.clone()),
            None => SqlTables::All,
        };
        let grant = |name: &String| {
            let named = action.tables.get(name);
            let read = tables(&action.reads, name, named.and_then(|named| named.read.as_ref()));
            let write = tables(&action.writes, name, named.and_then(|named| named.write.as_ref()));
            SqlGrant { read, write }
        };
        names.into_iter().map(|name| (name.clone(), grant(name))).collect()
    }

    /// Returns the ancestors that may publish something. Guests need not ask for the outputs of the
    /// other ones, because there are none.
    fn publishing_ancestors(&self, place: usize) -> Vec<String> {
        let writes = |name: &String| self.pipeline.actions.iter().any(|it| it.name == *name && !it.writes.is_empty());
        self.graph.ancestors(place).into_iter().filter(writes).collect()
    }

    /// Returns the params of an action in a run: those of the run override those of the action,
    /// which override those of the pipeline.
    fn params(&self, action: &ActionSpec, run: &Run) -> serde_json::Value {
        let mut merged = self.pipeline.params_with(&action.params);
        if let serde_json::Value::Object(own) = &run.params {
            merged.extend(own.clone());
        }
        serde_json::Value::Object(merged)
    }

    /// Returns the resources of which outputs become versions of a model, with the model.
    pub(super) fn models(&self) -> Vec<(String, String)> {
        let model = |resource: &ResourceSpec| Some((resource.name.clone(), resource.model.clone()?));
        self.pipeline.resources.iter().filter_map(model).collect()
    }

    /// Returns the resources in which the outputs of the action at `place` count as new artifacts.
    pub(super) fn retrigger(&self, place: usize) -> Vec<String> {
        let Some(action) = self.pipeline.actions.get(place).filter(|action| action.retrigger) else {
            return Vec::new();
        };
        let watched = |name: &&String| self.pipeline.resource(name).is_some_and(|resource| resource.watch);
        action.writes.iter().filter(watched).cloned().collect()
    }
}

/// Returns when an action runs, is retried, and asks for approval.
fn rule(action: &ActionSpec) -> Rule {
    Rule { run_when: action.run_when, retry: action.retry, approval: action.approval.clone().map(Arc::new) }
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

/// Returns the grants of an action, for display.
fn grants(action: &ActionSpec) -> serde_json::Value {
    json!({
        "reads": action.reads,
        "writes": action.writes,
        "tables": action.tables,
        "env": action.env.keys().collect::<Vec<_>>(),
        "secrets": action.secrets.keys().chain(action.header_secrets.keys()).collect::<Vec<_>>(),
        "http": action.http,
        "limits": limits(&action.limits),
    })
}

/// Returns limits with the names and units of the manifest.
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

/// Returns the triggers of a pipeline, each with its conditions that count no artifacts.
pub(super) fn triggers(pipeline: &Pipeline) -> impl Iterator<Item = (&str, &[Condition])> {
    let watched = pipeline.resources.iter().filter(|resource| resource.watch);
    let of_resources = watched.map(|it| (it.name.as_str(), it.trigger.when.as_slice()));
    of_resources.chain(pipeline.triggers.iter().map(|it| (it.name.as_str(), it.when.as_slice())))
}

/// Resources, by name.
pub(super) type Resources = BTreeMap<String, Arc<dyn Resource>>;

/// Returns the resources that the actions of a pipeline write to.
fn written<'a>(pipeline: &'a Pipeline, resources: &'a Resources) -> impl Iterator<Item = &'a Arc<dyn Resource>> {
    let is_written = |name: &String| pipeline.actions.iter().any(|action| action.writes.contains(name));
    resources.iter().filter(move |(name, _)| is_written(name)).map(|(_, resource)| resource)
}

/// Checks that the resources of a pipeline have the capabilities that it needs, and claims the
/// right to write to those that its actions write to.
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

/// Creates the resources of a pipeline. Reuses those in `reuse` that have the same spec.
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
            None => resource::open(spec, pipeline.durability, &pipeline.state)?,
        };
        all.insert(spec.name.clone(), resource);
    }
    Ok(all)
}
