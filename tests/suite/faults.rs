//! Failures inside the host, and their containment: a task that panics, a log that cannot be
//! written, a component that takes long to load.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::preload::preload;
use crate::support::wait::{wait_for, wait_until};

pub(crate) const MANIFEST: &str = r#"
manifest_version = 1
[pipeline]
name = "faults"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.copy]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
params = { steps = [{ do = "copy", from = "raw", to = "out" }] }
"#;

/// Starts a host with this fault.
pub(crate) fn with_fault(fault: &str) -> TestApp {
    let mut app = TestApp::new(MANIFEST).with_guest("worker");
    app.set_env("ANACOSTIA_FAULT", fault);
    app.start();
    app
}

fn attempts(app: &TestApp, run: u64) -> Vec<Value> {
    app.get(&format!("/api/v1/runs/{run}"))["actions"][0]["attempts"].as_array().unwrap().clone()
}

fn states(attempts: &[Value]) -> Vec<&str> {
    attempts.iter().map(|attempt| attempt["state"].as_str().unwrap()).collect()
}

/// Returns why the host is not ready, or nothing if it is.
pub(crate) fn not_ready(app: &TestApp) -> Vec<String> {
    let (status, body) = app.try_get("/readyz").unwrap();
    assert_eq!(status == 200, body["reasons"].is_null(), "{body}");
    let reasons = body["reasons"].as_array().cloned().unwrap_or_default();
    reasons.iter().map(|reason| reason.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_panic_in_the_server_stops_the_host_with_a_message() {
    // The first connections are the requests for readiness.
    let mut app = with_fault("panic:http.accept:5+");
    let end = wait_for("the end of the host", || {
        let _ = app.try_get("/healthz");
        app.has_ended()
    });
    assert_eq!(end.code(), Some(1));
    let said = app.said();
    assert!(said.contains("the HTTP server has stopped, which is a bug in Anacostia; see the message above"), "{said}");
}

#[test]
fn a_panic_in_an_attempt_task_counts_as_a_crash_and_the_run_continues() {
    let app = with_fault("panic:attempt.begin:1");
    app.drop_file("raw/a.txt", b"content");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    let attempts = attempts(&app, 1);
    assert_eq!(states(&attempts), ["crashed", "succeeded"]);
    let why = "the host failed while this attempt was running, see the host's log; that does not use up a retry";
    assert_eq!(attempts[0]["error"]["message"], why);
    app.wait_to_say("it panicked, which is a bug in Anacostia: fault point attempt.begin");
    assert_eq!(fs::read(app.path("out/a.txt")).unwrap(), b"content");
}

#[test]
fn outputs_committed_before_a_panic_are_published() {
    let app = with_fault("panic:publish.begin:1");
    app.drop_file("raw/a.txt", b"content");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    assert_eq!(states(&attempts(&app, 1)), ["succeeded"]);
    assert_eq!(fs::read(app.path("out/a.txt")).unwrap(), b"content");
}

#[test]
fn a_driver_that_panics_is_restarted() {
    let app = with_fault("panic:driver.begin:1");
    app.drop_file("raw/a.txt", b"content");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    app.drop_file("raw/b.txt", b"content");
    assert_eq!(app.wait_for_runs(2)[1]["state"], "succeeded");
    wait_until("the host to be ready", || not_ready(&app).is_empty());
}

#[test]
fn a_run_whose_drivers_keep_panicking_fails_with_the_reason() {
    let mut app = with_fault("panic:driver.begin:1+");
    app.drop_file("raw/a.txt", b"content");
    let runs = app.wait_for_runs(1);
    let why = "the host failed to drive it 3 times; see the host's log";
    assert_eq!((&runs[0]["state"], &runs[0]["reason"]), (&"failed".into(), &why.into()));
    wait_until("the host to be ready", || not_ready(&app).is_empty());
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success(), "a failed run does not affect the exit code of the host");
    app.unset_env("ANACOSTIA_FAULT");
    app.start();
    assert_eq!(app.post("/api/v1/runs/1/retry").0, 200);
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
}

#[test]
fn a_watch_that_ends_is_restarted_and_the_host_is_not_ready_meanwhile() {
    let app = with_fault("panic:record.observed:1");
    app.drop_file("raw/a.txt", b"content");
    let why = "raw cannot be reached: its watch has ended, and starts again: ";
    wait_until("the host not to be ready", || not_ready(&app).iter().any(|reason| reason.starts_with(why)));
    let node = app.get("/api/v1/nodes/raw");
    assert!(node["reason"].is_null() || node["state"] == "unreachable", "{node:#}");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded", "an unrecorded file is observed again");
    wait_until("the host to be ready", || not_ready(&app).is_empty());
}

#[test]
fn a_panic_in_a_transaction_is_rolled_back_and_the_work_is_done_again() {
    for (step, doing) in [
        ("record", "record what a resource saw"),
        ("claim", "create a run and claim its inputs"),
        ("published", "mark outputs as published"),
    ] {
        let app = with_fault(&format!("panic:{step}.in_transaction:1"));
        app.drop_file("raw/a.txt", b"content");
        assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded", "{step}");
        assert_eq!(fs::read(app.path("out/a.txt")).unwrap(), b"content");
        let events: Vec<_> = app.get_all("/api/v1/runs/1/events").iter().map(|event| event["seq"].clone()).collect();
        let first = events[0].as_u64().unwrap();
        assert!((first..).zip(&events).all(|(number, seq)| *seq == number), "{step}: {events:?}");
        let why = format!(
            "the metadata store failed to {doing}: it panicked, which is a bug in Anacostia: fault point \
             {step}.in_transaction; it is tried again every second"
        );
        app.wait_to_say(&why);
        wait_until("the host to be ready", || not_ready(&app).is_empty());
    }
}

#[test]
fn tasks_that_free_space_are_started_again() {
    for (point, name) in
        [("kept.trim", "the removal of content that no run needs"), ("events.prune", "the retention of events")]
    {
        let app = with_fault(&format!("panic:{point}:1+"));
        for pause in ["1s", "2s"] {
            let line = format!(
                "{name} has ended: it panicked, which is a bug in Anacostia: a test requested a panic at {point}; it \
                 starts again in {pause}"
            );
            wait_until(&line, || app.said().contains(&line));
        }
        app.drop_file("raw/a.txt", b"content");
        assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded", "{point}");
        wait_until("the host to be ready", || not_ready(&app).is_empty());
    }
}

#[test]
fn a_panic_on_the_thread_of_guests_fails_one_attempt_and_says_whose_fault_it_is() {
    let app = with_fault("panic:attempt.before_guest:1");
    app.drop_file("raw/a.txt", b"content");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "failed");
    let error = &attempts(&app, 1)[0]["error"];
    let why = "the host failed while it ran the attempt: this is a bug in Anacostia, please report it";
    assert_eq!((&error["code"], &error["message"]), (&"failed".into(), &why.into()));
    app.drop_file("raw/b.txt", b"content");
    assert_eq!(app.wait_for_runs(2)[1]["state"], "succeeded");
    wait_until("the host to be ready", || not_ready(&app).is_empty());
}

#[test]
fn a_guest_that_spins_is_stopped_after_the_ticker_of_epochs_has_panicked() {
    let steps =
        MANIFEST.replace(r#"{ do = "copy", from = "raw", to = "out" }"#, r#"{ do = "spin", rounds = 1000000000000 }"#);
    let mut app = TestApp::new(&format!("{steps}limits = {{ cpu = \"100ms\" }}\n")).with_guest("worker");
    app.set_env("ANACOSTIA_FAULT", "panic:epochs.tick:1");
    app.start();
    app.drop_file("raw/a.txt", b"content");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "failed");
    assert_eq!(attempts(&app, 1)[0]["error"]["code"], "cpu_limit");
    app.wait_to_say("a test requested a panic at epochs.tick");
}

#[test]
fn a_panic_while_an_old_definition_is_restored_leaves_its_run_for_the_next_start() {
    let mut app =
        TestApp::new(&MANIFEST.replace(r#"{ do = "copy", "#, r#"{ do = "fail", attempts = 1 }, { do = "copy", "#))
            .with_guest("worker");
    app.start();
    app.drop_file("raw/a.txt", b"content");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "failed");
    app.kill();
    app.write_manifest(MANIFEST);
    app.set_env("ANACOSTIA_FAULT", "panic:definition.restore:1");
    app.start();
    assert_eq!(app.post("/api/v1/runs/1/retry").0, 200);
    let line = "can no longer be used: the metadata store is not readable: restoring it panicked";
    wait_until(line, || app.said().contains(line));
    wait_until("the run to be left", || app.said().contains("run #1 waits for the next start, or to be cancelled"));
    app.drop_file("raw/b.txt", b"content");
    wait_until("other runs to go on", || {
        app.try_get("/api/v1/runs/2").is_ok_and(|(_, run)| run["state"] == "succeeded")
    });
    assert_eq!(app.get("/api/v1/runs/1")["state"], "running");
    app.unset_env("ANACOSTIA_FAULT");
    app.restart();
    assert_eq!(app.wait_for_runs(2)[0]["state"], "succeeded");
}

#[test]
fn a_dispatcher_or_a_watch_over_the_state_that_panics_ends_the_host() {
    for (fault, why) in [
        ("panic:dispatcher.turn:1+", "the dispatcher ended abruptly: "),
        ("panic:state.watch:1", "the watch over the state folder panicked, which is a bug in Anacostia"),
    ] {
        let mut app = TestApp::new(MANIFEST).with_guest("worker");
        app.set_env("ANACOSTIA_FAULT", fault);
        // It may end before it serves.
        let end = app.try_start().map_or_else(|end| end, |()| app.wait_for_end());
        assert_eq!(end.code(), Some(1), "{fault}");
        app.wait_to_say(why);
    }
}

/// The report, and each thread that writes text, lose what they were at, and go on.
#[test]
fn reports_and_text_go_on_after_a_panic() {
    for fault in ["panic:report.events:1", "panic:writer.write:1", "panic:writer.write:2"] {
        let mut app = TestApp::new(MANIFEST).with_guest("worker");
        app.set_env("ANACOSTIA_FAULT", fault);
        let [out, log] = ["report", "log"].map(|name| fs::File::create(app.path(name)).unwrap());
        app.start_with_streams(&["--json"], Stdio::from(out), Stdio::from(log));
        let told = |run: u64| {
            let report = fs::read_to_string(app.path("report")).unwrap();
            let events = report.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let ends = events.filter(|event| event["data"]["state"] == "succeeded" && event["type"] == "run_state");
            let run = app.get(&format!("/api/v1/runs/{run}"))["id"].clone();
            ends.filter(|event| event["run_id"] == run).count()
        };
        for run in 1..=2_usize {
            app.drop_file(&format!("raw/{run}.txt"), b"content");
            app.wait_for_runs(run);
        }
        wait_until("the last run to be reported", || told(2) == 1);
        let log = fs::read_to_string(app.path("log")).unwrap();
        assert!(log.contains("a test requested a panic at "), "{fault}: {log}");
        app.signal(Signal::TERM);
        assert!(app.wait_for_end().success(), "{fault}");
    }
}

/// A host whose logs alone lie on a disk that fills up. Returns it, the library that makes the disk
/// full, and the file that says so.
fn with_full_logs() -> (TestApp, tempfile::TempDir, PathBuf) {
    let manifest = MANIFEST.replace(r#"{ do = "copy", "#, r#"{ do = "log", message = "x" }, { do = "copy", "#);
    let mut app = TestApp::new(&manifest).with_guest("worker");
    let library = preload(&mut app, include_str!("faults/full.c"));
    let full = library.path().join("full");
    app.set_env("FULL_WHEN", full.to_str().unwrap());
    app.set_env("FULL_BELOW", app.folder().canonicalize().unwrap().join("state/logs").to_str().unwrap());
    app.start();
    app.drop_file("raw/a.txt", b"content");
    app.wait_for_runs(1);
    fs::write(&full, "").unwrap();
    (app, library, full)
}

/// Returns why the host could not write its log.
fn log_is_full(app: &TestApp) -> String {
    let logs = app.folder().canonicalize().unwrap().join("state/logs");
    format!("the host failed to write the log in {}: No space left on device (os error 28)", logs.display())
}

#[test]
fn an_attempt_whose_log_cannot_be_written_is_handed_back() {
    let (app, _library, full) = with_full_logs();
    let why = log_is_full(&app);
    app.drop_file("raw/b.txt", b"content");
    // Not asked whether it is ready: the attempt itself finds out.
    let first = wait_for("the attempt to end", || {
        let (status, run) = app.try_get("/api/v1/runs/2").ok()?;
        let attempt = (status == 200).then(|| run["actions"][0]["attempts"][0].clone())?;
        (attempt["state"] == "cancelled").then_some(attempt)
    });
    assert_eq!(first["error"]["code"], "handed_back");
    let handed_back = format!("{why}; the run continues when it can, and no retry is used up");
    assert_eq!(first["error"]["message"], handed_back.as_str());
    let run = wait_for("the action to be held back", || {
        let run = app.get("/api/v1/runs/2");
        run["actions"][0]["reason"].is_string().then_some(run)
    });
    let action = &run["actions"][0];
    assert_eq!((&run["state"], &action["state"]), (&"running".into(), &"ready".into()));
    assert_eq!(action["reason"], format!("waits for its log: {why}").as_str());
    let reasons = [format!("no attempt starts: {why}")];
    assert_eq!(not_ready(&app), reasons);
    assert_eq!(app.get("/api/v1/pipeline")["host"]["reasons"], serde_json::json!(reasons));
    assert!(app.page().contains("<strong>Not ready.</strong>"));

    fs::remove_file(&full).unwrap();
    assert!(app.wait_for_runs(2).iter().all(|run| run["state"] == "succeeded"));
    assert_eq!(states(&attempts(&app, 2)), ["cancelled", "succeeded"]);
    assert_eq!(fs::read(app.path("out/b.txt")).unwrap(), b"content");
    assert!(not_ready(&app).is_empty());
    app.wait_to_say("the log can be written again");
    let said = app.said();
    assert_eq!(said.matches(&format!("{why}; no attempt starts until it can")).count(), 1, "{said}");
    assert_eq!(said.matches("the log can be written again").count(), 1, "{said}");
}

#[test]
fn no_attempt_starts_while_the_log_cannot_be_written() {
    let (app, _library, full) = with_full_logs();
    let reasons = [format!("no attempt starts: {}", log_is_full(&app))];
    assert_eq!(not_ready(&app), reasons, "an idle host");
    app.drop_file("raw/b.txt", b"content");
    let held = wait_for("the action to be held back", || {
        let (status, run) = app.try_get("/api/v1/runs/2").ok()?;
        (status == 200 && run["actions"][0]["reason"].is_string()).then_some(run)
    });
    assert_eq!(held["actions"][0]["state"], "ready");
    fs::remove_file(&full).unwrap();
    assert!(app.wait_for_runs(2).iter().all(|run| run["state"] == "succeeded"));
    assert_eq!(states(&attempts(&app, 2)), ["succeeded"]);
}

/// Retries a run that started with another component. Reading that component takes as long as the
/// test needs.
#[test]
fn new_runs_start_while_the_component_of_an_old_run_is_compiled() {
    let manifest = MANIFEST.replace(r#"{ do = "copy", "#, r#"{ do = "fail", attempts = 1 }, { do = "copy", "#);
    let mut app = TestApp::new(&manifest).with_guest("worker");
    let cache = app.path("cache").to_str().unwrap().to_owned();
    app.set_env("XDG_CACHE_HOME", &cache);
    let component = app.path("worker.wasm");
    let newer = fs::read(&component).unwrap();
    // A custom section makes it a different component that does the same.
    let older = [&newer[..], &[0, 5, 4, b'o', b'l', b'd', b'!']].concat();
    fs::write(&component, &older).unwrap();
    app.start();
    app.drop_file("raw/a.txt", b"content");
    let runs = app.wait_for_runs(1);
    assert_eq!(runs[0]["state"], "failed", "{runs:#?}");
    let digest = attempts(&app, 1)[0]["component_digest"].as_str().unwrap().replace("sha256:", "");
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success());

    fs::write(&component, &newer).unwrap();
    app.write_manifest(MANIFEST);
    fs::remove_dir_all(&cache).unwrap();
    let kept = app.path(&format!("state/components/{digest}.wasm"));
    fs::remove_file(&kept).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &kept, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    app.start();
    assert_eq!(app.post("/api/v1/runs/1/retry").0, 200);
    app.drop_file("raw/b.txt", b"content");
    wait_until("another run to end", || {
        app.try_get("/api/v1/runs/2").is_ok_and(|(_, run)| run["state"] == "succeeded")
    });
    assert_eq!(app.get("/api/v1/runs/1")["state"], "running", "its component is not compiled yet");

    fs::OpenOptions::new().write(true).open(&kept).unwrap().write_all(&older).unwrap();
    assert!(app.wait_for_runs(2).iter().all(|run| run["state"] == "succeeded"));
    assert_eq!(fs::read(app.path("out/a.txt")).unwrap(), b"content");
}
