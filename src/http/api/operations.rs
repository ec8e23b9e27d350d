//! `/healthz`, `/readyz` and `/metrics`: for process supervisors and monitoring.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::base::bounds::MAX_PAGE;
use crate::base::{Clock as _, SystemClock, TimeSpan, Timestamp};
use crate::http::problem::{Problem, Result};
use crate::http::query::Query;
use crate::http::{App, MAX_EVENT_CLIENTS};
use crate::model::RunState;
use crate::resource::Status;
use crate::store::{PageRequest, RunQuery};

/// How long `/readyz` waits for the store's answer.
const STORE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// That all is well.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Status)]
pub(super) struct StatusBody {
    /// `ok` for the process, `ready` for all parts of the host.
    status: &'static str,
}

/// `GET /healthz`: answers if the process is alive. It checks nothing else, so that a slow disk
/// does not get the process killed.
pub(super) async fn health(uri: Uri) -> Result<Json<StatusBody>> {
    Query::parse(&uri, &[])?;
    Ok(Json(StatusBody { status: "ok" }))
}

/// `GET /readyz`: answers whether all parts of the host are ready.
pub(super) async fn ready(State(app): State<App>, uri: Uri) -> Result<Json<StatusBody>> {
    Query::parse(&uri, &[])?;
    // At each request, because an idle host writes no lines that could fail.
    app.view.control.check_logs().await;
    let mut reasons = app.view.control.not_ready();
    reasons.extend(store_trouble(&app).await);
    if reasons.is_empty() { Ok(Json(StatusBody { status: "ready" })) } else { Err(Problem::not_ready(reasons)) }
}

/// Returns the answer of any route while the host starts. The first start of a pipeline compiles
/// its components, which can take minutes.
pub(in crate::http) fn starting() -> Problem {
    Problem::not_ready(vec!["starting: the components are compiled or loaded".to_owned()])
}

/// Returns why the store cannot be written, if so. Checked at each request, because an idle host
/// makes no writes that could fail.
async fn store_trouble(app: &App) -> Option<String> {
    let why = match tokio::time::timeout(STORE_ANSWERS_WITHIN, app.view.store.probe()).await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the metadata store has not answered for {}", TimeSpan(STORE_ANSWERS_WITHIN)),
    };
    Some(format!("nothing can be recorded: {why}"))
}

/// `GET /metrics`: metrics in the text format of Prometheus. Gauges and totals that the store has
/// are read at each scrape. Events (ended runs, attempts, requests) are counted through the
/// `metrics` facade since the start.
pub(super) async fn metrics(State(app): State<App>, uri: Uri) -> Result<Response> {
    Query::parse(&uri, &[])?;
    let mut text = Figures::default();
    store_figures(&app, &mut text).await?;
    resource_figures(&app, &mut text).await?;
    let clients = MAX_EVENT_CLIENTS - app.event_clients.available_permits();
    text.one("anacostia_event_clients", "gauge", "Clients that follow the event stream.", clients);
    process_figures(&mut text, app.started_at);
    let mut text = text.0;
    if let Some(recorder) = &app.recorder {
        recorder.run_upkeep();
        text.push_str(&recorder.render());
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

async fn store_figures(app: &App, text: &mut Figures) -> Result<()> {
    let store = &app.view.store;
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    text.head("anacostia_build_info", "gauge", "The version, as a label.");
    text.line("anacostia_build_info", &version, 1);
    let paused = store.paused().await?;
    text.one("anacostia_pipeline_paused", "gauge", "1 while the pipeline is paused.", u8::from(paused));
    text.head("anacostia_node_paused", "gauge", "1 while the resource or action is paused.");
    for pause in store.paused_nodes().await? {
        let labels = [("type", pause.kind.as_str()), ("name", pause.name.as_str())];
        text.line("anacostia_node_paused", &labels, 1);
    }
    let concurrency = app.view.control.concurrency();
    text.head("anacostia_concurrency_in_use", "gauge", "Attempts that use a name of pipeline.concurrency.");
    for (name, used) in &concurrency {
        text.line("anacostia_concurrency_in_use", &[("name", name)], used.in_use);
    }
    text.head("anacostia_concurrency_waiting", "gauge", "Actions that wait for it.");
    for (name, used) in &concurrency {
        text.line("anacostia_concurrency_waiting", &[("name", name)], used.waiting);
    }
    let ready = app.view.control.not_ready().is_empty();
    text.one("anacostia_ready", "gauge", "1 while all parts of the host are ready.", u8::from(ready));
    text.one(
        "anacostia_store_epoch",
        "gauge",
        "Number of hosts that have opened the store, including this one.",
        store.epoch(),
    );
    let newest_event = *store.newest_event().borrow();
    text.one("anacostia_events_total", "counter", "Events that were ever recorded.", newest_event);
    let newest = store.runs(RunQuery::default(), PageRequest { cursor: None, limit: 1 }).await?;
    let created = newest.items.first().map_or(0, |run| run.number);
    text.one("anacostia_runs_created_total", "counter", "Runs that were ever created.", created);
    text.head("anacostia_runs_unfinished", "gauge", "Runs that have not ended, by state.");
    for state in [RunState::Queued, RunState::Running, RunState::Cancelling] {
        let count = store.count_runs(state).await?;
        text.line("anacostia_runs_unfinished", &[("state", state.as_str())], count);
    }
    // At most a page of them is counted, which is more than anybody would decide about.
    let waiting = store.awaiting_approval(PageRequest { cursor: None, limit: MAX_PAGE }).await?.items;
    text.one("anacostia_actions_awaiting_approval", "gauge", "Actions that wait for approval.", waiting.len());
    let now = SystemClock.now();
    let longest = waiting.first().map_or(0.0, |it| now.since(it.approval.since).as_secs_f64());
    text.one("anacostia_approval_oldest_waiting_seconds", "gauge", "How long the first of them has waited.", longest);
    Ok(())
}

async fn resource_figures(app: &App, text: &mut Figures) -> Result<()> {
    let now = SystemClock.now();
    let watches = app.view.control.watches();
    let mut waiting = Vec::new();
    let pipeline = app.view.pipeline();
    for resource in pipeline.resources.iter().filter(|resource| resource.watch) {
        waiting.push((resource.name.as_str(), app.view.store.pending(&resource.name).await?));
    }
    text.head("anacostia_artifacts_waiting", "gauge", "New artifacts that no run has claimed.");
    for (name, pending) in &waiting {
        text.line("anacostia_artifacts_waiting", &[("resource", name)], pending.count);
    }
    text.head("anacostia_artifacts_waiting_bytes", "gauge", "Their bytes.");
    for (name, pending) in &waiting {
        text.line("anacostia_artifacts_waiting_bytes", &[("resource", name)], pending.bytes);
    }
    text.head("anacostia_artifacts_oldest_waiting_seconds", "gauge", "How long the oldest of them has waited.");
    for (name, pending) in &waiting {
        let seconds = pending.oldest_at.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
        text.line("anacostia_artifacts_oldest_waiting_seconds", &[("resource", name)], seconds);
    }
    text.head("anacostia_resource_watched", "gauge", "1 while changes are seen, at once or by scanning.");
    for (name, _) in &waiting {
        let seen = matches!(watches.get(*name), Some(Status::Watching | Status::Scanning(_)));
        text.line("anacostia_resource_watched", &[("resource", name)], u8::from(seen));
    }
    Ok(())
}

/// Adds the standard metrics of a process, if the system provides them.
fn process_figures(text: &mut Figures, started_at: Timestamp) {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of now are far below 2^53")]
    let started = started_at.as_micros() as f64 / 1e6;
    text.one("process_start_time_seconds", "gauge", "When the server started, since 1970.", started);
    if let Ok(memory) = std::fs::read_to_string("/proc/self/statm")
        && let Some(pages) = memory.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok())
    {
        let bytes = pages.saturating_mul(rustix::param::page_size() as u64);
        text.one("process_resident_memory_bytes", "gauge", "Resident memory.", bytes);
    }
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = std::time::Duration::try_from(cpu).unwrap_or_default().as_secs_f64();
    text.one("process_cpu_seconds_total", "counter", "CPU time of all threads.", seconds);
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        text.one("process_open_fds", "gauge", "Open file descriptors.", files.count());
    }
}

/// Text in the format of Prometheus.
#[derive(Debug, Default)]
struct Figures(String);

impl Figures {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Labels are names of nodes and fixed words, so they need no escaping.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{}}} {value}", labels.join(","))
        };
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(name, &[], value);
    }
}
