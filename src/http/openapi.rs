//! `/openapi.json`: the routes in the form of OpenAPI 3.1, for tools that make clients.
//!
//! Written by hand, as one line for each operation. Rejected: deriving it from the handlers, whose
//! types do not say which parameters a query takes. Tests hold the lines equal to the routes and to
//! what these accept.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde_json::{Map, Value, json};

use super::App;
use super::problem::{MEDIA_TYPE, Result};
use super::query::Query;
use crate::base::bounds::MAX_PAGE;
use crate::model::{ArtifactState, NodeKind, RunState};
use crate::store::{MAX_LINEAGE_DEPTH, RunSort};

/// `GET /openapi.json`
pub(super) async fn show(State(app): State<App>, uri: Uri) -> Result<Json<Value>> {
    Query::parse(&uri, &[])?;
    Ok(Json(document(&app.view.pipeline().base_path)))
}

/// One method of one path.
struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// The parameters of the query.
    query: &'static [&'static str],
    body: Option<Content>,
    /// The statuses of success.
    statuses: &'static [&'static str],
    answer: Content,
}

/// The content of a body.
#[derive(Clone, Copy)]
enum Content {
    /// A JSON object that this document does not describe.
    Object,
    /// A JSON object with this schema.
    One(&'static str),
    /// A page of a list, whose items have this schema, or none that this document describes.
    List(Option<&'static str>),
    /// Bytes of this media type.
    Raw(&'static str),
}

use Content::{List, Object, One, Raw};

const fn get(path: &'static str, summary: &'static str, query: &'static [&'static str], answer: Content) -> Operation {
    Operation { method: "get", path, summary, query, body: None, statuses: &["200"], answer }
}

const fn post(path: &'static str, summary: &'static str, answer: Content) -> Operation {
    Operation { method: "post", path, summary, query: &[], body: None, statuses: &["200"], answer }
}

const PAGE: &[&str] = &["limit", "cursor"];
const FACTS: &[&str] = &["name", "run", "limit", "cursor"];

/// All operations.
#[rustfmt::skip]
const OPERATIONS: &[Operation] = &[
    get("/api/v1/pipeline", "The pipeline: its graph, and whether it is paused.", &[], Object),
    post("/api/v1/pipeline/pause", "Stops triggers from starting runs.", Object),
    post("/api/v1/pipeline/resume", "Lets triggers start runs again.", Object),
    get("/api/v1/nodes", "Resources and actions, with their state.", &[], List(None)),
    get("/api/v1/nodes/{name}", "One resource or action.", &[], Object),
    Operation { query: &["path"], body: Some(Raw("application/octet-stream")), statuses: &["200", "201"],
        ..post("/api/v1/resources/{name}/artifacts", "Uploads an artifact to a resource with `push = true`.", One("Artifact")) },
    Operation { body: Some(One("Params")), statuses: &["201"],
        ..post("/api/v1/resources/{name}/trigger", "Starts a run on what is new in one resource.", One("Run")) },
    Operation { body: Some(One("Pause")),
        ..post("/api/v1/resources/{name}/pause", "Pauses a resource: no run claims what is in it.", One("Paused")) },
    post("/api/v1/resources/{name}/resume", "Resumes a resource.", One("Paused")),
    Operation { body: Some(One("Pause")),
        ..post("/api/v1/actions/{name}/pause", "Pauses an action: no attempt of it starts.", One("Paused")) },
    post("/api/v1/actions/{name}/resume", "Resumes an action.", One("Paused")),
    get("/api/v1/approvals", "Actions that wait for approval, in the order in which they asked.", PAGE, List(Some("AwaitingApproval"))),
    get("/api/v1/notifications", "Notifications, newest first.", &["name", "limit", "cursor"], List(None)),
    get("/api/v1/runs", "Runs. A page may be short while there is a next one: it looks at a bounded number of runs.",
        &["state", "trigger", "since", "until", "param", "tag", "sort", "limit", "cursor"], List(Some("Run"))),
    get("/api/v1/runs/{id}", "One run, with its first inputs, its actions and their attempts.", &["wait"], One("Run")),
    Operation { method: "put", query: &["wait"], body: Some(One("Start")), statuses: &["200", "201"],
        ..post("/api/v1/runs/{id}", "Starts a run; `id` is a new UUID of version 7. Idempotent.", One("Run")) },
    post("/api/v1/runs/{id}/cancel", "Cancels a run.", One("Run")),
    post("/api/v1/runs/{id}/retry", "Retries a run that failed or was cancelled.", One("Run")),
    Operation { body: Some(One("Decision")),
        ..post("/api/v1/runs/{id}/actions/{name}/approve", "Approves an action that waits for it.", One("Run")) },
    Operation { body: Some(One("Decision")),
        ..post("/api/v1/runs/{id}/actions/{name}/reject", "Rejects an action that waits for approval: it has failed.", One("Run")) },
    get("/api/v1/runs/{id}/inputs", "The inputs of a run.", PAGE, List(Some("Input"))),
    get("/api/v1/runs/{id}/logs", "What the actions of a run logged.", &["action", "attempt", "limit", "cursor"], List(None)),
    get("/api/v1/runs/{id}/events", "The events of a run.", PAGE, List(None)),
    get("/api/v1/runs/{id}/lineage", "What a run read and wrote.", PAGE, List(None)),
    get("/api/v1/runs/{id}/diff/{other}", "What differs between two runs.", &[], One("RunDiff")),
    get("/api/v1/artifacts", "Artifacts, newest first.",
        &["resource", "state", "path", "run", "tag", "limit", "cursor"], List(Some("Artifact"))),
    get("/api/v1/artifacts/{id}", "One artifact.", &[], One("Artifact")),
    Operation { statuses: &["200", "206"],
        ..get("/api/v1/artifacts/{id}/content", "The content of an artifact.", &[], Raw("application/octet-stream")) },
    get("/api/v1/artifacts/{id}/lineage", "What an artifact was made from, and what was made from it.",
        &["depth", "direction"], One("Lineage")),
    get("/api/v1/metrics", "Metrics that actions recorded.", FACTS, List(None)),
    get("/api/v1/params", "Params that actions recorded.", FACTS, List(None)),
    get("/api/v1/tags", "Tags that actions set on runs.", FACTS, List(None)),
    get("/api/v1/triggers", "Evaluations of triggers, newest first.", &["trigger", "resource", "limit", "cursor"], List(None)),
    get("/api/v1/triggers/preview", "What each trigger would do now.", &[], List(None)),
    get("/api/v1/events", "All events as they happen; resumes after `Last-Event-ID`.", &["after", "run"], Raw("text/event-stream")),
    get("/healthz", "Whether the process answers.", &[], Object),
    get("/readyz", "Whether all parts of the host are ready.", &[], Object),
    get("/metrics", "Metrics of the host for Prometheus.", &[], Raw("text/plain")),
    get("/openapi.json", "This document.", &[], Object),
];

/// Returns the document of a server below `base_path`.
fn document(base_path: &str) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        if let Value::Object(methods) = paths.entry(operation.path).or_insert_with(|| json!({})) {
            methods.insert(operation.method.to_owned(), described(operation));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Anacostia",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A running pipeline. Lists and errors have the same form everywhere; docs/HTTP.md describes members in full.",
        },
        "servers": [{ "url": if base_path.is_empty() { "/" } else { base_path } }],
        // A host without a token asks for none.
        "security": [{}, { "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas(),
        },
    })
}

fn described(operation: &Operation) -> Value {
    let names = operation.path.split(['{', '}']).skip(1).step_by(2);
    let in_path =
        names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query = operation.query.iter().map(|name| parameter(operation.path, name));
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let mut responses: Map<String, Value> = operation
        .statuses
        .iter()
        .map(|status| {
            ((*status).to_owned(), json!({ "description": "Success.", "content": content(operation.answer) }))
        })
        .collect();
    let problem = json!({ MEDIA_TYPE: { "schema": reference("Problem") } });
    responses.insert("default".to_owned(), json!({ "description": "What is wrong.", "content": problem }));
    let mut described = json!({
        "operationId": id(operation),
        "summary": operation.summary,
        "parameters": required(operation, parameters),
        "responses": responses,
    });
    if let (Some(body), Value::Object(members)) = (operation.body, &mut described) {
        members.insert("requestBody".to_owned(), json!({ "content": content(body) }));
    }
    described
}

/// Marks the query parameters of a POST as required, because it needs all that it takes.
fn required(operation: &Operation, mut parameters: Vec<Value>) -> Vec<Value> {
    if operation.method == "post" {
        for parameter in parameters.iter_mut().filter_map(Value::as_object_mut) {
            parameter.insert("required".to_owned(), json!(true));
        }
    }
    parameters
}

/// Returns a name for the method of a client: `get_runs_id_inputs`, or `get_host_metrics` outside
/// of the API.
fn id(operation: &Operation) -> String {
    let path = operation.path.strip_prefix("/api/v1").map_or_else(|| format!("/host{}", operation.path), str::to_owned);
    let path = path.replace(['{', '}'], "").replace(['/', '.'], "_");
    format!("{}{path}", operation.method)
}

fn parameter(path: &str, name: &str) -> Value {
    let text = || json!({ "type": "string" });
    let (schema, about) = match name {
        "since" => (text(), "Only what is from this time or later: a date, a time, or how long ago, such as `24h`."),
        "until" => (text(), "Only what is from before this time: a date, a time, or how long ago, such as `24h`."),
        "param" => (text(), "Only runs with this param, `name=value`, which they were given or an action recorded."),
        "tag" if path.ends_with("/runs") => (text(), "Only runs with this tag: `name` or `name=value`."),
        "sort" => (
            json!({ "enum": RunSort::ALL.map(RunSort::as_str), "default": RunSort::default().as_str() }),
            "The order: by number, or by duration (only runs that have started and ended).",
        ),
        "limit" => {
            (json!({ "type": "integer", "minimum": 1, "maximum": MAX_PAGE }), "The maximum number of items on a page.")
        }
        "cursor" => (json!({ "type": "string" }), "`next_cursor` of the previous page."),
        "wait" => {
            (json!({ "type": "string", "examples": ["30s"] }), "Wait until the run has ended, but no longer than this.")
        }
        "run" => (json!({ "type": "string" }), "A run: its number or its id."),
        "after" => (json!({ "type": "string" }), "The id of the last message that was received."),
        "depth" => (
            json!({ "type": "integer", "minimum": 1, "maximum": MAX_LINEAGE_DEPTH, "default": 3 }),
            "How many attempts in a row are followed.",
        ),
        "direction" => (
            json!({ "enum": ["up", "down", "both"], "default": "both" }),
            "`up`: what the artifact was made from; `down`: what was made from it.",
        ),
        "path" => (json!({ "type": "string" }), "A path in the resource."),
        _ => (json!({ "type": "string" }), "Only with this value."),
    };
    json!({ "name": name, "in": "query", "description": about, "schema": schema })
}

fn content(content: Content) -> Value {
    let json = |schema: Value| json!({ "application/json": { "schema": schema } });
    match content {
        Object => json(json!({ "type": "object" })),
        One(name) => json(reference(name)),
        List(name) => json(json!({
            "type": "object",
            "required": ["items", "next_cursor"],
            "properties": {
                "items": { "type": "array", "items": name.map_or(json!({ "type": "object" }), reference) },
                "next_cursor": { "type": ["string", "null"] },
            },
        })),
        Raw(media_type) => json!({ media_type: {} }),
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Returns the schemas. Answers may have more members than these: a single run has its actions too.
fn schemas() -> Value {
    let (text, maybe, time) = (json!({ "type": "string" }), json!({ "type": ["string", "null"] }), "date-time");
    let maybe_time = json!({ "type": ["string", "null"], "format": time });
    let maybe_params = json!({ "type": ["object", "null"] });
    let (time, whole, params) =
        (json!({ "type": "string", "format": time }), json!({ "type": "integer" }), json!({ "type": "object" }));
    let run_states: Vec<&str> = RunState::ALL.iter().map(|state| state.as_str()).collect();
    let artifact_states: Vec<&str> = ArtifactState::ALL.iter().map(|state| state.as_str()).collect();
    let node_kinds: Vec<&str> = NodeKind::ALL.iter().map(|kind| kind.as_str()).collect();
    json!({
        "Problem": object(&json!({ "type": text, "title": text, "status": whole, "detail": text })),
        "Run": object(&json!({
            "id": text, "number": whole, "state": { "enum": run_states }, "trigger": text, "params": params,
            "revision": text, "created_at": time, "started_at": maybe_time, "ended_at": maybe_time, "reason": maybe, "what_next": maybe,
            "rerun_of": maybe, "fired_by": { "type": "array", "items": text }, "partition": {},
        })),
        "Artifact": object(&json!({
            "id": text, "resource": text, "path": text, "version": whole, "digest": maybe, "size": whole,
            "state": { "enum": artifact_states }, "reason": maybe, "run_id": maybe, "produced_by": maybe,
            "created_at": time, "tags": { "type": "array", "items": text }, "present": { "type": "boolean" },
        })),
        "Lineage": object(&json!({
            "artifact": text, "depth": whole, "more": { "type": "boolean" },
            "artifacts": { "type": "array", "items": reference("Artifact") },
            "attempts": { "type": "array", "items": object(&json!({
                "id": text, "run_id": text, "run_number": whole, "action": text,
            })) },
            "edges": { "type": "array", "items": object(&json!({
                "attempt": text, "artifact": text, "kind": { "enum": ["read", "wrote"] }, "bytes": whole,
            })) },
        })),
        "Input": { "allOf": [reference("Artifact"), object(&json!({ "given": { "type": "boolean" } }))] },
        "AwaitingApproval": object(&json!({ "run_id": text, "run_number": whole, "action": text, "approval": params })),
        "RunDiff": object(&json!({
            "a": params, "b": params, "same_manifest": { "type": "boolean" },
            "params": reference("DiffList"), "components": reference("DiffList"), "inputs": reference("DiffList"),
            "metrics": reference("DiffList"), "timings": reference("DiffList"), "outputs": reference("DiffList"),
        })),
        "DiffList": object(&json!({
            "items": { "type": "array", "items": params }, "different": whole, "equal": whole, "left_out": whole,
        })),
        "Decision": {
            "type": "object",
            "properties": { "by": maybe, "note": maybe },
            "additionalProperties": false,
        },
        "Params": { "type": "object", "properties": { "params": maybe_params }, "additionalProperties": false },
        "Pause": { "type": "object", "properties": { "reason": maybe }, "additionalProperties": false },
        "Paused": object(&json!({
            "type": { "enum": node_kinds }, "name": text, "paused": { "type": ["object", "null"] },
        })),
        "Start": {
            "type": "object",
            "properties": {
                "params": maybe_params, "rerun_of": maybe, "inputs": { "type": ["array", "null"], "items": text },
            },
            "additionalProperties": false,
        },
    })
}

/// Returns the schema of an object that always has these members.
fn object(properties: &Value) -> Value {
    let required: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}
