//! Approvals: asked for in the step that lets an action wait, and decided by a write of their own.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::events::{NewEvent, emit};
use super::run_rows;
use super::sql::{Fail, Work, execute, prepare};
use super::writer::Tx;
use crate::base::{RunId, Timestamp, WriteId};
use crate::model::{ActionState, Approval, Decision, EventKind, Page, Run, RunState, Verdict};
use crate::store::{AwaitingApproval, PageRequest, decision, page};

/// The columns that [`approval`] reads, in its order.
macro_rules! approval_columns {
    () => {
        "who, since, until, verdict, decided_by, note, decided_at"
    };
}

/// Reads the columns of `approval_columns!`, which begin at `from`.
fn approval(row: &Row<'_>, from: usize) -> rusqlite::Result<Approval> {
    let decision = match row.get::<_, Option<Verdict>>(from + 3)? {
        None => None,
        Some(verdict) => {
            Some(Decision { verdict, by: row.get(from + 4)?, note: row.get(from + 5)?, at: row.get(from + 6)? })
        }
    };
    Ok(Approval { who: row.get(from)?, since: row.get(from + 1)?, until: row.get(from + 2)?, decision })
}

/// The approvals of a run by action, oldest first.
pub(super) fn of_run(db: &Connection, number: u64) -> Work<BTreeMap<String, Vec<Approval>>> {
    let sql = concat!(
        "SELECT action, ",
        approval_columns!(),
        " FROM approvals INDEXED BY approvals_run WHERE run = ?1 ORDER BY action, seq"
    );
    let mut statement = prepare(db, sql)?;
    let mut all: BTreeMap<String, Vec<Approval>> = BTreeMap::new();
    for row in statement.query_map([number], |row| Ok((row.get(0)?, approval(row, 1)?)))? {
        let (action, approval): (String, Approval) = row?;
        all.entry(action).or_default().push(approval);
    }
    Ok(all)
}

/// Records that an action waits for approval.
pub(super) fn ask(tx: &mut Tx<'_>, run: &Run, action: &str, approval: &Approval, now: Timestamp) -> Work<()> {
    let Approval { who, since, until, .. } = approval;
    let sql = "INSERT INTO approvals (run, action, who, since, until, open) VALUES (?1, ?2, ?3, ?4, ?5, 1)";
    execute(tx.db, sql, params![run.number, action, who, since, until])?;
    let data = json!({ "number": run.number, "who": who, "until": until });
    emit(tx, now, NewEvent::of(EventKind::ApprovalRequested, data).run(run.id).action(action))
}

/// Records that an action waits no longer, decided or not.
pub(super) fn close(tx: &Tx<'_>, run: &Run, action: &str) -> Work<()> {
    let sql = "UPDATE approvals INDEXED BY approvals_run SET open = 0 WHERE run = ?1 AND action = ?2 AND open = 1";
    execute(tx.db, sql, params![run.number, action])?;
    Ok(())
}

/// The newest approval of an action.
struct Newest {
    seq: i64,
    open: bool,
    write: Option<WriteId>,
    approval: Approval,
}

fn newest(db: &Connection, number: u64, action: &str) -> Work<Option<Newest>> {
    let sql = concat!(
        "SELECT seq, open, write, ",
        approval_columns!(),
        " FROM approvals INDEXED BY approvals_run WHERE run = ?1 AND action = ?2 ORDER BY seq DESC LIMIT 1"
    );
    let found = prepare(db, sql)?.query_row(params![number, action], |row| {
        Ok(Newest { seq: row.get(0)?, open: row.get(1)?, write: row.get(2)?, approval: approval(row, 3)? })
    });
    Ok(found.optional()?)
}

/// Decides about an action that waits. A repeat only returns the run.
pub(super) fn decide(
    tx: &mut Tx<'_>,
    id: RunId,
    action: &str,
    decision: &Decision,
    write: WriteId,
) -> Work<Option<Run>> {
    decision::check(decision)?;
    let Some(run) = run_rows::find(tx.db, id)? else { return Ok(None) };
    let number = run.number;
    let sql = "SELECT state FROM run_actions WHERE run = ?1 AND name = ?2";
    let state = prepare(tx.db, sql)?.query_row(params![number, action], |row| row.get::<_, ActionState>(0));
    let Some(state) = state.optional()? else {
        return Err(Fail::conflict(format!("run {number} has no action `{action}`")));
    };
    let asked = newest(tx.db, number, action)?;
    if asked.as_ref().is_some_and(|asked| asked.write == Some(write)) {
        return Ok(Some(run));
    }
    match asked {
        Some(asked) if asked.open && !run.state.ended() && run.state != RunState::Cancelling => {
            record(tx, &run, action, asked.seq, decision, write)?;
        }
        Some(asked) if asked.open => {
            return Err(Fail::conflict(format!("run {number} is being cancelled, so nothing is left to decide")));
        }
        // A decision about an earlier start does not apply to the current one.
        Some(Newest { approval, .. }) if decision::is_in_force(state) => match &approval.decision {
            Some(first) if first.says_the_same(decision) => {}
            first => return Err(Fail::conflict(decision::decided_already(number, action, &approval, first.as_ref()))),
        },
        _ => {
            return Err(Fail::conflict(format!(
                "`{action}` of run {number} does not wait for approval: it is {state}"
            )));
        }
    }
    Ok(Some(run))
}

fn record(tx: &mut Tx<'_>, run: &Run, action: &str, seq: i64, decision: &Decision, write: WriteId) -> Work<()> {
    let Decision { verdict, by, note, at } = decision;
    let sql = "UPDATE approvals SET open = 0, verdict = ?2, decided_by = ?3, note = ?4, decided_at = ?5, write = ?6
        WHERE seq = ?1";
    execute(tx.db, sql, params![seq, verdict, by, note, at, write])?;
    let data = json!({ "number": run.number, "verdict": verdict, "by": by, "note": note });
    emit(tx, *at, NewEvent::of(EventKind::ApprovalDecided, data).run(run.id).action(action))
}

/// The actions that wait, in the order in which they asked.
pub(super) fn awaiting(db: &Connection, request: &PageRequest) -> Work<Page<AwaitingApproval>> {
    let (after, limit) = (page::after(request)?, page::limit(request));
    let sql =
        "SELECT a.seq, a.run, r.id, a.action, a.who, a.since, a.until, a.verdict, a.decided_by, a.note, a.decided_at
        FROM approvals a INDEXED BY approvals_open CROSS JOIN runs r ON r.number = a.run
        WHERE a.open = 1 AND a.seq > ?1 ORDER BY a.seq LIMIT ?2";
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map(params![after, limit + 1], |row| {
        let waits = AwaitingApproval {
            run_number: row.get(1)?,
            run_id: row.get(2)?,
            action: row.get(3)?,
            approval: approval(row, 4)?,
        };
        Ok((row.get(0)?, waits))
    })?;
    Ok(page::cut(rows.collect::<Result<_, _>>()?, limit))
}
