//! Notifications, and the results of their deliveries.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::sql::{Work, execute, prepare};
use super::writer::Tx;
use crate::base::{NotificationId, Timestamp};
use crate::model::{Delivery, Notification, NotificationState, NotifyCause, Page};
use crate::store::write::MAX_NOTIFICATIONS;
use crate::store::{NotificationQuery, PageRequest, page};

/// How many notifications are dropped at once, which keeps dropping rare and short.
const PRUNE_BATCH: u64 = 1_000;

const COLUMNS: &str = "SELECT seq, id, name, channel, cause, event, run_id, run_number, resource, title, text, state,
    attempts, error, created_at, ended_at FROM notifications";

fn notification(row: &Row<'_>) -> rusqlite::Result<Notification> {
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
pub(super) fn cursor(db: &Connection) -> Work<Option<u64>> {
    Ok(prepare(db, "SELECT notified FROM meta WHERE one = 1")?.query_row([], |row| row.get(0))?)
}

/// The resources that cannot be reached, each with a receiver that was told so.
pub(super) fn told_outages(db: &Connection) -> Work<Vec<(String, String)>> {
    let mut statement = prepare(db, "SELECT resource, name FROM told_outages ORDER BY resource, name")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Records that a resource can be reached again.
pub(super) fn note_reachable(tx: &mut Tx<'_>, resource: &str) -> Work<()> {
    execute(tx.db, "DELETE FROM told_outages WHERE resource = ?1", [resource])?;
    Ok(())
}

/// Records notifications, and how far events were examined. Existing notifications stay unchanged.
pub(super) fn record(tx: &mut Tx<'_>, examined: Option<u64>, new: &[Notification]) -> Work<()> {
    let sql =
        "INSERT OR IGNORE INTO notifications (id, name, channel, cause, event, run_id, run_number, resource, title,
        text, state, attempts, error, created_at, ended_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    for it in new {
        let Notification { id, name, channel, cause, event, run_id, run_number, resource, title, .. } = it;
        let Notification { text, state, attempts, error, created_at, ended_at, .. } = it;
        let row = params![
            id, name, channel, cause, event, run_id, run_number, resource, title, text, state, attempts, error,
            created_at, ended_at
        ];
        if execute(tx.db, sql, row)? == 1 {
            if let (NotifyCause::ResourceUnreachable, Some(resource)) = (cause, resource) {
                execute(
                    tx.db,
                    "INSERT OR IGNORE INTO told_outages (resource, name) VALUES (?1, ?2)",
                    [resource, name],
                )?;
            }
            prune(tx, u64::try_from(tx.db.last_insert_rowid()).unwrap_or(0), MAX_NOTIFICATIONS)?;
        }
    }
    if let Some(examined) = examined {
        let sql = "UPDATE meta SET notified = ?1 WHERE one = 1 AND (notified IS NULL OR notified < ?1)";
        execute(tx.db, sql, [examined])?;
    }
    Ok(())
}

/// Drops the oldest so that at most `most` are left, a batch at a time.
fn prune(tx: &mut Tx<'_>, newest: u64, most: u64) -> Work<()> {
    if newest.is_multiple_of(PRUNE_BATCH) && newest + PRUNE_BATCH > most {
        // Not through `execute`, because the conformance suite never gets here to test the plan.
        tx.db.execute("DELETE FROM notifications WHERE seq <= ?1", [(newest + PRUNE_BATCH).saturating_sub(most)])?;
    }
    Ok(())
}

/// Records the result of an attempt to deliver. One that has ended is not changed.
pub(super) fn note_delivery(tx: &mut Tx<'_>, id: NotificationId, delivery: &Delivery, now: Timestamp) -> Work<()> {
    let sql = "UPDATE notifications SET state = ?2, attempts = ?3, error = ?4, ended_at = ?5
        WHERE id = ?1 AND state = 'waiting'";
    let Delivery { state, attempts, error } = delivery;
    let ended = (*state != NotificationState::Waiting).then_some(now);
    execute(tx.db, sql, params![id, state, attempts, error, ended])?;
    Ok(())
}

/// Notifications, newest first.
pub(super) fn list(db: &Connection, query: &NotificationQuery, request: &PageRequest) -> Work<Page<Notification>> {
    let before = page::before(request)?;
    let limit = page::limit(request);
    let sql = match query.name {
        None => format!("{COLUMNS} WHERE seq < ?1 AND ?3 IS NULL ORDER BY seq DESC LIMIT ?2"),
        Some(_) => {
            format!("{COLUMNS} INDEXED BY notifications_name WHERE name = ?3 AND seq < ?1 ORDER BY seq DESC LIMIT ?2")
        }
    };
    let mut statement = prepare(db, &sql)?;
    let rows =
        statement.query_map(params![before, limit + 1, query.name], |row| Ok((row.get(0)?, notification(row)?)))?;
    Ok(page::cut(rows.collect::<Result<_, _>>()?, limit))
}

/// The notifications for a receiver that wait for delivery, oldest first.
pub(super) fn waiting(db: &Connection, name: &str, limit: u32) -> Work<Vec<Notification>> {
    let sql = format!(
        "{COLUMNS} INDEXED BY notifications_waiting WHERE name = ?1 AND state = 'waiting' ORDER BY seq LIMIT ?2"
    );
    let mut statement = prepare(db, &sql)?;
    let rows = statement.query_map(params![name, limit], notification)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The newest notification for a receiver with this cause about this resource, or about none.
pub(super) fn last(
    db: &Connection,
    name: &str,
    cause: NotifyCause,
    resource: Option<&str>,
) -> Work<Option<Notification>> {
    let sql = format!(
        "{COLUMNS} INDEXED BY notifications_cause WHERE name = ?1 AND cause = ?2 AND resource IS ?3
        ORDER BY seq DESC LIMIT 1"
    );
    Ok(prepare(db, &sql)?.query_row(params![name, cause, resource], notification).optional()?)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{PRUNE_BATCH, prune};
    use crate::store::sqlite::migrations;
    use crate::store::sqlite::writer::{Counters, Tx};

    #[test]
    fn the_oldest_ticks_are_dropped_to_stay_within_the_bound() {
        let db = Connection::open_in_memory().unwrap();
        migrations::migrate(&db).unwrap();
        let most = 3 * PRUNE_BATCH;
        let mut tx = Tx { db: &db, at: &mut Counters::default(), epoch: 1 };
        let mut largest = 0;
        for number in 1..=5 * PRUNE_BATCH {
            let sql = "INSERT INTO notifications (id, name, channel, cause, title, text, state, attempts, created_at)
                VALUES (?1, 'a', 'email', 'run_failed', 't', 'x', 'waiting', 0, 1)";
            db.prepare_cached(sql).unwrap().execute([number.to_be_bytes()]).unwrap();
            prune(&mut tx, number, most).unwrap();
            if number % 500 == 0 {
                largest =
                    largest.max(db.query_row("SELECT count(*) FROM notifications", [], |row| row.get(0)).unwrap());
            }
        }
        assert!(largest <= most && largest > most - PRUNE_BATCH, "{largest}");
    }
}
