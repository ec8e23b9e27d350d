//! Commands that start runs after an edit that the host has not loaded.

use std::fs;

use crate::support::app::TestApp;
use crate::support::dev::DevSession;
use crate::support::guests::guest;
use crate::support::wait::wait_until;

/// A pipeline that fails until `a bug` is taken out of its manifest.
const PIPELINE: &str = r#"
manifest_version = 1
[pipeline]
name = "loaded"
[resources.inbox]
kind = "folder"
path = "inbox"
watch = true
[actions.work]
component = "worker.wasm"
after = ["inbox"]
reads = ["inbox"]
params = { steps = [{ do = "fail", message = "a bug" }] }
"#;
const AGAIN: &[&str] = &["runs", "retry", "1", "PATH", "--current"];

/// Writes the manifest without the bug.
fn fix(app: &TestApp) {
    let fixed = PIPELINE.replace(r#"{ do = "fail", message = "a bug" }"#, r#"{ do = "read", from = "inbox" }"#);
    assert_ne!(fixed, PIPELINE);
    fs::write(app.path("anacostia.toml"), fixed).unwrap();
}

/// Puts another component in place, which does the same.
fn rebuild(app: &TestApp) {
    let mut bytes = fs::read(guest("worker")).unwrap();
    bytes.extend([0, 3, 1, b'v', 1]);
    fs::write(app.path("worker.wasm"), bytes).unwrap();
}

/// Runs a command, and returns its exit code and what it says on standard error.
fn said(app: &TestApp, args: &[&str]) -> (Option<i32>, String) {
    let output = app.cli(args);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_run_is_not_started_again_while_the_host_has_not_loaded_the_fix() {
    let mut app = TestApp::new(PIPELINE).with_guest("worker");
    app.start();
    app.drop_file("inbox/a.txt", b"1");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "failed");
    let place = app.folder().display().to_string();
    let advice = format!(
        "restart the host, or use `anacostia dev {place}`, which loads changes and reports any that it cannot load\n"
    );
    fix(&app);
    let one = format!("anacostia.toml is not what the host has loaded, and a run would not use it: {advice}");
    assert_eq!(said(&app, AGAIN), (Some(1), format!("error: {one}")));
    rebuild(&app);
    let both = format!(
        "anacostia.toml and worker.wasm are not what the host has loaded, and a run would not use them: {advice}"
    );
    assert_eq!(said(&app, AGAIN), (Some(1), format!("error: {both}")));
    assert_eq!(app.get_all("/api/v1/runs").len(), 1, "nothing was started");
    // Whoever starts a run without `--current` may know that.
    assert_eq!(said(&app, &["trigger", "PATH"]), (Some(0), format!("warning: {both}")));
    fs::write(app.path("anacostia.toml"), PIPELINE).unwrap();
    fs::remove_file(app.path("worker.wasm")).unwrap();
    let gone = format!("worker.wasm is not what the host has loaded, and a run would not use it: {advice}");
    assert_eq!(said(&app, AGAIN), (Some(1), format!("error: {gone}")));
    fix(&app);
    rebuild(&app);
    app.restart();
    assert_eq!(said(&app, AGAIN), (Some(0), String::new()));
    assert_eq!(app.wait_for_runs(3)[2]["state"], "succeeded");
    assert_eq!(said(&app, &["trigger", "PATH"]), (Some(0), String::new()));
}

#[test]
fn dev_has_loaded_an_edit_when_it_says_so() {
    let app = TestApp::new(PIPELINE).with_guest("worker");
    let mut dev = DevSession::start(app.folder());
    dev.next("ready");
    app.drop_file("inbox/a.txt", b"1");
    let state = |number: &str| {
        let shown = app.cli(&["runs", "show", number, "PATH", "--json"]);
        let run: Option<serde_json::Value> = serde_json::from_slice(&shown.stdout).ok();
        run.and_then(|run| Some(run.get("state")?.as_str()?.to_owned())).unwrap_or_default()
    };
    wait_until("the run to fail", || state("1") == "failed");
    fix(&app);
    dev.next("reloaded");
    rebuild(&app);
    dev.next("swapped");
    assert_eq!(said(&app, AGAIN), (Some(0), String::new()));
    wait_until("the run to succeed", || state("2") == "succeeded");
}

#[test]
fn what_was_fixed_is_not_done_again_by_a_host_that_has_not_loaded_it() {
    let mut app = TestApp::new(PIPELINE).with_guest("worker");
    app.start();
    app.drop_file("inbox/a.txt", b"1");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "failed");
    let (place, dry) = (app.folder().display().to_string(), ["trigger", "PATH", "--inputs", "inbox/*", "--dry-run"]);
    assert_eq!(
        said(&app, &dry),
        (Some(0), "Without `--dry-run`: 1 run on 1 artifact.\n  1 artifact: runs work\n".to_owned())
    );
    fix(&app);
    let why = format!(
        "anacostia.toml is not what the host has loaded, and a run would not use it: restart the host, or use `anacostia \
         dev {place}`, which loads changes and reports any that it cannot load\n"
    );
    assert_eq!(said(&app, &["trigger", "PATH", "--inputs", "inbox/*"]), (Some(1), format!("error: {why}")));
    assert_eq!(app.get_all("/api/v1/runs").len(), 1, "nothing was started");
    assert_eq!(said(&app, &dry), (Some(1), format!("Without `--dry-run` this is refused: {why}")));
    app.restart();
    assert_eq!(said(&app, &["trigger", "PATH", "--inputs", "inbox/*", "--wait"]), (Some(0), String::new()));
    app.kill();
    assert_eq!(said(&app, &dry).0, Some(0), "the next host loads what is there");
}

#[test]
fn whatever_shows_a_failed_run_names_both_ways_to_do_it_again() {
    let mut app = TestApp::new(PIPELINE).with_guest("worker");
    app.start();
    app.drop_file("inbox/a.txt", b"1");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "failed");
    let place = app.folder().display().to_string();
    let next = |path: &str| {
        format!(
            "after a fix: `anacostia runs retry 1{path} --current`, or `anacostia trigger{path} --inputs \
             inbox/a.txt`; see `anacostia runs show 1{path}`"
        )
    };
    assert_eq!(app.get("/api/v1/runs/1")["what_next"], next(""));
    assert_eq!(app.get("/api/v1/runs")["items"][0]["what_next"], next(""));
    let there = next(&format!(" {place}"));
    assert_eq!(said(&app, &["runs", "list", "PATH"]), (Some(0), format!("Run #1 failed; {there}.\n")));
    fix(&app);
    app.restart();
    assert_eq!(said(&app, AGAIN), (Some(0), String::new()));
    assert_eq!(app.wait_for_runs(2)[1]["what_next"], serde_json::Value::Null, "it succeeded");
}
