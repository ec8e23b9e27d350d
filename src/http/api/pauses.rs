//! Pauses of single resources and actions.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::control::read;
use crate::base::Timestamp;
use crate::http::App;
use crate::http::problem::{Problem, Result, shown};
use crate::http::query::{Query, Segment};
use crate::model::{NodeKind, Pause};

/// The body of a request to pause. An empty body counts as an empty object.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = PauseRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct ReasonBody {
    /// Why, for people: at most 1,000 bytes.
    reason: Option<String>,
}

/// A resource or an action, and its pause.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NodePause)]
pub(crate) struct PauseBody {
    /// Its kind.
    #[serde(rename = "type")]
    kind: NodeKind,
    /// Its name.
    name: String,
    /// Since when and why it is paused, if it is.
    #[schema(required)]
    paused: Option<PausedBody>,
}

/// Since when and why something is paused.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Paused)]
pub(super) struct PausedBody {
    /// Since when.
    since: Timestamp,
    /// Why, as the person who paused it has written.
    #[schema(required)]
    reason: Option<String>,
}

impl From<&Pause> for PausedBody {
    fn from(pause: &Pause) -> Self {
        Self { since: pause.since, reason: pause.reason.clone() }
    }
}

impl PauseBody {
    /// Returns the answer for a node that is paused, or is not.
    pub(crate) fn new(kind: NodeKind, name: String, pause: Option<&Pause>) -> Self {
        Self { kind, name, paused: pause.map(PausedBody::from) }
    }
}

/// `POST /api/v1/resources/{name}/pause`: what arrives in the resource is recorded and waits.
pub(super) async fn pause_resource(
    State(app): State<App>,
    Segment(name): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PauseBody>> {
    Query::parse(&uri, &[])?;
    let pipeline = app.view.pipeline();
    let resource = pipeline.resource(&name).ok_or_else(|| unknown(&app, NodeKind::Resource, &name))?;
    if !resource.watch {
        return Err(Problem::conflict(format!("`{name}` is not watched, so nothing in it waits for a run")));
    }
    pause(&app, NodeKind::Resource, name, &headers, body).await
}

/// `POST /api/v1/actions/{name}/pause`: no attempt of the action starts.
pub(super) async fn pause_action(
    State(app): State<App>,
    Segment(name): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PauseBody>> {
    Query::parse(&uri, &[])?;
    if app.view.pipeline().action(&name).is_none() {
        return Err(unknown(&app, NodeKind::Action, &name));
    }
    pause(&app, NodeKind::Action, name, &headers, body).await
}

async fn pause(app: &App, kind: NodeKind, name: String, headers: &HeaderMap, body: Body) -> Result<Json<PauseBody>> {
    let ReasonBody { reason } = read(app, headers, body).await?;
    let reason = Pause::reason(&reason.unwrap_or_default()).map_err(Problem::bad_request)?;
    let pause = app.view.control.pause_node(kind, &name, reason).await?;
    Ok(Json(PauseBody::new(kind, name, Some(&pause))))
}

/// `POST /api/v1/resources/{name}/resume`
pub(super) async fn resume_resource(
    State(app): State<App>,
    Segment(name): Segment,
    uri: Uri,
) -> Result<Json<PauseBody>> {
    Query::parse(&uri, &[])?;
    let is_known = app.view.pipeline().resource(&name).is_some();
    resume(&app, NodeKind::Resource, name, is_known).await
}

/// `POST /api/v1/actions/{name}/resume`
pub(super) async fn resume_action(State(app): State<App>, Segment(name): Segment, uri: Uri) -> Result<Json<PauseBody>> {
    Query::parse(&uri, &[])?;
    let is_known = app.view.pipeline().action(&name).is_some();
    resume(&app, NodeKind::Action, name, is_known).await
}

/// Resumes a node. The manifest may have lost it since it was paused.
async fn resume(app: &App, kind: NodeKind, name: String, is_known: bool) -> Result<Json<PauseBody>> {
    let is_paused = || async { app.view.store.paused_nodes().await };
    if !is_known && !is_paused().await?.iter().any(|pause| pause.kind == kind && pause.name == name) {
        return Err(unknown(app, kind, &name));
    }
    app.view.control.resume_node(kind, &name).await?;
    Ok(Json(PauseBody::new(kind, name, None)))
}

/// Returns the problem for a name that the manifest does not have.
fn unknown(app: &App, kind: NodeKind, name: &str) -> Problem {
    let pipeline = app.view.pipeline();
    let problem = Problem::not_found(format!("there is no {kind} `{}`", shown(name)));
    match kind {
        NodeKind::Resource => problem.choices(name, pipeline.resources.iter().map(|resource| resource.name.as_str())),
        NodeKind::Action => problem.choices(name, pipeline.actions.iter().map(|action| action.name.as_str())),
    }
}
