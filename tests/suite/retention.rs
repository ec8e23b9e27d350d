//! `[retention]` and `anacostia gc`: what is removed, what stays, and what a `kill -9` leaves.

use std::fs;
use std::net::TcpListener;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::receiver::Receiver;
use crate::support::wait::wait_until;

/// A file that is dropped leads to a run, which copies it to a resource with the same path.
fn app(retention: &str) -> TestApp {
    let manifest = format!(
        r#"
manifest_version = 1
[pipeline]
name = "tidy"
{retention}
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
params = {{ steps = [
    {{ do = "copy", from = "inbox", to = "out", overwrite = true }},
    {{ do = "metrics", name = "loss", values = [0.5, 0.25], first_step = 1 }},
    {{ do = "log", message = "a line" }},
] }}
"#
    );
    let mut app = TestApp::new(&manifest).with_guest("worker");
    fs::create_dir(app.path("inbox")).unwrap();
    // Other tests may use the cache of this user.
    let cache = app.path("cache");
    app.set_env("XDG_CACHE_HOME", cache.to_str().unwrap());
    app
}

/// Drops files, one after the other, and waits for the run of each.
fn drop_files(app: &TestApp, paths: &[&str]) {
    let before = app.get_all("/api/v1/runs").len();
    for (nth, path) in paths.iter().enumerate() {
        app.drop_file(&format!("inbox/{path}"), format!("content {}", before + nth).as_bytes());
        app.wait_for_runs(before + nth + 1);
    }
}

fn numbers(app: &TestApp) -> Vec<u64> {
    app.get_all("/api/v1/runs").iter().map(|run| run["number"].as_u64().unwrap()).collect()
}

fn stop(app: &mut TestApp) {
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success());
}

#[track_caller]
fn is_whole(app: &TestApp) {
    let Output { status, stdout, stderr } = app.cli(&["store", "check", "PATH"]);
    assert!(status.success(), "{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
}

/// The number of records of each part.
fn counts(freed: &Value) -> Vec<(&str, u64)> {
    let parts = freed["records"].as_array().unwrap().iter();
    let parts = parts.map(|part| (part["name"].as_str().unwrap(), part["count"].as_u64().unwrap()));
    parts.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn gc_removes_what_its_dry_run_said_with_and_without_a_host() {
    for with_a_host in [true, false] {
        let mut app = app("[retention]\nruns = { keep_last = 2 }");
        app.start();
        // The first is replaced at its path, and the second is not.
        drop_files(&app, &["a.csv", "b.csv", "a.csv", "c.csv", "d.csv"]);
        if !with_a_host {
            stop(&mut app);
        }
        let told = app.cli_json(&["gc", "--dry-run", "--json", "PATH"]);
        assert_eq!(told, app.cli_json(&["gc", "--dry-run", "--json", "PATH"]), "nothing was removed");
        let done = app.cli_json(&["gc", "--json", "PATH"]);
        assert_eq!((&told["dry_run"], &done["dry_run"]), (&json!(true), &json!(false)));
        let but_for_that = |freed: &Value| {
            let mut freed = freed.clone();
            freed["dry_run"] = Value::Null;
            freed
        };
        assert_eq!(but_for_that(&told), but_for_that(&done));
        assert_eq!(counts(&done), [("runs", 1), ("attempts", 1), ("reads and writes", 2), ("metrics", 6)]);
        assert_eq!(done["trimmed_runs"], 2);
        let bytes = |part: &Value| part["bytes"].as_u64().unwrap();
        assert!(
            done["records"].as_array().unwrap().iter().filter(|part| part["count"] != 0).all(|part| bytes(part) > 0)
        );
        is_whole(&app);

        if !with_a_host {
            app.start();
        }
        assert_eq!(numbers(&app), [5, 4, 3, 2]);
        assert_eq!(app.try_get("/api/v1/runs/1").unwrap().0, 404);
        let [kept, trimmed] = ["5", "2"].map(|run| app.get(&format!("/api/v1/runs/{run}")));
        assert!(kept["trimmed_at"].is_null() && trimmed["trimmed_at"].is_string(), "{trimmed}");
        for (run, metrics) in [(5, 2), (2, 0)] {
            assert_eq!(app.get_all(&format!("/api/v1/metrics?run={run}")).len(), metrics);
            assert_eq!(app.get_all(&format!("/api/v1/runs/{run}/lineage")).len(), 2);
        }
        let shown = String::from_utf8(app.cli(&["runs", "show", "2", "PATH"]).stdout).unwrap();
        let why = "because it is old and only its lineage is needed";
        for text in [app.page_at("/runs/2"), shown.split_whitespace().collect::<Vec<_>>().join(" ")] {
            assert!(text.contains(why), "{text}");
        }
        // Artifacts of runs that are gone have their pages, and lead to no run that is not there.
        let artifacts = app.get_all("/api/v1/artifacts");
        assert_eq!(artifacts.len(), 10);
        for artifact in &artifacts {
            let id = artifact["id"].as_str().unwrap();
            assert!(!app.page_at(&format!("/artifacts/{id}")).contains("/runs/1\""), "{artifact}");
            app.get(&format!("/api/v1/artifacts/{id}"));
            app.get(&format!("/api/v1/artifacts/{id}/lineage"));
        }
        for page in ["/", "/resources/inbox", "/resources/out", "/actions/copy", "/runs", "/settings"] {
            app.page_at(page);
        }
        // Numbers go on, and what was claimed is not claimed again.
        drop_files(&app, &["e.csv"]);
        assert_eq!(numbers(&app), [6, 5, 4, 3, 2]);
    }
}

#[test]
fn gc_prints_a_table() {
    let mut app = app("[retention]\nruns = { keep_last = 1 }");
    app.start();
    drop_files(&app, &["a.csv", "a.csv", "b.csv"]);
    let print = |args: &[&str]| {
        let output = app.cli(args);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        // Sizes depend on the pages of the database.
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = text.lines().map(words).collect();
        let cut = |line: String| line.split_once(" about ").map_or(line.clone(), |(before, _)| before.to_owned());
        lines.into_iter().map(cut).collect::<Vec<_>>()
    };
    let before = print(&["gc", "--dry-run", "PATH"]);
    assert_eq!(before[..5], ["WOULD REMOVE COUNT SIZE", "runs 1", "attempts 1", "reads and writes 2", "metrics 4"]);
    assert_eq!(before[5..8], ["kept components 0 0 B", "log segments 0 0 B", "files of compiled code 0 0 B"]);
    assert!(before[8].starts_with("all "), "{before:?}");
    assert_eq!(
        before[9..],
        ["1 old run stays for the sake of lineage, and would lose its metrics, params, requests and denied calls."]
    );
    let after = print(&["gc", "PATH"]);
    assert_eq!((after[0].as_str(), &after[1..9]), ("REMOVED COUNT SIZE", &before[1..9]));
    assert_eq!(
        after[9..],
        [
            "1 old run stays for the sake of lineage, and lost its metrics, params, requests and denied calls.",
            "The store keeps the space of records for new ones."
        ]
    );
    assert_eq!(print(&["gc", "PATH"])[1], "kept components 0 0 B", "nothing is left to remove");
}

#[test]
fn a_host_removes_old_runs_by_age_and_keeps_tags_at_its_start() {
    let mut app = app("");
    let text = fs::read_to_string(app.path("anacostia.toml")).unwrap();
    let tagging = text.replace("steps = [", "steps = [\n    { do = \"tags\", entries = { release = \"1.0\" } },");
    fs::write(app.path("anacostia.toml"), tagging).unwrap();
    app.start();
    drop_files(&app, &["a.csv"]);
    stop(&mut app);
    fs::write(app.path("anacostia.toml"), &text).unwrap();
    app.start();
    drop_files(&app, &["a.csv", "a.csv"]);
    let ended = Instant::now();
    stop(&mut app);
    let with = |retention: &str| {
        let text = text.replace("name = \"tidy\"", &format!("name = \"tidy\"\n{retention}"));
        fs::write(app.path("anacostia.toml"), text).unwrap();
    };
    with("[retention]\nruns = { keep_for = \"90d\" }");
    assert_eq!(counts(&app.cli_json(&["gc", "--dry-run", "--json", "PATH"])), [], "none is old");
    with("[retention]\nruns = { keep_for = \"1s\", keep_tags = [\"release\"] }");
    wait_until("all runs to be old", || ended.elapsed() > Duration::from_secs(1));
    app.start();
    app.wait_to_say("removed 1 old runs, and the details of 1 whose lineage is needed");
    assert_eq!(numbers(&app), [3, 1], "the newest wrote what is there, and the first has the tag");
    assert!(app.get("/api/v1/runs/1")["trimmed_at"].is_null());
    is_whole(&app);
}

#[test]
fn a_run_stays_until_every_receiver_has_its_lineage() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let receiver = format!("[openlineage.server]\nurl = \"http://{address}/\"");
    let mut app = app(&format!("[retention]\nruns = {{ keep_last = 1 }}\n{receiver}"));
    app.set_env("NO_PROXY", "127.0.0.1");
    app.start();
    drop_files(&app, &["a.csv", "a.csv", "a.csv"]);
    app.wait_to_say("server does not take lineage");
    assert_eq!(counts(&app.cli_json(&["gc", "--json", "PATH"])), []);
    stop(&mut app);
    assert_eq!(counts(&app.cli_json(&["gc", "--json", "PATH"])), []);
    let receiver = Receiver::listen(TcpListener::bind(address).unwrap(), &[]);
    app.start();
    wait_until("all events", || receiver.received().len() >= 12);
    // The cursor is recorded after the delivery.
    wait_until("the runs to be removed", || {
        app.cli_json(&["gc", "--json", "PATH"]);
        numbers(&app) == [3]
    });
    let told: Vec<Value> =
        receiver.received().iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect();
    let ends = told.iter().filter(|event| event["job"]["name"] == "tidy" && event["eventType"] == "COMPLETE");
    assert_eq!(ends.count(), 3);
}

#[test]
fn gc_beside_running_runs_stops_none() {
    let mut app = app("[retention]\nruns = { keep_last = 1 }");
    app.start();
    drop_files(&app, &["a.csv"; 10]);
    let done = AtomicBool::new(false);
    let removed = std::thread::scope(|scope| {
        let gc = scope.spawn(|| {
            let mut removed = 0;
            for _ in 0..1_000 {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let freed = app.cli_json(&["gc", "--json", "PATH"]);
                removed += counts(&freed).first().map_or(0, |(_, runs)| *runs);
            }
            removed
        });
        // Runs are removed while these run, so they are found by what they wrote.
        for nth in 0..20 {
            let content = format!("beside {nth}");
            app.drop_file("inbox/a.csv", content.as_bytes());
            wait_until("its output", || fs::read(app.path("out/a.csv")).is_ok_and(|out| out == content.as_bytes()));
        }
        done.store(true, Ordering::Relaxed);
        gc.join().unwrap()
    });
    assert!(removed >= 9, "{removed}");
    wait_until("the last run to end", || {
        let runs = app.get_all("/api/v1/runs");
        runs.iter().all(|run| run["state"] == "succeeded") && runs[0]["number"] == 30
    });
    is_whole(&app);
}

#[test]
fn kill_9_in_the_middle_loses_nothing_that_is_kept() {
    for point in ["remove.in_transaction:1", "remove.committed:1", "remove.in_transaction:2", "remove.committed:2"] {
        let mut app = app("[retention]\nruns = { keep_last = 2 }");
        // Several transactions: 300 metrics in each run.
        let text = fs::read_to_string(app.path("anacostia.toml")).unwrap();
        let many = (0..300).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
        fs::write(app.path("anacostia.toml"), text.replace("[0.5, 0.25]", &format!("[{many}]"))).unwrap();
        app.start();
        drop_files(&app, &["a.csv", "b.csv", "a.csv", "c.csv"]);
        stop(&mut app);
        // The host removes old runs at its start.
        app.die_at(point);
        is_whole(&app);
        let kept = |app: &TestApp| {
            let runs = app.cli_json(&["runs", "list", "PATH", "--json"]);
            let runs = runs["items"].as_array().unwrap().clone();
            runs.into_iter().filter(|run| run["number"].as_u64() > Some(2)).collect::<Vec<_>>()
        };
        let before = kept(&app);
        assert_eq!(before.len(), 2, "{point}");
        app.start();
        wait_until("the rest to be removed", || numbers(&app) == [4, 3, 2]);
        wait_until("details to be removed", || app.get_all("/api/v1/metrics?run=2").is_empty());
        assert_eq!(kept(&app), before, "{point}");
        assert_eq!(app.get_all("/api/v1/metrics?run=4").len(), 300);
        is_whole(&app);
    }
}
