//! Limits on attempts, over all runs: what waits for what, and that nothing waits for ever.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::dev::DevSession;
use crate::support::wait::{wait_for, wait_until};

/// Each file has its own run. `train` and `tune` share the GPU; `tune` and `fetch` share the API.
const PIPELINE: &str = r#"
manifest_version = 1
[pipeline]
name = "named-limits"
max_concurrent_runs = 8
[pipeline.concurrency]
gpu = 1
api = 2
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = { max_artifacts = 1 }
[actions.train]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
uses = ["gpu"]
params = { steps = [{ do = "sleep", ms = 20 }] }
[actions.tune]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
uses = ["gpu", "api"]
params = { steps = [{ do = "sleep", ms = 20 }] }
[actions.fetch]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
uses = ["api"]
params = { steps = [{ do = "sleep", ms = 60 }] }
"#;

/// One action that uses the GPU, and does what the params of the run say.
const ONE: &str = r#"
manifest_version = 1
[pipeline]
name = "one-gpu"
max_concurrent_runs = 8
concurrency = { gpu = 1 }
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = { min_artifacts = 1000 }
[actions.train]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
uses = ["gpu"]
[actions.other]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = { steps = [{ do = "done" }] }
"#;

fn app(manifest: &str) -> TestApp {
    let app = TestApp::new(manifest).with_guest("worker");
    std::fs::create_dir(app.path("raw")).unwrap();
    app
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into()
}

fn get(url: &str, path: &str) -> Value {
    let text = agent().get(format!("{url}{path}")).call().unwrap().body_mut().read_to_string().unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Starts a run whose `train` takes these steps, and returns its number.
fn start(url: &str, steps: &Value) -> u64 {
    let run = format!("{url}/api/v1/runs/{}", anacostia::base::RunId::new());
    let mut response = agent().put(run).send_json(json!({ "params": { "steps": steps } })).unwrap();
    let run: Value = serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap();
    run["number"].as_u64().unwrap_or_else(|| panic!("{run}"))
}

fn wait_for_cancel() -> Value {
    json!([{ "do": "await_cancel" }])
}

fn done() -> Value {
    json!([{ "do": "done" }])
}

/// Waits until `train` of a run is in this state, and returns its reason.
fn train_becomes(url: &str, run: u64, state: &str) -> String {
    wait_for(&format!("train of run {run} to be {state}"), || {
        let train = get(url, &format!("/api/v1/runs/{run}"))["actions"][0].clone();
        (train["state"] == state).then(|| train["reason"].as_str().unwrap_or_default().to_owned())
    })
}

/// Returns the events of start and end of each attempt of these actions, by number.
fn attempts(app: &TestApp, runs: &[Value], names: &[&str]) -> Vec<(u64, u64)> {
    let mut spans: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for run in runs {
        for event in app.get_all(&format!("/api/v1/runs/{}/events", run["number"])) {
            let (Some(action), Some(seq)) = (event["action"].as_str(), event["seq"].as_u64()) else { continue };
            let span = || event["attempt"].as_str().filter(|_| names.contains(&action)).map(str::to_owned);
            match (event["type"].as_str().unwrap(), span()) {
                ("attempt_started", Some(attempt)) => drop(spans.insert(attempt, (seq, u64::MAX))),
                ("attempt_ended", Some(attempt)) => spans.get_mut(&attempt).unwrap().1 = seq,
                _ => {}
            }
        }
    }
    spans.into_values().collect()
}

/// Returns the most attempts that were active at once.
fn most_at_once(spans: &[(u64, u64)]) -> usize {
    let active = |at: u64| spans.iter().filter(|(start, end)| *start <= at && at < *end).count();
    spans.iter().map(|(start, _)| active(*start)).max().unwrap_or(0)
}

#[test]
fn attempts_that_share_a_limit_never_exceed_it_and_others_go_on() {
    let mut app = app(PIPELINE);
    for number in 0..8 {
        app.drop_file(&format!("raw/{number}.csv"), number.to_string().as_bytes());
    }
    app.start();
    let runs = app.wait_for_runs(8);
    assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:#?}");
    let gpu = attempts(&app, &runs, &["train", "tune"]);
    assert_eq!((gpu.len(), most_at_once(&gpu)), (16, 1), "{gpu:#?}");
    let api = attempts(&app, &runs, &["tune", "fetch"]);
    assert!(most_at_once(&api) <= 2, "{api:#?}");
    let all = attempts(&app, &runs, &["train", "tune", "fetch"]);
    assert!(most_at_once(&all) >= 2, "they do not wait for each other otherwise: {all:#?}");
}

#[test]
fn with_one_place_for_actions_no_two_attempts_overlap_also_of_different_runs() {
    let names = ["[pipeline.concurrency]", "gpu", "api", "uses"];
    let has_name = |line: &str| names.iter().any(|name| line.starts_with(name));
    let without_names: Vec<&str> = PIPELINE.lines().filter(|line| !has_name(line)).collect();
    let text = without_names
        .join("\n")
        .replace("max_concurrent_runs = 8", "max_concurrent_runs = 8\nmax_concurrent_actions = 1");
    let mut app = app(&text);
    for number in 0..4 {
        app.drop_file(&format!("raw/{number}.csv"), number.to_string().as_bytes());
    }
    app.start();
    assert_eq!(app.get("/api/v1/pipeline")["max_concurrent_actions"], 1);
    let runs = app.wait_for_runs(4);
    assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:#?}");
    let [first, last] = [&runs[0], &runs[3]].map(|run| app.get_all(&format!("/api/v1/runs/{}/events", run["number"])));
    let seqs = |events: &[Value]| events.iter().map(|event| event["seq"].as_u64().unwrap()).collect::<Vec<_>>();
    assert!(seqs(&last).iter().min() < seqs(&first).iter().max(), "all runs are at work together");
    let all = attempts(&app, &runs, &["train", "tune", "fetch"]);
    assert_eq!((all.len(), most_at_once(&all)), (12, 1), "{all:#?}");
}

#[test]
fn an_action_that_waits_says_for_what_and_takes_no_place() {
    let mut app = app(ONE);
    app.start();
    let url = app.url().to_owned();
    let holder = start(&url, &wait_for_cancel());
    train_becomes(&url, holder, "running");
    let [second, third] = [(); 2].map(|()| start(&url, &done()));
    for run in [second, third] {
        assert_eq!(train_becomes(&url, run, "ready"), "waits for gpu (1 of 1 in use)");
    }
    let shown = app.cli(&["runs", "show", &second.to_string(), "PATH"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("waits for gpu (1 of 1 in use)"), "{shown}");
    assert_eq!(app.get("/api/v1/pipeline")["concurrency"], json!({ "gpu": { "limit": 1, "in_use": 1, "waiting": 2 } }));
    let metrics = agent().get(format!("{url}/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(metrics.contains("anacostia_concurrency_waiting{name=\"gpu\"} 2\n"), "{metrics}");
    // The other action of each run has gone on.
    wait_until("the others to end", || {
        [second, third]
            .iter()
            .all(|run| get(&url, &format!("/api/v1/runs/{run}"))["actions"][1]["state"] == "succeeded")
    });
    assert_eq!(app.post(&format!("/api/v1/runs/{second}/cancel")).0, 200);
    wait_until("it to leave the line", || app.get("/api/v1/pipeline")["concurrency"]["gpu"]["waiting"] == 1);
    // One that is paused leaves the line too, and joins it again.
    app.post("/api/v1/actions/train/pause");
    assert!(wait_for("the pause to show", || {
        let reason = get(&url, &format!("/api/v1/runs/{third}"))["actions"][0]["reason"].as_str()?.to_owned();
        reason.starts_with("paused").then_some(true)
    }));
    assert_eq!(app.get("/api/v1/pipeline")["concurrency"]["gpu"], json!({ "limit": 1, "in_use": 1, "waiting": 0 }));
    app.post("/api/v1/actions/train/resume");
    wait_until("it to join the line again", || {
        get(&url, &format!("/api/v1/runs/{third}"))["actions"][0]["reason"] == "waits for gpu (1 of 1 in use)"
    });
    app.post(&format!("/api/v1/runs/{holder}/cancel"));
    let states: Vec<Value> = app.wait_for_runs(3).iter().map(|run| run["state"].clone()).collect();
    assert_eq!(states, ["cancelled", "cancelled", "succeeded"]);
    assert_eq!(app.get("/api/v1/pipeline")["concurrency"]["gpu"]["in_use"], 0);
}

#[test]
fn a_host_that_is_killed_leaves_nothing_in_use() {
    let mut app = app(ONE);
    app.start();
    let url = app.url().to_owned();
    let holder = start(&url, &wait_for_cancel());
    train_becomes(&url, holder, "running");
    let next = start(&url, &done());
    train_becomes(&url, next, "ready");
    app.kill();
    app.start();
    let url = app.url().to_owned();
    // Either of them is first now. The other waits.
    app.post(&format!("/api/v1/runs/{holder}/cancel"));
    let states: Vec<Value> = app.wait_for_runs(2).iter().map(|run| run["state"].clone()).collect();
    assert_eq!(states, ["cancelled", "succeeded"]);
    assert_eq!(get(&url, "/api/v1/pipeline")["concurrency"]["gpu"]["in_use"], 0);
}

#[test]
fn run_once_ends_after_everything_has_had_its_turn() {
    let app = app(PIPELINE);
    for number in 0..4 {
        app.drop_file(&format!("raw/{number}.csv"), number.to_string().as_bytes());
    }
    let once = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    let said = String::from_utf8_lossy(&once.stdout).into_owned();
    assert!(once.status.success() && said.ends_with("4 runs: 4 succeeded\n"), "{said}");
}

#[test]
fn a_limit_that_is_raised_by_a_reload_lets_go_on_what_waits() {
    let app = app(ONE);
    let mut session = DevSession::start(app.folder());
    let url = session.next("ready")["url"].as_str().unwrap().to_owned();
    let holder = start(&url, &wait_for_cancel());
    train_becomes(&url, holder, "running");
    let next = start(&url, &done());
    train_becomes(&url, next, "ready");
    app.write_manifest(&ONE.replace("gpu = 1", "gpu = 2"));
    session.next("reloaded");
    // It began under the manifest with the lower limit, and goes on.
    train_becomes(&url, next, "succeeded");
    assert_eq!(get(&url, "/api/v1/pipeline")["concurrency"]["gpu"], json!({ "limit": 2, "in_use": 1, "waiting": 0 }));
    agent().post(format!("{url}/api/v1/runs/{holder}/cancel")).send_empty().unwrap();
    train_becomes(&url, holder, "cancelled");
}
