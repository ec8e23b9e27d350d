//! `/openapi.json` names the routes, their parameters and the members of their answers.

use std::collections::BTreeSet;

use anacostia::base::ArtifactId;
use anacostia::model::{ArtifactState, RunDetail, RunState};
use serde_json::Value;

use crate::http_support::{Server, a_run, an_artifact};

/// The routes, as they are written.
const ROUTES: &str = include_str!("../../src/http/api/mod.rs");

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

fn members(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_document_has_exactly_the_routes_of_the_server() {
    let server = Server::start();
    let document = server.get("/openapi.json").json();
    let described: BTreeSet<String> =
        operations(&document).into_iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    let routes = ROUTES.split("pub(super) fn routes").nth(1).unwrap().split("\n}").next().unwrap();
    let route = regex_lite::Regex::new(r#"(?s)\.route\(\s*"([^"]+)",\s*(.+?)\)\s*(?:\n|$)"#).unwrap();
    let method = regex_lite::Regex::new(r"\b(get|put|post|delete|patch)\(").unwrap();
    let mut routed = BTreeSet::new();
    for captures in route.captures_iter(routes) {
        for found in method.captures_iter(&captures[2]) {
            routed.insert(format!("{} {}", found[1].to_uppercase(), &captures[1]));
        }
    }
    assert_eq!(routes.matches(".route(").count(), route.captures_iter(routes).count());
    assert_eq!(described, routed);
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
        let taken: BTreeSet<&str> =
            problem["allowed"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        let parameters = about["parameters"].as_array().unwrap().iter();
        let described: BTreeSet<&str> =
            parameters.filter(|it| it["in"] == "query").map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(described, taken, "{method} {path}");
    }
}

#[test]
fn the_document_has_the_members_of_runs_artifacts_and_problems() {
    let server = with_a_run();
    server.store.artifacts.lock().unwrap().push(an_artifact("a.csv", b"1", ArtifactState::New));
    let document = server.get("/openapi.json").json();
    let schemas = &document["components"]["schemas"];
    for (schema, path) in [("Run", "/api/v1/runs"), ("Artifact", "/api/v1/artifacts")] {
        let answer = server.get(path).json();
        assert_eq!(members(&schemas[schema]["properties"]), members(&answer["items"][0]), "{schema}");
    }
    let (run, input) = (a_run(2, RunState::Queued), an_artifact("b.csv", b"2", ArtifactState::Old));
    server.store.inputs.lock().unwrap().insert(run.id, vec![input]);
    let detail = RunDetail { run, actions: vec![], attempts: vec![] };
    server.store.runs.lock().unwrap().push(detail);
    let answer = server.get("/api/v1/runs/2/inputs").json();
    let both: BTreeSet<&str> = [&schemas["Artifact"], &schemas["Input"]["allOf"][1]]
        .into_iter()
        .flat_map(|schema| members(&schema["properties"]))
        .collect();
    assert_eq!(both, members(&answer["items"][0]), "Input");
    let problem = server.get("/api/v1/runs/9").problem(404, "not-found");
    assert_eq!(members(&schemas["Problem"]["properties"]), members(&problem));
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas[name].is_object(), "there is no schema {name}");
    }
}
