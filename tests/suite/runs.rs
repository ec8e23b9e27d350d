//! When runs and actions start: joins, retries, skips, branches, cancels, shutdowns, and what a run
//! is bound to. The real binary, real files, a real guest.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::wait::{wait_for, wait_until};

/// A manifest with one watched folder `raw`, one output folder `out`, and the given lines.
fn manifest(rest: &str) -> String {
    format!(
        r#"
manifest_version = 1
[pipeline]
name = "runs"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.out]
kind = "folder"
path = "out"
{rest}
"#
    )
}

/// An action that runs the worker with these steps; `keys` has further lines for it.
fn action(name: &str, after: &[&str], steps: &str, keys: &str) -> String {
    format!(
        r#"
[actions.{name}]
component = "worker.wasm"
after = {after:?}
reads = ["raw"]
writes = ["out"]
params = {{ steps = [{steps}] }}
{keys}
"#
    )
}

fn start(manifest: &str) -> TestApp {
    let mut app = TestApp::new(manifest).with_guest("worker");
    app.start();
    app
}

fn run(app: &TestApp, number: u64) -> Value {
    app.get(&format!("/api/v1/runs/{number}"))
}

/// Returns the actions of a run, each with its state and reason.
fn states(run: &Value) -> Vec<(&str, &str, &str)> {
    run["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|action| {
            let word = |key: &str| action[key].as_str().unwrap_or_default();
            (word("name"), word("state"), word("reason"))
        })
        .collect()
}

fn attempts(run: &Value, action: usize) -> Vec<&str> {
    let attempts = run["actions"][action]["attempts"].as_array().unwrap();
    attempts.iter().map(|attempt| attempt["state"].as_str().unwrap()).collect()
}

fn wait_for_log(app: &TestApp, number: u64, text: &str) {
    wait_until(text, || {
        app.try_get(&format!("/api/v1/runs/{number}/logs")).is_ok_and(|(_, body)| body.to_string().contains(text))
    });
}

#[test]
fn a_file_starts_a_run_that_reads_it_and_publishes_an_output() {
    let app = start(&manifest(&action("copy", &["raw"], r#"{ do = "copy", from = "raw", to = "out" }"#, "")));
    app.drop_file("raw/a.csv", b"1,2\n");
    let runs = app.wait_for_runs(1);
    assert_eq!(runs[0]["state"], "succeeded", "{:#}", runs[0]);
    assert_eq!(fs::read(app.path("out/a.csv")).unwrap(), b"1,2\n");
    let run = run(&app, 1);
    assert_eq!(run["inputs"][0]["path"], "a.csv");
    assert_eq!(run["inputs"][0]["state"], "old");
    assert_eq!(run["trigger"], "raw: 1 new artifact");
    let lineage = app.get("/api/v1/runs/1/lineage").to_string();
    assert!(lineage.contains("\"read\"") && lineage.contains("\"wrote\""), "{lineage}");
    wait_for_log(&app, 1, "copied a.csv");
}

#[test]
fn a_run_waits_for_all_watched_resources_and_shows_it() {
    let labels = "[resources.labels]\nkind = \"folder\"\npath = \"labels\"\nwatch = true\n";
    let steps = r#"{ do = "read", from = "raw" }, { do = "read", from = "labels" }"#;
    let both =
        action("both", &["raw", "labels"], steps, "").replace(r#"reads = ["raw"]"#, r#"reads = ["raw", "labels"]"#);
    let app = start(&manifest(&format!("{labels}{both}")));
    app.drop_file("raw/a.csv", b"1");
    wait_until("the tick that holds the run", || {
        app.get("/api/v1/triggers").to_string().contains("1 new artifact, but waits for labels")
    });
    assert!(app.get_all("/api/v1/runs").is_empty());
    app.drop_file("labels/a.csv", b"2");
    let runs = app.wait_for_runs(1);
    assert_eq!((runs.len(), &runs[0]["state"]), (1, &"succeeded".into()), "{runs:#?}");
    assert_eq!(run(&app, 1)["inputs"].as_array().unwrap().len(), 2);
}

#[test]
fn with_join_any_only_triggered_branches_run() {
    let labels = "[resources.labels]\nkind = \"folder\"\npath = \"labels\"\nwatch = true\n";
    let raw = action("on_raw", &["raw"], r#"{ do = "read", from = "raw" }"#, "");
    let other = action("on_labels", &["labels"], r#"{ do = "read", from = "labels" }"#, "")
        .replace(r#"reads = ["raw"]"#, r#"reads = ["labels"]"#);
    let text = manifest(&format!("{labels}{raw}{other}")).replace("name = \"runs\"", "name = \"runs\"\njoin = \"any\"");
    let app = start(&text);
    app.drop_file("raw/a.csv", b"1");
    app.wait_for_runs(1);
    assert_eq!(states(&run(&app, 1))[1], ("on_labels", "skipped", "not_triggered"));
    assert_eq!(states(&run(&app, 1))[0].1, "succeeded");
}

#[test]
fn a_retryable_failure_is_retried_and_leaves_nothing() {
    let steps = r#"{ do = "copy", from = "raw", to = "out" }, { do = "fail", attempts = 2, retryable = true }"#;
    let keys = r#"retry = { max_attempts = 3, backoff = "5ms" }"#;
    let app = start(&manifest(&action("flaky", &["raw"], steps, keys)));
    app.drop_file("raw/a.csv", b"1");
    let runs = app.wait_for_runs(1);
    assert_eq!(runs[0]["state"], "succeeded");
    assert_eq!(attempts(&run(&app, 1), 0), ["failed", "failed", "succeeded"]);
    assert_eq!(app.get_all("/api/v1/artifacts?resource=out").len(), 1);
}

#[test]
fn a_permanent_failure_skips_dependents_and_starts_failure_handlers() {
    let broken = action("broken", &["raw"], r#"{ do = "fail", message = "no such column" }"#, "");
    let after = action("after", &["broken"], r#"{ do = "done" }"#, "");
    let alarm = action("alarm", &["after"], r#"{ do = "done" }"#, "run_when = \"any_failed\"");
    let always = action("always", &["after"], r#"{ do = "done" }"#, "run_when = \"all_done\"");
    let app = start(&manifest(&format!("{broken}{after}{alarm}{always}")));
    app.drop_file("raw/a.csv", b"1");
    let runs = app.wait_for_runs(1);
    assert_eq!((&runs[0]["state"], &runs[0]["reason"]), (&"failed".into(), &"broken failed: no such column".into()));
    let run = run(&app, 1);
    assert_eq!(states(&run)[0], ("broken", "failed", "no such column"));
    assert_eq!(states(&run)[1], ("after", "skipped", "broken failed"));
    assert_eq!((states(&run)[2].1, states(&run)[3].1), ("succeeded", "succeeded"));
    assert_eq!(attempts(&run, 0), ["failed"]);
}

#[test]
fn a_skip_outcome_is_a_success_that_skips_the_dependents() {
    let judge = action("judge", &["raw"], r#"{ do = "skip", reason = "not better" }"#, "");
    let promote = action("promote", &["judge"], r#"{ do = "done" }"#, "");
    let app = start(&manifest(&format!("{judge}{promote}")));
    app.drop_file("raw/a.csv", b"1");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    let run = run(&app, 1);
    assert_eq!(states(&run)[0], ("judge", "succeeded", "not better"));
    assert_eq!(states(&run)[1], ("promote", "skipped", "judge skipped the rest: not better"));
}

#[test]
fn branches_run_in_parallel_and_cancel_stops_them() {
    let left = action("left", &["raw"], r#"{ do = "await_cancel" }"#, "");
    let right = action("right", &["raw"], r#"{ do = "await_cancel", deaf = true }"#, "");
    let end = action("end", &["left", "right"], r#"{ do = "done" }"#, "");
    let app = start(&manifest(&format!("{left}{right}{end}")));
    app.drop_file("raw/a.csv", b"1");
    wait_until("both branches to be running", || {
        let (status, run) = app.try_get("/api/v1/runs/1").unwrap();
        status == 200 && states(&run).iter().take(2).all(|(_, state, _)| *state == "running")
    });
    let (status, body) = app.post("/api/v1/runs/1/cancel");
    assert!(status < 300, "{status} {body}");
    let runs = app.wait_for_runs(1);
    assert_eq!(runs[0]["state"], "cancelled");
    // One action noticed the cancelling and ended by itself; the other ignored it and was stopped.
    let run = run(&app, 1);
    assert!(states(&run).iter().all(|(_, state, _)| *state == "cancelled"), "{:#?}", states(&run));
}

#[test]
fn files_that_arrive_during_a_run_start_one_run_afterwards() {
    // The run keeps running until it is cancelled, however slow the machine is.
    let app = start(&manifest(&action("slow", &["raw"], r#"{ do = "await_cancel" }"#, "")));
    app.drop_file("raw/0.csv", b"0");
    wait_for_log(&app, 1, "awaiting cancel");
    for number in 1..6 {
        app.drop_file(&format!("raw/{number}.csv"), number.to_string().as_bytes());
    }
    wait_until("the last file to be recorded", || app.get_all("/api/v1/artifacts?resource=raw&state=new").len() == 5);
    wait_until("the tick that holds the run", || {
        app.get("/api/v1/triggers").to_string().contains("but 1 of 1 runs active")
    });
    assert_eq!(app.get_all("/api/v1/runs").len(), 1);
    app.post("/api/v1/runs/1/cancel");
    wait_for_log(&app, 2, "awaiting cancel");
    assert_eq!(app.get_all("/api/v1/runs").len(), 2);
    assert_eq!(run(&app, 2)["inputs"].as_array().unwrap().len(), 5);
}

#[test]
fn versions_replaced_while_no_host_ran_are_not_claimed() {
    let text = manifest(&action("read", &["raw"], r#"{ do = "read", from = "raw" }"#, ""))
        .replace("watch = true", "watch = true\ntrigger = { quiet_for = \"1s\" }");
    let mut app = start(&text);
    app.drop_file("raw/a.csv", b"first");
    wait_until("the file to be recorded", || app.get_all("/api/v1/artifacts?resource=raw").len() == 1);
    app.kill();
    app.drop_file("raw/a.csv", b"and then another");
    // The recorded file has been quiet for long enough by now, so that the next host could claim it
    // at once.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    app.start();
    let runs = app.wait_for_runs(1);
    assert_eq!(runs[0]["state"], "succeeded", "{:#}", runs[0]);
    assert_eq!(run(&app, 1)["inputs"][0]["version"], 2);
}

#[test]
fn a_failed_run_keeps_its_claims_until_it_is_retried() {
    let steps = r#"{ do = "copy", from = "raw", to = "out" }"#;
    let mut app = TestApp::new(&manifest(&action("copy", &["raw"], steps, ""))).with_guest("worker");
    fs::create_dir_all(app.path("out")).unwrap();
    fs::write(app.path("out/a.csv"), "in the way").unwrap();
    app.start();
    app.drop_file("raw/a.csv", b"1");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "failed");
    let reason = run(&app, 1)["reason"].as_str().unwrap().to_owned();
    assert_eq!(
        reason,
        "copy failed: `a.csv` exists already in out; create it with `overwrite` to make its next version"
    );
    assert_eq!(fs::read(app.path("out/a.csv")).unwrap(), b"in the way");

    fs::remove_file(app.path("out/a.csv")).unwrap();
    let output = app.cli(&["runs", "retry", "1", "PATH"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wait_until("the run to succeed", || run(&app, 1)["state"] == "succeeded");
    assert_eq!(fs::read(app.path("out/a.csv")).unwrap(), b"1");
    assert_eq!(app.get_all("/api/v1/runs").len(), 1, "a retry is the same run");
}

#[test]
fn a_stopping_host_lets_attempts_finish_and_the_next_host_continues() {
    let first = action("first", &["raw"], r#"{ do = "log", message = "at work" }, { do = "sleep", ms = 700 }"#, "");
    let second = action("second", &["first"], r#"{ do = "done" }"#, "");
    let mut app = start(&manifest(&format!("{first}{second}")));
    app.drop_file("raw/a.csv", b"1");
    wait_for_log(&app, 1, "at work");
    app.restart();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    let run = run(&app, 1);
    assert_eq!((attempts(&run, 0), attempts(&run, 1)), (vec!["succeeded"], vec!["succeeded"]));
}

#[test]
fn attempts_that_do_not_finish_in_time_are_handed_back_and_run_again() {
    let steps = r#"{ do = "await_cancel", deaf = true }"#;
    let mut app = start(&manifest(&action("endless", &["raw"], steps, "")));
    app.drop_file("raw/a.csv", b"1");
    wait_for_log(&app, 1, "awaiting cancel");
    app.signal(Signal::INT);
    assert!(app.wait_for_end().success());
    app.start();
    let run = wait_for("the second attempt", || {
        let run = run(&app, 1);
        (attempts(&run, 0).len() == 2).then_some(run)
    });
    assert_eq!(attempts(&run, 0), ["cancelled", "running"]);
    assert_eq!(run["actions"][0]["attempts"][0]["error"]["code"], "handed_back");
}

#[test]
fn a_second_signal_stops_at_once() {
    let steps = r#"{ do = "await_cancel", deaf = true }"#;
    let mut app = start(&manifest(&action("endless", &["raw"], steps, "")));
    app.drop_file("raw/a.csv", b"1");
    wait_for_log(&app, 1, "awaiting cancel");
    app.signal(Signal::TERM);
    wait_until("the host to say that it is stopping", || app.said().contains("again"));
    app.signal_again(Signal::TERM);
    assert!(!app.wait_for_end().success(), "a host that is stopped at once must not exit with 0");
    app.start();
    wait_until("the run to be recovered", || attempts(&run(&app, 1), 0) == ["cancelled", "running"]);
}

#[test]
fn a_run_keeps_the_manifest_and_component_it_started_with() {
    let text = |message: &str| {
        let first = action("first", &["raw"], r#"{ do = "log", message = "at work" }, { do = "sleep", ms = 500 }"#, "");
        let second = action("second", &["first"], &format!(r#"{{ do = "log", message = "{message}" }}"#), "");
        manifest(&format!("{first}{second}"))
    };
    let mut app = start(&text("old words"));
    app.drop_file("raw/a.csv", b"1");
    wait_for_log(&app, 1, "at work");
    app.kill();
    app.write_manifest(&text("new words"));
    // The component is also gone from the path in the old manifest.
    fs::rename(app.path("worker.wasm"), app.path("moved.wasm")).unwrap();
    let edited = fs::read_to_string(app.path("anacostia.toml")).unwrap().replace("worker.wasm", "moved.wasm");
    app.write_manifest(&edited);
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    wait_for_log(&app, 1, "old words");
    app.drop_file("raw/b.csv", b"2");
    assert_eq!(app.wait_for_runs(2)[1]["state"], "succeeded");
    wait_for_log(&app, 2, "new words");
}

#[test]
fn a_manual_run_returns_its_result() {
    let app = start(&manifest(&action("done", &["raw"], r#"{ do = "sleep", ms = 50 }, { do = "done" }"#, "")));
    for number in 1..=3 {
        let id = anacostia::base::RunId::new();
        let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
        let url = format!("{}/api/v1/runs/{id}?wait=30s", app.url());
        let answer: Value =
            serde_json::from_str(&agent.put(url).send_empty().unwrap().body_mut().read_to_string().unwrap()).unwrap();
        assert_eq!((&answer["state"], &answer["number"]), (&"succeeded".into(), &number.into()), "{answer}");
        assert_eq!(run(&app, number)["ended_at"], answer["ended_at"]);
    }
}

/// Requests the start of a run with this body, and returns the status and body of the response.
fn put(app: &TestApp, id: &str, body: &str) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let url = format!("{}/api/v1/runs/{id}", app.url());
    let mut answer = agent.put(url).content_type("application/json").send(body).unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap())
}

#[test]
fn a_repeated_request_to_run_again_is_answered_while_the_old_run_is_retried() {
    let steps = r#"{ do = "fail", attempts = 1, message = "not yet" }, { do = "await_cancel" }"#;
    let app = start(&manifest(&action("late", &["raw"], steps, "")));
    app.drop_file("raw/a.csv", b"1");
    let old = app.wait_for_runs(1)[0]["id"].as_str().unwrap().to_owned();
    let (id, again) = (anacostia::base::RunId::new().to_string(), format!("{{\"rerun_of\":\"{old}\"}}"));
    assert_eq!(put(&app, &id, &again).0, 201);
    app.wait_for_runs(2);
    let listed = app.cli_json(&["artifacts", "list", "--run", "2", "--json", "PATH"]);
    assert_eq!(listed["items"][0]["path"], "a.csv", "{listed}");
    let listed = String::from_utf8(app.cli(&["artifacts", "list", "--run", "2", "PATH"]).stdout).unwrap();
    assert!(listed.contains("given") && !listed.contains("input") && listed.contains("a.csv"), "{listed}");

    assert_eq!(app.post("/api/v1/runs/1/retry").0, 200);
    wait_until("the old run to be retried", || run(&app, 1)["state"] == "running");
    let (status, body) = put(&app, &id, &again);
    assert_eq!((status, &body["number"]), (200, &2.into()), "{body}");
    let (status, body) = put(&app, &anacostia::base::RunId::new().to_string(), &again);
    assert_eq!(status, 409, "{body}");
    app.post("/api/v1/runs/1/cancel");
}

#[test]
fn numbers_in_params_are_exact_or_refused() {
    let app = start(&manifest(&action("done", &["raw"], r#"{ do = "done" }"#, "")));
    let mut rng = fastrand::Rng::with_seed(1_500);
    let doubles = std::iter::repeat_with(|| f64::from_bits(rng.u64(..))).filter(|double| double.is_finite());
    let doubles: Vec<f64> = doubles.take(1_500).collect();
    let id = anacostia::base::RunId::new().to_string();
    let text = doubles.iter().map(|double| format!("{double:e}")).collect::<Vec<_>>().join(",");
    let (status, body) = put(&app, &id, &format!("{{\"params\":{{\"all\":[{text}]}}}}"));
    assert_eq!(status, 201, "{body}");
    for shown in [app.get(&format!("/api/v1/runs/{id}")), app.cli_json(&["runs", "show", &id, "PATH", "--json"])] {
        let back = shown["params"]["all"].as_array().unwrap().iter().map(|double| double.as_f64().unwrap());
        let changed = back.zip(&doubles).filter(|(back, sent)| back.to_bits() != sent.to_bits()).count();
        assert_eq!(changed, 0, "of the 1,500");
    }
    let id = anacostia::base::RunId::new().to_string();
    let (status, body) = put(&app, &id, "{\"params\":{\"seed\":123456789012345678901234567890}}");
    let said = "the body is not valid: 123456789012345678901234567890 does not fit into 64 bits: write it as a string";
    assert_eq!((status, body["detail"].as_str()), (400, Some(said)), "{body}");
    let (status, body) = put(&app, &id, "{\"params\":{\"seed\":1e400}}");
    let said = "the body is not valid: 1e400 does not fit into 64 bits: write it as a string";
    assert_eq!((status, body["detail"].as_str()), (400, Some(said)), "{body}");
    let (status, body) = put(&app, &id, " [{}, null]");
    let said = "the body is not valid: it is a list; send an object";
    assert_eq!((status, body["detail"].as_str()), (400, Some(said)), "{body}");
    let (status, body) = put(&app, "f81d4fae-7dec-4d0f-a765-00a0c91e6bf6", "{}");
    let said = "`f81d4fae-7dec-4d0f-a765-00a0c91e6bf6` is not an id for a run: generate a UUID of version 7";
    assert_eq!((status, body["detail"].as_str()), (400, Some(said)), "{body}");
}

#[test]
fn numbers_in_params_of_the_command_line_are_exact_or_refused() {
    let app = start(&manifest(&action("done", &["raw"], r#"{ do = "done" }"#, "")));
    let exact =
        ["1e400 or so", "18446744073709551615", "-9223372036854775808", "0.1", "5e-324", "1.7976931348623157e308"];
    let named: Vec<String> = (0..).zip(exact).map(|(number, text)| format!("p{number}={text}")).collect();
    let mut args = vec!["trigger", "PATH", "--json"];
    args.extend(named.iter().flat_map(|param| ["-p", param]));
    let expected = serde_json::json!({
        "p0": "1e400 or so", "p1": u64::MAX, "p2": i64::MIN, "p3": 0.1, "p4": 5e-324, "p5": f64::MAX,
    });
    assert_eq!(app.cli_json(&args)["params"], expected);
    for number in ["1e400", "-1e400", "1e-400", "18446744073709551616"] {
        let refused = app.cli(&["trigger", "PATH", "-p", &format!("seed={number}")]);
        let said = format!(
            "error: invalid value 'seed={number}' for '--param <KEY=VALUE>': {number} does not fit into 64 bits: write it \
             as a string, `-p 'seed=\"{number}\"'`"
        );
        assert_eq!(refused.status.code(), Some(2), "{number}");
        assert_eq!(String::from_utf8_lossy(&refused.stderr).lines().next(), Some(&*said));
    }
    let quoted = app.cli_json(&["trigger", "PATH", "--json", "-p", "seed=\"1e400\""]);
    assert_eq!(quoted["params"], serde_json::json!({ "seed": "1e400" }));
    assert_eq!(app.wait_for_runs(2).len(), 2, "none of those that were refused was started");
}

#[test]
fn the_duration_of_a_run_spans_a_restart() {
    let steps = r#"{ do = "sleep", ms = 300 }, { do = "fail", attempts = 1, message = "not yet" }"#;
    let mut app = start(&manifest(&action("late", &["raw"], steps, "")));
    app.drop_file("raw/a.csv", b"1");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "failed");
    app.kill();
    assert!(app.cli(&["runs", "retry", "1", "PATH"]).status.success());
    let told = app.cli(&["run", "PATH", "--once", "--listen", "127.0.0.1:0"]);
    let told = String::from_utf8(told.stdout).unwrap();
    let shown = app.cli(&["runs", "show", "1", "PATH"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let took = shown.lines().find_map(|line| line.trim().strip_prefix("took")).unwrap().trim().to_owned();
    assert!(told.contains(&format!("run #1  ✓ succeeded  {took}\n")), "{took}: {told}");
}

#[test]
fn once_waits_for_files_that_are_being_hashed() {
    let app =
        TestApp::new(&manifest(&action("read", &["raw"], r#"{ do = "read", from = "raw" }"#, ""))).with_guest("worker");
    app.drop_file("raw/large.csv", &vec![b'1'; 32 << 20]);
    app.drop_file("raw/empty.csv", b"");
    let output = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let runs = app.cli_json(&["runs", "list", "PATH", "--json"]);
    let runs = runs["items"].as_array().unwrap();
    let inputs = runs.iter().map(|run| {
        let run = app.cli_json(&["runs", "show", &run["number"].to_string(), "PATH", "--json"]);
        run["inputs"].as_array().unwrap().len()
    });
    assert_eq!(inputs.sum::<usize>(), 2, "{runs:#?}");
}

#[test]
fn once_processes_what_is_pending_and_sets_the_exit_code() {
    let app =
        TestApp::new(&manifest(&action("read", &["raw"], r#"{ do = "read", from = "raw" }"#, ""))).with_guest("worker");
    app.drop_file("raw/a.csv", b"1");
    app.drop_file("raw/b.csv", b"2");
    let output = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let runs = app.cli_json(&["runs", "list", "PATH", "--json"]);
    assert_eq!(runs["items"].as_array().unwrap().len(), 1, "{runs:#}");

    let app = TestApp::new(&manifest(&action("read", &["raw"], r#"{ do = "fail" }"#, ""))).with_guest("worker");
    app.drop_file("raw/a.csv", b"1");
    let output = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_run_with_an_unusable_manifest_waits_or_is_cancelled() {
    let keys = "env = { MODE = \"${ANACOSTIA_TEST_MODE}\" }";
    let text = manifest(&action("endless", &["raw"], r#"{ do = "await_cancel" }"#, keys));
    let mut app = TestApp::new(&text).with_guest("worker");
    app.set_env("ANACOSTIA_TEST_MODE", "old");
    app.start();
    app.drop_file("raw/a.csv", b"1");
    wait_for_log(&app, 1, "awaiting cancel");
    app.kill();
    app.unset_env("ANACOSTIA_TEST_MODE");
    app.write_manifest(&text.replace(keys, ""));
    app.start();
    wait_until("the warning", || app.said().contains("run #1 waits for the next start, or to be cancelled"));
    assert_eq!(run(&app, 1)["state"], "running");
    app.post("/api/v1/runs/1/cancel");
    wait_until("the run to end", || run(&app, 1)["state"] == "cancelled");
    assert_eq!(states(&run(&app, 1))[0].1, "cancelled");
}

#[test]
fn once_lists_files_that_are_still_being_written() {
    let text = manifest(&action("copy", &["raw"], r#"{ do = "copy", from = "raw", to = "out" }"#, ""));
    let mut app = TestApp::new(&text).with_guest("worker");
    fs::create_dir(app.path("raw")).unwrap();
    let open = fs::File::create(app.path("raw/x.csv")).unwrap();
    let what = format!("raw/x.csv is still open for writing by process {} (", std::process::id());
    let once = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    let said = String::from_utf8(once.stdout).unwrap();
    let last = said.lines().last().unwrap();
    assert!(once.status.success() && last.starts_with(&format!("0 runs: 1 file waits: {what}")), "{said}");

    let none = app.cli(&["artifacts", "list", "--waiting", "PATH"]);
    let error = String::from_utf8(none.stderr).unwrap();
    assert!(
        error.contains("no host is running, and only a host knows what waits: start one with `anacostia run"),
        "{error}"
    );
    app.start();
    wait_until("the file to be shown", || app.get("/api/v1/nodes/raw")["resource"]["waiting"]["count"] == 1);
    let item = app.get("/api/v1/nodes/raw")["resource"]["waiting"]["items"][0].clone();
    assert_eq!(item["path"], "x.csv");
    let listed = String::from_utf8(app.cli(&["artifacts", "list", "--waiting", "PATH"]).stdout).unwrap();
    assert!(listed.starts_with(&what), "{listed}");
    let page = app.cli_json(&["artifacts", "list", "--waiting", "--json", "PATH"]);
    assert_eq!(page["count"], 1);
    assert_eq!(page["items"][0]["resource"], "raw");
    assert_eq!(page["items"][0]["reason"], item["reason"]);
    drop(open);
    app.wait_for_runs(1);
    wait_until("no file to be waiting", || app.get("/api/v1/nodes/raw")["resource"]["waiting"].is_null());
    let none = app.cli(&["artifacts", "list", "--waiting", "PATH"]);
    assert_eq!(String::from_utf8(none.stderr).unwrap(), "Nothing waits: all that was found is on record.\n");
}

#[test]
fn panics_of_hash_jobs_and_watches_are_reported() {
    let text = manifest(&action("copy", &["raw"], r#"{ do = "copy", from = "raw", to = "out" }"#, ""));
    let mut app = TestApp::new(&text).with_guest("worker");
    app.set_env("ANACOSTIA_FAULT", "hash.panic:1");
    app.start();
    app.drop_file("raw/large", &vec![b'x'; 600_000]);
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    app.wait_to_say("hashing a file failed, which is a bug: it is tried again");
    app.signal(rustix::process::Signal::TERM);
    assert!(app.wait_for_end().success());

    app.set_env("ANACOSTIA_FAULT", "observe.panic:1");
    app.start();
    let why = "raw cannot be used: its watch has failed, which is a bug: see the message above";
    let restart = format!("the watch of raw has ended: {why}; it starts again in 1s");
    wait_until("the end of the watch to be reported", || app.said().contains(&restart));
    app.drop_file("raw/next", b"x");
    assert_eq!(app.wait_for_runs(2)[1]["state"], "succeeded", "files are seen again");
    assert_eq!(app.try_get("/readyz").unwrap().0, 200);
}

/// Thousands of runs may wait for a slot, each with as many inputs as `max_artifacts` allows.
#[test]
fn runs_that_wait_for_a_slot_do_not_hold_their_inputs_in_memory() {
    const FILES: usize = 3_000;
    let mut app = TestApp::new(&manifest(&action("work", &["raw"], r#"{ do = "read", from = "raw" }"#, "")));
    app = app.with_guest("worker");
    for number in 0..FILES {
        app.drop_file(&format!("raw/{number}"), number.to_string().as_bytes());
    }
    app.start();
    let runs = app.wait_for_runs(1);
    let inputs = |app: &TestApp, number: u64| run(app, number)["inputs_count"].as_u64().unwrap();
    let first = (1..=runs.len() as u64).max_by_key(|number| inputs(&app, *number)).unwrap();
    assert!(inputs(&app, first) > 1_000, "more than the store gives at once");
    assert_eq!(app.get_all(&format!("/api/v1/runs/{first}/lineage")).len() as u64, inputs(&app, first));
    let id = run(&app, first)["id"].as_str().unwrap().to_owned();
    assert_eq!(app.post("/api/v1/actions/work/pause").0, 200);
    let queue = |app: &TestApp, count: usize| {
        for _ in 0..count {
            let new = anacostia::base::RunId::new().to_string();
            let (status, body) = put(app, &new, &format!("{{\"rerun_of\":\"{id}\"}}"));
            assert_eq!(status, 201, "{body}");
        }
    };
    queue(&app, 2);
    let before = app.most_resident();
    queue(&app, 60);
    let grown = app.most_resident() - before;
    assert!(grown < 24 << 20, "60 runs that wait took {grown} bytes");
    app.restart();
    assert!(app.most_resident() < before + (24 << 20), "after a restart");
    assert_eq!(app.post("/api/v1/actions/work/resume").0, 200);
    let again = runs.len() as u64 + 1;
    wait_until("one of them to succeed", || run(&app, again)["state"] == "succeeded");
    assert_eq!(inputs(&app, again), inputs(&app, first));
}
