//! The host dies between any two steps of a run, and the next host continues: no important state is
//! only in memory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use serde_json::Value;

use crate::support::app::TestApp;

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
