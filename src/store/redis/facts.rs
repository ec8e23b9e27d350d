//! Facts that actions record, and their lists.

use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::{is_short, time};
use super::reader::Reader;
use super::reply::{Fail, Reply, Work};
use super::step::fenced;
use crate::base::{Timestamp, WriteId};
use crate::model::{AttemptState, Entry, Facts, Fence, Metric, MetricRecord, Page, ParamRecord, RunTag};
use crate::store::{FactQuery, PageRequest};

/// The arguments of a record of facts.
pub(super) fn arguments(fence: Fence, id: WriteId, facts: &Facts, now: Timestamp) -> Value {
    let now = time(now);
    let metric = |Metric { name, value, step }: &Metric| {
        // Not as a number: a script would round it.
        json!({ "name": name, "value": format!("{value:?}"), "step": step, "at": now })
    };
    let entry =
        |Entry { name, value }: &Entry| json!({ "name": name, "value": value, "is_short": is_short(value), "at": now });
    json!({
        "fence": fenced(fence), "id": id, "now": now, "metrics": facts.metrics.iter().map(metric).collect::<Vec<_>>(),
        "params": facts.params.iter().map(entry).collect::<Vec<_>>(),
        "tags": facts.tags.iter().map(entry).collect::<Vec<_>>(),
    })
}

/// A fact, as it is stored.
#[derive(Debug, Deserialize)]
struct Stored {
    run: String,
    name: String,
    value: String,
    step: Option<String>,
    at: String,
}

/// A fact with what is said about its run and attempt.
struct Found {
    seq: u64,
    stored: Stored,
    run: Reply,
    attempt: Reply,
    action: Reply,
    state: Reply,
}

async fn list<T>(
    db: &Reader<'_>,
    kind: &str,
    (query, request): (&FactQuery, &PageRequest),
    item: impl Fn(Found) -> Work<T>,
) -> Work<Page<T>> {
    let FactQuery { run, before_run, name, succeeded_only } = query;
    let arguments = json!({
        "kind": kind, "run": run, "before_run": before_run.map(super::arguments::bounded), "name": name,
        "succeeded": succeeded_only,
    });
    db.page("facts", arguments, request, |reply| {
        let [seq, text, run, attempt, action, state] = reply.parts()?;
        let seq: i64 = seq.value()?;
        let stored = serde_json::from_str(&text.text()?)?;
        let found = Found { seq: seq.cast_unsigned(), stored, run, attempt, action, state };
        Ok((seq, item(found)?))
    })
    .await
}

fn number<T: std::str::FromStr>(text: String) -> Work<T> {
    Reply::Text(text).value()
}

fn succeeded(state: Reply) -> Work<bool> {
    Ok(state.value::<AttemptState>()? == AttemptState::Succeeded)
}

/// Metrics, newest first.
pub(super) async fn metrics(db: &Reader<'_>, query: &FactQuery, request: &PageRequest) -> Work<Page<MetricRecord>> {
    list(db, "metric", (query, request), |Found { seq, stored, run, attempt, action, state }| {
        Ok::<_, Fail>(MetricRecord {
            seq,
            run_id: run.value()?,
            run_number: number(stored.run)?,
            action: action.text()?,
            attempt_id: attempt.value()?,
            succeeded: succeeded(state)?,
            name: stored.name,
            value: number(stored.value)?,
            step: stored.step.map(number).transpose()?,
            recorded_at: Timestamp::from_micros(number(stored.at)?),
        })
    })
    .await
}

/// Params, newest first.
pub(super) async fn params(db: &Reader<'_>, query: &FactQuery, request: &PageRequest) -> Work<Page<ParamRecord>> {
    list(db, "param", (query, request), |Found { seq, stored, run, attempt, action, state }| {
        Ok::<_, Fail>(ParamRecord {
            seq,
            run_id: run.value()?,
            action: action.text()?,
            attempt_id: attempt.value()?,
            succeeded: succeeded(state)?,
            name: stored.name,
            value: stored.value,
            recorded_at: Timestamp::from_micros(number(stored.at)?),
        })
    })
    .await
}

/// Tags of runs, newest first. They belong to runs, not attempts, so `succeeded_only` does not
/// apply.
pub(super) async fn tags(db: &Reader<'_>, query: &FactQuery, request: &PageRequest) -> Work<Page<RunTag>> {
    list(db, "tag", (query, request), |Found { seq, stored, run, .. }| {
        Ok::<_, Fail>(RunTag {
            seq,
            run_id: run.value()?,
            name: stored.name,
            value: stored.value,
            recorded_at: Timestamp::from_micros(number(stored.at)?),
        })
    })
    .await
}
