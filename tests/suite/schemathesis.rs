//! Schemathesis reads `/openapi.json` and sends what it allows, and much that it does not. No
//! answer is an error of the server, and each is as the document declares.

use std::path::Path;
use std::process::Command;

use anacostia::base::RunId;
use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::wait::wait_until;

/// What is sent, the same each time: at most this many cases of an operation and a phase.
const OPTIONS: [&str; 10] = [
    "--no-color",
    "--generation-deterministic",
    "--max-examples=20",
    "--phases=examples,coverage,fuzzing",
    "--request-timeout=30",
    "--output-truncate=false",
    // What is taken and what is refused is tested elsewhere. The document cannot say all of it: a
    // cursor is any text for a client, and an empty `limit=` is none.
    "--exclude-checks=positive_data_acceptance,negative_data_rejection",
    // A request for it never ends.
    "--exclude-path=/api/v1/events",
    "--warnings=off",
    // Python 3.11 may fail when two threads parse a program at once, as its strategies do.
    "--workers=1",
];

pub(crate) fn pipeline() -> TestApp {
    let manifest = r#"
manifest_version = 1
[pipeline]
name = "described"
join = "any"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = { max_artifacts = 1 }
[resources.inbox]
kind = "http"
push = true
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.publish]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
approval = { who = "anyone" }
params = { steps = [
    { do = "log", message = "publishing" },
    { do = "metrics", name = "rows", values = [3] },
    { do = "params", entries = { seed = "7" } },
    { do = "tags", entries = { kind = "nightly" } },
    { do = "copy", from = "raw", to = "out" },
] }
[actions.note]
component = "worker.wasm"
after = ["inbox"]
reads = ["inbox"]
"#;
    TestApp::new(manifest).with_guest("worker")
}

/// A configuration in which nothing is waited for.
const NO_WAIT: &str = "[parameters]\n\"query.wait\" = \"10ms\"\n";

/// Returns a configuration that has names and ids that exist, too.
fn existing(app: &TestApp) -> String {
    let artifact = app.get_all("/api/v1/artifacts?resource=out")[0]["id"].clone();
    let run = RunId::new();
    format!(
        r#"{NO_WAIT}
"path.id" = "1"
[[operations]]
include-path-regex = "/artifacts/"
parameters = {{ "path.id" = {artifact} }}
[[operations]]
include-path-regex = "/actions/"
parameters = {{ "path.name" = "publish" }}
[[operations]]
include-path-regex = "/(resources|nodes)/"
parameters = {{ "path.name" = "inbox" }}
[[operations]]
include-method = "PUT"
parameters = {{ "path.id" = "{run}" }}
"#
    )
}

/// Runs Schemathesis with a configuration and further options. Panics with what it says if it finds
/// something.
///
/// The test says so and is skipped on a machine that cannot install it, unless `CI` is set.
#[track_caller]
fn check(app: &TestApp, config: &str, options: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-schemathesis");
    let installed = Command::new(&script).arg("--version").output().unwrap();
    if !installed.status.success() {
        let why = String::from_utf8_lossy(&installed.stderr);
        assert!(std::env::var_os("CI").is_none(), "Schemathesis cannot run here:\n{why}");
        eprintln!("NOT RUN: Schemathesis cannot be installed here:\n{why}");
        return;
    }
    let file = app.path("schemathesis.toml");
    std::fs::write(&file, config).unwrap();
    let output = Command::new(&script)
        .arg("--config-file")
        .arg(&file)
        .args(["run", &format!("{}/openapi.json", app.url())])
        .args(OPTIONS)
        .args(options)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "Schemathesis ended with {}:\n{said}", output.status);
}

#[test]
fn answers_are_as_the_document_declares() {
    let mut app = pipeline();
    app.start();
    app.drop_file("raw/a.csv", b"a,b\n1,2\n");
    let state = |app: &TestApp| app.try_get("/api/v1/runs/1").ok().map(|(_, run)| run["actions"][0]["state"].clone());
    wait_until("the action to wait for approval", || state(&app) == Some(Value::from("awaiting_approval")));
    assert_eq!(app.post("/api/v1/runs/1/actions/publish/approve").0, 200);
    app.wait_for_runs(1);
    // What exists is asked for by name, so that requests come to what is behind the names.
    check(&app, &existing(&app), &["--include-path-regex=\\{"]);
    check(&app, NO_WAIT, &[]);
    assert_eq!(app.try_get("/readyz").unwrap().0, 200);
}
