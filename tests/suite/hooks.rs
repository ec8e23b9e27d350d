//! Hooks in a real host: which are called, in which order, what they may do, and that no hook
//! affects anything outside of its attempt.

use std::fs;

use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::wait::wait_until;

/// A pipeline of these actions, all of the guest `hooked`: their names, further keys, steps, and
/// hooks.
fn manifest(actions: &[(&str, &str, &str, &str)]) -> String {
    let mut text = String::from(
        r#"
manifest_version = 1
[pipeline]
name = "hooks"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.out]
kind = "folder"
path = "out"
"#,
    );
    for (name, keys, steps, hooks) in actions {
        text += &format!(
            r#"
[actions.{name}]
component = "hooked.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
params = {{ steps = [{steps}], hooks = {{ {hooks} }} }}
{keys}
"#
        );
    }
    text
}

/// Starts a host for such a pipeline, and waits until its one run has ended.
fn app_after_run(actions: &[(&str, &str, &str, &str)]) -> TestApp {
    let mut app = TestApp::new(&manifest(actions)).with_guest("hooked");
    app.start();
    app.drop_file("raw/a.csv", b"1,2\n");
    app.wait_for_runs(1);
    app
}

/// Returns the attempts of an action in run 1.
fn attempts(app: &TestApp, action: &str) -> Vec<Value> {
    let run = app.get("/api/v1/runs/1");
    let found = run["actions"].as_array().unwrap().iter().find(|a| a["name"] == action);
    found.unwrap()["attempts"].as_array().unwrap().clone()
}

/// Returns the only attempt of an action in run 1.
#[track_caller]
fn attempt(app: &TestApp, action: &str) -> Value {
    let [attempt] = attempts(app, action).try_into().expect("one attempt");
    attempt
}

/// Returns the log lines of an action in run 1: lines of the guest unchanged, lines of the host
/// after `host: `, each cut after its first line.
fn lines(app: &TestApp, action: &str) -> Vec<String> {
    let lines = app.get_all(&format!("/api/v1/runs/1/logs?action={action}"));
    let said = |line: &Value| {
        let text = line["text"].as_str().unwrap();
        if line["stream"] == "host" { format!("host: {text}") } else { text.to_owned() }
    };
    lines.iter().map(said).collect()
}

fn has(lines: &[String], start: &str) -> bool {
    lines.iter().any(|line| line.starts_with(start))
}

#[test]
fn hooks_are_called_around_the_run_with_its_outcome() {
    let log = r#"{ do = "log", message = "at work" }"#;
    let app = app_after_run(&[
        (
            "works",
            "",
            &format!(r#"{log}, {{ do = "write", to = "out", path = "run.txt", text = "run" }}"#),
            r#"before_run = [{ do = "write", to = "out", path = "before.txt", text = "before" }],
               on_success = [{ do = "read", from = "raw" }, { do = "tags", entries = { went = "well" } }],
               after_run = [{ do = "metrics", name = "calls", values = [4.0] }]"#
                .replace('\n', " ")
                .as_str(),
        ),
        ("skips", "", &format!(r#"{log}, {{ do = "skip", reason = "not better" }}"#), ""),
        (
            "fails",
            "",
            &format!(r#"{log}, {{ do = "fail", code = "no_luck", message = "not today" }}"#),
            r#"before_run = [{ do = "write", to = "out", path = "vanishes.txt", text = "x" }]"#,
        ),
    ]);
    let expected = [
        "before-run",
        "wrote before.txt",
        "at work",
        "wrote run.txt",
        "on-success: done 2 steps",
        "read a.csv",
        "after-run",
    ];
    assert_eq!(lines(&app, "works"), expected);
    assert_eq!(lines(&app, "skips"), ["before-run", "at work", "on-success: skip not better", "after-run"]);
    let expected = [
        "before-run",
        "wrote vanishes.txt",
        "at work",
        "on-failure: no_luck not today",
        "after-run",
        "host: no_luck: not today",
    ];
    assert_eq!(lines(&app, "fails"), expected);

    // Outputs of `before-run` are published together with those of `run`, or not at all.
    assert_eq!(fs::read(app.path("out/before.txt")).unwrap(), b"before");
    assert_eq!(fs::read(app.path("out/run.txt")).unwrap(), b"run");
    assert!(!app.path("out/vanishes.txt").exists());

    assert_eq!(app.get("/api/v1/nodes/works")["action"]["component"]["hooks"], true);

    // What hooks do is recorded as part of the attempt.
    let usage = &attempt(&app, "works")["usage"];
    assert_eq!((&usage["bytes_written"], &usage["bytes_read"]), (&9.into(), &4.into()), "{usage}");
    let lineage = app.get("/api/v1/runs/1/lineage").to_string();
    assert!(lineage.contains("a.csv") && lineage.contains("before.txt"), "{lineage}");
    assert!(app.get("/api/v1/metrics").to_string().contains("calls"));
    assert!(app.get("/api/v1/tags").to_string().contains("went"));
}

#[test]
fn no_hook_is_called_without_hooks() {
    let text =
        manifest(&[("works", "", r#"{ do = "log", message = "at work" }"#, "")]).replace("hooked.wasm", "worker.wasm");
    let mut app = TestApp::new(&text).with_guest("worker").with_guest("hooked");
    app.start();
    app.drop_file("raw/a.csv", b"1");
    app.wait_for_runs(1);
    assert_eq!(lines(&app, "works"), ["at work"]);
    assert_eq!(app.get("/api/v1/nodes/works")["action"]["component"]["hooks"], false);
    let inspect = |file: &str| {
        let file = app.path(file);
        app.cli_json(&["component", "inspect", "--json", file.to_str().unwrap()])
    };
    assert_eq!((&inspect("worker.wasm")["hooks"], &inspect("hooked.wasm")["hooks"]), (&false.into(), &true.into()));
}

#[test]
fn only_before_run_may_write() {
    let write = |path: &str| {
        format!(
            r#"{{ do = "expect", code = "denied", step = {{ do = "write", to = "out", path = "{path}", text = "x" }} }}"#
        )
    };
    let app = app_after_run(&[
        ("works", "", "", &format!("on_success = [{}], after_run = [{}]", write("1"), write("2"))),
        ("fails", "", r#"{ do = "fail" }"#, &format!("on_failure = [{}]", write("3"))),
    ]);
    for (action, hook) in [("works", "on-success"), ("works", "after-run"), ("fails", "on-failure")] {
        let lines = lines(&app, action);
        let told =
            format!("`{hook}` may not write to `out`: of the hooks only `before-run` may; write it there, in `run`,");
        assert!(has(&lines, &format!("expected denied: {told}")), "{lines:#?}");
        assert!(has(&lines, &format!("host: denied: resources.create on out: {told}")), "{lines:#?}");
    }
    assert_eq!(attempt(&app, "works")["state"], "succeeded");
    assert_eq!(fs::read_dir(app.path("out")).map_or(0, Iterator::count), 0);
}

#[test]
fn a_failing_before_run_fails_the_attempt_and_is_retried_with_it() {
    let work = r#"{ do = "log", message = "at work" }"#;
    let app = app_after_run(&[
        (
            "again",
            "retry = { max_attempts = 3, backoff = \"10ms\" }",
            work,
            r#"before_run = [{ do = "fail", attempts = 1, retryable = true, code = "too_few", message = "no basis" }]"#,
        ),
        (
            "never",
            "retry = { max_attempts = 3, backoff = \"10ms\" }",
            work,
            r#"before_run = [{ do = "write", to = "out", path = "x", text = "x" }, { do = "fail", code = "too_few", message = "no basis" }]"#,
        ),
    ]);
    let told = "too_few `before-run` failed: no basis";
    let expected = [
        "before-run",
        &format!("on-failure: {told}"),
        "after-run",
        "host: too_few: `before-run` failed: no basis",
        "before-run",
        "at work",
        "on-success: done 1 steps",
        "after-run",
    ];
    assert_eq!(lines(&app, "again"), expected);
    assert_eq!(attempts(&app, "again").len(), 2);
    let never = attempt(&app, "never");
    assert_eq!((&never["state"], &never["error"]["code"]), (&"failed".into(), &"too_few".into()), "{never:#}");
    assert_eq!(never["error"]["message"], "`before-run` failed: no basis");
    assert!(!has(&lines(&app, "never"), "at work"));
    assert!(!app.path("out/x").exists());
}

/// Runs an action for each hook, whose hook of that name executes these steps. In all but
/// `on_failure` the work succeeds, and writes a file.
fn in_each_hook(keys: &str, steps: &str) -> TestApp {
    let write = |name: &str| format!(r#"{{ do = "write", to = "out", path = "{name}.txt", text = "x" }}"#);
    let work =
        |name: &str| if name == "on_failure" { r#"{ do = "fail", code = "no_luck" }"#.to_owned() } else { write(name) };
    let made: Vec<[String; 3]> = ["before_run", "on_success", "on_failure", "after_run"]
        .iter()
        .map(|name| [(*name).to_owned(), work(name), format!("{name} = [{steps}]")])
        .collect();
    let actions: Vec<_> =
        made.iter().map(|[name, work, hook]| (name.as_str(), keys, work.as_str(), hook.as_str())).collect();
    app_after_run(&actions)
}

/// Checks what all failing hooks have in common: only `before-run` changes how the attempt ends.
#[track_caller]
fn assert_outcomes(app: &TestApp, code: &str) {
    let before = attempt(app, "before_run");
    assert_eq!((&before["state"], &before["error"]["code"]), (&"failed".into(), &code.into()), "{before:#}");
    assert!(before["error"]["message"].as_str().unwrap().starts_with("`before-run` failed: "), "{before:#}");
    let failed = attempt(app, "on_failure");
    assert_eq!((&failed["state"], &failed["error"]["code"]), (&"failed".into(), &"no_luck".into()), "{failed:#}");
    assert!(!app.path("out/before_run.txt").exists());
    for name in ["on_success", "after_run"] {
        assert_eq!(attempt(app, name)["state"], "succeeded", "{:#}", attempt(app, name));
        assert!(app.path(&format!("out/{name}.txt")).exists());
    }
    for (action, hook) in [("on_success", "on-success"), ("on_failure", "on-failure"), ("after_run", "after-run")] {
        let lines = lines(app, action);
        assert!(
            has(&lines, &format!("host: `{hook}` failed, which does not change the result: {code}: ")),
            "{lines:#?}"
        );
    }
}

#[test]
fn a_trap_in_a_hook_does_not_affect_other_hooks() {
    let app = in_each_hook("", r#"{ do = "panic" }"#);
    assert_outcomes(&app, "trap");
    for action in ["before_run", "on_success", "on_failure", "after_run"] {
        let lines = lines(&app, action);
        assert!(has(&lines, "after-run"), "{lines:#?}");
        assert!(has(&lines, "panicked: attempt 1 panics"), "{lines:#?}");
    }
    assert!(has(&lines(&app, "before_run"), "on-failure: trap `before-run` failed: it reached `unreachable`"));
}

#[test]
fn a_spinning_hook_uses_up_the_time_of_later_hooks() {
    let app = in_each_hook("limits = { cpu = \"300ms\" }", r#"{ do = "spin", rounds = 1000000000000 }"#);
    assert_outcomes(&app, "cpu_limit");
    for (action, left) in [
        ("before_run", "on-failure"),
        ("before_run", "after-run"),
        ("on_success", "after-run"),
        ("on_failure", "after-run"),
    ] {
        let lines = lines(&app, action);
        assert!(has(&lines, &format!("host: `{left}` is not called: the limit of CPU time is reached")), "{lines:#?}");
        assert!(!has(&lines, left), "{lines:#?}");
    }
}

#[test]
fn hooks_cannot_extend_the_limits_of_their_attempt() {
    let app = app_after_run(&[
        ("waits", "limits = { wall = \"500ms\" }", "", r#"on_success = [{ do = "sleep", ms = 600000 }]"#),
        ("times_out", "limits = { wall = \"500ms\" }", r#"{ do = "sleep", ms = 600000 }"#, ""),
        (
            "writes",
            "limits = { output = \"1MiB\" }",
            r#"{ do = "write", to = "out", path = "2", bytes = 600000 }"#,
            r#"before_run = [{ do = "write", to = "out", path = "1", bytes = 600000 }]"#,
        ),
        (
            "logs",
            "limits = { log = \"64KiB\" }",
            r#"{ do = "log", message = "from run", times = 300 }"#,
            r#"before_run = [{ do = "log", message = "from a hook", times = 300 }]"#,
        ),
        // Memory is counted for each instance: what one has used is available to the next.
        (
            "allocates",
            "limits = { memory = \"48MiB\" }",
            r#"{ do = "allocate", bytes = 30000000 }"#,
            r#"before_run = [{ do = "allocate", bytes = 30000000 }], after_run = [{ do = "allocate", bytes = 30000000 }]"#,
        ),
    ]);
    assert_eq!(attempt(&app, "waits")["state"], "succeeded");
    let waits = lines(&app, "waits");
    assert!(
        has(
            &waits,
            "host: `on-success` failed, which does not change the result: wall_limit: the limit of 500ms of wall"
        ),
        "{waits:#?}"
    );
    assert!(has(&waits, "host: `after-run` is not called: the limit of wall time is reached"), "{waits:#?}");
    assert_eq!(attempt(&app, "times_out")["state"], "timed_out");
    assert!(has(&lines(&app, "times_out"), "host: `on-failure` is not called: the limit of wall time is reached"));
    for (action, code) in [("writes", "output_limit"), ("logs", "log_limit")] {
        assert_eq!(attempt(&app, action)["error"]["code"], code, "{:#}", attempt(&app, action));
    }
    assert!(has(&lines(&app, "writes"), "on-failure: output_limit "), "the log has room for the message");
    let allocates = attempt(&app, "allocates");
    assert_eq!(allocates["state"], "succeeded", "{allocates:#}");
    let peak = allocates["usage"]["peak_memory_bytes"].as_u64().unwrap();
    assert!((30_000_000..48 << 20).contains(&peak), "{peak}");
}

#[test]
fn a_cancelled_attempt_ends_with_after_run_and_within_the_grace() {
    let await_cancel = r#"{ do = "await_cancel", then = "done" }"#;
    let mut app = TestApp::new(&manifest(&[
        ("in_run", "", await_cancel, ""),
        ("in_before_run", "", "", &format!("before_run = [{await_cancel}]")),
        (
            "in_on_success",
            "",
            r#"{ do = "write", to = "out", path = "x", text = "x" }"#,
            &format!("on_success = [{await_cancel}]"),
        ),
        ("deaf", "", await_cancel, r#"after_run = [{ do = "await_cancel", deaf = true }]"#),
    ]))
    .with_guest("hooked");
    app.set_env("ANACOSTIA_LOG", "info");
    app.start();
    app.drop_file("raw/a.csv", b"1");
    let actions = ["in_run", "in_before_run", "in_on_success", "deaf"];
    wait_until("all actions to await the cancel", || {
        app.try_get("/api/v1/runs/1").is_ok_and(|(status, _)| status == 200)
            && actions.iter().all(|action| has(&lines_now(&app, action), "awaiting cancel"))
    });
    app.post("/api/v1/runs/1/cancel");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "cancelled");
    for action in actions {
        assert_eq!(attempt(&app, action)["state"], "cancelled");
        let lines = lines(&app, action);
        assert!(has(&lines, "after-run"), "{action}: {lines:#?}");
        assert_eq!(has(&lines, "on-success"), action == "in_on_success", "{action}: {lines:#?}");
        assert!(!has(&lines, "on-failure"), "{action}: {lines:#?}");
    }
    assert!(has(&lines(&app, "deaf"), "host: `after-run` failed, which does not change the result: cancelled: "));
    assert!(!app.path("out/x").exists());
}

/// Returns the first log lines of an action while it is running.
fn lines_now(app: &TestApp, action: &str) -> Vec<String> {
    let page = app.get(&format!("/api/v1/runs/1/logs?limit=100&action={action}"));
    page["items"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn after_a_host_crash_in_a_hook_the_next_attempt_calls_all_hooks() {
    let text = manifest(&[("works", "", r#"{ do = "copy", from = "raw", to = "out" }"#, "")]);
    let mut app = TestApp::new(&text).with_guest("hooked");
    // `before-run`, then `on-success`, when the work is done and nothing is committed.
    app.drop_file("raw/a.csv", b"1");
    app.die_at("attempt.before_hook:2");
    assert!(!app.path("out/a.csv").exists());
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    let states: Vec<Value> = attempts(&app, "works").iter().map(|attempt| attempt["state"].clone()).collect();
    assert_eq!(states, ["crashed", "succeeded"]);
    let last = attempts(&app, "works")[1]["id"].as_str().unwrap().to_owned();
    let lines = app.get_all(&format!("/api/v1/runs/1/logs?attempt={last}"));
    let texts: Vec<&str> = lines.iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["before-run", "copied a.csv", "on-success: done 1 steps", "after-run"]);
    assert_eq!(fs::read(app.path("out/a.csv")).unwrap(), b"1");
}
