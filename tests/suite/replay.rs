//! `anacostia replay`. The real binary, real files, real guests.

use std::fs;

use serde_json::{Value, json};

use crate::support::app::TestApp;

/// `copy` copies what arrives. `told` writes what it is told by clocks, random numbers and tags.
const MANIFEST: &str = r#"
manifest_version = 1
[pipeline]
name = "replayed"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.copies]
kind = "folder"
path = "copies"
[resources.out]
kind = "folder"
path = "out"
[actions.copy]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["copies"]
params = { steps = [{ do = "copy", from = "raw", to = "copies", append = "!", overwrite = true }] }
[actions.told]
component = "worker.wasm"
after = ["copy"]
reads = ["copies"]
writes = ["out"]
params = { steps = [
    { do = "told", to = "out", path = "told" },
    { do = "metrics", name = "loss", values = [0.5] },
    { do = "write", to = "out", path = "model", bytes = 1000, tag = "best", unique = true },
] }
"#;

/// Creates the pipeline, whose first run has succeeded.
fn done(manifest: &str) -> TestApp {
    let app = ended(manifest);
    let run = app.get("/api/v1/runs/1");
    assert_eq!(run["state"], "succeeded", "{run:#}");
    app
}

/// Creates the pipeline, whose first run has ended.
fn ended(manifest: &str) -> TestApp {
    let mut app = TestApp::new(manifest).with_guest("worker");
    prepare(&mut app);
    app.start();
    app.drop_file("raw/a.txt", b"1");
    app.wait_for_runs(1);
    app
}

/// Gives commands a folder of their own for temporary files.
fn prepare(app: &mut TestApp) {
    fs::create_dir(app.path("tmp")).unwrap();
    let scratch = app.path("tmp").display().to_string();
    app.set_env("TMPDIR", &scratch);
}

/// Replays run 1. Returns the exit code, what it has printed, and what it has said.
fn replay(app: &TestApp, args: &[&str]) -> (i32, String, String) {
    let output = app.cli(&[&["replay", "1", "PATH"], args].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let left: Vec<_> = fs::read_dir(app.path("tmp")).unwrap().map(|it| it.unwrap().path()).collect();
    assert!(left.is_empty(), "the scratch folder is left: {left:?}");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The results, by action.
fn verdicts(app: &TestApp) -> Vec<Value> {
    let (_, text, said) = replay(app, &["--json"]);
    let mut all: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{said}"));
    all["actions"].as_array_mut().unwrap().drain(..).collect()
}

#[test]
fn a_replay_is_told_the_same_and_leaves_nothing_behind() {
    let app = done(MANIFEST);
    let told = fs::read(app.path("out/told")).unwrap();
    let seq = || app.get_all("/api/v1/runs/1/events").len();
    let before = seq();
    let identical = |action: &str, outputs: u64| json!({ "action": action, "attempt": 1, "result": "identical", "outputs": outputs });
    assert_eq!(verdicts(&app), [identical("copy", 1), identical("told", 2)]);
    let (code, text, said) = replay(&app, &[]);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>(),
        ["action replay", "copy identical 1 output", "told identical 2 outputs"]
    );
    let (code, text, _) = replay(&app, &["--action", "copy"]);
    assert!(code == 0 && text.contains("copy") && !text.contains("told"), "{text}");
    assert_eq!((seq(), fs::read(app.path("out/told")).unwrap()), (before, told), "nothing has happened");
    let files = fs::read_dir(app.path("out"))
        .unwrap()
        .filter(|it| !it.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(files.count(), 2);
}

#[test]
fn secure_random_numbers_are_fresh_and_the_first_difference_is_named() {
    let app = done(&MANIFEST.replace(r#"path = "told" }"#, r#"path = "told", secure = true }"#));
    let found = verdicts(&app).pop().unwrap();
    assert_eq!((&found["action"], &found["result"]), (&json!("told"), &json!("different")), "{found:#}");
    let difference = &found["difference"];
    assert_eq!((&difference["resource"], &difference["path"]), (&json!("out"), &json!("told")));
    let told = fs::read_to_string(app.path("out/told")).unwrap();
    let secret =
        told.find("Some(").and_then(|deadline| Some(deadline + 1 + told[deadline + 1..].find("Some(")?)).unwrap();
    let byte = usize::try_from(difference["byte"].as_u64().unwrap()).unwrap();
    assert!(byte >= secret, "all before the secret is the same: byte {byte} of {told}");
    let hint = "it uses secure random numbers, which are never on record, because keys are made of them";
    assert_eq!(found["hints"], json!([hint]));
    let (code, text, _) = replay(&app, &[]);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(code == 1 && words.contains("different") && words.contains("the first that differs"), "{text}");
    // The record does not have what the secret is made of.
    let record = fs::read(app.path("state/metadata.db")).unwrap();
    let wal = fs::read(app.path("state/metadata.db-wal")).unwrap_or_default();
    let number = told[secret + 5..].split(')').next().unwrap().as_bytes();
    assert!(![record, wal].iter().any(|bytes| bytes.windows(number.len()).any(|window| window == number)));
}

#[test]
fn what_is_gone_is_named() {
    let mut app = done(MANIFEST);
    app.drop_file("raw/a.txt", b"2");
    app.wait_for_runs(2);
    let found = verdicts(&app);
    let gone = |place: &str| format!("it read version 1 of `{place}`, which was replaced or removed since");
    assert_eq!(found[0]["reason"], gone("raw/a.txt"), "{found:#?}");
    assert_eq!(found[0]["result"], "impossible");
    app.signal(rustix::process::Signal::TERM);
    assert!(app.wait_for_end().success());
    for file in fs::read_dir(app.path("state/components")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    let (code, text, _) = replay(&app, &["--action", "told", "--json"]);
    assert!(code == 1 && text.contains("is gone: those of the manifest in force are kept"), "{text}");
}

#[test]
fn runs_and_actions_without_an_attempt_to_replay_are_refused() {
    let app = done(MANIFEST);
    let (code, _, said) = replay(&app, &["--action", "other"]);
    assert_eq!(
        (code, said.as_str()),
        (2, "error: run #1 has no attempt of `other` to replay; see `anacostia runs show 1`\n")
    );
    let output = app.cli(&["replay", "9", "PATH"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: there is no run #9; `anacostia runs list` shows those on record\n"
    );
}

#[test]
fn an_action_that_failed_or_was_cached_says_so() {
    let cached = MANIFEST.replace("[actions.told]", "cache = true\n[actions.told]");
    let app =
        ended(&cached.replace(r#"{ do = "told", to = "out", path = "told" }"#, r#"{ do = "fail", message = "no" }"#));
    let output = app.cli(&["runs", "retry", "1", "PATH", "--current"]);
    assert!(output.status.success(), "{output:?}");
    app.wait_for_runs(2);
    let output = app.cli(&["replay", "2", "PATH", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let reasons: Vec<&str> =
        found["actions"].as_array().unwrap().iter().map(|it| it["reason"].as_str().unwrap()).collect();
    assert_eq!(
        reasons,
        [
            "it did not run in this run (cached: nothing that its result depends on has changed since run #1): replay the run in which it did",
            "its last attempt has not succeeded: it is `failed`"
        ]
    );
    assert_eq!(output.status.code(), Some(1));
}

/// The database says that it is not there, before it is asked anything.
#[test]
fn a_replay_uses_no_database() {
    let manifest = r#"
manifest_version = 1
[pipeline]
name = "replayed"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.lab]
kind = "sql"
url = "sqlite:lab.db"
[actions.query]
component = "worker.wasm"
after = ["raw"]
reads = ["raw", "lab"]
params = { steps = [{ do = "query", from = "lab", sql = "select 1", expect = [[1]] }] }
[actions.change]
component = "worker.wasm"
after = ["query"]
writes = ["lab"]
params = { steps = [{ do = "execute", to = "lab", sql = "insert into readings values (1)" }] }
"#;
    let mut app = TestApp::new(manifest).with_guest("worker");
    let lab = rusqlite::Connection::open(app.path("lab.db")).unwrap();
    lab.execute_batch("create table readings (id integer)").unwrap();
    prepare(&mut app);
    app.start();
    app.drop_file("raw/a.txt", b"1");
    app.wait_for_runs(1);
    let run = app.get("/api/v1/runs/1");
    assert_eq!(run["state"], "succeeded", "{run:#}");
    for found in verdicts(&app) {
        let why = "lab cannot be used: a replay uses no database, because what it answered is not on record";
        assert_eq!((&found["result"], found["reason"].as_str()), (&json!("failed"), Some(why)), "{found:#}");
        assert_eq!(found["hints"], json!(["it has used the database `lab`"]));
    }
    assert_eq!(lab.query_row("select count(*) from readings", [], |row| row.get::<_, u64>(0)).unwrap(), 1);
}

/// Actions that write what the clocks of their languages say, and with `random` what random numbers
/// do.
fn in_every_language(random: u32) -> TestApp {
    let mut manifest = format!(
        r#"
manifest_version = 1
[pipeline]
name = "replayed"
params = {{ random = {random} }}
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.rust]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
params = {{ steps = [{{ do = "told", to = "out", path = "rust" }}] }}
"#
    );
    for language in ["c", "javascript", "python"] {
        manifest.push_str(&format!(
            "[actions.{language}]\ncomponent = \"told_{language}.wasm\"\nafter = [\"raw\"]\nwrites = [\"out\"]\n"
        ));
    }
    let guests = ["worker", "told_c", "told_javascript", "told_python"];
    let mut app = guests.into_iter().fold(TestApp::new(&manifest), TestApp::with_guest);
    prepare(&mut app);
    app.drop_file("raw/a.txt", b"1");
    let output = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    assert!(output.status.success(), "{output:?}");
    app
}

#[test]
fn guests_of_every_language_are_told_the_same() {
    let app = in_every_language(0);
    let found = verdicts(&app);
    assert_eq!(found.iter().map(|it| &it["result"]).collect::<Vec<_>>(), ["identical"; 4], "{found:#?}");
}

/// C takes secure numbers by name. The generators of Python and JavaScript begin with some.
#[test]
fn random_numbers_of_other_languages_are_fresh_and_all_before_them_is_the_same() {
    let app = in_every_language(1);
    let hint = "it uses secure random numbers, which are never on record, because keys are made of them";
    for found in verdicts(&app) {
        let action = found["action"].as_str().unwrap();
        if action == "rust" {
            assert_eq!(found["result"], "identical", "{found:#}");
            continue;
        }
        assert_eq!((&found["result"], &found["hints"]), (&json!("different"), &json!([hint])), "{found:#}");
        let (lines, random) = match action {
            "c" => (5, 1),
            "javascript" => (4, 2),
            _ => (6, 2),
        };
        let text = fs::read_to_string(app.path("out").join(action)).unwrap();
        assert_eq!(text.lines().count(), lines + random, "{text}");
        let same: usize = text.lines().take(lines).map(|line| line.len() + 1).sum();
        assert!(found["difference"]["byte"].as_u64().unwrap() >= same as u64, "{found:#} of {text}");
    }
}
