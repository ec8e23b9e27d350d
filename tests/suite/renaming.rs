//! Inputs that are renamed after they were recorded: a run reads them at their new path. The real
//! binary and real guests.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::wait::wait_until;

/// A file is renamed after this many more were written.
const RENAMED_AFTER: usize = 4;

const HEAD: &str = r#"
manifest_version = 1
[pipeline]
name = "renaming"
max_concurrent_runs = 4
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = { max_artifacts = 1 }
[resources.out]
kind = "folder"
path = "out"
"#;

/// Writes files, and renames each a few files later, so that some are renamed before they are
/// recorded, some between being recorded and being read, and some while they are read.
fn write_and_rename(raw: &Path, count: usize) {
    let at = |word: &str, number: usize| raw.join(format!("{word}-{number}"));
    for number in 0..count + RENAMED_AFTER {
        if number < count {
            fs::write(at("upload", number), number.to_string()).unwrap();
        }
        if let Some(number) = number.checked_sub(RENAMED_AFTER) {
            fs::rename(at("upload", number), at("final", number)).unwrap();
        }
        // The rate of arrivals. Nothing waits for it.
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn assert_all_succeeded(runs: &[Value]) {
    let failed: Vec<_> = runs.iter().filter(|run| run["state"] != "succeeded").collect();
    assert!(failed.is_empty(), "{} of {} failed, the first: {:#}", failed.len(), runs.len(), failed[0]);
}

/// Waits until a run has logged `text`.
fn wait_for_log(app: &TestApp, run: u64, text: &str) {
    wait_until(text, || {
        app.try_get(&format!("/api/v1/runs/{run}/logs")).is_ok_and(|(_, body)| body.to_string().contains(text))
    });
}

#[test]
fn files_renamed_right_after_closing_are_read() {
    let copy = r#"
[actions.copy]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
params = { steps = [{ do = "copy", from = "raw", to = "out" }] }
[actions.print]
component = "command.wasm"
after = ["raw"]
reads = ["raw"]
args = ["stdin"]
stdin = "raw"
"#;
    let mut app = TestApp::new(&format!("{HEAD}{copy}")).with_guest("worker").with_guest("command");
    fs::create_dir(app.path("raw")).unwrap();
    app.start();
    write_and_rename(&app.path("raw"), 150);
    assert_all_succeeded(&app.wait_for_runs(150));
    let mut seen: Vec<u32> = fs::read_dir(app.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).unwrap().parse().unwrap())
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..150).collect::<Vec<_>>(), "each file was read once, with its own bytes");
}

#[test]
fn a_folder_renamed_during_a_run_is_read_by_its_old_paths() {
    let actions = r#"
[actions.wait]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = { steps = [{ do = "done" }] }
approval = { who = "the test, once it has renamed the folder" }
[actions.copy]
component = "worker.wasm"
after = ["wait"]
reads = ["raw"]
writes = ["out"]
params = { steps = [{ do = "copy", from = "raw", to = "out" }, { do = "read_range", from = "raw", path = "sub/b", length = 12, expect = "content of b" }] }
[actions.print]
component = "command.wasm"
after = ["wait"]
reads = ["raw"]
args = ["cat|/in/raw/sub/a"]
"#;
    // One run claims both.
    let head = HEAD.replace("trigger = { max_artifacts = 1 }\n", "");
    let mut app = TestApp::new(&format!("{head}{actions}")).with_guest("worker").with_guest("command");
    for name in ["b", "a"] {
        app.drop_file(&format!("raw/sub/{name}"), format!("content of {name}\n").as_bytes());
    }
    app.start();
    wait_until("the run to wait", || !app.get_all("/api/v1/approvals").is_empty());
    fs::rename(app.path("raw/sub"), app.path("raw/other")).unwrap();
    let (status, approved) = app.post("/api/v1/runs/1/actions/wait/approve");
    assert_eq!(status, 200, "{approved}");
    let runs = app.wait_for_runs(1);
    assert_all_succeeded(&runs);
    for name in ["a", "b"] {
        assert_eq!(fs::read_to_string(app.path(&format!("out/sub/{name}"))).unwrap(), format!("content of {name}\n"));
    }
    wait_for_log(&app, 1, "content of a");
}

#[test]
fn a_run_can_open_listed_inputs_after_a_rename() {
    let actions = r#"
[actions.look]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = { steps = [{ do = "list", from = "raw", open_after_ms = 3000 }] }
"#;
    let mut app =
        TestApp::new(&format!("{HEAD}{actions}").replace("max_concurrent_runs = 4", "max_concurrent_runs = 1"))
            .with_guest("worker");
    for name in ["a", "b"] {
        app.drop_file(&format!("raw/{name}"), name.as_bytes());
    }
    app.start();
    wait_for_log(&app, 1, "listed b");
    for name in ["a", "b"] {
        fs::rename(app.path(&format!("raw/{name}")), app.path(&format!("raw/{name}.moved"))).unwrap();
    }
    let (_, log) = app.try_get("/api/v1/runs/1/logs").unwrap();
    assert!(!log.to_string().contains("opened"), "the files were renamed too late, which tests nothing: {log}");
    // The first run has claimed one of them, and no run has claimed the other yet.
    assert_all_succeeded(&app.wait_for_runs(2));
    wait_for_log(&app, 1, "opened a a");
    wait_for_log(&app, 1, "opened b b");
}
