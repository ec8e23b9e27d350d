//! Attempts: how they are read, the arguments of their writes, and their lists.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::{bound, time};
use super::artifacts::artifact;
use super::memories;
use super::reader::Reader;
use super::reply::{Fail, Reply, Row, Work};
use super::step::{self, fenced};
use crate::base::{ArtifactId, AttemptId, RunId, Timestamp};
use crate::model::{
    AccessKind, Attempt, AttemptState, CacheUse, Denial, Fence, HttpRequest, Page, Recording, StagedFile,
};
use crate::store::{
    ACCESSES_LOOKED_AT, ATTEMPT_RUNS, AccessSum, ActionAttempt, ArtifactUse, AttemptEnd, Intent, LineageEdge,
    PageRequest, PublishedOutput, Refusal, ResourceAccess, RunStep, StoreError, Visible, page,
};

/// Reads the record of an attempt.
pub(super) fn attempt(row: &Row, run_id: RunId) -> Work<Attempt> {
    let id = row.get("id")?;
    let log_from = row.position("from_segment", "from_offset")?;
    Ok(Attempt {
        id,
        run_id,
        action: row.get("action")?,
        number: row.get("number")?,
        state: row.get("state")?,
        started_at: row.time("started")?,
        ended_at: row.opt_time("ended")?,
        component_digest: row.get("component")?,
        grants: row.json("grants")?,
        error: row.opt_json("error")?,
        message: row.text("message"),
        usage: row.json("usage")?,
        log_from: log_from.ok_or_else(|| Fail::Record("an attempt has no log".to_owned()))?,
        log_to: row.position("to_segment", "to_offset")?,
        fence: Some(Fence { attempt_id: id, epoch: row.get("epoch")?, token: row.get("token")? }),
        cache: match row.text("cache") {
            Some(reason) => Some(CacheUse { reason, attempt_id: row.opt("cached_from")? }),
            None => None,
        },
    })
}

/// The arguments of the end of an attempt.
fn ended(end: &AttemptEnd) -> Work<Value> {
    let AttemptEnd { state, error, message, usage, accesses, denials, requests, tags, cache, recording, log_to } = end;
    let (to_segment, to_offset) = log_to.parts();
    let access = |it: &crate::model::Access| json!({ "id": it.artifact_id, "kind": it.kind, "bytes": it.bytes, "calls": it.calls, "digest": it.digest });
    let tag = |it: &crate::model::ArtifactTag| json!({ "id": it.artifact_id, "tag": it.tag, "unique": it.unique });
    let told = (!recording.is_empty()).then(|| serde_json::to_string(recording)).transpose()?;
    Ok(json!({
        "state": state, "error": error.as_ref().map(serde_json::to_string).transpose()?, "message": message,
        "usage": serde_json::to_string(usage)?, "to_segment": to_segment.to_string(), "to_offset": to_offset.to_string(),
        "accesses": accesses.iter().map(access).collect::<Vec<_>>(), "denials": denials,
        "requests": requests.iter().map(serde_json::to_string).collect::<serde_json::Result<Vec<_>>>()?,
        "tags": tags.iter().map(tag).collect::<Vec<_>>(), "cache": cache.as_ref().map(memories::note).transpose()?, "recording": told,
    }))
}

/// The arguments of the end of an attempt that publishes nothing.
pub(super) fn finish(fence: Fence, end: &AttemptEnd, then: &RunStep, now: Timestamp) -> Work<Value> {
    if matches!(end.state, AttemptState::Running | AttemptState::Publishing) {
        return Err(Fail::Rule(StoreError::Invalid(format!("an attempt cannot end as {}", end.state))));
    }
    Ok(json!({ "fence": fenced(fence), "ended": ended(end)?, "step": step::arguments(then)?, "now": time(now) }))
}

/// The arguments of the commit point of an attempt.
pub(super) fn intent(fence: Fence, intent: &Intent, now: Timestamp) -> Work<Value> {
    if intent.end.state != AttemptState::Succeeded {
        let why = format!("an attempt that ends as {} publishes nothing", intent.end.state);
        return Err(Fail::Rule(StoreError::Invalid(why)));
    }
    let file = |file: &StagedFile| {
        let StagedFile { artifact_id, resource, path, digest, size, staged: _, stamp, overwrite, replaces } = file;
        let retrigger = intent.retrigger.contains(resource);
        let model = intent.model_of(resource);
        Ok(json!({
            "id": artifact_id, "resource": resource, "path": path, "digest": digest, "size": size, "stamp": stamp,
            "overwrite": overwrite, "replaces": replaces, "retrigger": retrigger, "model": model,
            "text": serde_json::to_string(file)?,
        }))
    };
    let files = intent.files.iter().map(file).collect::<Work<Vec<_>>>()?;
    Ok(json!({
        "fence": fenced(fence), "files": files, "ended": ended(&intent.end)?, "skip": intent.skip,
        "reuse": intent.reuse.as_ref().map(|reuse| memories::reuse(reuse, now)), "now": time(now),
    }))
}

/// The arguments of the end of an attempt whose outputs are visible.
pub(super) fn published(
    fence: Fence,
    visible: &Visible,
    refusal: Option<&Refusal>,
    then: &RunStep,
    now: Timestamp,
) -> Work<Value> {
    let stamps =
        visible.stamps.iter().enumerate().filter_map(|(position, stamp)| {
            stamp.as_ref().map(|stamp| json!({ "position": position, "stamp": stamp }))
        });
    let refusal = refusal.map(|Refusal { state, error, files }| {
        let files: Vec<Value> =
            files.iter().map(|(position, why)| json!({ "position": position, "why": why })).collect();
        Ok::<_, Fail>(json!({ "state": state, "error": serde_json::to_string(error)?, "files": files }))
    });
    Ok(json!({
        "fence": fenced(fence), "stamps": stamps.collect::<Vec<_>>(), "refusal": refusal.transpose()?, "step": step::arguments(then)?,
        "now": time(now),
    }))
}

/// Returns what an attempt that has succeeded was told.
pub(super) async fn recording(db: &Reader<'_>, attempt: AttemptId) -> Work<Option<Recording>> {
    let found = db.ask("recording", json!({ "id": attempt })).await?.first()?;
    found.map(|told| Ok(serde_json::from_str(&told.text()?)?)).transpose()
}

/// Returns the outputs of all intents that are not published yet.
pub(super) async fn open_intents(db: &Reader<'_>) -> Work<Vec<PublishedOutput>> {
    let output = |reply: Reply| {
        let [attempt, file] = reply.parts()?;
        Ok(PublishedOutput { attempt_id: attempt.value()?, file: serde_json::from_str(&file.text()?)? })
    };
    db.ask("open_intents", json!({})).await?.each(output)
}

/// Lists what every attempt of a run read and wrote, in the order of recording.
pub(super) async fn lineage(db: &Reader<'_>, run: RunId, request: &PageRequest) -> Work<Page<LineageEdge>> {
    let (after, limit) = (bound(page::after(request)?), page::limit(request));
    let edge = |reply: Reply| {
        let [seq, attempt, action, kind, bytes, row] = reply.parts()?;
        let edge = LineageEdge {
            attempt_id: attempt.value()?,
            action: action.text()?,
            kind: kind.value()?,
            artifact: artifact(&row.row()?)?,
            bytes: bytes.value()?,
        };
        Ok((seq.value()?, edge))
    };
    let rows = db.ask("lineage", json!({ "id": run, "after": after, "limit": limit + 1 })).await?;
    Ok(page::cut(rows.each(edge)?, limit))
}

fn artifact_use(reply: Reply) -> Work<(i64, ArtifactUse)> {
    let [seq, run, number, attempt, action, attempt_number, kind, bytes] = reply.parts()?;
    let found = ArtifactUse {
        run_id: run.value()?,
        run_number: number.value()?,
        attempt_id: attempt.value()?,
        action: action.text()?,
        attempt: attempt_number.value()?,
        kind: kind.value()?,
        bytes: bytes.value()?,
    };
    Ok((seq.value()?, found))
}

/// Lists the attempts that read or wrote an artifact, newest first.
pub(super) async fn uses(db: &Reader<'_>, id: ArtifactId, request: &PageRequest) -> Work<Page<ArtifactUse>> {
    let (before, limit) = (bound(page::before(request)?), page::limit(request));
    let rows = db.ask("uses", json!({ "id": id, "before": before, "limit": limit + 1 })).await?;
    Ok(page::cut(rows.each(artifact_use)?, limit))
}

/// Returns the use in which an action wrote an artifact.
pub(super) async fn writer(db: &Reader<'_>, id: ArtifactId) -> Work<Option<ArtifactUse>> {
    let found = db.ask("writer", json!({ "id": id })).await?.first()?;
    Ok(found.map(artifact_use).transpose()?.map(|(_, found)| found))
}

/// What one attempt did, before the attempt itself is read.
#[derive(Debug, Default)]
struct Done {
    read: AccessSum,
    wrote: AccessSum,
    denied: Vec<Denial>,
}

/// How many records one call of a script looks at.
const LOOKED_AT: usize = 1_000;

/// Returns the numbers after which the newest records of a kind are read, a call each.
async fn newest(db: &Reader<'_>, counter: &str) -> Work<impl Iterator<Item = u64> + use<>> {
    let newest = db.ask("newest", json!({ "counter": counter })).await?.first()?;
    let newest: u64 = newest.unwrap_or(Reply::Nothing).value()?;
    Ok((newest.saturating_sub(ACCESSES_LOOKED_AT)..newest).step_by(LOOKED_AT))
}

/// Lists the attempts that used a resource, newest first.
pub(super) async fn of_resource(db: &Reader<'_>, resource: &str, limit: u32) -> Work<Vec<ResourceAccess>> {
    // By the attempt's sequence, which grows in the order of their starts.
    let mut done: BTreeMap<u64, Done> = BTreeMap::new();
    for after in newest(db, "access").await? {
        for reply in db.ask("accesses", json!({ "resource": resource, "after": after })).await?.list()? {
            let [attempt, kind, count, bytes] = reply.parts()?;
            let done = done.entry(attempt.value()?).or_default();
            let sum = match kind.value()? {
                AccessKind::Read => &mut done.read,
                AccessKind::Wrote => &mut done.wrote,
            };
            sum.artifacts += count.value::<u64>()?;
            sum.bytes += bytes.value::<u64>()?;
        }
    }
    for after in newest(db, "denial").await? {
        for reply in db.ask("denied", json!({ "resource": resource, "after": after })).await?.list()? {
            let [attempt, call, target, message] = reply.parts()?;
            let denial = Denial { call: call.text()?, target: target.text()?, message: message.text()? };
            done.entry(attempt.value()?).or_default().denied.push(denial);
        }
    }
    let newest: Vec<(u64, Done)> = done.into_iter().rev().take(limit as usize).collect();
    let seqs: Vec<u64> = newest.iter().map(|(seq, _)| *seq).collect();
    let rows = db.ask("attempts", json!({ "seqs": seqs })).await?.each(Reply::row)?;
    newest.into_iter().zip(rows).map(|((_, done), row)| access(done, &row)).collect()
}

fn access(Done { read, wrote, denied }: Done, row: &Row) -> Work<ResourceAccess> {
    Ok(ResourceAccess {
        run_number: row.get("run")?,
        attempt_id: row.get("id")?,
        action: row.get("action")?,
        attempt: row.get("number")?,
        ended_at: row.opt_time("ended")?,
        read,
        wrote,
        denied,
    })
}

/// How far the number of a run is shifted in a cursor of [`of_action`], to make room for the number
/// of an attempt.
const RUN_SHIFT: u32 = 20;

/// Lists the attempts of an action in the newest runs, newest run first.
pub(super) async fn of_action(db: &Reader<'_>, action: &str, request: &PageRequest) -> Work<Page<ActionAttempt>> {
    let (before, limit) = (page::before(request)?, page::limit(request));
    let (mut run, number) = (bound(before >> RUN_SHIFT), before & ((1 << RUN_SHIFT) - 1));
    let (cursor_run, newest) = (run, db.ask("newest", json!({ "counter": "run" })).await?.first()?);
    let newest: u64 = newest.unwrap_or(Reply::Nothing).value()?;
    let oldest = newest.saturating_sub(ATTEMPT_RUNS);
    let item = |reply: Reply| {
        let [run_id, row] = reply.parts()?;
        let row = row.row()?;
        let found = ActionAttempt { run_number: row.get("run")?, attempt: attempt(&row, run_id.value()?)? };
        let run: i64 = row.get("run")?;
        Ok(((run << RUN_SHIFT) | i64::from(found.attempt.number), found))
    };
    let mut found = Vec::new();
    loop {
        let arguments = json!({
            "action": action, "from": run, "run": cursor_run, "number": number, "oldest": oldest,
            "limit": limit + 1 - found.len(),
        });
        let [next, rows] = db.ask("action_attempts", arguments).await?.parts()?;
        found.extend(rows.each(item)?);
        match next.text()?.parse() {
            Ok(next) if found.len() <= limit => run = next,
            _ => return Ok(page::cut(found, limit)),
        }
    }
}

/// A call that was denied, as it is stored.
#[derive(Deserialize)]
struct StoredDenial {
    call: String,
    target: String,
    message: String,
}

/// Lists what attempts of a run did, attempt by attempt.
async fn of_attempts<T>(
    db: &Reader<'_>,
    run: RunId,
    what: &str,
    item: impl Fn(&str) -> Work<T>,
) -> Work<Vec<(AttemptId, T)>> {
    let rows = db.ask("of_attempts", json!({ "id": run, "what": what })).await?;
    rows.each(|reply| {
        let [attempt, text] = reply.parts()?;
        Ok((attempt.value()?, item(&text.text()?)?))
    })
}

/// Lists the denied calls of every attempt of a run.
pub(super) async fn denials(db: &Reader<'_>, run: RunId) -> Work<Vec<(AttemptId, Denial)>> {
    of_attempts(db, run, "denials", |text| {
        let StoredDenial { call, target, message } = serde_json::from_str(text)?;
        Ok(Denial { call, target, message })
    })
    .await
}

/// Lists the network requests of every attempt of a run.
pub(super) async fn requests(db: &Reader<'_>, run: RunId) -> Work<Vec<(AttemptId, HttpRequest)>> {
    of_attempts(db, run, "requests", |text| Ok(serde_json::from_str(text)?)).await
}
