//! Artifacts: how they are read, and their lists.

use serde_json::{Value, json};

use super::arguments::{bound, time};
use super::reader::Reader;
use super::reply::{Fail, Reply, Row, Work};
use crate::base::{ArtifactId, Digest, Timestamp};
use crate::model::{Artifact, ArtifactState, KnownPath, Observation, Page, Pending};
use crate::store::{ArtifactQuery, Batch, PageRequest, Recorded, page};

/// Reads the record of an artifact.
pub(super) fn artifact(row: &Row) -> Work<Artifact> {
    let mut tags: Vec<String> = row.opt_json("tags")?.unwrap_or_default();
    tags.sort();
    Ok(Artifact {
        id: row.get("id")?,
        resource: row.get("resource")?,
        path: row.get("path")?,
        version: row.get("version")?,
        digest: row.opt("digest")?,
        size: row.get("size")?,
        state: row.get("state")?,
        reason: row.text("reason"),
        run_id: row.opt("run")?,
        produced_by: row.opt("by")?,
        created_at: row.time("created")?,
        tags,
        present: !row.has("ended"),
        stamp: row.get("stamp")?,
    })
}

/// Reads an artifact with its sequence.
pub(super) fn numbered(reply: Reply) -> Work<(i64, Artifact)> {
    let row = reply.row()?;
    Ok((row.get("seq")?, artifact(&row)?))
}

/// Reads the counters of pending artifacts.
pub(super) fn pending(reply: Reply) -> Work<Pending> {
    let row = reply.row()?;
    Ok(Pending {
        count: row.opt("count")?.unwrap_or(0),
        bytes: row.opt("bytes")?.unwrap_or(0),
        oldest_at: row.opt_time("oldest")?,
        newest_at: row.opt_time("newest")?,
        as_of: row.get("as_of")?,
    })
}

/// The arguments of a batch of observations. Each may become an artifact with the id that it has
/// here.
pub(super) fn batch(resource: &str, batch: &Batch, now: Timestamp) -> Value {
    let seen: Vec<Value> = batch.seen.iter().map(observation).collect();
    let as_of = super::arguments::bounded(batch.as_of);
    json!({ "resource": resource, "id": batch.id, "as_of": as_of, "cursor": batch.cursor, "seen": seen, "now": time(now) })
}

fn observation(seen: &Observation) -> Value {
    let id = ArtifactId::new();
    match seen {
        Observation::Present { path, digest, size, stamp } => {
            json!({ "kind": "present", "id": id, "path": path, "digest": digest, "size": size, "stamp": stamp })
        }
        Observation::Gone { path } => json!({ "kind": "gone", "path": path }),
        Observation::Renamed { from, to, stamp } => {
            json!({ "kind": "renamed", "from": from, "to": to, "stamp": stamp })
        }
        Observation::Ignored { path, reason, stamp } => {
            json!({ "kind": "ignored", "id": id, "path": path, "reason": reason, "stamp": stamp })
        }
    }
}

/// Reads the answer to a batch.
pub(super) fn recorded(reply: Reply) -> Work<Recorded> {
    let [new, outdated, waiting] = reply.parts()?;
    Ok(Recorded { new: new.value()?, outdated: outdated.each(Reply::value)?, pending: pending(waiting)? })
}

/// One artifact; `None` if no artifact has this id.
pub(super) async fn one(db: &Reader<'_>, id: ArtifactId) -> Work<Option<Artifact>> {
    let row = db.ask("artifact", json!({ "id": id })).await?.first()?;
    row.map(|row| artifact(&row.row()?)).transpose()
}

/// The pending artifacts of a resource, oldest first.
pub(super) async fn waiting(db: &Reader<'_>, resource: &str, request: &PageRequest) -> Work<Page<Artifact>> {
    let (after, limit) = (bound(page::after(request)?), page::limit(request));
    let arguments = json!({ "resource": resource, "after": after, "limit": limit + 1 });
    Ok(page::cut(db.ask("pending_artifacts", arguments).await?.each(numbered)?, limit))
}

/// What lies in a resource, by path. The cursor is the last path of the page before.
async fn at_paths(db: &Reader<'_>, resource: &str, with_ignored: bool, request: &PageRequest) -> Work<Page<Artifact>> {
    let limit = page::limit(request);
    let (mut found, mut after) = (Vec::new(), request.cursor.clone().unwrap_or_default());
    loop {
        let arguments = json!({
            "resource": resource, "from": format!("({after}"), "with_ignored": with_ignored, "limit": limit + 1 - found.len(),
        });
        let [next, rows] = db.ask("at_paths", arguments).await?.parts()?;
        found.extend(rows.each(|row| artifact(&row.row()?))?);
        after = next.text()?;
        if after.is_empty() || found.len() > limit {
            break;
        }
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = if more { found.last().map(|last| last.path.clone()) } else { None };
    Ok(Page { items: found, next_cursor })
}

/// What is present in a resource, by path.
pub(super) async fn known(db: &Reader<'_>, resource: &str, request: &PageRequest) -> Work<Page<KnownPath>> {
    let Page { items, next_cursor } = at_paths(db, resource, true, request).await?;
    let known = |Artifact { path, digest, size, state, stamp, .. }| KnownPath { path, digest, size, state, stamp };
    Ok(Page { items: items.into_iter().map(known).collect(), next_cursor })
}

/// What lies in a resource and is not ignored, by path.
pub(super) async fn present(db: &Reader<'_>, resource: &str, request: &PageRequest) -> Work<Page<Artifact>> {
    at_paths(db, resource, false, request).await
}

/// Artifacts, newest first.
pub(super) async fn list(db: &Reader<'_>, query: &ArtifactQuery, request: &PageRequest) -> Work<Page<Artifact>> {
    let ArtifactQuery { resource, path, state, run, tag } = query;
    let arguments = json!({
        "resource": resource, "path": path, "state": state.map(ArtifactState::as_str), "run": run, "tag": tag,
    });
    db.page("artifacts", arguments, request, numbered).await
}

/// The inputs of a run, in the order of recording.
pub(super) async fn inputs(db: &Reader<'_>, run: crate::base::RunId, request: &PageRequest) -> Work<Page<Artifact>> {
    let (after, limit) = (bound(page::after(request)?), page::limit(request));
    let arguments = json!({ "id": run, "after": after, "limit": limit + 1 });
    Ok(page::cut(db.ask("run_inputs", arguments).await?.each(numbered)?, limit))
}

/// A part of what is needed: new artifacts, those that are claimed, versions of models, those that
/// a run was given, and those that it has written.
const PARTS: [&str; 5] = ["new", "current", "registered", "given", "written"];

/// Returns a page of the digests of the artifacts of a resource that runs need. The parts come in
/// their order: an artifact that is claimed while the pages are read must not be missed.
pub(super) async fn needed(db: &Reader<'_>, resource: &str, request: &PageRequest) -> Work<Page<Digest>> {
    let limit = page::limit(request);
    let (from, mut after) = place(request)?;
    let mut items = Vec::new();
    // Artifacts without a digest are skipped, but count, so that the work for a page is bounded.
    let mut room = limit;
    for source in sources(db).await?.into_iter().filter(|source| *source >= from) {
        let (part, run) = source;
        if source != from {
            after = String::new();
        }
        loop {
            let name = PARTS.get(part).copied().unwrap_or_default();
            let arguments = json!({ "resource": resource, "part": name, "run": run, "after": after, "limit": room });
            let found = db.ask("needed", arguments).await?.list()?;
            if found.is_empty() {
                break;
            }
            for item in found {
                let [at, digest] = item.parts()?;
                (after, room) = (at.text()?, room - 1);
                let digest = digest.text()?;
                if !digest.is_empty() {
                    items.push(digest.parse().map_err(|_| Fail::Record(format!("`{digest}` is not a digest")))?);
                }
            }
            if room == 0 {
                return Ok(Page { items, next_cursor: Some(format!("{part}.{run}.{after}")) });
            }
        }
    }
    Ok(Page { items, next_cursor: None })
}

/// The beginnings of all parts, in the order in which they are read. The first three are of no run.
async fn sources(db: &Reader<'_>) -> Work<Vec<(usize, u64)>> {
    let mut runs: Vec<u64> = db.ask("unfinished_runs", json!({})).await?.each(Reply::value)?;
    runs.sort_unstable();
    let of_runs = (3..PARTS.len()).flat_map(|part| runs.iter().map(move |run| (part, *run)));
    Ok([(0, 0), (1, 0), (2, 0)].into_iter().chain(of_runs).collect())
}

/// Where a page begins: the part with its run, and the place in it.
fn place(request: &PageRequest) -> Work<((usize, u64), String)> {
    let Some(cursor) = &request.cursor else { return Ok(((0, 0), String::new())) };
    let mut words = cursor.splitn(3, '.');
    let part = words.next().and_then(|word| word.parse().ok()).filter(|part| *part < PARTS.len());
    let run = words.next().and_then(|word| word.parse().ok());
    match (part, run, words.next()) {
        (Some(part), Some(run), Some(after)) if part == 4 || after.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(((part, run), after.to_owned()))
        }
        _ => Err(page::refuse(cursor).into()),
    }
}
