//! What a run sees in a resource: the same on every attempt, whatever has happened since.
//!
//! A version was at its path from the sequence `placed` until `ended`; the run was created at the
//! sequence `snapshot`. So the snapshot has what was placed by then and had not ended: what is
//! still there, what has ended since, and what was renamed since (shown under its old path, with
//! its unchanged id). Little changes while a run is active, so the cost of a page grows with what
//! it shows, not with what is on record. The outputs of the given actions are laid over that, the
//! newest for each path.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::artifacts::{SEQ_COLUMN, artifact, artifact_columns};
use super::sql::{Work, prepare};
use crate::base::{ArtifactId, RunId};
use crate::model::{Artifact, Page};
use crate::store::path_range::PathRange;
use crate::store::{PageRequest, SnapshotQuery, page};

/// The number and the snapshot of a run; `None` if there is no such run.
fn run_of(db: &Connection, run: RunId) -> Work<Option<(u64, u64)>> {
    let sql = "SELECT number, snapshot FROM runs WHERE id = ?1";
    Ok(prepare(db, sql)?.query_row([run], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// A page of what a run sees, by path.
pub(super) fn snapshot(db: &Connection, query: &SnapshotQuery, request: &PageRequest) -> Work<Page<Artifact>> {
    let Some((run, at)) = run_of(db, query.run)? else { return Ok(Page { items: Vec::new(), next_cursor: None }) };
    let cursor = match request.cursor.as_deref() {
        None => None,
        Some(cursor) => Some(cursor.strip_prefix('/').ok_or_else(|| page::refuse(cursor))?),
    };
    let mut range = PathRange::of(query, cursor);
    if let Some(id) = query.artifact {
        let Some(path) = path_then(db, &query.resource, at, id)? else {
            return Ok(Page { items: Vec::new(), next_cursor: None });
        };
        range.narrow_to(&path);
    }
    let limit = page::limit(request);
    let mut seen = BTreeMap::new();
    for found in [still_there, ended_since, renamed_since] {
        seen.extend(found(db, &query.resource, at, &range, limit + 1)?.into_iter().map(|it| (it.path.clone(), it)));
    }
    seen.extend(newest_outputs(db, run, &query.resource, &query.actions, &range, limit + 1)?);
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
fn path_then(db: &Connection, resource: &str, at: u64, id: ArtifactId) -> Work<Option<String>> {
    let sql = "SELECT path FROM artifacts WHERE id = ?1 AND resource = ?2 AND placed <= ?3";
    let path = prepare(db, sql)?.query_row(params![id, resource, at], |row| row.get(0)).optional()?;
    if path.is_some() {
        return Ok(path);
    }
    let sql = "SELECT p.path FROM old_places p CROSS JOIN artifacts a ON a.seq = p.artifact
         WHERE p.resource = ?2 AND p.ended > ?3 AND p.placed <= ?3 AND a.id = ?1";
    Ok(prepare(db, sql)?.query_row(params![id, resource, at], |row| row.get(0)).optional()?)
}

/// What the given actions published to a resource in a run, by path; if two wrote a path, the last
/// version.
pub(super) fn outputs(db: &Connection, run: RunId, resource: &str, actions: &[String]) -> Work<Vec<Artifact>> {
    let Some((run, _)) = run_of(db, run)? else { return Ok(Vec::new()) };
    let range = PathRange::all();
    Ok(newest_outputs(db, run, resource, actions, &range, usize::MAX)?.into_values().collect())
}

/// The outputs at the first `limit` paths of a range. The path is the one at which it was
/// published.
fn newest_outputs(
    db: &Connection,
    run: u64,
    resource: &str,
    actions: &[String],
    range: &PathRange,
    limit: usize,
) -> Work<BTreeMap<String, Artifact>> {
    let sql = concat!(
        "SELECT ",
        artifact_columns!(),
        ", o.path, o.action FROM outputs o CROSS JOIN artifacts a ON a.seq = o.artifact
         WHERE o.run = ?1 AND o.resource = ?2 AND o.path >= ?3 AND o.path < ?4 ORDER BY o.path, o.artifact"
    );
    let mut found = BTreeMap::new();
    if actions.is_empty() {
        return Ok(found);
    }
    let mut statement = prepare(db, sql)?;
    let mut rows = statement.query(params![run, resource, range.from, range.to])?;
    while let Some(row) = rows.next()? {
        let action = row.get_ref(SEQ_COLUMN + 2)?.as_str().map_err(rusqlite::Error::from)?;
        if !actions.iter().any(|it| it == action) {
            continue;
        }
        let path: String = row.get(SEQ_COLUMN + 1)?;
        if found.len() == limit && !found.contains_key(&path) {
            break;
        }
        // Later outputs at a path replace earlier ones.
        let mut output = artifact(row)?;
        output.path.clone_from(&path);
        found.insert(path, output);
    }
    Ok(found)
}

/// What was there then, and still is.
fn still_there(db: &Connection, resource: &str, at: u64, range: &PathRange, limit: usize) -> Work<Vec<Artifact>> {
    let sql = concat!(
        "SELECT ",
        artifact_columns!(),
        " FROM artifacts a INDEXED BY artifacts_present WHERE a.resource = ?1 AND a.ended IS NULL AND a.path >= ?3 AND a.path < ?4
         AND a.placed <= ?2 AND a.state <> 'ignored' ORDER BY a.path LIMIT ?5"
    );
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map(params![resource, at, range.from, range.to, limit], artifact)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What was there then, and has been replaced or deleted since. Sorts, but only what has changed
/// since the run began.
fn ended_since(db: &Connection, resource: &str, at: u64, range: &PathRange, limit: usize) -> Work<Vec<Artifact>> {
    let sql = concat!(
        "SELECT ",
        artifact_columns!(),
        " FROM artifacts a INDEXED BY artifacts_ended WHERE a.resource = ?1 AND a.ended > ?2 AND a.path >= ?3 AND a.path < ?4
         AND a.placed <= ?2 AND a.state <> 'ignored' ORDER BY a.path LIMIT ?5"
    );
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map(params![resource, at, range.from, range.to, limit], artifact)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What was there then, and has another path now. Sorts, too.
fn renamed_since(db: &Connection, resource: &str, at: u64, range: &PathRange, limit: usize) -> Work<Vec<Artifact>> {
    let sql = concat!(
        "SELECT ",
        artifact_columns!(),
        ", p.path, p.version FROM old_places p CROSS JOIN artifacts a ON a.seq = p.artifact
         WHERE p.resource = ?1 AND p.ended > ?2 AND p.path >= ?3 AND p.path < ?4 AND p.placed <= ?2
         AND a.state <> 'ignored' ORDER BY p.path LIMIT ?5"
    );
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map(params![resource, at, range.from, range.to, limit], |row| {
        let mut then = artifact(row)?;
        then.path = row.get(SEQ_COLUMN + 1)?;
        then.version = row.get(SEQ_COLUMN + 2)?;
        Ok(then)
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
