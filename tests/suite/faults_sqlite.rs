//! Failures of a store in SQLite: its database is locked, its disk is full, its thread has ended.
//! Those of the other stores are in `postgres_store` and `redis_store`.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::faults::{MANIFEST, not_ready, with_fault};
use crate::support::app::TestApp;
use crate::support::preload::preload;
use crate::support::wait::{wait_for, wait_until};

/// Sends a PUT, and returns its status, body and `Retry-After`.
fn put(app: &TestApp, path: &str) -> (u16, Value, Option<String>) {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30)));
    let agent: ureq::Agent = config.http_status_as_error(false).proxy(None).build().into();
    let mut response = agent.put(format!("{}{path}", app.url())).send_empty().unwrap();
    let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    let body = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), serde_json::from_str(&body).unwrap_or(Value::Null), retry_after)
}

#[test]
fn a_writer_of_records_that_has_ended_makes_the_host_unready_until_a_restart() {
    let mut app = with_fault("panic:published.committed:1");
    app.drop_file("raw/a.txt", b"content");
    let why =
        "nothing can be recorded: the metadata store failed to take a record: its thread has ended; restart the host";
    wait_until("the host not to be ready", || not_ready(&app).iter().any(|reason| reason == why));
    assert_eq!(put(&app, "/api/v1/runs/01996f4e-7c1b-7000-8000-000000000001").0, 503);
    app.kill();
    app.unset_env("ANACOSTIA_FAULT");
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    wait_until("the host to be ready", || not_ready(&app).is_empty());
}

/// Another program holds the lock on the database, for longer than SQLite waits for it.
#[test]
fn a_host_that_cannot_write_the_store_is_not_ready_and_recovers() {
    let mut app = TestApp::new(MANIFEST).with_guest("worker");
    app.start();
    app.drop_file("raw/a.txt", b"content");
    app.wait_for_runs(1);
    let foreign = rusqlite::Connection::open(app.path("state/metadata.db")).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();

    wait_until("an idle host not to be ready", || !not_ready(&app).is_empty());
    let run = "/api/v1/runs/01996f4e-7c1b-7000-8000-000000000001";
    let (status, body, retry_after) = put(&app, run);
    assert_eq!((status, retry_after.as_deref()), (503, Some("1")), "{body}");
    assert!(body["detail"].as_str().unwrap().starts_with("the metadata store failed to "), "{body}");
    assert_eq!(app.post("/api/v1/pipeline/pause").0, 503);
    app.drop_file("raw/b.txt", b"content");
    let locked = wait_for("the reason", || {
        let reasons = not_ready(&app).join("; ");
        (reasons.contains("nothing can be recorded since ") && reasons.contains("database is locked"))
            .then_some(reasons)
    });
    assert_eq!(app.try_get("/healthz").unwrap().0, 200, "{locked}");

    foreign.execute_batch("COMMIT").unwrap();
    wait_until("the host to be ready", || not_ready(&app).is_empty());
    assert_eq!(app.post("/api/v1/pipeline/resume").0, 200);
    assert!(matches!(put(&app, run).0, 200 | 201));
    wait_until("the file to be claimed", || {
        app.get_all("/api/v1/artifacts?resource=raw").iter().filter(|it| it["state"] == "old").count() == 2
    });
    assert!(app.wait_for_runs(2).iter().all(|run| run["state"] == "succeeded"));
}

/// A full disk under the records alone: the folders of the data have room.
#[test]
fn a_full_disk_makes_the_host_unready_until_there_is_room() {
    let mut app = TestApp::new(MANIFEST).with_guest("worker");
    let library = preload(&mut app, include_str!("faults/full.c"));
    let full = library.path().join("full");
    app.set_env("FULL_WHEN", full.to_str().unwrap());
    app.set_env("FULL_BELOW", app.folder().canonicalize().unwrap().join("state").to_str().unwrap());
    app.start();
    app.drop_file("raw/a.txt", b"content");
    app.wait_for_runs(1);

    fs::write(&full, "").unwrap();
    app.drop_file("raw/b.txt", b"content");
    let reason = wait_for("the host not to be ready", || {
        not_ready(&app).into_iter().find(|reason| reason.starts_with("nothing can be recorded since "))
    });
    let why = "Z: the metadata store failed to record what a resource saw: database or disk is full";
    assert!(reason.ends_with(why), "{reason}");
    let page = app.page();
    assert!(page.contains("<strong>Not ready.</strong>") && page.contains(why), "{page}");
    assert!(page.contains("</svg> not ready</span>") && !page.contains("starting"), "{page}");
    let run = "/api/v1/runs/01996f4e-7c1b-7000-8000-000000000001";
    let asked = Instant::now();
    let (status, body, retry_after) = put(&app, run);
    assert!(asked.elapsed() < Duration::from_secs(10), "it was answered after {:?}", asked.elapsed());
    assert_eq!((status, retry_after.as_deref()), (503, Some("1")), "{body}");
    assert!(body["detail"].as_str().unwrap().ends_with("database or disk is full"), "{body}");
    assert_eq!(app.try_get("/healthz").unwrap().0, 200);

    fs::remove_file(&full).unwrap();
    wait_until("the host to be ready", || not_ready(&app).is_empty());
    assert!(app.wait_for_runs(2).iter().all(|run| run["state"] == "succeeded"));
    assert_eq!(fs::read(app.path("out/b.txt")).unwrap(), b"content");
    assert!(matches!(put(&app, run).0, 200 | 201));
}
