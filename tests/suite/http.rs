//! The API: shapes, errors, control of runs.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anacostia::base::RunId;
use anacostia::model::{ArtifactState, RunDetail, RunState};

use crate::http_support::{Server, a_run, an_artifact};
use crate::support::wait::wait_until;

fn add_run(server: &Server, number: u64, state: RunState) -> RunId {
    let run = a_run(number, state);
    let id = run.id;
    let detail = RunDetail { run, actions: vec![], attempts: vec![] };
    server.store.runs.lock().unwrap().push(detail);
    id
}

#[test]
fn unknown_routes_methods_and_parameters_return_helpful_problems() {
    let server = Server::start();
    assert_eq!(server.get("/api/v1/run").problem(404, "not-found")["did_you_mean"], "/api/v1/runs");
    let problem = server.get("/api/v1/runs?limt=3").problem(400, "unknown-parameter");
    assert_eq!(problem["did_you_mean"], "limit");
    assert_eq!(
        problem["allowed"],
        serde_json::json!(["state", "trigger", "since", "until", "param", "tag", "sort", "limit", "cursor"])
    );
    let problem = server.get("/api/v1/runs?state=running,fialed").problem(400, "bad-parameter");
    assert_eq!((&problem["did_you_mean"], &problem["parameter"]), (&"failed".into(), &"state".into()));
    server.get("/api/v1/runs?limit=0").problem(400, "bad-parameter");
    server.get("/api/v1/runs?cursor=nonsense").problem(400, "bad-request");
    let answer = server.send("DELETE", "/api/v1/runs", &[], b"");
    answer.problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), "GET,HEAD,OPTIONS");
    assert_eq!(server.get("/api/v1/nodes/trian").problem(404, "not-found")["did_you_mean"], "train");
    for path in ["/api/v1/runs/%FF", "/api/v1/nodes/%FF", "/api/v1/artifacts/%FF", "/api/v1/runs/%FF/logs"] {
        server.get(path).problem(400, "bad-request");
    }
    server.get("/api/v1/metrics?name=%ff").problem(400, "bad-request");
    server.send("POST", "/api/v1/resources/raw/artifacts?path=%ff", &[], b"x").problem(400, "bad-request");
    server.send("POST", "/api/v1/resources/%FF/pause", &[], b"{}").problem(400, "bad-request");
}

#[test]
fn every_route_refuses_unknown_parameters() {
    let server = Server::start();
    let id = add_run(&server, 1, RunState::Succeeded);
    for path in [
        "/api/v1/pipeline".to_owned(),
        "/api/v1/nodes".to_owned(),
        "/api/v1/nodes/raw".to_owned(),
        format!("/api/v1/runs/{id}"),
        format!("/api/v1/runs/{id}/inputs"),
        format!("/api/v1/runs/{id}/logs"),
        format!("/api/v1/runs/{id}/events"),
        format!("/api/v1/runs/{id}/lineage"),
        "/api/v1/artifacts".to_owned(),
        "/api/v1/notifications".to_owned(),
        "/api/v1/metrics".to_owned(),
        "/api/v1/params".to_owned(),
        "/api/v1/tags".to_owned(),
        "/api/v1/triggers".to_owned(),
        "/api/v1/events".to_owned(),
        "/healthz".to_owned(),
        "/readyz".to_owned(),
        "/metrics".to_owned(),
    ] {
        server.get(&format!("{path}?no_such=1")).problem(400, "unknown-parameter");
    }
}

#[test]
fn runs_are_paged_newest_first_and_found_by_number_or_id() {
    let server = Server::start();
    let ids: Vec<RunId> = (1..=5).map(|number| add_run(&server, number, RunState::Succeeded)).collect();
    add_run(&server, 6, RunState::Failed);
    let first = server.get("/api/v1/runs?state=succeeded&limit=2").json();
    assert_eq!((&first["items"][0]["number"], &first["items"][1]["number"]), (&5.into(), &4.into()));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = server.get(&format!("/api/v1/runs?state=succeeded&limit=4&cursor={cursor}")).json();
    assert_eq!(second["items"].as_array().unwrap().len(), 3);
    assert!(second["next_cursor"].is_null());
    for name in ["2".to_owned(), ids[1].to_string()] {
        let run = server.get(&format!("/api/v1/runs/{name}")).json();
        assert_eq!((&run["id"], &run["number"]), (&ids[1].to_string().into(), &2.into()));
    }
    server.get("/api/v1/runs/99").problem(404, "not-found");
    server.get(&format!("/api/v1/runs/{}", RunId::new())).problem(404, "not-found");
    server.get("/api/v1/runs/latest").problem(400, "bad-request");
}

#[test]
fn a_run_has_the_documented_members() {
    let server = Server::start();
    let mut run = a_run(1, RunState::Succeeded);
    run.params = serde_json::json!({ "seed": 7 });
    let mut input = an_artifact("a.csv", b"1", ArtifactState::Old);
    input.run_id = Some(run.id);
    let attempt = an_attempt(run.id);
    let action = an_action();
    server.store.inputs.lock().unwrap().insert(run.id, vec![input]);
    let detail = RunDetail { run, actions: vec![action], attempts: vec![attempt] };
    server.store.runs.lock().unwrap().push(detail);
    let mut body = server.get("/api/v1/runs/1").json();
    for id in ["/id", "/inputs/0/id", "/inputs/0/run_id", "/actions/0/attempts/0/id"] {
        *body.pointer_mut(id).unwrap() = "some id".into();
    }
    insta::assert_json_snapshot!("a_run", body);
}

#[test]
fn the_inputs_of_a_run_are_paged() {
    let server = Server::start();
    let run = a_run(1, RunState::Running);
    let inputs: Vec<_> =
        (0..10_000).map(|number| an_artifact(&format!("{number}.csv"), b"1", ArtifactState::Current)).collect();
    server.store.inputs.lock().unwrap().insert(run.id, inputs);
    let detail = RunDetail { run, actions: vec![], attempts: vec![] };
    server.store.runs.lock().unwrap().push(detail);
    let run = server.get("/api/v1/runs/1").json();
    let mut paths: Vec<String> = Vec::new();
    let mut take = |items: &serde_json::Value| {
        let items = items.as_array().unwrap();
        paths.extend(items.iter().map(|input| input["path"].as_str().unwrap().to_owned()));
        items.len()
    };
    assert_eq!((take(&run["inputs"]), &run["inputs_count"]), (100, &10_000.into()));
    let mut cursor = run["inputs_next_cursor"].as_str().map(str::to_owned);
    while let Some(from) = cursor {
        let page = server.get(&format!("/api/v1/runs/1/inputs?limit=1000&cursor={from}")).json();
        assert!((1..=1_000).contains(&take(&page["items"])));
        cursor = page["next_cursor"].as_str().map(str::to_owned);
    }
    let all: Vec<String> = (0..10_000).map(|number| format!("{number}.csv")).collect();
    assert!(paths == all, "{} of them", paths.len());
    server.get("/api/v1/runs/2/inputs").problem(404, "not-found");
    server.get(&format!("/api/v1/runs/{}/inputs", RunId::new())).problem(404, "not-found");
    server.get("/api/v1/runs/1/inputs?cursor=x").problem(400, "bad-request");
}

fn an_action() -> anacostia::model::RunAction {
    anacostia::model::RunAction {
        name: "train".into(),
        state: anacostia::model::ActionState::Succeeded,
        reason: None,
        attempts: 1,
        tries: 1,
        crashes: 0,
        retry_at: None,
        skipped_rest: false,
        approvals: Vec::new(),
    }
}

fn an_attempt(run_id: RunId) -> anacostia::model::Attempt {
    let moment = anacostia::base::Timestamp::from_micros(1_772_366_400_000_000);
    anacostia::model::Attempt {
        id: anacostia::base::AttemptId::new(),
        run_id,
        action: "train".into(),
        number: 1,
        state: anacostia::model::AttemptState::Succeeded,
        started_at: moment,
        ended_at: Some(moment),
        component_digest: anacostia::base::Digest::of(b"train"),
        grants: serde_json::json!({ "reads": ["raw"] }),
        error: None,
        message: Some("seen".into()),
        usage: anacostia::model::Usage { peak_memory_bytes: 65_536, ..Default::default() },
        log_from: anacostia::model::LogPosition::default(),
        log_to: None,
        fence: None,
        cache: None,
    }
}

#[test]
fn nodes_show_unexpanded_values_and_only_the_names_of_variables() {
    let server = Server::start();
    let nodes = server.get("/api/v1/nodes");
    assert!(!nodes.text().contains("expanded-value"));
    let names: Vec<String> =
        nodes.json()["items"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().into()).collect();
    assert_eq!(names, ["metadata_store", "raw", "models", "train"]);
    let raw = server.get("/api/v1/nodes/raw").json();
    assert_eq!(raw["resource"]["ignore"], serde_json::json!(anacostia::manifest::FolderSpec::default_ignore()));
    assert_eq!(raw["resource"]["path"], "${DATA}/raw");
    assert_eq!((&raw["type"], &raw["state"]), (&"resource".into(), &"watching".into()));
    let train = server.get("/api/v1/nodes/train").json();
    assert_eq!(train["action"]["grants"]["env"], serde_json::json!(["MODE"]));
    let pipeline = server.get("/api/v1/pipeline").json();
    assert_eq!(pipeline["edges"], serde_json::json!([{ "from": "raw", "to": "train" }]));
}

#[test]
fn a_put_starts_a_run_once() {
    let server = Server::start();
    let path = format!("/api/v1/runs/{}", RunId::new());
    let json = [("Content-Type", "application/json")];
    let body = br#"{"params":{"seed":1}}"#;
    let first = server.send("PUT", &path, &json, body);
    assert_eq!((first.status, first.header("location")), (201, path.as_str()));
    let again = server.send("PUT", &path, &json, body);
    assert_eq!((again.status, &again.json()["id"]), (200, &first.json()["id"]));
    server.send("PUT", &path, &json, br#"{"params":{"seed":2}}"#).problem(409, "conflict");
    server.send("PUT", &path, &json, br#"{"parms":{}}"#).problem(400, "bad-request");
    server.send("PUT", &path, &json, br#"{"params":[]}"#).problem(400, "bad-request");
    server.send("PUT", &path, &[("Content-Type", "text/plain")], body).problem(415, "not-json");
    server.send("PUT", "/api/v1/runs/7", &json, body).problem(400, "bad-request");
    let large = format!(r#"{{"params":{{"a":"{}"}}}}"#, "x".repeat(70_000));
    server.send("PUT", &path, &json, large.as_bytes()).problem(413, "body-too-large");
    assert_eq!(server.store.runs.lock().unwrap().len(), 1);
}

#[test]
fn a_waiting_request_is_answered_when_the_run_ends() {
    let server = Server::start();
    let id = add_run(&server, 1, RunState::Running);
    let ended = |state| {
        server.store.runs.lock().unwrap()[0].run.state = state;
        server.control.ends.send(id).unwrap();
    };
    std::thread::scope(|scope| {
        let put = scope.spawn(|| server.send("PUT", &format!("/api/v1/runs/{id}?wait=20s"), &[], b""));
        let get = scope.spawn(|| server.get("/api/v1/runs/1?wait=20s"));
        wait_until("both requests to listen", || server.control.ends.receiver_count() == 2);
        // Other runs end first, more than the channel keeps for a listener.
        for _ in 0..5 {
            server.control.ends.send(RunId::new()).unwrap();
        }
        assert!(!put.is_finished() && !get.is_finished());
        ended(RunState::Succeeded);
        assert_eq!(put.join().unwrap().json()["state"], "succeeded");
        assert_eq!(get.join().unwrap().json()["state"], "succeeded");
    });
    // A run that has ended is returned at once; one that does not end is returned as it is.
    assert_eq!(server.get("/api/v1/runs/1?wait=60s").json()["state"], "succeeded");
    add_run(&server, 2, RunState::Running);
    assert_eq!(server.get("/api/v1/runs/2?wait=10ms").json()["state"], "running");
    for bad in ["61s", "soon", "5"] {
        server.get(&format!("/api/v1/runs/2?wait={bad}")).problem(400, "bad-parameter");
    }
}

#[test]
fn cancel_retry_pause_and_resume_call_the_control() {
    let server = Server::start();
    let done = add_run(&server, 1, RunState::Succeeded);
    let at_work = add_run(&server, 2, RunState::Running);
    assert_eq!(server.send("POST", "/api/v1/runs/2/cancel", &[], b"").json()["state"], "cancelling");
    server.send("POST", &format!("/api/v1/runs/{done}/retry"), &[], b"").problem(409, "conflict");
    server.send("POST", &format!("/api/v1/runs/{}/retry", RunId::new()), &[], b"").problem(404, "not-found");
    let calls = server.control.calls.lock().unwrap().clone();
    assert_eq!(calls[..2], [format!("cancel {at_work}"), format!("retry {done}")]);
    assert_eq!(server.send("POST", "/api/v1/pipeline/pause", &[], b"").json()["state"], "paused");
    assert_eq!(server.get("/api/v1/pipeline").json()["state"], "paused");
    assert_eq!(server.send("POST", "/api/v1/pipeline/resume", &[], b"").json()["state"], "running");
    assert_eq!(server.get("/api/v1/pipeline").json()["state"], "running");
}

#[test]
fn readiness_lists_its_reasons_and_a_failing_store_is_503() {
    let server = Server::start();
    assert_eq!(server.get("/readyz").json()["status"], "ready");
    server.control.reasons.lock().unwrap().push("raw is still being scanned".into());
    let problem = server.get("/readyz").problem(503, "not-ready");
    assert_eq!(problem["reasons"], serde_json::json!(["raw is still being scanned"]));
    *server.store.failing.lock().unwrap() = true;
    assert_eq!(server.get("/readyz").problem(503, "not-ready")["reasons"].as_array().unwrap().len(), 2);
    assert_eq!(server.get("/healthz").status, 200);
    let answer = server.get("/api/v1/runs");
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(server.get("/").status, 503);
}

#[test]
fn metrics_are_served_in_the_prometheus_format() {
    let server = Server::start();
    add_run(&server, 1, RunState::Succeeded);
    add_run(&server, 2, RunState::Running);
    server.store.pending.lock().unwrap().count = 4;
    let answer = server.get("/metrics");
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    for line in [
        "anacostia_runs_created_total 2",
        "anacostia_runs_unfinished{state=\"running\"} 1",
        "anacostia_runs_unfinished{state=\"queued\"} 0",
        "anacostia_artifacts_waiting{resource=\"raw\"} 4",
        "anacostia_resource_watched{resource=\"raw\"} 1",
        "anacostia_pipeline_paused 0",
        "anacostia_ready 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
    }
    // Every line is a comment, or a name, labels and a number.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok()), "{line}");
    }
}

#[test]
fn the_server_stops_despite_open_connections() {
    let mut server = Server::start();
    let _idle = server.connect();
    assert_eq!(server.get("/healthz").status, 200);
    server.stop.cancel();
    server.ended();
    assert!(std::net::TcpStream::connect(server.address).is_err());
}

#[test]
fn idle_connections_make_room_for_other_clients() {
    let server = Server::start();
    let id = add_run(&server, 1, RunState::Running);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.get("/api/v1/runs/1?wait=30s"));
        wait_until("the request to wait", || server.control.ends.receiver_count() == 1);
        // More than the server holds. Some have sent a request, or a part of one.
        let idle: Vec<_> = (0..300)
            .map(|at| {
                let mut connection = server.connect();
                let head = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n";
                let whole = format!("{head}\r\n");
                let sent = ["", head, &whole][at % 3];
                // The server may have closed it already.
                let _ = connection.write_all(sent.as_bytes());
                connection
            })
            .collect();
        let began = Instant::now();
        for _ in 0..3 {
            assert_eq!(server.get("/readyz").status, 200);
        }
        let took = began.elapsed();
        // The time after which a connection without a request is closed anyway is 15 s.
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert!(!waiting.is_finished(), "a connection with a request was closed");
        drop(idle);
        server.store.runs.lock().unwrap()[0].run.state = RunState::Succeeded;
        server.control.ends.send(id).unwrap();
        assert_eq!(waiting.join().unwrap().json()["state"], "succeeded");
    });
}
