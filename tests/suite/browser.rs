//! The pages in a real Chromium: what is seen, used and announced on every screen, in each state of
//! a pipeline. The scripts are in `tests/browser`.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::browser::run;
use crate::support::wait::{wait_for, wait_until};
use anacostia::base::Digest;

/// Returns the name of a file that would be a script, if a page believed it, and is as long as a
/// name can be.
fn hostile() -> String {
    format!("<img src=x onerror=alert(1)>&amp;'\"\u{202e}{}.csv", "x".repeat(160))
}

/// The token of a pipeline that has one.
const TOKEN: &str = "open sesame";

/// A pipeline whose second action needs approval.
fn gate() -> TestApp {
    gate_with("")
}

/// The same with these lines at the end of its manifest.
fn gate_with(more: &str) -> TestApp {
    let manifest = r#"
manifest_version = 1
[pipeline]
name = "gate"
max_concurrent_runs = 16
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = { max_artifacts = 1 }
[resources.out]
kind = "folder"
path = "out"
model = "gate"
[actions.train]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
retry = { max_attempts = 2 }
params = { steps = [
    { do = "log", message = "reading" },
    { do = "copy", from = "raw", to = "out" },
    { do = "metrics", name = "loss", values = [0.9, 0.5, 0.3], first_step = 1 },
] }
[actions.publish]
component = "worker.wasm"
after = ["train"]
reads = ["raw"]
approval = { who = "<b>data</b> team" }
params = { steps = [] }
[actions.tell]
component = "worker.wasm"
after = ["publish"]
reads = ["raw"]
params = { steps = [] }
"#;
    let app = TestApp::new(&format!("{manifest}{more}")).with_guest("worker");
    for folder in ["raw", "out"] {
        std::fs::create_dir(app.path(folder)).unwrap();
    }
    app
}

/// Returns the state of a run, and those of its actions.
fn states(app: &TestApp, run: u64) -> Vec<String> {
    let run = app.get(&format!("/api/v1/runs/{run}"));
    let actions = run["actions"].as_array().unwrap().iter();
    let all = [&run["state"]].into_iter().chain(actions.map(|action| &action["state"]));
    all.map(|state| state.as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn wait_for_states(app: &TestApp, run: u64, expected: &[&str]) {
    wait_for(&format!("run {run} to be {expected:?}"), || {
        (app.try_get(&format!("/api/v1/runs/{run}")).ok()?.0 == 200 && states(app, run) == expected).then_some(())
    });
}

/// Starts a run with these steps of all actions.
fn trigger(app: &TestApp, steps: &str) {
    let output = app.cli(&["trigger", "-p", &format!("steps={steps}"), "PATH"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Registers the input as the second version of the model, and moves an alias from the first to it.
fn register(app: &TestApp) {
    let input = app.get("/api/v1/artifacts?resource=raw")["items"][0]["id"].as_str().unwrap().to_owned();
    app.drop_file(
        "card.md",
        b"# Gate\n\n**Not for other birds.**\n\n| species | recall |\n|---|---|\n| adelie | 0.98 |\n",
    );
    let card = app.path("card.md");
    let commands: [&[&str]; 4] = [
        &["card", "gate", card.to_str().unwrap(), "PATH"],
        &["register", "gate", &input, "--note", "<b>as it came</b>", "PATH"],
        &["promote", "gate", "1", "production", "PATH"],
        &["promote", "gate", "2", "production", "--by", "<i>ann</i>", "PATH"],
    ];
    for command in commands {
        let output = app.cli(&[&["models"], command].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Runs that have succeeded after a retry, failed and were cancelled, one that waits for approval
/// and one that is running, newest last, with names that are hostile.
fn with_runs() -> TestApp {
    let waits = ["running", "succeeded", "awaiting_approval", "pending"];
    let mut app = gate();
    app.start();
    app.drop_file(&format!("raw/{}", hostile()), b"a,b\n1,2\n");
    wait_for_states(&app, 1, &waits);
    assert_eq!(app.post("/api/v1/runs/1/actions/publish/approve").0, 200);
    wait_for_states(&app, 1, &["succeeded"; 4]);
    register(&app);
    trigger(
        &app,
        r#"[{"do":"log","message":"reads the rows"},{"do":"fail","message":"<script>alert(2)</script> no such column: bill_length_mm"}]"#,
    );
    wait_for_states(&app, 2, &["failed", "failed", "skipped", "skipped"]);
    trigger(&app, r#"[{"do":"done"}]"#);
    wait_for_states(&app, 3, &waits);
    assert_eq!(app.post("/api/v1/runs/3/cancel").0, 200);
    wait_until("run 3 to be cancelled", || states(&app, 3)[0] == "cancelled");
    trigger(
        &app,
        r#"[{"do":"log","message":"one line of many","times":3000},{"do":"fail","attempts":1,"retryable":true}]"#,
    );
    wait_for_states(&app, 4, &waits);
    trigger(&app, r#"[{"do":"progress","fraction":0.4,"message":"epoch 4 of 10"},{"do":"await_cancel"}]"#);
    wait_for_states(&app, 5, &["running", "running", "pending", "pending"]);
    app
}

/// How many lines the log of [`huge`] has, and which of them says "a needle".
const LOG_LINES: (u64, u64) = (1_500_000, 90_123);

/// Run 1 has an attempt that has logged a line, and then many more, of which the host is told
/// nothing: it finds them when it starts again, as it finds those of an attempt that died with it.
fn huge() -> TestApp {
    let mut app = gate();
    app.start();
    trigger(&app, r#"[{"do":"log","message":"the first line"},{"do":"await_cancel"}]"#);
    // The second line is that of the wait.
    let second: Value = wait_for("the second line", || {
        let (status, log) = app.try_get("/api/v1/runs/1/logs").ok()?;
        (status == 200).then(|| log["items"].get(1).cloned()).flatten()
    });
    app.kill();
    let attempt = second["attempt"].as_str().unwrap();
    let bytes = write_log(&app.path("state/logs"), attempt, 3);
    assert!(bytes > 300_000_000, "{bytes} bytes");
    app.start();
    assert_eq!(app.post("/api/v1/runs/1/cancel").0, 200);
    wait_until("run 1 to be cancelled", || states(&app, 1)[0] == "cancelled");
    app
}

/// Writes the lines of an attempt into the segments of a log, from this number on, and returns how
/// many bytes they have.
fn write_log(folder: &Path, attempt: &str, from: u64) -> u64 {
    const SEGMENT_BYTES: u64 = 64 << 20;
    let (last, needle) = LOG_LINES;
    let (mut segment, mut in_segment, mut bytes) = (1, 0, 0);
    let open = |segment: u64| {
        let file = folder.join(format!("{segment:08}.jsonl"));
        BufWriter::new(OpenOptions::new().append(true).create(true).open(file).unwrap())
    };
    let head = format!("{{\"t\":\"2026-03-01T12:00:00.000000Z\",\"attempt\":\"{attempt}\",\"n\":");
    let mut file = open(segment);
    for n in from..=last {
        let text = if n == needle { "a needle" } else { "loss 0.123456789, accuracy 0.987654321" };
        let line = format!(
            "{head}{n},\"level\":\"info\",\"stream\":\"log\",\"text\":\"step {n} of a long training: {text}\"}}\n"
        );
        if in_segment > SEGMENT_BYTES {
            (segment, in_segment) = (segment + 1, 0);
            file = open(segment);
        }
        file.write_all(line.as_bytes()).unwrap();
        in_segment += line.len() as u64;
        bytes += line.len() as u64;
    }
    file.flush().unwrap();
    bytes
}

/// 100 resources and 200 actions: each resource has an action that reads it, and one that follows.
fn large() -> TestApp {
    let mut manifest = "manifest_version = 1\n[pipeline]\nname = \"large\"\n".to_owned();
    for number in 0..100 {
        write!(
            manifest,
            r#"
[resources.measurements-of-station-{number}]
kind = "folder"
path = "raw/{number}"
watch = true
[actions.clean-{number}]
component = "worker.wasm"
after = ["measurements-of-station-{number}"]
reads = ["measurements-of-station-{number}"]
[actions.report-{number}]
component = "worker.wasm"
after = ["clean-{number}"{}]
reads = ["measurements-of-station-{number}"]
"#,
            if number == 0 { String::new() } else { format!(", \"clean-{}\"", number - 1) }
        )
        .unwrap();
    }
    let app = TestApp::new(&manifest).with_guest("worker");
    for number in 0..100 {
        std::fs::create_dir_all(app.path(&format!("raw/{number}"))).unwrap();
    }
    app
}

/// Four actions after each other, each with a folder before and after it: with the store, ten
/// columns. Its runs take params.
fn chain() -> TestApp {
    let mut manifest = r#"
manifest_version = 1
[pipeline]
name = "chain"
[pipeline.params_schema.properties]
trees = { title = "Trees", type = "integer", minimum = 1 }
model = { enum = ["forest", "boosted"] }
"#
    .to_owned();
    for number in 0..5 {
        let watch = number == 0;
        write!(manifest, "[resources.folder-{number}]\nkind = \"folder\"\npath = \"{number}\"\nwatch = {watch}\n")
            .unwrap();
    }
    for (number, next) in (0..4).zip(1..) {
        let after = if number == 0 { "folder-0".to_owned() } else { format!("action-{}", number - 1) };
        write!(
            manifest,
            r#"
[actions.action-{number}]
component = "worker.wasm"
after = ["{after}"]
reads = ["folder-{number}"]
writes = ["folder-{next}"]
params = {{ steps = [] }}
"#
        )
        .unwrap();
    }
    let app = TestApp::new(&manifest).with_guest("worker");
    for number in 0..5 {
        std::fs::create_dir(app.path(&number.to_string())).unwrap();
    }
    app
}

/// A resource that takes uploads, whose action tries to write to it, which it may not.
fn inbox() -> TestApp {
    let manifest = r#"
manifest_version = 1
[pipeline]
name = "inbox"
[resources.inbox]
kind = "http"
push = true
watch = true
[triggers.yearly]
cron = "@yearly"
[actions.look]
component = "worker.wasm"
after = ["inbox"]
reads = ["inbox"]
params = { steps = [{ do = "expect", code = "denied", step = { do = "write", to = "inbox", path = "x" } }] }
"#;
    TestApp::new(manifest).with_guest("worker")
}

/// For scripts that ask for runs: starts one with these steps of all actions, and returns its
/// number.
fn start_run(app: &mut TestApp, steps: &str) -> String {
    trigger(app, steps);
    app.get("/api/v1/runs?limit=1")["items"][0]["number"].to_string()
}

/// For scripts that ask for nothing.
fn nothing(_: &mut TestApp, what: &str) -> String {
    panic!("a script asks for {what}")
}

#[test]
fn the_checks_find_what_they_are_for() {
    let mut app = gate();
    app.start();
    run("faults.mjs", &[], &mut app, nothing);
}

#[test]
fn every_screen_of_an_empty_pipeline() {
    let mut app = gate_with("[triggers.yearly]\ncron = \"@yearly\"\n");
    app.start();
    run("screens.mjs", &["empty"], &mut app, nothing);
}

#[test]
fn every_screen_of_a_pipeline_with_runs() {
    let mut app = with_runs();
    run("screens.mjs", &["full"], &mut app, nothing);
    run("screens.mjs", &["runs"], &mut app, nothing);
    run("pipeline.mjs", &[], &mut app, nothing);
    run("charts.mjs", &[], &mut app, nothing);
    run("nodes.mjs", &[], &mut app, nothing);
    run("keyboard.mjs", &[], &mut app, nothing);
    run("run.mjs", &[], &mut app, start_run);
}

#[test]
fn files_are_uploaded_and_moments_are_counted_down_to() {
    let mut app = inbox();
    app.start();
    run("inbox.mjs", &[], &mut app, nothing);
}

#[test]
fn the_login_of_a_pipeline_with_a_token() {
    let mut app = gate_with(&format!("[server]\ntoken_sha256 = \"{}\"\n", Digest::of(TOKEN.as_bytes())));
    app.start();
    run("screens.mjs", &["token"], &mut app, nothing);
    app.keep_address();
    run("login.mjs", &[TOKEN], &mut app, |app, what| {
        assert_eq!(what, "restart the host");
        app.restart();
        "done".to_owned()
    });
}

#[test]
fn every_screen_of_a_pipeline_with_three_hundred_nodes() {
    let mut app = large();
    app.start();
    run("screens.mjs", &["large"], &mut app, nothing);
    run("large.mjs", &[], &mut app, nothing);
}

#[test]
fn the_log_of_an_attempt_that_has_logged_very_much() {
    let mut app = huge();
    let (last, needle) = LOG_LINES;
    run("huge.mjs", &[&last.to_string(), &needle.to_string()], &mut app, nothing);
}

#[test]
fn a_graph_of_ten_columns_and_a_form_of_params() {
    let mut app = chain();
    app.start();
    run("starts.mjs", &[], &mut app, nothing);
}

#[test]
fn an_open_page_shows_what_happens_and_finds_the_next_host() {
    let mut app = gate();
    app.start();
    app.keep_address();
    run("live.mjs", &[], &mut app, |app, what| {
        match what {
            "stop the host" => app.kill(),
            "start a host" => app.start(),
            _ => panic!("the script asks for {what}"),
        }
        "done".to_owned()
    });
    let runs: Vec<Value> = app.get_all("/api/v1/runs");
    assert_eq!(runs.len(), 5, "{runs:?}");
}
