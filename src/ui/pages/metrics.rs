//! `/runs/metrics`: what runs have measured, newest first.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;

use crate::base::double;
use crate::model::MetricRecord;
use crate::scheduler::View;
use crate::store::FactQuery;
use crate::ui::page::{self, Head, Params, Result, Section};
use crate::ui::{Pages, text};

/// Metrics on a page.
const METRICS: u32 = 50;
const PATH: &str = "/runs/metrics";

#[derive(Debug, Serialize)]
struct Content {
    rows: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    run: u64,
    action: String,
    name: String,
    value: String,
    step: Option<u64>,
    at: text::Moment,
}

/// `GET /runs/metrics`
pub(in crate::ui) async fn show(State(pages): State<Pages>, uri: Uri) -> Response {
    let content = gather(&pages.view, &uri).await;
    let head = Head::of(Section::Metrics, "metrics.html", "Metrics");
    page::answer(&pages, content.map(|content| (head, content))).await
}

async fn gather(view: &View, uri: &Uri) -> Result<Content> {
    let params = Params::of(uri)?;
    let page = view.store.metrics(FactQuery::default(), params.page(METRICS)).await?;
    Ok(Content {
        rows: page.items.into_iter().map(row).collect(),
        first: params.text("cursor").map(|_| PATH.to_owned()),
        next: page.next_cursor.map(|cursor| params.link(PATH, &["cursor"], &[("cursor", &cursor)])),
    })
}

fn row(metric: MetricRecord) -> Row {
    Row {
        run: metric.run_number,
        action: metric.action,
        name: metric.name,
        value: double::text(metric.value),
        step: metric.step,
        at: text::both(metric.recorded_at),
    }
}
