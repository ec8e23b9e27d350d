//! Old runs: the arguments and answers of the scripts that list and remove them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::arguments::{bounded, time};
use super::reader::Reader;
use super::reply::{Fail, Reply, Row, Work};
use crate::base::Timestamp;
use crate::store::retention::{BATCH_ROWS, tag_of_run};
use crate::store::{OldRun, OldRuns, Removal, Removed, RemovedRows, RunsToKeep};

/// How many runs one call looks at, with all that they have read and written.
const LOOKED_AT: u64 = 100;

fn keep(keep: &RunsToKeep) -> Value {
    let RunsToKeep { ended_since, newest, tags, told_until, runs } = keep;
    let tag = |tag: &String| {
        let (name, value) = tag_of_run(tag);
        json!({ "whole": tag, "name": name, "value": value })
    };
    json!({
        "everything": newest.is_none() && ended_since.is_none(), "ended_since": ended_since.map(time),
        "newest": newest.map(bounded), "tags": tags.iter().map(tag).collect::<Vec<_>>(),
        "told_until": told_until.map(bounded), "runs": runs,
    })
}

/// The first and the last of numbers that follow one another.
fn ranges(numbers: &BTreeSet<u64>) -> Vec<[u64; 2]> {
    let mut found: Vec<[u64; 2]> = Vec::new();
    for number in numbers {
        match found.last_mut() {
            Some([_, last]) if *last + 1 == *number => *last = *number,
            _ => found.push([*number, *number]),
        }
    }
    found
}

/// Lists old runs below a number. `gone` counts as removed.
pub(super) async fn list(
    db: &Reader<'_>,
    kept: &RunsToKeep,
    gone: &BTreeSet<u64>,
    below: Option<u64>,
) -> Work<OldRuns> {
    let arguments = json!({ "keep": keep(kept), "gone": ranges(gone), "below": below, "limit": LOOKED_AT });
    let [below, runs] = db.ask("old_runs", arguments).await?.parts()?;
    let run = |reply: Reply| {
        let [number, removal, counts] = reply.parts()?;
        let counts = rows(&counts.row()?)?;
        let (removal, rows) = match removal.text()?.as_str() {
            "whole" => (Removal::Whole, RemovedRows { runs: 1, ..counts }),
            "details" => (Removal::Details, RemovedRows { trimmed: 1, attempts: 0, accesses: 0, tags: 0, ..counts }),
            other => return Err(Fail::Record(format!("a run is removed as `{other}`"))),
        };
        Ok(OldRun { number: number.value()?, removal, rows })
    };
    let below = below.text()?;
    let below = if below.is_empty() { None } else { Some(Reply::Text(below).value()?) };
    Ok(OldRuns { runs: runs.each(run)?, below })
}

/// The arguments of the removal of runs.
pub(super) fn arguments(kept: &RunsToKeep, runs: &[u64], now: Timestamp) -> Value {
    json!({ "keep": keep(kept), "runs": runs, "batch": BATCH_ROWS, "now": time(now) })
}

/// Reads what was removed.
pub(super) fn removed(reply: Reply) -> Work<Removed> {
    let [done, counts] = reply.parts()?;
    Ok(Removed { done: done.value()?, rows: rows(&counts.row()?)? })
}

fn rows(row: &Row) -> Work<RemovedRows> {
    let count = |name: &str| Ok::<u64, Fail>(row.opt(name)?.unwrap_or(0));
    Ok(RemovedRows {
        runs: count("runs")?,
        trimmed: count("trimmed")?,
        attempts: count("attempts")?,
        accesses: count("accesses")?,
        metrics: count("metrics")?,
        params: count("params")?,
        tags: count("tags")?,
        denials: count("denials")?,
        requests: count("requests")?,
    })
}
