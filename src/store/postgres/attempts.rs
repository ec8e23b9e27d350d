//! Attempts: the check of the fencing token before each of their writes, their end, and their
//! lists.

use serde_json::json;

use super::advance;
use super::artifacts::{SEQ_COLUMN, artifact, artifact_columns};
use super::db::Db;
use super::events::{NewEvent, emit};
use super::memories;
use super::models;
use super::requests;
use super::run_rows;
use super::sql::{Fail, Json, Row, Work, params};
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
pub(super) async fn check(db: &Db, fence: Fence) -> Work<Fenced> {
    let refuse = |why: String| Err(Fail::Rule(StoreError::Fenced { attempt: fence.attempt_id, why }));
    let sql = "SELECT a.seq, a.run, r.id, a.action, a.state, a.epoch, a.token, a.number
        FROM attempts a JOIN runs r ON r.number = a.run WHERE a.id = $1";
    let Some(row) = db.row(sql, &params![fence.attempt_id]).await? else {
        return refuse("it is not on record".to_owned());
    };
    let (epoch, token): (u64, u64) = (row.get(5)?, row.get(6)?);
    if (epoch, token) != (fence.epoch, fence.token) {
        return refuse(format!("its token is now {epoch}.{token}, not {}.{}", fence.epoch, fence.token));
    }
    Ok(Fenced {
        seq: row.get(0)?,
        id: fence.attempt_id,
        run: row.get(1)?,
        run_id: row.get(2)?,
        action: row.get(3)?,
        number: row.get(7)?,
        state: row.get(4)?,
    })
}

/// Checks a token of an attempt whose guest is running.
pub(super) async fn at_work(db: &Db, fence: Fence) -> Work<Fenced> {
    let attempt = check(db, fence).await?;
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
    pub(super) async fn ended_before(&self, db: &Db, end: &AttemptEnd, state: AttemptState) -> Work<bool> {
        let error = end.error.as_ref().map(serde_json::to_string).transpose()?;
        let usage = serde_json::to_string(&end.usage)?;
        let (log_to_segment, log_to_offset) = end.log_to.parts();
        let sql = "SELECT 1 FROM attempts WHERE seq = $1 AND state = $2 AND error IS NOT DISTINCT FROM $3
            AND message IS NOT DISTINCT FROM $4 AND usage = $5 AND log_to_segment = $6 AND log_to_offset = $7";
        db.exists(sql, &params![self.seq, state, error, end.message, usage, log_to_segment, log_to_offset]).await
    }
}

/// Ends an attempt that publishes nothing, and takes the step that follows. A repeat returns the
/// first answer.
pub(super) async fn finish(
    tx: &mut Tx,
    fence: Fence,
    end: &AttemptEnd,
    step: &RunStep,
    now: Timestamp,
) -> Work<Vec<StartedAttempt>> {
    if matches!(end.state, AttemptState::Running | AttemptState::Publishing) {
        return Err(Fail::invalid(format!("an attempt cannot end as {}", end.state)));
    }
    let attempt = check(&tx.db, fence).await?;
    if attempt.state != AttemptState::Running && attempt.ended_before(&tx.db, end, end.state).await? {
        return advance::started_before(tx, attempt.run, step, fence.epoch).await;
    }
    attempt.must_be_at_work()?;
    if end.state == AttemptState::Succeeded {
        forget_earlier_outputs(tx, &attempt);
    }
    note_end(tx, &attempt, end, end.state, now, |id| id).await?;
    emit_ended(tx, &attempt, end.state, end.error.as_ref(), now);
    advance::follow(tx, attempt.run_id, step, now).await
}

/// Removes what earlier attempts of the action have published from the outputs of the run, because
/// the action has been done again. What the intents of the attempt have become stays, and all
/// artifacts stay on record.
pub(super) fn forget_earlier_outputs(tx: &Tx, attempt: &Fenced) {
    if attempt.number > 1 {
        let sql = "DELETE FROM outputs WHERE run = $1 AND action = $2 AND artifact NOT IN (
            SELECT a.seq FROM intents i JOIN artifacts a ON a.id = i.became WHERE i.attempt = $3)";
        tx.db.later(sql, &params![attempt.run, attempt.action, attempt.seq]);
    }
}

/// Emits the event of the end of an attempt.
pub(super) fn emit_ended(
    tx: &mut Tx,
    attempt: &Fenced,
    state: AttemptState,
    error: Option<&ErrorInfo>,
    now: Timestamp,
) {
    let event = NewEvent::of(EventKind::AttemptEnded, json!({ "state": state, "error": error }));
    emit(tx, now, event.run(attempt.run_id).action(&attempt.action).attempt(attempt.id));
}

/// Writes the record of an attempt: its row, accesses, denials, requests, and the tags if it
/// succeeded. `became` maps artifacts to their ids on record. Artifacts that are not on record
/// (staged files that were not published) are left out.
pub(super) async fn note_end(
    tx: &mut Tx,
    attempt: &Fenced,
    end: &AttemptEnd,
    state: AttemptState,
    now: Timestamp,
    became: impl Fn(ArtifactId) -> ArtifactId,
) -> Work<()> {
    let sql = "UPDATE attempts SET state = $2, ended_at = $3, error = $4, message = $5, usage = $6,
        log_to_segment = $7, log_to_offset = $8 WHERE seq = $1";
    let ended_at = (state != AttemptState::Publishing).then_some(now);
    let error = end.error.as_ref().map(serde_json::to_string).transpose()?;
    let usage = serde_json::to_string(&end.usage)?;
    let (log_to_segment, log_to_offset) = end.log_to.parts();
    let values = params![attempt.seq, state, ended_at, error, end.message, usage, log_to_segment, log_to_offset];
    tx.db.later(sql, &values);
    let sql = "INSERT INTO accesses (run, attempt, artifact, kind, bytes, calls)
        SELECT $1::bigint, $2::bigint, seq, $4::text, $5::bigint, $6::bigint FROM artifacts WHERE id = $3";
    for access in &end.accesses {
        let id = became(access.artifact_id);
        tx.db.later(sql, &params![attempt.run, attempt.seq, id, access.kind, access.bytes, access.calls]);
        if let Some(digest) = access.digest {
            let sql = "UPDATE artifacts SET digest = $2 WHERE id = $1 AND digest IS NULL";
            tx.db.later(sql, &params![id, digest]);
        }
    }
    let sql = "INSERT INTO denials (attempt, call, target, message) VALUES ($1, $2, $3, $4)";
    for denial in &end.denials {
        tx.db.later(sql, &params![attempt.seq, denial.call, denial.target, denial.message]);
    }
    requests::note(&tx.db, attempt.seq, &end.requests);
    memories::note(&tx.db, attempt.of(), end, &became)?;
    if end.state == AttemptState::Succeeded {
        if !end.recording.is_empty() {
            let text = serde_json::to_string(&end.recording)?;
            tx.db.later("UPDATE attempts SET recording = $2 WHERE seq = $1", &params![attempt.seq, text]);
        }
        for tag in &end.tags {
            put_tag(&tx.db, became(tag.artifact_id), &tag.tag, tag.unique);
        }
        models::follow_tags(tx, attempt.as_mover(), &end.tags, &became, now).await?;
    }
    Ok(())
}

fn put_tag(db: &Db, artifact: ArtifactId, tag: &str, unique: bool) {
    if unique {
        let sql = "DELETE FROM artifact_tags t USING artifacts a
            WHERE a.id = $1 AND t.tag = $2 AND t.resource = a.resource AND t.artifact <> a.seq";
        db.later(sql, &params![artifact, tag]);
    }
    let sql = "INSERT INTO artifact_tags (tag, artifact, resource)
        SELECT $2::text, seq, resource FROM artifacts WHERE id = $1 ON CONFLICT DO NOTHING";
    db.later(sql, &params![artifact, tag]);
}

/// Returns what an attempt that has succeeded was told.
pub(super) async fn recording(db: &Db, attempt: AttemptId) -> Work<Option<Recording>> {
    let sql = "SELECT recording FROM attempts WHERE id = $1 AND state = 'succeeded' AND recording IS NOT NULL";
    let found = db.row(sql, &params![attempt]).await?;
    found.map(|row| Ok(row.get::<Json<Recording>>(0)?.0)).transpose()
}

/// All attempts of a run, in the order in which they started.
pub(super) async fn of_run(db: &Db, run: &Run) -> Work<Vec<Attempt>> {
    let sql = "SELECT seq, id, action, number, state, started_at, ended_at, component, grants, error, message, usage,
        log_from_segment, log_from_offset, log_to_segment, log_to_offset, epoch, token, cache, cached_from
        FROM attempts WHERE run = $1";
    let rows = db.rows(sql, &params![run.number]).await?;
    let mut attempts: Vec<(u64, Attempt)> =
        rows.iter().map(|row| Ok((row.get(0)?, attempt(row, run.id)?))).collect::<Work<_>>()?;
    attempts.sort_by_key(|(seq, _)| *seq);
    Ok(attempts.into_iter().map(|(_, attempt)| attempt).collect())
}

/// How far the number of a run is shifted in a cursor of [`of_action`], to make room for the number
/// of an attempt.
const RUN_SHIFT: u32 = 20;

/// Lists the attempts of an action in the newest runs, newest run first.
pub(super) async fn of_action(db: &Db, action: &str, request: &PageRequest) -> Work<Page<ActionAttempt>> {
    let (before, limit) = (page::before(request)?, page::limit(request));
    let (run, number) = (before >> RUN_SHIFT, before & ((1 << RUN_SHIFT) - 1));
    let newest: i64 = db.one("SELECT coalesce(max(number), 0) FROM runs", &[]).await?.get(0)?;
    let oldest = newest.saturating_sub(i64::try_from(ATTEMPT_RUNS).unwrap_or(i64::MAX));
    let sql = "SELECT a.seq, a.id, a.action, a.number, a.state, a.started_at, a.ended_at, a.component, a.grants,
        a.error, a.message, a.usage, a.log_from_segment, a.log_from_offset, a.log_to_segment, a.log_to_offset,
        a.epoch, a.token, a.cache, a.cached_from, r.number, r.id
        FROM runs r JOIN attempts a ON a.run = r.number AND a.action = $1
        WHERE r.number > $2 AND r.number <= $3 AND (r.number < $3 OR a.number < $4)
        ORDER BY r.number DESC, a.number DESC LIMIT $5";
    let item = |row: &Row| {
        let found = ActionAttempt { run_number: row.get(20)?, attempt: attempt(row, row.get(21)?)? };
        let run: i64 = row.get(20)?;
        Ok(((run << RUN_SHIFT) | i64::from(found.attempt.number), found))
    };
    let rows = db.rows(sql, &params![action, oldest, run, number, limit + 1]).await?;
    Ok(page::cut(rows.iter().map(item).collect::<Work<_>>()?, limit))
}

fn attempt(row: &Row, run_id: RunId) -> Work<Attempt> {
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
        grants: row.get::<Json<serde_json::Value>>(8)?.0,
        error: row.get::<Option<Json<ErrorInfo>>>(9)?.map(|error| error.0),
        message: row.get(10)?,
        usage: row.get::<Json<_>>(11)?.0,
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
fn log_to(row: &Row, first: usize) -> Work<Option<LogPosition>> {
    let parts: (Option<u64>, Option<u64>) = (row.get(first)?, row.get(first + 1)?);
    Ok(parts.0.zip(parts.1).map(LogPosition::from_parts))
}

/// Returns the log positions of every attempt of every run that has not ended.
pub(super) async fn unfinished_logs(db: &Db) -> Work<Vec<LogRange>> {
    let mut found = Vec::new();
    for state in RunState::ALL.iter().filter(|state| !state.ended()) {
        let sql = "SELECT a.log_from_segment, a.log_from_offset, a.log_to_segment, a.log_to_offset
            FROM runs r JOIN attempts a ON a.run = r.number WHERE r.state = $1";
        for row in db.rows(sql, &params![state]).await? {
            let from = LogPosition::from_parts((row.get(0)?, row.get(1)?));
            found.push(LogRange { from, to: log_to(&row, 2)? });
        }
    }
    Ok(found)
}

/// Lists what every attempt of a run read and wrote, in the order of recording.
pub(super) async fn lineage(db: &Db, run: RunId, request: &PageRequest) -> Work<Page<LineageEdge>> {
    let (after, limit) = (page::after(request)?, page::limit(request));
    let Some(run) = run_rows::find(db, run).await? else { return Ok(Page { items: Vec::new(), next_cursor: None }) };
    let sql = concat!(
        "SELECT ",
        artifact_columns!(),
        ", t.id, t.action, x.kind, x.bytes, x.seq FROM accesses x
         JOIN artifacts a ON a.seq = x.artifact JOIN attempts t ON t.seq = x.attempt
         WHERE x.run = $1 AND x.seq > $2 ORDER BY x.seq LIMIT $3"
    );
    let edge = |row: &Row| {
        let edge = LineageEdge {
            attempt_id: row.get(SEQ_COLUMN + 1)?,
            action: row.get(SEQ_COLUMN + 2)?,
            kind: row.get(SEQ_COLUMN + 3)?,
            bytes: row.get(SEQ_COLUMN + 4)?,
            artifact: artifact(row)?,
        };
        Ok((row.get(SEQ_COLUMN + 5)?, edge))
    };
    let rows = db.rows(sql, &params![run.number, after, limit + 1]).await?;
    Ok(page::cut(rows.iter().map(edge).collect::<Work<_>>()?, limit))
}

/// The columns and joins of [`ArtifactUse`].
macro_rules! select_uses {
    () => {
        "SELECT x.seq, r.id, r.number, t.id, t.action, t.number, x.kind, x.bytes
        FROM accesses x JOIN attempts t ON t.seq = x.attempt JOIN runs r ON r.number = x.run
        WHERE x.artifact = (SELECT seq FROM artifacts WHERE id = $1) "
    };
}

/// Lists the attempts that read or wrote an artifact, newest first.
pub(super) async fn uses(db: &Db, id: ArtifactId, request: &PageRequest) -> Work<Page<ArtifactUse>> {
    let (before, limit) = (page::before(request)?, page::limit(request));
    let sql = concat!(select_uses!(), "AND x.seq < $2 ORDER BY x.seq DESC LIMIT $3");
    let rows = db.rows(sql, &params![id, before, limit + 1]).await?;
    let items: Work<Vec<_>> = rows.iter().map(|row| Ok((row.get(0)?, artifact_use(row)?))).collect();
    Ok(page::cut(items?, limit))
}

/// Returns the use in which an action wrote an artifact. It is among the first ones, because
/// nothing reads an artifact before it is published.
pub(super) async fn writer(db: &Db, id: ArtifactId) -> Work<Option<ArtifactUse>> {
    let sql = concat!(
        select_uses!(),
        // An equality would lead from the attempt to the accesses, and to sorting them.
        "AND t.id IS NOT DISTINCT FROM (SELECT produced_by FROM artifacts WHERE id = $1) AND x.kind = $2
         ORDER BY x.seq LIMIT 1"
    );
    db.row(sql, &params![id, AccessKind::Wrote]).await?.as_ref().map(artifact_use).transpose()
}

fn artifact_use(row: &Row) -> Work<ArtifactUse> {
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
pub(super) async fn denials(db: &Db, run: RunId) -> Work<Vec<(AttemptId, Denial)>> {
    let Some(run) = run_rows::find(db, run).await? else { return Ok(Vec::new()) };
    let sql = "SELECT t.id, d.call, d.target, d.message FROM attempts t JOIN denials d ON d.attempt = t.seq
        WHERE t.run = $1 ORDER BY t.action, t.number, d.seq";
    let denial = |row: &Row| Ok((row.get(0)?, Denial { call: row.get(1)?, target: row.get(2)?, message: row.get(3)? }));
    db.rows(sql, &params![run.number]).await?.iter().map(denial).collect()
}

/// Returns the outputs of all intents that are not published yet. The rows of an intent are deleted
/// when it is published, so all rows count.
pub(super) async fn open_intents(db: &Db) -> Work<Vec<PublishedOutput>> {
    let sql = "SELECT t.id, i.file FROM intents i JOIN attempts t ON t.seq = i.attempt ORDER BY i.attempt, i.position";
    let output = |row: &Row| Ok(PublishedOutput { attempt_id: row.get(0)?, file: row.get::<Json<StagedFile>>(1)?.0 });
    db.rows(sql, &[]).await?.iter().map(output).collect()
}
