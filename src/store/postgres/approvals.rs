//! Approvals: asked for in the step that lets an action wait, and decided by a write of their own.

use std::collections::BTreeMap;

use serde_json::json;

use super::db::Db;
use super::events::{NewEvent, emit};
use super::run_rows;
use super::sql::{Fail, Row, Work, params};
use super::writer::Tx;
use crate::base::{RunId, Timestamp, WriteId};
use crate::model::{ActionState, Approval, Decision, EventKind, Page, Run, RunState, Verdict};
use crate::store::{AwaitingApproval, PageRequest, decision, page};

/// The columns that [`approval`] reads, in its order, of a table or alias `a`.
macro_rules! approval_columns {
    () => {
        "a.who, a.since, a.until, a.verdict, a.decided_by, a.note, a.decided_at"
    };
}

/// Reads the columns of `approval_columns!`, which begin at `from`.
fn approval(row: &Row, from: usize) -> Work<Approval> {
    let decision = match row.get::<Option<Verdict>>(from + 3)? {
        None => None,
        Some(verdict) => {
            Some(Decision { verdict, by: row.get(from + 4)?, note: row.get(from + 5)?, at: row.get(from + 6)? })
        }
    };
    Ok(Approval { who: row.get(from)?, since: row.get(from + 1)?, until: row.get(from + 2)?, decision })
}

/// The approvals of a run by action, oldest first.
pub(super) async fn of_run(db: &Db, number: u64) -> Work<BTreeMap<String, Vec<Approval>>> {
    let sql = concat!(
        "SELECT a.action, ",
        approval_columns!(),
        " FROM approvals a WHERE a.run = $1 ORDER BY a.action, a.seq"
    );
    let mut all: BTreeMap<String, Vec<Approval>> = BTreeMap::new();
    for row in db.rows(sql, &params![number]).await? {
        all.entry(row.get(0)?).or_default().push(approval(&row, 1)?);
    }
    Ok(all)
}

/// Records that an action waits for approval.
pub(super) fn ask(tx: &mut Tx, run: &Run, action: &str, approval: &Approval, now: Timestamp) {
    let Approval { who, since, until, .. } = approval;
    let sql = "INSERT INTO approvals (run, action, who, since, until, open) VALUES ($1, $2, $3, $4, $5, true)";
    tx.db.later(sql, &params![run.number, action, who, since, until]);
    let data = json!({ "number": run.number, "who": who, "until": until });
    emit(tx, now, NewEvent::of(EventKind::ApprovalRequested, data).run(run.id).action(action));
}

/// Records that an action waits no longer, decided or not.
pub(super) fn close(tx: &Tx, run: &Run, action: &str) {
    let sql = "UPDATE approvals SET open = false WHERE run = $1 AND action = $2 AND open";
    tx.db.later(sql, &params![run.number, action]);
}

/// The newest approval of an action.
struct Newest {
    seq: i64,
    open: bool,
    write: Option<WriteId>,
    approval: Approval,
}

async fn newest(db: &Db, number: u64, action: &str) -> Work<Option<Newest>> {
    let sql = concat!(
        "SELECT a.seq, a.open, a.write, ",
        approval_columns!(),
        " FROM approvals a WHERE a.run = $1 AND a.action = $2 ORDER BY a.seq DESC LIMIT 1"
    );
    let Some(row) = db.row(sql, &params![number, action]).await? else { return Ok(None) };
    Ok(Some(Newest { seq: row.get(0)?, open: row.get(1)?, write: row.get(2)?, approval: approval(&row, 3)? }))
}

/// Decides about an action that waits. A repeat only returns the run.
pub(super) async fn decide(
    tx: &mut Tx,
    id: RunId,
    action: &str,
    decision: &Decision,
    write: WriteId,
) -> Work<Option<Run>> {
    decision::check(decision)?;
    let Some(run) = run_rows::find(&tx.db, id).await? else { return Ok(None) };
    let number = run.number;
    let sql = "SELECT state FROM run_actions WHERE run = $1 AND name = $2";
    let Some(state) = tx.db.row(sql, &params![number, action]).await? else {
        return Err(Fail::conflict(format!("run {number} has no action `{action}`")));
    };
    let state: ActionState = state.get(0)?;
    let asked = newest(&tx.db, number, action).await?;
    if asked.as_ref().is_some_and(|asked| asked.write == Some(write)) {
        return Ok(Some(run));
    }
    match asked {
        Some(asked) if asked.open && !run.state.ended() && run.state != RunState::Cancelling => {
            record(tx, &run, action, asked.seq, decision, write);
        }
        Some(asked) if asked.open => {
            return Err(Fail::conflict(format!("run {number} is being cancelled, so nothing is left to decide")));
        }
        // A decision about an earlier start does not apply to the current one.
        Some(Newest { approval, .. }) if decision::is_in_force(state) => match &approval.decision {
            Some(first) if first.says_the_same(decision) => {}
            first => {
                return Err(Fail::conflict(decision::decided_already(number, action, &approval, first.as_ref())));
            }
        },
        _ => {
            return Err(Fail::conflict(format!(
                "`{action}` of run {number} does not wait for approval: it is {state}"
            )));
        }
    }
    Ok(Some(run))
}

fn record(tx: &mut Tx, run: &Run, action: &str, seq: i64, decision: &Decision, write: WriteId) {
    let Decision { verdict, by, note, at } = decision;
    let sql = "UPDATE approvals SET open = false, verdict = $2, decided_by = $3, note = $4, decided_at = $5, write = $6
        WHERE seq = $1";
    tx.db.later(sql, &params![seq, verdict, by, note, at, write]);
    let data = json!({ "number": run.number, "verdict": verdict, "by": by, "note": note });
    emit(tx, *at, NewEvent::of(EventKind::ApprovalDecided, data).run(run.id).action(action));
}

/// The actions that wait, in the order in which they asked.
pub(super) async fn awaiting(db: &Db, request: &PageRequest) -> Work<Page<AwaitingApproval>> {
    let (after, limit) = (page::after(request)?, page::limit(request));
    let sql = concat!(
        "SELECT a.seq, a.run, r.id, a.action, ",
        approval_columns!(),
        " FROM approvals a JOIN runs r ON r.number = a.run WHERE a.open AND a.seq > $1 ORDER BY a.seq LIMIT $2"
    );
    let waits = |row: &Row| {
        let waits = AwaitingApproval {
            run_number: row.get(1)?,
            run_id: row.get(2)?,
            action: row.get(3)?,
            approval: approval(row, 4)?,
        };
        Ok((row.get(0)?, waits))
    };
    let rows = db.rows(sql, &params![after, limit + 1]).await?;
    Ok(page::cut(rows.iter().map(waits).collect::<Work<_>>()?, limit))
}
