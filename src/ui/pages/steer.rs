//! The forms that steer the pipeline: pause, resume, start a run.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use super::home::{self, Sent};
use super::nodes::missing;
use super::{action, params_form, resource};
use crate::base::RunId;
use crate::model::{NodeKind, Pause, Run};
use crate::scheduler::Inputs;
use crate::store::StoreError;
use crate::ui::form::{self, UNREADABLE, lead_to};
use crate::ui::page::{self, refused_write};
use crate::ui::{Pages, text};

/// The form of a pause.
#[derive(Debug, Default, Deserialize)]
struct PauseForm {
    #[serde(default)]
    reason: String,
}

/// Why what a form asks for was not done, and with which status.
type Refused = (StatusCode, String);

fn refused(error: &StoreError) -> Refused {
    (refused_write(error), error.to_string())
}

/// `POST /pipeline/pause`
pub(in crate::ui) async fn pause_pipeline(State(pages): State<Pages>) -> Response {
    set_paused(&pages, true).await
}

/// `POST /pipeline/resume`
pub(in crate::ui) async fn resume_pipeline(State(pages): State<Pages>) -> Response {
    set_paused(&pages, false).await
}

async fn set_paused(pages: &Pages, paused: bool) -> Response {
    match pages.view.control.set_paused(paused).await {
        Ok(()) => lead_to("/"),
        Err(error) => {
            let (status, why) = refused(&error);
            home::render(pages, status, Some(why)).await
        }
    }
}

/// `POST /pipeline/run`: starts a run on all that is new, with the params of the form.
pub(in crate::ui) async fn run_pipeline(State(pages): State<Pages>, body: Body) -> Response {
    let Some(pairs) = form::read::<Vec<(String, String)>>(body).await else {
        return home::render(&pages, StatusCode::BAD_REQUEST, Some(UNREADABLE.to_owned())).await;
    };
    let params: BTreeMap<String, String> = pairs.into_iter().collect();
    let started = match (new_run(params.get("id")), params_form::params(&pages.view.pipeline(), &params)) {
        (Some(id), Ok(params)) => start(&pages, id, params, Inputs::New).await,
        (None, _) => Err((StatusCode::BAD_REQUEST, UNREADABLE.to_owned())),
        (_, Err(why)) => Err((StatusCode::BAD_REQUEST, why)),
    };
    match started {
        Ok(run) => lead_to(&run_page(&run)),
        Err((status, why)) => home::render_with(&pages, status, Some(why), Sent { params, is_open: true }).await,
    }
}

/// Returns the id that a form gives to the run that it starts. The page has made it, so a form that
/// is sent twice starts one run.
fn new_run(id: Option<&String>) -> Option<RunId> {
    id?.parse::<RunId>().ok().filter(RunId::is_version_7)
}

async fn start(
    pages: &Pages,
    id: RunId,
    params: serde_json::Map<String, Value>,
    inputs: Inputs,
) -> Result<Run, Refused> {
    // No params of its own is not the same record as an empty object of them.
    let params = Some(params).filter(|params| !params.is_empty()).map(Value::Object);
    pages.view.control.start(id, params, inputs).await.map_err(|error| refused(&error))
}

fn run_page(run: &Run) -> String {
    format!("/runs/{}", run.number)
}

/// `POST /resources/{name}/trigger`: starts a run on what is new in one resource.
pub(in crate::ui) async fn trigger_resource(
    State(pages): State<Pages>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    let pipeline = pages.view.pipeline();
    let Some(resource) = pipeline.resource(&name) else { return no_node(&pages, NodeKind::Resource, &name).await };
    let form = form::read::<BTreeMap<String, String>>(body).await.unwrap_or_default();
    let started = match new_run(form.get("id")) {
        _ if !resource.watch => {
            Err((StatusCode::CONFLICT, format!("`{name}` is not watched, so it has no new artifacts")))
        }
        Some(id) => start(&pages, id, serde_json::Map::new(), Inputs::NewIn(name.clone())).await,
        None => Err((StatusCode::BAD_REQUEST, UNREADABLE.to_owned())),
    };
    match started {
        Ok(run) => lead_to(&run_page(&run)),
        Err(why) => resource::render(&pages, &name, None, Some(why)).await,
    }
}

/// `POST /resources/{name}/pause`
pub(in crate::ui) async fn pause_resource(
    State(pages): State<Pages>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    pause(&pages, NodeKind::Resource, &name, Some(body)).await
}

/// `POST /resources/{name}/resume`
pub(in crate::ui) async fn resume_resource(State(pages): State<Pages>, Path(name): Path<String>) -> Response {
    pause(&pages, NodeKind::Resource, &name, None).await
}

/// `POST /actions/{name}/pause`
pub(in crate::ui) async fn pause_action(State(pages): State<Pages>, Path(name): Path<String>, body: Body) -> Response {
    pause(&pages, NodeKind::Action, &name, Some(body)).await
}

/// `POST /actions/{name}/resume`
pub(in crate::ui) async fn resume_action(State(pages): State<Pages>, Path(name): Path<String>) -> Response {
    pause(&pages, NodeKind::Action, &name, None).await
}

/// Pauses a node, as the form says, or resumes it without one.
async fn pause(pages: &Pages, kind: NodeKind, name: &str, body: Option<Body>) -> Response {
    let pipeline = pages.view.pipeline();
    let is_known = match kind {
        NodeKind::Resource => pipeline.resource(name).is_some(),
        NodeKind::Action => pipeline.action(name).is_some(),
    };
    if !is_known {
        return no_node(pages, kind, name).await;
    }
    let done = match body {
        Some(body) => pause_for(pages, kind, name, body).await,
        None => pages.view.control.resume_node(kind, name).await.map_err(|error| refused(&error)),
    };
    match (done, kind) {
        (Ok(()), NodeKind::Resource) => lead_to(&format!("/resources/{}", text::encoded(name))),
        (Ok(()), NodeKind::Action) => lead_to(&format!("/actions/{}", text::encoded(name))),
        (Err(why), NodeKind::Resource) => resource::render(pages, name, None, Some(why)).await,
        (Err(why), NodeKind::Action) => action::render(pages, name, None, Some(why)).await,
    }
}

async fn pause_for(pages: &Pages, kind: NodeKind, name: &str, body: Body) -> Result<(), Refused> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    let PauseForm { reason } = form::read(body).await.ok_or_else(|| bad(UNREADABLE.to_owned()))?;
    let reason = Pause::reason(&reason).map_err(bad)?;
    let is_watched = kind != NodeKind::Resource || pages.view.pipeline().resource(name).is_some_and(|it| it.watch);
    if !is_watched {
        let why = format!("`{name}` is not watched, so nothing in it waits for a run");
        return Err((StatusCode::CONFLICT, why));
    }
    pages.view.control.pause_node(kind, name, reason).await.map(|_| ()).map_err(|error| refused(&error))
}

async fn no_node(pages: &Pages, kind: NodeKind, name: &str) -> Response {
    page::refused(pages, missing(kind, name)).await
}
