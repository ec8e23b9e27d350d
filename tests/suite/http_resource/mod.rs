//! Resources of the kind `http` over a real server and a proxy that injects faults.

mod crash;
mod network;
pub(crate) mod origin;
mod outputs;
mod pages;
mod polling;
mod uploads;

use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::wait::wait_for;

/// A pipeline that copies what it finds in `api` to the folder `out`. `keys` are those of `api`.
pub(crate) fn copies(keys: &str) -> TestApp {
    let manifest = format!(
        r#"
manifest_version = 1
[pipeline]
name = "copies"
[resources.api]
kind = "http"
watch = true
{keys}
[resources.out]
kind = "folder"
path = "out"
[actions.copy]
component = "worker.wasm"
after = ["api"]
reads = ["api"]
writes = ["out"]
params = {{ steps = [{{ do = "copy", from = "api", to = "out", overwrite = true }}] }}
"#
    );
    TestApp::new(&manifest).with_guest("worker")
}

/// Returns the versions at each path of `api`: path, version and state, oldest first.
fn versions(app: &TestApp) -> Vec<(String, u64, String)> {
    let mut items = app.get_all("/api/v1/artifacts?resource=api");
    items.reverse();
    let text = |item: &Value, key: &str| item[key].as_str().unwrap().to_owned();
    items.iter().map(|item| (text(item, "path"), item["version"].as_u64().unwrap(), text(item, "state"))).collect()
}

/// Waits until a file of `out` has this content.
#[track_caller]
pub(crate) fn wait_for_copy(app: &TestApp, path: &str, content: &[u8]) {
    let file = app.path(&format!("out/{path}"));
    wait_for(&format!("out/{path} to have the content"), || std::fs::read(&file).ok().filter(|found| found == content));
}

/// Returns the status of `api`, and why it is that.
fn status(app: &TestApp) -> (String, String) {
    let node = app.get("/api/v1/nodes/api");
    let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("reason"))
}

/// Waits until `api` cannot be reached for a reason with this text in it.
#[track_caller]
fn wait_for_reason(app: &TestApp, part: &str) {
    wait_for(&format!("a reason with `{part}`"), || {
        app.get("/api/v1/nodes/api").to_string().contains(part).then_some(())
    });
}
