//! `/`: the pipeline. What it does now as a graph, what waits for what, and what happened last.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::approvals::{self, Approvals};
use super::graph::{self, GraphView};
use super::headline::{self, Headline, RunBars};
use super::nodes::Now;
use super::params_form::ParamsForm;
use super::taken;
use super::triggers::TriggerCard;
use crate::base::{ByteSize, Clock as _, RunId, SystemClock, Timestamp};
use crate::manifest::{ResourceSpec, Trigger};
use crate::model::Run;
use crate::scheduler::{View, preview_triggers};
use crate::store::{PageRequest, RunQuery, what_next};
use crate::ui::page::{self, Head, Result, Section};
use crate::ui::svg::bars::BARS;
use crate::ui::{Pages, look, text};

/// Most runs in the table.
const RUNS: usize = 10;
/// How many triggers the page shows with what they wait for.
const TRIGGERS: usize = 8;

#[derive(Debug, Serialize)]
struct Home {
    approvals: Approvals,
    graph: Option<GraphView>,
    /// Whether the pipeline is paused.
    is_paused: bool,
    actions: usize,
    /// The first ones.
    triggers: Vec<TriggerCard>,
    more_triggers: usize,
    bars: RunBars,
    metrics: Vec<Headline>,
    runs: Vec<RunRow>,
    more_runs: bool,
    params: ParamsForm,
    /// The id of the run that the form starts.
    new_run: String,
    /// What that run takes; `None` if no resource is watched.
    takes: Option<String>,
    /// Whether the form that starts a run is open.
    is_run_open: bool,
    /// Where to put the first file, and what a run needs: for each watched resource.
    places: Vec<PlaceRow>,
}

#[derive(Debug, Serialize)]
struct RunRow {
    number: u64,
    state: &'static str,
    icon: &'static str,
    reason: Option<String>,
    trigger: String,
    started: Option<text::Moment>,
    duration: Option<String>,
}

#[derive(Debug, Serialize)]
struct PlaceRow {
    name: String,
    place: String,
    needs: String,
}

/// What the form that starts a run has sent, if it was refused.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) params: BTreeMap<String, String>,
    pub(super) is_open: bool,
}

/// `GET /`
pub(in crate::ui) async fn show(State(pages): State<Pages>) -> Response {
    render(&pages, StatusCode::OK, None).await
}

/// Answers with the page. `refusal` says why what the reader has sent was not recorded.
pub(super) async fn render(pages: &Pages, status: StatusCode, refusal: Option<String>) -> Response {
    render_with(pages, status, refusal, Sent::default()).await
}

/// The same with what the form that starts a run has sent.
pub(super) async fn render_with(pages: &Pages, status: StatusCode, refusal: Option<String>, sent: Sent) -> Response {
    let content = gather(pages, &sent).await;
    let mut head = Head::of(Section::Pipeline, "home.html", pages.view.pipeline().name.clone());
    if let Some(why) = refusal {
        head = head.refusing(status, why, "/");
    }
    page::answer(pages, content.map(|content| (head, content))).await
}

async fn gather(pages: &Pages, sent: &Sent) -> Result<Home> {
    let view = &pages.view;
    let pipeline = view.pipeline();
    let at = SystemClock.now();
    let now = Now::look(view, &pipeline, at).await?;
    let page = view.store.runs(RunQuery::default(), PageRequest { cursor: None, limit: BARS }).await?;
    let watches = view.control.watches();
    let previews = preview_triggers(view.store.as_ref(), &pipeline, Some(&watches), SystemClock.both()).await?;
    let watched = pipeline.resources.iter().filter(|resource| resource.watch);
    Ok(Home {
        approvals: approvals::first(view).await?,
        graph: graph::whole(pages, &pipeline, &now).await,
        is_paused: view.store.paused().await?,
        actions: pipeline.actions.len(),
        more_triggers: previews.len().saturating_sub(TRIGGERS),
        triggers: previews
            .into_iter()
            .take(TRIGGERS)
            .map(|preview| TriggerCard::of(&pipeline, &now, preview, at))
            .collect(),
        bars: headline::bars(&page.items, at),
        metrics: headline::metrics(view).await?,
        more_runs: page.items.len() > RUNS,
        runs: run_rows(view, page.items, at).await?,
        params: ParamsForm::of(&pipeline, &sent.params),
        new_run: RunId::new().to_string(),
        takes: taken::all(&pipeline),
        is_run_open: sent.is_open,
        places: watched.map(|resource| place_row(view, resource)).collect(),
    })
}

async fn run_rows(view: &View, runs: Vec<Run>, now: Timestamp) -> Result<Vec<RunRow>> {
    let mut rows = Vec::new();
    for run in runs.into_iter().take(RUNS) {
        let next = what_next(view.store.as_ref(), &run, "").await?;
        rows.push(run_row(run, next, now));
    }
    Ok(rows)
}

fn run_row(run: Run, next: Option<String>, now: Timestamp) -> RunRow {
    let reason: Vec<String> = run.reason.as_deref().map(text::in_list).into_iter().chain(next).collect();
    let duration = run.started_at.map(|started| text::span(run.ended_at.unwrap_or(now).since(started)));
    RunRow {
        number: run.number,
        state: run.state.as_str(),
        icon: look::run(run.state).0,
        reason: Some(reason.join("; ")).filter(|reason| !reason.is_empty()),
        trigger: run.trigger,
        started: run.started_at.map(text::both),
        duration,
    }
}

fn place_row(view: &View, resource: &ResourceSpec) -> PlaceRow {
    PlaceRow { name: resource.name.clone(), place: place(view, resource), needs: needs(&resource.trigger) }
}

/// Returns where to put files.
pub(super) fn place(view: &View, resource: &ResourceSpec) -> String {
    view.pipeline().unexpanded_place(resource).unwrap_or_else(|| resource.location())
}

fn needs(trigger: &Trigger) -> String {
    let mut needs = text::count(trigger.min_artifacts, "new artifact", "new artifacts");
    if trigger.min_bytes > 0 {
        let _ = write!(needs, " of {} in all", ByteSize(trigger.min_bytes));
    }
    if !trigger.quiet_for.is_zero() {
        let _ = write!(needs, ", and nothing more for {}", text::span(trigger.quiet_for));
    }
    if let Some(pattern) = &trigger.group_by {
        let _ = write!(needs, " of one group of {}", pattern.as_str());
    }
    for condition in &trigger.when {
        let _ = write!(needs, ", and {}", condition.describe());
    }
    if let Some(wait) = trigger.max_wait {
        let _ = write!(needs, ", or one that has waited for {}", text::span(wait));
    }
    needs
}
