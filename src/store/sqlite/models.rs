//! Registered models, their versions, and the moves of their aliases.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::artifacts::{self, SEQ_COLUMN, artifact_columns};
use super::events::{NewEvent, emit};
use super::sql::{Fail, Work, execute, prepare};
use super::writer::Tx;
use crate::base::{ArtifactId, Timestamp, WriteId};
use crate::model::{AliasMove, ArtifactTag, EventKind, ModelAlias, ModelDetail, ModelVersion, Page, RegisteredModel};
use crate::store::registry::{
    self, By, Known, Of, Step, artifact_gone, no_alias, no_artifact, no_model, no_version, nothing_before, version_gone,
};
use crate::store::{AliasTarget, PageRequest, page};

/// Creates a model, if there is none of this name.
fn create(db: &Connection, model: &str, now: Timestamp) -> Work<()> {
    let sql = "INSERT OR IGNORE INTO models (name, card, created_at) VALUES (?1, NULL, ?2)";
    execute(db, sql, params![model, now])?;
    Ok(())
}

/// Records the card of a model. Makes no event if nothing changes.
pub(super) fn set_card(tx: &mut Tx<'_>, model: &str, card: &str, now: Timestamp) -> Work<()> {
    create(tx.db, model, now)?;
    let sql = "UPDATE models SET card = ?2 WHERE name = ?1 AND card IS NOT ?2";
    if execute(tx.db, sql, params![model, card])? == 0 {
        return Ok(());
    }
    emit(tx, now, NewEvent::of(EventKind::ModelCardChanged, json!({ "model": model })))
}

/// Registers an artifact as the next version of a model. A repeat returns the version.
pub(super) fn register(tx: &mut Tx<'_>, model: &str, artifact: ArtifactId, by: By<'_>, now: Timestamp) -> Work<u64> {
    let sql = "SELECT seq, resource, path, ended IS NULL AND state NOT IN ('ignored', 'not_taken')
        FROM artifacts WHERE id = ?1";
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let found: Option<(u64, String, String, bool)> = prepare(tx.db, sql)?.query_row([artifact], read).optional()?;
    let Some((seq, resource, path, present)) = found else { return Err(Fail::conflict(no_artifact(artifact))) };
    let sql =
        "SELECT version FROM model_versions INDEXED BY model_versions_artifact WHERE artifact = ?1 AND model = ?2";
    if let Some(version) = prepare(tx.db, sql)?.query_row(params![seq, model], |row| row.get(0)).optional()? {
        return Ok(version);
    }
    if !present {
        return Err(Fail::conflict(artifact_gone(artifact)));
    }
    create(tx.db, model, now)?;
    let version = newest_version(tx.db, model)? + 1;
    let sql = "INSERT INTO model_versions (model, version, artifact, resource, who, note, registered_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    execute(tx.db, sql, params![model, version, seq, resource, by.who, by.note, now])?;
    let data = json!({ "model": model, "version": version, "resource": resource, "path": path, "by": by.who });
    emit(tx, now, by.about(NewEvent::of(EventKind::ModelVersionRegistered, data)).artifact(artifact))?;
    Ok(version)
}

fn newest_version(db: &Connection, model: &str) -> Work<u64> {
    let sql = "SELECT ifnull(max(version), 0) FROM model_versions WHERE model = ?1";
    Ok(prepare(db, sql)?.query_row([model], |row| row.get(0))?)
}

/// The columns of a move, of an alias `m`.
macro_rules! move_columns {
    () => {
        "m.seq, m.alias, m.version, m.was, m.rolled_back, m.who, m.note, m.run_id, m.run, m.action, m.moved_at, m.back, m.write"
    };
}

fn known(row: &Row<'_>) -> rusqlite::Result<Known> {
    let moved = AliasMove {
        seq: row.get(0)?,
        alias: row.get(1)?,
        version: row.get(2)?,
        before: row.get(3)?,
        rolled_back: row.get(4)?,
        by: row.get(5)?,
        note: row.get(6)?,
        run_id: row.get(7)?,
        run_number: row.get(8)?,
        action: row.get(9)?,
        at: row.get(10)?,
    };
    Ok(Known { moved, back: row.get(11)?, write: row.get(12)? })
}

/// The last move of an alias.
fn last_move(db: &Connection, model: &str, alias: &str) -> Work<Option<Known>> {
    let sql = concat!(
        "SELECT ",
        move_columns!(),
        " FROM model_aliases l CROSS JOIN alias_moves m ON m.seq = l.move WHERE l.model = ?1 AND l.alias = ?2"
    );
    Ok(prepare(db, sql)?.query_row([model, alias], known).optional()?)
}

fn move_by_seq(db: &Connection, seq: u64) -> Work<Known> {
    let sql = concat!("SELECT ", move_columns!(), " FROM alias_moves m WHERE m.seq = ?1");
    Ok(prepare(db, sql)?.query_row([seq], known)?)
}

/// Moves an alias as a person wants. A repeat returns the move.
pub(super) fn move_alias(tx: &mut Tx<'_>, to: &AliasTarget, id: WriteId, now: Timestamp) -> Work<AliasMove> {
    let AliasTarget { model, alias, version, by, note } = to;
    if !prepare(tx.db, "SELECT 1 FROM models WHERE name = ?1")?.exists([model])? {
        return Err(Fail::conflict(no_model(model)));
    }
    let last = last_move(tx.db, model, alias)?;
    if let Some(last) = last.as_ref().filter(|last| last.write == Some(id)) {
        return Ok(last.moved.clone());
    }
    let (version, back) = if let Some(version) = version {
        (*version, last.as_ref().map(|last| last.moved.seq))
    } else {
        let Some(last) = &last else { return Err(Fail::conflict(no_alias(model, alias))) };
        let Some(back) = last.back else {
            return Err(Fail::conflict(nothing_before(model, alias, last.moved.version)));
        };
        let earlier = move_by_seq(tx.db, back)?;
        (earlier.moved.version, earlier.back)
    };
    check_usable(tx.db, model, version)?;
    let rolled_back = to.version.is_none();
    match last {
        Some(last) if !rolled_back && last.moved.version == version => Ok(last.moved),
        last => {
            let by = By { write: Some(id), ..By::person(by.as_deref(), note.as_deref()) };
            let before = last.map(|last| last.moved.version);
            point(tx, model, &Step { alias, version, before, back, rolled_back }, by, now)
        }
    }
}

/// Refuses a version that is not on record, or whose artifact is not in its place.
fn check_usable(db: &Connection, model: &str, version: u64) -> Work<()> {
    let sql = "SELECT a.resource, a.path, a.ended IS NULL FROM model_versions v CROSS JOIN artifacts a
        ON a.seq = v.artifact WHERE v.model = ?1 AND v.version = ?2";
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found: Option<(String, String, bool)> =
        prepare(db, sql)?.query_row(params![model, version], read).optional()?;
    match found {
        None => Err(Fail::conflict(no_version(model, version, newest_version(db, model)?))),
        Some((resource, path, false)) => Err(Fail::conflict(version_gone(model, version, &resource, &path))),
        Some(_) => Ok(()),
    }
}

/// Makes an alias name a version, and moves the tag of the same name.
fn point(tx: &mut Tx<'_>, model: &str, step: &Step<'_>, by: By<'_>, now: Timestamp) -> Work<AliasMove> {
    let Step { alias, version, before, back, rolled_back } = *step;
    let sql = "INSERT INTO alias_moves
        (model, alias, version, was, back, rolled_back, who, note, run_id, run, action, write, moved_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    let (run_id, run) = (by.attempt.map(|of| of.run_id), by.attempt.map(|of| of.run));
    let action = by.attempt.map(|of| of.action);
    execute(
        tx.db,
        sql,
        params![model, alias, version, before, back, rolled_back, by.who, by.note, run_id, run, action, by.write, now],
    )?;
    let seq = tx.db.last_insert_rowid();
    let sql = "INSERT OR REPLACE INTO model_aliases (model, alias, move) VALUES (?1, ?2, ?3)";
    execute(tx.db, sql, params![model, alias, seq])?;
    let artifact = move_tag(tx.db, model, step)?;
    let data = json!({
        "model": model, "alias": alias, "version": version, "before": before, "rolled_back": rolled_back, "by": by.who,
    });
    emit(tx, now, by.about(NewEvent::of(EventKind::AliasMoved, data)).artifact(artifact))?;
    Ok(move_by_seq(tx.db, seq.unsigned_abs())?.moved)
}

/// Puts the tag of an alias on the artifact of its version. It leaves the version before, and what
/// else has it in the resource, except versions of other models. Returns the artifact.
fn move_tag(db: &Connection, model: &str, step: &Step<'_>) -> Work<ArtifactId> {
    let Step { alias, version, before, .. } = *step;
    let sql = "SELECT a.seq, a.id, a.resource FROM model_versions v CROSS JOIN artifacts a ON a.seq = v.artifact
        WHERE v.model = ?1 AND v.version = ?2";
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (seq, id, resource): (u64, ArtifactId, String) = prepare(db, sql)?.query_row(params![model, version], read)?;
    let sql = "DELETE FROM artifact_tags WHERE tag = ?1 AND artifact =
        (SELECT artifact FROM model_versions WHERE model = ?2 AND version = ?3)";
    execute(db, sql, params![alias, model, before])?;
    let sql = "DELETE FROM artifact_tags WHERE tag = ?1 AND resource = ?2 AND artifact <> ?3 AND NOT EXISTS
        (SELECT 1 FROM model_versions v INDEXED BY model_versions_artifact
         WHERE v.artifact = artifact_tags.artifact AND v.model <> ?4)";
    execute(db, sql, params![alias, resource, seq, model])?;
    artifacts::put_tag(db, id, alias, false)?;
    Ok(id)
}

/// Moves the aliases that an attempt has moved by setting a unique tag on a version. `became` maps
/// artifacts to their ids on record.
pub(super) fn follow_tags(
    tx: &mut Tx<'_>,
    of: Of<'_>,
    tags: &[ArtifactTag],
    became: impl Fn(ArtifactId) -> ArtifactId,
    now: Timestamp,
) -> Work<()> {
    for tag in tags.iter().filter(|tag| tag.unique) {
        let sql = "SELECT v.model, v.version FROM artifacts a CROSS JOIN model_versions v
            INDEXED BY model_versions_artifact ON v.artifact = a.seq WHERE a.id = ?1 ORDER BY v.model";
        let mut statement = prepare(tx.db, sql)?;
        let rows = statement.query_map([became(tag.artifact_id)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let named: Vec<(String, u64)> = rows.collect::<Result<_, _>>()?;
        for (model, version) in named {
            let last = last_move(tx.db, &model, &tag.tag)?;
            let (before, back) = last.map(|last| (last.moved.version, last.moved.seq)).unzip();
            if before != Some(version) {
                let step = Step { alias: &tag.tag, version, before, back, rolled_back: false };
                point(tx, &model, &step, By::attempt(of), now)?;
            }
        }
    }
    Ok(())
}

/// Returns whether an artifact that a run has written is a version of a model.
pub(super) fn has_version(db: &Connection, run: u64) -> Work<bool> {
    let sql = "SELECT 1 FROM accesses x INDEXED BY accesses_run CROSS JOIN attempts w
        ON w.seq = x.attempt AND w.cached_from IS NULL CROSS JOIN model_versions v INDEXED BY model_versions_artifact
        ON v.artifact = x.artifact WHERE x.run = ?1 AND x.kind = 'wrote'";
    Ok(prepare(db, sql)?.exists([run])?)
}

/// The models, by name.
pub(super) fn list(db: &Connection, request: &PageRequest) -> Work<Page<RegisteredModel>> {
    let (after, limit) = (registry::after(request)?, page::limit(request));
    let sql = "SELECT name, created_at FROM models WHERE name > ?1 ORDER BY name LIMIT ?2";
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map(params![after, limit + 1], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<(String, Timestamp)> = rows.collect::<Result<_, _>>()?;
    let models = found.into_iter().map(|(name, created_at)| registered(db, name, created_at));
    Ok(registry::cut(models.collect::<Work<_>>()?, limit))
}

fn registered(db: &Connection, name: String, created_at: Timestamp) -> Work<RegisteredModel> {
    let sql = "SELECT l.alias, m.version, a.id, m.moved_at, b.version FROM model_aliases l
        CROSS JOIN alias_moves m ON m.seq = l.move
        CROSS JOIN model_versions v ON v.model = l.model AND v.version = m.version
        CROSS JOIN artifacts a ON a.seq = v.artifact LEFT JOIN alias_moves b ON b.seq = m.back
        WHERE l.model = ?1 ORDER BY l.alias";
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map([&name], |row| {
        Ok(ModelAlias {
            alias: row.get(0)?,
            version: row.get(1)?,
            artifact_id: row.get(2)?,
            since: row.get(3)?,
            rollback_to: row.get(4)?,
        })
    })?;
    let aliases = rows.collect::<Result<_, _>>()?;
    Ok(RegisteredModel { newest_version: newest_version(db, &name)?, name, created_at, aliases })
}

/// One model.
pub(super) fn one(db: &Connection, name: &str) -> Work<Option<ModelDetail>> {
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let found = prepare(db, "SELECT card, created_at FROM models WHERE name = ?1")?.query_row([name], read);
    let Some((card, created_at)) = found.optional()? else { return Ok(None) };
    Ok(Some(ModelDetail::new(registered(db, name.to_owned(), created_at)?, card)))
}

/// The versions of a model, newest first.
pub(super) fn versions(db: &Connection, name: &str, request: &PageRequest) -> Work<Page<ModelVersion>> {
    let (before, limit) = (page::before(request)?, page::limit(request));
    let sql = concat!(
        "SELECT ",
        artifact_columns!(),
        ", v.version, r.id, r.number, t.action, v.registered_at, v.who, v.note
         FROM model_versions v CROSS JOIN artifacts a ON a.seq = v.artifact
         LEFT JOIN attempts t ON t.id = a.produced_by LEFT JOIN runs r ON r.number = t.run
         WHERE v.model = ?1 AND v.version < ?2 ORDER BY v.version DESC LIMIT ?3"
    );
    let mut statement = prepare(db, sql)?;
    let rows = statement.query_map(params![name, before, limit + 1], |row| {
        let version = ModelVersion {
            version: row.get(SEQ_COLUMN + 1)?,
            artifact: artifacts::artifact(row)?,
            run_id: row.get(SEQ_COLUMN + 2)?,
            run_number: row.get(SEQ_COLUMN + 3)?,
            action: row.get(SEQ_COLUMN + 4)?,
            registered_at: row.get(SEQ_COLUMN + 5)?,
            by: row.get(SEQ_COLUMN + 6)?,
            note: row.get(SEQ_COLUMN + 7)?,
        };
        Ok((row.get(SEQ_COLUMN + 1)?, version))
    })?;
    Ok(page::cut(rows.collect::<Result<_, _>>()?, limit))
}

/// The moves of all aliases of a model, newest first.
pub(super) fn moves(db: &Connection, name: &str, request: &PageRequest) -> Work<Page<AliasMove>> {
    let (before, limit) = (page::before(request)?, page::limit(request));
    let sql = concat!(
        "SELECT ",
        move_columns!(),
        " FROM alias_moves m INDEXED BY alias_moves_model
         WHERE m.model = ?1 AND m.seq < ?2 ORDER BY m.seq DESC LIMIT ?3"
    );
    let mut statement = prepare(db, sql)?;
    let rows = statement
        .query_map(params![name, before, limit + 1], |row| Ok((row.get(0)?, known(row)?.moved)))?
        .collect::<Result<_, _>>()?;
    Ok(page::cut(rows, limit))
}
