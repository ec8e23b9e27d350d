//! The Python client in `clients/python`: its own tests against a host, with and without pandas,
//! its types, which come from `/openapi.json`, and its wheel.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::app::TestApp;

/// The pipeline that `clients/python/tests/pipeline.py` describes.
const PIPELINE: &str = r#"
manifest_version = 1
[pipeline]
name = "notebook"
join = "any"
[resources.inbox]
kind = "http"
push = true
watch = true
trigger = { max_artifacts = 1 }
[resources.gate]
kind = "http"
push = true
watch = true
trigger = { max_artifacts = 1 }
[resources.out]
kind = "folder"
path = "out"
[actions.measure]
component = "worker.wasm"
after = ["inbox"]
reads = ["inbox"]
writes = ["out"]
params = { steps = [
    { do = "copy", from = "inbox", to = "out", overwrite = true },
    { do = "metrics", name = "accuracy", values = [0.5, 0.75], first_step = 1 },
    { do = "params", entries = { model = "tree" } },
    { do = "tags", entries = { stage = "test" } },
] }
[actions.publish]
component = "worker.wasm"
after = ["gate"]
reads = ["gate"]
approval = { who = "anyone" }
"#;

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-python-client")
}

/// Runs the script. Panics with what it says if it fails.
///
/// The test says so and goes on on a machine that cannot install the tools, unless `CI` is set.
#[track_caller]
fn run(arguments: &[&str]) {
    let Output { status, stdout, stderr } = Command::new(script()).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    if said.contains("cannot be installed into") && std::env::var_os("CI").is_none() {
        eprintln!("NOT RUN: {arguments:?}:\n{said}");
        return;
    }
    assert!(status.success(), "{arguments:?} ended with {status}:\n{said}");
    if arguments[0] == "build" {
        assert!(said.contains("is built, installed and imported"), "{said}");
    }
    // Each of its tests has run, except those for the other case of pandas.
    if matches!(arguments[0], "plain" | "pandas") {
        assert!(said.contains("\nOK"), "{said}");
        assert!(!said.contains("ANACOSTIA_TEST_URL is not set"), "{said}");
    }
}

#[test]
fn the_tests_of_the_client_pass() {
    let mut app = TestApp::new(PIPELINE).with_guest("worker");
    app.start();
    run(&["plain", app.url()]);
    run(&["pandas", app.url()]);
    assert_eq!(app.try_get("/readyz").unwrap().0, 200);
}

#[test]
fn the_types_are_those_of_the_document_and_the_client_uses_them_rightly() {
    let mut app = TestApp::new(PIPELINE).with_guest("worker");
    app.start();
    // As for snapshots: the file is made anew, and its difference looked at.
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        run(&["types", app.url()]);
    }
    run(&["types", app.url(), "--check"]);
    run(&["mypy"]);
}

#[test]
fn the_wheel_is_built_and_works_where_it_is_installed() {
    run(&["build"]);
}
