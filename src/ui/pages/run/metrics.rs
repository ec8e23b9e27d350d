//! `/runs/{run}/metrics`: what the run's actions have recorded: metrics with their charts, params,
//! tags.

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;

use super::curves::{Asked, Curves};
use super::top::{self, Tab, Top};
use crate::model::{MetricRecord, RunDetail};
use crate::scheduler::View;
use crate::store::{FactQuery, PageRequest};
use crate::ui::page::{self, Params, Result};
use crate::ui::{Pages, text};

/// Metrics on a page.
const METRICS: u32 = 100;
/// Most params and tags.
const OTHERS: u32 = 200;

#[derive(Debug, Serialize)]
struct Content {
    top: Top,
    /// The charts; `None` on a later page of the list.
    curves: Option<Curves>,
    rows: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
    /// Recorded params: action, name, value.
    params: Vec<(String, String, String)>,
    tags: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
struct Row {
    action: String,
    name: String,
    value: text::Numeral,
    step: Option<u64>,
    at: text::Moment,
    /// Whether its attempt succeeded.
    counts: bool,
}

/// `GET /runs/{run}/metrics`
pub(in crate::ui) async fn show(State(pages): State<Pages>, Path(name): Path<String>, uri: Uri) -> Response {
    let gathered = gather(&pages.view, &name, &uri).await;
    page::answer(&pages, gathered.map(|(detail, content)| (top::head(&detail, "run_metrics.html"), content))).await
}

async fn gather(view: &View, name: &str, uri: &Uri) -> Result<(RunDetail, Content)> {
    let (detail, params) = (top::find(view, name).await?, Params::of(uri)?);
    let facts = || FactQuery { run: Some(detail.run.id), ..FactQuery::default() };
    let others = || PageRequest { cursor: None, limit: OTHERS };
    let page = view.store.metrics(facts(), params.page(METRICS)).await?;
    let path = format!("/runs/{}/metrics", detail.run.number);
    let recorded = view.store.params(facts(), others()).await?.items;
    let tags = view.store.tags(facts(), others()).await?.items;
    let curves = match params.text("cursor") {
        None => Some(Curves::gather(view, &detail.run, Asked::of(&params)?).await?),
        Some(_) => None,
    };
    let content = Content {
        top: Top::gather(view, &detail, Tab::Metrics).await?,
        curves,
        rows: page.items.into_iter().map(row).collect(),
        first: params.text("cursor").map(|_| params.link(&path, &["cursor"], &[])),
        next: page.next_cursor.map(|cursor| params.link(&path, &["cursor"], &[("cursor", &cursor)])),
        params: recorded.into_iter().map(|it| (it.action, it.name, it.value)).collect(),
        tags: tags.into_iter().map(|it| (it.name, it.value)).collect(),
    };
    Ok((detail, content))
}

fn row(metric: MetricRecord) -> Row {
    Row {
        action: metric.action,
        name: metric.name,
        value: text::numeral(metric.value),
        step: metric.step,
        at: text::both(metric.recorded_at),
        counts: metric.succeeded,
    }
}
