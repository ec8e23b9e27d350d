//! What a command would start: the answer to `--dry-run`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use super::load::PathArg;
use super::records::Records;
use super::{End, Failure, loaded, open, out, show};
use crate::base::{ArtifactId, Clock as _, SystemClock};
use crate::graph::Graph;
use crate::manifest::Pipeline;
use crate::model::Artifact;
use crate::resource::{self, Content, ResourceError};

/// The most runs that are described one by one.
const MAX_DESCRIBED: usize = 20;

/// A run that would be started.
#[derive(Debug, Clone)]
pub(crate) struct PlannedRun {
    /// The group of artifacts that it is about.
    pub(crate) partition: Option<String>,
    /// What it is given.
    pub(crate) artifacts: Vec<Artifact>,
}

impl PlannedRun {
    /// Returns the actions that would run.
    fn actions<'p>(&self, pipeline: &'p Pipeline, graph: &Graph) -> Vec<&'p str> {
        let by: Vec<&str> = self.artifacts.iter().map(|artifact| artifact.resource.as_str()).collect();
        let actions = pipeline.actions.iter().enumerate();
        let run = actions.filter(|(place, _)| graph.is_triggered(*place, pipeline.join, &by));
        run.map(|(_, action)| action.name.as_str()).collect()
    }
}

/// Returns why the running host would refuse to start a run. What the next host loads is not known.
pub(crate) fn refusal(pipeline: &Pipeline, path: &PathArg) -> Result<Option<String>, Failure> {
    let host = open::holder(pipeline)?.and_then(|holder| open::remote(&holder).ok());
    Ok(host.map(|host| loaded::differs(&host, pipeline, path)).transpose()?.flatten())
}

/// Returns why the content of artifacts cannot be read any more, as far as that is known here.
fn gone<'a>(records: &Records, artifacts: impl Iterator<Item = &'a Artifact>) -> BTreeMap<ArtifactId, String> {
    let pipeline = &records.pipeline;
    let mut opened = BTreeMap::new();
    let mut gone = BTreeMap::new();
    for artifact in artifacts {
        let resource = opened.entry(&artifact.resource).or_insert_with(|| {
            // A resource that cannot be opened here may be one that the host can open.
            resource::open(pipeline.resource(&artifact.resource)?, pipeline.durability, &pipeline.state).ok()
        });
        let Artifact { path, size, digest, stamp, .. } = artifact;
        let content = Content { path: path.clone(), size: *size, digest: *digest, stamp: stamp.clone() };
        if let Some(resource) = resource
            && let Err(error @ ResourceError::Gone { .. }) = records.wait(resource.check_kept(&content))
        {
            gone.insert(artifact.id, error.to_string());
        }
    }
    gone
}

/// Lists the artifacts that runs would be started on, and the runs. Artifacts whose content is gone
/// are marked. They, and a `refusal` of the command, make the end that of the refused command.
pub(crate) fn would_start(
    records: &Records,
    runs: Vec<PlannedRun>,
    refusal: Option<&str>,
    as_json: bool,
) -> Result<End, Failure> {
    let gone = gone(records, runs.iter().flat_map(|run| &run.artifacts));
    let end = if gone.is_empty() && refusal.is_none() { End::Well } else { End::WorkFailed };
    if as_json {
        out::json(&as_value(&records.pipeline, &runs, &gone)?)?;
        refused(refusal);
        return Ok(end);
    }
    let told = described(&records.pipeline, &runs);
    let mut artifacts: Vec<Artifact> = runs.into_iter().flat_map(|run| run.artifacts).collect();
    artifacts.sort_by_key(|artifact| artifact.id);
    for artifact in &mut artifacts {
        if gone.contains_key(&artifact.id) {
            artifact.reason = Some("its content is not kept any more".to_owned());
        }
    }
    out::result(&show::artifact_list(&artifacts, SystemClock.now(), out::result_width()))?;
    if !gone.is_empty() {
        let count = show::plural(gone.len() as u64, "artifact");
        out::error(&format!(
            "Without `--dry-run` the host refuses this, because the content of {count} is not kept any more: leave them \
             out; raise `keep` in the manifest to keep more.\n"
        ));
    } else if refusal.is_some() {
        refused(refusal);
    } else {
        out::error(&told);
    }
    Ok(end)
}

/// Tells the user of a dry run why the command would be refused.
fn refused(refusal: Option<&str>) {
    if let Some(why) = refusal {
        out::error(&format!("Without `--dry-run` this is refused: {why}\n"));
    }
}

fn as_value(
    pipeline: &Pipeline,
    runs: &[PlannedRun],
    gone: &BTreeMap<ArtifactId, String>,
) -> Result<serde_json::Value, Failure> {
    let mut artifacts: Vec<&Artifact> = runs.iter().flat_map(|run| &run.artifacts).collect();
    artifacts.sort_by_key(|artifact| artifact.id);
    let mut items = Vec::with_capacity(artifacts.len());
    for artifact in artifacts {
        let mut item = serde_json::to_value(artifact).map_err(|error| Failure::work(error.to_string()))?;
        if let (Some(item), Some(why)) = (item.as_object_mut(), gone.get(&artifact.id)) {
            item.insert("gone".to_owned(), why.as_str().into());
        }
        items.push(item);
    }
    let graph = Graph::of(pipeline);
    let run = |run: &PlannedRun| {
        let ids: Vec<ArtifactId> = run.artifacts.iter().map(|artifact| artifact.id).collect();
        json!({ "partition": run.partition, "actions": run.actions(pipeline, &graph), "inputs": ids })
    };
    Ok(json!({ "items": items, "runs": runs.iter().map(run).collect::<Vec<_>>() }))
}

/// Describes the runs: how many, and each with its partition and the actions that would run.
fn described(pipeline: &Pipeline, runs: &[PlannedRun]) -> String {
    let graph = Graph::of(pipeline);
    let count = runs.iter().map(|run| run.artifacts.len() as u64).sum();
    let (of_runs, of_artifacts) = (show::plural(runs.len() as u64, "run"), show::plural(count, "artifact"));
    let mut text = format!("Without `--dry-run`: {of_runs} on {of_artifacts}.\n");
    for run in runs.iter().take(MAX_DESCRIBED) {
        let partition = run.partition.as_ref().map(|it| format!("{}, ", show::plain(it))).unwrap_or_default();
        let artifacts = show::plural(run.artifacts.len() as u64, "artifact");
        let actions = run.actions(pipeline, &graph);
        let actions =
            if actions.is_empty() { "no action runs".to_owned() } else { format!("runs {}", actions.join(", ")) };
        let _ = writeln!(text, "  {partition}{artifacts}: {actions}");
    }
    if let Some(more @ 1..) = runs.len().checked_sub(MAX_DESCRIBED) {
        let _ = writeln!(text, "  and {more} more");
    }
    text
}
