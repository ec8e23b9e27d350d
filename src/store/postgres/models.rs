//! Registered models, their versions, and the moves of their aliases.

use serde_json::json;

use super::artifacts::{self, SEQ_COLUMN, artifact_columns};
use super::db::Db;
use super::events::{NewEvent, emit};
use super::sql::{Fail, Row, Work, params};
use super::writer::Tx;
use crate::base::{ArtifactId, Timestamp, WriteId};
use crate::model::{AliasMove, ArtifactTag, EventKind, ModelAlias, ModelDetail, ModelVersion, Page, RegisteredModel};
use crate::store::registry::{
    self, By, Known, Of, Step, artifact_gone, no_alias, no_artifact, no_model, no_version, nothing_before, version_gone,
};
use crate::store::{AliasTarget, PageRequest, page};

/// Creates a model, if there is none of this name.
fn create(db: &Db, model: &str, now: Timestamp) {
    db.later("INSERT INTO models (name, created_at) VALUES ($1, $2) ON CONFLICT DO NOTHING", &params![model, now]);
}

/// Records the card of a model. Makes no event if nothing changes.
pub(super) async fn set_card(tx: &mut Tx, model: &str, card: &str, now: Timestamp) -> Work<()> {
    create(&tx.db, model, now);
    let sql = "UPDATE models SET card = $2 WHERE name = $1 AND card IS DISTINCT FROM $2";
    if tx.db.execute(sql, &params![model, card]).await? > 0 {
        emit(tx, now, NewEvent::of(EventKind::ModelCardChanged, json!({ "model": model })));
    }
    Ok(())
}

/// Registers an artifact as the next version of a model. A repeat returns the version.
pub(super) async fn register(tx: &mut Tx, model: &str, artifact: ArtifactId, by: By<'_>, now: Timestamp) -> Work<u64> {
    let sql = "SELECT seq, resource, path, ended IS NULL AND state NOT IN ('ignored', 'not_taken')
        FROM artifacts WHERE id = $1";
    let Some(row) = tx.db.row(sql, &params![artifact]).await? else {
        return Err(Fail::conflict(no_artifact(artifact)));
    };
    let (seq, resource, path): (u64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let sql = "SELECT version FROM model_versions WHERE artifact = $1 AND model = $2";
    if let Some(known) = tx.db.row(sql, &params![seq, model]).await? {
        return known.get(0);
    }
    if !row.get::<bool>(3)? {
        return Err(Fail::conflict(artifact_gone(artifact)));
    }
    create(&tx.db, model, now);
    let version = newest_version(&tx.db, model).await? + 1;
    let sql = "INSERT INTO model_versions (model, version, artifact, resource, who, note, registered_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    tx.db.later(sql, &params![model, version, seq, resource, by.who, by.note, now]);
    let data = json!({ "model": model, "version": version, "resource": resource, "path": path, "by": by.who });
    emit(tx, now, by.about(NewEvent::of(EventKind::ModelVersionRegistered, data)).artifact(artifact));
    Ok(version)
}

async fn newest_version(db: &Db, model: &str) -> Work<u64> {
    let sql = "SELECT version FROM model_versions WHERE model = $1 ORDER BY version DESC LIMIT 1";
    db.row(sql, &params![model]).await?.map_or(Ok(0), |row| row.get(0))
}

/// The columns of a move, of an alias `m`.
macro_rules! move_columns {
    () => {
        "m.seq, m.alias, m.version, m.was, m.rolled_back, m.who, m.note, m.run_id, m.run, m.action, m.moved_at, m.back, m.write"
    };
}

fn known(row: &Row) -> Work<Known> {
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
async fn last_move(db: &Db, model: &str, alias: &str) -> Work<Option<Known>> {
    let sql = concat!(
        "SELECT ",
        move_columns!(),
        " FROM model_aliases l JOIN alias_moves m ON m.seq = l.move WHERE l.model = $1 AND l.alias = $2"
    );
    db.row(sql, &params![model, alias]).await?.as_ref().map(known).transpose()
}

async fn move_by_seq(db: &Db, seq: u64) -> Work<Known> {
    let sql = concat!("SELECT ", move_columns!(), " FROM alias_moves m WHERE m.seq = $1");
    known(&db.one(sql, &params![seq]).await?)
}

/// Moves an alias as a person wants. A repeat returns the move.
pub(super) async fn move_alias(tx: &mut Tx, to: &AliasTarget, id: WriteId, now: Timestamp) -> Work<AliasMove> {
    let AliasTarget { model, alias, version, by, note } = to;
    if !tx.db.exists("SELECT 1 FROM models WHERE name = $1", &params![model]).await? {
        return Err(Fail::conflict(no_model(model)));
    }
    let last = last_move(&tx.db, model, alias).await?;
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
        let earlier = move_by_seq(&tx.db, back).await?;
        (earlier.moved.version, earlier.back)
    };
    check_usable(&tx.db, model, version).await?;
    let rolled_back = to.version.is_none();
    match last {
        Some(last) if !rolled_back && last.moved.version == version => Ok(last.moved),
        last => {
            let by = By { write: Some(id), ..By::person(by.as_deref(), note.as_deref()) };
            let before = last.map(|last| last.moved.version);
            point(tx, model, &Step { alias, version, before, back, rolled_back }, by, now).await
        }
    }
}

/// Refuses a version that is not on record, or whose artifact is not in its place.
async fn check_usable(db: &Db, model: &str, version: u64) -> Work<()> {
    let sql = "SELECT a.resource, a.path, a.ended IS NULL FROM model_versions v
        JOIN artifacts a ON a.seq = v.artifact WHERE v.model = $1 AND v.version = $2";
    let Some(row) = db.row(sql, &params![model, version]).await? else {
        return Err(Fail::conflict(no_version(model, version, newest_version(db, model).await?)));
    };
    let (resource, path): (String, String) = (row.get(0)?, row.get(1)?);
    if row.get(2)? { Ok(()) } else { Err(Fail::conflict(version_gone(model, version, &resource, &path))) }
}

/// Makes an alias name a version, and moves the tag of the same name.
async fn point(tx: &mut Tx, model: &str, step: &Step<'_>, by: By<'_>, now: Timestamp) -> Work<AliasMove> {
    let Step { alias, version, before, back, rolled_back } = *step;
    let sql = "INSERT INTO alias_moves
        (model, alias, version, was, back, rolled_back, who, note, run_id, run, action, write, moved_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING seq";
    let (run_id, run) = (by.attempt.map(|of| of.run_id), by.attempt.map(|of| of.run));
    let action = by.attempt.map(|of| of.action);
    let values =
        params![model, alias, version, before, back, rolled_back, by.who, by.note, run_id, run, action, by.write, now];
    let seq: u64 = tx.db.one(sql, &values).await?.get(0)?;
    let sql = "INSERT INTO model_aliases (model, alias, move) VALUES ($1, $2, $3)
        ON CONFLICT (model, alias) DO UPDATE SET move = excluded.move";
    tx.db.later(sql, &params![model, alias, seq]);
    let artifact = move_tag(&tx.db, model, step).await?;
    let data = json!({
        "model": model, "alias": alias, "version": version, "before": before, "rolled_back": rolled_back, "by": by.who,
    });
    emit(tx, now, by.about(NewEvent::of(EventKind::AliasMoved, data)).artifact(artifact));
    Ok(move_by_seq(&tx.db, seq).await?.moved)
}

/// Puts the tag of an alias on the artifact of its version. It leaves the version before, and what
/// else has it in the resource, except versions of other models. Returns the artifact.
async fn move_tag(db: &Db, model: &str, step: &Step<'_>) -> Work<ArtifactId> {
    let Step { alias, version, before, .. } = *step;
    let sql = "SELECT a.seq, a.id, a.resource FROM model_versions v JOIN artifacts a ON a.seq = v.artifact
        WHERE v.model = $1 AND v.version = $2";
    let row = db.one(sql, &params![model, version]).await?;
    let (seq, id, resource): (u64, ArtifactId, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let sql = "DELETE FROM artifact_tags WHERE tag = $1 AND artifact =
        (SELECT artifact FROM model_versions WHERE model = $2 AND version = $3)";
    db.later(sql, &params![alias, model, before]);
    let sql = "DELETE FROM artifact_tags t WHERE tag = $1 AND resource = $2 AND artifact <> $3 AND NOT EXISTS
        (SELECT 1 FROM model_versions v WHERE v.artifact = t.artifact AND v.model <> $4 OFFSET 0)";
    db.later(sql, &params![alias, resource, seq, model]);
    let sql = "INSERT INTO artifact_tags (tag, artifact, resource) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    db.later(sql, &params![alias, seq, resource]);
    Ok(id)
}

/// Moves the aliases that an attempt has moved by setting a unique tag on a version. `became` maps
/// artifacts to their ids on record.
pub(super) async fn follow_tags(
    tx: &mut Tx,
    of: Of<'_>,
    tags: &[ArtifactTag],
    became: impl Fn(ArtifactId) -> ArtifactId,
    now: Timestamp,
) -> Work<()> {
    for tag in tags.iter().filter(|tag| tag.unique) {
        let sql = "SELECT v.model, v.version FROM artifacts a JOIN model_versions v ON v.artifact = a.seq
            WHERE a.id = $1";
        let rows = tx.db.rows(sql, &params![became(tag.artifact_id)]).await?;
        let mut named: Vec<(String, u64)> =
            rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect::<Work<_>>()?;
        named.sort_unstable();
        for (model, version) in named {
            let last = last_move(&tx.db, &model, &tag.tag).await?;
            let (before, back) = last.map(|last| (last.moved.version, last.moved.seq)).unzip();
            if before != Some(version) {
                let step = Step { alias: &tag.tag, version, before, back, rolled_back: false };
                point(tx, &model, &step, By::attempt(of), now).await?;
            }
        }
    }
    Ok(())
}

/// Returns whether an artifact that a run has written is a version of a model.
pub(super) async fn has_version(db: &Db, run: u64) -> Work<bool> {
    let sql = "SELECT 1 FROM accesses x JOIN attempts w ON w.seq = x.attempt AND w.cached_from IS NULL
        JOIN model_versions v ON v.artifact = x.artifact WHERE x.run = $1 AND x.kind = 'wrote' LIMIT 1";
    db.exists(sql, &params![run]).await
}

/// The models, by name.
pub(super) async fn list(db: &Db, request: &PageRequest) -> Work<Page<RegisteredModel>> {
    let (after, limit) = (registry::after(request)?, page::limit(request));
    let sql = "SELECT name, created_at FROM models WHERE name > $1 ORDER BY name LIMIT $2";
    let mut found = Vec::new();
    for row in db.rows(sql, &params![after, limit + 1]).await? {
        found.push(registered(db, row.get(0)?, row.get(1)?).await?);
    }
    Ok(registry::cut(found, limit))
}

async fn registered(db: &Db, name: String, created_at: Timestamp) -> Work<RegisteredModel> {
    let sql = "SELECT l.alias, m.version, a.id, m.moved_at, b.version FROM model_aliases l
        JOIN alias_moves m ON m.seq = l.move
        JOIN model_versions v ON v.model = l.model AND v.version = m.version
        JOIN artifacts a ON a.seq = v.artifact LEFT JOIN alias_moves b ON b.seq = m.back
        WHERE l.model = $1 ORDER BY l.alias";
    let alias = |row: &Row| -> Work<ModelAlias> {
        Ok(ModelAlias {
            alias: row.get(0)?,
            version: row.get(1)?,
            artifact_id: row.get(2)?,
            since: row.get(3)?,
            rollback_to: row.get(4)?,
        })
    };
    let aliases = db.rows(sql, &params![name]).await?.iter().map(alias).collect::<Work<_>>()?;
    Ok(RegisteredModel { newest_version: newest_version(db, &name).await?, name, created_at, aliases })
}

/// One model.
pub(super) async fn one(db: &Db, name: &str) -> Work<Option<ModelDetail>> {
    let found = db.row("SELECT card, created_at FROM models WHERE name = $1", &params![name]).await?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some(ModelDetail::new(registered(db, name.to_owned(), row.get(1)?).await?, row.get(0)?)))
}

/// The versions of a model, newest first.
pub(super) async fn versions(db: &Db, name: &str, request: &PageRequest) -> Work<Page<ModelVersion>> {
    let (before, limit) = (page::before(request)?, page::limit(request));
    let sql = concat!(
        "SELECT ",
        artifact_columns!(),
        ", v.version, r.id, r.number, t.action, v.registered_at, v.who, v.note
         FROM model_versions v JOIN artifacts a ON a.seq = v.artifact
         LEFT JOIN attempts t ON t.id = a.produced_by LEFT JOIN runs r ON r.number = t.run
         WHERE v.model = $1 AND v.version < $2 ORDER BY v.version DESC LIMIT $3"
    );
    let version = |row: &Row| -> Work<(i64, ModelVersion)> {
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
    };
    let rows = db.rows(sql, &params![name, before, limit + 1]).await?;
    Ok(page::cut(rows.iter().map(version).collect::<Work<_>>()?, limit))
}

/// The moves of all aliases of a model, newest first.
pub(super) async fn moves(db: &Db, name: &str, request: &PageRequest) -> Work<Page<AliasMove>> {
    let (before, limit) = (page::before(request)?, page::limit(request));
    let sql = concat!(
        "SELECT ",
        move_columns!(),
        " FROM alias_moves m WHERE m.model = $1 AND m.seq < $2 ORDER BY m.seq DESC LIMIT $3"
    );
    let rows = db.rows(sql, &params![name, before, limit + 1]).await?;
    let moved = |row: &Row| -> Work<(i64, AliasMove)> { Ok((row.get(0)?, known(row)?.moved)) };
    Ok(page::cut(rows.iter().map(moved).collect::<Work<_>>()?, limit))
}
