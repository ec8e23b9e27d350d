//! A step of a run, as the scheduler decided it: the last part of several transactions, and a
//! transaction of its own.

use serde_json::json;

use super::approvals;
use super::events::{NewEvent, emit};
use super::run_rows::{self, set_state};
use super::sql::{Fail, Work, params};
use super::writer::Tx;
use crate::base::{RunId, Timestamp, WriteId};
use crate::model::{ActionState, AttemptState, EventKind, Fence, Run, RunAction, RunState, Usage};
use crate::store::{ActionChange, NewAttempt, RunStep, StartedAttempt, StoreError};

/// Takes a step of a run that does not follow from the end of an attempt. A repeat returns the
/// first answer.
pub(super) async fn advance(
    tx: &mut Tx,
    run: RunId,
    id: WriteId,
    step: &RunStep,
    now: Timestamp,
) -> Work<Vec<StartedAttempt>> {
    let sql = "SELECT number FROM runs WHERE id = $1 AND step = $2";
    if let Some(taken_before) = tx.db.row(sql, &params![run, id]).await? {
        let epoch = tx.epoch;
        return started_before(tx, taken_before.get(0)?, step, epoch).await;
    }
    let started = follow(tx, run, step, now).await?;
    tx.db.later("UPDATE runs SET step = $2 WHERE id = $1", &params![run, id]);
    Ok(started)
}

/// Returns the attempts that a step started when a host of this epoch took it: the first answer.
pub(super) async fn started_before(tx: &Tx, run: u64, step: &RunStep, epoch: u64) -> Work<Vec<StartedAttempt>> {
    let mut started = Vec::with_capacity(step.starts.len());
    for new in &step.starts {
        started.push(attempt_started_before(tx, run, new, epoch).await?);
    }
    Ok(started)
}

async fn attempt_started_before(tx: &Tx, run: u64, new: &NewAttempt, epoch: u64) -> Work<StartedAttempt> {
    let sql = "SELECT epoch, token FROM attempts WHERE id = $1 AND run = $2";
    let Some(row) = tx.db.row(sql, &params![new.id, run]).await? else {
        return Err(Fail::conflict(format!("this step of run {run} is on record without attempt {}", new.id)));
    };
    let fence = Fence { attempt_id: new.id, epoch: row.get(0)?, token: row.get(1)? };
    if fence.epoch != epoch {
        // The token on record is another host's: this caller must not get it.
        let why = "another host has taken it over".to_owned();
        return Err(StoreError::Fenced { attempt: new.id, why }.into());
    }
    Ok(StartedAttempt { fence })
}

/// Takes a step of a run, as part of the write that causes it.
pub(super) async fn follow(tx: &mut Tx, id: RunId, step: &RunStep, now: Timestamp) -> Work<Vec<StartedAttempt>> {
    let Some(mut run) = run_rows::find(&tx.db, id).await? else {
        return Err(Fail::conflict(format!("run {id} is not on record")));
    };
    let moves = !step.actions.is_empty() || !step.starts.is_empty() || step.run.is_some();
    if run.state.ended() && moves {
        return Err(Fail::conflict(format!("run {} has already ended as {}", run.number, run.state)));
    }
    take(tx, &mut run, step, now).await
}

/// Takes a step of a run that has not ended, and updates `run`.
pub(super) async fn take(tx: &mut Tx, run: &mut Run, step: &RunStep, now: Timestamp) -> Work<Vec<StartedAttempt>> {
    for change in &step.actions {
        change_action(tx, run, change, now).await?;
    }
    let mut started = Vec::with_capacity(step.starts.len());
    for new in &step.starts {
        started.push(start(tx, run, new, now).await?);
    }
    if let Some(change) = &step.run {
        // Someone may have cancelled the run since the step was decided. Then it stays `cancelling`
        // until it has ended.
        let overtaken = run.state == RunState::Cancelling && !change.state.ended();
        if !overtaken {
            set_state(tx, run, change.state, change.reason.as_deref(), now);
        }
    }
    Ok(started)
}

async fn change_action(tx: &mut Tx, run: &Run, change: &ActionChange, now: Timestamp) -> Work<()> {
    let RunAction { name, state, reason, attempts, tries, crashes, retry_at, skipped_rest, approvals } = &change.action;
    let sql = "UPDATE run_actions SET state = $3, reason = $4, attempts = $5, tries = $6, crashes = $7, retry_at = $8,
        skipped_rest = $9 WHERE run = $1 AND name = $2";
    let values = params![run.number, name, state, reason, attempts, tries, crashes, retry_at, skipped_rest];
    if tx.db.execute(sql, &values).await? == 0 {
        return Err(no_action(run, name));
    }
    if *state == change.before {
        return Ok(());
    }
    let data = json!({ "state": state, "reason": reason });
    emit(tx, now, NewEvent::of(EventKind::ActionState, data).run(run.id).action(name));
    match (change.before, *state, approvals.last()) {
        (_, ActionState::AwaitingApproval, Some(approval)) => approvals::ask(tx, run, name, approval, now),
        (ActionState::AwaitingApproval, ..) => approvals::close(tx, run, name),
        _ => {}
    }
    Ok(())
}

fn no_action(run: &Run, name: &str) -> Fail {
    Fail::conflict(format!("run {} has no action `{name}`", run.number))
}

/// Starts an attempt, and issues its token.
async fn start(tx: &mut Tx, run: &mut Run, new: &NewAttempt, now: Timestamp) -> Work<StartedAttempt> {
    let sql =
        "SELECT r.state, EXISTS (SELECT 1 FROM attempts a WHERE a.run = $1 AND a.action = $2 AND a.ended_at IS NULL)
        FROM run_actions r WHERE r.run = $1 AND r.name = $2";
    let Some(row) = tx.db.row(sql, &params![run.number, new.action]).await? else {
        return Err(no_action(run, &new.action));
    };
    if row.get(1)? {
        let (action, run) = (&new.action, run.number);
        return Err(Fail::conflict(format!("an attempt of `{action}` in run {run} is running already")));
    }
    tx.at.token += 1;
    let fence = Fence { attempt_id: new.id, epoch: tx.epoch, token: tx.at.token };
    insert(tx, run, new, fence, now)?;
    action_runs(tx, run, new, row.get(0)?, now);
    if run.started_at.is_none() {
        run.started_at = Some(now);
        tx.db.later("UPDATE runs SET started_at = $2 WHERE number = $1", &params![run.number, now]);
    }
    if run.state == RunState::Queued {
        set_state(tx, run, RunState::Running, None, now);
    }
    let event = NewEvent::of(EventKind::AttemptStarted, json!({ "number": new.number }));
    emit(tx, now, event.run(run.id).action(&new.action).attempt(new.id));
    Ok(StartedAttempt { fence })
}

fn insert(tx: &Tx, run: &Run, new: &NewAttempt, fence: Fence, now: Timestamp) -> Work<()> {
    let sql = "INSERT INTO attempts (id, run, action, number, state, started_at, component, grants, usage,
        log_from_segment, log_from_offset, epoch, token) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    let usage = serde_json::to_string(&Usage::default())?;
    let (state, grants) = (AttemptState::Running, new.grants.to_string());
    let (log_from_segment, log_from_offset) = new.log_from.parts();
    let values = params![
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
    ];
    tx.db.later(sql, &values);
    Ok(())
}

/// Sets the action of a started attempt to `running`.
fn action_runs(tx: &mut Tx, run: &Run, new: &NewAttempt, before: ActionState, now: Timestamp) {
    let sql =
        "UPDATE run_actions SET state = 'running', reason = NULL, retry_at = NULL, attempts = greatest(attempts, $3)
        WHERE run = $1 AND name = $2";
    tx.db.later(sql, &params![run.number, new.action, new.number]);
    if before != ActionState::Running {
        let data = json!({ "state": ActionState::Running, "reason": null });
        emit(tx, now, NewEvent::of(EventKind::ActionState, data).run(run.id).action(&new.action));
    }
}
