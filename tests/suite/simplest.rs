//! The README's first command, on a copy of the example: it builds the guest, starts, and processes
//! ten files that the example's script drops.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::app::TestApp;

/// Copies the files below `folder` of the checkout that are in git.
fn copy(folder: &str, to: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = Command::new("git").args(["ls-files", folder]).current_dir(root).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(!listed.is_empty(), "{folder} is not in git");
    for file in listed.lines() {
        let place = to.join(file);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(root.join(file), place).unwrap();
    }
}

#[test]
fn ten_files_start_ten_runs_whose_logs_name_them() {
    let checkout = tempfile::tempdir().unwrap();
    for folder in ["guest-examples", "scripts", "wit"] {
        copy(folder, checkout.path());
    }
    let example = checkout.path().join("guest-examples/pipelines/simplest");
    let mut app = TestApp::at(&example);
    app.start_with(&["--build"]);
    // As in the example's README, but with less time between the files.
    let dropped = Command::new(example.join("drop-files.sh")).args(["10", "0.15"]).output().unwrap();
    assert!(dropped.status.success(), "{}", String::from_utf8_lossy(&dropped.stderr));
    let files: BTreeSet<String> =
        String::from_utf8(dropped.stdout).unwrap().lines().map(|line| line.replace("dropped ", "")).collect();
    assert_eq!(files.len(), 10);

    let runs = app.wait_for_runs(1);
    let claimed = crate::support::wait::wait_for("all ten files to be processed", || {
        let artifacts = app.get_all("/api/v1/artifacts?resource=data_store");
        (artifacts.iter().filter(|artifact| artifact["state"] == "old").count() == 10).then_some(artifacts)
    });
    let paths: BTreeSet<String> =
        claimed.iter().map(|artifact| artifact["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(paths, files);
    assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:#?}");
    for artifact in &claimed {
        let run = artifact["run_id"].as_str().unwrap();
        let log = app.get(&format!("/api/v1/runs/{run}/logs")).to_string();
        assert!(log.contains(artifact["path"].as_str().unwrap()), "the log of its run does not name {artifact}: {log}");
    }
}
