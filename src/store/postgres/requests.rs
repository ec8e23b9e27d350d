//! The network requests of attempts.

use super::db::Db;
use super::run_rows;
use super::sql::{Row, Work, params};
use crate::base::{AttemptId, RunId};
use crate::model::HttpRequest;

/// Writes the requests of the attempt with this sequence.
pub(super) fn note(db: &Db, attempt: u64, requests: &[HttpRequest]) {
    let sql =
        "INSERT INTO requests (attempt, method, scheme, authority, path, outcome, status, bytes_sent, bytes_received,
        duration_us, error) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    for it in requests {
        let HttpRequest { method, scheme, authority, path, outcome, status, error, .. } = it;
        let (sent, received, duration) = (it.bytes_sent, it.bytes_received, it.duration_us);
        let values =
            params![attempt, method, scheme, authority, path, outcome, status, sent, received, duration, error];
        db.later(sql, &values);
    }
}

/// The network requests of every attempt of a run.
pub(super) async fn of_run(db: &Db, run: RunId) -> Work<Vec<(AttemptId, HttpRequest)>> {
    let Some(run) = run_rows::find(db, run).await? else { return Ok(Vec::new()) };
    let sql =
        "SELECT t.id, q.method, q.scheme, q.authority, q.path, q.outcome, q.status, q.bytes_sent, q.bytes_received,
        q.duration_us, q.error FROM attempts t JOIN requests q ON q.attempt = t.seq
        WHERE t.run = $1 ORDER BY t.action, t.number, q.seq";
    let request = |row: &Row| {
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
    };
    db.rows(sql, &params![run.number]).await?.iter().map(request).collect()
}
