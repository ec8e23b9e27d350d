//! Committed outputs whose records are damaged, in SQLite, which lets a test damage them.

use std::fs;

use rustix::process::Signal;

use crate::publishing::{app_killed_after_commit, manifest, staged};
use crate::support::app::TestApp;
use crate::support::wait::wait_until;

fn database(app: &TestApp) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(app.path("state/metadata.db")).unwrap();
    database.busy_timeout(crate::support::wait::DEADLINE).unwrap();
    database
}

#[test]
fn an_attempt_that_conflicts_with_the_store_keeps_its_staged_files() {
    let mut app = TestApp::new(&manifest("")).with_guest("worker");
    app.start();
    // The commit point seems to be passed already, with different outputs.
    let passed = "CREATE TRIGGER passed AFTER INSERT ON attempts BEGIN
        UPDATE attempts SET state = 'publishing' WHERE seq = NEW.seq; END";
    database(&app).execute_batch(passed).unwrap();
    app.drop_file("raw/a.txt", b"content");
    wait_until("the run to be left alone", || app.said().contains("run #1 stays unfinished: attempt "));
    app.wait_to_say("could not be closed; the next driver of the run tries to recover it");
    assert_eq!(staged(&app), 1, "files that may be committed were discarded");
    assert_eq!(app.try_get("/readyz").unwrap().0, 200);
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success());

    database(&app).execute_batch("DROP TRIGGER passed; UPDATE attempts SET state = 'running'").unwrap();
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    assert_eq!(fs::read(app.path("out/a.txt")).unwrap(), b"content");
}

#[test]
fn a_run_that_cannot_be_recovered_does_not_block_others() {
    let mut app = app_killed_after_commit(&manifest("").replace("max_concurrent_runs = 2", "max_concurrent_runs = 1"));
    let rename = |app: &TestApp, from: &str, to: &str| {
        let sql = "UPDATE intents SET file = json_replace(file, '$.resource', ?2) WHERE file ->> 'resource' = ?1";
        assert_eq!(database(app).execute(sql, [from, to]).unwrap(), 1);
    };
    rename(&app, "out", "elsewhere");
    app.start();
    app.drop_file("raw/b.txt", b"other");
    // There is room for one run at a time.
    wait_until("the other run to end", || {
        app.try_get("/api/v1/runs/2").is_ok_and(|(_, run)| run["state"] == "succeeded")
    });
    app.wait_to_say("run #1 stays unfinished: `a.txt` of attempt ");
    assert_eq!(app.get("/api/v1/runs/1")["state"], "running");
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success());

    rename(&app, "elsewhere", "out");
    app.start();
    assert!(app.wait_for_runs(2).iter().all(|run| run["state"] == "succeeded"));
    assert_eq!(fs::read(app.path("out/a.txt")).unwrap(), b"content");
}
