//! Notifications, and the results of their deliveries.

use super::db::Db;
use super::sql::{Row, Work, params};
use super::writer::Tx;
use crate::base::{NotificationId, Timestamp};
use crate::model::{Delivery, Notification, NotificationState, NotifyCause, Page};
use crate::store::write::MAX_NOTIFICATIONS;
use crate::store::{NotificationQuery, PageRequest, page};

/// How many notifications are dropped at once, which keeps dropping rare and short.
const PRUNE_BATCH: u64 = 1_000;

const COLUMNS: &str = "SELECT seq, id, name, channel, cause, event, run_id, run_number, resource, title, text, state,
    attempts, error, created_at, ended_at FROM notifications";

fn notification(row: &Row) -> Work<Notification> {
    Ok(Notification {
        id: row.get(1)?,
        name: row.get(2)?,
        channel: row.get(3)?,
        cause: row.get(4)?,
        event: row.get(5)?,
        run_id: row.get(6)?,
        run_number: row.get(7)?,
        resource: row.get(8)?,
        title: row.get(9)?,
        text: row.get(10)?,
        state: row.get(11)?,
        attempts: row.get(12)?,
        error: row.get(13)?,
        created_at: row.get(14)?,
        ended_at: row.get(15)?,
    })
}

/// The last event that was examined.
pub(super) async fn cursor(db: &Db) -> Work<Option<u64>> {
    db.one("SELECT notified FROM meta WHERE one", &[]).await?.get(0)
}

/// The resources that cannot be reached, each with a receiver that was told so.
pub(super) async fn told_outages(db: &Db) -> Work<Vec<(String, String)>> {
    let rows = db.rows("SELECT resource, name FROM told_outages ORDER BY resource, name", &[]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Records that a resource can be reached again.
pub(super) fn note_reachable(tx: &Tx, resource: &str) {
    tx.db.later("DELETE FROM told_outages WHERE resource = $1", &params![resource]);
}

/// Records notifications, and how far events were examined. Existing notifications stay unchanged.
pub(super) async fn record(tx: &Tx, examined: Option<u64>, new: &[Notification]) -> Work<()> {
    // The newest is never dropped, so the next number is one more than it.
    let sql = "INSERT INTO notifications (seq, id, name, channel, cause, event, run_id, run_number, resource, title,
        text, state, attempts, error, created_at, ended_at)
        VALUES ((SELECT coalesce(max(seq), 0) + 1 FROM notifications),
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        ON CONFLICT (id) DO NOTHING RETURNING seq";
    for it in new {
        let Notification { id, name, channel, cause, event, run_id, run_number, resource, title, .. } = it;
        let Notification { text, state, attempts, error, created_at, ended_at, .. } = it;
        let values = params![
            id, name, channel, cause, event, run_id, run_number, resource, title, text, state, attempts, error,
            created_at, ended_at
        ];
        let Some(row) = tx.db.row(sql, &values).await? else { continue };
        if let (NotifyCause::ResourceUnreachable, Some(resource)) = (cause, resource) {
            let sql = "INSERT INTO told_outages (resource, name) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            tx.db.later(sql, &params![resource, name]);
        }
        prune(tx, row.get(0)?, MAX_NOTIFICATIONS);
    }
    if let Some(examined) = examined {
        let sql = "UPDATE meta SET notified = $1 WHERE one AND (notified IS NULL OR notified < $1)";
        tx.db.later(sql, &params![examined]);
    }
    Ok(())
}

/// Drops the oldest so that at most `most` are left, a batch at a time.
fn prune(tx: &Tx, newest: u64, most: u64) {
    if newest.is_multiple_of(PRUNE_BATCH) && newest + PRUNE_BATCH > most {
        let last = (newest + PRUNE_BATCH).saturating_sub(most);
        tx.db.later("DELETE FROM notifications WHERE seq <= $1", &params![last]);
    }
}

/// Records the result of an attempt to deliver. One that has ended is not changed.
pub(super) fn note_delivery(tx: &Tx, id: NotificationId, delivery: &Delivery, now: Timestamp) {
    let sql = "UPDATE notifications SET state = $2, attempts = $3, error = $4, ended_at = $5
        WHERE id = $1 AND state = 'waiting'";
    let Delivery { state, attempts, error } = delivery;
    let ended = (*state != NotificationState::Waiting).then_some(now);
    tx.db.later(sql, &params![id, state, attempts, error, ended]);
}

/// Notifications, newest first.
pub(super) async fn list(db: &Db, query: &NotificationQuery, request: &PageRequest) -> Work<Page<Notification>> {
    let (before, limit) = (page::before(request)?, page::limit(request));
    let rows = match &query.name {
        None => {
            let sql = format!("{COLUMNS} WHERE seq < $1 ORDER BY seq DESC LIMIT $2");
            db.rows(&sql, &params![before, limit + 1]).await?
        }
        Some(name) => {
            let sql = format!("{COLUMNS} WHERE name = $3 AND seq < $1 ORDER BY seq DESC LIMIT $2");
            db.rows(&sql, &params![before, limit + 1, name]).await?
        }
    };
    let items: Work<Vec<_>> = rows.iter().map(|row| Ok((row.get(0)?, notification(row)?))).collect();
    Ok(page::cut(items?, limit))
}

/// The notifications for a receiver that wait for delivery, oldest first.
pub(super) async fn waiting(db: &Db, name: &str, limit: u32) -> Work<Vec<Notification>> {
    let sql = format!("{COLUMNS} WHERE name = $1 AND state = 'waiting' ORDER BY seq LIMIT $2");
    db.rows(&sql, &params![name, limit]).await?.iter().map(notification).collect()
}

/// The newest notification for a receiver with this cause about this resource, or about none.
pub(super) async fn last(
    db: &Db,
    name: &str,
    cause: NotifyCause,
    resource: Option<&str>,
) -> Work<Option<Notification>> {
    let row = if let Some(resource) = resource {
        let sql = format!("{COLUMNS} WHERE name = $1 AND cause = $2 AND resource = $3 ORDER BY seq DESC LIMIT 1");
        db.row(&sql, &params![name, cause, resource]).await?
    } else {
        let sql = format!("{COLUMNS} WHERE name = $1 AND cause = $2 AND resource IS NULL ORDER BY seq DESC LIMIT 1");
        db.row(&sql, &params![name, cause]).await?
    };
    row.as_ref().map(notification).transpose()
}
