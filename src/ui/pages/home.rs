//! `/`: the last runs, what waits, and what to do next.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::approvals::{self, Approvals};
use crate::base::{ByteSize, Clock as _, SystemClock, Timestamp};
use crate::manifest::{ResourceSpec, Trigger};
use crate::model::{ConditionSeen, Pending, Run, RunState, TickOutcome};
use crate::resource::Status;
use crate::scheduler::{Preview, View, preview_triggers};
use crate::store::{PageRequest, RunQuery, TickQuery};
use crate::ui::page::{self, Head, Result, Section};
use crate::ui::{Pages, text};

/// Most runs in the table.
const RUNS: u32 = 25;
/// Most paths that are shown of files that cannot be recorded yet, for each resource.
const UNRECORDED: usize = 5;

#[derive(Debug, Serialize)]
struct Home {
    approvals: Approvals,
    actions: usize,
    runs: Vec<RunRow>,
    more_runs: bool,
    resources: Vec<ResourceRow>,
    /// The triggers that are not those of a resource.
    triggers: Vec<TriggerRow>,
}

#[derive(Debug, Serialize)]
struct TriggerRow {
    name: String,
    state: &'static str,
    icon: &'static str,
    /// Why it is held, if so.
    held: Option<String>,
    /// When time alone would let it fire: in full, and as displayed.
    next: Option<text::Moment>,
    /// Each condition with what it sees, one line each.
    conditions: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RunRow {
    id: String,
    number: u64,
    state: &'static str,
    icon: &'static str,
    reason: Option<String>,
    trigger: String,
    started: Option<text::Moment>,
    duration: Option<String>,
}

#[derive(Debug, Serialize)]
struct ResourceRow {
    name: String,
    /// The path as written in the manifest.
    path: Option<String>,
    /// Where to put files.
    place: String,
    state: &'static str,
    icon: &'static str,
    reason: Option<String>,
    /// `nothing`, `3 artifacts, 4 KiB`.
    waiting: String,
    waits: bool,
    /// Files that cannot be recorded yet, one line each; the next field counts the others.
    unrecorded: Vec<String>,
    more_unrecorded: u64,
    oldest: Option<text::Moment>,
    /// The result of the trigger's last evaluation.
    tick: Option<String>,
    /// The condition that starts a run.
    needs: String,
}

/// `GET /`
pub(in crate::ui) async fn show(State(pages): State<Pages>) -> Response {
    render(&pages, StatusCode::OK, None).await
}

/// Answers with the page. `refusal` says why what the reader has sent was not recorded.
pub(super) async fn render(pages: &Pages, status: StatusCode, refusal: Option<String>) -> Response {
    let content = gather(&pages.view).await;
    let mut head = Head::of(Section::Pipeline, "home.html", pages.view.pipeline().name.clone());
    if let Some(why) = refusal {
        head = head.refusing(status, why, "/");
    }
    page::answer(pages, content.map(|content| (head, content))).await
}

async fn gather(view: &View) -> Result<Home> {
    let now = SystemClock.now();
    let page = view.store.runs(RunQuery::default(), PageRequest { cursor: None, limit: RUNS }).await?;
    let mut resources = Vec::new();
    let pipeline = view.pipeline();
    for resource in pipeline.resources.iter().filter(|resource| resource.watch) {
        resources.push(resource_row(view, resource).await?);
    }
    Ok(Home {
        approvals: approvals::first(view).await?,
        actions: pipeline.actions.len(),
        runs: page.items.into_iter().map(|run| run_row(run, now)).collect(),
        more_runs: page.next_cursor.is_some(),
        resources,
        triggers: trigger_rows(view).await?,
    })
}

async fn trigger_rows(view: &View) -> Result<Vec<TriggerRow>> {
    let (pipeline, watches) = (view.pipeline(), view.control.watches());
    if pipeline.triggers.is_empty() {
        return Ok(Vec::new());
    }
    let triggers = preview_triggers(view.store.as_ref(), &pipeline, Some(&watches), SystemClock.both()).await?;
    let others = triggers.into_iter().filter(|trigger| trigger.resource.is_none());
    Ok(others.map(trigger_row).collect())
}

fn trigger_row(trigger: Preview) -> TriggerRow {
    let (state, icon) = match trigger.outcome {
        TickOutcome::Fired => ("fires", "run"),
        TickOutcome::Held => ("held back", "stop"),
        TickOutcome::NotReady => ("not yet", "wait"),
        TickOutcome::Error => ("cannot decide", "bad"),
    };
    let conditions: Vec<String> = trigger.conditions.iter().flat_map(condition_lines).collect();
    TriggerRow {
        name: trigger.trigger,
        state,
        icon,
        held: trigger.held,
        // A single condition says it itself.
        next: trigger.next_at.filter(|_| conditions.len() > 1).map(text::both),
        conditions,
    }
}

/// Returns a line for a condition, or for each condition of a group.
fn condition_lines(seen: &ConditionSeen) -> Vec<String> {
    if !seen.conditions.is_empty() {
        return seen.conditions.iter().flat_map(condition_lines).collect();
    }
    let met = if seen.met { "met" } else { "not met" };
    vec![format!("{} {}: {} ({met})", seen.condition, seen.wanted, seen.seen)]
}

fn run_row(run: Run, now: Timestamp) -> RunRow {
    let icon = match run.state {
        RunState::Queued => "wait",
        RunState::Running => "run",
        RunState::Succeeded => "ok",
        RunState::Failed => "bad",
        RunState::Cancelling | RunState::Cancelled => "stop",
    };
    let next = (run.state == RunState::Failed).then(|| Run::what_next(run.number, ""));
    let reason: Vec<String> = run.reason.into_iter().chain(next).collect();
    let duration = run.started_at.map(|started| text::span(run.ended_at.unwrap_or(now).since(started)));
    RunRow {
        id: run.id.to_string(),
        number: run.number,
        state: run.state.as_str(),
        icon,
        reason: Some(reason.join("; ")).filter(|reason| !reason.is_empty()),
        trigger: run.trigger,
        started: run.started_at.map(text::both),
        duration,
    }
}

async fn resource_row(view: &View, resource: &ResourceSpec) -> Result<ResourceRow> {
    let pending = view.store.pending(&resource.name).await?;
    let query = TickQuery { trigger: Some(resource.name.clone()) };
    let ticks = view.store.ticks(query, PageRequest { cursor: None, limit: 1 }).await?;
    let (state, icon, reason) = match view.control.watches().remove(&resource.name) {
        None => ("starting", "wait", None),
        Some(Status::Reconciling) => ("reconciling", "wait", None),
        Some(Status::Watching) => ("watching", "ok", None),
        Some(Status::Scanning(why)) => ("scanning", "wait", Some(why)),
        Some(Status::Unreachable(why)) => ("unreachable", "bad", Some(why)),
    };
    let written = |key: &&str| Some(resource.shown(view.written(&["resources", &resource.name, key])?));
    let written: Vec<Option<String>> = resource.location_keys().iter().map(written).collect();
    let unrecorded = view.control.waiting().remove(&resource.name).unwrap_or_default();
    let lines: Vec<String> =
        unrecorded.paths.iter().take(UNRECORDED).map(|it| format!("{} is {}", it.path, it.reason)).collect();
    Ok(ResourceRow {
        name: resource.name.clone(),
        place: place(resource, &written),
        path: written.into_iter().next().flatten(),
        state,
        icon,
        reason,
        waiting: waiting(pending),
        waits: pending.count > 0,
        more_unrecorded: unrecorded.count.saturating_sub(lines.len() as u64),
        unrecorded: lines,
        oldest: pending.oldest_at.map(text::both),
        tick: ticks.items.into_iter().next().map(|tick| {
            let outcome = match tick.outcome {
                TickOutcome::Fired => "fired",
                TickOutcome::Held => "held back",
                TickOutcome::NotReady => "not yet",
                TickOutcome::Error => "cannot decide",
            };
            format!("{outcome}: {}", tick.reason)
        }),
        needs: needs(&resource.trigger),
    })
}

/// Returns where to put files. A location that contains `${…}` is shown as `written`, key by key.
fn place(resource: &ResourceSpec, written: &[Option<String>]) -> String {
    let texts: Vec<&str> = written.iter().flatten().map(String::as_str).collect();
    if texts.iter().any(|text| text.contains('$')) { texts.join(" ") } else { resource.location() }
}

fn waiting(pending: Pending) -> String {
    if pending.count == 0 {
        return "nothing".to_owned();
    }
    format!("{}, {}", text::count(pending.count, "artifact", "artifacts"), ByteSize(pending.bytes))
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
