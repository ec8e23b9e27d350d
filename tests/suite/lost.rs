//! A host whose records are removed while it is running. The real binary, real files.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::app::TestApp;
use crate::support::wait::wait_until;

const MANIFEST: &str = r#"
manifest_version = 1
[pipeline]
name = "lost"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[actions.work]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = { steps = [] }
"#;

/// Starts a host, and waits until it has recorded one run.
fn start_and_run_once(manifest: &str) -> TestApp {
    let mut app = TestApp::new(manifest).with_guest("worker");
    app.start();
    app.drop_file("raw/a.txt", b"content");
    app.wait_for_runs(1);
    app
}

/// Removes something under a running host. The host must end by itself with exit code 1, and report
/// that something in `path` was lost.
#[track_caller]
fn check_stops_when(app: &mut TestApp, path: &Path, how: &str, take: impl FnOnce()) {
    take();
    assert_eq!(app.wait_for_end().code(), Some(1));
    let said = app.said();
    let expected = format!(
        " {how} while this host was running, so the host has stopped, because anything that it wrote would be lost; restore the \
         files, or run `anacostia run` again to create new ones"
    );
    let told = said.lines().any(|line| line.contains(&expected) && line.contains(path.to_str().unwrap()));
    assert!(told, "{}{expected}\n── not in ──\n{said}", path.display());
}

#[test]
fn a_host_stops_with_a_message_when_its_state_is_removed() {
    let mut app = start_and_run_once(MANIFEST);
    let state = app.path("state");
    check_stops_when(&mut app, &state, "was removed or moved", || fs::remove_dir_all(&state).unwrap());
    // The next host starts from nothing, and takes all files as new.
    app.start();
    assert_eq!(app.wait_for_runs(1).len(), 1);
}

#[test]
fn a_host_stops_when_its_state_is_moved_and_damages_neither_it_nor_its_replacement() {
    let mut app = start_and_run_once(MANIFEST);
    let [state, away] = ["state", "away"].map(|name| app.path(name));
    // As after restoring a copy under a running host: other files with the same names.
    check_stops_when(&mut app, &state, "was replaced by another file", || {
        let copied = Command::new("cp").arg("-R").args([&state, &away]).status().unwrap();
        assert!(copied.success());
        rustix::fs::renameat_with(rustix::fs::CWD, &state, rustix::fs::CWD, &away, rustix::fs::RenameFlags::EXCHANGE)
            .unwrap();
    });
    for file in ["metadata.db", "metadata.db-wal"] {
        assert!(state.join(file).exists(), "the stopped host removed {file}");
    }
    app.start();
    assert_eq!(app.wait_for_runs(1).len(), 1, "runs recorded in the copy continue");
}

#[test]
fn a_host_stops_when_its_log_is_removed_even_if_its_database_is_elsewhere() {
    let manifest = MANIFEST.replace("name = \"lost\"", "name = \"lost\"\nstate = \"kept\"");
    let mut app = start_and_run_once(&manifest);
    assert!(app.path("state/metadata.db").exists());
    let kept = app.path("kept");
    wait_until("the log to exist", || kept.join("logs/00000001.jsonl").exists());
    check_stops_when(&mut app, &kept.join("logs/00000001.jsonl"), "was removed or moved", || {
        fs::remove_dir_all(kept.join("logs")).unwrap();
    });
}

#[test]
fn a_host_stops_when_its_stored_components_are_removed() {
    let mut app = start_and_run_once(MANIFEST);
    let components = app.path("state/components");
    check_stops_when(&mut app, &components, "was removed or moved", || fs::remove_dir_all(&components).unwrap());
    app.start();
    assert_eq!(app.wait_for_runs(1).len(), 1, "the records are still there");
    assert!(components.exists(), "the next host stores them again");
}
