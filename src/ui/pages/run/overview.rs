//! `/runs/{run}`: what happened, why, and what to do about it.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::attempts::{self, ActionRow, Live};
use super::held;
use super::lines::{Line, telling};
use super::top::{self, Tab, Top};
use crate::base::bounds::cut;
use crate::base::{ByteSize, Clock as _, SystemClock};
use crate::graph::Graph;
use crate::model::{AccessKind, Artifact, ArtifactState, Attempt, LogRange, MetricRecord, ParamRecord, Run, RunDetail};
use crate::scheduler::{View, graph_of_run};
use crate::store::{FactQuery, LineageEdge, PageRequest};
use crate::ui::page::{self, Result};
use crate::ui::svg::timeline::{self, Output, Timeline};
use crate::ui::{Pages, text};

/// Edges of lineage that are looked at for outputs.
const EDGES: u32 = 200;
/// Events that are looked at for waits.
const EVENTS: u32 = 500;
/// Most inputs, outputs, metrics and tags that are shown; other pages have them all.
const SHOWN: u32 = 12;
/// Most bytes of a param that are shown.
const MOST_SHOWN: usize = 1_000;
/// Facts that are looked at for the last one of each name.
const FACTS: u32 = 300;
/// Log lines of a failed attempt that are shown.
const LOG_LINES: u32 = 12;

#[derive(Debug, Serialize)]
struct Content {
    top: Top,
    timeline: Timeline,
    failure: Option<Excerpt>,
    actions: Vec<ActionRow>,
    /// The actions that have a page: those of the manifest in force.
    known: Vec<String>,
    inputs: Vec<Item>,
    inputs_count: u64,
    outputs: Vec<Item>,
    more_outputs: bool,
    params: Vec<(String, String)>,
    facts: Vec<Fact>,
    more_facts: bool,
    chosen: Vec<(String, String)>,
    tags: Vec<(String, String)>,
}

/// The end of the log of the attempt with which the run failed.
#[derive(Debug, Serialize)]
struct Excerpt {
    action: String,
    attempt: u32,
    lines: Vec<Line>,
    /// The address of the line that most likely says why.
    href: String,
}

/// An artifact in short.
#[derive(Debug, Serialize)]
pub(super) struct Item {
    pub(super) resource: String,
    pub(super) path: String,
    pub(super) version: u64,
    pub(super) size: String,
    pub(super) href: String,
    pub(super) tags: Vec<String>,
    /// Why this version is not in its resource.
    pub(super) gone: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Fact {
    name: String,
    value: text::Numeral,
    action: String,
}

/// `GET /runs/{run}`
pub(in crate::ui) async fn show(State(pages): State<Pages>, Path(name): Path<String>) -> Response {
    render(&pages, &name, None).await
}

/// Answers with the page. `refusal` says why what the reader has sent was not done.
pub(super) async fn render(pages: &Pages, name: &str, refusal: Option<(StatusCode, String)>) -> Response {
    let gathered = gather(&pages.view, name).await.map(|(detail, content)| {
        let head = top::head(&detail, "run.html");
        let head = match refusal {
            Some((status, why)) => head.refusing(status, why, format!("/runs/{}", detail.run.number)),
            None => head,
        };
        (head, content)
    });
    page::answer(pages, gathered).await
}

async fn gather(view: &View, name: &str) -> Result<(RunDetail, Content)> {
    let (detail, now) = (top::find(view, name).await?, SystemClock.now());
    let (run, store) = (detail.run.id, &view.store);
    let first = |limit| PageRequest { cursor: None, limit };
    let edges = store.lineage(run, first(EDGES)).await?;
    let more_edges = edges.next_cursor.is_some();
    let written: Vec<LineageEdge> = edges.items.into_iter().filter(|edge| edge.kind == AccessKind::Wrote).collect();
    let held = held::times(&store.events(0, Some(run), EVENTS).await?);
    let inputs = store.run_inputs(run, first(SHOWN)).await?;
    let facts = || FactQuery { run: Some(run), ..FactQuery::default() };
    let metrics = store.metrics(facts(), first(FACTS)).await?;
    let (more_metrics, values) = (metrics.next_cursor.is_some(), last_values(metrics.items));
    let live = Live { progress: view.control.progress(), outages: view.control.outages() };
    let graph = graph_if_ended(view, &detail.run).await;
    let params = detail.run.params.as_object().map(|params| params.iter().map(shown).collect());
    let content = Content {
        top: Top::gather(view, &detail, Tab::Overview).await?,
        timeline: timeline::draw(&detail, &written.iter().map(output).collect::<Vec<_>>(), &held, now),
        failure: excerpt(view, &detail).await,
        actions: attempts::rows(&detail, graph.as_ref(), &live, now),
        known: view.pipeline().actions.iter().map(|action| action.name.clone()).collect(),
        inputs_count: store.count_inputs(run).await?,
        inputs: inputs.items.iter().map(item).collect(),
        more_outputs: more_edges || written.len() > SHOWN as usize,
        outputs: written.iter().take(SHOWN as usize).map(|edge| item(&edge.artifact)).collect(),
        params: params.unwrap_or_default(),
        more_facts: more_metrics || values.len() > SHOWN as usize,
        facts: values.into_iter().take(SHOWN as usize).collect(),
        chosen: last_params(store.params(facts(), first(FACTS)).await?.items),
        tags: store.tags(facts(), first(SHOWN)).await?.items.into_iter().map(|it| (it.name, it.value)).collect(),
    };
    Ok((detail, content))
}

/// Returns the graph of a run that has ended, which tells what comes after each action. `None` also
/// if its manifest cannot be read now: then no retry from an action is offered.
async fn graph_if_ended(view: &View, run: &Run) -> Option<Graph> {
    if !run.state.ended() {
        return None;
    }
    graph_of_run(view.store.as_ref(), run, &view.pipeline()).await.ok()
}

/// Returns the last value of each metric of each action. The newest come first.
fn last_values(metrics: Vec<MetricRecord>) -> Vec<Fact> {
    let mut seen = BTreeSet::new();
    let last = metrics.into_iter().filter(|it| seen.insert((it.action.clone(), it.name.clone())));
    last.map(|it| Fact { name: it.name, value: text::numeral(it.value), action: it.action }).collect()
}

/// Returns the last value of each recorded param of each action. The newest come first.
fn last_params(params: Vec<ParamRecord>) -> Vec<(String, String)> {
    let mut seen = BTreeSet::new();
    let last = params.into_iter().filter(|it| seen.insert((it.action.clone(), it.name.clone())));
    last.map(|it| (it.name, it.value)).take(SHOWN as usize).collect()
}

/// Returns a param as it is shown; the JSON of the run has all of a long one.
fn shown((name, value): (&String, &serde_json::Value)) -> (String, String) {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    (name.clone(), cut(&text, MOST_SHOWN).into_owned())
}

fn output(edge: &LineageEdge) -> Output {
    let artifact = &edge.artifact;
    Output {
        attempt: edge.attempt_id,
        name: format!("{} in {}, version {}", artifact.path, artifact.resource, artifact.version),
        at: artifact.created_at,
        href: text::artifact_address(artifact.id),
    }
}

/// Returns an artifact in short.
pub(super) fn item(artifact: &Artifact) -> Item {
    Item {
        resource: artifact.resource.clone(),
        path: artifact.path.clone(),
        version: artifact.version,
        size: ByteSize(artifact.size).to_string(),
        href: text::artifact_address(artifact.id),
        tags: artifact.tags.clone(),
        gone: match artifact.state {
            ArtifactState::NotTaken => Some("not taken by its service"),
            _ => (!artifact.present).then_some("overwritten or deleted since"),
        },
    }
}

/// Returns the end of the log that says why the run failed.
async fn excerpt(view: &View, detail: &RunDetail) -> Option<Excerpt> {
    let attempt = super::outcome::culprit(detail)?;
    let Attempt { id, log_from, log_to, .. } = *attempt;
    let logs = view.logs.clone();
    // The log is a file, so it is read on a blocking thread.
    let tail =
        tokio::task::spawn_blocking(move || logs.tail(id, LogRange { from: log_from, to: log_to }, None, LOG_LINES));
    let tail = match tail.await {
        Ok(Ok(tail)) => tail,
        // Without its log, the page says what it can.
        Ok(Err(error)) => {
            tracing::warn!("a page lacks the end of a log: {error}");
            return None;
        }
        Err(error) => {
            tracing::error!("failed to read a log: {error}");
            return None;
        }
    };
    let page = format!("/runs/{}/logs?attempt={id}&at={}", detail.run.number, text::encoded(&tail.first));
    let number = telling(&tail.items)?;
    Some(Excerpt {
        action: attempt.action.clone(),
        attempt: attempt.number,
        lines: tail.items.iter().map(|line| Line::of(line, &page, line.n == number)).collect(),
        href: format!("{page}&line={number}#L{number}"),
    })
}
