//! What is configured: manifests, whether the pipeline is paused, cursors of resources.

use serde_json::{Value, json};

use super::db::Db;
use super::events::{NewEvent, emit};
use super::sql::{Json, Work, params};
use super::writer::Tx;
use crate::base::{Digest, Timestamp};
use crate::model::EventKind;
use crate::store::{NewRevision, Revision};

/// Puts a manifest on record.
pub(super) async fn register_revision(tx: &mut Tx, new: &NewRevision, now: Timestamp) -> Work<()> {
    let sql = "INSERT INTO revisions (digest, manifest, components, registered_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING";
    let components = serde_json::to_string(&new.components)?;
    if tx.db.execute(sql, &params![new.digest, new.manifest, components, now]).await? > 0 {
        emit(tx, now, NewEvent::of(EventKind::RevisionRegistered, json!({ "revision": new.digest })));
    }
    Ok(())
}

/// A manifest on record.
pub(super) async fn revision(db: &Db, digest: Digest) -> Work<Option<Revision>> {
    let sql = "SELECT manifest, components, registered_at FROM revisions WHERE digest = $1";
    let Some(row) = db.row(sql, &params![digest]).await? else { return Ok(None) };
    let (manifest, components) = (row.get(0)?, row.get::<Json<_>>(1)?.0);
    Ok(Some(Revision { digest, manifest, components, registered_at: row.get(2)? }))
}

/// Whether the pipeline is paused.
pub(super) async fn paused(db: &Db) -> Work<bool> {
    db.one("SELECT paused FROM meta WHERE one", &[]).await?.get(0)
}

/// Pauses or resumes the pipeline. Makes no event if nothing changes.
pub(super) async fn set_paused(tx: &mut Tx, to: bool, now: Timestamp) -> Work<()> {
    if paused(&tx.db).await? != to {
        tx.db.later("UPDATE meta SET paused = $1 WHERE one", &params![to]);
        emit(tx, now, NewEvent::of(if to { EventKind::Paused } else { EventKind::Resumed }, Value::Null));
    }
    Ok(())
}

/// A resource's cursor.
pub(super) async fn cursor(db: &Db, resource: &str) -> Work<Option<String>> {
    let row = db.row("SELECT cursor FROM cursors WHERE resource = $1", &params![resource]).await?;
    row.map(|row| row.get(0)).transpose()
}

/// Sets a resource's cursor.
pub(super) fn set_cursor(tx: &Tx, resource: &str, cursor: &str, now: Timestamp) {
    let sql = "INSERT INTO cursors (resource, cursor, updated_at) VALUES ($1, $2, $3)
        ON CONFLICT (resource) DO UPDATE SET cursor = excluded.cursor, updated_at = excluded.updated_at";
    tx.db.later(sql, &params![resource, cursor, now]);
}
