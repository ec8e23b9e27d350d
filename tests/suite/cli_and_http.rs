//! `--json` of the command line prints exactly the values that the HTTP API returns.

use std::fs;

use serde_json::{Value, json};

use crate::support::app::TestApp;

/// An action that fails at first, logs with fields, is denied a call, logs metrics and writes; and
/// one that is skipped.
const PIPELINE: &str = r#"
manifest_version = 1

[pipeline]
name = "both"

[metadata_store]
path = "state/metadata.db"

[resources.inbox]
kind = "folder"
path = "inbox"
watch = true

[resources.out]
kind = "folder"
path = "out"

[actions.work]
component = "worker.wasm"
after = ["inbox"]
reads = ["inbox"]
writes = ["out"]
retry = { max_attempts = 2, backoff = "5ms" }
params = { steps = [
    { do = "log", message = "at it", times = 2 },
    { do = "fail", attempts = 1, retryable = true },
    { do = "metrics", name = "loss", values = [0.5, 0.25], first_step = 1 },
    { do = "copy", from = "inbox", to = "out" },
    { do = "tag_inputs", from = "inbox", tag = "seen" },
    { do = "skip", reason = "enough" },
] }

[actions.after]
component = "worker.wasm"
after = ["work"]
reads = ["inbox"]
"#;

fn app_after_run() -> TestApp {
    let mut app = TestApp::new(PIPELINE).with_guest("worker");
    fs::create_dir(app.path("inbox")).unwrap();
    app.start();
    for (count, name) in [(1, "a.txt"), (2, "b.txt")] {
        app.drop_file(&format!("inbox/{name}"), name.as_bytes());
        assert_eq!(app.wait_for_runs(count)[count - 1]["state"], "succeeded");
    }
    app
}

#[test]
fn cli_json_equals_the_http_response() {
    let app = app_after_run();
    let same = |args: &[&str], path: &str| {
        let (printed, answered) = (app.cli_json(args), app.get(path));
        assert_eq!(printed, answered, "{args:?} and {path}");
        answered
    };
    let runs = same(&["runs", "list", "PATH", "--limit", "1", "--json"], "/api/v1/runs?limit=1");
    assert!(runs["next_cursor"].is_string(), "{runs}");
    let run = same(&["runs", "show", "1", "PATH", "--json"], "/api/v1/runs/1");
    assert_eq!((run["inputs_count"].as_u64(), run["actions"][0]["attempts"].as_array().unwrap().len()), (Some(1), 2));
    same(&["artifacts", "list", "PATH", "--limit", "3", "--json"], "/api/v1/artifacts?limit=3");
    let of_run =
        same(&["artifacts", "list", "PATH", "--run", "1", "--limit", "50", "--json"], "/api/v1/artifacts?run=1");
    let id = of_run["items"][0]["id"].as_str().unwrap();
    same(&["artifacts", "show", "inbox/a.txt", "PATH", "--json"], &format!("/api/v1/artifacts/{id}"));
    let path = format!("/api/v1/artifacts/{id}/lineage");
    let whole = same(&["artifacts", "lineage", "inbox/a.txt", "PATH", "--json"], &path);
    assert_eq!(
        (&whole["artifacts"][0]["id"], &whole["attempts"][0]["run_number"]),
        (&json!(id), &json!(1)),
        "{whole:#}"
    );
    let args = ["artifacts", "lineage", "inbox/a.txt", "PATH", "--up", "--depth", "20", "--json"];
    let up = same(&args, &format!("{path}?direction=up&depth=20"));
    assert_eq!((&up["attempts"], &up["more"]), (&json!([]), &json!(false)), "no action wrote it: {up:#}");
    for (query, detail) in [
        ("depth=0", "`depth` is not valid: it must be 1 to 20"),
        (
            "direction=sideways",
            "`direction` is not valid: it is `up` (what the artifact was made from), `down` (what was made from it) or `both`",
        ),
    ] {
        let (status, body) = app.try_get(&format!("{path}?{query}")).unwrap();
        assert_eq!((status, &body["detail"]), (400, &json!(detail)), "{body:#}");
    }
}

#[test]
fn cli_log_lines_equal_the_http_response() {
    let app = app_after_run();
    let printed = app.cli(&["runs", "logs", "1", "PATH", "--json"]);
    let printed: Vec<Value> =
        std::str::from_utf8(&printed.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answered = app.get("/api/v1/runs/1/logs?limit=1000");
    let answered = answered["items"].as_array().unwrap();
    assert!(answered.iter().any(|line| line["fields"]["n"] == "2"), "{answered:#?}");
    assert_eq!(&printed, answered, "attempts run one after the other, so that the order is the same");
}

#[test]
fn cancel_prints_the_same_with_and_without_a_host() {
    let mut app = app_after_run();
    let beside = app.cli_json(&["runs", "cancel", "1", "PATH", "--json"]);
    app.kill();
    assert_eq!(app.cli_json(&["runs", "cancel", "1", "PATH", "--json"]), beside);
}

#[test]
fn a_run_is_shown_with_its_outputs_and_facts() {
    let app = app_after_run();
    let shown = app.cli(&["runs", "show", "1", "PATH"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("\nPublished\n  out/a.txt  v1  5 B  by work\n"), "{shown}");
    assert!(shown.contains("\nMetrics\n  loss  0.25  at step 2  by work\n"), "{shown}");
    let listed = app.cli(&["artifacts", "list", "PATH", "--run", "1"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let which: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(which, ["WHICH", "input", "output"], "{listed}");
}

#[test]
fn records_are_shown_even_if_the_manifest_has_errors() {
    let mut app = app_after_run();
    app.kill();
    let broken = PIPELINE
        .replace("path = \"out\"", "path = \"${NOBODY_SETS_THIS}/out\"")
        .replace("retry = ", "retries = ")
        .replace("after = [\"inbox\"]", "after = [\"inbox\"]\nbuild = { command = \"make\", watch = [\"nowhere\"] }");
    fs::write(app.path("anacostia.toml"), &broken).unwrap();
    for args in [
        &["runs", "list", "PATH"][..],
        &["runs", "show", "1", "PATH"],
        &["runs", "logs", "1", "PATH"],
        &["artifacts", "list", "PATH"],
        &["artifacts", "show", "out/a.txt", "PATH"],
        &["artifacts", "cat", "inbox/a.txt", "PATH"],
    ] {
        let output = app.cli(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {error}");
        assert!(error.starts_with("warning: ") && error.lines().count() == 1, "{args:?}: {error}");
        assert!(error.contains("`NOBODY_SETS_THIS` is not set (and 1 more)"), "{args:?}: {error}");
    }
    // An incomplete line, as while someone is editing the manifest: the table of the store is
    // there.
    fs::write(app.path("anacostia.toml"), format!("{PIPELINE}\nafter = [\n")).unwrap();
    assert_eq!(app.cli(&["runs", "list", "PATH"]).status.code(), Some(0));
    // The location of the records is not guessed.
    for wrong in ["path = \"${NOBODY_SETS_THIS}/metadata.db\"", "file = \"state/metadata.db\"", "kind = \"redis\""] {
        fs::write(app.path("anacostia.toml"), PIPELINE.replace("path = \"state/metadata.db\"", wrong)).unwrap();
        assert_eq!(app.cli(&["runs", "list", "PATH"]).status.code(), Some(2), "{wrong}");
    }
}
