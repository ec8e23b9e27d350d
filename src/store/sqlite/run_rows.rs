//! The rows of runs: how they are read, and how their state changes.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::events::{NewEvent, emit};
use super::sql::{Json, Work, execute, prepare};
use super::writer::Tx;
use crate::base::{RunId, Timestamp};
use crate::model::{EventKind, Run, RunState};

/// How many columns [`run`] reads.
pub(super) const RUN_FIELDS: usize = 15;

/// The columns that [`run`] reads.
macro_rules! run_fields {
    () => {
        "number, id, state, cause, params, revision, snapshot, created_at, started_at, ended_at, reason, rerun_of, fired_by, run_partition, trimmed_at"
    };
}

/// The beginning of a statement that reads rows for [`run`].
macro_rules! run_columns {
    () => {
        concat!("SELECT ", run_fields!(), " FROM runs")
    };
}

pub(super) use run_fields;

/// Reads the columns of `run_fields!`.
pub(super) fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        number: row.get(0)?,
        id: row.get(1)?,
        state: row.get(2)?,
        trigger: row.get(3)?,
        params: row.get::<_, Json<serde_json::Value>>(4)?.0,
        revision: row.get(5)?,
        snapshot: row.get(6)?,
        created_at: row.get(7)?,
        started_at: row.get(8)?,
        ended_at: row.get(9)?,
        reason: row.get(10)?,
        rerun_of: row.get(11)?,
        fired_by: row.get::<_, Json<Vec<String>>>(12)?.0,
        partition: row.get(13)?,
        trimmed_at: row.get(14)?,
    })
}

/// One run; `None` if there is no such run.
pub(super) fn find(db: &Connection, id: RunId) -> Work<Option<Run>> {
    Ok(prepare(db, concat!(run_columns!(), " WHERE id = ?1"))?.query_row([id], run).optional()?)
}

/// The run that an attempt's record names by number.
pub(super) fn by_number(db: &Connection, number: u64) -> Work<Option<Run>> {
    // No run has a number that does not fit into the column.
    let Ok(number) = i64::try_from(number) else { return Ok(None) };
    Ok(prepare(db, concat!(run_columns!(), " WHERE number = ?1"))?.query_row([number], run).optional()?)
}

/// Sets the state of a run, with all that follows from it, and updates `run`. Makes no event if
/// nothing changes.
pub(super) fn set_state(
    tx: &mut Tx<'_>,
    run: &mut Run,
    state: RunState,
    reason: Option<&str>,
    now: Timestamp,
) -> Work<()> {
    if run.state == state && run.reason.as_deref() == reason {
        return Ok(());
    }
    let retried = run.state.ended();
    run.state = state;
    run.reason = reason.map(str::to_owned);
    run.ended_at = state.ended().then_some(now);
    // The number of the event below.
    let ended_seq = state.ended().then_some(tx.at.event + 1);
    let sql = "UPDATE runs SET state = ?2, reason = ?3, ended_at = ?4, ended_seq = ?5, duration = ?4 - started_at
        WHERE number = ?1";
    execute(tx.db, sql, params![run.number, run.state, run.reason, run.ended_at, ended_seq])?;
    if state.ended() {
        let sql = "UPDATE artifacts INDEXED BY artifacts_run SET state = 'old' WHERE run_id = ?1 AND state = 'current'";
        execute(tx.db, sql, [run.id])?;
    }
    let data = if retried {
        json!({ "number": run.number, "state": run.state, "reason": run.reason, "retried": true })
    } else {
        json!({ "number": run.number, "state": run.state, "reason": run.reason })
    };
    emit(tx, now, NewEvent::of(EventKind::RunState, data).run(run.id))
}
