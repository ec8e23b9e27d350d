//! Pauses of single resources and actions.

use serde_json::json;

use super::db::Db;
use super::events::{NewEvent, emit};
use super::sql::{Row, Work, params};
use super::writer::Tx;
use crate::base::Timestamp;
use crate::model::{EventKind, NodeKind, Pause};

/// All pauses.
pub(super) async fn all(db: &Db) -> Work<Vec<Pause>> {
    let rows = db.rows("SELECT kind, name, since, reason FROM paused_nodes ORDER BY kind, name", &[]).await?;
    rows.iter().map(pause_of).collect()
}

fn pause_of(row: &Row) -> Work<Pause> {
    Ok(Pause { kind: row.get(0)?, name: row.get(1)?, since: row.get(2)?, reason: row.get(3)? })
}

async fn find(db: &Db, kind: NodeKind, name: &str) -> Work<Option<Pause>> {
    let sql = "SELECT kind, name, since, reason FROM paused_nodes WHERE kind = $1 AND name = $2";
    db.row(sql, &params![kind, name]).await?.as_ref().map(pause_of).transpose()
}

/// Pauses a node. Makes no event if nothing changes.
pub(super) async fn pause(
    tx: &mut Tx,
    kind: NodeKind,
    name: &str,
    reason: Option<String>,
    now: Timestamp,
) -> Work<Pause> {
    let known = find(&tx.db, kind, name).await?;
    if let Some(known) = known.as_ref().filter(|known| reason.is_none() || known.reason == reason) {
        return Ok(known.clone());
    }
    let pause = Pause { kind, name: name.to_owned(), since: known.map_or(now, |known| known.since), reason };
    let sql = "INSERT INTO paused_nodes (kind, name, since, reason) VALUES ($1, $2, $3, $4)
        ON CONFLICT (kind, name) DO UPDATE SET since = excluded.since, reason = excluded.reason";
    tx.db.later(sql, &params![kind, name, pause.since, pause.reason]);
    let data = json!({ "type": kind, "name": name, "reason": pause.reason });
    emit(tx, now, about(NewEvent::of(EventKind::NodePaused, data), kind, name));
    Ok(pause)
}

/// Resumes a node. Makes no event if nothing changes.
pub(super) async fn resume(tx: &mut Tx, kind: NodeKind, name: &str, now: Timestamp) -> Work<()> {
    let sql = "DELETE FROM paused_nodes WHERE kind = $1 AND name = $2";
    if tx.db.execute(sql, &params![kind, name]).await? > 0 {
        let data = json!({ "type": kind, "name": name });
        emit(tx, now, about(NewEvent::of(EventKind::NodeResumed, data), kind, name));
    }
    Ok(())
}

/// Names the action in an event about one.
fn about<'a>(event: NewEvent<'a>, kind: NodeKind, name: &'a str) -> NewEvent<'a> {
    match kind {
        NodeKind::Action => event.action(name),
        NodeKind::Resource => event,
    }
}
