//! Control: starting, cancelling and retrying runs, and pausing the pipeline.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Made;
use super::runs::{RunBody, no_run};
use super::wait::Waiting;
use crate::base::bounds::MAX_GIVEN;
use crate::base::{ArtifactId, RunId, first_beyond_64_bits};
use crate::http::problem::{Problem, Result, shown};
use crate::http::query::{Query, Segment, find_run};
use crate::http::{App, MAX_BODY_BYTES};
use crate::scheduler::{Inputs, actions_from};

/// The body of `PUT /api/v1/runs/{id}`. An empty body counts as an empty object.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = StartRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct StartBody {
    /// Params for this run alone. By default those of the run to repeat, or else none.
    params: Option<serde_json::Map<String, serde_json::Value>>,
    /// The run whose inputs it works on again: a number or an id. Without it, the run claims what
    /// is new.
    rerun_of: Option<String>,
    /// Artifacts that it works on, whichever run claimed them.
    #[schema(min_items = 1, max_items = 1000)]
    inputs: Option<Vec<ArtifactId>>,
}

/// The body of `POST /api/v1/resources/{name}/trigger`. An empty body counts as an empty object.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = TriggerRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct ParamsBody {
    /// Params for this run alone.
    params: Option<serde_json::Map<String, serde_json::Value>>,
}

/// `PUT /api/v1/runs/{id}`: starts a run manually, and answers at once or when the run has ended.
/// Idempotent: a repeated request returns the current state of the run.
pub(super) async fn start(
    State(app): State<App>,
    Segment(id): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Made<RunBody>> {
    let query = Query::parse(&uri, &["wait"])?;
    let id: RunId = id.parse().ok().filter(RunId::is_version_7).ok_or_else(|| {
        Problem::bad_request(format!("`{}` is not an id for a run: generate a UUID of version 7", shown(&id)))
    })?;
    let StartBody { params, rerun_of, inputs } = read(&app, &headers, body).await?;
    let inputs = match (rerun_of, inputs) {
        (None, None) => Inputs::New,
        (Some(old), None) => Inputs::Of(find_run(&app.view, &old).await?),
        (None, Some(inputs)) if (1..=MAX_GIVEN).contains(&inputs.len()) => Inputs::Given(inputs),
        (None, Some(_)) => {
            return Err(Problem::bad_request(format!("`inputs` must have 1 to {MAX_GIVEN} artifacts")));
        }
        (Some(_), Some(_)) => {
            return Err(Problem::bad_request("`rerun_of` and `inputs` exclude each other: leave one out"));
        }
    };
    let existed = app.view.store.run_summary(id).await?.is_some();
    let waiting = Waiting::begin(&app, &query)?;
    let mut run = app.view.control.start(id, params.map(Into::into), inputs).await?;
    if let Some(waiting) = waiting.filter(|_| !run.state.ended()) {
        waiting.until_ended(&app, id).await?;
        run = app.view.store.run_summary(id).await?.unwrap_or(run);
    }
    let body = RunBody::read(app.view.store.as_ref(), run).await?;
    Ok(Made { is_new: !existed, address: format!("/api/v1/runs/{id}"), body })
}

/// `POST /api/v1/resources/{name}/trigger`: starts a run on what is new in one resource, whatever
/// its trigger waits for. A body may have `params`.
pub(super) async fn trigger(
    State(app): State<App>,
    Segment(name): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Made<RunBody>> {
    Query::parse(&uri, &[])?;
    let pipeline = app.view.pipeline();
    let Some(resource) = pipeline.resource(&name) else {
        let names = pipeline.resources.iter().map(|resource| resource.name.as_str());
        return Err(Problem::not_found(format!("there is no resource `{}`", shown(&name))).choices(&name, names));
    };
    if !resource.watch {
        return Err(Problem::conflict(format!("`{name}` is not watched, so it has no new artifacts")));
    }
    let ParamsBody { params } = read(&app, &headers, body).await?;
    let (id, inputs) = (RunId::new(), Inputs::NewIn(name));
    let run = app.view.control.start(id, params.map(Into::into), inputs).await?;
    let body = RunBody::read(app.view.store.as_ref(), run).await?;
    Ok(Made { is_new: true, address: format!("/api/v1/runs/{id}"), body })
}

/// Reads a small JSON object. An empty body counts as an empty object.
pub(super) async fn read<T: DeserializeOwned + Default>(app: &App, headers: &HeaderMap, body: Body) -> Result<T> {
    let bytes = read_bytes(app, body).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::not_json());
    }
    let unusable = |why: &dyn std::fmt::Display| Problem::bad_request(format!("the body is not valid: {why}"));
    let text = std::str::from_utf8(&bytes).map_err(|why| unusable(&why))?;
    // The derived deserializer would accept a list, and take its items as the members in order.
    if text.trim_start().starts_with('[') {
        return Err(unusable(&"it is a list; send an object"));
    }
    match first_beyond_64_bits(text) {
        None => serde_json::from_str(text).map_err(|why| unusable(&why)),
        Some(number) => Err(unusable(&format!("{number} does not fit into 64 bits: write it as a string"))),
    }
}

/// Reads a small body, within its bounds of time and size.
async fn read_bytes(app: &App, body: Body) -> Result<Vec<u8>> {
    tokio::time::timeout(app.patience.body, whole(body)).await.map_err(|_| Problem::body_too_slow())?
}

async fn whole(body: Body) -> Result<Vec<u8>> {
    let (mut pieces, mut whole) = (body.into_data_stream(), Vec::new());
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| Problem::body_incomplete(&error))?;
        if whole.len() + piece.len() > MAX_BODY_BYTES {
            return Err(Problem::body_too_large(MAX_BODY_BYTES));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

/// `POST /api/v1/runs/{id}/cancel`
pub(super) async fn cancel(State(app): State<App>, Segment(id): Segment, uri: Uri) -> Result<Json<RunBody>> {
    Query::parse(&uri, &[])?;
    let id = find_run(&app.view, &id).await?;
    let run = app.view.control.cancel(id).await?.ok_or_else(|| no_run(id))?;
    Ok(Json(RunBody::read(app.view.store.as_ref(), run).await?))
}

/// The body of `POST /api/v1/runs/{id}/retry`. An empty body counts as an empty object.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RetryRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryBody {
    /// An action of the run: it and all that come after it start again, although they have
    /// succeeded.
    from: Option<String>,
}

/// `POST /api/v1/runs/{id}/retry`
pub(super) async fn retry(
    State(app): State<App>,
    Segment(id): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<RunBody>> {
    Query::parse(&uri, &[])?;
    let id = find_run(&app.view, &id).await?;
    let RetryBody { from } = read(&app, &headers, body).await?;
    let again = actions_from(app.view.store.as_ref(), id, from.as_deref(), &app.view.pipeline()).await?;
    let run = app.view.control.retry(id, again).await?.ok_or_else(|| no_run(id))?;
    Ok(Json(RunBody::read(app.view.store.as_ref(), run).await?))
}

/// Whether triggers start runs.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PipelineState {
    Running,
    Paused,
}

/// The state of the pipeline.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PipelineStatus)]
pub(super) struct StateBody {
    /// Whether triggers start runs.
    state: PipelineState,
}

/// `POST /api/v1/pipeline/pause`
pub(super) async fn pause(State(app): State<App>, uri: Uri, body: Body) -> Result<Json<StateBody>> {
    Query::parse(&uri, &[])?;
    if !matches!(read_bytes(&app, body).await?.trim_ascii(), b"" | b"{}") {
        return Err(Problem::bad_request(
            "a pause of the pipeline takes no body: only a resource or an action is paused with a reason",
        ));
    }
    app.view.control.set_paused(true).await?;
    Ok(Json(StateBody { state: PipelineState::Paused }))
}

/// `POST /api/v1/pipeline/resume`
pub(super) async fn resume(State(app): State<App>, uri: Uri) -> Result<Json<StateBody>> {
    Query::parse(&uri, &[])?;
    app.view.control.set_paused(false).await?;
    Ok(Json(StateBody { state: PipelineState::Running }))
}
