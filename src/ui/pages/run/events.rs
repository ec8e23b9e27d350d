//! `/runs/{run}/events`: what happened to the run, in the order of the record.

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;

use super::top::{self, Tab, Top};
use crate::model::{Event, RunDetail};
use crate::scheduler::View;
use crate::ui::page::{self, Params, Refusal, Result};
use crate::ui::{Pages, text};

/// Events on a page.
const EVENTS: u32 = 100;

#[derive(Debug, Serialize)]
struct Content {
    top: Top,
    rows: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    seq: u64,
    at: text::Moment,
    kind: String,
    action: Option<String>,
    /// Its data: name and value.
    data: Vec<(String, String)>,
}

/// `GET /runs/{run}/events`
pub(in crate::ui) async fn show(State(pages): State<Pages>, Path(name): Path<String>, uri: Uri) -> Response {
    let gathered = gather(&pages.view, &name, &uri).await;
    page::answer(&pages, gathered.map(|(detail, content)| (top::head(&detail, "run_events.html"), content))).await
}

async fn gather(view: &View, name: &str, uri: &Uri) -> Result<(RunDetail, Content)> {
    let (detail, params) = (top::find(view, name).await?, Params::of(uri)?);
    let after = params.text("after").map_or(Ok(0), str::parse::<u64>);
    let after = after.map_err(|_| Refusal::Invalid("`after` must be the number of an event.".to_owned()))?;
    let events = view.store.events(after, Some(detail.run.id), EVENTS).await?;
    let path = format!("/runs/{}/events", detail.run.number);
    let next =
        events.last().filter(|_| events.len() >= EVENTS as usize).map(|last| format!("{path}?after={}", last.seq));
    let content = Content {
        top: Top::gather(view, &detail, Tab::Events).await?,
        rows: events.into_iter().map(row).collect(),
        first: (after > 0).then_some(path),
        next,
    };
    Ok((detail, content))
}

fn row(event: Event) -> Row {
    let data = event.data.as_object().map(|data| {
        let given = data.iter().filter(|(_, value)| !value.is_null());
        given.map(|(name, text)| (name.clone(), value(text))).collect()
    });
    Row {
        seq: event.seq,
        at: text::both(event.time),
        kind: event.kind.as_str().replace('_', " "),
        action: event.action,
        data: data.unwrap_or_default(),
    }
}

/// Returns a value in short: of a digest its beginning, of an error its message.
fn value(value: &serde_json::Value) -> String {
    let part = |name: &str| value.get(name).and_then(serde_json::Value::as_str);
    if let (Some(code), Some(message)) = (part("code"), part("message")) {
        return format!("{code}: {message}");
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match text.get(..19) {
        Some(start) if text.starts_with("sha256:") => format!("{start}…"),
        _ => text,
    }
}
