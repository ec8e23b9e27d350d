//! What a run sees in a resource: the same on every attempt, whatever has happened since.
//!
//! A version was at its path from the sequence `placed` until `ended`; the run was created at the
//! sequence `snapshot`. So the snapshot has what was placed by then and had not ended: what is
//! still there, what has ended since, and what was renamed since (shown under its old path, with
//! its unchanged id). The outputs of the given actions are laid over that, the newest for each
//! path.

use std::collections::BTreeMap;

use serde_json::json;

use super::artifacts::artifact;
use super::reader::Reader;
use super::reply::{Reply, Work};
use super::runs;
use crate::base::{ArtifactId, RunId};
use crate::model::{Artifact, Page};
use crate::store::path_range::PathRange;
use crate::store::{PageRequest, SnapshotQuery, page};

/// Artifacts by path.
type Seen = BTreeMap<String, Artifact>;

/// A page of what a run sees, by path.
pub(super) async fn snapshot(db: &Reader<'_>, query: &SnapshotQuery, request: &PageRequest) -> Work<Page<Artifact>> {
    let nothing = Page { items: Vec::new(), next_cursor: None };
    let Some(run) = runs::summary(db, query.run).await? else { return Ok(nothing) };
    let cursor = match request.cursor.as_deref() {
        None => None,
        Some(cursor) => Some(cursor.strip_prefix('/').ok_or_else(|| page::refuse(cursor))?),
    };
    let mut range = PathRange::of(query, cursor);
    if let Some(id) = query.artifact {
        let Some(path) = path_then(db, &query.resource, run.snapshot, id).await? else { return Ok(nothing) };
        range.narrow_to(&path);
    }
    let limit = page::limit(request);
    let mut seen = still_there(db, &query.resource, run.snapshot, &range, limit + 1).await?;
    seen.extend(ended_since(db, &query.resource, run.snapshot, &range).await?);
    seen.extend(moved_since(db, &query.resource, run.snapshot, &range).await?);
    if !query.actions.is_empty() {
        seen.extend(newest_outputs(db, run.number, &query.resource, &query.actions, &range, limit).await?);
    }
    if let Some(id) = query.artifact {
        seen.retain(|_, it| it.id == id);
    }
    let more = seen.len() > limit;
    let items: Vec<Artifact> = seen.into_values().take(limit).collect();
    let next_cursor = if more { items.last().map(|last| format!("/{}", last.path)) } else { None };
    Ok(Page { items, next_cursor })
}

/// What the given actions published to a resource in a run, by path; if two wrote a path, the last
/// version.
pub(super) async fn outputs(db: &Reader<'_>, run: RunId, resource: &str, actions: &[String]) -> Work<Vec<Artifact>> {
    let Some(run) = runs::summary(db, run).await? else { return Ok(Vec::new()) };
    let all = newest_outputs(db, run.number, resource, actions, &PathRange::all(), usize::MAX).await?;
    Ok(all.into_values().collect())
}

/// The path at which an artifact was at the sequence `at`; `None` if it was not there yet.
async fn path_then(db: &Reader<'_>, resource: &str, at: u64, id: ArtifactId) -> Work<Option<String>> {
    let found = db.ask("path_then", json!({ "artifact": id, "resource": resource, "at": at })).await?;
    found.first()?.map(Reply::text).transpose()
}

/// The first `limit` that were there then, and still are.
async fn still_there(db: &Reader<'_>, resource: &str, at: u64, range: &PathRange, limit: usize) -> Work<Seen> {
    let (mut seen, mut from) = (Seen::new(), format!("[{}", range.from));
    let to = format!("({}", range.to);
    while seen.len() < limit {
        let arguments = json!({ "resource": resource, "at": at, "from": from, "to": to, "limit": limit - seen.len() });
        let [next, rows] = db.ask("at_paths", arguments).await?.parts()?;
        for found in rows.each(|row| artifact(&row.row()?))? {
            seen.insert(found.path.clone(), found);
        }
        let next = next.text()?;
        if next.is_empty() {
            break;
        }
        from = format!("({next}");
    }
    Ok(seen)
}

fn is_in(range: &PathRange, path: &str) -> bool {
    *range.from <= *path && *path < *range.to
}

/// What was there then, and has been replaced or deleted since. The cost grows with what has
/// changed since the run began.
async fn ended_since(db: &Reader<'_>, resource: &str, at: u64, range: &PathRange) -> Work<Seen> {
    let (mut seen, mut since) = (Seen::new(), at.to_string());
    while !since.is_empty() {
        let arguments = json!({ "resource": resource, "at": at, "since": since });
        let [next, rows] = db.ask("ended_since", arguments).await?.parts()?;
        for found in rows.each(|row| artifact(&row.row()?))? {
            if is_in(range, &found.path) {
                seen.insert(found.path.clone(), found);
            }
        }
        since = next.text()?;
    }
    Ok(seen)
}

/// What was there then, and has another path now.
async fn moved_since(db: &Reader<'_>, resource: &str, at: u64, range: &PathRange) -> Work<Seen> {
    let (mut seen, mut since) = (Seen::new(), at.to_string());
    while !since.is_empty() {
        let arguments = json!({ "resource": resource, "at": at, "since": since });
        let [next, rows] = db.ask("moved_since", arguments).await?.parts()?;
        for reply in rows.list()? {
            let [path, version, row] = reply.parts()?;
            let path = path.text()?;
            if is_in(range, &path) {
                let then = Artifact { path: path.clone(), version: version.value()?, ..artifact(&row.row()?)? };
                seen.insert(path, then);
            }
        }
        since = next.text()?;
    }
    Ok(seen)
}

/// The end of the range of members of paths before `to`. A member is its path, U+0000, and more. So
/// the members of a path come after the first text after that path.
fn before_members(to: &str) -> String {
    to.strip_suffix('\0').map_or_else(|| to.to_owned(), |path| format!("{path}\u{1}"))
}

/// The outputs in a range of paths: all, or more than `limit` of the first ones. The path is the
/// one at which it was published.
async fn newest_outputs(
    db: &Reader<'_>,
    run: u64,
    resource: &str,
    actions: &[String],
    range: &PathRange,
    limit: usize,
) -> Work<Seen> {
    let (mut seen, mut from) = (Seen::new(), format!("[{}", range.from));
    let to = format!("({}", before_members(&range.to));
    loop {
        let arguments = json!({ "run": run, "resource": resource, "from": from, "to": to });
        let [next, rows] = db.ask("outputs", arguments).await?.parts()?;
        for reply in rows.list()? {
            let [path, action, row] = reply.parts()?;
            let path = path.text()?;
            if actions.contains(&action.text()?) && is_in(range, &path) {
                // Later outputs at a path come later, and replace earlier ones.
                seen.insert(path.clone(), Artifact { path, ..artifact(&row.row()?)? });
            }
        }
        let next = next.text()?;
        if next.is_empty() || seen.len() > limit {
            return Ok(seen);
        }
        from = format!("({next}");
    }
}
