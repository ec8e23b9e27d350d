//! The actions that start again if a run is retried from one of its actions on.

use crate::base::{RunId, escape};
use crate::graph::Graph;
use crate::manifest::{Pipeline, parse_pinned};
use crate::model::Run;
use crate::store::{MetadataStore, Result, StoreError};

/// Returns the action `from` of a run, and all that come after it by the manifest that the run
/// began with, in the order in which they run. Returns none without `from`, or if there is no such
/// run. `in_force` is the manifest in force of the same pipeline.
///
/// # Errors
/// [`StoreError::Invalid`] if the run has no such action. [`StoreError::Conflict`] if its manifest
/// cannot be read any more, because a variable that it names is not set.
pub async fn actions_from(
    store: &dyn MetadataStore,
    run: RunId,
    from: Option<&str>,
    in_force: &Pipeline,
) -> Result<Vec<String>> {
    let Some(action) = from else { return Ok(Vec::new()) };
    let Some(summary) = store.run_summary(run).await? else { return Ok(Vec::new()) };
    let graph = graph_of_run(store, &summary, in_force).await?;
    let Some(place) = graph.place(action) else {
        let (number, name) = (summary.number, escape(crate::base::bounds::cut(action, 100).as_bytes()));
        let names: Vec<_> = graph.order().iter().map(|place| format!("`{}`", graph.name(*place))).collect();
        return Err(StoreError::Invalid(format!(
            "run #{number} has no action `{name}`: its actions are {}",
            names.join(", ")
        )));
    };
    Ok(graph.and_after(place))
}

/// Returns the graph of the manifest that a run began with.
///
/// # Errors
/// See [`actions_from`].
pub async fn graph_of_run(store: &dyn MetadataStore, run: &Run, in_force: &Pipeline) -> Result<Graph> {
    Ok(Graph::of(&pipeline_of_run(store, run, in_force).await?))
}

/// Returns the pipeline of the manifest that a run began with.
///
/// # Errors
/// See [`actions_from`].
pub async fn pipeline_of_run(store: &dyn MetadataStore, run: &Run, in_force: &Pipeline) -> Result<Pipeline> {
    let (revision, number) = (run.revision, run.number);
    let missing = || StoreError::Corrupt(format!("there is no manifest {revision} on record"));
    let record = store.revision(revision).await?.ok_or_else(missing)?;
    let variable = |name: &str| std::env::var(name).ok();
    parse_pinned(&record.manifest, &in_force.folder, &in_force.file, &variable).map_err(|problems| {
        StoreError::Conflict(format!(
            "the manifest of run #{number} cannot be read here: set the variable that it names, or start the host, which \
             may have it, and ask again: {problems}"
        ))
    })
}
