//! `/openapi.json`: what each route takes, and what it answers with.
//!
//! The type of an answer comes from the handler. A test holds the table equal to the routes, and
//! each row to the parameters that its route takes.

use std::sync::LazyLock;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::{
    approvals, artifacts, content, control, diff, facts, logs, models, nodes, notifications, operations, pauses,
    pipeline, runs, space, uploads,
};
use crate::http::openapi::{self, Group, Media, get, post, put};
use crate::http::problem::Result;
use crate::http::query::Query;
use crate::http::{App, events};
use crate::model::Event;

/// The document, which never changes.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let groups = vec![
        about_pipeline(),
        about_runs(),
        about_approvals(),
        about_artifacts(),
        about_models(),
        about_records(),
        about_host(),
    ];
    // What the stream of events sends has no other place in the document.
    let mut schemas = vec![
        (Event::name().into_owned(), Event::schema()),
        (events::ResetBody::name().into_owned(), events::ResetBody::schema()),
    ];
    Event::schemas(&mut schemas);
    openapi::document(groups, schemas)
});

/// Returns the document of the API.
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// `GET /openapi.json`
pub(super) async fn show(State(app): State<App>, uri: Uri) -> Result<Response> {
    Query::parse(&uri, &[])?;
    let mut document = document().clone();
    let base = app.view.pipeline().base_path.clone();
    // Clients add the path of a route to this address.
    let servers = json!([{ "url": if base.is_empty() { "/".to_owned() } else { base } }]);
    if let Value::Object(members) = &mut document {
        members.insert("servers".to_owned(), servers);
    }
    // Not `Json` alone: the document would describe itself.
    Ok(Json(document).into_response())
}

const PAGE: &[&str] = &["limit", "cursor"];
const FACTS: &[&str] = &["name", "run", "limit", "cursor"];

const NOT_ALLOWED: &str = "The recorded state does not allow it.";

#[rustfmt::skip]
fn about_pipeline() -> Group {
    let operations = vec![
        get("/api/v1/pipeline", pipeline::show, "The pipeline: its graph, and the state of the host."),
        post("/api/v1/pipeline/pause", control::pause, "Stops triggers from starting runs."),
        post("/api/v1/pipeline/resume", control::resume, "Lets triggers start runs again."),
        get("/api/v1/nodes", nodes::list, "The metadata store, the resources and the actions, with their state."),
        get("/api/v1/nodes/{name}", nodes::show, "One of them."),
        post("/api/v1/resources/{name}/trigger", control::trigger, "Starts a run on what is new in one resource, whatever its trigger waits for.")
            .body::<control::ParamsBody>().never("200").problem("409", "Nothing is new, or the resource is not watched."),
        post("/api/v1/resources/{name}/pause", pauses::pause_resource, "Pauses a resource: no run claims what is in it.")
            .body::<pauses::ReasonBody>().problem("409", "The resource is not watched."),
        post("/api/v1/resources/{name}/resume", pauses::resume_resource, "Resumes a resource."),
        post("/api/v1/actions/{name}/pause", pauses::pause_action, "Pauses an action: no attempt of it starts.")
            .body::<pauses::ReasonBody>(),
        post("/api/v1/actions/{name}/resume", pauses::resume_action, "Resumes an action."),
    ];
    Group { name: "Pipeline", about: "The graph and its nodes.", operations }
}

#[rustfmt::skip]
fn about_runs() -> Group {
    let operations = vec![
        get("/api/v1/runs", runs::list, "Runs. A page may be short while there is a next one: it looks at a bounded number of runs.")
            .query(runs::FILTERS),
        get("/api/v1/runs/{id}", runs::show, "One run, with its first inputs, its actions and their attempts.")
            .query(&["wait"]),
        put("/api/v1/runs/{id}", control::start, "Starts a run. Repeating the request returns the same run.")
            .query(&["wait"]).body::<control::StartBody>().problem("409", NOT_ALLOWED),
        post("/api/v1/runs/{id}/cancel", control::cancel, "Cancels a run.").problem("409", NOT_ALLOWED),
        post("/api/v1/runs/{id}/retry", control::retry, "Retries a run that has ended: what did not succeed, or all from an action on.")
            .body::<control::RetryBody>().problem("409", NOT_ALLOWED),
        get("/api/v1/runs/{id}/inputs", runs::inputs, "The inputs of a run, in the order of recording.").query(PAGE),
        get("/api/v1/runs/{id}/logs", logs::list, "What the actions of a run logged. To follow it, ask again with the cursor.")
            .query(&["action", "attempt", "limit", "cursor"]).problem("410", "The lines were removed: they were old, or made room for newer ones."),
        get("/api/v1/runs/{id}/events", runs::events, "The events of a run.").query(PAGE),
        get("/api/v1/runs/{id}/lineage", runs::lineage, "What a run read and wrote.").query(PAGE),
        get("/api/v1/runs/{id}/diff/{other}", diff::show, "What differs between two runs."),
    ];
    Group { name: "Runs", about: "Executions of the graph.", operations }
}

#[rustfmt::skip]
fn about_approvals() -> Group {
    let operations = vec![
        get("/api/v1/approvals", approvals::list, "The actions that wait for approval, in the order in which they asked.").query(PAGE),
        post("/api/v1/runs/{id}/actions/{name}/approve", approvals::approve, "Approves an action that waits for it.")
            .body::<approvals::DecisionBody>().problem("409", "It does not wait, or was decided otherwise."),
        post("/api/v1/runs/{id}/actions/{name}/reject", approvals::reject, "Rejects an action that waits for approval: it has failed.")
            .body::<approvals::DecisionBody>().problem("409", "It does not wait, or was decided otherwise."),
    ];
    Group { name: "Approvals", about: "What waits for a person.", operations }
}

#[rustfmt::skip]
fn about_artifacts() -> Group {
    let bytes = || Some(Media::raw("application/octet-stream"));
    let operations = vec![
        get("/api/v1/artifacts", artifacts::list, "Artifacts, newest first.")
            .query(&["resource", "state", "path", "run", "tag", "limit", "cursor"]),
        get("/api/v1/artifacts/{id}", artifacts::show, "One artifact."),
        get("/api/v1/artifacts/{id}/content", content::show, "The content of an artifact.")
            .headers(&["Range", "If-Range", "If-None-Match"])
            .answer("200", "All of it.", bytes())
            .answer("206", "The part that `Range` asked for.", bytes())
            .answer("304", "The client has it: `If-None-Match`.", None)
            .problem("410", "The content was overwritten or deleted.")
            .problem("416", "The content has no such part."),
        get("/api/v1/artifacts/{id}/lineage", artifacts::lineage, "What an artifact was made from, and what was made from it.")
            .query(&["depth", "direction"]),
        post("/api/v1/resources/{name}/artifacts", uploads::take, "Uploads an artifact to a resource with `push = true`.")
            .query(&["path"]).headers(&["Content-Digest", "X-Content-SHA256"]).content()
            .problem("409", "The resource takes no uploads.")
            .problem("413", "The body is larger than the resource takes."),
    ];
    Group { name: "Artifacts", about: "Versions of files in resources.", operations }
}

#[rustfmt::skip]
fn about_models() -> Group {
    let operations = vec![
        get("/api/v1/models", models::list, "The registered models, by name.").query(PAGE),
        get("/api/v1/models/{name}", models::show, "One model, with its card and what each alias names."),
        put("/api/v1/models/{name}", models::update, "Registers a model, or gives one another card.")
            .body::<models::CardBody>().never("404"),
        get("/api/v1/models/{name}/versions", models::versions, "The versions of a model, newest first.").query(PAGE),
        post("/api/v1/models/{name}/versions", models::register, "Registers an artifact as the next version of a model, which is created if there is none of this name. Repeating the request returns the same version.")
            .body::<models::VersionBody>().never("404").problem("409", "The artifact is not in its place."),
        get("/api/v1/models/{name}/moves", models::moves, "What each alias of a model has named, newest first.").query(PAGE),
        post("/api/v1/models/{name}/promote", models::promote, "Makes an alias of a model name a version.")
            .body::<models::PromoteBody>().problem("409", "There is no such version, or its artifact is not in its place."),
        post("/api/v1/models/{name}/rollback", models::roll_back, "Makes an alias of a model name the version again that it named before the last promotion.")
            .body::<models::RollbackBody>().problem("409", "There is no such alias, or nothing to roll back to."),
    ];
    Group { name: "Models", about: "The model registry: versions of models, and aliases that name one of them.", operations }
}

#[rustfmt::skip]
fn about_records() -> Group {
    let operations = vec![
        get("/api/v1/metrics", facts::metrics, "Metrics that actions recorded.").query(FACTS),
        get("/api/v1/params", facts::params, "Params that actions recorded.").query(FACTS),
        get("/api/v1/tags", facts::tags, "Tags that actions set on runs.").query(FACTS),
        get("/api/v1/triggers", facts::triggers, "Evaluations of triggers, newest first.")
            .query(&["trigger", "resource", "limit", "cursor"]),
        get("/api/v1/triggers/preview", facts::preview, "What each trigger would do now."),
        get("/api/v1/notifications", notifications::list, "Notifications, newest first.").query(&["name", "limit", "cursor"]),
        get("/api/v1/events", events::follow, "All events as they happen, as server-sent events.")
            .query(&["after", "run", "newest"]).headers(&["Last-Event-ID"])
            .answer("200", "The data of a message is an `Event`; that of a message `reset` is a `Reset`.", Some(Media::raw("text/event-stream")))
            .problem("503", "Too many clients follow the events."),
    ];
    Group { name: "Records", about: "What actions, triggers and the host recorded.", operations }
}

#[rustfmt::skip]
fn about_host() -> Group {
    let operations = vec![
        get("/healthz", operations::health, "Whether the process answers."),
        get("/readyz", operations::ready, "Whether all parts of the host are ready.").problem("503", "They are not: `reasons` says why."),
        get("/metrics", operations::metrics, "Metrics of the host for Prometheus.")
            .answer("200", "Text in the format of Prometheus.", Some(Media::raw("text/plain"))),
        post("/api/v1/gc", space::free, "Removes old runs, log lines, components and compiled code, as `[retention]` says. May take minutes.")
            .body::<space::GcBody>().problem("409", "The host is stopping."),
        get("/openapi.json", show, "This document.").answer("200", "OpenAPI 3.1.", Some(Media::object())),
    ];
    Group { name: "Host", about: "For supervisors, monitoring and tools.", operations }
}
