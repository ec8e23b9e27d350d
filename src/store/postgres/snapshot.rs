//! What a run sees in a resource: the same on every attempt, whatever has happened since.
//!
//! A version was at its path from the sequence `placed` until `ended`; the run was created at the
//! sequence `snapshot`. So the snapshot has what was placed by then and had not ended: what is
//! still there, what has ended since, and what was renamed since (shown under its old path, with
//! its unchanged id). The outputs of the given actions are laid over that, the newest for each
//! path.

use std::collections::BTreeMap;

use super::artifacts::{SEQ_COLUMN, artifact, artifact_columns};
use super::db::Db;
use super::sql::{Work, params};
use crate::base::{ArtifactId, RunId};
use crate::model::{Artifact, Page};
use crate::store::path_range::PathRange;
use crate::store::{PageRequest, SnapshotQuery, page};

/// The number and the snapshot of a run; `None` if there is no such run.
async fn run_of(db: &Db, run: RunId) -> Work<Option<(u64, u64)>> {
    let Some(row) = db.row("SELECT number, snapshot FROM runs WHERE id = $1", &params![run]).await? else {
        return Ok(None);
    };
    Ok(Some((row.get(0)?, row.get(1)?)))
}

/// A page of what a run sees, by path.
pub(super) async fn snapshot(db: &Db, query: &SnapshotQuery, request: &PageRequest) -> Work<Page<Artifact>> {
    let nothing = Page { items: Vec::new(), next_cursor: None };
    let Some((run, at)) = run_of(db, query.run).await? else { return Ok(nothing) };
    let cursor = match request.cursor.as_deref() {
        None => None,
        Some(cursor) => Some(cursor.strip_prefix('/').ok_or_else(|| page::refuse(cursor))?),
    };
    let mut range = PathRange::of(query, cursor);
    if let Some(id) = query.artifact {
        let Some(path) = path_then(db, &query.resource, at, id).await? else { return Ok(nothing) };
        range.narrow_to(&path);
    }
    let limit = page::limit(request);
    let mut seen = BTreeMap::new();
    for sql in [STILL_THERE, ENDED_SINCE] {
        for row in db.rows(sql, &params![query.resource, at, range.from, range.to, limit + 1]).await? {
            let found = artifact(&row)?;
            seen.insert(found.path.clone(), found);
        }
    }
    for found in renamed_since(db, &query.resource, at, &range, limit + 1).await? {
        seen.insert(found.path.clone(), found);
    }
    seen.extend(newest_outputs(db, run, &query.resource, &query.actions, &range, limit + 1).await?);
    if let Some(id) = query.artifact {
        seen.retain(|_, it| it.id == id);
    }
    let more = seen.len() > limit;
    let items: Vec<Artifact> = seen.into_values().take(limit).collect();
    let next_cursor = if more { items.last().map(|last| format!("/{}", last.path)) } else { None };
    Ok(Page { items, next_cursor })
}

/// The path at which an artifact was at the sequence `at`; `None` if it was not there yet. The cost
/// grows with how many were renamed since.
async fn path_then(db: &Db, resource: &str, at: u64, id: ArtifactId) -> Work<Option<String>> {
    let here = "SELECT path FROM artifacts WHERE id = $1 AND resource = $2 AND placed <= $3";
    let before = "SELECT p.path FROM old_places p JOIN artifacts a ON a.seq = p.artifact
         WHERE p.resource = $2 AND p.ended > $3 AND p.placed <= $3 AND a.id = $1";
    for sql in [here, before] {
        if let Some(row) = db.row(sql, &params![id, resource, at]).await? {
            return Ok(Some(row.get(0)?));
        }
    }
    Ok(None)
}

/// What the given actions published to a resource in a run, by path; if two wrote a path, the last
/// version.
pub(super) async fn outputs(db: &Db, run: RunId, resource: &str, actions: &[String]) -> Work<Vec<Artifact>> {
    let Some((run, _)) = run_of(db, run).await? else { return Ok(Vec::new()) };
    let all = newest_outputs(db, run, resource, actions, &PathRange::all(), usize::MAX).await?;
    Ok(all.into_values().collect())
}

/// The outputs at the first `limit` paths of a range. The path is the one at which it was
/// published.
async fn newest_outputs(
    db: &Db,
    run: u64,
    resource: &str,
    actions: &[String],
    range: &PathRange,
    limit: usize,
) -> Work<BTreeMap<String, Artifact>> {
    let sql = concat!(
        "SELECT ",
        artifact_columns!(),
        ", o.path, o.action FROM outputs o JOIN artifacts a ON a.seq = o.artifact
         WHERE o.run = $1 AND o.resource = $2 AND left(o.path, 400) >= left($3, 400)
         AND left(o.path, 400) <= left($4, 400) AND o.path >= $3 AND o.path < $4 ORDER BY o.path, o.artifact"
    );
    let mut found = BTreeMap::new();
    if actions.is_empty() {
        return Ok(found);
    }
    for row in db.rows(sql, &params![run, resource, range.from, range.to]).await? {
        let action: String = row.get(SEQ_COLUMN + 2)?;
        if !actions.contains(&action) {
            continue;
        }
        let path: String = row.get(SEQ_COLUMN + 1)?;
        if found.len() == limit && !found.contains_key(&path) {
            break;
        }
        // Later outputs at a path replace earlier ones.
        let mut output = artifact(&row)?;
        output.path.clone_from(&path);
        found.insert(path, output);
    }
    Ok(found)
}

/// What was there then, and still is. An index has only the beginnings of paths, so this may be
/// more than a page: all paths with the last beginning.
const STILL_THERE: &str = concat!(
    "SELECT ",
    artifact_columns!(),
    " FROM artifacts a WHERE a.resource = $1 AND a.ended IS NULL AND left(a.path, 400) >= left($3, 400)
     AND left(a.path, 400) <= left($4, 400) AND a.path >= $3 AND a.path < $4
     AND a.placed <= $2 AND a.state <> 'ignored' ORDER BY left(a.path, 400) FETCH FIRST $5 ROWS WITH TIES"
);

/// What was there then, and has been replaced or deleted since. Sorts, but only what has changed
/// since the run began.
const ENDED_SINCE: &str = concat!(
    "SELECT ",
    artifact_columns!(),
    " FROM artifacts a WHERE a.resource = $1 AND a.ended > $2 AND a.path >= $3 AND a.path < $4
     AND a.placed <= $2 AND a.state <> 'ignored' ORDER BY a.path LIMIT $5"
);

/// What was there then, and has another path now. Sorts, too.
async fn renamed_since(db: &Db, resource: &str, at: u64, range: &PathRange, limit: usize) -> Work<Vec<Artifact>> {
    let sql = concat!(
        "SELECT ",
        artifact_columns!(),
        ", p.path, p.version FROM old_places p JOIN artifacts a ON a.seq = p.artifact
         WHERE p.resource = $1 AND p.ended > $2 AND p.path >= $3 AND p.path < $4 AND p.placed <= $2
         AND a.state <> 'ignored' ORDER BY p.path LIMIT $5"
    );
    let mut found = Vec::new();
    for row in db.rows(sql, &params![resource, at, range.from, range.to, limit]).await? {
        let mut then = artifact(&row)?;
        then.path = row.get(SEQ_COLUMN + 1)?;
        then.version = row.get(SEQ_COLUMN + 2)?;
        found.push(then);
    }
    Ok(found)
}
