//! Actions that are cached. The real binary, real files, a real guest.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::guests::guest;

/// `clean` copies what arrives, `train` sums it up, with metrics and tags, and both are cached.
/// `report`, which is not, copies what `train` has made.
const MANIFEST: &str = r#"
manifest_version = 1
[pipeline]
name = "cached"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.cleaned]
kind = "folder"
path = "cleaned"
[resources.models]
kind = "folder"
path = "models"
[resources.reports]
kind = "folder"
path = "reports"
[actions.clean]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["cleaned"]
cache = true
params = { steps = [{ do = "copy", from = "raw", to = "cleaned", append = "!", overwrite = true }] }
[actions.train]
component = "worker.wasm"
after = ["clean"]
reads = ["cleaned"]
writes = ["models"]
cache = true
params = { lr = 0.1, steps = [
    { do = "summarise", from = "cleaned", to = "models", path = "summary.txt", overwrite = true },
    { do = "write", to = "models", path = "model.bin", bytes = 100000, overwrite = true, tag = "best", unique = true },
    { do = "metrics", name = "loss", values = [0.5, 0.25], first_step = 1 },
    { do = "params", entries = { optimizer = "sgd" } },
    { do = "tags", entries = { team = "x" } },
    { do = "done", text = "trained" },
] }
[actions.report]
component = "worker.wasm"
after = ["train"]
reads = ["models"]
writes = ["reports"]
params = { steps = [{ do = "copy", from = "models", to = "reports", overwrite = true }] }
"#;

/// Creates the pipeline, whose first run has succeeded.
fn done() -> TestApp {
    done_with(MANIFEST)
}

fn done_with(manifest: &str) -> TestApp {
    let mut app = TestApp::new(manifest).with_guest("worker");
    app.start();
    app.drop_file("raw/a.txt", b"1");
    let runs = app.wait_for_runs(1);
    assert_eq!(runs[0]["state"], "succeeded", "{runs:#?}");
    app
}

/// Starts a run on all that has arrived, again, waits for its end, and returns it.
fn again(app: &TestApp) -> Value {
    let output = app.cli(&["trigger", "PATH", "--inputs", "raw", "--wait", "--json"]);
    assert!(!output.stdout.is_empty(), "{output:?}");
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    app.get(&format!("/api/v1/runs/{}", run["number"]))
}

fn action<'r>(run: &'r Value, name: &str) -> &'r Value {
    run["actions"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{name}: {run:#}"))
}

/// The states of the actions.
fn states(run: &Value) -> Vec<&str> {
    run["actions"].as_array().unwrap().iter().map(|it| it["state"].as_str().unwrap()).collect()
}

/// Why the last attempt of an action ran, or did not.
fn why<'r>(run: &'r Value, name: &str) -> &'r str {
    let attempts = action(run, name)["attempts"].as_array().unwrap();
    attempts.last().unwrap()["cache"]["reason"].as_str().unwrap_or_else(|| panic!("{name}: {run:#}"))
}

/// What the attempts of a run have read and written: action, kind, place and bytes.
fn lineage(app: &TestApp, run: u64) -> Vec<(String, String, String, u64)> {
    let edges = app.get_all(&format!("/api/v1/runs/{run}/lineage"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let edge = |it: &Value| {
        let place = format!("{}/{}", text(&it["artifact"]["resource"]), text(&it["artifact"]["path"]));
        (text(&it["action"]), text(&it["kind"]), place, it["bytes"].as_u64().unwrap())
    };
    let mut edges: Vec<_> = edges.iter().map(edge).collect();
    edges.sort();
    edges
}

/// The facts of a run: name, value and step, in the order of recording.
fn facts(app: &TestApp, run: u64) -> Vec<(Value, Value, Value)> {
    let run = &app.get(&format!("/api/v1/runs/{run}"))["id"];
    let list = |kind: &str| {
        let mut items = app.get_all(&format!("/api/v1/{kind}?run={}", run.as_str().unwrap()));
        items.reverse();
        items.into_iter().map(|it| (it["name"].clone(), it["value"].clone(), it["step"].clone())).collect::<Vec<_>>()
    };
    ["metrics", "params", "tags"].iter().flat_map(|kind| list(kind)).collect()
}

/// What tells whether a file was written again.
fn files(app: &TestApp) -> Vec<(u64, i64, Vec<u8>)> {
    let file = |path| {
        let file = app.path(path);
        let about = fs::metadata(&file).unwrap();
        (about.ino(), about.mtime_nsec(), fs::read(file).unwrap())
    };
    ["cleaned/a.txt", "models/summary.txt", "models/model.bin"].map(file).to_vec()
}

fn edit(app: &TestApp, from: &str, to: &str) {
    let file = app.path("anacostia.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn a_second_run_on_the_same_data_has_the_results_of_the_first() {
    let app = done();
    let first = app.get("/api/v1/runs/1");
    assert_eq!(why(&first, "clean"), "ran: no earlier attempt of it is remembered");
    assert_eq!(action(&first, "report")["attempts"][0]["cache"], json!(null));
    let before = files(&app);

    let second = again(&app);
    assert_eq!((&second["state"], states(&second)), (&json!("succeeded"), vec!["cached", "cached", "succeeded"]));
    for name in ["clean", "train"] {
        let attempt = &action(&second, name)["attempts"][0];
        assert_eq!(why(&second, name), "cached: nothing that its result depends on has changed since run #1");
        assert_eq!(attempt["cache"]["attempt_id"], action(&first, name)["attempts"][0]["id"]);
        assert_eq!((&attempt["state"], &attempt["usage"]["host_calls"]), (&json!("succeeded"), &json!(0)));
    }
    assert_eq!(action(&second, "train")["reason"], "trained");
    assert_eq!(files(&app), before, "nothing was written again");
    assert_eq!(fs::read(app.path("reports/model.bin")).unwrap().len(), 100_000, "what comes after it goes on");
    assert_eq!(lineage(&app, 2), lineage(&app, 1));
    assert_eq!(facts(&app, 2), facts(&app, 1));
    assert_eq!(facts(&app, 2).len(), 4);
    let model = &app.get_all("/api/v1/artifacts?resource=models&path=model.bin")[0];
    assert_eq!((&model["tags"], &model["version"]), (&json!(["best"]), &json!(1)));

    // A run that was taken from the cache is no reason to run again.
    assert_eq!(states(&again(&app)), ["cached", "cached", "succeeded"]);
}

#[test]
fn people_are_told_why_an_action_ran_or_did_not() {
    let app = done();
    again(&app);
    let reason = "cached: nothing that its result depends on has changed since run #1";
    let output = app.cli(&["runs", "show", "2", "PATH"]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words.matches(&format!("cache {reason}")).count(), 2, "{shown}");
    assert!(words.contains("train ✓ cached"), "{shown}");
    let page = app.page_at("/runs/2");
    assert_eq!(page.matches(reason).count(), 2, "{page}");
    assert!(page.contains("2 of them without running."), "{page}");
    let page = app.page_at("/runs/1");
    assert_eq!(page.matches("ran: no earlier attempt of it is remembered").count(), 2, "{page}");
    let query = "SELECT action, cache, cached_from FROM attempts WHERE run = 2 ORDER BY action LIMIT 1";
    let row = app.cli_json(&["sql", query, "PATH", "--json"]);
    let first = app.get("/api/v1/runs/1");
    let from = &action(&first, "clean")["attempts"][0]["id"];
    assert_eq!(row, json!({ "action": "clean", "cache": reason, "cached_from": from }));
}

#[test]
fn each_part_of_the_fingerprint_counts() {
    let mut app = done();
    edit(&app, "lr = 0.1", "lr = 0.2");
    app.restart();
    let run = again(&app);
    assert_eq!(states(&run), ["cached", "succeeded", "succeeded"]);
    assert_eq!(why(&run, "train"), "ran: params changed: `lr` 0.1 → 0.2");

    edit(&app, "[actions.train]\n", "[actions.train]\nenv = { MODE = \"fast\" }\n");
    app.restart();
    let run = again(&app);
    assert_eq!(states(&run), ["cached", "succeeded", "succeeded"]);
    assert_eq!(why(&run, "train"), "ran: the manifest changed: `env`");

    // What was remembered before is not forgotten.
    edit(&app, "env = { MODE = \"fast\" }\n", "");
    edit(&app, "lr = 0.2", "lr = 0.1");
    app.restart();
    assert_eq!(states(&again(&app)), ["cached", "cached", "succeeded"]);

    fs::copy(guest("hooked"), app.path("worker.wasm")).unwrap();
    app.restart();
    let run = again(&app);
    assert_eq!(states(&run), ["succeeded", "succeeded", "succeeded"]);
    assert!(why(&run, "clean").starts_with("ran: its component changed: "), "{run:#}");
    // A param of the run counts as well as one of the manifest.
    let output = app.cli(&["trigger", "PATH", "--inputs", "raw", "--wait", "--json", "-p", "lr=7"]);
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = app.get(&format!("/api/v1/runs/{}", run["number"]));
    assert_eq!(why(&run, "train"), "ran: params changed: `lr` 0.1 → 7");
}

/// Each action asks for another thing.
const ASKING: &str = r#"
manifest_version = 1
[pipeline]
name = "asking"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[actions.reads]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
cache = true
params = { steps = [{ do = "read_range", from = "raw", path = "a.txt", length = 1 }] }
[actions.takes]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
cache = true
params = { steps = [{ do = "read", from = "raw" }] }
[actions.misses]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
cache = true
params = { steps = [{ do = "expect", code = "not-found", step = { do = "read_range", from = "raw", path = "b.txt", length = 1 } }] }
[actions.lists]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
cache = true
params = { steps = [{ do = "list", from = "raw" }] }
[actions.looks_back]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
cache = true
params = { steps = [{ do = "latest", name = "loss" }] }
[actions.measures]
component = "worker.wasm"
after = ["looks_back"]
reads = ["raw"]
cache = true
params = { steps = [{ do = "metrics", name = "loss", values = [0.5] }] }
[actions.finds_nothing]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
cache = true
params = { steps = [{ do = "latest", name = "nothing" }] }
"#;

#[test]
fn what_an_action_has_asked_for_must_have_the_same_answer() {
    let app = done_with(ASKING);
    for _ in 0..2 {
        // There is one value more each time.
        let run = again(&app);
        assert_eq!(states(&run), ["cached", "cached", "cached", "cached", "succeeded", "cached", "cached"]);
        assert_eq!(why(&run, "looks_back"), "ran: it read the metric `loss` of earlier runs, which has changed");
    }

    app.drop_file("raw/b.txt", b"2");
    app.wait_for_runs(4);
    let run = app.get("/api/v1/runs/4");
    assert_eq!(states(&run), ["cached", "succeeded", "failed", "succeeded", "succeeded", "cached", "cached"]);
    assert_eq!(why(&run, "takes"), "ran: its inputs in `raw` are others");
    assert_eq!(why(&run, "misses"), "ran: `raw/b.txt` was not there, and is now");
    assert_eq!(why(&run, "lists"), "ran: it listed `raw`, which has changed");

    app.drop_file("raw/a.txt", b"3");
    app.wait_for_runs(5);
    let run = app.get("/api/v1/runs/5");
    assert_eq!(states(&run), ["succeeded", "succeeded", "failed", "succeeded", "succeeded", "cached", "cached"]);
    assert_eq!(why(&run, "reads"), "ran: it read `raw/a.txt`, which has changed");

    // The content of before, in a new version, is the content of before.
    app.drop_file("raw/a.txt", b"1");
    app.wait_for_runs(6);
    let run = app.get("/api/v1/runs/6");
    assert_eq!(states(&run), ["cached", "cached", "failed", "cached", "succeeded", "cached", "cached"], "{run:#}");
}

/// Actions that use what is not on record; the second of each says that it does not matter.
const INFLUENCED: &str = r#"
manifest_version = 1
[pipeline]
name = "influenced"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[actions.clock]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
cache = true
params = { steps = [{ do = "clock" }] }
[actions.clock_ignored]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
cache = { ignore = ["clock"] }
params = { steps = [{ do = "clock" }] }
[actions.random]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
cache = true
params = { steps = [{ do = "random" }, { do = "clock" }] }
[actions.random_ignored]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
cache = { ignore = ["random", "clock"] }
params = { steps = [{ do = "random" }, { do = "clock" }] }
[actions.run]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
cache = true
params = { steps = [{ do = "log", message = "{run}" }] }
[actions.run_ignored]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
cache = { ignore = ["run"] }
params = { steps = [{ do = "log", message = "{run}" }] }
[actions.network]
component = "fetcher.wasm"
after = ["raw"]
reads = ["raw"]
cache = true
http = ["127.0.0.1:9"]
params = { asks = [{ host = "127.0.0.1:9" }] }
[actions.network_ignored]
component = "fetcher.wasm"
after = ["raw"]
reads = ["raw"]
cache = { ignore = ["network"] }
http = ["127.0.0.1:9"]
params = { asks = [{ host = "127.0.0.1:9" }] }
"#;

#[test]
fn what_is_not_on_record_keeps_an_action_from_being_cached_unless_it_does_not_matter() {
    let mut app = TestApp::new(INFLUENCED).with_guest("worker").with_guest("fetcher");
    app.start();
    app.drop_file("raw/a.txt", b"1");
    app.wait_for_runs(1);
    let run = again(&app);
    let expected = [
        ("clock", "the clock", "\"clock\""),
        ("random", "the clock and random numbers", "\"clock\", \"random\""),
        ("run", "the number or the times of its run", "\"run\""),
        ("network", "the network", "\"network\""),
    ];
    for (name, used, ignore) in expected {
        let wanted =
            format!("not cached: it used {used}; if that does not matter, write `cache = {{ ignore = [{ignore}] }}`");
        assert_eq!((action(&run, name)["state"].as_str(), why(&run, name)), (Some("succeeded"), wanted.as_str()));
        let ignored = action(&run, &format!("{name}_ignored"));
        assert_eq!(ignored["state"], "cached", "{ignored:#}");
    }
    // What was remembered under another rule is not used.
    edit(&app, "cache = { ignore = [\"run\"] }", "cache = true");
    app.restart();
    let run = again(&app);
    let reason = why(&run, "run_ignored");
    assert!(reason.starts_with("not cached: it used the number or the times of its run; "), "{reason}");
}

#[test]
fn an_action_whose_output_is_gone_runs() {
    let app = done();
    fs::remove_file(app.path("models/model.bin")).unwrap();
    let run = again(&app);
    assert_eq!(states(&run), ["cached", "succeeded", "succeeded"]);
    assert_eq!(
        why(&run, "train"),
        "ran: its output `models/model.bin` cannot be used: there is nothing at `model.bin` in models any more"
    );
    assert_eq!(fs::read(app.path("models/model.bin")).unwrap().len(), 100_000);

    fs::write(app.path("models/model.bin"), b"by hand").unwrap();
    let reason = why(&again(&app), "train").to_owned();
    let wanted =
        "ran: its output `models/model.bin` cannot be used: `model.bin` in models has changed since it was recorded: ";
    assert!(reason.starts_with(wanted), "{reason}");
    assert_eq!(states(&again(&app)), ["cached", "cached", "succeeded"]);

    // Another run has put other bytes there.
    app.drop_file("raw/a.txt", b"2");
    app.wait_for_runs(5);
    app.drop_file("raw/a.txt", b"1");
    app.wait_for_runs(6);
    let run = app.get("/api/v1/runs/6");
    assert_eq!(states(&run), ["succeeded", "succeeded", "succeeded"]);
    assert_eq!(why(&run, "clean"), "ran: its output `cleaned/a.txt` was replaced or moved since");
}

#[test]
fn an_action_that_is_done_again_in_its_run_does_not_take_what_it_did_before() {
    let app = done();
    again(&app);
    let output = app.cli(&["runs", "retry", "2", "PATH", "--from", "train"]);
    assert!(output.status.success(), "{output:?}");
    app.wait_for_runs(2);
    let run = app.get("/api/v1/runs/2");
    assert_eq!(states(&run), ["cached", "succeeded", "succeeded"]);
    assert_eq!(why(&run, "train"), "ran: the action is done again in this run");
}

#[test]
fn an_action_that_skips_the_rest_does_so_from_the_cache_too() {
    let steps = "{ do = \"done\", text = \"trained\" }";
    let app = done_with(&MANIFEST.replace(steps, "{ do = \"skip\", reason = \"not better\" }"));
    let run = again(&app);
    assert_eq!(states(&run), ["cached", "cached", "skipped"]);
    assert_eq!(action(&run, "train")["skip"], true);
    assert_eq!(action(&run, "report")["reason"], "train skipped the rest: not better");
}

#[test]
fn a_host_that_dies_while_it_takes_a_result_takes_it_as_a_whole() {
    let faults = [
        "attempt.begin",
        "intent.in_transaction",
        "intent.committed",
        "cache.committed",
        "published.in_transaction",
        "published.committed",
    ];
    let mut app = done();
    let before = files(&app);
    for (number, fault) in (2..).zip(faults) {
        app.kill();
        // The second action is the one with metrics and tags.
        app.set_env("ANACOSTIA_FAULT", &format!("{fault}:2"));
        app.start();
        app.unset_env("ANACOSTIA_FAULT");
        app.cli(&["trigger", "PATH", "--inputs", "raw"]);
        app.wait_for_end();
        app.start();
        app.wait_for_runs(number);
        let run = app.get(&format!("/api/v1/runs/{number}"));
        assert_eq!(states(&run), ["cached", "cached", "succeeded"], "{fault}: {run:#}");
        let number = number as u64;
        assert_eq!(facts(&app, number), facts(&app, 1), "{fault}");
        assert_eq!(lineage(&app, number), lineage(&app, 1), "{fault}");
    }
    assert_eq!(files(&app), before);
}
