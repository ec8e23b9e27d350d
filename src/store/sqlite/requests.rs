//! The network requests of attempts.

use rusqlite::{Connection, params};

use super::run_rows;
use super::sql::{Work, execute, prepare};
use crate::base::{AttemptId, RunId};
use crate::model::HttpRequest;

/// Writes the requests of the attempt with this sequence.
pub(super) fn note(db: &Connection, attempt: u64, requests: &[HttpRequest]) -> Work<()> {
    let sql =
        "INSERT INTO requests (attempt, method, scheme, authority, path, outcome, status, bytes_sent, bytes_received,
        duration_us, error) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    for it in requests {
        let HttpRequest { method, scheme, authority, path, outcome, status, error, .. } = it;
        let (sent, received, duration) = (it.bytes_sent, it.bytes_received, it.duration_us);
        let row = params![attempt, method, scheme, authority, path, outcome, status, sent, received, duration, error];
        execute(db, sql, row)?;
    }
    Ok(())
}

/// The network requests of every attempt of a run.
pub(super) fn of_run(db: &Connection, run: RunId) -> Work<Vec<(AttemptId, HttpRequest)>> {
    let Some(run) = run_rows::find(db, run)? else { return Ok(Vec::new()) };
    let sql =
        "SELECT t.id, q.method, q.scheme, q.authority, q.path, q.outcome, q.status, q.bytes_sent, q.bytes_received,
        q.duration_us, q.error FROM attempts t INDEXED BY attempts_run
        CROSS JOIN requests q INDEXED BY requests_attempt ON q.attempt = t.seq WHERE t.run = ?1";
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map([run.number], |row| {
        let request = HttpRequest {
            method: row.get(1)?,
            scheme: row.get(2)?,
            authority: row.get(3)?,
            path: row.get(4)?,
            outcome: row.get(5)?,
            status: row.get(6)?,
            bytes_sent: row.get(7)?,
            bytes_received: row.get(8)?,
            duration_us: row.get(9)?,
            error: row.get(10)?,
        };
        Ok((row.get(0)?, request))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
