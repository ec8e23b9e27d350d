//! Pauses of single resources and actions: what waits, what goes on, and what survives.

use anacostia::base::Timestamp;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::wait::{wait_for, wait_until};

/// Two watched folders, and an action after each.
const PIPELINE: &str = r#"
manifest_version = 1
[pipeline]
name = "pauses"
join = "any"
max_concurrent_runs = 4
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.labels]
kind = "folder"
path = "labels"
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.train]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = { steps = [{ do = "done" }] }
[actions.count]
component = "worker.wasm"
after = ["labels"]
reads = ["labels"]
params = { steps = [{ do = "done" }] }
"#;

/// An action, and one after it; `side` is beside both.
const CHAIN: &str = r#"
manifest_version = 1
[pipeline]
name = "chain"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[actions.first]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = { steps = [{ do = "done" }] }
[actions.second]
component = "worker.wasm"
after = ["first"]
reads = ["raw"]
params = { steps = [{ do = "done" }] }
[actions.side]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = { steps = [{ do = "done" }] }
"#;

fn app(manifest: &str) -> TestApp {
    let app = TestApp::new(manifest).with_guest("worker");
    for folder in ["raw", "labels"] {
        std::fs::create_dir(app.path(folder)).unwrap();
    }
    app
}

fn post(app: &TestApp, path: &str, body: &Value) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let mut response = agent.post(format!("{}{path}", app.url())).send_json(body).unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), serde_json::from_str(&text).unwrap())
}

/// Waits until an action of a run is in this state, and returns its reason.
fn action_becomes(app: &TestApp, run: u64, name: &str, state: &str) -> String {
    wait_for(&format!("{name} to be {state}"), || {
        let (status, run) = app.try_get(&format!("/api/v1/runs/{run}")).ok()?;
        let action = run["actions"].as_array().filter(|_| status == 200)?.iter().find(|it| it["name"] == name)?.clone();
        (action["state"] == state).then(|| action["reason"].as_str().unwrap_or_default().to_owned())
    })
}

fn inputs(app: &TestApp, run: u64) -> Vec<String> {
    let run = app.get(&format!("/api/v1/runs/{run}"));
    run["inputs"].as_array().unwrap().iter().map(|it| it["path"].as_str().unwrap().to_owned()).collect()
}

fn new_artifacts(app: &TestApp) -> usize {
    app.get_all("/api/v1/artifacts?state=new").len()
}

/// Since when a node is paused, as people read it.
fn since(node: &Value) -> String {
    node["paused"]["since"].as_str().unwrap().parse::<Timestamp>().unwrap().in_utc()
}

#[test]
fn what_arrives_in_a_paused_resource_waits_also_when_the_host_is_killed() {
    let mut app = app(PIPELINE);
    app.start();
    let (status, paused) = post(&app, "/api/v1/resources/raw/pause", &json!({ "reason": " bad sensor " }));
    assert_eq!((status, &paused["type"], &paused["name"]), (200, &json!("resource"), &json!("raw")));
    let why = format!("raw is paused since {}: bad sensor", since(&paused));
    app.drop_file("raw/a.csv", b"a");
    let tick = |app: &TestApp| {
        wait_for("the tick to say so", || {
            app.get_all("/api/v1/triggers?trigger=raw").into_iter().find(|tick| tick["outcome"] == "held")
        })
    };
    assert_eq!(tick(&app)["reason"], format!("1 new artifact, but {why}"));
    app.kill();
    app.drop_file("raw/b.csv", b"b");
    app.start();
    // The other resource goes on.
    app.drop_file("labels/l.csv", b"l");
    assert_eq!(app.wait_for_runs(1).len(), 1);
    assert_eq!(inputs(&app, 1), ["l.csv"]);
    wait_until("both files to be recorded", || new_artifacts(&app) == 2);
    let preview = app.get("/api/v1/triggers/preview")["items"][0].clone();
    assert_eq!((&preview["outcome"], &preview["held"]), (&json!("held"), &json!(why)));
    let listed = app.cli(&["triggers", "list", "PATH"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("held") && listed.contains("bad sensor"), "{listed}");
    let node = app.get("/api/v1/nodes/raw");
    assert_eq!((&node["state"], &node["paused"]["reason"]), (&json!("watching"), &json!("bad sensor")));
    app.wait_to_say(&why);

    // A person who names it is told, and a run on all that is new leaves it out.
    let refused = app.post("/api/v1/resources/raw/trigger");
    let resume = "resume it to start a run on it, with `anacostia resume --resource raw`";
    let told = format!("`raw` is {}; {resume}", why.strip_prefix("raw is ").unwrap());
    assert_eq!((refused.0, refused.1["detail"].as_str()), (409, Some(told.as_str())));
    let given = app.cli(&["trigger", "PATH", "--inputs", "raw/*"]);
    let said = String::from_utf8_lossy(&given.stderr).into_owned();
    assert_eq!((given.status.code(), said.contains(&told)), (Some(1), true), "{said}");
    app.drop_file("labels/m.csv", b"m");
    app.wait_for_runs(2);
    let started = app.cli_json(&["trigger", "PATH", "--wait", "--json"]);
    assert_eq!(inputs(&app, started["number"].as_u64().unwrap()), [""; 0]);
    assert_eq!(new_artifacts(&app), 2, "no run has claimed them");

    let (status, resumed) = app.post("/api/v1/resources/raw/resume");
    assert_eq!((status, &resumed["paused"]), (200, &Value::Null));
    wait_until("what has waited to be claimed", || new_artifacts(&app) == 0);
    app.restart();
    assert!(app.get("/api/v1/pipeline")["paused_nodes"].as_array().unwrap().is_empty());
}

#[test]
fn a_pipeline_that_joins_its_resources_waits_for_the_paused_one() {
    let mut app = app(&PIPELINE.replace("join = \"any\"\n", ""));
    app.start();
    assert_eq!(app.post("/api/v1/resources/raw/pause").0, 200);
    app.drop_file("raw/a.csv", b"a");
    app.drop_file("labels/l.csv", b"l");
    let tick = wait_for("the tick to say so", || {
        app.get_all("/api/v1/triggers?trigger=labels").into_iter().find(|tick| tick["outcome"] == "held")
    });
    assert_eq!(tick["reason"], "1 new artifact, but waits for raw (paused)");
    wait_until("both to be recorded", || new_artifacts(&app) == 2);
    assert!(app.get_all("/api/v1/runs").is_empty());
    app.post("/api/v1/resources/raw/resume");
    assert_eq!(app.wait_for_runs(1).len(), 1);
    assert_eq!(inputs(&app, 1).len(), 2);
}

#[test]
fn a_paused_action_stays_ready_and_the_others_go_on() {
    let mut app = app(CHAIN);
    app.start();
    let paused = app.cli_json(&["pause", "PATH", "--action", "second", "--reason", "no GPU", "--json"]);
    let why = format!("paused since {}: no GPU", since(&paused));
    app.drop_file("raw/a.csv", b"a");
    for done in ["first", "side"] {
        action_becomes(&app, 1, done, "succeeded");
    }
    assert_eq!(action_becomes(&app, 1, "second", "ready"), why);
    let shown = app.cli(&["runs", "show", "1", "PATH"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("paused since") && shown.contains("no GPU"), "{shown}");
    assert!(shown.contains("anacostia resume ") && shown.contains(" --action second\n"), "{shown}");
    let listed = app.cli(&["runs", "list", "PATH"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains(&format!("? second {why}")), "{listed}");
    let page = app.page();
    assert!(page.contains("second is paused") && page.contains("anacostia resume --action second"), "{page}");
    let metrics = ureq::get(format!("{}/metrics", app.url())).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(metrics.contains("anacostia_node_paused{type=\"action\",name=\"second\"} 1\n"), "{metrics}");

    // Neither a stop nor a kill ends the pause. The run goes on under each host.
    app.restart();
    app.kill();
    app.start();
    assert_eq!(action_becomes(&app, 1, "second", "ready"), why);
    let run = app.get("/api/v1/runs/1");
    assert_eq!((&run["state"], run["actions"][1]["attempts"].as_array().unwrap().len()), (&json!("running"), 0));
    assert_eq!(app.get("/api/v1/nodes/second")["paused"]["reason"], "no GPU");

    let resumed = app.cli(&["resume", "PATH", "--action", "second"]);
    assert_eq!(String::from_utf8_lossy(&resumed.stdout), "second is resumed\n");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    let events: Vec<String> = app.get_all("/api/v1/runs/1/events").iter().map(|it| it["type"].to_string()).collect();
    assert!(!events.contains(&"\"node_paused\"".to_owned()), "they are about no run");
}

#[test]
fn a_run_that_waits_for_a_paused_action_is_cancelled_at_once() {
    let mut app = app(CHAIN);
    app.start();
    assert_eq!(app.post("/api/v1/actions/first/pause").0, 200);
    app.drop_file("raw/a.csv", b"a");
    action_becomes(&app, 1, "first", "ready");
    action_becomes(&app, 1, "side", "succeeded");
    assert_eq!(app.post("/api/v1/runs/1/cancel").0, 200);
    assert_eq!(app.wait_for_runs(1)[0]["state"], "cancelled");
    assert_eq!(action_becomes(&app, 1, "first", "cancelled"), "");
}

#[test]
fn an_action_that_is_paused_while_it_runs_goes_on_and_is_not_retried() {
    let fails = "{ do = \"await_cancel\" }";
    let manifest = CHAIN.replacen("{ do = \"done\" }", fails, 1);
    let mut app = app(&manifest);
    app.start();
    app.drop_file("raw/a.csv", b"a");
    action_becomes(&app, 1, "first", "running");
    app.post("/api/v1/actions/first/pause");
    assert_eq!(app.get("/api/v1/runs/1")["actions"][0]["state"], "running");
    app.post("/api/v1/runs/1/cancel");
    app.wait_for_runs(1);

    let fails = "{ do = \"fail\", attempts = 1, retryable = true }";
    let retry = "after = [\"raw\"]\nretry = { max_attempts = 2, backoff = \"1s\" }";
    let manifest = CHAIN.replacen("{ do = \"done\" }", fails, 1).replacen("after = [\"raw\"]", retry, 1);
    let mut app = self::app(&manifest);
    app.start();
    app.drop_file("raw/a.csv", b"a");
    action_becomes(&app, 1, "first", "retrying");
    app.post("/api/v1/actions/first/pause");
    assert!(action_becomes(&app, 1, "first", "ready").starts_with("paused since "));
    let shown = app.cli(&["runs", "show", "1", "PATH"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("paused since ") && shown.contains("attempt 1"), "{shown}");
    app.post("/api/v1/actions/first/resume");
    let run = app.wait_for_runs(1);
    assert_eq!(run[0]["state"], "succeeded");
    assert_eq!(app.get("/api/v1/runs/1")["actions"][0]["attempts"].as_array().unwrap().len(), 2);
}

#[test]
fn run_once_ends_and_says_what_is_held() {
    let mut app = app(&PIPELINE.replace("after = [\"labels\"]", "after = [\"labels\", \"train\"]"));
    app.start();
    app.post("/api/v1/resources/labels/pause");
    assert_eq!(post(&app, "/api/v1/actions/train/pause", &json!({ "reason": "no GPU" })).0, 200);
    app.kill();
    app.drop_file("raw/a.csv", b"a");
    app.drop_file("labels/l.csv", b"l");
    let once = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    let said = String::from_utf8_lossy(&once.stdout).into_owned();
    assert_eq!(once.status.code(), Some(1), "{once:?}");
    let lines: Vec<&str> = said.lines().rev().take(3).collect();
    let place = app.folder().display();
    assert_eq!(lines[2], "1 run: 1 not finished", "{said}");
    assert!(lines[1].starts_with("1 run waits for train, paused since "), "{said}");
    assert!(lines[1].ends_with(&format!(": no GPU; `anacostia resume {place} --action train` ends that")), "{said}");
    assert!(lines[0].starts_with("1 artifact waits for labels, paused since "), "{said}");
    assert!(lines[0].ends_with(&format!(" UTC; `anacostia resume {place} --resource labels` ends that")), "{said}");
    // What is resumed without a host goes on with the next one.
    let resumed = app.cli(&["resume", "PATH", "--action", "train"]);
    let text = String::from_utf8_lossy(&resumed.stdout).into_owned();
    assert_eq!(text, "train is resumed, from the next `anacostia run` on\n", "{resumed:?}");
    app.cli(&["resume", "PATH", "--resource", "labels"]);
    let once = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    let said = String::from_utf8_lossy(&once.stdout).into_owned();
    assert!(once.status.success() && said.ends_with("2 runs: 2 succeeded\n"), "{said}");
}

#[test]
fn a_name_that_does_not_exist_is_refused_and_one_that_has_gone_can_be_resumed() {
    let mut app = app(CHAIN);
    app.start();
    let unknown = app.post("/api/v1/actions/secnd/pause");
    assert_eq!((unknown.0, &unknown.1["did_you_mean"]), (404, &json!("second")));
    assert_eq!(unknown.1["detail"], "there is no action `secnd`");
    let refused = |app: &TestApp, args: &[&str]| {
        let output = app.cli(args);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let told = "error: there is no action `secnd`; did you mean `second`?\n".to_owned();
    assert_eq!(refused(&app, &["pause", "PATH", "--action", "secnd"]), (Some(2), told.clone()));
    assert_eq!(refused(&app, &["resume", "PATH", "--action", "secnd"]), (Some(2), told.clone()));
    let long = post(&app, "/api/v1/actions/second/pause", &json!({ "reason": "x".repeat(1_001) }));
    let bound = "the reason has 1001 bytes, and may have at most 1000";
    assert_eq!((long.0, &long.1["detail"]), (400, &json!(bound)));
    assert_eq!(post(&app, "/api/v1/actions/second/pause", &json!({ "why": "x" })).0, 400);
    app.kill();
    assert_eq!(refused(&app, &["pause", "PATH", "--action", "secnd"]), (Some(2), told));

    let paused = app.cli(&["pause", "PATH", "--action", "side"]);
    let text = String::from_utf8_lossy(&paused.stdout).into_owned();
    let (place, means) = (app.folder().display(), "no attempt of it starts, from the next `anacostia run` on");
    assert_eq!(text, format!("side is paused: {means}; `anacostia resume {place} --action side` ends that\n"));
    let manifest = std::fs::read_to_string(app.path("anacostia.toml")).unwrap();
    app.write_manifest(&manifest.replace("[actions.side]", "[actions.beside]"));
    app.start();
    app.drop_file("raw/a.csv", b"a");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    let known = app.get("/api/v1/pipeline")["paused_nodes"].clone();
    assert_eq!((&known[0]["type"], &known[0]["name"]), (&json!("action"), &json!("side")));
    assert_eq!(app.post("/api/v1/actions/side/resume").0, 200);
    assert_eq!(app.get("/api/v1/pipeline")["paused_nodes"], json!([]));
    assert_eq!(app.post("/api/v1/actions/side/resume").0, 404);
}

#[test]
fn the_pipeline_is_paused_and_resumed_with_and_without_a_host() {
    let mut app = app(CHAIN);
    let early = app.cli(&["pause", "PATH"]);
    assert_eq!(early.status.code(), Some(2), "nothing is on record yet");
    app.start();
    let said = |app: &TestApp, verb: &str| String::from_utf8_lossy(&app.cli(&[verb, "PATH"]).stdout).into_owned();
    let place = app.folder().display().to_string();
    let ends = format!("`anacostia resume {place}` ends that\n");
    assert_eq!(said(&app, "pause"), format!("The pipeline is paused: triggers start no run; {ends}"));
    assert_eq!(app.get("/api/v1/pipeline")["state"], "paused");
    app.kill();
    assert_eq!(said(&app, "resume"), "The pipeline is resumed, from the next `anacostia run` on\n");
    app.start();
    assert_eq!(app.get("/api/v1/pipeline")["state"], "running");
    let reason = app.cli(&["pause", "PATH", "--reason", "x"]);
    assert_eq!(reason.status.code(), Some(2), "a reason is that of a resource or an action");
}

#[test]
fn resume_says_what_was_not_paused_and_what_stays_paused() {
    let mut app = app(CHAIN);
    app.start();
    let place = app.folder().display().to_string();
    let said = |args: &[&str]| String::from_utf8_lossy(&app.cli(args).stdout).into_owned();
    assert_eq!(said(&["resume", "PATH"]), "The pipeline was not paused\n");
    let resource = ["PATH", "--resource", "raw"];
    let of_resource = |verb: &str| said(&[&[verb], &resource[..]].concat());
    let means = "what arrives in it waits";
    let ends = format!("`anacostia resume {place} --resource raw` ends that\n");
    assert_eq!(of_resource("pause"), format!("raw is paused: {means}; {ends}"));
    let stays = format!("raw stays paused since {}; {ends}", since(&app.get("/api/v1/nodes/raw")));
    assert_eq!(said(&["resume", "PATH"]), format!("The pipeline was not paused\n{stays}"));
    said(&["pause", "PATH"]);
    let both = format!("raw is resumed\nThe pipeline stays paused; `anacostia resume {place}` ends that\n");
    assert_eq!(of_resource("resume"), both);
    assert_eq!(said(&["resume", "PATH"]), "The pipeline is resumed\n");
    assert_eq!(of_resource("resume"), "raw was not paused\n");
}

#[test]
fn a_host_that_is_killed_while_it_pauses_or_resumes_has_done_it_or_not() {
    let mut app = app(CHAIN);
    let paused = |app: &TestApp| app.get("/api/v1/pipeline")["paused_nodes"].as_array().unwrap().len();
    for (verb, step, before, after) in [("pause", "pause_node", 0, 1), ("resume", "resume_node", 1, 0)] {
        for (point, expected) in [("in_transaction", before), ("committed", after)] {
            app.set_env("ANACOSTIA_FAULT", &format!("{step}.{point}:1"));
            app.start();
            assert_eq!(app.cli(&[verb, "PATH", "--action", "second"]).status.code(), Some(1));
            app.wait_for_end();
            app.unset_env("ANACOSTIA_FAULT");
            app.start();
            assert_eq!(paused(&app), expected, "{step}.{point}");
            app.kill();
        }
    }
    app.set_env("ANACOSTIA_LOSE_ANSWERS", "pause_node,resume_node");
    app.start();
    for verb in ["pause", "resume"] {
        assert!(app.cli(&[verb, "PATH", "--action", "second"]).status.success());
    }
    assert_eq!(paused(&app), 0);
}

#[test]
fn run_once_says_what_a_paused_pipeline_keeps_waiting() {
    let mut app = app(CHAIN);
    app.start();
    assert_eq!(app.post("/api/v1/pipeline/pause").0, 200);
    let body = post(&app, "/api/v1/pipeline/pause", &json!({ "reason": "x" }));
    let why = "a pause of the pipeline takes no body: only a resource or an action is paused with a reason";
    assert_eq!((body.0, &body.1["detail"]), (400, &json!(why)));
    app.kill();
    let refused = app.cli(&["pause", "PATH", "--reason", "x"]);
    let why = "error: `--reason` needs `--resource` or `--action`: a pause of the whole pipeline has no reason\n";
    assert_eq!((refused.status.code(), String::from_utf8_lossy(&refused.stderr).as_ref()), (Some(2), why));
    app.drop_file("raw/a.csv", b"a");
    let once = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    let said = String::from_utf8_lossy(&once.stdout).into_owned();
    let place = app.folder().display();
    let waits = format!("1 artifact waits, because the pipeline is paused; `anacostia resume {place}` ends that\n");
    assert!(said.ends_with(&format!("0 runs: {waits}")), "{said}");
}

#[test]
fn a_run_by_hand_is_refused_if_all_that_it_could_claim_from_is_paused() {
    let mut app = app(CHAIN);
    app.start();
    assert_eq!(post(&app, "/api/v1/resources/raw/pause", &json!({ "reason": "it moves" })).0, 200);
    let refused = app.cli(&["trigger", "PATH"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("`raw` is paused since "), "{said}");
    assert!(said.contains(": it moves; `anacostia resume --resource raw` ends that"), "{said}");
    assert_eq!((refused.status.code(), app.get_all("/api/v1/runs").len()), (Some(1), 0));
}
