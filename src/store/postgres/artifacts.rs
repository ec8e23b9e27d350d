//! Artifacts: their rows and paths, the counters of pending ones, and the lists.

use std::collections::HashMap;

use tokio::try_join;

use super::db::Db;
use super::events;
use super::sql::{Bind as _, Row, Value, Work, params};
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
         ARRAY(SELECT t.tag FROM artifact_tags t WHERE t.artifact = a.seq), a.seq"
    };
}
pub(super) use artifact_columns;

/// The column of an artifact's sequence, after those that [`artifact`] reads.
pub(super) const SEQ_COLUMN: usize = 14;

/// Reads the columns of `artifact_columns!`.
pub(super) fn artifact(row: &Row) -> Work<Artifact> {
    let mut tags = row.texts(13)?;
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

/// Reads an artifact with its sequence.
pub(super) fn numbered(row: &Row) -> Work<(i64, Artifact)> {
    Ok((row.get(SEQ_COLUMN)?, artifact(row)?))
}

/// The current version at a path, with what is needed to change it.
#[derive(Debug, Clone)]
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
    pub(super) visible: Option<u64>,
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

/// What is on record about paths of a resource, as a transaction leaves it. Read for many paths at
/// once, and kept up to date here, because a question for each path would be a round trip.
#[derive(Debug, Default)]
pub(super) struct Paths {
    current: HashMap<String, CurrentVersion>,
    highest: HashMap<String, u64>,
}

impl Paths {
    /// Reads what is on record about these paths.
    pub(super) async fn read(db: &Db, resource: &str, paths: Vec<String>) -> Work<Self> {
        let current = "SELECT a.path, a.seq, a.id, a.version, a.digest, a.size, a.state, a.reason, a.placed, a.stamp,
            a.visible FROM unnest($2::text[]) p (path) JOIN artifacts a
            ON a.resource = $1 AND left(a.path, 400) = left(p.path, 400) COLLATE \"C\"
            AND a.path = p.path COLLATE \"C\" AND a.ended IS NULL";
        let highest = "SELECT p.path, greatest(
            (SELECT max(a.version) FROM artifacts a WHERE a.resource = $1
                AND left(a.path, 400) = left(p.path, 400) COLLATE \"C\" AND a.path = p.path COLLATE \"C\"),
            (SELECT max(o.version) FROM old_places o WHERE o.resource = $1
                AND left(o.path, 400) = left(p.path, 400) COLLATE \"C\" AND o.path = p.path COLLATE \"C\"))
            FROM unnest($2::text[]) p (path)";
        let values = params![resource, paths];
        let (current, highest) = try_join!(db.rows(current, &values), db.rows(highest, &values))?;
        let mut found = Self::default();
        for row in current {
            found.current.insert(row.get(0)?, current_version(&row)?);
        }
        for row in highest {
            if let Some(highest) = row.get::<Option<u64>>(1)? {
                found.highest.insert(row.get(0)?, highest);
            }
        }
        Ok(found)
    }

    /// The current version at a path; `None` if there is none.
    pub(super) fn current(&self, path: &str) -> Option<&CurrentVersion> {
        self.current.get(path)
    }

    /// The highest version number that a path ever had; 0 if none.
    pub(super) fn highest(&self, path: &str) -> u64 {
        self.highest.get(path).copied().unwrap_or(0)
    }

    /// Notes that no version is at a path any more. Returns the one that was.
    pub(super) fn take(&mut self, path: &str) -> Option<CurrentVersion> {
        self.current.remove(path)
    }

    /// Notes the version that is at a path now.
    pub(super) fn put(&mut self, path: &str, version: CurrentVersion) {
        self.highest.insert(path.to_owned(), version.version.max(self.highest(path)));
        self.current.insert(path.to_owned(), version);
    }
}

fn current_version(row: &Row) -> Work<CurrentVersion> {
    Ok(CurrentVersion {
        seq: row.get(1)?,
        id: row.get(2)?,
        version: row.get(3)?,
        digest: row.get(4)?,
        size: row.get(5)?,
        state: row.get(6)?,
        reason: row.get(7)?,
        placed: row.get(8)?,
        stamp: row.get(9)?,
        visible: row.get(10)?,
    })
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
pub(super) fn insert(tx: &mut Tx, paths: &mut Paths, new: &NewVersion<'_>, now: Timestamp) -> (u64, u64) {
    let version = paths.highest(new.path) + 1;
    let seq = tx.next_seq();
    let sql = "INSERT INTO artifacts
        (seq, id, resource, path, version, digest, size, state, reason, produced_by, created_at, placed, stamp, visible)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $1, $12, $13)";
    let NewVersion { id, resource, path, digest, size, state, reason, produced_by, stamp, visible } = *new;
    let values =
        params![seq, id, resource, path, version, digest, size, state, reason, produced_by, now, stamp, visible];
    tx.db.later(sql, &values);
    let (reason, stamp) = (reason.map(str::to_owned), stamp.to_owned());
    paths.put(path, CurrentVersion { seq, id, version, digest, size, state, reason, placed: seq, stamp, visible });
    (seq, version)
}

/// Records that a version is no longer at its path, and sets its state.
pub(super) fn end(tx: &mut Tx, seq: u64, state: ArtifactState) {
    let ended = tx.next_seq();
    tx.db.later("UPDATE artifacts SET ended = $2, state = $3 WHERE seq = $1", &params![seq, ended, state]);
}

/// Updates the counters of pending artifacts.
pub(super) fn change_waiting(tx: &Tx, resource: &str, change: Change) {
    if change != Change::default() {
        let sql = "INSERT INTO waiting (resource, count, bytes) VALUES ($1, $2, $3) ON CONFLICT (resource)
            DO UPDATE SET count = waiting.count + excluded.count, bytes = waiting.bytes + excluded.bytes";
        tx.db.later(sql, &params![resource, change.count, change.bytes]);
    }
}

/// Returns the pending artifacts of a resource, as of the newest committed event.
pub(super) async fn pending(db: &Db, resource: &str) -> Work<Pending> {
    let as_of = events::newest(db).await?;
    pending_as_of(db, resource, as_of).await
}

/// Returns the pending artifacts of a resource, from its counters and the two ends of an index.
pub(super) async fn pending_as_of(db: &Db, resource: &str, as_of: u64) -> Work<Pending> {
    let sql = "SELECT w.count, w.bytes,
        (SELECT created_at FROM artifacts WHERE resource = $1 AND state = 'new' ORDER BY seq LIMIT 1),
        (SELECT created_at FROM artifacts WHERE resource = $1 AND state = 'new' ORDER BY seq DESC LIMIT 1)
        FROM waiting w WHERE w.resource = $1 AND w.count > 0";
    let Some(row) = db.row(sql, &params![resource]).await? else { return Ok(Pending { as_of, ..Pending::default() }) };
    Ok(Pending { count: row.get(0)?, bytes: row.get(1)?, oldest_at: row.get(2)?, newest_at: row.get(3)?, as_of })
}

/// Makes a page by path of items that are more than the limit, if there are more. An index has only
/// the beginnings of paths, so items with the same beginning come together, but in no order.
fn by_path<T>(mut items: Vec<T>, limit: usize, path: impl Fn(&T) -> &String) -> Page<T> {
    items.sort_by(|one, other| path(one).cmp(path(other)));
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = if more { items.last().map(|last| path(last).clone()) } else { None };
    Page { items, next_cursor }
}

/// Lists what is present in a resource, by path. The cursor is the last path of the previous page.
pub(super) async fn known(db: &Db, resource: &str, request: &PageRequest) -> Work<Page<KnownPath>> {
    let limit = page::limit(request);
    // No path is empty.
    let after = request.cursor.as_deref().unwrap_or_default();
    let sql = "SELECT path, digest, size, state, stamp FROM artifacts
        WHERE resource = $1 AND ended IS NULL AND left(path, 400) >= left($2, 400) AND path > $2
        ORDER BY left(path, 400) FETCH FIRST $3 ROWS WITH TIES";
    let path = |row: &Row| {
        Ok(KnownPath {
            path: row.get(0)?,
            digest: row.get(1)?,
            size: row.get(2)?,
            state: row.get(3)?,
            stamp: row.get(4)?,
        })
    };
    let rows = db.rows(sql, &params![resource, after, limit + 1]).await?;
    Ok(by_path(rows.iter().map(path).collect::<Work<Vec<KnownPath>>>()?, limit, |known| &known.path))
}

/// What lies in a resource and is not ignored, by path. The cursor is the last path of the page
/// before.
pub(super) async fn present(db: &Db, resource: &str, request: &PageRequest) -> Work<Page<Artifact>> {
    let limit = page::limit(request);
    let after = request.cursor.as_deref().unwrap_or_default();
    let sql = concat!(
        "SELECT ",
        artifact_columns!(),
        " FROM artifacts a WHERE a.resource = $1 AND a.ended IS NULL AND left(a.path, 400) >= left($2, 400) AND a.path > $2
         AND a.state <> 'ignored' ORDER BY left(a.path, 400) FETCH FIRST $3 ROWS WITH TIES"
    );
    let rows = db.rows(sql, &params![resource, after, limit + 1]).await?;
    Ok(by_path(rows.iter().map(artifact).collect::<Work<Vec<_>>>()?, limit, |artifact| &artifact.path))
}

/// One artifact.
pub(super) async fn one(db: &Db, id: ArtifactId) -> Work<Option<Artifact>> {
    let sql = concat!("SELECT ", artifact_columns!(), " FROM artifacts a WHERE a.id = $1");
    db.row(sql, &params![id]).await?.as_ref().map(artifact).transpose()
}

/// The pending artifacts of a resource, oldest first.
pub(super) async fn waiting(db: &Db, resource: &str, request: &PageRequest) -> Work<Page<Artifact>> {
    let (after, limit) = (page::after(request)?, page::limit(request));
    let sql = concat!(
        "SELECT ",
        artifact_columns!(),
        " FROM artifacts a WHERE a.resource = $1 AND a.state = 'new' AND a.seq > $2 ORDER BY a.seq LIMIT $3"
    );
    let rows = db.rows(sql, &params![resource, after, limit + 1]).await?;
    Ok(page::cut(rows.iter().map(numbered).collect::<Work<_>>()?, limit))
}

/// Returns at most `limit` inputs of a run whose sequence is greater than `after`.
pub(super) async fn inputs_after(db: &Db, run: RunId, after: i64, limit: usize) -> Work<Vec<(i64, Artifact)>> {
    let claimed = concat!(
        "SELECT ",
        artifact_columns!(),
        " FROM artifacts a WHERE a.run_id = $1 AND a.seq > $2 ORDER BY a.seq LIMIT $3"
    );
    let given = concat!(
        "SELECT ",
        artifact_columns!(),
        " FROM given g JOIN artifacts a ON a.seq = g.artifact
          WHERE g.run = (SELECT number FROM runs WHERE id = $1) AND g.artifact > $2 ORDER BY g.artifact LIMIT $3"
    );
    let values = params![run, after, limit];
    let (claimed, given) = try_join!(db.rows(claimed, &values), db.rows(given, &values))?;
    let mut found = claimed.iter().chain(&given).map(numbered).collect::<Work<Vec<_>>>()?;
    found.sort_by_key(|(seq, _)| *seq);
    found.truncate(limit);
    Ok(found)
}

/// Artifacts, newest first.
pub(super) async fn list(db: &Db, query: &ArtifactQuery, request: &PageRequest) -> Work<Page<Artifact>> {
    let before = page::before(request)?;
    let limit = page::limit(request);
    let ArtifactQuery { resource, path, state, run, tag } = query;
    let mut found = Vec::new();
    if state.is_some() && resource.is_none() && path.is_none() && run.is_none() && tag.is_none() {
        // States are indexed only within each resource, because each index slows down every claim.
        // So read one range for each resource, and merge them.
        for resource in resources(db).await? {
            let query = ArtifactQuery { resource: Some(resource), ..query.clone() };
            found.extend(select(db, &query, false, before, limit + 1).await?);
        }
    } else {
        found = select(db, query, false, before, limit + 1).await?;
    }
    if run.is_some() {
        found.extend(select(db, query, true, before, limit + 1).await?);
    }
    found.sort_by_key(|(seq, _)| std::cmp::Reverse(*seq));
    found.dedup_by_key(|(seq, _)| *seq);
    Ok(page::cut(found, limit))
}

/// Finds all resources that have artifacts on record, with one index lookup for each.
async fn resources(db: &Db) -> Work<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    let sql = "SELECT resource FROM artifacts WHERE resource > $1 ORDER BY resource LIMIT 1";
    loop {
        let last = found.last().map_or("", String::as_str);
        match db.row(sql, &params![last]).await? {
            Some(row) => found.push(row.get(0)?),
            None => return Ok(found),
        }
    }
}

/// The condition that an artifact `a` has a tag.
const HAS_TAG: &str = "EXISTS (SELECT 1 FROM artifact_tags g WHERE g.artifact = a.seq AND g.tag = ?)";

/// Returns at most `limit` artifacts before a sequence, newest first, each with its sequence. For a
/// run, only those that it claimed, or with `given` only those that it was given.
async fn select(db: &Db, query: &ArtifactQuery, given: bool, before: i64, limit: usize) -> Work<Vec<(i64, Artifact)>> {
    let mut values: Vec<Value> = Vec::new();
    let mut terms = Vec::new();
    let mut term = |text: &str, value: Value| {
        values.push(value);
        terms.push(text.replace('?', &format!("${}", values.len())));
    };
    let ArtifactQuery { resource, path, state, run, tag } = query;
    let (from, key) = match tag {
        _ if given => ("given h JOIN artifacts a ON a.seq = h.artifact", "h.artifact"),
        Some(_) => ("artifact_tags g JOIN artifacts a ON a.seq = g.artifact", "g.artifact"),
        None => ("artifacts a", "a.seq"),
    };
    if let Some(tag) = tag {
        term(if given { HAS_TAG } else { "g.tag = ?" }, Value::Text(tag.clone()));
    }
    if let Some(run) = run {
        let text = if given { "h.run = (SELECT number FROM runs WHERE id = ?)" } else { "a.run_id = ?" };
        term(text, Value::Bytes(run.as_bytes().to_vec()));
    }
    if let Some(path) = path {
        term("left(a.path, 400) = left(?, 400) AND a.path = ?", Value::Text(path.clone()));
    }
    if let Some(resource) = resource {
        term("a.resource = ?", Value::Text(resource.clone()));
    }
    if let Some(state) = state {
        term("a.state = ?", Value::Text(state.as_str().to_owned()));
    }
    term(&format!("{key} < ?"), Value::Int(before));
    values.push(limit.bind());
    let sql = format!(
        "SELECT {} FROM {from} WHERE {} ORDER BY {key} DESC LIMIT ${}",
        artifact_columns!(),
        terms.join(" AND "),
        values.len()
    );
    db.rows(&sql, &values).await?.iter().map(numbered).collect()
}
