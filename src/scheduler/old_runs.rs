//! Removes runs that `retention.runs` does not keep.
//!
//! Small transactions, with pauses as long as themselves: the runs at work get at least half of the
//! store's time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::core::History;
use crate::base::Timestamp;
use crate::manifest::Pipeline;
use crate::store::{FactQuery, GoneRuns, MetadataStore, OldRun, PageRequest, Removal, RemovedRows, Result, RunsToKeep};

/// Old runs that were removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OldRunsRemoved {
    /// The records.
    pub(super) rows: RemovedRows,
    /// With `dry_run`: the numbers of the runs that would be gone.
    pub(super) gone: GoneRuns,
}

/// Removes the runs that nothing keeps, until `stop`. With `dry_run`, only returns what it would
/// remove.
///
/// # Errors
/// When the store cannot be read or written. What was removed until then is removed.
pub(super) async fn remove_old_runs(
    store: &dyn MetadataStore,
    pipeline: &Pipeline,
    now: Timestamp,
    dry_run: bool,
    stop: &CancellationToken,
) -> Result<OldRunsRemoved> {
    let mut removed = OldRunsRemoved::default();
    if !pipeline.retention.runs.removes() {
        return Ok(removed);
    }
    let keep = to_keep(store, pipeline, now).await?;
    let mut below = None;
    while !stop.is_cancelled() {
        let page = store.old_runs(keep.clone(), Arc::clone(&removed.gone), below).await?;
        if dry_run {
            let whole = page.runs.iter().filter(|run| run.removal == Removal::Whole);
            // The store has dropped its reference, so that nothing is copied.
            Arc::make_mut(&mut removed.gone).extend(whole.map(|run| run.number));
            page.runs.iter().for_each(|run| removed.rows += run.rows);
        } else {
            removed.rows += remove(store, &keep, &page.runs, now, stop).await?;
        }
        below = page.below;
        if below.is_none() {
            break;
        }
    }
    Ok(removed)
}

async fn remove(
    store: &dyn MetadataStore,
    keep: &RunsToKeep,
    runs: &[OldRun],
    now: Timestamp,
    stop: &CancellationToken,
) -> Result<RemovedRows> {
    let mut rows = RemovedRows::default();
    let mut left: Vec<u64> = runs.iter().map(|run| run.number).collect();
    while !left.is_empty() && !stop.is_cancelled() {
        let began = Instant::now();
        let done = store.remove_runs(keep.clone(), left.clone(), now).await?;
        rows += done.rows;
        left.drain(..done.done.min(left.len()));
        tokio::time::sleep(began.elapsed()).await;
    }
    Ok(rows)
}

/// Returns what keeps a run.
async fn to_keep(store: &dyn MetadataStore, pipeline: &Pipeline, now: Timestamp) -> Result<RunsToKeep> {
    let spec = &pipeline.retention.runs;
    let age = spec.keep_for.map(|span| i64::try_from(span.as_micros()).unwrap_or(i64::MAX));
    Ok(RunsToKeep {
        ended_since: age.map(|age| Timestamp::from_micros(now.as_micros().saturating_sub(age))),
        newest: spec.keep_last,
        tags: spec.keep_tags.clone(),
        told_until: told_until(store, pipeline).await?,
        runs: with_newest_metrics(store, pipeline).await?,
    })
}

/// Returns the event up to which all receivers of notifications and lineage have been told. `None`
/// if there are no receivers; one that is new is not told of what was before.
async fn told_until(store: &dyn MetadataStore, pipeline: &Pipeline) -> Result<Option<u64>> {
    let mut until = if pipeline.notify.is_empty() { None } else { store.notified().await? };
    for receiver in &pipeline.openlineage {
        let told = store.cursor(&receiver.cursor()).await?.and_then(|event| event.parse().ok());
        until = until.into_iter().chain(told).min();
    }
    Ok(until)
}

/// Returns the runs with the newest value of each metric that a trigger looks at.
async fn with_newest_metrics(store: &dyn MetadataStore, pipeline: &Pipeline) -> Result<BTreeSet<crate::base::RunId>> {
    let mut runs = BTreeSet::new();
    for name in History::metric_names(pipeline) {
        let query = FactQuery { name: Some(name), succeeded_only: true, ..FactQuery::default() };
        let newest = store.metrics(query, PageRequest { cursor: None, limit: 1 }).await?;
        runs.extend(newest.items.first().map(|metric| metric.run_id));
    }
    Ok(runs)
}
