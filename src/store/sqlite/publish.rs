//! The commit point of an attempt with outputs, and its end.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::json;

use super::advance;
use super::artifacts::{self, Change, NOT_VISIBLE, NewVersion, change_waiting, current_version};
use super::attempts::{self, Fenced};
use super::events::{NewEvent, emit};
use super::memories;
use super::models;
use super::record;
use super::sql::{Fail, Json, Work, execute, prepare};
use super::writer::Tx;
use crate::base::{ArtifactId, Digest, Timestamp};
use crate::model::{ArtifactState, AttemptState, EventKind, Fence, StagedFile};
use crate::store::registry::By;
use crate::store::{Intent, Refusal, RunStep, StartedAttempt, StoreError};

/// Commits the outputs of an attempt: from now on they exist. A repeat changes nothing.
pub(super) fn intent(tx: &mut Tx<'_>, fence: Fence, intent: &Intent, now: Timestamp) -> Work<()> {
    if intent.end.state != AttemptState::Succeeded {
        return Err(Fail::invalid(format!("an attempt that ends as {} publishes nothing", intent.end.state)));
    }
    let attempt = attempts::check(tx.db, fence)?;
    if attempt.state == AttemptState::Publishing && committed_before(tx.db, &attempt, intent)? {
        return Ok(());
    }
    attempt.must_be_at_work()?;
    let mut became = HashMap::with_capacity(intent.files.len());
    let mut waiting: BTreeMap<&str, Change> = BTreeMap::new();
    for (position, file) in intent.files.iter().enumerate() {
        let retrigger = intent.retrigger.contains(&file.resource);
        let change = waiting.entry(&file.resource).or_default();
        let artifact = output(tx, &attempt, file, position, retrigger, change, now)?;
        if let Some(model) = intent.model_of(&file.resource) {
            models::register(tx, model, artifact, By::attempt(attempt.as_mover()), now)?;
        }
        became.insert(file.artifact_id, artifact);
    }
    for (resource, change) in waiting {
        change_waiting(tx, resource, change)?;
    }
    let became = |id| became.get(&id).copied().unwrap_or(id);
    if let Some(reuse) = &intent.reuse {
        memories::reuse(tx, attempt.of(), reuse, now)?;
    }
    attempts::note_end(tx, &attempt, &intent.end, AttemptState::Publishing, now, became)?;
    if intent.skip {
        execute(tx.db, "UPDATE attempts SET skip = 1 WHERE seq = ?1", [attempt.seq])?;
    }
    let outputs = intent.reuse.as_ref().map_or(intent.files.len(), |reuse| reuse.outputs.len());
    let event = NewEvent::of(EventKind::AttemptPublishing, json!({ "outputs": outputs }));
    emit(tx, now, event.run(attempt.run_id).action(&attempt.action).attempt(attempt.id))
}

/// Returns whether exactly this intent is on record already.
fn committed_before(db: &Connection, attempt: &Fenced, intent: &Intent) -> Work<bool> {
    let sql = "SELECT file FROM intents WHERE attempt = ?1 ORDER BY position";
    let mut statement = prepare(db, sql)?;
    let files = statement.query_map([attempt.seq], |row| Ok(row.get::<_, Json<StagedFile>>(0)?.0))?;
    let files: Vec<StagedFile> = files.collect::<Result<_, _>>()?;
    let is_same = files == intent.files && memories::is_reused(db, attempt.seq)? == intent.reuse.is_some();
    Ok(is_same && attempt.ended_before(db, &intent.end, AttemptState::Publishing)?)
}

/// Records one output: as the next version at its path, or as the present one, if that is the same.
/// Returns the artifact that it became.
fn output(
    tx: &mut Tx<'_>,
    attempt: &Fenced,
    file: &StagedFile,
    position: usize,
    retrigger: bool,
    change: &mut Change,
    now: Timestamp,
) -> Work<ArtifactId> {
    let StagedFile { resource, path, .. } = file;
    let there = current_version(tx.db, resource, path)?;
    // An output of an earlier attempt of the action may be replaced by a later one.
    let is_own = |there: &artifacts::CurrentVersion| file.replaces.as_deref() == Some(there.stamp.as_str());
    if there.as_ref().is_some_and(|there| !file.overwrite && !is_own(there)) {
        return Err(Fail::Rule(StoreError::PathTaken { resource: resource.clone(), path: path.clone() }));
    }
    let (seq, id, is_new) = match there {
        Some(same) if same.digest == Some(file.digest) => {
            // The same bytes in another file: from now on its stamp identifies the version.
            let sql = "UPDATE artifacts SET stamp = ?2, visible = ?3 WHERE seq = ?1";
            execute(tx.db, sql, params![same.seq, file.stamp, NOT_VISIBLE])?;
            (same.seq, same.id, false)
        }
        there => {
            if let Some(there) = &there {
                record::replace(tx, resource, path, there, change, now)?;
            }
            let new = NewVersion {
                id: file.artifact_id,
                resource,
                path,
                digest: Some(file.digest),
                size: file.size,
                state: ArtifactState::Published,
                reason: None,
                produced_by: Some(attempt.id),
                stamp: &file.stamp,
                visible: Some(NOT_VISIBLE),
            };
            let (seq, version) = artifacts::insert(tx, &new, now)?;
            let data = json!({
                "resource": resource, "path": path, "version": version, "digest": file.digest, "size": file.size
            });
            let event = NewEvent::of(EventKind::ArtifactPublished, data).artifact(new.id);
            emit(tx, now, event.run(attempt.run_id).action(&attempt.action).attempt(attempt.id))?;
            (seq, new.id, true)
        }
    };
    let sql = "INSERT INTO intents (attempt, position, file, became, retrigger) VALUES (?1, ?2, ?3, ?4, ?5)";
    execute(tx.db, sql, params![attempt.seq, position, serde_json::to_string(file)?, id, retrigger && is_new])?;
    let sql = "INSERT OR IGNORE INTO outputs (run, resource, path, artifact, action) VALUES (?1, ?2, ?3, ?4, ?5)";
    execute(tx.db, sql, params![attempt.run, resource, path, seq, attempt.action])?;
    Ok(id)
}

/// Records that every file of the intent is visible, so the attempt has succeeded, and takes the
/// step that follows. With `refusal`, services did not take some of them, so the attempt ends as
/// that says. A repeat returns the first answer.
pub(super) fn published(
    tx: &mut Tx<'_>,
    fence: Fence,
    stamps: &[Option<String>],
    refusal: Option<&Refusal>,
    step: &RunStep,
    now: Timestamp,
) -> Work<Vec<StartedAttempt>> {
    let attempt = attempts::check(tx.db, fence)?;
    let end = refusal.map_or(AttemptState::Succeeded, |refusal| refusal.state);
    match attempt.state {
        AttemptState::Publishing => {}
        state if state == end => return advance::started_before(tx, attempt.run, step, fence.epoch),
        AttemptState::Running => {
            return Err(Fail::conflict(format!(
                "attempt {} has not passed its commit point: there is nothing to mark as published",
                attempt.id
            )));
        }
        _ => return Err(attempt.has_ended()),
    }
    // The next event belongs to this transaction: every later reader sees the outputs.
    let visible = tx.at.event + 1;
    let sql = "UPDATE artifacts SET visible = ?2 WHERE id IN (SELECT became FROM intents WHERE attempt = ?1)";
    execute(tx.db, sql, params![attempt.seq, visible])?;
    let sql = "UPDATE artifacts SET stamp = ?3
        WHERE id = (SELECT became FROM intents WHERE attempt = ?1 AND position = ?2) AND ended IS NULL";
    for (position, stamp) in stamps.iter().enumerate().filter_map(|(at, stamp)| Some((at, stamp.as_ref()?))) {
        execute(tx.db, sql, params![attempt.seq, position, stamp])?;
    }
    for (position, why) in refusal.iter().flat_map(|refusal| &refusal.files) {
        not_taken(tx, &attempt, *position, why, now)?;
    }
    for output in retriggering(tx.db, attempt.seq)? {
        retrigger(tx, &output, now)?;
    }
    // What a cached action has taken over is in no intent.
    if refusal.is_none() && (attempt.number == 1 || !memories::is_reused(tx.db, attempt.seq)?) {
        attempts::forget_earlier_outputs(tx, &attempt)?;
    }
    execute(tx.db, "DELETE FROM intents WHERE attempt = ?1", [attempt.seq])?;
    let error = refusal.map(|refusal| &refusal.error);
    let text = error.map(serde_json::to_string).transpose()?;
    let sql = "UPDATE attempts SET state = ?2, ended_at = ?3, error = ?4 WHERE seq = ?1";
    execute(tx.db, sql, params![attempt.seq, end, now, text])?;
    attempts::emit_ended(tx, &attempt, end, error, now)?;
    advance::follow(tx, attempt.run_id, step, now)
}

/// Records that a service did not take an output: it is at its path no more, and what it had
/// replaced is there again. An output that had the bytes of an earlier version is that version,
/// which the service has, so nothing changes.
fn not_taken(tx: &mut Tx<'_>, attempt: &Fenced, position: usize, why: &str, now: Timestamp) -> Work<()> {
    let sql = "SELECT a.seq, a.id, a.resource, a.path, a.version, a.ended IS NULL
        FROM intents i CROSS JOIN artifacts a ON a.id = i.became
        WHERE i.attempt = ?1 AND i.position = ?2 AND a.produced_by = ?3";
    let found = prepare(tx.db, sql)?.query_row(params![attempt.seq, position, attempt.id], |row| {
        let there: (u64, ArtifactId, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((there, row.get::<_, String>(3)?, row.get::<_, u64>(4)?, row.get::<_, bool>(5)?))
    });
    let Some(((seq, id, resource), path, version, present)) = found.optional()? else { return Ok(()) };
    if present {
        artifacts::end(tx, seq, ArtifactState::NotTaken)?;
    }
    let sql = "UPDATE artifacts SET state = ?2, reason = ?3 WHERE seq = ?1";
    execute(tx.db, sql, params![seq, ArtifactState::NotTaken, why])?;
    if present {
        // The sequence before its own is that at which it replaced the version.
        let sql = "UPDATE artifacts INDEXED BY artifacts_ended SET ended = NULL
            WHERE resource = ?1 AND ended = ?2 AND path = ?3 AND state IN ('published', 'current', 'old')";
        execute(tx.db, sql, params![resource, seq - 1, path])?;
    }
    let sql = "DELETE FROM outputs WHERE run = ?1 AND resource = ?2 AND path = ?3 AND artifact = ?4";
    execute(tx.db, sql, params![attempt.run, resource, path, seq])?;
    let data = json!({ "resource": resource, "path": path, "version": version, "reason": why });
    let event = NewEvent::of(EventKind::ArtifactNotTaken, data).artifact(id);
    emit(tx, now, event.run(attempt.run_id).action(&attempt.action).attempt(attempt.id))
}

/// An output that is to be `new` in its resource.
struct Retriggering {
    seq: u64,
    id: ArtifactId,
    resource: String,
    path: String,
    version: u64,
    digest: Option<Digest>,
    size: u64,
}

/// Returns the outputs of an intent that are to be `new`, and are still at their paths.
fn retriggering(db: &Connection, attempt: u64) -> Work<Vec<Retriggering>> {
    let sql = "SELECT a.seq, a.id, a.resource, a.path, a.version, a.digest, a.size
        FROM intents i CROSS JOIN artifacts a ON a.id = i.became
        WHERE i.attempt = ?1 AND i.retrigger = 1 AND a.ended IS NULL AND a.state = 'published' ORDER BY i.position";
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map([attempt], |row| {
        Ok(Retriggering {
            seq: row.get(0)?,
            id: row.get(1)?,
            resource: row.get(2)?,
            path: row.get(3)?,
            version: row.get(4)?,
            digest: row.get(5)?,
            size: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Makes an output pending for a run of its own, now that it can be read. At the commit point, a
/// run could claim it before it is visible.
fn retrigger(tx: &mut Tx<'_>, output: &Retriggering, now: Timestamp) -> Work<()> {
    let Retriggering { seq, id, resource, path, version, digest, size } = output;
    execute(tx.db, "UPDATE artifacts SET state = 'new' WHERE seq = ?1", [seq])?;
    let mut change = Change::default();
    change.more(*size);
    change_waiting(tx, resource, change)?;
    let data = json!({ "resource": resource, "path": path, "version": version, "digest": digest, "size": size });
    emit(tx, now, NewEvent::of(EventKind::ArtifactRecorded, data).artifact(*id))
}
