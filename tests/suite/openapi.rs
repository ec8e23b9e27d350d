//! `/openapi.json` names the routes, their parameters and the members of their answers.

use std::collections::BTreeSet;

use anacostia::base::{ArtifactId, bounds};
use anacostia::model::{ArtifactState, RunDetail, RunState};
use serde_json::{Value, json};

use crate::http_support::{Server, a_run, an_artifact};
use crate::schemathesis::pipeline;
use crate::support::app::TestApp;
use crate::support::wait::wait_until;

/// The routes, as they are written, and the table that describes them.
const ROUTES: &str = include_str!("../../src/http/api/mod.rs");
const DESCRIBED: &str = include_str!("../../src/http/api/described.rs");

/// The members that an answer may leave out. All others are always there, if only as `null`.
const OPTIONAL: [&str; 29] = [
    "Attempt.outage",
    "Attempt.progress",
    "Component.wit",
    "ComponentDiff.a",
    "ComponentDiff.b",
    "ConditionSeen.conditions",
    "Event.action",
    "Event.artifact_id",
    "Event.attempt",
    "Event.run_id",
    "FileDiff.a",
    "FileDiff.b",
    "Log.removed",
    "LogLine.fields",
    "MetricDiff.a",
    "MetricDiff.b",
    "Node.action",
    "Node.resource",
    "Node.store",
    "ParamDiff.a",
    "ParamDiff.b",
    "ResourceNode.waiting",
    "RunAction.earlier_approvals",
    "Tick.resource",
    "TimingDiff.a",
    "TimingDiff.b",
    "TriggerPreview.group",
    "TriggerPreview.groups",
    "TriggerPreview.resource",
];

/// Returns each operation of the document, as `GET /path`, with what the document says about it.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(|(method, about)| (method.to_uppercase(), path.clone(), about))
        })
        .collect()
}

/// Returns each content of the document: where it is, its media type, and what is said about it.
fn contents(document: &Value) -> Vec<(String, &str, &Value)> {
    let mut found = Vec::new();
    for (method, path, about) in operations(document) {
        let body = [("body".to_owned(), &about["requestBody"])];
        let responses = about["responses"].as_object().unwrap().iter().map(|(status, it)| (status.clone(), it));
        for (place, it) in body.into_iter().chain(responses) {
            let media = it["content"].as_object().into_iter().flatten();
            found.extend(media.map(|(kind, media)| (format!("{method} {path} {place}"), kind.as_str(), media)));
        }
    }
    found
}

fn schemas(document: &Value) -> impl Iterator<Item = (&String, &Value)> {
    document["components"]["schemas"].as_object().unwrap().iter()
}

/// Returns the parts of a schema that have members of their own.
fn parts(schema: &Value) -> Vec<&Value> {
    let all = schema["allOf"].as_array().into_iter().flatten().filter(|part| part.get("$ref").is_none());
    all.chain(schema["properties"].is_object().then_some(schema)).collect()
}

/// Returns the members of all schemas, as `Run.state`, with their schema, and whether they are
/// required.
fn members(document: &Value) -> Vec<(String, &Value, bool)> {
    let mut found = Vec::new();
    for (name, schema) in schemas(document) {
        for part in parts(schema) {
            let required: BTreeSet<&str> =
                part["required"].as_array().into_iter().flatten().map(|it| it.as_str().unwrap()).collect();
            let members = part["properties"].as_object().unwrap().iter();
            found.extend(members.map(|(member, it)| (format!("{name}.{member}"), it, required.contains(&**member))));
        }
    }
    found
}

/// Returns the schemas that only requests use.
fn requests(document: &Value) -> BTreeSet<&str> {
    let bodies = contents(document).into_iter().filter(|(place, ..)| place.ends_with(" body"));
    bodies.filter_map(|(_, _, media)| media["schema"]["$ref"].as_str()?.rsplit('/').next()).collect()
}

/// Returns the members of a value that its schema does not describe.
fn undescribed(value: &Value, schema: &Value, document: &Value, place: &str, found: &mut BTreeSet<String>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        return undescribed(value, &document["components"]["schemas"][name], document, name, found);
    }
    for part in schema["oneOf"].as_array().into_iter().flatten().filter(|_| !value.is_null()) {
        undescribed(value, part, document, place, found);
    }
    for item in value.as_array().into_iter().flatten() {
        undescribed(item, &schema["items"], document, place, found);
    }
    let parts = schema["allOf"].as_array().map_or_else(|| vec![schema], |parts| parts.iter().collect());
    let mut known = serde_json::Map::new();
    for part in parts {
        let name = part["$ref"].as_str().and_then(|name| name.rsplit('/').next());
        let part = name.map_or(part, |name| &document["components"]["schemas"][name]);
        known.extend(part["properties"].as_object().cloned().unwrap_or_default());
    }
    for (name, member) in value.as_object().into_iter().flatten().filter(|_| !known.is_empty()) {
        match known.get(name) {
            Some(schema) => undescribed(member, schema, document, &format!("{place}.{name}"), found),
            None => drop(found.insert(format!("{place}.{name}"))),
        }
    }
}

/// Panics if a value is not as a schema of the document says.
#[track_caller]
fn check(value: &Value, schema: &Value, document: &Value, place: &str) {
    let whole = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "allOf": [schema],
        "components": document["components"],
    });
    let validator = jsonschema::options().should_validate_formats(true).build(&whole).unwrap();
    let wrong: Vec<String> = validator.iter_errors(value).map(|it| format!("{}: {it}", it.instance_path())).collect();
    assert!(wrong.is_empty(), "{place}: {value:#}\n{}", wrong.join("\n"));
    let mut found = BTreeSet::new();
    undescribed(value, schema, document, place, &mut found);
    assert!(found.is_empty(), "{place} has members that the document does not have: {found:?}");
}

#[test]
fn the_document_has_exactly_the_routes_of_the_server() {
    let server = Server::start();
    let document = server.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let described: BTreeSet<String> =
        operations(&document).into_iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    let routes = ROUTES.split("pub(super) fn routes").nth(1).unwrap().split("\n}").next().unwrap();
    let route = regex_lite::Regex::new(r#"(?s)\.route\(\s*"([^"]+)",\s*(.+?)\)\s*(?:\n|$)"#).unwrap();
    let handled = regex_lite::Regex::new(r"\b(get|put|post|delete|patch)\(([a-z_:]+)\)?").unwrap();
    let handler = |name: &str| name.rsplit_once("super::").map_or(name, |(_, name)| name).to_owned();
    let mut routed = BTreeSet::new();
    for captures in route.captures_iter(routes) {
        for found in handled.captures_iter(&format!("{})", &captures[2])) {
            routed.insert(format!("{} {} {}", found[1].to_uppercase(), &captures[1], handler(&found[2])));
        }
    }
    assert_eq!(routes.matches(".route(").count(), route.captures_iter(routes).count());
    let row = regex_lite::Regex::new(r#"\b(get|put|post)\("([^"]+)", ([a-z_:]+),"#).unwrap();
    let table: BTreeSet<String> = row
        .captures_iter(DESCRIBED)
        .map(|row| {
            let name = if &row[3] == "show" { "described::show" } else { &row[3] };
            format!("{} {} {name}", row[1].to_uppercase(), &row[2])
        })
        .collect();
    assert_eq!(table, routed, "each row has the handler of its route");
    let without: BTreeSet<String> = table.iter().map(|row| row.rsplit_once(' ').unwrap().0.to_owned()).collect();
    assert_eq!(described, without);
    let ids: BTreeSet<&str> =
        operations(&document).iter().map(|(_, _, about)| about["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), described.len(), "two operations have the same id");
}

/// Starts a server with one run on record.
fn with_a_run() -> Server {
    let server = Server::start();
    let run = a_run(1, RunState::Succeeded);
    server.store.runs.lock().unwrap().push(RunDetail { run, actions: vec![], attempts: vec![] });
    server
}

#[test]
fn the_document_has_the_parameters_that_each_route_takes() {
    let server = with_a_run();
    let document = server.get("/openapi.json").json();
    for (method, path, about) in operations(&document) {
        let id = if path.contains("artifacts") { ArtifactId::new().to_string() } else { "1".to_owned() };
        let path = path.replace("{id}", &id).replace("{name}", "raw").replace("{other}", "1");
        let problem = server.send(&method, &format!("{path}?no_such=1"), &[], b"").problem(400, "unknown-parameter");
        check(&problem, &json!({ "$ref": "#/components/schemas/Problem" }), &document, &path);
        let taken: BTreeSet<&str> =
            problem["allowed"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        let parameters = about["parameters"].as_array().into_iter().flatten();
        let described: BTreeSet<&str> =
            parameters.filter(|it| it["in"] == "query").map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(described, taken, "{method} {path}");
    }
}

#[test]
fn everything_is_described_for_people() {
    let document = Server::start().get("/openapi.json").json();
    let described = |it: &Value| it["description"].as_str().is_some_and(|text| text.len() > 3);
    let about = |it: &Value| described(it) || it["oneOf"].as_array().is_some_and(|parts| parts.iter().any(described));
    let schemas = schemas(&document).filter(|(_, schema)| !about(schema)).map(|(name, _)| name.clone());
    let members = members(&document).into_iter().filter(|(_, it, _)| !about(it)).map(|(name, ..)| name);
    let operations = operations(&document);
    let parameters = operations.iter().flat_map(|(method, path, it)| {
        let all = it["parameters"].as_array().into_iter().flatten().filter(|it| !about(it));
        all.map(move |it| format!("{method} {path} {}", it["name"]))
    });
    let missing: Vec<String> = schemas.chain(members).chain(parameters).collect();
    assert!(missing.is_empty(), "nothing is said about:\n{}", missing.join("\n"));
    let text = document.to_string();
    for rust in ["[`", "`None`", "`Some", "crate::", "Self::"] {
        let place = text.find(rust).map(|at| text[..at + 40.min(text.len() - at)].chars().rev().take(200).collect());
        let place: Option<String> = place.map(|text: String| text.chars().rev().collect());
        assert_eq!(place, None, "{rust} is for readers of the code");
    }
}

#[test]
fn every_body_has_an_example_that_is_one() {
    let document = Server::start().get("/openapi.json").json();
    let json = contents(&document).into_iter().filter(|(_, kind, _)| kind.ends_with("json"));
    for (place, _, media) in json.filter(|(place, ..)| !place.starts_with("GET /openapi.json 200")) {
        assert!(media["example"].as_object().is_some_and(|example| !example.is_empty()), "{place}: {media:#}");
        check(&media["example"], &media["schema"], &document, &place);
    }
    let text = |it: &Value| it["type"] == "string" || it["type"] == json!(["string", "null"]);
    let examples = |it: &Value| it["examples"][0].as_str().is_some_and(|example| !example.is_empty());
    // A cursor is opaque, and `null` says most about some members.
    let members = members(&document).into_iter().filter(|(_, it, _)| it["type"] == "string");
    let poor: Vec<String> =
        members.filter(|(_, it, _)| text(it) && !examples(it) && it["enum"].is_null()).map(|(name, ..)| name).collect();
    assert!(poor.is_empty(), "these have no example: {poor:?}");
}

#[test]
fn members_are_required_if_they_are_always_there() {
    let document = Server::start().get("/openapi.json").json();
    let requests = requests(&document);
    let optional: Vec<String> = members(&document)
        .into_iter()
        .filter(|(_, _, required)| !required)
        .map(|(name, ..)| name)
        .filter(|name| name.split('.').next().is_some_and(|name| !requests.contains(name) && name != "ProblemAdvice"))
        .collect();
    assert_eq!(optional, OPTIONAL);
}

#[test]
fn bounds_are_those_that_the_host_checks() {
    let document = Server::start().get("/openapi.json").json();
    let schema = |pointer: &str, key: &str| document["components"]["schemas"].pointer(pointer).unwrap()[key].clone();
    for who in ["Decision", "DecisionRequest"] {
        assert_eq!(schema(&format!("/{who}/properties/by"), "maxLength"), bounds::MAX_DECIDER_CHARS);
        assert_eq!(schema(&format!("/{who}/properties/note"), "maxLength"), bounds::MAX_NOTE_CHARS);
    }
    assert_eq!(schema("/StartRequest/properties/inputs", "maxItems"), bounds::MAX_GIVEN);
    for (method, path, about) in operations(&document) {
        let limit = about["parameters"].as_array().into_iter().flatten().find(|it| it["name"] == "limit");
        let Some(limit) = limit.map(|it| &it["schema"]) else { continue };
        assert_eq!((&limit["minimum"], &limit["maximum"]), (&json!(1), &json!(bounds::MAX_PAGE)), "{method} {path}");
        let items = &about["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["items"];
        assert!(items["maxItems"] == bounds::MAX_PAGE || path.ends_with("/logs"), "{method} {path}: {items}");
    }
}

#[test]
fn answers_have_only_members_that_the_document_has() {
    let server = with_a_run();
    server.store.artifacts.lock().unwrap().push(an_artifact("a.csv", b"1", ArtifactState::New));
    let (run, input) = (a_run(2, RunState::Queued), an_artifact("b.csv", b"2", ArtifactState::Old));
    server.store.inputs.lock().unwrap().insert(run.id, vec![input]);
    server.store.runs.lock().unwrap().push(RunDetail { run, actions: vec![], attempts: vec![] });
    let document = server.get("/openapi.json").json();
    for path in ["/api/v1/runs", "/api/v1/artifacts", "/api/v1/runs/2", "/api/v1/runs/2/inputs", "/api/v1/pipeline"] {
        let described = path.replace("/2", "/{id}");
        let schema = &document["paths"][described]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        check(&server.get(path).json(), schema, &document, path);
    }
    let problem = server.get("/api/v1/runs/9").problem(404, "not-found");
    check(&problem, &json!({ "$ref": "#/components/schemas/Problem" }), &document, "a problem");
}

#[test]
fn answers_of_a_real_host_have_only_members_that_the_document_has() {
    let mut app = pipeline();
    app.start();
    app.drop_file("raw/a.csv", b"a,b\n1,2\n");
    let state = |app: &TestApp| app.try_get("/api/v1/runs/1").ok().map(|(_, run)| run["actions"][0]["state"].clone());
    wait_until("the action to wait for approval", || state(&app) == Some(Value::from("awaiting_approval")));
    let document = app.get("/openapi.json");
    let check_all = || {
        for (method, path, about) in operations(&document).into_iter().filter(|(method, ..)| method == "GET") {
            let content = &about["responses"]["200"]["content"]["application/json"];
            if content["example"].is_null() {
                continue;
            }
            let id = if path.contains("/artifacts/") {
                app.get("/api/v1/artifacts?state=current")["items"][0]["id"].as_str().unwrap_or_default().to_owned()
            } else {
                "1".to_owned()
            };
            let names = ["raw", "publish", "metadata_store"];
            for name in names.iter().take(if path.contains("{name}") { 3 } else { 1 }) {
                let place = path.replace("{id}", &id).replace("{other}", "1").replace("{name}", name);
                if let Ok((200, answer)) = app.try_get(&place) {
                    check(&answer, &content["schema"], &document, &format!("{method} {place}"));
                }
            }
        }
    };
    assert_eq!(app.post("/api/v1/actions/note/pause").0, 200);
    check_all();
    assert_eq!(app.post("/api/v1/runs/1/actions/publish/approve").0, 200);
    app.wait_for_runs(1);
    check_all();
}
