//! What a power cut would leave: what is synced, and in which order. A library that is preloaded
//! into the host notes it; nothing is cut.

use std::fs;

use tempfile::TempDir;

use crate::http_resource::origin::Origin;
use crate::support::app::TestApp;
use crate::support::preload::preload;

/// Watches what a host syncs.
struct Syncs(TempDir);

impl Syncs {
    fn of(app: &mut TestApp) -> Self {
        let folder = preload(app, include_str!("power_cut/syncs.c"));
        app.set_env("SYNCS", folder.path().join("log").to_str().unwrap());
        Self(folder)
    }

    /// Returns the lines so far, and forgets them.
    fn take(&self) -> Vec<String> {
        let log = self.0.path().join("log");
        let lines = fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect();
        let _ = fs::remove_file(log);
        lines
    }
}

/// Returns the place of the last line that begins and ends so.
#[track_caller]
fn last(lines: &[String], start: &str, end: &str) -> usize {
    let found = lines.iter().rposition(|line| line.starts_with(start) && line.ends_with(end));
    found.unwrap_or_else(|| panic!("no {start} … {end} in {lines:#?}"))
}

/// Returns the place of the last sync of a file of this folder.
#[track_caller]
fn last_in(lines: &[String], folder: &str) -> usize {
    let found = lines.iter().rposition(|line| line.starts_with("s ") && line.contains(folder));
    found.unwrap_or_else(|| panic!("nothing of {folder} was synced: {lines:#?}"))
}

/// Asserts that everything in the store's log is synced, since something of the spool was.
#[track_caller]
fn assert_nothing_would_be_lost(lines: &[String], spool: &str) {
    let (written, synced) = (last(lines, "w ", "metadata.db-wal"), last(lines, "s ", "metadata.db-wal"));
    assert!(written < synced, "the last commit is not synced: {lines:#?}");
    assert!(last_in(lines, spool) < synced, "it is committed before its outputs are synced: {lines:#?}");
}

fn manifest(target: &str, writes: &str, action: &str) -> String {
    format!(
        r#"
manifest_version = 1
[pipeline]
name = "cut"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.target]
{target}
[actions.act]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = {writes}
{action}
"#
    )
}

const COPY: &str = r#"params = { steps = [{ do = "copy", from = "raw", to = "target", overwrite = true }] }"#;

/// Dies at both points, each in a pipeline of its own, and returns what was synced before.
fn synced_before(points: [&str; 2], target: &str, action: &str) -> [Vec<String>; 2] {
    synced_before_writing(points, target, r#"["target"]"#, action)
}

fn synced_before_writing(points: [&str; 2], target: &str, writes: &str, action: &str) -> [Vec<String>; 2] {
    points.map(|point| {
        let mut app = TestApp::new(&manifest(target, writes, action)).with_guest("worker");
        let data = rusqlite::Connection::open(app.path("lab.db")).unwrap();
        data.execute_batch("create table totals (name text)").unwrap();
        let syncs = Syncs::of(&mut app);
        app.drop_file("raw/model.bin", b"weights");
        app.die_at(point);
        syncs.take()
    })
}

#[test]
fn an_output_is_sent_once_its_commit_is_synced_and_forgotten_once_that_is_on_record() {
    let origin = Origin::start();
    let target = format!("kind = \"http\"\nurl = \"http://{}/models/\"\nmethod = \"PUT\"", origin.address);
    for lines in synced_before(["http.before_send:1", "published.committed:1"], &target, COPY) {
        assert_nothing_would_be_lost(&lines, "/state/spool/target/.anacostia/staging/");
    }
}

#[test]
fn statements_are_committed_once_the_attempt_is_synced() {
    let action = r#"params = { steps = [{ do = "execute", to = "target", sql = "insert into totals values (1)" }] }"#;
    for lines in synced_before(
        ["sql.before_commit:1", "published.committed:1"],
        "kind = \"sql\"\nurl = \"sqlite:lab.db\"",
        action,
    ) {
        assert_nothing_would_be_lost(&lines, "/state/spool/target/.anacostia/staging/");
    }
}

/// The folder comes before the endpoint in the order of publishing.
#[test]
fn files_beside_outputs_that_are_sent_are_synced_before_each_commit() {
    let origin = Origin::start();
    let target = format!(
        "kind = \"http\"\nurl = \"http://{}/models/\"\nmethod = \"PUT\"\n[resources.files]\nkind = \"folder\"\npath = \"files\"",
        origin.address
    );
    let action = r#"params = { steps = [
    { do = "copy", from = "raw", to = "target" },
    { do = "copy", from = "raw", to = "files" },
] }"#;
    let points = ["publish.begin:1", "published.committed:1"];
    let [staged, published] = synced_before_writing(points, &target, r#"["target", "files"]"#, action);
    let commit = |lines: &[String]| last(lines, "s ", "metadata.db-wal");
    assert!(last_in(&staged, "/files/.anacostia/staging/") < commit(&staged), "{staged:#?}");
    assert!(last(&staged, "s ", "/files") < commit(&staged), "{staged:#?}");
    // Nothing of the folder is synced after its files are visible but their names.
    let commits =
        published.iter().enumerate().filter(|(_, line)| line.ends_with("metadata.db-wal") && line.starts_with("s "));
    let staged_at = last_in(&published, "/files/.anacostia/staging/");
    let intent = commits.map(|(place, _)| place).find(|place| *place > staged_at).unwrap();
    let names = last(&published, "s ", "/files");
    assert!(intent < names && names < commit(&published), "{published:#?}");
}

#[test]
fn commits_of_files_are_not_synced_unless_the_manifest_asks_for_it() {
    let folder = "kind = \"folder\"\npath = \"target\"";
    for lines in synced_before(["publish.begin:1", "published.committed:1"], folder, COPY) {
        let (written, synced) = (last(&lines, "w ", "metadata.db-wal"), last(&lines, "s ", "metadata.db-wal"));
        assert!(synced < written, "this store syncs every commit: {lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("/target/")), "{lines:#?}");
    }
}
