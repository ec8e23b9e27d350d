//! The command line as a user meets it: the real binary, its two streams and its exit codes.

use std::fs;
use std::io::Read as _;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::app::{TestApp, anacostia};
use crate::support::guests::guest;

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
fn wrong_usage_ends_with_2() {
    for args in
        [&["fly"][..], &["runs", "list", "--state", "lost"], &["runs", "show", "first"], &["run", "--listen", "x"]]
    {
        let output = anacostia().args(args).output().unwrap();
        let (out, error) = ends_with(&output, 2);
        assert!(out.is_empty() && error.starts_with("error:"), "{args:?}: {error}");
    }
}

#[test]
fn help_and_version_are_results() {
    let help = anacostia().arg("--help").output().unwrap();
    let (out, _) = ends_with(&help, 0);
    for verb in ["check", "build", "run", "runs", "component"] {
        assert!(out.contains(&format!("\n  {verb} ")), "{verb} is missing in\n{out}");
    }
    assert!(!out.contains("__compile"), "{out}");
    let version = anacostia().arg("--version").output().unwrap();
    assert_eq!(ends_with(&version, 0).0, format!("anacostia {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn check_shows_the_pipeline_or_every_problem_with_its_place() {
    let app = app().with_guest("worker");
    let good = app.cli(&["check", "PATH"]);
    let (out, _) = ends_with(&good, 0);
    assert!(out.starts_with("✓ words: 1 resource, 1 action\n"), "{out}");
    assert!(!out.contains('\u{1b}'), "colours without a terminal: {out:?}");
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
fn a_pipeline_that_never_ran_has_nothing_on_record_and_says_how_to_start() {
    let app = app();
    let output = app.cli(&["runs", "list", "PATH"]);
    assert!(ends_with(&output, 2).1.contains("start the pipeline with `anacostia run"));
}

#[test]
fn a_missing_manifest_is_named() {
    let output = anacostia().args(["run", "/nowhere/at/all"]).output().unwrap();
    assert!(ends_with(&output, 2).1.contains("/nowhere/at/all"));
}

#[test]
fn build_builds_what_is_missing_and_shows_the_output_of_what_fails() {
    let app = app();
    let manifest = |command: &str| {
        PIPELINE.replace("after =", &format!("build = {{ command = \"{command}\", watch = [\"src\"] }}\nafter ="))
    };
    fs::create_dir(app.path("src")).unwrap();
    fs::write(app.path("anacostia.toml"), manifest("echo the compiler says no; exit 1")).unwrap();
    let failed = app.cli(&["build", "PATH"]);
    let (_, error) = ends_with(&failed, 1);
    assert!(error.contains("the compiler says no") && error.contains("the build of action work failed"), "{error}");

    let source = guest("worker");
    fs::write(app.path("anacostia.toml"), manifest(&format!("cp {} worker.wasm", source.display()))).unwrap();
    let built = app.cli_json(&["build", "PATH", "--json"]);
    assert_eq!((&built[0]["action"], &built[0]["built"]), (&"work".into(), &true.into()), "{built}");
    assert_eq!(app.cli_json(&["build", "PATH", "--json"])[0]["built"], false);

    fs::write(app.path("anacostia.toml"), manifest("echo no component > worker.wasm")).unwrap();
    let wrong = app.cli(&["build", "PATH", "--force"]);
    assert!(ends_with(&wrong, 2).1.contains("worker.wasm"), "what was built is looked at");
}

#[test]
fn component_inspect_tells_what_a_guest_needs() {
    let file = guest("worker");
    let output = anacostia().args(["component", "inspect"]).arg(&file).output().unwrap();
    let (out, _) = ends_with(&output, 0);
    assert!(out.contains("an action") && out.contains("anacostia:pipeline/resources@0.1.0"), "{out}");
    let output = anacostia().args(["component", "inspect", "Cargo.toml"]).output().unwrap();
    assert!(ends_with(&output, 2).1.contains("Cargo.toml is not a WebAssembly component"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
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
