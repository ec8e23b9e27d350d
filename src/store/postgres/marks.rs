//! Marks: what the conditions of triggers have accounted for.

use super::db::Db;
use super::sql::{Json, Row, Work, params};
use super::writer::Tx;
use crate::model::{EndedRun, RunState, TriggerMark};

/// All marks.
pub(super) async fn all(db: &Db) -> Work<Vec<TriggerMark>> {
    let sql = "SELECT trigger_name, condition, at, seq, value FROM trigger_marks ORDER BY trigger_name, condition";
    let rows = db.rows(sql, &[]).await?;
    let mark = |row: &Row| {
        Ok(TriggerMark {
            trigger: row.get(0)?,
            condition: row.get(1)?,
            at: row.get(2)?,
            seq: row.get(3)?,
            value: row.get(4)?,
        })
    };
    rows.iter().map(mark).collect()
}

/// Replaces all marks.
pub(super) fn replace(tx: &Tx, marks: &[TriggerMark]) {
    tx.db.later("DELETE FROM trigger_marks", &[]);
    set(tx, marks);
}

/// Sets these marks.
pub(super) fn set(tx: &Tx, marks: &[TriggerMark]) {
    let sql = "INSERT INTO trigger_marks (trigger_name, condition, at, seq, value) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (trigger_name, condition)
        DO UPDATE SET at = excluded.at, seq = excluded.seq, value = excluded.value";
    for TriggerMark { trigger, condition, at, seq, value } in marks {
        // A mark that is not a number marks nothing.
        let value = value.filter(|value| !value.is_nan());
        tx.db.later(sql, &params![trigger, condition, at, seq, value]);
    }
}

/// Runs that ended in a state between two events, newest first.
pub(super) async fn ended(db: &Db, state: RunState, after: u64, before: u64, limit: u32) -> Work<Vec<EndedRun>> {
    let sql = "SELECT ended_seq, number, state, fired_by FROM runs
        WHERE state = $1 AND ended_seq > $2 AND ended_seq < $3 ORDER BY ended_seq DESC LIMIT $4";
    let [after, before] = [after, before].map(|seq| i64::try_from(seq).unwrap_or(i64::MAX));
    let rows = db.rows(sql, &params![state, after, before, limit]).await?;
    let run = |row: &Row| {
        Ok(EndedRun {
            seq: row.get(0)?,
            number: row.get(1)?,
            state: row.get(2)?,
            fired_by: row.get::<Json<Vec<String>>>(3)?.0,
        })
    };
    rows.iter().map(run).collect()
}
