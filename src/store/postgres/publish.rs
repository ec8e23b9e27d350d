//! The commit point of an attempt with outputs, and its end.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;

use super::advance;
use super::artifacts::{self, Change, CurrentVersion, NOT_VISIBLE, NewVersion, Paths, change_waiting};
use super::attempts::{self, Fenced};
use super::db::Db;
use super::events::{NewEvent, emit};
use super::memories;
use super::models;
use super::record;
use super::sql::{Fail, Json, Row, Work, params};
use super::writer::Tx;
use crate::base::{ArtifactId, Digest, Timestamp};
use crate::model::{ArtifactState, AttemptState, EventKind, Fence, StagedFile};
use crate::store::registry::By;
use crate::store::{Intent, Refusal, RunStep, StartedAttempt, StoreError};

/// Commits the outputs of an attempt: from now on they exist. A repeat changes nothing.
pub(super) async fn intent(tx: &mut Tx, fence: Fence, intent: &Intent, now: Timestamp) -> Work<()> {
    if intent.end.state != AttemptState::Succeeded {
        return Err(Fail::invalid(format!("an attempt that ends as {} publishes nothing", intent.end.state)));
    }
    let attempt = attempts::check(&tx.db, fence).await?;
    if attempt.state == AttemptState::Publishing && committed_before(&tx.db, &attempt, intent).await? {
        return Ok(());
    }
    attempt.must_be_at_work()?;
    let mut became = HashMap::with_capacity(intent.files.len());
    let mut resources = places(&tx.db, &intent.files).await?;
    for (position, file) in intent.files.iter().enumerate() {
        let Some(place) = resources.get_mut(file.resource.as_str()) else { continue };
        let retrigger = intent.retrigger.contains(&file.resource);
        let artifact = output(tx, &attempt, file, position, retrigger, place, now)?;
        if let Some(model) = intent.model_of(&file.resource) {
            models::register(tx, model, artifact, By::attempt(attempt.as_mover()), now).await?;
        }
        became.insert(file.artifact_id, artifact);
    }
    for (resource, place) in resources {
        change_waiting(tx, resource, place.change);
    }
    let became = |id| became.get(&id).copied().unwrap_or(id);
    if let Some(reuse) = &intent.reuse {
        memories::reuse(tx, attempt.of(), reuse, now).await?;
    }
    attempts::note_end(tx, &attempt, &intent.end, AttemptState::Publishing, now, became).await?;
    if intent.skip {
        tx.db.later("UPDATE attempts SET skip = true WHERE seq = $1", &params![attempt.seq]);
    }
    let outputs = intent.reuse.as_ref().map_or(intent.files.len(), |reuse| reuse.outputs.len());
    let event = NewEvent::of(EventKind::AttemptPublishing, json!({ "outputs": outputs }));
    emit(tx, now, event.run(attempt.run_id).action(&attempt.action).attempt(attempt.id));
    Ok(())
}

/// A resource that outputs are published to.
#[derive(Debug, Default)]
struct Place {
    paths: Paths,
    change: Change,
}

/// Reads what is at the paths of outputs, by resource.
async fn places<'f>(db: &Db, files: &'f [StagedFile]) -> Work<BTreeMap<&'f str, Place>> {
    let mut wanted: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for file in files {
        wanted.entry(&file.resource).or_default().push(file.path.clone());
    }
    let mut found = BTreeMap::new();
    for (resource, mut paths) in wanted {
        paths.sort_unstable();
        paths.dedup();
        found.insert(resource, Place { paths: Paths::read(db, resource, paths).await?, change: Change::default() });
    }
    Ok(found)
}

/// Returns whether exactly this intent is on record already.
async fn committed_before(db: &Db, attempt: &Fenced, intent: &Intent) -> Work<bool> {
    let sql = "SELECT file FROM intents WHERE attempt = $1 ORDER BY position";
    let rows = db.rows(sql, &params![attempt.seq]).await?;
    let files: Vec<StagedFile> = rows.iter().map(|row| Ok(row.get::<Json<_>>(0)?.0)).collect::<Work<_>>()?;
    let is_same = files == intent.files && memories::is_reused(db, attempt.seq).await? == intent.reuse.is_some();
    Ok(is_same && attempt.ended_before(db, &intent.end, AttemptState::Publishing).await?)
}

/// Records one output: as the next version at its path, or as the present one, if that is the same.
/// Returns the artifact that it became.
fn output(
    tx: &mut Tx,
    attempt: &Fenced,
    file: &StagedFile,
    position: usize,
    retrigger: bool,
    place: &mut Place,
    now: Timestamp,
) -> Work<ArtifactId> {
    let StagedFile { resource, path, .. } = file;
    let there = place.paths.current(path).cloned();
    // An output of an earlier attempt of the action may be replaced by a later one.
    let is_own = |there: &CurrentVersion| file.replaces.as_deref() == Some(there.stamp.as_str());
    if there.as_ref().is_some_and(|there| !file.overwrite && !is_own(there)) {
        return Err(Fail::Rule(StoreError::PathTaken { resource: resource.clone(), path: path.clone() }));
    }
    let (seq, id, is_new) = match there {
        Some(same) if same.digest == Some(file.digest) => {
            // The same bytes in another file: from now on its stamp identifies the version.
            let sql = "UPDATE artifacts SET stamp = $2, visible = $3 WHERE seq = $1";
            tx.db.later(sql, &params![same.seq, file.stamp, NOT_VISIBLE]);
            let (seq, id) = (same.seq, same.id);
            let (stamp, visible) = (file.stamp.clone(), Some(NOT_VISIBLE));
            place.paths.put(path, CurrentVersion { stamp, visible, ..same });
            (seq, id, false)
        }
        _ => {
            record::replace(tx, &mut place.paths, resource, path, &mut place.change, now);
            let seq = insert(tx, attempt, file, &mut place.paths, now);
            (seq, file.artifact_id, true)
        }
    };
    let sql = "INSERT INTO intents (attempt, position, file, became, retrigger) VALUES ($1, $2, $3, $4, $5)";
    tx.db.later(sql, &params![attempt.seq, position, serde_json::to_string(file)?, id, retrigger && is_new]);
    let sql = "INSERT INTO outputs (run, resource, path, artifact, action) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING";
    tx.db.later(sql, &params![attempt.run, resource, path, seq, attempt.action]);
    Ok(id)
}

/// Puts an output on record as the next version at its path. Returns its sequence.
fn insert(tx: &mut Tx, attempt: &Fenced, file: &StagedFile, paths: &mut Paths, now: Timestamp) -> u64 {
    let StagedFile { resource, path, .. } = file;
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
    let (seq, version) = artifacts::insert(tx, paths, &new, now);
    let data = json!({
        "resource": resource, "path": path, "version": version, "digest": file.digest, "size": file.size
    });
    let event = NewEvent::of(EventKind::ArtifactPublished, data).artifact(new.id);
    emit(tx, now, event.run(attempt.run_id).action(&attempt.action).attempt(attempt.id));
    seq
}

/// Records that every file of the intent is visible, so the attempt has succeeded, and takes the
/// step that follows. With `refusal`, services did not take some of them, so the attempt ends as
/// that says. A repeat returns the first answer.
pub(super) async fn published(
    tx: &mut Tx,
    fence: Fence,
    stamps: &[Option<String>],
    refusal: Option<&Refusal>,
    step: &RunStep,
    now: Timestamp,
) -> Work<Vec<StartedAttempt>> {
    let attempt = attempts::check(&tx.db, fence).await?;
    let end = refusal.map_or(AttemptState::Succeeded, |refusal| refusal.state);
    match attempt.state {
        AttemptState::Publishing => {}
        state if state == end => return advance::started_before(tx, attempt.run, step, fence.epoch).await,
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
    let sql = "UPDATE artifacts SET visible = $2 WHERE id IN (SELECT became FROM intents WHERE attempt = $1)";
    tx.db.later(sql, &params![attempt.seq, visible]);
    let sql = "UPDATE artifacts SET stamp = $3
        WHERE id = (SELECT became FROM intents WHERE attempt = $1 AND position = $2) AND ended IS NULL";
    for (position, stamp) in stamps.iter().enumerate().filter_map(|(at, stamp)| Some((at, stamp.as_ref()?))) {
        tx.db.later(sql, &params![attempt.seq, position, stamp]);
    }
    for (position, why) in refusal.iter().flat_map(|refusal| &refusal.files) {
        not_taken(tx, &attempt, *position, why, now).await?;
    }
    for output in retriggering(&tx.db, attempt.seq).await? {
        retrigger(tx, &output, now);
    }
    // What a cached action has taken over is in no intent.
    if refusal.is_none() && (attempt.number == 1 || !memories::is_reused(&tx.db, attempt.seq).await?) {
        attempts::forget_earlier_outputs(tx, &attempt);
    }
    tx.db.later("DELETE FROM intents WHERE attempt = $1", &params![attempt.seq]);
    let error = refusal.map(|refusal| &refusal.error);
    let text = error.map(serde_json::to_string).transpose()?;
    let sql = "UPDATE attempts SET state = $2, ended_at = $3, error = $4 WHERE seq = $1";
    tx.db.later(sql, &params![attempt.seq, end, now, text]);
    attempts::emit_ended(tx, &attempt, end, error, now);
    advance::follow(tx, attempt.run_id, step, now).await
}

/// Records that a service did not take an output: it is at its path no more, and what it had
/// replaced is there again. An output that had the bytes of an earlier version is that version,
/// which the service has, so nothing changes.
async fn not_taken(tx: &mut Tx, attempt: &Fenced, position: usize, why: &str, now: Timestamp) -> Work<()> {
    let sql = "SELECT a.seq, a.id, a.resource, a.path, a.version, a.ended IS NULL
        FROM intents i JOIN artifacts a ON a.id = i.became
        WHERE i.attempt = $1 AND i.position = $2 AND a.produced_by = $3";
    let Some(row) = tx.db.row(sql, &params![attempt.seq, position, attempt.id]).await? else { return Ok(()) };
    let (seq, id): (u64, ArtifactId) = (row.get(0)?, row.get(1)?);
    let (resource, path): (String, String) = (row.get(2)?, row.get(3)?);
    let (version, present): (u64, bool) = (row.get(4)?, row.get(5)?);
    if present {
        artifacts::end(tx, seq, ArtifactState::NotTaken);
    }
    let sql = "UPDATE artifacts SET state = $2, reason = $3 WHERE seq = $1";
    tx.db.later(sql, &params![seq, ArtifactState::NotTaken, why]);
    if present {
        // The sequence before its own is that at which it replaced the version.
        let sql = "UPDATE artifacts SET ended = NULL
            WHERE resource = $1 AND ended = $2 AND path = $3 AND state IN ('published', 'current', 'old')";
        tx.db.later(sql, &params![resource, seq - 1, path]);
    }
    let sql = "DELETE FROM outputs WHERE run = $1 AND resource = $2
        AND left(path, 400) = left($3, 400) AND path = $3 AND artifact = $4";
    tx.db.later(sql, &params![attempt.run, resource, path, seq]);
    let data = json!({ "resource": resource, "path": path, "version": version, "reason": why });
    let event = NewEvent::of(EventKind::ArtifactNotTaken, data).artifact(id);
    emit(tx, now, event.run(attempt.run_id).action(&attempt.action).attempt(attempt.id));
    Ok(())
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
async fn retriggering(db: &Db, attempt: u64) -> Work<Vec<Retriggering>> {
    // What is asked about the artifacts is no condition: an index that has it would be walked.
    let sql = "SELECT a.seq, a.id, a.resource, a.path, a.version, a.digest, a.size,
        a.ended IS NULL AND a.state = 'published'
        FROM intents i JOIN artifacts a ON a.id = i.became
        WHERE i.attempt = $1 AND i.retrigger ORDER BY i.position";
    let output = |row: &Row| -> Work<Retriggering> {
        Ok(Retriggering {
            seq: row.get(0)?,
            id: row.get(1)?,
            resource: row.get(2)?,
            path: row.get(3)?,
            version: row.get(4)?,
            digest: row.get(5)?,
            size: row.get(6)?,
        })
    };
    let mut found = Vec::new();
    for row in db.rows(sql, &params![attempt]).await? {
        if row.get(7)? {
            found.push(output(&row)?);
        }
    }
    Ok(found)
}

/// Makes an output pending for a run of its own, now that it can be read. At the commit point, a
/// run could claim it before it is visible.
fn retrigger(tx: &mut Tx, output: &Retriggering, now: Timestamp) {
    let Retriggering { seq, id, resource, path, version, digest, size } = output;
    tx.db.later("UPDATE artifacts SET state = 'new' WHERE seq = $1", &params![seq]);
    let mut change = Change::default();
    change.more(*size);
    change_waiting(tx, resource, change);
    let data = json!({ "resource": resource, "path": path, "version": version, "digest": digest, "size": size });
    emit(tx, now, NewEvent::of(EventKind::ArtifactRecorded, data).artifact(*id));
}
