//! Reads what the comparison of two runs needs. The comparison itself is [`RunDiff::of`].

use std::collections::BTreeMap;

use crate::base::RunId;
use crate::base::bounds::MAX_PAGE;
use crate::model::{AccessKind, ActionRecord, Page, RunDiff, RunRecords};
use crate::store::{FactQuery, MetadataStore, PageRequest, Result};

/// The most pages that are read of each kind of record of a run. If a run has more, only these
/// pages are compared, and the result says so.
const MAX_PAGES: usize = 50;

/// Compares two runs; `None` if one is not on record.
///
/// # Errors
/// Returns an error if the store cannot be read.
pub async fn diff_runs(store: &dyn MetadataStore, a: RunId, b: RunId) -> Result<Option<RunDiff>> {
    let Some(a) = records(store, a).await? else { return Ok(None) };
    let Some(b) = records(store, b).await? else { return Ok(None) };
    Ok(Some(RunDiff::of(&a, &b)))
}

async fn records(store: &dyn MetadataStore, id: RunId) -> Result<Option<RunRecords>> {
    let Some(detail) = store.run_progress(id).await? else { return Ok(None) };
    let mut actions: BTreeMap<String, ActionRecord> = BTreeMap::new();
    for action in detail.actions {
        let record = ActionRecord { state: action.state, attempts: 0, took_us: 0, component: None };
        actions.insert(action.name, record);
    }
    for attempt in detail.attempts {
        if let Some(record) = actions.get_mut(&attempt.action) {
            record.attempts += 1;
            record.took_us = record.took_us.saturating_add(attempt.usage.wall_time_us);
            record.component = Some(attempt.component_digest);
        }
    }
    let mut incomplete = Vec::new();
    let mut inputs = Vec::new();
    if !pages(|page| store.run_inputs(id, page), |found| inputs.extend(found)).await? {
        incomplete.push("inputs");
    }
    // Comparisons read succeeded attempts only: a failed one may have recorded anything.
    let facts = FactQuery { run: Some(id), succeeded_only: true, ..FactQuery::default() };
    let mut params = BTreeMap::new();
    let read = |page| store.params(facts.clone(), page);
    if !pages(read, |found| {
        for param in found {
            // The newest come first.
            params.entry((param.action, param.name)).or_insert(param.value);
        }
    })
    .await?
    {
        incomplete.push("params");
    }
    let mut metrics = BTreeMap::new();
    let read = |page| store.metrics(facts.clone(), page);
    if !pages(read, |found| {
        for metric in found {
            metrics.entry((metric.action, metric.name)).or_insert(metric.value);
        }
    })
    .await?
    {
        incomplete.push("metrics");
    }
    let mut outputs = Vec::new();
    let read = |page| store.lineage(id, page);
    if !pages(read, |found| {
        let wrote = found.into_iter().filter(|edge| edge.kind == AccessKind::Wrote);
        outputs.extend(wrote.map(|edge| (edge.action, edge.artifact)));
    })
    .await?
    {
        incomplete.push("outputs");
    }
    Ok(Some(RunRecords { run: detail.run, params, actions, inputs, metrics, outputs, incomplete }))
}

/// Reads pages until the last, or as many as are allowed. Returns whether it has read the last.
async fn pages<T, F: Future<Output = Result<Page<T>>>>(
    read: impl Fn(PageRequest) -> F,
    mut take: impl FnMut(Vec<T>),
) -> Result<bool> {
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let page = read(PageRequest { cursor, limit: MAX_PAGE }).await?;
        take(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}
