//! `/api/v1/runs`: runs, their events and their lineage.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::List;
use super::wait::Waiting;
use crate::base::{ArtifactId, AttemptId, Clock as _, Digest, RunId, SystemClock, Timestamp, When};
use crate::http::App;
use crate::http::problem::{Problem, Result};
use crate::http::query::{Query, Segment, find_run};
use crate::model::{
    AccessKind, ActionState, Approval, Artifact, Attempt, AttemptState, CacheUse, Denial, ErrorInfo, Event,
    HttpRequest, Page, Run, RunAction, RunDetail, RunState, Usage,
};
use crate::resource::Outage;
use crate::sandbox::Progress;
use crate::scheduler::View;
use crate::store::{LineageEdge, MetadataStore, PageRequest, RunQuery, RunSort, what_next};

/// A run in a list: the fields of its own record. Inputs and actions are at `/runs/{id}`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Run)]
pub(crate) struct RunBody {
    /// Its permanent id.
    pub(super) id: RunId,
    /// Its number, from 1, in the order of creation.
    #[schema(minimum = 1)]
    number: u64,
    /// Its state.
    state: RunState,
    /// Why it failed or was cancelled.
    #[schema(required)]
    reason: Option<String>,
    /// If it failed: the commands that do its work again.
    #[schema(required)]
    what_next: Option<String>,
    /// Why it started, for display.
    trigger: String,
    /// Params for this run only.
    #[schema(value_type = Object)]
    params: serde_json::Value,
    /// Digest of the manifest that the run uses.
    revision: Digest,
    /// When it was created.
    created_at: Timestamp,
    /// When its first attempt started.
    #[schema(required)]
    started_at: Option<Timestamp>,
    /// When it ended (the last time, if it was retried).
    #[schema(required)]
    ended_at: Option<Timestamp>,
    /// The run whose inputs it works on again.
    #[schema(required)]
    rerun_of: Option<RunId>,
    /// The triggers that led to it.
    fired_by: Vec<String>,
    /// The group of artifacts that it is about, if its trigger groups them.
    #[schema(required)]
    partition: Option<String>,
    /// When its metrics, recorded params, network requests and denied calls were removed, because
    /// it was old and only its lineage was needed.
    #[schema(required)]
    trimmed_at: Option<Timestamp>,
}

impl RunBody {
    /// Reads what the body of a run has besides the record.
    pub(crate) async fn read(store: &dyn MetadataStore, run: Run) -> crate::store::Result<Self> {
        let what_next = what_next(store, &run, "").await?;
        Ok(Self::new(run, what_next))
    }

    /// Reads the bodies of a page of runs.
    pub(crate) async fn read_page(store: &dyn MetadataStore, page: Page<Run>) -> crate::store::Result<List<Self>> {
        let mut items = Vec::with_capacity(page.items.len());
        for run in page.items {
            items.push(Self::read(store, run).await?);
        }
        Ok(List { items, next_cursor: page.next_cursor })
    }

    fn new(run: Run, what_next: Option<String>) -> Self {
        Self {
            id: run.id,
            number: run.number,
            state: run.state,
            what_next,
            reason: run.reason,
            trigger: run.trigger,
            params: run.params,
            revision: run.revision,
            created_at: run.created_at,
            started_at: run.started_at,
            ended_at: run.ended_at,
            rerun_of: run.rerun_of,
            fired_by: run.fired_by,
            partition: run.partition,
            trimmed_at: run.trimmed_at,
        }
    }
}

/// A run with its inputs, actions and attempts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunDetail)]
pub(crate) struct RunDetailBody {
    #[serde(flatten)]
    run: RunBody,
    /// Its first inputs, in the order of recording.
    inputs: Vec<InputBody>,
    /// Number of all inputs.
    inputs_count: u64,
    /// For `/runs/{id}/inputs?cursor=`, which has the rest; `null` if `inputs` has all.
    #[schema(required)]
    inputs_next_cursor: Option<String>,
    /// Its actions, in the order of the manifest.
    actions: Vec<ActionBody>,
}

/// An input of a run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Input)]
pub(super) struct InputBody {
    #[serde(flatten)]
    artifact: Artifact,
    /// Whether a person gave it to the run. Otherwise the run has claimed it.
    given: bool,
}

impl InputBody {
    fn of(run: RunId, artifact: Artifact) -> Self {
        Self { given: artifact.is_given_to(run), artifact }
    }
}

/// An action of a run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunAction)]
struct ActionBody {
    /// Its name in the manifest.
    name: String,
    /// Its state.
    state: ActionState,
    /// Why it is skipped, failed or waiting; or the message of an action that has succeeded.
    #[schema(required)]
    reason: Option<String>,
    /// Whether it succeeded by returning `skip`: there was nothing worth doing, and its dependents
    /// are skipped.
    skip: bool,
    /// When the next attempt is due, while `retrying`.
    #[schema(required)]
    retry_at: Option<Timestamp>,
    /// The approval that it has asked for last, if it has asked for one.
    #[schema(required)]
    approval: Option<Approval>,
    /// Those that it asked for before the run was retried, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    earlier_approvals: Vec<Approval>,
    /// Its attempts, in the order in which they started.
    attempts: Vec<AttemptBody>,
}

/// An attempt of an action, and what the host observed of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
struct AttemptBody {
    /// Its id.
    id: AttemptId,
    /// 1 for the first attempt of the action in the run.
    #[schema(minimum = 1)]
    number: u32,
    /// Its state.
    state: AttemptState,
    /// When it started.
    started_at: Timestamp,
    /// When it ended.
    #[schema(required)]
    ended_at: Option<Timestamp>,
    /// The component that ran.
    component_digest: Digest,
    /// What it could use, for display: `reads`, `writes`, `env` (names), `secrets` (names), `http`,
    /// `limits`.
    #[schema(value_type = Object)]
    grants: serde_json::Value,
    /// Why it failed.
    #[schema(required)]
    error: Option<ErrorInfo>,
    /// The message that the action returned on success.
    #[schema(required)]
    message: Option<String>,
    /// Why its result was, or was not, taken from an earlier attempt; `null` for an action that the
    /// manifest does not cache, and while it is not known.
    #[schema(required)]
    cache: Option<CacheUse>,
    /// What it used.
    usage: Usage,
    /// Denied calls, one by one up to a bound.
    denials: Vec<Denial>,
    /// The first network requests, up to a bound. `usage` counts all.
    requests: Vec<HttpRequest>,
    /// The progress that it reports while it is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressBody>,
    /// Why its outputs, which are committed, are not published yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    outage: Option<Outage>,
}

/// What an attempt reports while it is active.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Progress)]
struct ProgressBody {
    /// From 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    fraction: f64,
    /// What it does, for people.
    message: String,
}

/// The parameters of a list of runs.
pub(super) const FILTERS: &[&str] = &["state", "trigger", "since", "until", "param", "tag", "sort", "limit", "cursor"];

/// `GET /api/v1/runs`
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Result<Json<List<RunBody>>> {
    let query = Query::parse(&uri, FILTERS)?;
    let page = app.view.store.runs(filter(&query, SystemClock.now())?, query.page()?).await?;
    Ok(Json(RunBody::read_page(app.view.store.as_ref(), page).await?))
}

/// Reads the filters and the order of a list of runs.
fn filter(query: &Query, now: Timestamp) -> Result<RunQuery> {
    let words: Vec<&'static str> = RunState::ALL.iter().map(|state| state.as_str()).collect();
    let sorts = RunSort::ALL.iter().map(|sort| sort.as_str());
    let time = |name| Ok::<_, Problem>(query.value::<When>(name)?.map(|when| when.at(now)));
    Ok(RunQuery {
        states: query.words("state", &words)?,
        trigger: query.owned("trigger"),
        since: time("since")?,
        until: time("until")?,
        param: query.value("param")?,
        tag: query.value("tag")?,
        before_run: None,
        sort: match query.text("sort") {
            None => RunSort::default(),
            Some(text) => text.parse().map_err(|error| Problem::bad_parameter("sort", error).choices(text, sorts))?,
        },
    })
}

/// `GET /api/v1/runs/{id}`: answers at once or when the run has ended.
pub(super) async fn show(State(app): State<App>, Segment(id): Segment, uri: Uri) -> Result<Json<RunDetailBody>> {
    let query = Query::parse(&uri, &["wait"])?;
    let waiting = Waiting::begin(&app, &query)?;
    let mut detail = find_progress(&app.view, &id).await?;
    if let Some(waiting) = waiting.filter(|_| !detail.run.state.ended()) {
        waiting.until_ended(&app, detail.run.id).await?;
        detail = find_progress(&app.view, &id).await?;
    }
    let parts = RunParts::read(app.view.store.as_ref(), detail.run.id).await?;
    let control = &app.view.control;
    Ok(Json(detail_body(detail, parts, &Live { progress: control.progress(), outages: control.outages() })))
}

/// `GET /api/v1/runs/{id}/inputs`, in the order of recording.
pub(super) async fn inputs(State(app): State<App>, Segment(id): Segment, uri: Uri) -> Result<Json<List<InputBody>>> {
    let query = Query::parse(&uri, &["limit", "cursor"])?;
    let run = find_run(&app.view, &id).await?;
    let page = app.view.store.run_inputs(run, query.page()?).await?;
    if page.items.is_empty() && app.view.store.run_summary(run).await?.is_none() {
        return Err(no_run(run));
    }
    let items = page.items.into_iter().map(|artifact| InputBody::of(run, artifact)).collect();
    Ok(Json(List { items, next_cursor: page.next_cursor }))
}

/// Maximum number of inputs that are returned with their run.
const INPUTS: u32 = 100;

/// The parts of a run besides its actions and attempts.
#[derive(Debug)]
pub(crate) struct RunParts {
    /// The first inputs.
    pub(crate) inputs: Page<Artifact>,
    /// Number of all inputs.
    pub(crate) inputs_count: u64,
    /// Denied calls of its attempts.
    pub(crate) denials: Vec<(AttemptId, Denial)>,
    /// Network requests of its attempts.
    pub(crate) requests: Vec<(AttemptId, HttpRequest)>,
}

impl RunParts {
    /// Reads them from the store.
    pub(crate) async fn read(store: &dyn MetadataStore, run: RunId) -> crate::store::Result<Self> {
        Ok(Self {
            inputs: store.run_inputs(run, PageRequest { cursor: None, limit: INPUTS }).await?,
            inputs_count: store.count_inputs(run).await?,
            denials: store.denials(run).await?,
            requests: store.requests(run).await?,
        })
    }
}

/// Returns the run that `text` names, without its inputs.
pub(super) async fn find_progress(view: &View, text: &str) -> Result<RunDetail> {
    let id = find_run(view, text).await?;
    view.store.run_progress(id).await?.ok_or_else(|| no_run(id))
}

/// Returns the problem for a run that does not exist.
pub(super) fn no_run(id: RunId) -> Problem {
    Problem::not_found(format!("there is no run {id}"))
}

/// What only a running host knows about active attempts; empty without one.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// What they report.
    pub(crate) progress: BTreeMap<AttemptId, Progress>,
    /// What attempts with committed outputs wait for.
    pub(crate) outages: BTreeMap<AttemptId, Outage>,
}

/// Returns a run in the API's form.
pub(crate) fn detail_body(detail: RunDetail, parts: RunParts, live: &Live) -> RunDetailBody {
    let RunDetail { run, actions, attempts, .. } = detail;
    let RunParts { inputs, inputs_count, denials, requests } = parts;
    let mut refused = by_attempt(denials);
    let mut asked = by_attempt(requests);
    let mut by_action: BTreeMap<String, Vec<AttemptBody>> = BTreeMap::new();
    for attempt in attempts {
        let denials = refused.remove(&attempt.id).unwrap_or_default();
        let requests = asked.remove(&attempt.id).unwrap_or_default();
        by_action.entry(attempt.action.clone()).or_default().push(attempt_body(attempt, denials, requests, live));
    }
    let actions = actions.into_iter().map(|action| {
        let RunAction { name, state, reason, retry_at, skipped_rest: skip, approvals: mut earlier, .. } = action;
        let approval = earlier.pop();
        let attempts = by_action.remove(&name).unwrap_or_default();
        ActionBody { name, state, reason, skip, retry_at, approval, earlier_approvals: earlier, attempts }
    });
    let next = (run.state == RunState::Failed).then(|| Run::what_next(run.number, "", &inputs));
    let Page { items: inputs, next_cursor: inputs_next_cursor } = inputs;
    let inputs = inputs.into_iter().map(|artifact| InputBody::of(run.id, artifact)).collect();
    RunDetailBody { run: RunBody::new(run, next), inputs, inputs_count, inputs_next_cursor, actions: actions.collect() }
}

fn by_attempt<T>(items: Vec<(AttemptId, T)>) -> BTreeMap<AttemptId, Vec<T>> {
    let mut sorted: BTreeMap<AttemptId, Vec<T>> = BTreeMap::new();
    for (attempt, item) in items {
        sorted.entry(attempt).or_default().push(item);
    }
    sorted
}

fn attempt_body(attempt: Attempt, denials: Vec<Denial>, requests: Vec<HttpRequest>, live: &Live) -> AttemptBody {
    let progress = live.progress.get(&attempt.id);
    AttemptBody {
        outage: live.outages.get(&attempt.id).cloned(),
        id: attempt.id,
        number: attempt.number,
        state: attempt.state,
        started_at: attempt.started_at,
        ended_at: attempt.ended_at,
        component_digest: attempt.component_digest,
        grants: attempt.grants,
        error: attempt.error,
        message: attempt.message,
        cache: attempt.cache,
        usage: attempt.usage,
        denials,
        requests,
        progress: progress
            .map(|progress| ProgressBody { fraction: progress.fraction, message: progress.message.clone() }),
    }
}

/// `GET /api/v1/runs/{id}/events`. While the run is active, `next_cursor` is present even after the
/// last event, because more events will follow.
pub(super) async fn events(State(app): State<App>, Segment(id): Segment, uri: Uri) -> Result<Json<List<Event>>> {
    let query = Query::parse(&uri, &["limit", "cursor"])?;
    let limit = query.limit()?;
    let after = query.value::<u64>("cursor")?.unwrap_or(0);
    // Read the state first: an event that comes after it is not lost, because the run then counts
    // as active.
    let id = find_run(&app.view, &id).await?;
    let run = app.view.store.run_summary(id).await?.ok_or_else(|| no_run(id))?;
    let events = app.view.store.events(after, Some(id), limit).await?;
    let more = events.len() >= limit as usize || !run.state.ended();
    let last = events.last().map_or(after, |event| event.seq);
    Ok(Json(List { items: events, next_cursor: more.then(|| last.to_string()) }))
}

/// The record that an attempt used an artifact.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LineageEdge)]
pub(super) struct EdgeBody {
    /// The action.
    action: String,
    /// The attempt.
    attempt_id: AttemptId,
    /// How it used the artifact.
    kind: AccessKind,
    /// The artifact's id.
    artifact_id: ArtifactId,
    /// Number of bytes, over all calls.
    bytes: u64,
    /// The artifact.
    artifact: Artifact,
}

impl From<LineageEdge> for EdgeBody {
    fn from(edge: LineageEdge) -> Self {
        Self {
            action: edge.action,
            attempt_id: edge.attempt_id,
            kind: edge.kind,
            artifact_id: edge.artifact.id,
            bytes: edge.bytes,
            artifact: edge.artifact,
        }
    }
}

/// `GET /api/v1/runs/{id}/lineage`, in the order of recording.
pub(super) async fn lineage(State(app): State<App>, Segment(id): Segment, uri: Uri) -> Result<Json<List<EdgeBody>>> {
    let query = Query::parse(&uri, &["limit", "cursor"])?;
    let run = find_run(&app.view, &id).await?;
    let page = app.view.store.lineage(run, query.page()?).await?;
    if page.items.is_empty() && app.view.store.run_summary(run).await?.is_none() {
        return Err(no_run(run));
    }
    Ok(Json(List { items: page.items.into_iter().map(EdgeBody::from).collect(), next_cursor: page.next_cursor }))
}
