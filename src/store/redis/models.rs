//! The model registry: how its records are read.

use serde_json::json;

use super::arguments::bound;
use super::artifacts::artifact;
use super::reader::Reader;
use super::reply::{Reply, Row, Work};
use crate::base::Timestamp;
use crate::model::{AliasMove, ModelAlias, ModelDetail, ModelVersion, Page, RegisteredModel};
use crate::store::{PageRequest, page, registry};

/// Reads a move.
pub(super) fn alias_move(reply: Reply) -> Work<AliasMove> {
    let row = reply.row()?;
    Ok(AliasMove {
        seq: row.get("seq")?,
        alias: row.get("alias")?,
        version: row.get("version")?,
        before: row.opt("before")?,
        rolled_back: row.has("rolled_back"),
        by: row.text("by"),
        note: row.text("note"),
        run_id: row.opt("run_id")?,
        run_number: row.opt("run")?,
        action: row.text("action"),
        at: row.time("at")?,
    })
}

fn alias(reply: Reply) -> Work<ModelAlias> {
    let [alias, version, artifact, since, back] = reply.parts()?;
    let back = back.text()?;
    Ok(ModelAlias {
        alias: alias.text()?,
        version: version.value()?,
        artifact_id: artifact.value()?,
        since: Timestamp::from_micros(since.value()?),
        rollback_to: if back.is_empty() { None } else { Some(Reply::Text(back).value()?) },
    })
}

/// Reads a model, with its other fields.
fn model(reply: Reply) -> Work<(RegisteredModel, Row)> {
    let [name, row, aliases] = reply.parts()?;
    let (row, mut aliases) = (row.row()?, aliases.each(alias)?);
    aliases.sort_by(|one, other| one.alias.cmp(&other.alias));
    let (created_at, newest_version) = (row.time("created")?, row.get("newest")?);
    Ok((RegisteredModel { name: name.text()?, created_at, newest_version, aliases }, row))
}

/// The models, by name.
pub(super) async fn list(db: &Reader<'_>, request: &PageRequest) -> Work<Page<RegisteredModel>> {
    let (after, limit) = (registry::after(request)?, page::limit(request));
    let found = db.ask("models", json!({ "after": after, "limit": limit + 1 })).await?;
    Ok(registry::cut(found.each(|reply| Ok(model(reply)?.0))?, limit))
}

/// One model.
pub(super) async fn one(db: &Reader<'_>, name: &str) -> Work<Option<ModelDetail>> {
    let Some(found) = db.ask("model", json!({ "name": name })).await?.first()? else { return Ok(None) };
    let (model, row) = model(found)?;
    Ok(Some(ModelDetail::new(model, row.text("card"))))
}

/// The versions of a model, newest first.
pub(super) async fn versions(db: &Reader<'_>, name: &str, request: &PageRequest) -> Work<Page<ModelVersion>> {
    let (before, limit) = (bound(page::before(request)?), page::limit(request));
    let version = |reply: Reply| {
        let [number, row, of, writer] = reply.parts()?;
        let (row, writer, number) = (row.row()?, writer.row()?, number.value()?);
        let version = ModelVersion {
            version: number,
            artifact: artifact(&of.row()?)?,
            run_id: writer.opt("id")?,
            run_number: writer.opt("number")?,
            action: writer.text("action"),
            registered_at: row.time("at")?,
            by: row.text("by"),
            note: row.text("note"),
        };
        Ok((number.cast_signed(), version))
    };
    let found = db.ask("model_versions", json!({ "name": name, "before": before, "limit": limit + 1 })).await?;
    Ok(page::cut(found.each(version)?, limit))
}

/// The moves of all aliases of a model, newest first.
pub(super) async fn moves(db: &Reader<'_>, name: &str, request: &PageRequest) -> Work<Page<AliasMove>> {
    let (before, limit) = (bound(page::before(request)?), page::limit(request));
    let moved = |reply: Reply| {
        let moved = alias_move(reply)?;
        Ok((moved.seq.cast_signed(), moved))
    };
    let found = db.ask("alias_moves", json!({ "name": name, "before": before, "limit": limit + 1 })).await?;
    Ok(page::cut(found.each(moved)?, limit))
}
