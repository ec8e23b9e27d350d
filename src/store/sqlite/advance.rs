//! A step of a run, as the scheduler decided it: the last part of several transactions, and a
//! transaction of its own.

use rusqlite::{OptionalExtension as _, params};
use serde_json::json;

use super::approvals;
use super::events::{NewEvent, emit};
use super::run_rows::{self, set_state};
use super::sql::{Fail, Work, execute, prepare};
use super::writer::Tx;
use crate::base::{RunId, Timestamp, WriteId};
use crate::model::{ActionState, AttemptState, EventKind, Fence, Run, RunAction, RunState, Usage};
use crate::store::{ActionChange, NewAttempt, RunStep, StartedAttempt, StoreError};

/// Takes a step of a run that does not follow from the end of an attempt. A repeat returns the
/// first answer.
pub(super) fn advance(
    tx: &mut Tx<'_>,
    run: RunId,
    id: WriteId,
    step: &RunStep,
    now: Timestamp,
) -> Work<Vec<StartedAttempt>> {
    if let Some(number) = taken_before(tx, run, id)? {
        return started_before(tx, number, step, tx.epoch);
    }
    let started = follow(tx, run, step, now)?;
    execute(tx.db, "UPDATE runs SET step = ?2 WHERE id = ?1", params![run, id])?;
    Ok(started)
}

/// Returns the number of the run, if this was its last step of that kind.
fn taken_before(tx: &Tx<'_>, run: RunId, id: WriteId) -> Work<Option<u64>> {
    let sql = "SELECT number FROM runs WHERE id = ?1 AND step = ?2";
    Ok(prepare(tx.db, sql)?.query_row(params![run, id], |row| row.get(0)).optional()?)
}

/// Returns the attempts that a step started when a host of this epoch took it: the first answer.
pub(super) fn started_before(tx: &Tx<'_>, run: u64, step: &RunStep, epoch: u64) -> Work<Vec<StartedAttempt>> {
    step.starts.iter().map(|new| attempt_started_before(tx, run, new, epoch)).collect()
}

fn attempt_started_before(tx: &Tx<'_>, run: u64, new: &NewAttempt, epoch: u64) -> Work<StartedAttempt> {
    let sql = "SELECT epoch, token FROM attempts WHERE id = ?1 AND run = ?2";
    let found = prepare(tx.db, sql)?.query_row(params![new.id, run], |row| {
        Ok(Fence { attempt_id: new.id, epoch: row.get(0)?, token: row.get(1)? })
    });
    match found.optional()? {
        Some(fence) if fence.epoch == epoch => Ok(StartedAttempt { fence }),
        // The token on record is another host's: this caller must not get it.
        Some(_) => {
            Err(Fail::Rule(StoreError::Fenced { attempt: new.id, why: "another host has taken it over".to_owned() }))
        }
        None => Err(Fail::conflict(format!("this step of run {run} is on record without attempt {}", new.id))),
    }
}

/// Takes a step of a run, as part of the write that causes it.
pub(super) fn follow(tx: &mut Tx<'_>, id: RunId, step: &RunStep, now: Timestamp) -> Work<Vec<StartedAttempt>> {
    let Some(mut run) = run_rows::find(tx.db, id)? else {
        return Err(Fail::conflict(format!("run {id} is not on record")));
    };
    let moves = !step.actions.is_empty() || !step.starts.is_empty() || step.run.is_some();
    if run.state.ended() && moves {
        return Err(Fail::conflict(format!("run {} has already ended as {}", run.number, run.state)));
    }
    take(tx, &mut run, step, now)
}

/// Takes a step of a run that has not ended, and updates `run`.
pub(super) fn take(tx: &mut Tx<'_>, run: &mut Run, step: &RunStep, now: Timestamp) -> Work<Vec<StartedAttempt>> {
    for change in &step.actions {
        change_action(tx, run, change, now)?;
    }
    let mut started = Vec::with_capacity(step.starts.len());
    for new in &step.starts {
        started.push(start(tx, run, new, now)?);
    }
    if let Some(change) = &step.run {
        // Someone may have cancelled the run since the step was decided. Then it stays `cancelling`
        // until it has ended.
        let overtaken = run.state == RunState::Cancelling && !change.state.ended();
        if !overtaken {
            set_state(tx, run, change.state, change.reason.as_deref(), now)?;
        }
    }
    Ok(started)
}

fn change_action(tx: &mut Tx<'_>, run: &Run, change: &ActionChange, now: Timestamp) -> Work<()> {
    let RunAction { name, state, reason, attempts, tries, crashes, retry_at, skipped_rest, approvals } = &change.action;
    let sql = "UPDATE run_actions SET state = ?3, reason = ?4, attempts = ?5, tries = ?6, crashes = ?7, retry_at = ?8,
        skipped_rest = ?9 WHERE run = ?1 AND name = ?2";
    let changed = execute(
        tx.db,
        sql,
        params![run.number, name, state, reason, attempts, tries, crashes, retry_at, skipped_rest],
    )?;
    if changed == 0 {
        return Err(no_action(run, name));
    }
    if *state == change.before {
        return Ok(());
    }
    let data = json!({ "state": state, "reason": reason });
    emit(tx, now, NewEvent::of(EventKind::ActionState, data).run(run.id).action(name))?;
    match (change.before, *state, approvals.last()) {
        (_, ActionState::AwaitingApproval, Some(approval)) => approvals::ask(tx, run, name, approval, now),
        (ActionState::AwaitingApproval, ..) => approvals::close(tx, run, name),
        _ => Ok(()),
    }
}

fn no_action(run: &Run, name: &str) -> Fail {
    Fail::conflict(format!("run {} has no action `{name}`", run.number))
}

/// Starts an attempt, and issues its token.
fn start(tx: &mut Tx<'_>, run: &mut Run, new: &NewAttempt, now: Timestamp) -> Work<StartedAttempt> {
    let sql = "SELECT 1 FROM attempts INDEXED BY attempts_run WHERE run = ?1 AND action = ?2 AND ended_at IS NULL";
    if prepare(tx.db, sql)?.exists(params![run.number, new.action])? {
        let (action, run) = (&new.action, run.number);
        return Err(Fail::conflict(format!("an attempt of `{action}` in run {run} is running already")));
    }
    tx.at.token += 1;
    let fence = Fence { attempt_id: new.id, epoch: tx.epoch, token: tx.at.token };
    let sql = "INSERT INTO attempts (id, run, action, number, state, started_at, component, grants, skip, usage,
        log_from_segment, log_from_offset, epoch, token) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, ?10, ?11, ?12, ?13)";
    let usage = serde_json::to_string(&Usage::default())?;
    let (state, grants) = (AttemptState::Running, new.grants.to_string());
    let (log_from_segment, log_from_offset) = new.log_from.parts();
    execute(
        tx.db,
        sql,
        params![
            new.id,
            run.number,
            new.action,
            new.number,
            state,
            now,
            new.component_digest,
            grants,
            usage,
            log_from_segment,
            log_from_offset,
            fence.epoch,
            fence.token
        ],
    )?;
    action_runs(tx, run, new, now)?;
    if run.started_at.is_none() {
        run.started_at = Some(now);
        execute(tx.db, "UPDATE runs SET started_at = ?2 WHERE number = ?1", params![run.number, now])?;
    }
    if run.state == RunState::Queued {
        set_state(tx, run, RunState::Running, None, now)?;
    }
    let event = NewEvent::of(EventKind::AttemptStarted, json!({ "number": new.number }));
    emit(tx, now, event.run(run.id).action(&new.action).attempt(new.id))?;
    Ok(StartedAttempt { fence })
}

/// Sets the action of a started attempt to `running`.
fn action_runs(tx: &mut Tx<'_>, run: &Run, new: &NewAttempt, now: Timestamp) -> Work<()> {
    let sql = "SELECT state FROM run_actions WHERE run = ?1 AND name = ?2";
    let mut statement = prepare(tx.db, sql)?;
    let mut rows = statement.query(params![run.number, new.action])?;
    let Some(row) = rows.next()? else { return Err(no_action(run, &new.action)) };
    let before: ActionState = row.get(0)?;
    drop(rows);
    let sql = "UPDATE run_actions SET state = 'running', reason = NULL, retry_at = NULL, attempts = max(attempts, ?3)
        WHERE run = ?1 AND name = ?2";
    execute(tx.db, sql, params![run.number, new.action, new.number])?;
    if before == ActionState::Running {
        return Ok(());
    }
    let data = json!({ "state": ActionState::Running, "reason": null });
    emit(tx, now, NewEvent::of(EventKind::ActionState, data).run(run.id).action(&new.action))
}
