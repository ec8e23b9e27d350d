//! Outputs that are committed, and what stands in the way of making them visible. The real binary, real files, a real guest.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::wait::wait_until;

/// `copy` writes each new file to `out`; `keys` are further lines of the manifest.
fn manifest(keys: &str) -> String {
    format!(
        r#"
manifest_version = 1
[pipeline]
name = "publishing"
max_concurrent_runs = 2
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
params = {{ steps = [{{ do = "copy", from = "raw", to = "out" }}] }}
{keys}
"#
    )
}

/// A pipeline whose host has died with the output `a.txt` committed and not visible. No host.
fn committed(keys: &str) -> TestApp {
    let mut app = TestApp::new(&manifest(keys)).with_guest("worker");
    app.set_env("ANACOSTIA_FAULT", "publish.begin:1");
    app.drop_file("raw/a.txt", b"content");
    if app.try_start().is_ok() {
        app.wait_for_end();
    }
    app.unset_env("ANACOSTIA_FAULT");
    assert!(!app.path("out/a.txt").exists());
    app
}

fn copy_of(app: &TestApp) -> Value {
    app.get("/api/v1/runs/1")["actions"][0].clone()
}

fn staged(app: &TestApp) -> usize {
    fs::read_dir(app.path("out/.anacostia/staging")).map_or(0, Iterator::count)
}

#[test]
fn a_committed_output_waits_for_its_folder_to_come_back() {
    // Away altogether, and an empty one in its place, as where a disk is to be mounted.
    for empty in [false, true] {
        let mut app = committed("");
        let (out, elsewhere) = (app.path("out"), app.path("elsewhere"));
        fs::rename(&out, &elsewhere).unwrap();
        if empty {
            fs::create_dir(&out).unwrap();
        }
        app.start();
        wait_until("the host to say that it is tried again", || app.said().contains("it is tried again every second"));
        let run = app.get("/api/v1/runs/1");
        assert_eq!(run["state"], "running", "{run:#}");
        assert_eq!(copy_of(&app)["attempts"][0]["state"], "publishing", "{run:#}");
        if empty {
            fs::remove_dir(&out).unwrap();
        }
        assert!(!out.exists(), "a folder was made where one is to come back");
        fs::rename(&elsewhere, &out).unwrap();
        let runs = app.wait_for_runs(1);
        assert_eq!(runs[0]["state"], "succeeded", "{runs:#?}");
        assert_eq!(fs::read(out.join("a.txt")).unwrap(), b"content");
        // Stopped well, it leaves nothing of an attempt; its only attempt is the one that was taken over.
        app.signal(Signal::TERM);
        assert!(app.wait_for_end().success());
        assert_eq!(staged(&app), 0);
    }
}

#[test]
fn what_is_staged_is_kept_until_its_publishing_is_on_record() {
    for point in ["publish.visible", "published.in_transaction", "published.committed"] {
        let mut app = TestApp::new(&manifest("")).with_guest("worker");
        app.set_env("ANACOSTIA_FAULT", &format!("{point}:1"));
        app.drop_file("raw/a.txt", b"content");
        if app.try_start().is_ok() {
            app.wait_for_end();
        }
        app.unset_env("ANACOSTIA_FAULT");
        assert_eq!(staged(&app), 1, "{point}");
        // Taken away between the two: what was published and then removed is not missed.
        fs::remove_file(app.path("out/a.txt")).unwrap();
        app.start();
        assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded", "{point}");
        app.signal(Signal::TERM);
        assert!(app.wait_for_end().success());
        assert_eq!(staged(&app), 0, "{point}");
    }
}

#[test]
fn a_host_that_stops_while_an_output_can_not_be_published_leaves_it_to_the_next() {
    let mut app = committed("");
    fs::create_dir(app.path("out/a.txt")).unwrap();
    app.start();
    wait_until("the host to say that it is tried again", || app.said().contains("it is tried again every second"));
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success(), "a host that stops is not in trouble");
    fs::remove_dir(app.path("out/a.txt")).unwrap();
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    assert_eq!(fs::read(app.path("out/a.txt")).unwrap(), b"content");
}
