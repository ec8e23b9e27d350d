//! What is configured: manifests, whether the pipeline is paused, cursors of resources.

use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Value, json};

use super::events::{NewEvent, emit};
use super::sql::{Json, Work, execute, prepare};
use super::writer::Tx;
use crate::base::{Digest, Timestamp};
use crate::model::EventKind;
use crate::store::{NewRevision, Revision};

/// Puts a manifest on record.
pub(super) fn register_revision(tx: &mut Tx<'_>, new: &NewRevision, now: Timestamp) -> Work<()> {
    let sql = "INSERT OR IGNORE INTO revisions (digest, manifest, components, registered_at) VALUES (?1, ?2, ?3, ?4)";
    let components = serde_json::to_string(&new.components)?;
    if execute(tx.db, sql, params![new.digest, new.manifest, components, now])? == 0 {
        return Ok(());
    }
    emit(tx, now, NewEvent::of(EventKind::RevisionRegistered, json!({ "revision": new.digest })))
}

/// A manifest on record.
pub(super) fn revision(db: &Connection, digest: Digest) -> Work<Option<Revision>> {
    let sql = "SELECT manifest, components, registered_at FROM revisions WHERE digest = ?1";
    let found = prepare(db, sql)?.query_row([digest], |row| {
        Ok(Revision {
            digest,
            manifest: row.get(0)?,
            components: row.get::<_, Json<_>>(1)?.0,
            registered_at: row.get(2)?,
        })
    });
    Ok(found.optional()?)
}

/// Whether the pipeline is paused.
pub(super) fn paused(db: &Connection) -> Work<bool> {
    Ok(prepare(db, "SELECT paused FROM meta WHERE one = 1")?.query_row([], |row| row.get(0))?)
}

/// Pauses or resumes the pipeline. Makes no event if nothing changes.
pub(super) fn set_paused(tx: &mut Tx<'_>, to: bool, now: Timestamp) -> Work<()> {
    if paused(tx.db)? == to {
        return Ok(());
    }
    execute(tx.db, "UPDATE meta SET paused = ?1 WHERE one = 1", [to])?;
    emit(tx, now, NewEvent::of(if to { EventKind::Paused } else { EventKind::Resumed }, Value::Null))
}

/// A resource's cursor.
pub(super) fn cursor(db: &Connection, resource: &str) -> Work<Option<String>> {
    let sql = "SELECT cursor FROM cursors WHERE resource = ?1";
    Ok(prepare(db, sql)?.query_row([resource], |row| row.get(0)).optional()?)
}

/// Sets a resource's cursor.
pub(super) fn set_cursor(tx: &mut Tx<'_>, resource: &str, cursor: &str, now: Timestamp) -> Work<()> {
    let sql = "INSERT INTO cursors (resource, cursor, updated_at) VALUES (?1, ?2, ?3)
        ON CONFLICT (resource) DO UPDATE SET cursor = excluded.cursor, updated_at = excluded.updated_at";
    execute(tx.db, sql, params![resource, cursor, now])?;
    Ok(())
}
