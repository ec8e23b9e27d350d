//! Artifacts: their rows and paths, the counters of pending ones, and the lists.

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::events;
use super::sql::{Json, Work, execute, prepare};
use super::writer::Tx;
use crate::base::{ArtifactId, AttemptId, Digest, RunId, Timestamp};
use crate::model::{Artifact, ArtifactState, KnownPath, Page, Pending};
pub(super) use crate::store::waiting::Change;
use crate::store::{ArtifactQuery, PageRequest, page};

/// The columns that [`artifact`] reads, of a table or alias `a`.
macro_rules! artifact_columns {
    () => {
        "a.id, a.resource, a.path, a.version, a.digest, a.size, a.state, a.reason, a.run_id, a.produced_by, a.created_at, \
         a.ended IS NULL, a.stamp, \
         (SELECT json_group_array(tag) FROM artifact_tags t INDEXED BY artifact_tags_artifact WHERE t.artifact = a.seq), a.seq"
    };
}
pub(super) use artifact_columns;

/// The column of an artifact's sequence, after those that [`artifact`] reads.
pub(super) const SEQ_COLUMN: usize = 14;

/// Reads the columns of `artifact_columns!`.
pub(super) fn artifact(row: &Row<'_>) -> rusqlite::Result<Artifact> {
    // Most artifacts have no tags.
    let mut tags: Vec<String> = match row.get_ref(13)?.as_str()? {
        "[]" => Vec::new(),
        text => Json::parse(text)?.0,
    };
    tags.sort();
    Ok(Artifact {
        id: row.get(0)?,
        resource: row.get(1)?,
        path: row.get(2)?,
        version: row.get(3)?,
        digest: row.get(4)?,
        size: row.get(5)?,
        state: row.get(6)?,
        reason: row.get(7)?,
        run_id: row.get(8)?,
        produced_by: row.get(9)?,
        created_at: row.get(10)?,
        present: row.get(11)?,
        stamp: row.get(12)?,
        tags,
    })
}

/// The current version at a path, with what is needed to change it.
#[derive(Debug)]
pub(super) struct CurrentVersion {
    pub(super) seq: u64,
    pub(super) id: ArtifactId,
    pub(super) version: u64,
    pub(super) digest: Option<Digest>,
    pub(super) size: u64,
    pub(super) state: ArtifactState,
    pub(super) reason: Option<String>,
    pub(super) placed: u64,
    pub(super) stamp: String,
}

/// The value of the column `visible` from the commit point of an output until it is published. It
/// is larger than the number of any event.
pub(super) const NOT_VISIBLE: u64 = i64::MAX as u64;

impl CurrentVersion {
    /// Returns whether content with this digest and stamp is this version: by their digests, or by
    /// their stamps where one has no digest.
    pub(super) fn holds(&self, digest: Option<Digest>, stamp: &str) -> bool {
        match (self.digest, digest) {
            (Some(known), Some(seen)) => known == seen,
            _ => self.state != ArtifactState::Ignored && self.stamp == stamp,
        }
    }
}

/// Returns the current version at a path; `None` if there is none.
pub(super) fn current_version(db: &Connection, resource: &str, path: &str) -> Work<Option<CurrentVersion>> {
    let sql = "SELECT seq, id, version, digest, size, state, reason, placed, stamp FROM artifacts
        INDEXED BY artifacts_present WHERE resource = ?1 AND path = ?2 AND ended IS NULL";
    let found = prepare(db, sql)?.query_row([resource, path], |row| {
        Ok(CurrentVersion {
            seq: row.get(0)?,
            id: row.get(1)?,
            version: row.get(2)?,
            digest: row.get(3)?,
            size: row.get(4)?,
            state: row.get(5)?,
            reason: row.get(6)?,
            placed: row.get(7)?,
            stamp: row.get(8)?,
        })
    });
    Ok(found.optional()?)
}

/// The highest version number that a path ever had; 0 if none.
pub(super) fn highest_version(db: &Connection, resource: &str, path: &str) -> Work<u64> {
    let sql = "SELECT max(ifnull((SELECT max(version) FROM artifacts INDEXED BY artifacts_version WHERE resource = ?1 AND path = ?2), 0),
        ifnull((SELECT max(version) FROM old_places INDEXED BY old_places_version WHERE resource = ?1 AND path = ?2), 0))";
    Ok(prepare(db, sql)?.query_row([resource, path], |row| row.get(0))?)
}

/// A version to put on record.
pub(super) struct NewVersion<'a> {
    pub(super) id: ArtifactId,
    pub(super) resource: &'a str,
    pub(super) path: &'a str,
    pub(super) digest: Option<Digest>,
    pub(super) size: u64,
    pub(super) state: ArtifactState,
    pub(super) reason: Option<&'a str>,
    pub(super) produced_by: Option<AttemptId>,
    pub(super) stamp: &'a str,
    /// The event by which it was visible at its path; [`NOT_VISIBLE`] for an output that is not.
    /// `None` if no attempt wrote it.
    pub(super) visible: Option<u64>,
}

/// Puts the next version of a path on record. The caller has ended the version before. Returns the
/// sequence and the version of the new one.
pub(super) fn insert(tx: &mut Tx<'_>, new: &NewVersion<'_>, now: Timestamp) -> Work<(u64, u64)> {
    let version = highest_version(tx.db, new.resource, new.path)? + 1;
    let seq = tx.next_seq();
    let sql = "INSERT INTO artifacts
        (seq, id, resource, path, version, digest, size, state, reason, produced_by, created_at, placed, stamp, visible)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?1, ?12, ?13)";
    let NewVersion { id, resource, path, digest, size, state, reason, produced_by, stamp, visible } = new;
    execute(
        tx.db,
        sql,
        params![seq, id, resource, path, version, digest, size, state, reason, produced_by, now, stamp, visible],
    )?;
    Ok((seq, version))
}

/// Records that a version is no longer at its path, and sets its state.
pub(super) fn end(tx: &mut Tx<'_>, seq: u64, state: ArtifactState) -> Work<()> {
    let ended = tx.next_seq();
    execute(tx.db, "UPDATE artifacts SET ended = ?2, state = ?3 WHERE seq = ?1", params![seq, ended, state])?;
    Ok(())
}

/// Updates the counters of pending artifacts.
pub(super) fn change_waiting(tx: &mut Tx<'_>, resource: &str, change: Change) -> Work<()> {
    if change != Change::default() {
        let sql = "INSERT INTO waiting (resource, count, bytes) VALUES (?1, ?2, ?3)
            ON CONFLICT (resource) DO UPDATE SET count = count + excluded.count, bytes = bytes + excluded.bytes";
        execute(tx.db, sql, params![resource, change.count, change.bytes])?;
    }
    Ok(())
}

/// Returns the pending artifacts of a resource, from its counters and the two ends of an index.
pub(super) fn pending(db: &Connection, resource: &str) -> Work<Pending> {
    let counted = prepare(db, "SELECT count, bytes FROM waiting WHERE resource = ?1")?
        .query_row([resource], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let as_of = events::newest(db)?;
    let Some((count @ 1.., bytes)) = counted else { return Ok(Pending { as_of, ..Pending::default() }) };
    let first = "SELECT created_at FROM artifacts INDEXED BY artifacts_waiting
        WHERE resource = ?1 AND state = 'new' ORDER BY seq LIMIT 1";
    let last = "SELECT created_at FROM artifacts INDEXED BY artifacts_waiting
        WHERE resource = ?1 AND state = 'new' ORDER BY seq DESC LIMIT 1";
    let at = |sql| prepare(db, sql)?.query_row([resource], |row| row.get(0)).optional();
    Ok(Pending { count, bytes, oldest_at: at(first)?, newest_at: at(last)?, as_of })
}

/// Lists what is present in a resource, by path. The cursor is the last path of the previous page.
pub(super) fn known(db: &Connection, resource: &str, request: &PageRequest) -> Work<Page<KnownPath>> {
    let limit = page::limit(request);
    // No path is empty.
    let after = request.cursor.as_deref().unwrap_or_default();
    let sql = "SELECT path, digest, size, state, stamp FROM artifacts INDEXED BY artifacts_present
        WHERE resource = ?1 AND ended IS NULL AND path > ?2 ORDER BY path LIMIT ?3";
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map(params![resource, after, limit + 1], |row| {
        Ok(KnownPath {
            path: row.get(0)?,
            digest: row.get(1)?,
            size: row.get(2)?,
            state: row.get(3)?,
            stamp: row.get(4)?,
        })
    })?;
    let mut items: Vec<KnownPath> = rows.collect::<Result<_, _>>()?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = if more { items.last().map(|last| last.path.clone()) } else { None };
    Ok(Page { items, next_cursor })
}

/// What lies in a resource and is not ignored, by path. The cursor is the last path of the page
/// before.
pub(super) fn present(db: &Connection, resource: &str, request: &PageRequest) -> Work<Page<Artifact>> {
    let limit = page::limit(request);
    // No path is empty.
    let after = request.cursor.as_deref().unwrap_or_default();
    let sql = concat!(
        "SELECT ",
        artifact_columns!(),
        " FROM artifacts a INDEXED BY artifacts_present
        WHERE a.resource = ?1 AND a.ended IS NULL AND a.path > ?2 AND a.state <> 'ignored' ORDER BY a.path LIMIT ?3"
    );
    let mut statement = prepare(db, sql)?;
    let mut items: Vec<Artifact> =
        statement.query_map(params![resource, after, limit + 1], artifact)?.collect::<Result<_, _>>()?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = if more { items.last().map(|last| last.path.clone()) } else { None };
    Ok(Page { items, next_cursor })
}

/// One artifact.
pub(super) fn one(db: &Connection, id: ArtifactId) -> Work<Option<Artifact>> {
    let sql = concat!("SELECT ", artifact_columns!(), " FROM artifacts a WHERE a.id = ?1");
    Ok(prepare(db, sql)?.query_row([id], artifact).optional()?)
}

/// The sequence of an artifact; `None` if it is not on record.
pub(super) fn seq_of(db: &Connection, id: ArtifactId) -> Work<Option<u64>> {
    let sql = "SELECT seq FROM artifacts WHERE id = ?1";
    Ok(prepare(db, sql)?.query_row([id], |row| row.get(0)).optional()?)
}

/// Puts a tag on an artifact. A unique one leaves the others of its resource.
pub(super) fn put_tag(db: &Connection, artifact: ArtifactId, tag: &str, unique: bool) -> Work<()> {
    let sql = "SELECT seq, resource FROM artifacts WHERE id = ?1";
    let found = prepare(db, sql)?.query_row([artifact], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((seq, resource)): Option<(u64, String)> = found else { return Ok(()) };
    if unique {
        let sql = "DELETE FROM artifact_tags WHERE tag = ?1 AND resource = ?2 AND artifact <> ?3";
        execute(db, sql, params![tag, resource, seq])?;
    }
    let sql = "INSERT OR IGNORE INTO artifact_tags (tag, artifact, resource) VALUES (?1, ?2, ?3)";
    execute(db, sql, params![tag, seq, resource])?;
    Ok(())
}

/// The pending artifacts of a resource, oldest first.
pub(super) fn waiting(db: &Connection, resource: &str, request: &PageRequest) -> Work<Page<Artifact>> {
    let (after, limit) = (page::after(request)?, page::limit(request));
    let sql = concat!(
        "SELECT ",
        artifact_columns!(),
        " FROM artifacts a INDEXED BY artifacts_waiting
          WHERE a.resource = ?1 AND a.state = 'new' AND a.seq > ?2 ORDER BY a.seq LIMIT ?3"
    );
    let mut statement = prepare(db, sql)?;
    let rows =
        statement.query_map(params![resource, after, limit + 1], |row| Ok((row.get(SEQ_COLUMN)?, artifact(row)?)))?;
    Ok(page::cut(rows.collect::<Result<_, _>>()?, limit))
}

/// Returns at most `limit` inputs of a run whose sequence is greater than `after`.
pub(super) fn inputs_after(db: &Connection, run: RunId, after: i64, limit: usize) -> Work<Vec<(i64, Artifact)>> {
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let claimed = concat!(
        "SELECT ",
        artifact_columns!(),
        " FROM artifacts a INDEXED BY artifacts_run WHERE a.run_id = ?1 AND a.seq > ?2 ORDER BY a.seq LIMIT ?3"
    );
    let given = concat!(
        "SELECT ",
        artifact_columns!(),
        " FROM given g CROSS JOIN artifacts a ON a.seq = g.artifact
          WHERE g.run = (SELECT number FROM runs WHERE id = ?1) AND g.artifact > ?2 ORDER BY g.artifact LIMIT ?3"
    );
    let mut found = Vec::new();
    for sql in [claimed, given] {
        let mut statement = prepare(db, sql)?;
        let rows = statement.query_map(params![run, after, most], |row| Ok((row.get(SEQ_COLUMN)?, artifact(row)?)))?;
        for row in rows {
            found.push(row?);
        }
    }
    found.sort_by_key(|(seq, _)| *seq);
    found.truncate(limit);
    Ok(found)
}

/// Artifacts, newest first.
pub(super) fn list(db: &Connection, query: &ArtifactQuery, request: &PageRequest) -> Work<Page<Artifact>> {
    let before = page::before(request)?;
    let limit = page::limit(request);
    let ArtifactQuery { resource, path, state, run, tag } = query;
    let mut found = Vec::new();
    if state.is_some() && resource.is_none() && path.is_none() && run.is_none() && tag.is_none() {
        // States are indexed only within each resource, because each index slows down every claim.
        // So read one range for each resource, and merge them.
        for resource in resources(db)? {
            let query = ArtifactQuery { resource: Some(resource), ..query.clone() };
            found.extend(select(db, &query, false, before, limit + 1)?);
        }
    } else {
        found = select(db, query, false, before, limit + 1)?;
    }
    if run.is_some() {
        found.extend(select(db, query, true, before, limit + 1)?);
    }
    found.sort_by_key(|(seq, _)| std::cmp::Reverse(*seq));
    found.dedup_by_key(|(seq, _)| *seq);
    Ok(page::cut(found, limit))
}

/// Finds all resources that have artifacts on record, with one index lookup for each.
fn resources(db: &Connection) -> Work<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    let sql =
        "SELECT resource FROM artifacts INDEXED BY artifacts_resource WHERE resource > ?1 ORDER BY resource LIMIT 1";
    let mut statement = prepare(db, sql)?;
    loop {
        let last = found.last().map_or("", String::as_str);
        match statement.query_row([last], |row| row.get(0)).optional()? {
            Some(next) => found.push(next),
            None => return Ok(found),
        }
    }
}

/// The condition that an artifact `a` has a tag.
const HAS_TAG: &str = "EXISTS (SELECT 1 FROM artifact_tags g INDEXED BY artifact_tags_artifact
    WHERE g.artifact = a.seq AND g.tag = ?)";

/// Returns at most `limit` artifacts before a sequence, newest first, each with its sequence. For a
/// run, only those that it claimed, or with `given` only those that it was given.
fn select(
    db: &Connection,
    query: &ArtifactQuery,
    given: bool,
    before: i64,
    limit: usize,
) -> Work<Vec<(i64, Artifact)>> {
    let mut values: Vec<SqlValue> = Vec::new();
    let mut terms = Vec::new();
    let mut term = |text: &str, value: SqlValue| {
        values.push(value);
        terms.push(text.replace('?', &format!("?{}", values.len())));
    };
    let ArtifactQuery { resource, path, state, run, tag } = query;
    // Name the narrowest index: the planner has no statistics, and its choice must not change.
    let (from, key) = match (tag, run, path, resource, state) {
        _ if given => ("given h CROSS JOIN artifacts a ON a.seq = h.artifact", "h.artifact"),
        (Some(_), ..) => ("artifact_tags g CROSS JOIN artifacts a ON a.seq = g.artifact", "g.artifact"),
        (_, Some(_), ..) => ("artifacts a INDEXED BY artifacts_run", "a.seq"),
        (_, _, Some(_), ..) => ("artifacts a INDEXED BY artifacts_path", "a.seq"),
        (_, _, _, Some(_), Some(_)) => ("artifacts a INDEXED BY artifacts_waiting", "a.seq"),
        (_, _, _, Some(_), None) => ("artifacts a INDEXED BY artifacts_resource", "a.seq"),
        (_, _, _, None, _) => ("artifacts a", "a.seq"),
    };
    if let Some(tag) = tag {
        term(if given { HAS_TAG } else { "g.tag = ?" }, tag.clone().into());
    }
    if let Some(run) = run {
        let text = if given { "h.run = (SELECT number FROM runs WHERE id = ?)" } else { "a.run_id = ?" };
        term(text, run.as_bytes().to_vec().into());
    }
    if let Some(path) = path {
        term("a.path = ?", path.clone().into());
    }
    if let Some(resource) = resource {
        term("a.resource = ?", resource.clone().into());
    }
    if let Some(state) = state {
        term("a.state = ?", state.as_str().to_owned().into());
    }
    term(&format!("{key} < ?"), before.into());
    let sql = format!(
        // The limit is part of the text, not a parameter, because few different ones are in use.
        "SELECT {} FROM {from} WHERE {} ORDER BY {key} DESC LIMIT {limit}",
        artifact_columns!(),
        terms.join(" AND "),
    );
    let mut statement = prepare(db, &sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| Ok((row.get(SEQ_COLUMN)?, artifact(row)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
