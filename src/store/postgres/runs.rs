//! Creates runs with their claims, reads them, and cancels or retries them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tokio::try_join;

use super::artifacts::{self, pending_as_of};
use super::db::Db;
use super::events::{NewEvent, emit};
use super::run_list;
use super::run_rows::{find, set_state};
use super::sql::{Bind as _, Fail, Row, Work, params};
use super::ticks;
use super::writer::Tx;
use super::{advance, approvals, attempts, marks};
use crate::base::bounds::MAX_PAGE;
use crate::base::{ArtifactId, RunId, Timestamp, WriteId};
use crate::model::{ActionState, Approval, Artifact, EventKind, Page, Pending, Run, RunAction, RunDetail, RunState};
use crate::store::{Claim, CreatedRun, NewRun, PageRequest, page};

/// Returns a page of the inputs of a run, in the order of recording.
pub(super) async fn inputs(db: &Db, run: RunId, request: &PageRequest) -> Work<Page<Artifact>> {
    let (after, limit) = (page::after(request)?, page::limit(request));
    Ok(page::cut(artifacts::inputs_after(db, run, after, limit + 1).await?, limit))
}

/// Returns the number of inputs of a run.
pub(super) async fn count_inputs(db: &Db, run: RunId) -> Work<u64> {
    let sql = "SELECT (SELECT count(*) FROM artifacts WHERE run_id = $1)
        + (SELECT count(*) FROM given WHERE run = (SELECT number FROM runs WHERE id = $1))";
    db.one(sql, &params![run]).await?.get(0)
}

/// How many runs are in a state.
pub(super) async fn count(db: &Db, state: RunState) -> Work<u64> {
    db.one("SELECT count(*) FROM runs WHERE state = $1", &params![state]).await?.get(0)
}

/// One run with its actions and attempts.
pub(super) async fn progress(db: &Db, id: RunId) -> Work<Option<RunDetail>> {
    let Some(run) = find(db, id).await? else { return Ok(None) };
    let (actions, attempts) = try_join!(actions(db, run.number), attempts::of_run(db, &run))?;
    Ok(Some(RunDetail { run, actions, attempts }))
}

/// The actions of a run, in the order of the manifest.
async fn actions(db: &Db, number: u64) -> Work<Vec<RunAction>> {
    let sql = "SELECT position, name, state, reason, attempts, tries, crashes, retry_at, skipped_rest
        FROM run_actions WHERE run = $1";
    let values = params![number];
    let (mut approvals, rows) = try_join!(approvals::of_run(db, number), db.rows(sql, &values))?;
    let mut actions: Vec<(u64, RunAction)> = Vec::new();
    for row in rows {
        actions.push((row.get(0)?, action(&row, &mut approvals)?));
    }
    actions.sort_by_key(|(position, _)| *position);
    Ok(actions.into_iter().map(|(_, action)| action).collect())
}

fn action(row: &Row, approvals: &mut BTreeMap<String, Vec<Approval>>) -> Work<RunAction> {
    let name: String = row.get(1)?;
    Ok(RunAction {
        approvals: approvals.remove(&name).unwrap_or_default(),
        name,
        state: row.get(2)?,
        reason: row.get(3)?,
        attempts: row.get(4)?,
        tries: row.get(5)?,
        crashes: row.get(6)?,
        retry_at: row.get(7)?,
        skipped_rest: row.get(8)?,
    })
}

/// Creates a run and claims its inputs; `None` if a claim finds too few. A repeat returns the first
/// answer.
pub(super) async fn create(tx: &mut Tx, new: NewRun, now: Timestamp) -> Work<Option<CreatedRun>> {
    let known = "SELECT 1 FROM revisions WHERE digest = $1";
    let digest = params![new.revision];
    let (run, is_known) = try_join!(find(&tx.db, new.id), tx.db.exists(known, &digest))?;
    if let Some(run) = run {
        return created_before(tx, run, new).await.map(Some);
    }
    if !is_known {
        return Err(Fail::invalid(format!("manifest {} is not on record; register it before its runs", new.revision)));
    }
    for (index, claim) in new.claims.iter().enumerate() {
        if new.claims.iter().take(index).any(|other| other.resource == claim.resource) {
            return Err(Fail::invalid(format!("a run cannot claim from `{}` twice", claim.resource)));
        }
        let (count, bytes) = claimable(tx, claim).await?;
        if count.min(claim.at_most.unwrap_or(u64::MAX)) < claim.at_least || bytes < claim.min_bytes {
            return Ok(None);
        }
    }
    tx.at.run += 1;
    let run = Run {
        id: new.id,
        number: tx.at.run,
        state: RunState::Queued,
        trigger: new.trigger,
        params: new.params,
        revision: new.revision,
        snapshot: tx.at.seq,
        created_at: now,
        started_at: None,
        ended_at: None,
        reason: None,
        rerun_of: new.rerun_of,
        fired_by: new.fired_by,
        partition: new.partition,
        trimmed_at: None,
    };
    insert(tx, &run, &new.actions)?;
    give(tx, &run, &new.given).await?;
    for claim in &new.claims {
        take(tx, &run, claim);
    }
    let (inputs, count) = first_inputs(&tx.db, &run, new.claims.is_empty() && new.given.is_empty()).await?;
    let data = json!({ "number": run.number, "trigger": run.trigger, "inputs": count });
    emit(tx, now, NewEvent::of(EventKind::RunCreated, data).run(run.id));
    for mut tick in new.ticks {
        tick.run_id = Some(run.id);
        ticks::record(tx, &tick).await?;
    }
    marks::set(tx, &new.marks);
    let started = advance::take(tx, &mut run.clone(), &new.step, now).await?;
    let pending = left_waiting(tx, &new.claims).await?;
    let detail = RunDetail { run, actions: new.actions, attempts: Vec::new() };
    Ok(Some(CreatedRun { detail, inputs, started, pending }))
}

/// Returns the first inputs of a run, and the number of all. `none` says that it has none.
async fn first_inputs(db: &Db, run: &Run, none: bool) -> Work<(Page<Artifact>, u64)> {
    if none {
        return Ok((Page { items: Vec::new(), next_cursor: None }, 0));
    }
    let page = inputs(db, run.id, &PageRequest { cursor: None, limit: MAX_PAGE }).await?;
    let count = if page.next_cursor.is_none() { page.items.len() as u64 } else { count_inputs(db, run.id).await? };
    Ok((page, count))
}

/// Returns the first answer to the creation of a run that exists, if the same run is requested.
async fn created_before(tx: &Tx, run: Run, new: NewRun) -> Work<CreatedRun> {
    let sql = "SELECT 1 FROM runs WHERE number = $1 AND cause = $2 AND params = $3 AND revision = $4
        AND rerun_of IS NOT DISTINCT FROM $5";
    let values = params![run.number, new.trigger, new.params.to_string(), new.revision, new.rerun_of];
    let on_record = actions(&tx.db, run.number).await?;
    let same_actions = on_record.iter().map(|action| &action.name).eq(new.actions.iter().map(|action| &action.name));
    let same_run = same_actions && tx.db.exists(sql, &values).await?;
    if !same_run || given(&tx.db, run.number).await? != new.given.iter().copied().collect() {
        return Err(Fail::conflict(format!("run {} already exists, and was created with different arguments", new.id)));
    }
    let started = advance::started_before(tx, run.number, &new.step, tx.epoch).await?;
    let (inputs, _) = first_inputs(&tx.db, &run, false).await?;
    let pending = left_waiting(tx, &new.claims).await?;
    // As it was before its first step.
    let run = Run { state: RunState::Queued, started_at: None, ended_at: None, reason: None, ..run };
    let detail = RunDetail { run, actions: new.actions, attempts: Vec::new() };
    Ok(CreatedRun { detail, inputs, started, pending })
}

/// Returns the pending artifacts of each resource that is claimed from.
async fn left_waiting(tx: &Tx, claims: &[Claim]) -> Work<Vec<(String, Pending)>> {
    let mut left = Vec::with_capacity(claims.len());
    for Claim { resource, .. } in claims {
        left.push((resource.clone(), pending_as_of(&tx.db, resource, tx.at.event).await?));
    }
    Ok(left)
}

fn insert(tx: &Tx, run: &Run, actions: &[RunAction]) -> Work<()> {
    let sql = "INSERT INTO runs
        (number, id, state, cause, params, revision, snapshot, created_at, rerun_of, fired_by, run_partition)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let values = params![
        run.number,
        run.id,
        run.state,
        run.trigger,
        run.params.to_string(),
        run.revision,
        run.snapshot,
        run.created_at,
        run.rerun_of,
        serde_json::to_string(&run.fired_by)?,
        run.partition
    ];
    tx.db.later(sql, &values);
    let sql = "INSERT INTO run_actions
        (run, name, position, state, reason, attempts, tries, crashes, retry_at, skipped_rest)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    for (position, action) in actions.iter().enumerate() {
        // A new action has asked for no approval.
        let RunAction { name, state, reason, attempts, tries, crashes, retry_at, skipped_rest, approvals: _ } = action;
        let values =
            params![run.number, name, position, state, reason, attempts, tries, crashes, retry_at, skipped_rest];
        tx.db.later(sql, &values);
    }
    run_list::index(&tx.db, run);
    Ok(())
}

/// Records the artifacts that a run is given. Each must still be at its path.
async fn give(tx: &Tx, run: &Run, given: &[ArtifactId]) -> Work<()> {
    if given.is_empty() {
        return Ok(());
    }
    // `ended` is no condition: the index of what is present would be walked.
    let sql = "SELECT id, ended IS NULL AND state <> 'ignored' FROM artifacts WHERE id = ANY ($1)";
    let mut there: BTreeSet<ArtifactId> = BTreeSet::new();
    for row in tx.db.rows(sql, &[given.bind()]).await? {
        if row.get(1)? {
            there.insert(row.get(0)?);
        }
    }
    if let Some(id) = given.iter().find(|id| !there.contains(id)) {
        return Err(Fail::conflict(format!(
            "artifact {id} cannot be worked on again: it was replaced or removed since it was recorded"
        )));
    }
    let sql = "INSERT INTO given (run, artifact) SELECT $1::bigint, seq FROM artifacts WHERE id = ANY ($2)";
    tx.db.later(sql, &[run.number.bind(), given.bind()]);
    Ok(())
}

/// Returns the artifacts that a run was given.
async fn given(db: &Db, number: u64) -> Work<BTreeSet<ArtifactId>> {
    let sql = "SELECT a.id FROM given g JOIN artifacts a ON a.seq = g.artifact WHERE g.run = $1";
    db.rows(sql, &params![number]).await?.iter().map(|row| row.get(0)).collect()
}

/// Claims the oldest `new` artifacts of a resource, or those that are named.
fn take(tx: &Tx, run: &Run, claim: &Claim) {
    let Claim { resource, at_most, only, .. } = claim;
    if let Some(only) = only {
        let sql = "UPDATE artifacts SET state = 'current', run_id = $1
            WHERE id = ANY ($2) AND resource = $3 AND state = 'new'";
        tx.db.later(sql, &[run.id.bind(), only.as_slice().bind(), resource.bind()]);
    } else {
        let most = i64::try_from(at_most.unwrap_or(u64::MAX)).unwrap_or(i64::MAX);
        let sql = "UPDATE artifacts SET state = 'current', run_id = $1 WHERE seq IN
            (SELECT seq FROM artifacts WHERE resource = $2 AND state = 'new' ORDER BY seq LIMIT $3)";
        tx.db.later(sql, &params![run.id, resource, most]);
    }
    // The primary key of `claims` makes a second claim impossible, whatever the states say.
    let sql = "INSERT INTO claims (artifact_id, run)
        SELECT id, $1::bigint FROM artifacts WHERE run_id = $2 AND resource = $3";
    tx.db.later(sql, &params![run.number, run.id, resource]);
    let sql = "INSERT INTO waiting (resource, count, bytes)
        SELECT $2::text, -count(*), -coalesce(sum(size), 0)::bigint FROM artifacts WHERE run_id = $1 AND resource = $2
        ON CONFLICT (resource)
        DO UPDATE SET count = waiting.count + excluded.count, bytes = waiting.bytes + excluded.bytes";
    tx.db.later(sql, &params![run.id, resource]);
}

/// Returns how many artifacts a claim can take, and their bytes.
async fn claimable(tx: &Tx, claim: &Claim) -> Work<(u64, u64)> {
    let Some(only) = &claim.only else {
        let Pending { count, bytes, .. } = pending_as_of(&tx.db, &claim.resource, tx.at.event).await?;
        return Ok((count, bytes));
    };
    let sql = "SELECT count(*), coalesce(sum(size), 0)::bigint FROM artifacts
        WHERE id = ANY ($1) AND resource = $2 AND state = 'new'";
    let row = tx.db.one(sql, &[only.as_slice().bind(), claim.resource.bind()]).await?;
    Ok((row.get(0)?, row.get(1)?))
}

/// Requests the cancellation of a run.
pub(super) async fn request_cancel(tx: &mut Tx, id: RunId, now: Timestamp) -> Work<Option<Run>> {
    let Some(mut run) = find(&tx.db, id).await? else { return Ok(None) };
    if !run.state.ended() && run.state != RunState::Cancelling {
        set_state(tx, &mut run, RunState::Cancelling, None, now);
    }
    Ok(Some(run))
}

/// Resumes a run that has ended. A repeat only returns the run.
pub(super) async fn request_retry(
    tx: &mut Tx,
    id: RunId,
    again: &[String],
    write: WriteId,
    now: Timestamp,
) -> Work<Option<Run>> {
    let Some(mut run) = find(&tx.db, id).await? else { return Ok(None) };
    if tx.db.exists("SELECT 1 FROM runs WHERE id = $1 AND retry = $2", &params![id, write]).await? {
        return Ok(Some(run));
    }
    match run.state {
        RunState::Succeeded if again.is_empty() => {
            return Err(Fail::conflict(format!(
                "run {} has succeeded: there is nothing to retry, except from one of its actions on",
                run.number
            )));
        }
        RunState::Failed | RunState::Cancelled | RunState::Succeeded => {}
        state => {
            return Err(Fail::conflict(format!("run {} is {state}: only a run that has ended is retried", run.number)));
        }
    }
    let all = actions(&tx.db, run.number).await?;
    if let Some(unknown) = again.iter().find(|name| !all.iter().any(|action| action.name == **name)) {
        return Err(Fail::invalid(format!("run {} has no action `{unknown}`", run.number)));
    }
    let not_done = [ActionState::Failed, ActionState::Skipped, ActionState::Cancelled];
    let taken_up = |action: &&RunAction| {
        (not_done.contains(&action.state) || again.contains(&action.name)) && !action.not_triggered()
    };
    if !again.is_empty() && !all.iter().any(|action| taken_up(&action)) {
        return Err(Fail::conflict(format!(
            "nothing had triggered {} in run {}: there is nothing to run again from there on",
            again.join(", "),
            run.number
        )));
    }
    for action in all.iter().filter(taken_up) {
        let sql = "UPDATE run_actions SET state = 'pending', reason = NULL, tries = 0, crashes = 0, retry_at = NULL,
            skipped_rest = false WHERE run = $1 AND name = $2";
        tx.db.later(sql, &params![run.number, action.name]);
        let data = json!({ "state": ActionState::Pending, "reason": null });
        emit(tx, now, NewEvent::of(EventKind::ActionState, data).run(id).action(&action.name));
    }
    tx.db.later("UPDATE artifacts SET state = 'current' WHERE run_id = $1 AND state = 'old'", &params![id]);
    set_state(tx, &mut run, RunState::Running, None, now);
    tx.db.later("UPDATE runs SET retry = $2 WHERE id = $1", &params![id, write]);
    Ok(Some(run))
}
