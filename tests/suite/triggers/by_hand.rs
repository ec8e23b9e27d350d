//! Runs that a person starts: their params, and what they claim.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::wait::wait_until;

const PIPELINE: &str = r#"
manifest_version = 1
[pipeline]
name = "by-hand"
params = { seed = 7 }
[pipeline.params_schema]
required = ["seed"]
additionalProperties = false
[pipeline.params_schema.properties]
seed = { type = "integer" }
rate = { type = "number", exclusiveMinimum = 0, maximum = 1 }
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = { min_artifacts = 1000 }
[resources.labels]
kind = "folder"
path = "labels"
watch = true
trigger = { min_artifacts = 1000 }
[resources.out]
kind = "folder"
path = "out"
[actions.work]
component = "worker.wasm"
after = ["raw", "labels"]
reads = ["raw", "labels"]
params = { steps = [{ do = "done" }] }
"#;

fn started() -> TestApp {
    let mut app = TestApp::new(PIPELINE).with_guest("worker");
    for folder in ["raw", "labels"] {
        std::fs::create_dir(app.path(folder)).unwrap();
    }
    app.start();
    app
}

fn put(app: &TestApp, params: &Value) -> (u16, Value) {
    let url = format!("{}/api/v1/runs/{}", app.url(), anacostia::base::RunId::new());
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.put(url).send_json(json!({ "params": params })).unwrap();
    let body = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), serde_json::from_str(&body).unwrap())
}

#[test]
fn params_that_do_not_fit_the_schema_are_refused_with_what_is_allowed() {
    let app = started();
    let (status, problem) = put(&app, &json!({ "rate": 2 }));
    let message = "the param `rate` does not fit: 2 is greater than the maximum of 1";
    assert_eq!((status, problem["detail"].as_str()), (400, Some(message)));
    let (status, problem) = put(&app, &json!({ "sed": 1 }));
    let unknown = "`sed` is not a param of this pipeline; it has `rate`, `seed`";
    assert_eq!((status, problem["detail"].as_str()), (400, Some(unknown)));
    let refused = app.cli(&["trigger", "PATH", "-p", "rate=2"]);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&refused.stderr), format!("error: {message}\n"));
    assert!(app.get_all("/api/v1/runs").is_empty(), "no run was started");
    assert_eq!(put(&app, &json!({ "rate": 0.5 })).0, 201);
    let started = app.cli(&["trigger", "PATH", "-p", "seed=8", "--wait"]);
    assert!(started.status.success(), "{started:?}");
    // A run that is repeated has the params of the first.
    let again = app.cli(&["runs", "retry", "latest", "PATH", "--current"]);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(app.wait_for_runs(3)[2]["params"], json!({ "seed": 8 }));
}

#[test]
fn one_resource_is_triggered_whatever_it_waits_for() {
    let app = started();
    let nothing = app.post("/api/v1/resources/raw/trigger");
    let detail = "nothing is new in `raw`, so there is nothing to start a run on";
    assert_eq!((nothing.0, nothing.1["detail"].as_str()), (409, Some(detail)));
    app.drop_file("raw/a.csv", b"a");
    app.drop_file("labels/b.csv", b"b");
    wait_until("both to be recorded", || app.get_all("/api/v1/artifacts?state=new").len() == 2);
    let (status, run) = app.post("/api/v1/resources/raw/trigger");
    assert_eq!((status, run["trigger"].as_str()), (201, Some("started by hand on raw")), "{run}");
    let inputs = app.get("/api/v1/runs/1")["inputs"].clone();
    assert_eq!((inputs.as_array().unwrap().len(), &inputs[0]["path"]), (1, &json!("a.csv")));
    assert_eq!(app.post("/api/v1/resources/raw/trigger").0, 409, "it is claimed");
    let waiting = app.get_all("/api/v1/artifacts?state=new");
    assert_eq!((waiting.len(), &waiting[0]["path"]), (1, &json!("b.csv")), "the other resource is left alone");
    let unknown = app.post("/api/v1/resources/rw/trigger");
    assert_eq!((unknown.0, &unknown.1["did_you_mean"]), (404, &json!("raw")));
    let (status, problem) = app.post("/api/v1/resources/out/trigger");
    assert_eq!((status, problem["detail"].as_str()), (409, Some("`out` is not watched, so it has no new artifacts")));
}

#[test]
fn recorded_artifacts_are_selected_by_their_state_and_by_when_they_were_recorded() {
    let app = started();
    app.drop_file("raw/a.csv", b"a");
    wait_until("the first to be recorded", || app.get_all("/api/v1/artifacts?state=new").len() == 1);
    assert!(app.cli(&["trigger", "PATH", "--wait"]).status.success());
    app.drop_file("raw/b.csv", b"b");
    wait_until("the second to be recorded", || app.get_all("/api/v1/artifacts?state=new").len() == 1);
    let of = |path: &str| app.get_all(&format!("/api/v1/artifacts?resource=raw&path={path}")).remove(0);
    let [a, b] = ["a.csv", "b.csv"].map(of);
    let select = |more: &[&str]| {
        let all = [&["trigger", "PATH", "--inputs", "raw/*.csv", "--dry-run", "--json"], more].concat();
        let items = app.cli_json(&all)["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(select(&[]), ["a.csv", "b.csv"]);
    assert_eq!(select(&["--state", "old"]), ["a.csv"]);
    assert_eq!(select(&["--state", "new"]), ["b.csv"]);
    let [first, second] = [&a, &b].map(|it| it["created_at"].as_str().unwrap());
    assert_eq!(select(&["--since", first]), ["a.csv", "b.csv"]);
    assert_eq!(select(&["--since", second]), ["b.csv"]);
    assert_eq!(select(&["--since", &first[..10]]), ["a.csv", "b.csv"], "since the beginning of that day");
    assert_eq!(select(&["--since", "1d", "--state", "old"]), ["a.csv"]);
    for (option, value, expected) in [("--state", "old", &a), ("--since", second, &b)] {
        let started = app.cli(&["trigger", "PATH", "--inputs", "raw/*.csv", option, value, "--wait"]);
        assert!(started.status.success(), "{started:?}");
        let run = app.wait_for_runs(2).pop().unwrap();
        let inputs = app.get(&format!("/api/v1/runs/{}", run["number"]))["inputs"].clone();
        let ids: Vec<&Value> = inputs.as_array().unwrap().iter().map(|input| &input["id"]).collect();
        assert_eq!(ids, [&expected["id"]], "{option}");
    }
    // What is given is not claimed.
    assert_eq!([&a, &b].map(|it| app.get(&format!("/api/v1/artifacts/{}", it["id"].as_str().unwrap()))), [a, b]);
}

#[test]
fn the_command_line_triggers_one_resource_too() {
    let app = started();
    let raw = ["trigger", "PATH", "--resource", "raw"];
    let said = |args: &[&str]| {
        let output = app.cli(args);
        let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code(), out, error)
    };
    let nothing =
        "error: the host refused to start a run: nothing is new in `raw`, so there is nothing to start a run on\n";
    assert_eq!(said(&raw), (Some(1), String::new(), nothing.to_owned()));
    let unknown = "error: there is no resource `rw`; did you mean `raw`?\n";
    assert_eq!(said(&["trigger", "PATH", "--resource", "rw"]), (Some(2), String::new(), unknown.to_owned()));
    app.drop_file("raw/a.csv", b"a");
    app.drop_file("labels/b.csv", b"b");
    wait_until("both to be recorded", || app.get_all("/api/v1/artifacts?state=new").len() == 2);
    let run = said(&[&raw[..], &["--wait", "-p", "seed=9"]].concat());
    assert_eq!(run, (Some(0), "Run #1 has succeeded\n".to_owned(), String::new()));
    let run = app.get("/api/v1/runs/1");
    assert_eq!((&run["params"], &run["inputs"][0]["path"]), (&json!({ "seed": 9 }), &json!("a.csv")));
    assert_eq!(app.get_all("/api/v1/artifacts?state=new").len(), 1, "the other resource is left alone");
    let both = said(&[&raw[..], &["--inputs", "raw/*"]].concat());
    assert!(both.0 == Some(2) && both.2.contains("cannot be used with"), "{both:?}");
}
