//! The host dies between any two steps of a run, and the next host continues: no important state is
//! only in memory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::wait::wait_until;

const MANIFEST: &str = r#"
manifest_version = 1
[pipeline]
name = "restart"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.first]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
params = { steps = [{ do = "copy", from = "raw", to = "out", prefix = "first/" }] }
[actions.second]
component = "worker.wasm"
after = ["first"]
reads = ["raw"]
writes = ["out"]
retry = { max_attempts = 2, backoff = "1ms" }
params = { steps = [
    { do = "copy", from = "raw", to = "out", prefix = "second/" },
    { do = "fail", attempts = 1, retryable = true },
] }
[actions.third]
component = "worker.wasm"
after = ["second"]
reads = ["out"]
params = { steps = [{ do = "read", from = "out" }] }
"#;

/// The steps of the run: its creation, and the steps that its driver records.
fn die_at(step: u32) -> String {
    if step == 0 { "run.created:1".to_owned() } else { format!("step.recorded:{step}") }
}

#[test]
fn a_run_resumes_after_a_crash_at_any_step() {
    let mut steps = 0;
    loop {
        let mut app = TestApp::new(MANIFEST).with_guest("worker");
        app.set_env("ANACOSTIA_FAULT", &die_at(steps));
        app.drop_file("raw/a.txt", b"content");
        let survived = app.try_start().is_ok() && {
            // Either the fault point ends the host, or the run ends first because it has no such
            // step.
            crate::support::wait::wait_for("the run or the host to end", || {
                if let Some(status) = app.has_ended() {
                    assert_eq!(status.signal(), Some(9), "step {steps}: the host ended with {status}");
                    return Some(false);
                }
                let (_, runs) = app.try_get("/api/v1/runs").ok()?;
                (runs["items"][0]["state"] == "succeeded").then_some(true)
            })
        };
        if survived {
            break;
        }
        app.unset_env("ANACOSTIA_FAULT");
        app.start();
        let runs = app.wait_for_runs(1);
        assert_eq!(runs.len(), 1, "step {steps}: {runs:#?}");
        check(&app.get(&format!("/api/v1/runs/{}", runs[0]["id"].as_str().unwrap())), steps);
        for folder in ["first", "second"] {
            assert_eq!(fs::read(app.path(&format!("out/{folder}/a.txt"))).unwrap(), b"content", "step {steps}");
        }
        steps += 1;
    }
    // Creation and start of `first`; its end and the start of `second`; its failure; its second
    // start; its end and the start of `third`; its end.
    assert_eq!(steps, 6, "the run has steps that this test does not know");
}

fn check(run: &Value, step: u32) {
    assert_eq!(run["state"], "succeeded", "step {step}: {run:#}");
    for action in run["actions"].as_array().unwrap() {
        let mut ends: BTreeMap<&str, u32> = BTreeMap::new();
        for attempt in action["attempts"].as_array().unwrap() {
            *ends.entry(attempt["state"].as_str().unwrap()).or_default() += 1;
        }
        let of = |state: &str| ends.get(state).copied().unwrap_or(0);
        assert_eq!(of("succeeded"), 1, "step {step}: {action:#}");
        // `second` fails on its first attempt; if that attempt crashed, its second attempt succeeds
        // at once.
        assert!(of("failed") <= u32::from(action["name"] == "second"), "step {step}: {action:#}");
        assert!(of("crashed") <= 1, "step {step}: {action:#}");
    }
}

#[test]
fn a_folder_that_is_away_at_the_start_keeps_its_claims() {
    let manifest = MANIFEST.replace("watch = true\n", "watch = true\ntrigger = { min_artifacts = 2 }\n");
    let mut app = TestApp::new(&manifest).with_guest("worker");
    app.drop_file("raw/a.txt", b"a");
    app.drop_file("raw/b.txt", b"b");
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    app.drop_file("raw/c.txt", b"c");
    let state = |app: &TestApp, path: &str| {
        let all = app.get_all("/api/v1/artifacts?resource=raw");
        let of_path: Vec<_> = all.into_iter().filter(|it| it["path"] == path).collect();
        assert!(of_path.len() <= 1, "an artifact is doubled: {of_path:#?}");
        of_path.first().map(|it| it["state"].as_str().unwrap().to_owned())
    };
    wait_until("the third file to be recorded", || state(&app, "c.txt").is_some());
    app.kill();
    fs::rename(app.path("raw"), app.path("away")).unwrap();
    app.start();
    wait_until("the folder to be missed", || app.get("/api/v1/nodes/raw")["state"] == "unreachable");
    let (code, ready) = app.try_get("/readyz").unwrap();
    assert_eq!(code, 503);
    assert!(ready.to_string().contains("3 of its files are on record: mount it or put it back"), "{ready}");
    assert!(!app.path("raw").exists());
    assert_eq!(["a.txt", "c.txt"].map(|path| state(&app, path).unwrap()), ["old", "new"]);
    fs::write(app.path("away/d.txt"), b"d").unwrap();
    fs::rename(app.path("away"), app.path("raw")).unwrap();
    let runs = app.wait_for_runs(2);
    assert_eq!(runs.len(), 2, "{runs:#?}");
    let inputs: Vec<_> =
        app.get("/api/v1/runs/2")["inputs"].as_array().unwrap().iter().map(|it| it["path"].clone()).collect();
    assert_eq!(inputs, ["c.txt", "d.txt"]);
    assert_eq!(app.try_get("/readyz").unwrap().0, 200);
    for path in ["a.txt", "b.txt", "c.txt", "d.txt"] {
        assert_eq!(state(&app, path).unwrap(), "old", "{path}");
    }
}
