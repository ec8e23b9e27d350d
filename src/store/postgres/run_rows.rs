//! The rows of runs: how they are read, and how their state changes.

use serde_json::json;

use super::db::Db;
use super::events::{NewEvent, emit};
use super::sql::{Json, Row, Work, params};
use super::writer::Tx;
use crate::base::{RunId, Timestamp};
use crate::model::{EventKind, Run, RunState};

/// How many columns [`run`] reads.
pub(super) const RUN_FIELDS: usize = 15;

/// The columns that [`run`] reads, of a table or alias `r`.
macro_rules! run_fields {
    () => {
        "r.number, r.id, r.state, r.cause, r.params, r.revision, r.snapshot, r.created_at, r.started_at, r.ended_at, \
         r.reason, r.rerun_of, r.fired_by, r.run_partition, r.trimmed_at"
    };
}

/// The beginning of a statement that reads rows for [`run`].
macro_rules! run_columns {
    () => {
        concat!("SELECT ", run_fields!(), " FROM runs r")
    };
}

pub(super) use run_fields;

/// Reads the columns of `run_fields!`.
pub(super) fn run(row: &Row) -> Work<Run> {
    Ok(Run {
        number: row.get(0)?,
        id: row.get(1)?,
        state: row.get(2)?,
        trigger: row.get(3)?,
        params: row.get::<Json<serde_json::Value>>(4)?.0,
        revision: row.get(5)?,
        snapshot: row.get(6)?,
        created_at: row.get(7)?,
        started_at: row.get(8)?,
        ended_at: row.get(9)?,
        reason: row.get(10)?,
        rerun_of: row.get(11)?,
        fired_by: row.get::<Json<Vec<String>>>(12)?.0,
        partition: row.get(13)?,
        trimmed_at: row.get(14)?,
    })
}

/// One run; `None` if there is no such run.
pub(super) async fn find(db: &Db, id: RunId) -> Work<Option<Run>> {
    db.row(concat!(run_columns!(), " WHERE r.id = $1"), &params![id]).await?.as_ref().map(run).transpose()
}

/// The run that an attempt's record names by number.
pub(super) async fn by_number(db: &Db, number: u64) -> Work<Option<Run>> {
    // No run has a number that does not fit into the column.
    let Ok(number) = i64::try_from(number) else { return Ok(None) };
    db.row(concat!(run_columns!(), " WHERE r.number = $1"), &params![number]).await?.as_ref().map(run).transpose()
}

/// Sets the state of a run, with all that follows from it, and updates `run`. Makes no event if
/// nothing changes.
pub(super) fn set_state(tx: &mut Tx, run: &mut Run, state: RunState, reason: Option<&str>, now: Timestamp) {
    if run.state == state && run.reason.as_deref() == reason {
        return;
    }
    let retried = run.state.ended();
    run.state = state;
    run.reason = reason.map(str::to_owned);
    run.ended_at = state.ended().then_some(now);
    // The number of the event below.
    let ended_seq = state.ended().then_some(tx.at.event + 1);
    let sql = "UPDATE runs SET state = $2, reason = $3, ended_at = $4, ended_seq = $5, duration = $4 - started_at
        WHERE number = $1";
    tx.db.later(sql, &params![run.number, run.state, run.reason, run.ended_at, ended_seq]);
    if state.ended() {
        let sql = "UPDATE artifacts SET state = 'old' WHERE run_id = $1 AND state = 'current'";
        tx.db.later(sql, &params![run.id]);
    }
    let data = if retried {
        json!({ "number": run.number, "state": run.state, "reason": run.reason, "retried": true })
    } else {
        json!({ "number": run.number, "state": run.state, "reason": run.reason })
    };
    emit(tx, now, NewEvent::of(EventKind::RunState, data).run(run.id));
}
