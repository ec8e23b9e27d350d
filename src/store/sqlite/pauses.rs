//! Pauses of single resources and actions.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::events::{NewEvent, emit};
use super::sql::{Work, execute, prepare};
use super::writer::Tx;
use crate::base::Timestamp;
use crate::model::{EventKind, NodeKind, Pause};

/// All pauses.
pub(super) fn all(db: &Connection) -> Work<Vec<Pause>> {
    let sql = "SELECT kind, name, since, reason FROM paused_nodes ORDER BY kind, name";
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map([], pause_of)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn pause_of(row: &Row<'_>) -> rusqlite::Result<Pause> {
    Ok(Pause { kind: row.get(0)?, name: row.get(1)?, since: row.get(2)?, reason: row.get(3)? })
}

fn find(db: &Connection, kind: NodeKind, name: &str) -> Work<Option<Pause>> {
    let sql = "SELECT kind, name, since, reason FROM paused_nodes WHERE kind = ?1 AND name = ?2";
    Ok(prepare(db, sql)?.query_row(params![kind, name], pause_of).optional()?)
}

/// Pauses a node. Makes no event if nothing changes.
pub(super) fn pause(
    tx: &mut Tx<'_>,
    kind: NodeKind,
    name: &str,
    reason: Option<String>,
    now: Timestamp,
) -> Work<Pause> {
    let known = find(tx.db, kind, name)?;
    if let Some(known) = known.as_ref().filter(|known| reason.is_none() || known.reason == reason) {
        return Ok(known.clone());
    }
    let pause = Pause { kind, name: name.to_owned(), since: known.map_or(now, |known| known.since), reason };
    let sql = "INSERT OR REPLACE INTO paused_nodes (kind, name, since, reason) VALUES (?1, ?2, ?3, ?4)";
    execute(tx.db, sql, params![kind, name, pause.since, pause.reason])?;
    let data = json!({ "type": kind, "name": name, "reason": pause.reason });
    emit(tx, now, about(NewEvent::of(EventKind::NodePaused, data), kind, name))?;
    Ok(pause)
}

/// Resumes a node. Makes no event if nothing changes.
pub(super) fn resume(tx: &mut Tx<'_>, kind: NodeKind, name: &str, now: Timestamp) -> Work<()> {
    if execute(tx.db, "DELETE FROM paused_nodes WHERE kind = ?1 AND name = ?2", params![kind, name])? == 0 {
        return Ok(());
    }
    let data = json!({ "type": kind, "name": name });
    emit(tx, now, about(NewEvent::of(EventKind::NodeResumed, data), kind, name))
}

/// Names the action in an event about one.
fn about<'a>(event: NewEvent<'a>, kind: NodeKind, name: &'a str) -> NewEvent<'a> {
    match kind {
        NodeKind::Action => event.action(name),
        NodeKind::Resource => event,
    }
}
