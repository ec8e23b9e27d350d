//! The command line as a user meets it: the real binary, its two streams and its exit codes.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Output, Stdio};

use anacostia::store::sqlite::read_holder;
use serde_json::Value;

use crate::support::app::{TestApp, anacostia};
use crate::support::guests::guest;
use crate::support::wait::wait_until;

const PIPELINE: &str = r#"
manifest_version = 1

[pipeline]
name = "words"

[resources.inbox]
kind = "folder"
path = "inbox"
watch = true

[actions.work]
component = "worker.wasm"
after = ["inbox"]
reads = ["inbox"]
"#;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is UTF-8")
}

#[track_caller]
fn ends_with(output: &Output, code: i32) -> (&str, &str) {
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout: {out}\nstderr: {error}");
    (out, error)
}

fn app() -> TestApp {
    let app = TestApp::new(PIPELINE);
    fs::create_dir(app.path("inbox")).unwrap();
    app
}

#[test]
fn usage_errors_exit_with_2() {
    for args in
        [&["fly"][..], &["runs", "list", "--state", "lost"], &["runs", "show", "first"], &["run", "--listen", "x"]]
    {
        let output = anacostia().args(args).output().unwrap();
        let (out, error) = ends_with(&output, 2);
        assert!(out.is_empty() && error.starts_with("error:"), "{args:?}: {error}");
    }
}

#[test]
fn help_and_version_exit_with_0() {
    let help = anacostia().arg("--help").output().unwrap();
    let (out, _) = ends_with(&help, 0);
    for verb in ["new", "check", "build", "run", "dev", "runs", "artifacts", "schema", "component"] {
        assert!(out.contains(&format!("\n  {verb} ")), "{verb} is missing in\n{out}");
    }
    assert!(!out.contains("__compile"), "{out}");
    let version = anacostia().arg("--version").output().unwrap();
    assert_eq!(ends_with(&version, 0).0, format!("anacostia {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn check_shows_the_pipeline_or_every_problem_with_its_location() {
    let app = app().with_guest("worker");
    let good = app.cli(&["check", "PATH"]);
    let (out, _) = ends_with(&good, 0);
    assert!(out.starts_with("✓ words: 1 resource, 1 action\n"), "{out}");
    assert!(!out.contains('\u{1b}'), "the output has colours although it is not a terminal: {out:?}");
    assert_eq!(app.cli_json(&["check", "PATH", "--json"])["actions"], serde_json::json!(["work"]));

    fs::write(app.path("anacostia.toml"), PIPELINE.replace("reads", "reeds").replace("watch", "wotch")).unwrap();
    let bad = app.cli(&["check", "PATH"]);
    let (out, error) = ends_with(&bad, 2);
    assert!(out.is_empty(), "{out}");
    for part in ["reeds", "`reads`", "wotch", "`watch`", "anacostia.toml"] {
        assert!(error.contains(part), "{part} is missing in\n{error}");
    }
    let bad = app.cli(&["check", "PATH", "--json"]);
    let problems: Value = serde_json::from_str(ends_with(&bad, 2).0).unwrap();
    assert_eq!(problems["ok"], false);
    assert_eq!(problems["problems"][0]["place"]["line"], 10, "{problems}");
}

#[test]
fn check_shows_resources_of_every_kind_with_what_starts_a_run() {
    let more = r#"
[resources.lake]
kind = "s3"
bucket = "lake"
region = "eu-central-1"
watch = true

[resources.items]
kind = "http"
url = "https://api.example.com/items.json?key=1"
watch = true

[resources.readings]
kind = "sql"
url = "postgres://anna@db.example.com/lab?sslmode=require"
table = "readings"
high_water = "id"
watch = true
trigger = { min_artifacts = 3 }
"#;
    let manifest = PIPELINE.replace("after = [\"inbox\"]", "after = [\"inbox\", \"lake\", \"items\", \"readings\"]");
    let manifest = manifest.replace("reads = [\"inbox\"]", "reads = [\"inbox\", \"lake\", \"items\", \"readings\"]");
    let app = TestApp::new(&(manifest + more)).with_guest("worker");
    let output = app.cli(&["check", "PATH"]);
    let (out, _) = ends_with(&output, 0);
    assert!(out.starts_with("✓ words: 4 resources, 1 action\n"), "{out}");
    for (name, kind, place, starts) in [
        ("inbox", "folder", "inbox", "at 1 new artifact"),
        ("lake", "s3", "s3://lake/", "at 1 new artifact"),
        ("items", "http", "https://api.example.com/items.json", "at 1 new artifact"),
        ("readings", "sql", "postgres://anna@db.example.com", "at 3 new artifacts"),
    ] {
        let is_row = |line: &&str| line.split_whitespace().take(2).eq([name, kind]);
        let row = out.lines().find(is_row).unwrap_or_else(|| panic!("{name} is missing in\n{out}"));
        assert!(row.contains(place) && row.contains(starts), "{row}");
    }
}

#[test]
fn what_is_in_a_variable_is_not_printed() {
    let lake = "\n[resources.lake]\nkind = \"s3\"\nbucket = \"lake\"\nprefix = \"${TOKEN}\"\nwatch = true\n";
    let manifest = PIPELINE.replace("[\"inbox\"]", "[\"lake\", \"inbox\"]") + lake;
    let mut app = TestApp::new(&manifest).with_guest("worker");
    app.set_env("TOKEN", "hush");
    let output = app.cli(&["check", "PATH"]);
    let (out, _) = ends_with(&output, 0);
    assert!(out.contains("lake ${TOKEN}") && !out.contains("hush"), "{out}");
}

#[test]
fn a_pipeline_that_never_ran_shows_how_to_start_it() {
    let app = app();
    let output = app.cli(&["runs", "list", "PATH"]);
    let run = format!("start the pipeline with `anacostia run {}`", app.folder().display());
    assert!(ends_with(&output, 2).1.contains(&run), "the path is shown as it was given");
}

#[test]
fn a_missing_manifest_is_named() {
    let output = anacostia().args(["run", "/nowhere/at/all"]).output().unwrap();
    assert!(ends_with(&output, 2).1.contains("/nowhere/at/all"));
}

#[test]
fn build_makes_missing_components_and_shows_the_output_of_failed_builds() {
    let app = app();
    let manifest = |command: &str| {
        PIPELINE.replace("after =", &format!("build = {{ command = \"{command}\", watch = [\"src\"] }}\nafter ="))
    };
    fs::create_dir(app.path("src")).unwrap();
    fs::write(app.path("anacostia.toml"), manifest("echo the compiler says no; exit 1")).unwrap();
    let failed = app.cli(&["build", "PATH"]);
    let (_, error) = ends_with(&failed, 1);
    assert!(
        error.contains("the compiler says no") && error.contains("the build of action work failed (exit status: 1)"),
        "{error}"
    );

    let source = guest("worker");
    fs::write(app.path("anacostia.toml"), manifest(&format!("cp {} worker.wasm", source.display()))).unwrap();
    let built = app.cli_json(&["build", "PATH", "--json"]);
    assert_eq!((&built[0]["action"], &built[0]["built"]), (&"work".into(), &true.into()), "{built}");
    assert_eq!(app.cli_json(&["build", "PATH", "--json"])[0]["built"], false);

    fs::write(app.path("anacostia.toml"), manifest("echo no component > worker.wasm")).unwrap();
    let wrong = app.cli(&["build", "PATH", "--force"]);
    assert!(ends_with(&wrong, 2).1.contains("worker.wasm"), "the built component is inspected");
}

#[test]
fn a_component_older_than_its_sources_runs_with_a_warning() {
    let build = "build = { command = \"touch worker.wasm\", watch = [\"src\"] }\nafter =";
    let app = TestApp::new(&PIPELINE.replace("after =", build)).with_guest("worker");
    fs::create_dir_all(app.path("src")).unwrap();
    fs::write(app.path("src/lib.rs"), "").unwrap();
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
    fs::File::open(app.path("worker.wasm")).unwrap().set_modified(then).unwrap();
    let once = |more: &[&str]| {
        let output = app.cli(&[&["run", "--once", "--listen", "127.0.0.1:0", "PATH"], more].concat());
        ends_with(&output, 0).1.to_owned()
    };
    let warned = "warning: the component of work is older than its sources (lib.rs has changed); `--build` builds it\n";
    let said = once(&[]);
    // It is not specified which change is noticed first, that of the file or of its folder.
    assert!(said.replace("(src has", "(lib.rs has").starts_with(warned), "{said}");
    assert!(!once(&["--build"]).contains("warning"));
    assert!(!once(&[]).contains("warning"));
}

#[test]
fn a_closed_stdout_is_not_an_error() {
    let mut child = anacostia()
        .args(["component", "inspect"])
        .arg(guest("worker"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert!(child.wait().unwrap().success(), "{error}");
    assert_eq!(error, "");
}

/// A pipeline with one action that executes these steps.
fn app_with_steps(steps: &str) -> TestApp {
    let manifest = format!("{PIPELINE}params = {{ steps = [{steps}] }}\n");
    let app = TestApp::new(&manifest).with_guest("worker");
    fs::create_dir(app.path("inbox")).unwrap();
    app
}

#[test]
fn runs_are_read_with_and_without_a_running_host() {
    let mut app = app_with_steps(r#"{ do = "read", from = "inbox" }, { do = "log", message = "hello" }"#);
    app.start();
    app.drop_file("inbox/a.txt", b"1");
    app.wait_for_runs(1);
    let beside = app.cli(&["runs", "list", "PATH"]);
    let (out, _) = ends_with(&beside, 0);
    assert!(out.contains("#1  ✓ succeeded") && out.lines().count() == 2, "{out}");
    app.kill();

    let run = app.cli_json(&["runs", "show", "1", "PATH", "--json"]);
    assert_eq!((&run["number"], &run["state"]), (&1.into(), &"succeeded".into()), "{run}");
    assert_eq!(run["inputs"][0]["path"], "a.txt", "{run}");
    assert_eq!(run["actions"][0]["attempts"][0]["state"], "succeeded", "{run}");
    assert_eq!(run["actions"][0]["attempts"][0]["denials"], serde_json::json!([]), "{run}");
    let id = run["id"].as_str().unwrap();
    let shown = app.cli(&["runs", "show", id, "PATH"]);
    assert!(ends_with(&shown, 0).0.contains("inbox/a.txt"));
    let logs = app.cli(&["runs", "logs", "latest", "PATH", "--action", "work"]);
    let (out, _) = ends_with(&logs, 0);
    assert!(out.contains("work  info   hello") && out.contains("read a.txt"), "{out}");

    let failed = app.cli(&["runs", "list", "PATH", "--state", "failed,cancelled"]);
    assert_eq!(ends_with(&failed, 0), ("", "no run is failed or cancelled; leave out `--state` to see all\n"));
    assert!(ends_with(&app.cli(&["runs", "show", "7", "PATH"]), 2).1.contains("there is no run #7"));
    assert!(ends_with(&app.cli(&["runs", "logs", "1", "PATH", "--action", "x"]), 2).1.contains("it has work"));
}

#[test]
fn artifacts_are_listed_shown_and_read() {
    let mut app = TestApp::new(&format!(
        "{}writes = [\"out\"]\n[resources.out]\nkind = \"folder\"\npath = \"out\"\n",
        PIPELINE.to_owned() + "params = { steps = [{ do = \"copy\", from = \"inbox\", to = \"out\", append = \"!\", overwrite = true }, \
        { do = \"tag_inputs\", from = \"inbox\", tag = \"seen\" }] }\n"
    ))
    .with_guest("worker");
    fs::create_dir(app.path("inbox")).unwrap();
    app.start();
    let none = app.cli(&["artifacts", "list", "PATH"]);
    assert_eq!(ends_with(&none, 0), ("", "no artifacts yet: put a file into inbox, which `inbox` watches\n"));
    for (runs, content) in [(1, b"one"), (2, b"two")] {
        app.drop_file("inbox/a@b.txt", content);
        assert_eq!(app.wait_for_runs(runs)[runs - 1]["state"], "succeeded");
    }

    let listed = app.cli(&["artifacts", "list", "PATH", "--resource", "inbox"]);
    let (out, _) = ends_with(&listed, 0);
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines.len() == 3 && lines[1].starts_with("inbox     a@b.txt        2   3 B  ○ old"), "{out}");
    assert!(lines[1].contains("seen") && lines[2].contains("its bytes are gone"), "{out}");
    let count = |filter: &[&str]| {
        let args = [&["artifacts", "list", "PATH", "--json"], filter].concat();
        app.cli_json(&args)["items"].as_array().unwrap().len()
    };
    assert_eq!(
        [&["--state", "published"][..], &["--run", "2"], &["--tag", "seen"], &["--path", "a@b.txt"]].map(count),
        [2, 1, 2, 4]
    );
    let page = app.cli(&["artifacts", "list", "PATH", "--limit", "1"]);
    let (_, more) = ends_with(&page, 0);
    let cursor = more.trim_start_matches("There are more: add `--cursor ").trim_end_matches("`.\n");
    assert_eq!(count(&["--limit", "1", "--cursor", cursor]), 1, "{more}");

    let shown = app.cli(&["artifacts", "show", "inbox/a@b.txt", "PATH"]);
    let (out, _) = ends_with(&shown, 0);
    assert!(out.starts_with("inbox/a@b.txt v2 ○ old\n") && out.contains("claimed   by run #2"), "{out}");
    assert!(out.contains("#2  work          1  read    3 B"), "{out}");
    let written = app.cli_json(&["artifacts", "show", "out/a@b.txt@1", "PATH", "--json"]);
    assert_eq!((&written["version"], &written["state"]), (&1.into(), &"published".into()), "{written}");

    let bytes = app.cli(&["artifacts", "cat", "out/a@b.txt", "PATH"]);
    assert_eq!(ends_with(&bytes, 0), ("two!", ""));
    let id = written["id"].as_str().unwrap();
    let gone = app.cli(&["artifacts", "cat", id, "PATH"]);
    let why = "error: version 1 of `out/a@b.txt` is gone: it was overwritten or deleted, and only its record is left\n";
    assert_eq!(ends_with(&gone, 2), ("", why));
    fs::write(app.path("out/a@b.txt"), "changed by someone").unwrap();
    let changed = app.cli(&["artifacts", "cat", "out/a@b.txt", "PATH"]);
    let (out, error) = ends_with(&changed, 1);
    assert!(out.is_empty() && error.starts_with("error: failed to read `out/a@b.txt`: "), "{error}");
}

#[test]
fn arguments_that_name_no_artifact_are_quoted_in_the_error() {
    let mut app = app_with_steps(r#"{ do = "read", from = "inbox" }"#);
    rustix::fs::mknodat(rustix::fs::CWD, app.path("inbox/pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    app.drop_file("inbox/a.txt", b"1");
    app.start();
    app.wait_for_runs(1);
    let list = "`anacostia artifacts list` shows what is on record";
    for (artifact, code, why) in [
        ("inbox/x", 2, format!("there is no artifact `inbox/x`; {list}")),
        ("inbox/a.txt@7", 2, format!("there is no version 7 of `inbox/a.txt`; {list}")),
        (
            "018e0000-0000-7000-8000-000000000009",
            2,
            format!("there is no artifact 018e0000-0000-7000-8000-000000000009; {list}"),
        ),
    ] {
        let output = app.cli(&["artifacts", "show", artifact, "PATH"]);
        assert_eq!(ends_with(&output, code), ("", format!("error: {why}\n").as_str()));
    }
    let pipe = app.cli(&["artifacts", "cat", "inbox/pipe", "PATH"]);
    let (_, error) = ends_with(&pipe, 2);
    assert!(error.starts_with("error: `inbox/pipe` has no content: "), "{error}");
    let stranger = app.cli(&["artifacts", "list", "PATH", "--resource", "outbox"]);
    let why = "no artifacts of `outbox`, which the manifest does not have; it has inbox\n";
    assert_eq!(ends_with(&stranger, 0), ("", why));
    let filtered = app.cli(&["artifacts", "list", "PATH", "--tag", "x"]);
    assert_eq!(ends_with(&filtered, 0), ("", "no artifacts like that; leave out a filter to see more\n"));
    let quiet = app.cli(&["runs", "logs", "1", "PATH", "--action", "work"]);
    assert!(ends_with(&quiet, 0).0.contains("read a.txt"));
}

#[test]
fn logs_are_followed_until_the_run_ends() {
    let mut app = app_with_steps(r#"{ do = "log", message = "first words" }, { do = "await_cancel" }"#);
    app.start();
    app.drop_file("inbox/a.txt", b"1");
    wait_until("the run", || !app.get_all("/api/v1/runs").is_empty());
    let mut follower = anacostia()
        .args(["runs", "logs", "1", "--follow"])
        .arg(app.folder())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.by_ref().any(|line| line.contains("first words")), "lines are printed while the run is active");
    let cancelled = app.cli(&["runs", "cancel", "1", "PATH"]);
    assert!(ends_with(&cancelled, 0).0.starts_with("Run #1 is cancel"));
    assert!(lines.any(|line| line.contains("awaiting cancel")), "later lines are followed too");
    lines.for_each(drop);
    assert!(follower.wait().unwrap().success());
    assert_eq!(app.wait_for_runs(1)[0]["state"], "cancelled");
}

#[test]
fn without_a_host_a_retry_is_stored_for_the_next_start() {
    let mut app = app_with_steps(r#"{ do = "fail", attempts = 1, message = "not yet" }"#);
    app.start();
    app.drop_file("inbox/a.txt", b"1");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "failed");
    app.kill();
    let retried = app.cli(&["runs", "retry", "1", "PATH"]);
    let (out, _) = ends_with(&retried, 0);
    assert_eq!(out, "Run #1 is running; no host is running, so the rest happens at the next `anacostia run`\n");
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    let again = app.cli(&["runs", "retry", "1", "PATH"]);
    assert!(ends_with(&again, 1).1.contains("the host refused to retry the run"));
}

#[test]
fn trigger_starts_a_run_with_params_and_waits_for_it() {
    let mut app = app().with_guest("worker");
    app.start();
    app.kill();
    let without = app.cli(&["trigger", "PATH"]);
    let why = format!(
        "no host is running, and only a host starts runs: start one with `anacostia run {}`",
        app.folder().display()
    );
    assert!(ends_with(&without, 1).1.contains(&why), "{}", text(&without.stderr));
    app.start();
    let started = app.cli(&["trigger", "PATH", "--wait", "-p", r#"steps=[{ "do": "log", "message": "by hand" }]"#]);
    assert_eq!(ends_with(&started, 0), ("Run #1 has succeeded\n", ""));
    assert!(ends_with(&app.cli(&["runs", "logs", "1", "PATH"]), 0).0.contains("by hand"));
    let failing = r#"steps=[{ "do": "fail", "message": "no luck" }]"#;
    let failed = app.cli(&["trigger", "PATH", "--wait", "-p", failing]);
    assert!(ends_with(&failed, 1).0.starts_with("Run #2 has failed: "), "{}", text(&failed.stdout));
    let twice = app.cli(&["trigger", "PATH", "-p", "a=1", "-p", "a=2"]);
    assert!(ends_with(&twice, 2).1.contains("the param `a` is given twice"));
    let run = app.cli_json(&["trigger", "PATH", "--json", "-p", "rate=0.5", "-p", "name=ada"]);
    assert_eq!(run["params"], serde_json::json!({ "rate": 0.5, "name": "ada" }));
    assert_eq!(app.wait_for_runs(3).len(), 3);
}

#[test]
fn trigger_processes_the_inputs_of_a_failed_run_again() {
    let mut app = app_with_steps(r#"{ do = "fail", message = "a bug" }"#);
    app.start();
    app.drop_file("inbox/a.txt", b"1");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "failed");
    let shown = app.cli(&["runs", "show", "1", "PATH"]);
    let (_, steps) = ends_with(&shown, 0).0.split_once("\nNext\n").expect("there are next steps");
    let steps: Vec<_> = steps.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let place = app.folder().display();
    let expected = [
        format!("see what it said anacostia runs logs 1 {place}"),
        format!("retry what failed anacostia runs retry 1 {place}"),
        format!("start it again, once the host has loaded a fix anacostia runs retry 1 {place} --current"),
        format!("start runs on inputs that you choose anacostia trigger {place} --inputs inbox/a.txt"),
    ];
    assert_eq!(steps, expected);
    let manifest = fs::read_to_string(app.path("anacostia.toml")).unwrap();
    let fixed = manifest.replace(r#"{ do = "fail", message = "a bug" }"#, r#"{ do = "read", from = "inbox" }"#);
    assert_ne!(fixed, manifest);
    fs::write(app.path("anacostia.toml"), fixed).unwrap();
    app.kill();
    let without = app.cli(&["runs", "retry", "1", "PATH", "--current"]);
    assert!(ends_with(&without, 1).1.contains("no host is running, and only a host starts runs"));
    app.start();
    // The run continues with the components that it started with.
    ends_with(&app.cli(&["runs", "retry", "1", "PATH"]), 0);
    wait_until("the second failure", || app.get("/api/v1/runs/1")["state"] == "failed");
    let again = app.cli(&["runs", "retry", "1", "PATH", "--current"]);
    assert!(ends_with(&again, 0).0.starts_with("Run #2 is "), "{}", text(&again.stdout));
    app.wait_for_runs(2);
    let (old, new) = (app.get("/api/v1/runs/1"), app.get("/api/v1/runs/2"));
    assert_eq!((&new["state"], &new["trigger"]), (&"succeeded".into(), &"run #1 again".into()));
    let [claimed, given] = [&old, &new].map(|run| &run["inputs"][0]);
    assert_eq!((&new["rerun_of"], &given["id"], &given["run_id"]), (&old["id"], &claimed["id"], &old["id"]));
    assert_eq!((&claimed["given"], &given["given"]), (&false.into(), &true.into()), "the first run keeps the claim");
    assert_eq!(app.get("/api/v1/runs/2/inputs")["items"][0], *given);
    let shown = |run: &str| ends_with(&app.cli(&["runs", "show", run, "PATH"]), 0).0.to_owned();
    assert_eq!(["1", "2"].map(|run| shown(run).contains("○ old  given")), [false, true], "{}", shown("2"));
    assert!(ends_with(&app.cli(&["runs", "logs", "2", "PATH"]), 0).0.contains("read a.txt"));
    // Artifacts that were replaced since cannot be processed.
    app.drop_file("inbox/a.txt", b"other");
    app.wait_for_runs(3);
    let gone = app.cli(&["runs", "retry", "1", "PATH", "--current"]);
    let why = format!(
        "artifact {} cannot be worked on again: it was replaced or removed since it was recorded",
        old["inputs"][0]["id"].as_str().unwrap()
    );
    assert!(ends_with(&gone, 1).1.contains(&why), "{}", text(&gone.stderr));
}

#[test]
fn trigger_processes_recorded_artifacts_that_match_a_pattern() {
    let mut app = app_with_steps(r#"{ do = "read", from = "inbox" }"#);
    app.start();
    for name in ["2026-01-01.csv", "2026-01-02.csv", "2026-02-01.csv"] {
        app.drop_file(&format!("inbox/{name}"), name.as_bytes());
    }
    wait_until("all files to be claimed", || app.get_all("/api/v1/artifacts?state=old").len() == 3);
    let runs = app.get_all("/api/v1/runs").len();
    let select = ["trigger", "PATH", "--inputs", "inbox/2026-01-*"];
    let dry = app.cli(&[&select[..], &["--dry-run"]].concat());
    let (out, error) = ends_with(&dry, 0);
    assert!(out.contains("2026-01-01.csv") && out.contains("2026-01-02.csv") && !out.contains("2026-02"), "{out}");
    assert_eq!(error, "Without `--dry-run`: 1 run on 2 artifacts.\n  2 artifacts: runs work\n");
    assert_eq!(app.get_all("/api/v1/runs").len(), runs, "no run was started");
    let again = app.cli(&[&select[..], &["--wait"]].concat());
    assert_eq!(ends_with(&again, 0).0, format!("Run #{} has succeeded\n", runs + 1));
    let run = app.get(&format!("/api/v1/runs/{}", runs + 1));
    assert_eq!((&run["trigger"], &run["inputs_count"]), (&"started by hand on 2 artifacts".into(), &2.into()));
    let listed = app.cli_json(&[&select[..], &["--dry-run", "--json"]].concat());
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let id = anacostia::base::RunId::new();
    let put = |inputs: &[&Value]| {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        let url = format!("{}/api/v1/runs/{id}", app.url());
        agent.put(url).send_json(serde_json::json!({ "inputs": inputs })).unwrap().status().as_u16()
    };
    let [one, two] = [0, 1].map(|at| &listed["items"][at]["id"]);
    assert_eq!([put(&[one]), put(&[one]), put(&[two]), put(&[])], [201, 200, 409, 400]);
    let log = app.cli(&["runs", "logs", &(runs + 1).to_string(), "PATH"]);
    assert!(ends_with(&log, 0).0.contains("read 2026-01-02.csv"), "{}", text(&log.stdout));
    let later = app.cli(&[&select[..], &["--since", "2126-01-01"]].concat());
    assert!(ends_with(&later, 1).1.contains("no recorded artifact that is still in its resource matches"));
    let when = app.cli(&[&select[..], &["--since", "yesterday"]].concat());
    assert!(ends_with(&when, 2).1.contains("`--since yesterday` is not a time: write a date (2026-03-01)"));
    let where_ = app.cli(&["trigger", "PATH", "--inputs", "raw"]);
    assert!(ends_with(&where_, 2).1.contains("there is no resource `raw`; there are inbox"));
}

#[test]
fn a_second_host_is_refused_and_told_about_the_first() {
    let mut app = app_with_steps(r#"{ do = "log", message = "x" }"#);
    app.start();
    let second = app.cli(&["run", "PATH", "--listen", "127.0.0.1:0"]);
    let (out, error) = ends_with(&second, 2);
    let address = app.url().trim_start_matches("http://");
    assert!(out.is_empty() && error.contains("is in use by process") && error.contains(address), "{error}");

    // A pipeline with its own records that keeps its logs and components in the same folder.
    let neighbour = app_with_steps(r#"{ do = "log", message = "x" }"#);
    let state = app.path("state");
    let text = fs::read_to_string(neighbour.path("anacostia.toml")).unwrap();
    let shared = text.replace("[pipeline]", &format!("[pipeline]\nstate = {state:?}"));
    fs::write(neighbour.path("anacostia.toml"), shared).unwrap();
    let holder = read_holder(&state.join("metadata.db")).unwrap().unwrap();
    for args in [&["run", "PATH", "--once", "--listen", "127.0.0.1:0"][..], &["gc", "PATH"]] {
        let refused = neighbour.cli(args);
        let (out, error) = ends_with(&refused, 2);
        assert_eq!(out, "");
        assert_eq!(
            error,
            format!(
                "error: the state folder {} is in use by process {} since {} (listening on {address}), which has another \
                 metadata store; two pipelines cannot share a state folder: set another folder as `state` in `[pipeline]`, or \
                 stop that host\n",
                state.display(),
                app.pid(),
                holder.started_at,
            )
        );
    }
    app.kill();
    ends_with(&neighbour.cli(&["run", "PATH", "--once", "--listen", "127.0.0.1:0"]), 0);
    app.start();
    let address = app.url().trim_start_matches("http://");

    let other = app_with_steps(r#"{ do = "log", message = "x" }"#);
    let taken = other.cli(&["run", "PATH", "--listen", address]);
    assert!(ends_with(&taken, 2).1.contains("choose another address with `--listen`"));
    let open = other.cli(&["run", "PATH", "--listen", "0.0.0.0:0"]);
    assert!(ends_with(&open, 2).1.contains("needs a token"));
}

#[test]
fn a_host_prints_runs_as_they_end() {
    let mut app = app_with_steps(r#"{ do = "read", from = "inbox" }"#);
    app.drop_file("inbox/a.txt", b"1");
    let once = app.cli(&["run", "PATH", "--once", "--listen", "127.0.0.1:0"]);
    let (out, error) = ends_with(&once, 0);
    assert!(out.contains("run #1  ○ created") && out.contains("run #1  ✓ succeeded"), "{out}\n{error}");
    assert!(out.ends_with("\n1 run: 1 succeeded\n"), "{out}");
    app.drop_file("inbox/b.txt", b"2");
    let once = app.cli(&["run", "PATH", "--once", "--json", "--listen", "127.0.0.1:0"]);
    let lines: Vec<Value> = ends_with(&once, 0).0.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["type"], "ready");
    let ended = |line: &Value| line["type"] == "run_state" && line["data"]["state"] == "succeeded";
    assert!(lines.iter().any(ended), "{lines:?}");
    app.set_env("ANACOSTIA_LOG", "loud");
    let loud = app.cli(&["run", "PATH", "--once", "--listen", "127.0.0.1:0"]);
    assert!(ends_with(&loud, 2).1.contains("it must be off, error, warn, info, debug or trace"));
}

#[test]
fn without_a_host_unfinished_runs_are_shown_as_waiting_for_one() {
    let steps = r#"params = { steps = [{ do = "await_cancel" }] }"#;
    let mut app = TestApp::new(&format!("{PIPELINE}{steps}\n")).with_guest("worker");
    app.start();
    app.drop_file("inbox/a.txt", b"a");
    crate::support::wait::wait_until("the run to be running", || {
        app.try_get("/api/v1/runs/1/logs").is_ok_and(|(_, body)| body.to_string().contains("awaiting cancel"))
    });
    app.kill();
    for args in [&["runs", "list", "PATH"][..], &["runs", "show", "1", "PATH"], &["runs", "logs", "1", "-f", "PATH"]] {
        let output = app.cli(args);
        let (_, error) = ends_with(&output, 0);
        assert!(error.starts_with("No host is running: unfinished runs continue when one starts"), "{args:?}: {error}");
    }
}

#[test]
fn a_paused_pipeline_says_so_when_it_starts() {
    let mut app = app().with_guest("worker");
    app.start();
    assert_eq!(app.post("/api/v1/pipeline/pause").0, 200);
    app.restart();
    let place = app.folder().display();
    let words = format!("The pipeline is paused: triggers start no run; `anacostia resume {place}` ends that\n");
    crate::support::wait::wait_until("the message", || app.said().contains(&words));
}
