//! What is remembered of attempts, and attempts that take their result from it.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::artifacts::NOT_VISIBLE;
use super::sql::{Fail, Json, Work, execute, prepare};
use super::writer::Tx;
use crate::base::{ArtifactId, AttemptId, Digest, Timestamp};
use crate::model::{AttemptState, Memory, Remembered};
use crate::store::{AttemptEnd, MAX_MEMORIES, Reuse};

/// An attempt, as far as the cache needs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of<'a> {
    /// The number of its run.
    pub(super) run: u64,
    /// Its own sequence.
    pub(super) seq: u64,
    /// Its action.
    pub(super) action: &'a str,
}

/// Records what the cache has to say about an attempt that ends. `became` maps artifacts to their
/// ids on record.
pub(super) fn note(
    db: &Connection,
    attempt: Of<'_>,
    end: &AttemptEnd,
    became: impl Fn(ArtifactId) -> ArtifactId,
) -> Work<()> {
    let Some(note) = &end.cache else { return Ok(()) };
    execute(db, "UPDATE attempts SET cache = ?2 WHERE seq = ?1", params![attempt.seq, note.reason])?;
    let Some(memory) = note.memory.as_ref().filter(|_| end.state == AttemptState::Succeeded) else { return Ok(()) };
    let mut memory = memory.clone();
    memory.outputs.iter_mut().for_each(|output| output.id = became(output.id));
    memory.artifact_tags.iter_mut().for_each(|tag| tag.artifact_id = became(tag.artifact_id));
    let text = serde_json::to_string(&memory)?;
    let sql =
        "INSERT OR REPLACE INTO memories (attempt, action, fingerprint, inputs, memory) VALUES (?1, ?2, ?3, ?4, ?5)";
    execute(db, sql, params![attempt.seq, attempt.action, memory.fingerprint, memory.inputs, text])?;
    if memory.is_time_to_forget() {
        let sql = "DELETE FROM memories WHERE action = ?1 AND attempt <= (
            SELECT attempt FROM memories INDEXED BY memories_action
            WHERE action = ?1 ORDER BY attempt DESC LIMIT 1 OFFSET ?2)";
        execute(db, sql, params![attempt.action, MAX_MEMORIES])?;
    }
    Ok(())
}

/// Whether the result of the attempt `t` can be taken: it has succeeded, or is certain to, because
/// it has taken the result of another one.
macro_rules! has_result {
    () => {
        "(t.state = 'succeeded' OR t.cached_from IS NOT NULL)"
    };
}

/// Forgets the attempts of a run that is removed, or loses its details: their metrics and params
/// cannot be taken any more.
pub(super) fn forget(db: &Connection, run: u64) -> Work<()> {
    let sql = "DELETE FROM memories WHERE attempt IN (SELECT seq FROM attempts INDEXED BY attempts_run WHERE run = ?1)";
    execute(db, sql, [run])?;
    Ok(())
}

/// The columns of [`Remembered`]: what is remembered, who has the result, and the run in which the
/// work was done, if it is still on record.
macro_rules! select_remembered {
    ($index:literal) => {
        concat!(
            "SELECT m.memory, t.id, coalesce(w.run, t.run), t.message FROM memories m INDEXED BY ",
            $index,
            " CROSS JOIN attempts t ON t.seq = m.attempt LEFT JOIN attempts w ON w.id = t.cached_from "
        )
    };
}

/// The attempts of an action that are remembered: first the one with this fingerprint and these
/// inputs, then the newest.
pub(super) fn remembered(
    db: &Connection,
    action: &str,
    fingerprint: Digest,
    inputs: Digest,
    limit: u32,
) -> Work<Vec<Remembered>> {
    let sql = concat!(
        select_remembered!("memories_fingerprint"),
        "WHERE m.fingerprint = ?1 AND m.inputs = ?2 AND m.action = ?3 AND ",
        has_result!()
    );
    let exact = prepare(db, sql)?.query_row(params![fingerprint, inputs, action], read).optional()?;
    let sql = concat!(
        select_remembered!("memories_action"),
        "WHERE m.action = ?1 AND ",
        has_result!(),
        " ORDER BY m.attempt DESC LIMIT ?2"
    );
    let mut statement = prepare(db, sql)?;
    let newest = statement.query_map(params![action, limit], read)?.collect::<Result<Vec<_>, _>>()?;
    let known = exact.as_ref().map(|found| found.attempt_id);
    let others = newest.into_iter().filter(|found| Some(found.attempt_id) != known);
    Ok(exact.into_iter().chain(others).take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Remembered> {
    Ok(Remembered {
        memory: row.get::<_, Json<Memory>>(0)?.0,
        attempt_id: row.get(1)?,
        run_number: row.get(2)?,
        message: row.get(3)?,
    })
}

/// Takes over the result of an earlier attempt: its outputs, which must be in their places, its
/// metrics and its params. From now on others take it from this attempt, so that the earlier one
/// can be removed.
pub(super) fn reuse(tx: &mut Tx<'_>, attempt: Of<'_>, reuse: &Reuse, now: Timestamp) -> Work<()> {
    let sql = concat!(
        "SELECT t.seq, t.run, coalesce(t.cached_from, t.id) FROM attempts t CROSS JOIN runs r ON r.number = t.run
        WHERE t.id = ?1 AND r.trimmed_at IS NULL AND ",
        has_result!()
    );
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found = prepare(tx.db, sql)?.query_row([reuse.from], read).optional()?;
    let Some((from, run, worker)): Option<(u64, u64, AttemptId)> = found else {
        return Err(Fail::conflict(format!("attempt {} has no result that can be taken", reuse.from)));
    };
    for id in &reuse.outputs {
        let sql = "SELECT 1 FROM artifacts WHERE id = ?1 AND ended IS NULL AND (visible IS NULL OR visible <> ?2)";
        if !prepare(tx.db, sql)?.exists(params![id, NOT_VISIBLE])? {
            return Err(Fail::conflict(format!("artifact {id} is not in its place any more")));
        }
        let sql = "INSERT OR IGNORE INTO outputs (run, resource, path, artifact, action)
            SELECT ?1, resource, path, seq, ?2 FROM artifacts WHERE id = ?3";
        execute(tx.db, sql, params![attempt.run, attempt.action, id])?;
    }
    let facts = params![attempt.run, attempt.seq, now, run, from];
    let sql = "INSERT INTO metrics (run, attempt, name, value, step, recorded_at) SELECT ?1, ?2, name, value, step, ?3
        FROM metrics INDEXED BY metrics_run WHERE run = ?4 AND attempt = ?5 ORDER BY seq";
    execute(tx.db, sql, facts)?;
    let sql = "INSERT OR REPLACE INTO params (run, attempt, name, value, recorded_at) SELECT ?1, ?2, name, value, ?3
        FROM params INDEXED BY params_run WHERE run = ?4 AND attempt = ?5 ORDER BY seq";
    execute(tx.db, sql, facts)?;
    for tag in &reuse.run_tags {
        let sql = "INSERT OR REPLACE INTO tags (run, name, value, recorded_at) VALUES (?1, ?2, ?3, ?4)";
        execute(tx.db, sql, params![attempt.run, tag.name, tag.value, now])?;
    }
    execute(tx.db, "UPDATE attempts SET cached_from = ?2 WHERE seq = ?1", params![attempt.seq, worker])?;
    execute(tx.db, "UPDATE memories SET attempt = ?2 WHERE attempt = ?1", params![from, attempt.seq])?;
    Ok(())
}

/// Returns whether an attempt takes the result of another one.
pub(super) fn is_reused(db: &Connection, attempt: u64) -> Work<bool> {
    Ok(prepare(db, "SELECT 1 FROM attempts WHERE seq = ?1 AND cached_from IS NOT NULL")?.exists([attempt])?)
}
