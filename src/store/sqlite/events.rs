//! Events: written in the transactions that they describe.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::Value;

use super::sql::{Json, Work, execute, prepare};
use super::writer::Tx;
use crate::base::bounds::MAX_PAGE;
use crate::base::{RunId, Timestamp};
use crate::model::Event;
pub(super) use crate::store::new_event::NewEvent;

/// The most events that one statement drops.
const PRUNE_BATCH: u64 = 10_000;

/// Writes an event under the next number.
pub(super) fn emit(tx: &mut Tx<'_>, now: Timestamp, event: NewEvent<'_>) -> Work<()> {
    tx.at.event += 1;
    let sql = "INSERT INTO events (seq, epoch, time, kind, v, run_id, action, attempt, artifact_id, data)
        VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?8, ?9)";
    let NewEvent { kind, run, action, attempt, artifact, data } = event;
    let data = if data.is_null() { "{}".to_owned() } else { data.to_string() };
    execute(tx.db, sql, params![tx.at.event, tx.epoch, now, kind, run, action, attempt, artifact, data])?;
    Ok(())
}

/// Events after a number, oldest first.
pub(super) fn after(db: &Connection, after: u64, run: Option<RunId>, limit: u32) -> Work<Vec<Event>> {
    let limit = limit.clamp(1, MAX_PAGE);
    // No event has a number that does not fit into the column.
    let Ok(after) = i64::try_from(after) else { return Ok(Vec::new()) };
    let columns = "SELECT seq, epoch, time, kind, v, run_id, action, attempt, artifact_id, data FROM events";
    let events = match run {
        None => prepare(db, &format!("{columns} WHERE seq > ?1 ORDER BY seq LIMIT ?2"))?
            .query_map(params![after, limit], event)?
            .collect::<Result<_, _>>()?,
        Some(run) => prepare(
            db,
            &format!("{columns} INDEXED BY events_run WHERE run_id = ?3 AND seq > ?1 ORDER BY seq LIMIT ?2"),
        )?
        .query_map(params![after, limit, run], event)?
        .collect::<Result<_, _>>()?,
    };
    Ok(events)
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
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
        data: row.get::<_, Json<Value>>(9)?.0,
    })
}

/// The number of the oldest event that is kept.
pub(super) fn oldest(db: &Connection) -> Work<u64> {
    let kept = prepare(db, "SELECT seq FROM events WHERE seq > 0 ORDER BY seq LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    match kept {
        Some(seq) => Ok(seq),
        // [`prune`] records the newest number before it drops events.
        None => Ok(prepare(db, "SELECT event + 1 FROM meta WHERE one = 1")?.query_row([], |row| row.get(0))?),
    }
}

/// The number of the newest event, even if it is no longer kept.
pub(super) fn newest(db: &Connection) -> Work<u64> {
    let kept = prepare(db, "SELECT seq FROM events WHERE seq > 0 ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    match kept {
        Some(seq) => Ok(seq),
        None => Ok(prepare(db, "SELECT event FROM meta WHERE one = 1")?.query_row([], |row| row.get(0))?),
    }
}

/// Drops all events but the newest `keep`, at most one batch of them. Returns how many.
pub(super) fn prune(tx: &mut Tx<'_>, keep: u64) -> Work<u64> {
    let first = oldest(tx.db)?;
    let end = tx.at.event.saturating_sub(keep).min(first.saturating_add(PRUNE_BATCH - 1));
    if end < first {
        return Ok(0);
    }
    execute(tx.db, "UPDATE meta SET event = ?1 WHERE one = 1", [tx.at.event])?;
    Ok(execute(tx.db, "DELETE FROM events WHERE seq <= ?1", [end])? as u64)
}

/// The most events that one call of [`prune`] drops.
pub(super) const fn prune_batch() -> u64 {
    PRUNE_BATCH
}
