//! Attempts: the check of the fencing token before each of their writes, their end, and the
//! unfinished ones that a starting host finds.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::advance;
use super::artifacts::{put_tag, seq_of};
use super::events::{NewEvent, emit};
use super::memories;
use super::models;
use super::requests;
use super::run_rows;
use super::sql::{Fail, Json, Work, execute, prepare};
use super::writer::Tx;
use crate::base::{ArtifactId, AttemptId, RunId, Timestamp};
use crate::model::{
    AccessKind, Attempt, AttemptState, CacheUse, Denial, ErrorInfo, EventKind, Fence, LogPosition, LogRange, Page,
    Recording, Run, RunState, StagedFile,
};
use crate::store::registry;
use crate::store::{
    ATTEMPT_RUNS, ActionAttempt, ArtifactUse, AttemptEnd, LineageEdge, PageRequest, PublishedOutput, RunStep,
    StartedAttempt, StoreError, page,
};

/// The row of an attempt, as far as writes need it.
#[derive(Debug)]
pub(super) struct Fenced {
    pub(super) seq: u64,
    pub(super) id: AttemptId,
    pub(super) run: u64,
    pub(super) run_id: RunId,
    pub(super) action: String,
    pub(super) number: u32,
    pub(super) state: AttemptState,
}

/// Checks a token: it must be the newest of its attempt. The caller checks whether the attempt has
/// ended.
pub(super) fn check(db: &Connection, fence: Fence) -> Work<Fenced> {
    let refuse = |why: String| Err(Fail::Rule(StoreError::Fenced { attempt: fence.attempt_id, why }));
    let sql = "SELECT a.seq, a.run, r.id, a.action, a.state, a.epoch, a.token, a.number
        FROM attempts a CROSS JOIN runs r ON r.number = a.run WHERE a.id = ?1";
    let found = prepare(db, sql)?.query_row([fence.attempt_id], |row| {
        let attempt = Fenced {
            seq: row.get(0)?,
            id: fence.attempt_id,
            run: row.get(1)?,
            run_id: row.get(2)?,
            action: row.get(3)?,
            number: row.get(7)?,
            state: row.get(4)?,
        };
        Ok((attempt, row.get::<_, u64>(5)?, row.get::<_, u64>(6)?))
    });
    let Some((attempt, epoch, token)) = found.optional()? else { return refuse("it is not on record".to_owned()) };
    if (epoch, token) != (fence.epoch, fence.token) {
        return refuse(format!("its token is now {epoch}.{token}, not {}.{}", fence.epoch, fence.token));
    }
    Ok(attempt)
}

/// Checks a token of an attempt whose guest is running.
pub(super) fn at_work(db: &Connection, fence: Fence) -> Work<Fenced> {
    let attempt = check(db, fence)?;
    attempt.must_be_at_work()?;
    Ok(attempt)
}

impl Fenced {
    /// Returns what the cache needs of it.
    pub(super) fn of(&self) -> memories::Of<'_> {
        memories::Of { run: self.run, seq: self.seq, action: &self.action }
    }

    /// Returns what the model registry needs of it.
    pub(super) fn as_mover(&self) -> registry::Of<'_> {
        registry::Of { run: self.run, run_id: self.run_id, attempt: self.id, action: &self.action }
    }

    /// Refuses a write that only an attempt whose guest is running may make.
    pub(super) fn must_be_at_work(&self) -> Work<()> {
        match self.state {
            AttemptState::Running => Ok(()),
            AttemptState::Publishing => Err(Fail::conflict(format!(
                "attempt {} has passed its commit point: it can only be published",
                self.id
            ))),
            _ => Err(self.has_ended()),
        }
    }

    /// Returns the error for a write that comes after the end of the attempt.
    pub(super) fn has_ended(&self) -> Fail {
        Fail::Rule(StoreError::Fenced { attempt: self.id, why: format!("it has ended as {}", self.state) })
    }

    /// Returns whether exactly this end is on record already, with the attempt in the state
    /// `state`.
    pub(super) fn ended_before(&self, db: &Connection, end: &AttemptEnd, state: AttemptState) -> Work<bool> {
        let error = end.error.as_ref().map(serde_json::to_string).transpose()?;
        let usage = serde_json::to_string(&end.usage)?;
        let (log_to_segment, log_to_offset) = end.log_to.parts();
        let sql =
            "SELECT 1 FROM attempts WHERE seq = ?1 AND state = ?2 AND error IS ?3 AND message IS ?4 AND usage = ?5
            AND log_to_segment IS ?6 AND log_to_offset IS ?7";
        let mut statement = prepare(db, sql)?;
        Ok(statement.exists(params![self.seq, state, error, end.message, usage, log_to_segment, log_to_offset])?)
    }
}

/// Ends an attempt that publishes nothing, and takes the step that follows. A repeat returns the
/// first answer.
pub(super) fn finish(
    tx: &mut Tx<'_>,
    fence: Fence,
    end: &AttemptEnd,
    step: &RunStep,
    now: Timestamp,
) -> Work<Vec<StartedAttempt>> {
    if matches!(end.state, AttemptState::Running | AttemptState::Publishing) {
        return Err(Fail::invalid(format!("an attempt cannot end as {}", end.state)));
    }
    let attempt = check(tx.db, fence)?;
    if attempt.state != AttemptState::Running && attempt.ended_before(tx.db, end, end.state)? {
        return advance::started_before(tx, attempt.run, step, fence.epoch);
    }
    attempt.must_be_at_work()?;
    if end.state == AttemptState::Succeeded {
        forget_earlier_outputs(tx, &attempt)?;
    }
    note_end(tx, &attempt, end, end.state, now, |id| id)?;
    emit_ended(tx, &attempt, end.state, end.error.as_ref(), now)?;
    advance::follow(tx, attempt.run_id, step, now)
}

/// Removes what earlier attempts of the action have published from the outputs of the run, because
/// the action has been done again. What the intents of the attempt have become stays, and all
/// artifacts stay on record.
pub(super) fn forget_earlier_outputs(tx: &mut Tx<'_>, attempt: &Fenced) -> Work<()> {
    if attempt.number > 1 {
        let sql = "DELETE FROM outputs WHERE run = ?1 AND action = ?2 AND artifact NOT IN (
            SELECT a.seq FROM intents i CROSS JOIN artifacts a ON a.id = i.became WHERE i.attempt = ?3)";
        execute(tx.db, sql, params![attempt.run, attempt.action, attempt.seq])?;
    }
    Ok(())
}

/// Emits the event of the end of an attempt.
pub(super) fn emit_ended(
    tx: &mut Tx<'_>,
    attempt: &Fenced,
    state: AttemptState,
    error: Option<&ErrorInfo>,
    now: Timestamp,
) -> Work<()> {
    tx.at.ended += 1;
    let event = NewEvent::of(EventKind::AttemptEnded, json!({ "state": state, "error": error }));
    emit(tx, now, event.run(attempt.run_id).action(&attempt.action).attempt(attempt.id))
}

/// Writes the record of an attempt: its row, accesses, denials, requests, and the tags if it
/// succeeded. `became` maps artifacts to their ids on record. Artifacts that are not on record
/// (staged files that were not published) are left out.
pub(super) fn note_end(
    tx: &mut Tx<'_>,
    attempt: &Fenced,
    end: &AttemptEnd,
    state: AttemptState,
    now: Timestamp,
    became: impl Fn(ArtifactId) -> ArtifactId,
) -> Work<()> {
    let sql = "UPDATE attempts SET state = ?2, ended_at = ?3, error = ?4, message = ?5, usage = ?6,
        log_to_segment = ?7, log_to_offset = ?8 WHERE seq = ?1";
    let ended_at = (state != AttemptState::Publishing).then_some(now);
    let error = end.error.as_ref().map(serde_json::to_string).transpose()?;
    let usage = serde_json::to_string(&end.usage)?;
    let (log_to_segment, log_to_offset) = end.log_to.parts();
    execute(
        tx.db,
        sql,
        params![attempt.seq, state, ended_at, error, end.message, usage, log_to_segment, log_to_offset],
    )?;
    let sql = "INSERT INTO accesses (run, attempt, artifact, kind, bytes, calls) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    for access in &end.accesses {
        if let Some(seq) = seq_of(tx.db, became(access.artifact_id))? {
            execute(tx.db, sql, params![attempt.run, attempt.seq, seq, access.kind, access.bytes, access.calls])?;
            if let Some(digest) = access.digest {
                let sql = "UPDATE artifacts SET digest = ?2 WHERE seq = ?1 AND digest IS NULL";
                execute(tx.db, sql, params![seq, digest])?;
            }
        }
    }
    let sql = "INSERT INTO denials (attempt, call, target, message) VALUES (?1, ?2, ?3, ?4)";
    for denial in &end.denials {
        execute(tx.db, sql, params![attempt.seq, denial.call, denial.target, denial.message])?;
    }
    requests::note(tx.db, attempt.seq, &end.requests)?;
    memories::note(tx.db, attempt.of(), end, &became)?;
    if end.state == AttemptState::Succeeded {
        if !end.recording.is_empty() {
            let text = serde_json::to_string(&end.recording)?;
            execute(tx.db, "UPDATE attempts SET recording = ?2 WHERE seq = ?1", params![attempt.seq, text])?;
        }
        for tag in &end.tags {
            put_tag(tx.db, became(tag.artifact_id), &tag.tag, tag.unique)?;
        }
        models::follow_tags(tx, attempt.as_mover(), &end.tags, &became, now)?;
    }
    Ok(())
}

/// Returns what an attempt that has succeeded was told.
pub(super) fn recording(db: &Connection, attempt: AttemptId) -> Work<Option<Recording>> {
    let sql = "SELECT recording FROM attempts WHERE id = ?1 AND state = 'succeeded' AND recording IS NOT NULL";
    let found = prepare(db, sql)?.query_row([attempt], |row| row.get::<_, Json<Recording>>(0)).optional()?;
    Ok(found.map(|json| json.0))
}

/// All attempts of a run, in the order in which they started.
pub(super) fn of_run(db: &Connection, run: &Run) -> Work<Vec<Attempt>> {
    let sql = "SELECT seq, id, action, number, state, started_at, ended_at, component, grants, error, message, usage,
        log_from_segment, log_from_offset, log_to_segment, log_to_offset, epoch, token, cache, cached_from
        FROM attempts INDEXED BY attempts_run WHERE run = ?1";
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map([run.number], |row| Ok((row.get::<_, u64>(0)?, attempt(row, run.id)?)))?;
    let mut attempts: Vec<_> = rows.collect::<Result<_, _>>()?;
    attempts.sort_by_key(|(seq, _)| *seq);
    Ok(attempts.into_iter().map(|(_, attempt)| attempt).collect())
}

/// How far the number of a run is shifted in a cursor of [`of_action`], to make room for the number
/// of an attempt.
const RUN_SHIFT: u32 = 20;

/// Lists the attempts of an action in the newest runs, newest run first.
pub(super) fn of_action(db: &Connection, action: &str, request: &PageRequest) -> Work<Page<ActionAttempt>> {
    let (before, limit) = (page::before(request)?, page::limit(request));
    let (run, number) = (before >> RUN_SHIFT, before & ((1 << RUN_SHIFT) - 1));
    let newest: i64 = prepare(db, "SELECT ifnull(max(number), 0) FROM runs")?.query_row([], |row| row.get(0))?;
    let oldest = newest.saturating_sub(i64::try_from(ATTEMPT_RUNS).unwrap_or(i64::MAX));
    let sql = "SELECT a.seq, a.id, a.action, a.number, a.state, a.started_at, a.ended_at, a.component, a.grants,
        a.error, a.message, a.usage, a.log_from_segment, a.log_from_offset, a.log_to_segment, a.log_to_offset,
        a.epoch, a.token, a.cache, a.cached_from, r.number, r.id
        FROM runs r CROSS JOIN attempts a INDEXED BY attempts_run ON a.run = r.number AND a.action = ?1
        WHERE r.number > ?2 AND r.number <= ?3 AND (r.number < ?3 OR a.number < ?4)
        ORDER BY r.number DESC, a.number DESC LIMIT ?5";
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map(params![action, oldest, run, number, limit + 1], |row| {
        let found = ActionAttempt { run_number: row.get(20)?, attempt: attempt(row, row.get(21)?)? };
        let run: i64 = row.get(20)?;
        Ok(((run << RUN_SHIFT) | i64::from(found.attempt.number), found))
    })?;
    Ok(page::cut(rows.collect::<Result<_, _>>()?, limit))
}

fn attempt(row: &Row<'_>, run_id: RunId) -> rusqlite::Result<Attempt> {
    let id = row.get(1)?;
    Ok(Attempt {
        id,
        run_id,
        action: row.get(2)?,
        number: row.get(3)?,
        state: row.get(4)?,
        started_at: row.get(5)?,
        ended_at: row.get(6)?,
        component_digest: row.get(7)?,
        grants: row.get::<_, Json<serde_json::Value>>(8)?.0,
        error: row.get::<_, Option<Json<ErrorInfo>>>(9)?.map(|error| error.0),
        message: row.get(10)?,
        usage: row.get::<_, Json<_>>(11)?.0,
        log_from: LogPosition::from_parts((row.get(12)?, row.get(13)?)),
        log_to: log_to(row, 14)?,
        fence: Some(Fence { attempt_id: id, epoch: row.get(16)?, token: row.get(17)? }),
        cache: match row.get(18)? {
            Some(reason) => Some(CacheUse { reason, attempt_id: row.get(19)? }),
            None => None,
        },
    })
}

/// The end of an attempt's log, from two columns that are both null while it is active.
fn log_to(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<LogPosition>> {
    let parts: (Option<u64>, Option<u64>) = (row.get(first)?, row.get(first + 1)?);
    Ok(parts.0.zip(parts.1).map(LogPosition::from_parts))
}

/// Returns the log positions of every attempt of every run that has not ended.
pub(super) fn unfinished_logs(db: &Connection) -> Work<Vec<LogRange>> {
    let mut found = Vec::new();
    for state in RunState::ALL.iter().filter(|state| !state.ended()) {
        let sql = "SELECT a.log_from_segment, a.log_from_offset, a.log_to_segment, a.log_to_offset
            FROM runs r INDEXED BY runs_state CROSS JOIN attempts a INDEXED BY attempts_run ON a.run = r.number
            WHERE r.state = ?1";
        let mut statement = prepare(db, sql)?;
        let rows = statement.query_map([state], |row| {
            Ok(LogRange { from: LogPosition::from_parts((row.get(0)?, row.get(1)?)), to: log_to(row, 2)? })
        })?;
        for range in rows {
            found.push(range?);
        }
    }
    Ok(found)
}

/// Lists what every attempt of a run read and wrote, in the order of recording.
pub(super) fn lineage(db: &Connection, run: RunId, request: &PageRequest) -> Work<Page<LineageEdge>> {
    use super::artifacts::{SEQ_COLUMN, artifact, artifact_columns};
    let (after, limit) = (page::after(request)?, page::limit(request));
    let Some(run) = run_rows::find(db, run)? else { return Ok(Page { items: Vec::new(), next_cursor: None }) };
    let sql = concat!(
        "SELECT ",
        artifact_columns!(),
        ", t.id, t.action, x.kind, x.bytes, x.seq FROM accesses x INDEXED BY accesses_run
         CROSS JOIN artifacts a ON a.seq = x.artifact CROSS JOIN attempts t ON t.seq = x.attempt
         WHERE x.run = ?1 AND x.seq > ?2 ORDER BY x.seq LIMIT ?3"
    );
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map(params![run.number, after, limit + 1], |row| {
        let edge = LineageEdge {
            attempt_id: row.get(SEQ_COLUMN + 1)?,
            action: row.get(SEQ_COLUMN + 2)?,
            kind: row.get(SEQ_COLUMN + 3)?,
            bytes: row.get(SEQ_COLUMN + 4)?,
            artifact: artifact(row)?,
        };
        Ok((row.get(SEQ_COLUMN + 5)?, edge))
    })?;
    Ok(page::cut(rows.collect::<Result<_, _>>()?, limit))
}

/// The columns and joins of [`ArtifactUse`].
macro_rules! select_uses {
    () => {
        "SELECT x.seq, r.id, r.number, t.id, t.action, t.number, x.kind, x.bytes
        FROM artifacts a CROSS JOIN accesses x INDEXED BY accesses_artifact ON x.artifact = a.seq
        CROSS JOIN attempts t ON t.seq = x.attempt CROSS JOIN runs r ON r.number = x.run
        WHERE a.id = ?1 "
    };
}

/// Lists the attempts that read or wrote an artifact, newest first.
pub(super) fn uses(db: &Connection, id: ArtifactId, request: &PageRequest) -> Work<Page<ArtifactUse>> {
    let before = page::before(request)?;
    let limit = page::limit(request);
    let mut statement = prepare(db, concat!(select_uses!(), "AND x.seq < ?2 ORDER BY x.seq DESC LIMIT ?3"))?;
    let rows = statement.query_map(params![id, before, limit + 1], |row| Ok((row.get(0)?, artifact_use(row)?)))?;
    Ok(page::cut(rows.collect::<Result<_, _>>()?, limit))
}

/// Returns the use in which an action wrote an artifact. It is among the first ones, because
/// nothing reads an artifact before it is published.
pub(super) fn writer(db: &Connection, id: ArtifactId) -> Work<Option<ArtifactUse>> {
    // An input that no action wrote may have many uses: SQLite looks at none of them, because the
    // condition without columns of `x` comes first.
    let sql = concat!(
        select_uses!(),
        "AND a.produced_by IS NOT NULL AND t.id = a.produced_by AND x.kind = ?2 ORDER BY x.seq LIMIT 1"
    );
    Ok(prepare(db, sql)?.query_row(params![id, AccessKind::Wrote], artifact_use).optional()?)
}

fn artifact_use(row: &Row<'_>) -> rusqlite::Result<ArtifactUse> {
    Ok(ArtifactUse {
        run_id: row.get(1)?,
        run_number: row.get(2)?,
        attempt_id: row.get(3)?,
        action: row.get(4)?,
        attempt: row.get(5)?,
        kind: row.get(6)?,
        bytes: row.get(7)?,
    })
}

/// Lists the denied calls of every attempt of a run.
pub(super) fn denials(db: &Connection, run: RunId) -> Work<Vec<(AttemptId, Denial)>> {
    let Some(run) = run_rows::find(db, run)? else { return Ok(Vec::new()) };
    let sql = "SELECT t.id, d.call, d.target, d.message FROM attempts t INDEXED BY attempts_run
        CROSS JOIN denials d INDEXED BY denials_attempt ON d.attempt = t.seq WHERE t.run = ?1";
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map([run.number], |row| {
        Ok((row.get(0)?, Denial { call: row.get(1)?, target: row.get(2)?, message: row.get(3)? }))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns the outputs of all intents that are not published yet. The rows of an intent are deleted
/// when it is published, so all rows count.
pub(super) fn open_intents(db: &Connection) -> Work<Vec<PublishedOutput>> {
    let sql = "SELECT t.id, i.file FROM intents i CROSS JOIN attempts t ON t.seq = i.attempt
        WHERE i.attempt > 0 ORDER BY i.attempt, i.position";
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map([], |row| {
        Ok(PublishedOutput { attempt_id: row.get(0)?, file: row.get::<_, Json<StagedFile>>(1)?.0 })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
