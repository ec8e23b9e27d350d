//! `anacostia store copy`: a history goes on in another kind of store.

mod kinds;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::postgres::Database;
use crate::support::redis_server;

/// Its action reads, writes, logs and records facts.
const PIPELINE: &str = r#"
manifest_version = 1
[pipeline]
name = "moved"
[resources.inbox]
kind = "folder"
path = "inbox"
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.copy]
component = "worker.wasm"
after = ["inbox"]
reads = ["inbox"]
writes = ["out"]
params = { steps = [
    { do = "copy", from = "inbox", to = "out", overwrite = true },
    { do = "metrics", name = "loss", values = [0.5, 0.25], first_step = 1 },
    { do = "log", message = "a line to keep" },
] }
"#;

/// A pipeline with two runs, whose host has stopped.
fn with_history() -> TestApp {
    let mut app = TestApp::new(PIPELINE).with_guest("worker");
    fs::create_dir(app.path("inbox")).unwrap();
    app.start();
    app.drop_file("inbox/a.csv", b"12345");
    app.wait_for_runs(1);
    app.drop_file("inbox/b.csv", b"678");
    app.wait_for_runs(2);
    stop(&mut app);
    app
}

/// The URL of the Redis server, and a prefix of keys that no other test has.
fn keys() -> (String, String) {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let prefix = format!("copy-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    (format!("redis://127.0.0.1:{}", redis_server::server().port), prefix)
}

/// Lines of a manifest that name keys as the store.
fn in_redis((url, prefix): &(String, String)) -> String {
    format!("kind = \"redis\"\nurl = \"{url}\"\nprefix = \"{prefix}\"")
}

/// How messages name keys.
fn keys_place((url, prefix): &(String, String)) -> String {
    format!("the keys `{{{prefix}}}:*` in {url}")
}

fn stop(app: &mut TestApp) {
    app.signal(rustix::process::Signal::TERM);
    assert!(app.wait_for_end().success());
}

/// Writes the manifest `name` with its records in `store`.
fn manifest(app: &TestApp, name: &str, store: &str) -> String {
    let path = app.path(name);
    fs::write(&path, format!("{PIPELINE}[metadata_store]\n{store}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs `anacostia store copy`; returns its exit code, its result and its messages.
fn copy(app: &TestApp, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = app.cli(&[&["store", "copy"], args].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// All that commands tell of a history.
fn history(app: &TestApp, path: &str) -> Vec<Value> {
    let ask = |args: &[&str]| app.cli_json(&[args, &[path, "--json"]].concat());
    let mut told = vec![ask(&["runs", "list"]), ask(&["artifacts", "list"])];
    let runs = told[0]["items"].as_array().unwrap();
    told.extend(runs.iter().map(|run| ask(&["runs", "show", run["id"].as_str().unwrap()])).collect::<Vec<_>>());
    let artifacts = told[1]["items"].as_array().unwrap();
    let lineage = artifacts.iter().map(|it| ask(&["artifacts", "lineage", it["id"].as_str().unwrap()]));
    told.extend(lineage.collect::<Vec<_>>());
    let models = ask(&["models", "list"]);
    let names: Vec<_> = models["items"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    told.extend(names.iter().map(|name| ask(&["models", "show", name])).collect::<Vec<_>>());
    told.push(models);
    told.push(ask(&["store", "check"]));
    told
}

#[test]
fn a_history_goes_to_a_server_and_back_and_on_and_nothing_is_done_again() {
    let mut app = with_history();
    let data = Database::new();
    let old = manifest(&app, "old.toml", "kind = \"sqlite\"");
    let server = manifest(&app, "server.toml", &format!("kind = \"postgres\"\nurl = \"{}\"", data.url()));
    let back = manifest(&app, "back.toml", "path = \"state/back.db\"");
    let before = history(&app, &old);
    assert_eq!(before.last().unwrap()["whole"], true);

    let (code, said, then) = copy(&app, &[&old, &server]);
    assert_eq!(code, Some(0), "{then}");
    let state = app.path("state").canonicalize().unwrap();
    let place = format!("the schema `anacostia` in {}", data.url());
    assert_eq!(
        then,
        format!(
            "Copying {}/metadata.db to {place}\n\
             All records were read back from {place}, and are the same. To go on with them, name it in \
             `[metadata_store]` of the manifest, and start the host.\n",
            state.display()
        )
    );
    let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["RECORDS", "COUNT", "DIGEST"]);
    let count = |kind: &str| rows.iter().find(|row| row[0] == kind).map(|row| row[1]);
    assert_eq!([count("runs"), count("artifacts"), count("metrics")], [Some("2"), Some("4"), Some("4")]);
    assert_eq!(history(&app, &server), before);

    let there = app.cli_json(&["store", "copy", &format!("{}?schema=anacostia", data.url()), &back, "--json"]);
    assert_eq!(there["from"], place);
    let counts: Vec<_> = there["items"].as_array().unwrap().iter().filter(|item| item["kind"] == "runs").collect();
    assert_eq!(counts[0]["count"], 2);
    let digests = |copied: &Value| copied["items"].clone();
    let file = app.path("state/once_more.db");
    let again = app.cli_json(&["store", "copy", &back, file.to_str().unwrap(), "--json"]);
    assert_eq!(digests(&again), digests(&there));
    assert_eq!(history(&app, &back), before);
    assert!(!app.path("state/back.db-copy").exists());

    // Each copy goes on, and works on nothing again.
    for store in [&server, &back] {
        fs::copy(store, app.path("anacostia.toml")).unwrap();
        app.start();
        let content = store.as_bytes();
        app.drop_file("inbox/c.csv", content);
        assert_eq!(app.wait_for_runs(3).last().unwrap()["number"], 3);
        assert_eq!(fs::read(app.path("out/c.csv")).unwrap(), content);
        let inputs = app.get_all("/api/v1/artifacts?resource=inbox");
        assert_eq!(inputs.len(), 3, "{inputs:?}");
        let log = String::from_utf8(app.cli(&["runs", "logs", "1", "PATH"]).stdout).unwrap();
        assert!(log.contains("a line to keep"), "{log}");
        stop(&mut app);
        assert_eq!(app.cli_json(&["store", "check", "PATH", "--json"])["whole"], true);
        // The other copy does not know it.
        fs::remove_file(app.path("inbox/c.csv")).unwrap();
        fs::remove_file(app.path("out/c.csv")).unwrap();
    }
}

#[test]
fn a_copy_beside_a_host_is_of_one_moment_and_says_what_it_lacks() {
    let mut app = with_history();
    app.start();
    let file = app.path("copy.db");
    let (code, _, then) = copy(&app, &["PATH", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{then}");
    assert!(then.contains("warning: a host is running on "), "{then}");
    assert!(then.contains("): what it recorded since the copy began is only in "), "{then}");
    let copied = manifest(&app, "copied.toml", "path = \"copy.db\"");
    assert_eq!(history(&app, &copied), history(&app, "PATH"));
}

#[test]
fn redis_shows_no_moment_while_a_host_writes() {
    let mut app = with_history();
    let keys = keys();
    let there = manifest(&app, "there.toml", &in_redis(&keys));
    assert_eq!(copy(&app, &["PATH", &there]).0, Some(0));
    fs::copy(&there, app.path("anacostia.toml")).unwrap();
    app.start();
    let file = app.path("copy.db");
    let (code, _, then) = copy(&app, &["PATH", file.to_str().unwrap()]);
    assert_eq!(code, Some(2), "{then}");
    let why = then.lines().last().unwrap();
    assert!(why.starts_with(&format!("error: {} is in use by process {} on ", keys_place(&keys), app.pid())), "{why}");
    assert!(why.ends_with("stop that host, and copy them then"), "{why}");
    assert!(!file.exists());
    stop(&mut app);
    assert_eq!(copy(&app, &["PATH", file.to_str().unwrap()]).0, Some(0));
}

#[test]
fn a_store_with_records_takes_no_copy_and_one_without_gives_none() {
    let mut app = with_history();
    let data = Database::new();
    let server = manifest(&app, "server.toml", &format!("kind = \"postgres\"\nurl = \"{}\"", data.url()));
    let state = app.path("state").canonicalize().unwrap();
    let old = app.path("state/metadata.db");
    let old = old.to_str().unwrap();
    let nothing = |place: &str| (Some(2), String::new(), format!("error: nothing is on record in {place}\n"));
    let last_line = |(code, said, then): (Option<i32>, String, String)| {
        (code, said, then.lines().last().unwrap().to_owned() + "\n")
    };
    let none = app.path("none.db");
    let none = none.to_str().unwrap();
    assert_eq!(last_line(copy(&app, &[none, "PATH"])), nothing(none));
    let place = format!("the schema `anacostia` in {}", data.url());
    assert_eq!(last_line(copy(&app, &[&server, none])), nothing(&place));
    let keys = keys();
    let redis = format!("{}?prefix={}", keys.0, keys.1);
    assert_eq!(last_line(copy(&app, &[&redis, none])), nothing(&keys_place(&keys)));
    assert!(!app.path("none.db").exists());

    let full = |place: &str| {
        let why = "has records already; copy to a store in which nothing is on record yet: name another one, or remove \
                   this one first";
        (Some(2), String::new(), format!("error: {place} {why}\n"))
    };
    assert_eq!(copy(&app, &[old, &server]).0, Some(0));
    assert_eq!(last_line(copy(&app, &[old, &server])), full(&place));
    assert_eq!(copy(&app, &[old, &redis]).0, Some(0));
    assert_eq!(last_line(copy(&app, &[&server, &redis])), full(&keys_place(&keys)));
    assert_eq!(last_line(copy(&app, &[old, old])), full(old));
    assert_eq!(last_line(copy(&app, &[&server, "PATH"])), full(&format!("{}/metadata.db", state.display())));
    app.start();
    let (code, _, why) = last_line(copy(&app, &[&server, "PATH"]));
    assert_eq!(code, Some(2));
    assert!(why.contains("/metadata.db is in use by process "), "{why}");

    let url = "error: the URL must not have a password in it; remove it, and set the variable `PGPASSWORD`\n";
    let open = "postgres://anna:secret@127.0.0.1/lab";
    assert_eq!(copy(&app, &[open, none]), (Some(2), String::new(), url.to_owned()));
    let schema = "error: `No` is not a name for a schema; it may have letters from a to z, digits and `_`, does not begin \
                  with a digit, and has at most 63 characters\n";
    let named = "postgres://anna@127.0.0.1/lab?schema=No";
    assert_eq!(copy(&app, &[named, none]), (Some(2), String::new(), schema.to_owned()));
    app.set_env("PGPASSWORD", "secret");
    let (code, _, why) = copy(&app, &["postgres://anna@db.example.com/lab", none]);
    assert_eq!(code, Some(2));
    let sent = "error: the password in `PGPASSWORD` would be sent without TLS to another machine; end the URL with";
    assert!(why.starts_with(sent), "{why}");
    for (named, why) in [
        (
            "redis://anna:secret@127.0.0.1",
            "the URL must not have a password in it; remove it, and set the variable `REDIS_PASSWORD`",
        ),
        ("redis://127.0.0.1?database=1", "the URL of a Redis server has no option but `prefix` here"),
        ("redis://127.0.0.1?prefix=a:b", "`a:b` is not a prefix of keys; "),
        (
            "redis://cache.example.com",
            "the password in `REDIS_PASSWORD` would be sent without TLS to another machine; begin the URL with `rediss://`",
        ),
    ] {
        app.set_env("REDIS_PASSWORD", "secret");
        let (code, _, said) = copy(&app, &[named, none]);
        assert_eq!(code, Some(2));
        assert!(said.starts_with(&format!("error: {why}")), "{said}");
        app.unset_env("REDIS_PASSWORD");
    }
    let other = "error: this is not the URL of a PostgreSQL database; write \"postgres://anna@db.example.com/lab\"\n";
    assert_eq!(copy(&app, &["mysql://lab", none]), (Some(2), String::new(), other.to_owned()));
}

#[test]
fn a_copy_that_was_killed_is_refused_by_a_host_and_made_anew() {
    let mut app = with_history();
    let data = Database::new();
    let old = app.path("state/metadata.db");
    let old = old.to_str().unwrap();
    let server = |schema: &str| format!("kind = \"postgres\"\nurl = \"{}\"\nschema = \"{schema}\"", data.url());
    let expected = history(&app, "PATH");
    for (nth, point) in ["copy.written:1", "copy.written:9", "copy.verified"].into_iter().enumerate() {
        let keys = keys();
        let stores = [
            (in_redis(&keys), keys_place(&keys)),
            (server(&format!("killed_{nth}")), format!("the schema `killed_{nth}` in {}", data.url())),
            (format!("path = \"killed_{nth}.db\""), app.path(&format!("killed_{nth}.db")).display().to_string()),
        ];
        for (store, place) in stores {
            let to = manifest(&app, "to.toml", &store);
            app.set_env("ANACOSTIA_FAULT", point);
            let killed = app.cli(&["store", "copy", old, &to]);
            app.unset_env("ANACOSTIA_FAULT");
            assert_eq!(killed.status.signal(), Some(9), "{point}");
            let why = format!(
                "error: the metadata store is not readable: {place}: it is to become a copy of {old}, and the copy is not \
                 complete: it is still being made, or was interrupted; if nothing makes it any more, run the same `anacostia \
                 store copy` again, which begins anew\n"
            );
            for verb in [&["run", "--listen", "127.0.0.1:0", &to][..], &["runs", "list", &to], &["store", "check", &to]]
            {
                let refused = app.cli(verb);
                let told = String::from_utf8(refused.stderr).unwrap();
                assert_eq!(refused.status.code(), Some(1), "{point}: {verb:?}: {told}");
                assert!(told.ends_with(&why), "{point}: {verb:?}: {told}\n{why}");
            }
            let (code, _, then) = copy(&app, &[old, &to]);
            assert_eq!(code, Some(0), "{point}: {then}");
            assert_eq!(history(&app, &to), expected, "{point}");
        }
    }
    // Once it is complete, it is a store.
    let to = manifest(&app, "to.toml", &server("completed"));
    app.set_env("ANACOSTIA_FAULT", "copy.completed");
    assert_eq!(app.cli(&["store", "copy", old, &to]).status.signal(), Some(9));
    app.unset_env("ANACOSTIA_FAULT");
    assert_eq!(history(&app, &to), expected);
    assert_eq!(expected.last().unwrap(), &json!({"whole": true, "wrong": []}));
}
