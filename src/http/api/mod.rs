//! The routes, one file for each noun.

mod approvals;
mod artifacts;
mod content;
mod control;
mod described;
mod diff;
mod facts;
mod logs;
mod models;
mod nodes;
mod notifications;
mod operations;
mod pauses;
mod pipeline;
mod runs;
mod space;
mod uploads;
mod wait;

/// The response types, for code that returns the same JSON without a server.
pub(crate) mod bodies {
    pub(crate) use super::List;
    pub(crate) use super::logs::LineBody;
    pub(crate) use super::models::one_version;
    pub(crate) use super::pauses::PauseBody;
    pub(crate) use super::pipeline::LoadedBody;
    pub(crate) use super::runs::{Live, RunBody, RunParts, detail_body};
    pub(crate) use super::space::{FreedBody, GcBody};
}

pub use described::document;
pub(super) use operations::starting;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::openapi::{Answer, Media, Success};
use crate::model::Page;

/// The routes without a variable part, for suggestions when a path is unknown.
pub(super) const FIXED_PATHS: [&str; 26] = [
    "/",
    "/api",
    "/approvals",
    "/api/v1/approvals",
    "/api/v1/artifacts",
    "/api/v1/events",
    "/api/v1/gc",
    "/api/v1/metrics",
    "/api/v1/models",
    "/api/v1/nodes",
    "/api/v1/notifications",
    "/api/v1/params",
    "/api/v1/pipeline",
    "/api/v1/pipeline/pause",
    "/api/v1/pipeline/resume",
    "/api/v1/runs",
    "/api/v1/tags",
    "/api/v1/triggers",
    "/api/v1/triggers/preview",
    "/healthz",
    "/models",
    "/openapi.json",
    "/readyz",
    "/runs",
    "/runs/metrics",
    "/settings",
];

/// Builds all routes of the API.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/pipeline", get(pipeline::show))
        .route("/api/v1/pipeline/pause", post(control::pause))
        .route("/api/v1/pipeline/resume", post(control::resume))
        .route("/api/v1/nodes", get(nodes::list))
        .route("/api/v1/nodes/{name}", get(nodes::show))
        .route("/api/v1/resources/{name}/artifacts", post(uploads::take))
        .route("/api/v1/resources/{name}/trigger", post(control::trigger))
        .route("/api/v1/resources/{name}/pause", post(pauses::pause_resource))
        .route("/api/v1/resources/{name}/resume", post(pauses::resume_resource))
        .route("/api/v1/actions/{name}/pause", post(pauses::pause_action))
        .route("/api/v1/actions/{name}/resume", post(pauses::resume_action))
        .route("/api/v1/approvals", get(approvals::list))
        .route("/api/v1/models", get(models::list))
        .route("/api/v1/models/{name}", get(models::show).put(models::update))
        .route("/api/v1/models/{name}/versions", get(models::versions).post(models::register))
        .route("/api/v1/models/{name}/moves", get(models::moves))
        .route("/api/v1/models/{name}/promote", post(models::promote))
        .route("/api/v1/models/{name}/rollback", post(models::roll_back))
        .route("/api/v1/notifications", get(notifications::list))
        .route("/api/v1/runs", get(runs::list))
        .route("/api/v1/runs/{id}", get(runs::show).put(control::start))
        .route("/api/v1/runs/{id}/cancel", post(control::cancel))
        .route("/api/v1/runs/{id}/retry", post(control::retry))
        .route("/api/v1/runs/{id}/actions/{name}/approve", post(approvals::approve))
        .route("/api/v1/runs/{id}/actions/{name}/reject", post(approvals::reject))
        .route("/api/v1/runs/{id}/inputs", get(runs::inputs))
        .route("/api/v1/runs/{id}/logs", get(logs::list))
        .route("/api/v1/runs/{id}/events", get(runs::events))
        .route("/api/v1/runs/{id}/lineage", get(runs::lineage))
        .route("/api/v1/runs/{id}/diff/{other}", get(diff::show))
        .route("/api/v1/artifacts", get(artifacts::list))
        .route("/api/v1/artifacts/{id}", get(artifacts::show))
        .route("/api/v1/artifacts/{id}/content", get(content::show))
        .route("/api/v1/artifacts/{id}/lineage", get(artifacts::lineage))
        .route("/api/v1/metrics", get(facts::metrics))
        .route("/api/v1/params", get(facts::params))
        .route("/api/v1/tags", get(facts::tags))
        .route("/api/v1/triggers", get(facts::triggers))
        .route("/api/v1/triggers/preview", get(facts::preview))
        .route("/api/v1/events", get(super::events::follow))
        .route("/api/v1/gc", post(space::free))
        .route("/healthz", get(operations::health))
        .route("/readyz", get(operations::ready))
        .route("/metrics", get(operations::metrics))
        .route("/openapi.json", get(described::show))
}

/// Builds all routes for the time while the host starts.
pub(super) fn starting_routes() -> Router {
    Router::new().route("/healthz", get(operations::health))
}

/// The answer to a request that makes something: 201, or 200 if it was there already.
#[derive(Debug)]
pub(super) struct Made<T> {
    /// Whether this request has made it.
    is_new: bool,
    /// Where it is.
    address: String,
    /// What was made.
    body: T,
}

impl<T: Serialize> IntoResponse for Made<T> {
    fn into_response(self) -> Response {
        let status = if self.is_new { StatusCode::CREATED } else { StatusCode::OK };
        (status, [(header::LOCATION, self.address)], Json(self.body)).into_response()
    }
}

impl<T: ToSchema> Answer for Made<T> {
    fn answers() -> Vec<Success> {
        vec![
            ("200", "It was there already.", Some(Media::json::<T>())),
            ("201", "It is made; `Location` has its address.", Some(Media::json::<T>())),
        ]
    }
}

/// A list as every route returns it.
#[derive(Debug, Serialize)]
pub(crate) struct List<T> {
    items: Vec<T>,
    /// Cursor of the next page; `null` on the last page.
    next_cursor: Option<String>,
}

impl<T: ToSchema> Answer for Json<List<T>> {
    fn answers() -> Vec<Success> {
        vec![("200", "A page of the list.", Some(Media::page::<T>()))]
    }
}

impl<T> List<T> {
    /// Creates a list that is complete in one page.
    fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }
}

impl<T, U: From<T>> From<Page<T>> for List<U> {
    fn from(page: Page<T>) -> Self {
        Self { items: page.items.into_iter().map(U::from).collect(), next_cursor: page.next_cursor }
    }
}
