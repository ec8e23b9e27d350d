//! Creates runs with their claims, reads them, and cancels or retries them.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::artifacts::{self, Change, change_waiting, pending};
use super::events::{NewEvent, emit};
use super::run_list;
use super::run_rows::{find, set_state};
use super::sql::{Fail, Work, execute, prepare};
use super::ticks;
use super::writer::Tx;
use super::{advance, approvals, attempts, marks};
use crate::base::bounds::MAX_PAGE;
use crate::base::{ArtifactId, RunId, Timestamp, WriteId};
use crate::model::{ActionState, Artifact, EventKind, Page, Pending, Run, RunAction, RunDetail, RunState};
use crate::store::{Claim, CreatedRun, NewRun, PageRequest, page};

/// Returns a page of the inputs of a run, in the order of recording.
pub(super) fn inputs(db: &Connection, run: RunId, request: &PageRequest) -> Work<Page<Artifact>> {
    let (after, limit) = (page::after(request)?, page::limit(request));
    Ok(page::cut(artifacts::inputs_after(db, run, after, limit + 1)?, limit))
}

/// Returns the number of inputs of a run.
pub(super) fn count_inputs(db: &Connection, run: RunId) -> Work<u64> {
    let sql = "SELECT (SELECT count(*) FROM artifacts INDEXED BY artifacts_run WHERE run_id = ?1)
        + (SELECT count(*) FROM given WHERE run = (SELECT number FROM runs WHERE id = ?1))";
    Ok(prepare(db, sql)?.query_row([run], |row| row.get(0))?)
}

/// How many runs are in a state.
pub(super) fn count(db: &Connection, state: RunState) -> Work<u64> {
    let sql = "SELECT count(*) FROM runs INDEXED BY runs_state WHERE state = ?1";
    Ok(prepare(db, sql)?.query_row([state], |row| row.get(0))?)
}

/// One run with its actions and attempts.
pub(super) fn progress(db: &Connection, id: RunId) -> Work<Option<RunDetail>> {
    let Some(run) = find(db, id)? else { return Ok(None) };
    let actions = actions(db, run.number)?;
    let attempts = attempts::of_run(db, &run)?;
    Ok(Some(RunDetail { run, actions, attempts }))
}

/// The actions of a run, in the order of the manifest.
fn actions(db: &Connection, number: u64) -> Work<Vec<RunAction>> {
    let sql = "SELECT position, name, state, reason, attempts, tries, crashes, retry_at, skipped_rest
        FROM run_actions WHERE run = ?1";
    let mut approvals = approvals::of_run(db, number)?;
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map([number], |row| {
        let position: u64 = row.get(0)?;
        let name: String = row.get(1)?;
        let action = RunAction {
            approvals: approvals.remove(&name).unwrap_or_default(),
            name,
            state: row.get(2)?,
            reason: row.get(3)?,
            attempts: row.get(4)?,
            tries: row.get(5)?,
            crashes: row.get(6)?,
            retry_at: row.get(7)?,
            skipped_rest: row.get(8)?,
        };
        Ok((position, action))
    })?;
    let mut actions: Vec<_> = rows.collect::<Result<_, _>>()?;
    actions.sort_by_key(|(position, _)| *position);
    Ok(actions.into_iter().map(|(_, action)| action).collect())
}

/// Creates a run and claims its inputs; `None` if a claim finds too few. A repeat returns the first
/// answer.
pub(super) fn create(tx: &mut Tx<'_>, new: NewRun, now: Timestamp) -> Work<Option<CreatedRun>> {
    if let Some(run) = find(tx.db, new.id)? {
        return created_before(tx, run, new).map(Some);
    }
    if !prepare(tx.db, "SELECT 1 FROM revisions WHERE digest = ?1")?.exists([new.revision])? {
        return Err(Fail::invalid(format!("manifest {} is not on record; register it before its runs", new.revision)));
    }
    for (index, claim) in new.claims.iter().enumerate() {
        if new.claims.iter().take(index).any(|other| other.resource == claim.resource) {
            return Err(Fail::invalid(format!("a run cannot claim from `{}` twice", claim.resource)));
        }
        let (count, bytes) = claimable(tx.db, claim)?;
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
    give(tx, &run, &new.given)?;
    claim(tx, &run, &new.claims)?;
    let (inputs, count) = first_inputs(tx.db, &run, new.claims.is_empty() && new.given.is_empty())?;
    let data = json!({ "number": run.number, "trigger": run.trigger, "inputs": count });
    emit(tx, now, NewEvent::of(EventKind::RunCreated, data).run(run.id))?;
    for mut tick in new.ticks {
        tick.run_id = Some(run.id);
        ticks::record(tx, &tick)?;
    }
    marks::set(tx, &new.marks)?;
    let started = advance::take(tx, &mut run.clone(), &new.step, now)?;
    let pending = left_waiting(tx.db, &new.claims)?;
    let detail = RunDetail { run, actions: new.actions, attempts: Vec::new() };
    Ok(Some(CreatedRun { detail, inputs, started, pending }))
}

/// Returns the first inputs of a run, and the number of all. `none` says that it has none.
fn first_inputs(db: &Connection, run: &Run, none: bool) -> Work<(Page<Artifact>, u64)> {
    if none {
        return Ok((Page { items: Vec::new(), next_cursor: None }, 0));
    }
    let page = inputs(db, run.id, &PageRequest { cursor: None, limit: MAX_PAGE })?;
    let count = if page.next_cursor.is_none() { page.items.len() as u64 } else { count_inputs(db, run.id)? };
    Ok((page, count))
}

/// Returns the first answer to the creation of a run that exists, if the same run is requested.
fn created_before(tx: &Tx<'_>, run: Run, new: NewRun) -> Work<CreatedRun> {
    let sql = "SELECT 1 FROM runs WHERE number = ?1 AND cause = ?2 AND params = ?3 AND revision = ?4
        AND rerun_of IS ?5";
    let values = params![run.number, new.trigger, new.params.to_string(), new.revision, new.rerun_of];
    let on_record = actions(tx.db, run.number)?;
    let same_actions = on_record.iter().map(|action| &action.name).eq(new.actions.iter().map(|action| &action.name));
    let same_run = same_actions && prepare(tx.db, sql)?.exists(values)?;
    if !same_run || given(tx.db, run.number)? != new.given.iter().copied().collect() {
        return Err(Fail::conflict(format!("run {} already exists, and was created with different arguments", new.id)));
    }
    let started = advance::started_before(tx, run.number, &new.step, tx.epoch)?;
    let (inputs, _) = first_inputs(tx.db, &run, false)?;
    let pending = left_waiting(tx.db, &new.claims)?;
    // As it was before its first step.
    let run = Run { state: RunState::Queued, started_at: None, ended_at: None, reason: None, ..run };
    let detail = RunDetail { run, actions: new.actions, attempts: Vec::new() };
    Ok(CreatedRun { detail, inputs, started, pending })
}

/// Returns the pending artifacts of each resource that is claimed from.
fn left_waiting(db: &Connection, claims: &[Claim]) -> Work<Vec<(String, Pending)>> {
    claims.iter().map(|claim| Ok((claim.resource.clone(), pending(db, &claim.resource)?))).collect()
}

fn insert(tx: &Tx<'_>, run: &Run, actions: &[RunAction]) -> Work<()> {
    let sql = "INSERT INTO runs (number, id, state, cause, params, revision, snapshot, created_at, rerun_of, fired_by, run_partition)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let params = run.params.to_string();
    let fired_by = serde_json::to_string(&run.fired_by)?;
    execute(
        tx.db,
        sql,
        params![
            run.number,
            run.id,
            run.state,
            run.trigger,
            params,
            run.revision,
            run.snapshot,
            run.created_at,
            run.rerun_of,
            fired_by,
            run.partition
        ],
    )?;
    let sql = "INSERT INTO run_actions
        (run, name, position, state, reason, attempts, tries, crashes, retry_at, skipped_rest)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    for (position, action) in actions.iter().enumerate() {
        // A new action has asked for no approval.
        let RunAction { name, state, reason, attempts, tries, crashes, retry_at, skipped_rest, approvals: _ } = action;
        execute(
            tx.db,
            sql,
            params![run.number, name, position, state, reason, attempts, tries, crashes, retry_at, skipped_rest],
        )?;
    }
    run_list::index(tx.db, run)
}

/// Records the artifacts that a run is given. Each must still be at its path.
fn give(tx: &Tx<'_>, run: &Run, given: &[ArtifactId]) -> Work<()> {
    for id in given {
        let sql = "SELECT seq FROM artifacts WHERE id = ?1 AND ended IS NULL AND state <> 'ignored'";
        let found = prepare(tx.db, sql)?.query_row([id], |row| row.get::<_, i64>(0)).optional()?;
        let Some(seq) = found else {
            return Err(Fail::conflict(format!(
                "artifact {id} cannot be worked on again: it was replaced or removed since it was recorded"
            )));
        };
        execute(tx.db, "INSERT OR IGNORE INTO given (run, artifact) VALUES (?1, ?2)", params![run.number, seq])?;
    }
    Ok(())
}

/// Returns the artifacts that a run was given.
fn given(db: &Connection, number: u64) -> Work<BTreeSet<ArtifactId>> {
    let sql = "SELECT a.id FROM given g CROSS JOIN artifacts a ON a.seq = g.artifact WHERE g.run = ?1";
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map([number], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Claims the oldest `new` artifacts.
fn claim(tx: &mut Tx<'_>, run: &Run, claims: &[Claim]) -> Work<()> {
    for claim in claims {
        if let Some(only) = &claim.only {
            claim_only(tx, run, &claim.resource, only)?;
            continue;
        }
        let most = i64::try_from(claim.at_most.unwrap_or(u64::MAX)).unwrap_or(i64::MAX);
        // The primary key of `claims` makes a second claim impossible, whatever the states say.
        let sql = "INSERT INTO claims (artifact_id, run) SELECT id, ?1 FROM artifacts INDEXED BY artifacts_waiting
            WHERE resource = ?2 AND state = 'new' ORDER BY seq LIMIT ?3";
        execute(tx.db, sql, params![run.number, claim.resource, most])?;
        let sql = "UPDATE artifacts SET state = 'current', run_id = ?1 WHERE seq IN
            (SELECT seq FROM artifacts INDEXED BY artifacts_waiting
             WHERE resource = ?2 AND state = 'new' ORDER BY seq LIMIT ?3)";
        execute(tx.db, sql, params![run.id, claim.resource, most])?;
    }
    for claim in claims {
        let sql = "SELECT -count(*), -coalesce(sum(size), 0) FROM artifacts INDEXED BY artifacts_run
            WHERE run_id = ?1 AND resource = ?2";
        let read = |row: &Row<'_>| Ok(Change { count: row.get(0)?, bytes: row.get(1)? });
        let change = prepare(tx.db, sql)?.query_row(params![run.id, claim.resource], read)?;
        change_waiting(tx, &claim.resource, change)?;
    }
    Ok(())
}

/// Claims those of these artifacts that are pending.
fn claim_only(tx: &Tx<'_>, run: &Run, resource: &str, only: &[ArtifactId]) -> Work<()> {
    for id in only {
        let sql =
            "UPDATE artifacts SET state = 'current', run_id = ?1 WHERE id = ?2 AND resource = ?3 AND state = 'new'";
        if execute(tx.db, sql, params![run.id, id, resource])? > 0 {
            execute(tx.db, "INSERT INTO claims (artifact_id, run) VALUES (?1, ?2)", params![id, run.number])?;
        }
    }
    Ok(())
}

/// Returns how many artifacts a claim can take, and their bytes.
fn claimable(db: &Connection, claim: &Claim) -> Work<(u64, u64)> {
    let Some(only) = &claim.only else {
        let Pending { count, bytes, .. } = pending(db, &claim.resource)?;
        return Ok((count, bytes));
    };
    let (mut count, mut bytes) = (0, 0);
    for id in only {
        let sql = "SELECT size FROM artifacts WHERE id = ?1 AND resource = ?2 AND state = 'new'";
        let size = prepare(db, sql)?.query_row(params![id, claim.resource], |row| row.get::<_, u64>(0)).optional()?;
        if let Some(size) = size {
            (count, bytes) = (count + 1, bytes + size);
        }
    }
    Ok((count, bytes))
}

/// Requests the cancellation of a run.
pub(super) fn request_cancel(tx: &mut Tx<'_>, id: RunId, now: Timestamp) -> Work<Option<Run>> {
    let Some(mut run) = find(tx.db, id)? else { return Ok(None) };
    if !run.state.ended() && run.state != RunState::Cancelling {
        set_state(tx, &mut run, RunState::Cancelling, None, now)?;
    }
    Ok(Some(run))
}

/// Resumes a run that has ended. A repeat only returns the run.
pub(super) fn request_retry(
    tx: &mut Tx<'_>,
    id: RunId,
    again: &[String],
    write: WriteId,
    now: Timestamp,
) -> Work<Option<Run>> {
    let Some(mut run) = find(tx.db, id)? else { return Ok(None) };
    if prepare(tx.db, "SELECT 1 FROM runs WHERE id = ?1 AND retry = ?2")?.exists(params![id, write])? {
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
    let all = actions(tx.db, run.number)?;
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
            skipped_rest = 0 WHERE run = ?1 AND name = ?2";
        execute(tx.db, sql, params![run.number, action.name])?;
        let data = json!({ "state": ActionState::Pending, "reason": null });
        emit(tx, now, NewEvent::of(EventKind::ActionState, data).run(id).action(&action.name))?;
    }
    let sql = "UPDATE artifacts INDEXED BY artifacts_run SET state = 'current' WHERE run_id = ?1 AND state = 'old'";
    execute(tx.db, sql, [id])?;
    set_state(tx, &mut run, RunState::Running, None, now)?;
    execute(tx.db, "UPDATE runs SET retry = ?2 WHERE id = ?1", params![id, write])?;
    Ok(Some(run))
}
