//! Events, manifests, pauses and notifications.

use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::{bound, time};
use super::reader::Reader;
use super::reply::{Fail, Reply, Row, Work};
use crate::base::bounds::MAX_PAGE;
use crate::base::{Digest, RunId, Timestamp};
use crate::model::{Event, NodeKind, Notification, NotifyCause, Page, Pause};
use crate::store::{MAX_NOTIFICATIONS, NotificationQuery, PageRequest, Revision, page};

/// Events after a number, oldest first.
pub(super) async fn events(db: &Reader<'_>, after: u64, run: Option<RunId>, limit: u32) -> Work<Vec<Event>> {
    let limit = limit.clamp(1, MAX_PAGE);
    let arguments = json!({ "after": super::arguments::bounded(after), "run": run, "limit": limit });
    db.ask("events", arguments).await?.each(event)
}

fn event(reply: Reply) -> Work<Event> {
    let [id, fields] = reply.parts()?;
    let (id, row) = (id.text()?, fields.row()?);
    let seq = id.split('-').next().unwrap_or_default().to_owned();
    Ok(Event {
        seq: Reply::Text(seq).value()?,
        epoch: row.get("e")?,
        time: row.time("t")?,
        kind: row.get("k")?,
        v: 1,
        run_id: row.opt("r")?,
        action: row.text("a"),
        attempt: row.opt("m")?,
        artifact_id: row.opt("f")?,
        data: row.json("d")?,
    })
}

/// The most events that one write drops.
pub(super) const PRUNE_BATCH: u64 = 1_000;

/// A manifest on record.
pub(super) async fn revision(db: &Reader<'_>, digest: Digest) -> Work<Option<Revision>> {
    let row = db.ask("revision", json!({ "digest": digest })).await?.row()?;
    if row.is_empty() {
        return Ok(None);
    }
    let (manifest, components) = (row.get("manifest")?, row.json("components")?);
    Ok(Some(Revision { digest, manifest, components, registered_at: row.time("registered")? }))
}

/// The settings of the pipeline.
pub(super) async fn settings(db: &Reader<'_>) -> Work<Row> {
    db.ask("settings", json!({})).await?.row()
}

/// A resource's cursor.
pub(super) async fn cursor(db: &Reader<'_>, resource: &str) -> Work<Option<String>> {
    db.ask("cursor", json!({ "resource": resource })).await?.first()?.map(Reply::text).transpose()
}

/// A pause, as it is stored.
#[derive(Deserialize)]
struct StoredPause {
    kind: NodeKind,
    name: String,
    since: String,
    reason: Option<String>,
}

/// Reads a pause.
pub(super) fn pause(reply: Reply) -> Work<Pause> {
    let StoredPause { kind, name, since, reason } = serde_json::from_str(&reply.text()?)?;
    Ok(Pause { kind, name, since: Timestamp::from_micros(Reply::Text(since).value()?), reason })
}

/// All pauses, by kind and name.
pub(super) async fn pauses(db: &Reader<'_>) -> Work<Vec<Pause>> {
    let mut pauses = db.ask("paused_nodes", json!({})).await?.each(pause)?;
    pauses.sort_by(|one, other| (one.kind.as_str(), &one.name).cmp(&(other.kind.as_str(), &other.name)));
    Ok(pauses)
}

/// The arguments of a notification. What changes later is beside its text.
pub(super) fn arguments(new: &Notification) -> Work<Value> {
    Ok(json!({
        "id": new.id, "name": new.name, "cause": new.cause, "resource": new.resource, "state": new.state,
        "attempts": new.attempts, "error": new.error, "ended": new.ended_at.map(time),
        "text": serde_json::to_string(new)?, "most": MAX_NOTIFICATIONS,
    }))
}

fn notification(row: &Row) -> Work<Notification> {
    let first: Notification = row.json("text")?;
    Ok(Notification {
        state: row.get("state")?,
        attempts: row.get("attempts")?,
        error: row.text("error"),
        ended_at: row.opt_time("ended")?,
        ..first
    })
}

/// Notifications, newest first.
pub(super) async fn notifications(
    db: &Reader<'_>,
    query: &NotificationQuery,
    request: &PageRequest,
) -> Work<Page<Notification>> {
    let (before, limit) = (bound(page::before(request)?), page::limit(request));
    let item = |reply: Reply| {
        let row = reply.row()?;
        Ok((row.get("seq")?, notification(&row)?))
    };
    let arguments = json!({ "name": query.name, "before": before, "limit": limit + 1 });
    Ok(page::cut(db.ask("notifications", arguments).await?.each(item)?, limit))
}

/// The notifications for a receiver that wait for delivery, oldest first.
pub(super) async fn waiting(db: &Reader<'_>, name: &str, limit: u32) -> Work<Vec<Notification>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let rows = db.ask("waiting_notifications", json!({ "name": name, "limit": limit })).await?;
    rows.each(|reply| notification(&reply.row()?))
}

/// The newest notification for a receiver with this cause about this resource, or about none.
pub(super) async fn last(
    db: &Reader<'_>,
    name: &str,
    cause: NotifyCause,
    resource: Option<&str>,
) -> Work<Option<Notification>> {
    let arguments = json!({ "name": name, "cause": cause, "resource": resource });
    let row = db.ask("last_notification", arguments).await?.first()?;
    row.map(|row| notification(&row.row()?)).transpose()
}

/// The resources that cannot be reached, each with a receiver that was told so.
pub(super) async fn told_outages(db: &Reader<'_>) -> Work<Vec<(String, String)>> {
    let pair = |reply: Reply| Ok::<_, Fail>(serde_json::from_str(&reply.text()?)?);
    let mut pairs: Vec<(String, String)> = db.ask("told_outages", json!({})).await?.each(pair)?;
    pairs.sort();
    Ok(pairs)
}
