//! When runs start, and with which artifacts.

#[path = "triggers/by_hand.rs"]
mod by_hand;
#[path = "triggers/components.rs"]
pub(crate) mod components;
#[path = "triggers/events.rs"]
mod events;
#[path = "triggers/groups.rs"]
mod groups;
#[path = "triggers/metrics.rs"]
mod metrics;
#[path = "triggers/waiting.rs"]
mod waiting;

use crate::support::app::TestApp;

fn manifest(concurrent: u32, trigger: &str) -> String {
    format!(
        r#"
manifest_version = 1
[pipeline]
name = "triggers"
max_concurrent_runs = {concurrent}
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = {trigger}
[actions.work]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = {{ steps = [{{ do = "done" }}] }}
"#
    )
}

/// Files arrive one by one while runs claim the earlier ones: an outdated count must not start a
/// run.
#[test]
fn no_run_has_fewer_artifacts_than_its_trigger_asks_for() {
    const FILES: usize = 500;
    let mut app = TestApp::new(&manifest(8, "{ min_artifacts = 10, max_artifacts = 10 }")).with_guest("worker");
    app.start();
    for number in 0..FILES {
        app.drop_file(&format!("raw/{number}.txt"), number.to_string().as_bytes());
    }
    let runs = app.wait_for_runs(FILES / 10);
    for run in &runs {
        let inputs = app.get(&format!("/api/v1/runs/{}", run["number"]))["inputs"].as_array().unwrap().len();
        assert_eq!(inputs, 10, "run {} has {inputs} inputs", run["number"]);
    }
    assert_eq!(runs.len(), FILES / 10);
}
