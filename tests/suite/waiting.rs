//! Files that a host has found and cannot record yet: where people see them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::child::in_child;
use crate::support::wait::wait_until;

const MANIFEST: &str = r#"
manifest_version = 1
[pipeline]
name = "waiting"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[actions.work]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = { steps = [{ do = "done" }] }
"#;

fn started() -> TestApp {
    let mut app = TestApp::new(MANIFEST).with_guest("worker");
    app.drop_file("raw/sub/first", b"1");
    app.start();
    app.wait_for_runs(1);
    app
}

/// Waits until `path` waits because it is what `reason` says, and checks that the nodes, the
/// command line and the page show it.
#[track_caller]
fn check_shown(app: &TestApp, path: &str, reason: &str) {
    let node = || app.get("/api/v1/nodes/raw")["resource"]["waiting"].clone();
    wait_until("the path to wait", || node()["count"] == 1);
    let item = node()["items"][0].clone();
    assert_eq!((&item["path"], &item["reason"]), (&json!(path), &json!(reason)));
    let listed = String::from_utf8(app.cli(&["artifacts", "list", "--waiting", "PATH"]).stdout).unwrap();
    assert!(listed.starts_with(&format!("raw/{path} is {reason}")), "{listed}");
    let page = app.page();
    let escaped = reason.replace('/', "&#x2f;");
    assert!(page.contains(&format!("<dt>Not yet recorded</dt><dd>{path} is {escaped}<br>")), "{page}");
}

#[track_caller]
fn check_nothing_waits(app: &TestApp) {
    wait_until("nothing to wait", || app.get("/api/v1/nodes/raw")["resource"]["waiting"].is_null());
    assert!(!app.page().contains("Not yet recorded"));
}

#[test]
fn a_file_that_is_open_for_writing_is_shown_with_its_writer() {
    let app = started();
    let open = fs::File::create(app.path("raw/open")).unwrap();
    let process = std::process::id();
    let program = fs::read_to_string("/proc/self/comm").unwrap();
    check_shown(&app, "open", &format!("still open for writing by process {process} ({})", program.trim()));
    drop(open);
    check_nothing_waits(&app);
    app.wait_for_runs(2);
}

#[test]
fn a_folder_that_may_be_listed_and_not_searched_is_shown_with_what_to_do() {
    let name = "waiting::a_folder_that_may_be_listed_and_not_searched_is_shown_with_what_to_do";
    // Root may search every folder; without capabilities it is a normal owner.
    if !in_child(&["setpriv", "--bounding-set=-all", "--inh-caps=-all"], name) {
        return;
    }
    let app = started();
    let sub = app.path("raw/sub");
    fs::set_permissions(&sub, Permissions::from_mode(0o600)).unwrap();
    let reason = "a folder that this user may list and not search: give it the `x` permission (`chmod u+x`)";
    check_shown(&app, "sub", reason);
    let old = app.get_all("/api/v1/artifacts?resource=raw");
    assert_eq!((old.len(), &old[0]["state"]), (1, &json!("old")), "the file in it is not gone");
    fs::set_permissions(&sub, Permissions::from_mode(0o700)).unwrap();
    check_nothing_waits(&app);
    app.drop_file("raw/sub/second", b"2");
    assert_eq!(app.wait_for_runs(2)[1]["state"], "succeeded");
}
