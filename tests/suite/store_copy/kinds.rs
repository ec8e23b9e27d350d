//! A history with records of many kinds goes over every kind of store, and on.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::{copy, history, in_redis, keys, keys_place, stop};
use crate::support::app::TestApp;
use crate::support::postgres::Database;
use crate::support::wait::wait_until;

/// `work` is cached, `probe` is denied something, and `tell` waits until someone decides. The
/// receiver of notifications does not listen.
const PIPELINE: &str = r#"
manifest_version = 1
[pipeline]
name = "moved"
max_concurrent_runs = 4
[resources.inbox]
kind = "folder"
path = "inbox"
watch = true
[resources.out]
kind = "folder"
path = "out"
model = "moved"
[triggers.drift]
metric = { name = "loss", changed_by = 5 }
[actions.work]
component = "worker.wasm"
after = ["inbox"]
reads = ["inbox"]
writes = ["out"]
cache = true
params = { steps = [
    { do = "copy", from = "inbox", to = "out", overwrite = true },
    { do = "tag_inputs", from = "inbox", tag = "seen" },
    { do = "metrics", name = "loss", values = [0.5, 0.25], first_step = 1 },
    { do = "params", entries = { optimizer = "sgd" } },
    { do = "tags", entries = { team = "x" } },
    { do = "log", message = "a line to keep" },
] }
[actions.probe]
component = "worker.wasm"
after = ["work"]
reads = ["inbox"]
params = { steps = [{ do = "expect", code = "denied", step = { do = "write", to = "inbox", path = "x" } }] }
[actions.tell]
component = "worker.wasm"
after = ["probe"]
reads = ["out"]
approval = { who = "data team" }
params = { steps = [{ do = "done", text = "told" }] }
[notify.ops]
kind = "webhook"
url = "http://127.0.0.1:1"
secret = "env:HOOK_KEY"
on = ["run_succeeded"]
"#;

/// The kinds of which this history has no records: the library copies those.
const ABSENT: [&str; 4] = ["cursors", "intents", "requests", "told_outages"];

fn approve(app: &TestApp, run: u64) {
    wait_until("an action to wait for approval", || {
        app.get_all("/api/v1/approvals").iter().any(|it| it["run_number"] == run)
    });
    assert!(app.cli(&["runs", "approve", &run.to_string(), "PATH"]).status.success());
    wait_until("a run to succeed", || {
        app.get_all("/api/v1/runs").iter().any(|it| it["number"] == run && it["state"] == "succeeded")
    });
}

/// A pipeline with two runs that have succeeded and one that waits, whose host has stopped.
fn with_history() -> TestApp {
    let mut app = TestApp::new(PIPELINE).with_guest("worker");
    app.set_env("USER", "ann");
    app.set_env("HOOK_KEY", "k");
    fs::create_dir(app.path("inbox")).unwrap();
    app.start();
    app.drop_file("inbox/a.csv", b"12345");
    approve(&app, 1);
    let output = app.cli(&["trigger", "PATH", "--inputs", "inbox", "-p", "lr=0.2"]);
    assert!(output.status.success(), "{output:?}");
    approve(&app, 2);
    assert!(app.cli(&["models", "promote", "moved", "1", "production", "PATH"]).status.success());
    fs::rename(app.path("inbox/a.csv"), app.path("inbox/b.csv")).unwrap();
    wait_until("the new name to be on record", || {
        app.get_all("/api/v1/artifacts?resource=inbox").iter().any(|it| it["path"] == "b.csv")
    });
    app.drop_file("inbox/c.csv", b"678");
    wait_until("the third run to wait", || app.get_all("/api/v1/approvals").iter().any(|it| it["run_number"] == 3));
    assert!(app.cli(&["pause", "PATH", "--resource", "inbox", "--reason", "inventory"]).status.success());
    stop(&mut app);
    app
}

/// Writes the manifest `name` with its records in `store`.
fn manifest(app: &TestApp, name: &str, store: &str) -> String {
    let path = app.path(name);
    fs::write(&path, format!("{PIPELINE}[metadata_store]\n{store}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Copies a store, and returns what was copied.
fn copied(app: &TestApp, from: &str, to: &str) -> Vec<Value> {
    let (code, said, then) = copy(app, &[from, to, "--json"]);
    assert_eq!(code, Some(0), "{from} {to}: {then}");
    let copied: Value = serde_json::from_str(&said).unwrap();
    copied["items"].as_array().unwrap().clone()
}

#[test]
fn a_history_goes_over_every_kind_of_store_and_on_from_each() {
    let mut app = with_history();
    let (keys, data) = (keys(), Database::new());
    let redis = manifest(&app, "redis.toml", &in_redis(&keys));
    let server = manifest(&app, "server.toml", &format!("kind = \"postgres\"\nurl = \"{}\"", data.url()));
    let back = manifest(&app, "back.toml", "path = \"state/back.db\"");
    let before = history(&app, "PATH");

    let first = copied(&app, "PATH", &redis);
    let none = first.iter().filter(|of| of["count"] == 0).map(|of| of["kind"].as_str().unwrap());
    assert_eq!(none.collect::<BTreeSet<_>>(), BTreeSet::from(ABSENT));
    assert_eq!(history(&app, &redis), before);
    let from_redis = format!("{}?prefix={}", keys.0, keys.1);
    assert_eq!(copied(&app, &from_redis, &server), first);
    assert_eq!(copied(&app, &server, &back), first);
    let (again, there) = (super::keys(), app.path("from_redis.db"));
    assert_eq!(copied(&app, &redis, there.to_str().unwrap()), first);
    assert_eq!(copied(&app, &server, &format!("{}?prefix={}", again.0, again.1)), first);
    for store in [&server, &back, &manifest(&app, "again.toml", &in_redis(&again))] {
        assert_eq!(history(&app, store), before, "{store}");
    }
    let (_, _, then) = copy(&app, &["PATH", &redis]);
    assert!(then.contains(&format!("error: {} has records already; ", keys_place(&keys))), "{then}");

    // The run that waits goes on where it was, and new ones follow.
    for store in [&redis, &back, &server] {
        fs::copy(store, app.path("anacostia.toml")).unwrap();
        app.start();
        assert_eq!(app.get("/api/v1/pipeline")["paused_nodes"][0]["reason"], "inventory", "{store}");
        assert!(app.cli(&["resume", "PATH", "--resource", "inbox"]).status.success());
        approve(&app, 3);
        app.drop_file("inbox/d.csv", store.as_bytes());
        approve(&app, 4);
        let runs = app.get_all("/api/v1/runs");
        let numbers: Vec<_> = runs.iter().map(|run| run["number"].clone()).collect();
        assert_eq!(numbers, [4, 3, 2, 1], "{store}");
        let run = app.get(&format!("/api/v1/runs/{}", runs[0]["id"].as_str().unwrap()));
        assert_eq!(run["inputs"].as_array().unwrap().len(), 1, "nothing is done again: {run:#}");
        assert_eq!(fs::read(app.path("out/d.csv")).unwrap(), store.as_bytes());
        let log = String::from_utf8(app.cli(&["runs", "logs", "1", "PATH"]).stdout).unwrap();
        assert!(log.contains("a line to keep"), "{log}");
        stop(&mut app);
        assert_eq!(app.cli_json(&["store", "check", "PATH", "--json"]), json!({"whole": true, "wrong": []}));
        // The other copies do not know it.
        fs::remove_file(app.path("inbox/d.csv")).unwrap();
        fs::remove_file(app.path("out/d.csv")).unwrap();
    }
}
