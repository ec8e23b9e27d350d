//! Marks: what the conditions of triggers have accounted for.

use rusqlite::{Connection, params};

use super::sql::{Json, Work, execute, prepare};
use super::writer::Tx;
use crate::model::{EndedRun, RunState, TriggerMark};

/// All marks.
pub(super) fn all(db: &Connection) -> Work<Vec<TriggerMark>> {
    let sql = "SELECT trigger_name, condition, at, seq, value FROM trigger_marks ORDER BY trigger_name, condition";
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map([], |row| {
        Ok(TriggerMark {
            trigger: row.get(0)?,
            condition: row.get(1)?,
            at: row.get(2)?,
            seq: row.get(3)?,
            value: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Replaces all marks.
pub(super) fn replace(tx: &mut Tx<'_>, marks: &[TriggerMark]) -> Work<()> {
    execute(tx.db, "DELETE FROM trigger_marks", [])?;
    set(tx, marks)
}

/// Sets these marks.
pub(super) fn set(tx: &mut Tx<'_>, marks: &[TriggerMark]) -> Work<()> {
    let sql =
        "INSERT OR REPLACE INTO trigger_marks (trigger_name, condition, at, seq, value) VALUES (?1, ?2, ?3, ?4, ?5)";
    for TriggerMark { trigger, condition, at, seq, value } in marks {
        // SQLite stores a NaN as NULL.
        let value = value.filter(|value| !value.is_nan());
        execute(tx.db, sql, params![trigger, condition, at, seq, value])?;
    }
    Ok(())
}

/// Runs that ended in a state between two events, newest first.
pub(super) fn ended(db: &Connection, state: RunState, after: u64, before: u64, limit: u32) -> Work<Vec<EndedRun>> {
    let sql = "SELECT ended_seq, number, state, fired_by FROM runs INDEXED BY runs_ended
        WHERE state = ?1 AND ended_seq > ?2 AND ended_seq < ?3 ORDER BY ended_seq DESC LIMIT ?4";
    let [after, before] = [after, before].map(|seq| i64::try_from(seq).unwrap_or(i64::MAX));
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map(params![state, after, before, limit], |row| {
        Ok(EndedRun {
            seq: row.get(0)?,
            number: row.get(1)?,
            state: row.get(2)?,
            fired_by: row.get::<_, Json<Vec<String>>>(3)?.0,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
