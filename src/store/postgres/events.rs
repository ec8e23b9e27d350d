//! Events: written in the transactions that they describe.

use serde_json::Value as Data;

use super::db::Db;
use super::sql::{Json, Row, Work, params};
use super::writer::Tx;
use crate::base::bounds::MAX_PAGE;
use crate::base::{RunId, Timestamp};
use crate::model::Event;
pub(super) use crate::store::new_event::NewEvent;

/// The most events that one statement drops.
const PRUNE_BATCH: u64 = 10_000;

/// Writes an event under the next number.
pub(super) fn emit(tx: &mut Tx, now: Timestamp, event: NewEvent<'_>) {
    tx.at.event += 1;
    let sql = "INSERT INTO events (seq, epoch, time, kind, v, run_id, action, attempt, artifact_id, data)
        VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9)";
    let NewEvent { kind, run, action, attempt, artifact, data } = event;
    let data = if data.is_null() { "{}".to_owned() } else { data.to_string() };
    tx.db.later(sql, &params![tx.at.event, tx.epoch, now, kind, run, action, attempt, artifact, data]);
}

/// Events after a number, oldest first.
pub(super) async fn after(db: &Db, after: u64, run: Option<RunId>, limit: u32) -> Work<Vec<Event>> {
    let limit = limit.clamp(1, MAX_PAGE);
    // No event has a number that does not fit into the column.
    let Ok(after) = i64::try_from(after) else { return Ok(Vec::new()) };
    let columns = "SELECT seq, epoch, time, kind, v, run_id, action, attempt, artifact_id, data FROM events";
    let rows = match run {
        None => db.rows(&format!("{columns} WHERE seq > $1 ORDER BY seq LIMIT $2"), &params![after, limit]).await?,
        Some(run) => {
            let sql = format!("{columns} WHERE run_id = $3 AND seq > $1 ORDER BY seq LIMIT $2");
            db.rows(&sql, &params![after, limit, run]).await?
        }
    };
    rows.iter().map(event).collect()
}

fn event(row: &Row) -> Work<Event> {
    Ok(Event {
        seq: row.get(0)?,
        epoch: row.get(1)?,
        time: row.get(2)?,
        kind: row.get(3)?,
        v: row.get(4)?,
        run_id: row.get(5)?,
        action: row.get(6)?,
        attempt: row.get(7)?,
        artifact_id: row.get(8)?,
        data: row.get::<Json<Data>>(9)?.0,
    })
}

/// The number of the oldest event that is kept.
pub(super) async fn oldest(db: &Db) -> Work<u64> {
    match db.row("SELECT seq FROM events ORDER BY seq LIMIT 1", &[]).await? {
        Some(row) => row.get(0),
        None => Ok(newest(db).await? + 1),
    }
}

/// The number of the newest committed event, even if it is no longer kept.
pub(super) async fn newest(db: &Db) -> Work<u64> {
    db.one("SELECT event FROM meta WHERE one", &[]).await?.get(0)
}

/// Drops all events but the newest `keep`, at most one batch of them. Returns how many.
pub(super) async fn prune(tx: &mut Tx, keep: u64) -> Work<u64> {
    let Some(first) = tx.db.row("SELECT seq FROM events ORDER BY seq LIMIT 1", &[]).await? else { return Ok(0) };
    let first: u64 = first.get(0)?;
    let end = tx.at.event.saturating_sub(keep).min(first.saturating_add(PRUNE_BATCH - 1));
    if end < first {
        return Ok(0);
    }
    tx.db.execute("DELETE FROM events WHERE seq <= $1", &params![end]).await
}

/// The most events that one call of [`prune`] drops.
pub(super) const fn prune_batch() -> u64 {
    PRUNE_BATCH
}
