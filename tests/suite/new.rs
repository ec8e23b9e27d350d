//! `anacostia new`, and the next steps of its user, in a folder outside of this repository, with
//! the real binary: check, build, and a run over the sample data.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::app::{TestApp, anacostia};
use crate::support::dev::DevSession;
use crate::support::wait::wait_for;

fn new(folder: &Path, args: &[&str]) -> Output {
    anacostia().arg("new").args(args).current_dir(folder).output().unwrap()
}

/// Creates a project in this language.
fn project(language: &str) -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let made = new(home.path(), &["cold-room", "--lang", language]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said = String::from_utf8(made.stdout).unwrap();
    for step in ["cd cold-room", "anacostia dev", "cp samples/wednesday.csv data/readings/"] {
        assert!(said.contains(step), "{step} is missing in\n{said}");
    }
    let folder = home.path().join("cold-room");
    (home, folder)
}

/// New, build, check, run: processes the two sample files, and a third that arrives later.
fn check_project_works(language: &str) {
    let (_home, folder) = project(language);
    let app = TestApp::at(&folder);
    let built = app.cli(&["build", "PATH", "--json"]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let built: Value = serde_json::from_slice(&built.stdout).unwrap();
    assert_eq!((&built[0]["action"], &built[0]["state"]), (&json!("summary"), &json!("changed")), "{built}");
    assert!(app.cli(&["check", "PATH"]).status.success());
    if language == "rust" {
        let lock = include_str!("../../src/cli/new/templates/rust/Cargo.lock");
        let now = fs::read_to_string(folder.join("actions/summary/Cargo.lock")).unwrap();
        assert_eq!(now, lock, "the template's lock is not the one of its packages");
    }
    let told = |key: &str| {
        app.cli_json(&["component", "inspect", "--json", folder.join("actions/summary.wasm").to_str().unwrap()])[key]
            .clone()
    };
    let known = told("language").as_str().unwrap().to_lowercase();
    assert_eq!(known.split(' ').next().unwrap(), language.replace("typescript", "javascript"));
    assert_eq!(told("kind"), "action");
    assert_eq!(app.cli_json(&["build", "PATH", "--json"])[0]["state"], "up_to_date");

    let once = || {
        let ran = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    let latest = || app.cli_json(&["runs", "show", "latest", "PATH", "--json"]);
    once();
    let run = latest();
    assert_eq!((&run["state"], &run["actions"][0]["state"]), (&json!("succeeded"), &json!("succeeded")), "{run:#}");
    assert_eq!(run["actions"][0]["attempts"][0]["message"], "7 rows, mean 4.914", "{run:#}");
    let summary = |day: &str| -> Value {
        serde_json::from_slice(&fs::read(folder.join(format!("data/summaries/{day}.csv.json"))).unwrap()).unwrap()
    };
    assert_eq!(
        (summary("monday"), summary("tuesday")),
        (json!({"rows": 4, "mean": 4.7}), json!({"rows": 3, "mean": 5.2}))
    );

    fs::copy(folder.join("samples/wednesday.csv"), folder.join("data/readings/wednesday.csv")).unwrap();
    app.drop_file("data/readings/bad.csv", b"time,value\n08:00,much\n");
    let ran = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    assert_eq!(ran.status.code(), Some(1), "an invalid value fails the run");
    let error = latest()["actions"][0]["attempts"][0]["error"].to_string();
    assert!(error.contains("line 2 of bad.csv"), "{error}");
    assert!(!folder.join("data/summaries/wednesday.csv.json").exists(), "all or nothing");

    app.drop_file("data/readings/thursday.csv", b"time,value\n");
    once();
    assert_eq!(latest()["actions"][0]["attempts"][0]["message"], "no rows");
}

#[test]
fn a_rust_project_works_at_once() {
    check_project_works("rust");
}

#[test]
fn a_python_project_works_at_once() {
    check_project_works("python");
}

#[test]
fn a_javascript_project_works_at_once() {
    check_project_works("javascript");
}

#[test]
fn a_typescript_project_works_at_once() {
    check_project_works("typescript");
}

#[test]
fn a_c_project_works_at_once() {
    check_project_works("c");
}

#[test]
fn a_go_project_works_at_once() {
    check_project_works("go");
}

#[test]
fn an_edited_rust_action_is_swapped_in_and_compiler_errors_are_shown() {
    let (_home, folder) = project("rust");
    let app = TestApp::at(&folder);
    let mut session = DevSession::start(&folder);
    let url = session.next("ready")["url"].as_str().unwrap().to_owned();
    let source = folder.join("actions/summary/src/lib.rs");
    let original = fs::read_to_string(&source).unwrap();

    fs::write(&source, original.replace("let mean = total", "let mean: String = total")).unwrap();
    let failed = session.next("build_failed");
    assert_eq!(failed["changed"], json!(["actions/summary/src/lib.rs"]), "{failed}");
    let said = session.said();
    assert!(said.contains("mismatched types") && said.contains("src/lib.rs:"), "{said}");

    fs::write(&source, original.replace("rows, mean {mean", "lines, mean {mean")).unwrap();
    let swapped = session.next("swapped");
    assert_ne!(swapped["digest"], swapped["old"], "{swapped}");
    app.drop_file("data/readings/friday.csv", b"time,value\n08:00,2\n");
    let message = wait_for("a run of the new component", || {
        let runs = ureq::get(format!("{url}/api/v1/runs/2")).call().ok()?.body_mut().read_to_string().unwrap();
        let run: Value = serde_json::from_str(&runs).unwrap();
        run["actions"][0]["attempts"][0]["message"].as_str().map(str::to_owned)
    });
    assert_eq!(message, "1 lines, mean 2.000");
}

#[test]
fn a_new_project_is_complete_and_contains_no_machine_paths() {
    for language in ["rust", "python", "javascript", "typescript", "c", "go"] {
        let (_home, folder) = project(language);
        let manifest = fs::read_to_string(folder.join("anacostia.toml")).unwrap();
        assert!(manifest.starts_with("#:schema ./anacostia.schema.json\n"), "{manifest}");
        let schema: Value = serde_json::from_slice(&fs::read(folder.join("anacostia.schema.json")).unwrap()).unwrap();
        assert!(schema["properties"]["pipeline"].is_object());
        let mut todo = vec![folder.clone()];
        while let Some(next) = todo.pop() {
            for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() {
                    todo.push(path);
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap();
                assert!(!text.contains(env!("CARGO_MANIFEST_DIR")), "{}", path.display());
                let blank =
                    regex_lite::Regex::new("@[A-Z]+@").unwrap().find(&text).map(|found| found.as_str().to_owned());
                assert_eq!(blank, None, "{}", path.display());
                let is_script = text.starts_with("#!");
                assert_eq!(path.metadata().unwrap().permissions().mode() & 0o100 != 0, is_script, "{}", path.display());
            }
        }
        for ignored in ["/state/", "*.wasm"] {
            assert!(fs::read_to_string(folder.join(".gitignore")).unwrap().contains(ignored));
        }
    }
}

#[test]
fn existing_files_are_kept_and_invalid_names_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let refused = |args: &[&str]| {
        let output = new(home.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    };
    fs::create_dir_all(home.path().join("full")).unwrap();
    fs::write(home.path().join("full/mine.txt"), "mine").unwrap();
    fs::write(home.path().join("file"), "").unwrap();
    assert_eq!(
        refused(&["full", "--lang", "rust"]),
        "error: the folder full is not empty: nothing was written; name a folder that is not there\n"
    );
    assert_eq!(fs::read_dir(home.path().join("full")).unwrap().count(), 1);
    assert_eq!(
        refused(&["file", "--lang", "rust"]),
        "error: file is a file, or its path leads through one: nothing was written; name a folder that is not there\n"
    );
    assert_eq!(
        refused(&["Cold Room", "--lang", "rust"]),
        "error: `Cold Room` cannot be the name of a pipeline: a name starts with a letter a-z, continues with a-z, 0-9, `_` or `-`, and has at most 63 characters; such as `anacostia new cold-room`\n"
    );
    assert!(refused(&["good"]).contains("--lang"));
    assert!(
        refused(&["good", "--lang", "cobol"])
            .contains("[possible values: rust, python, javascript, typescript, c, go]")
    );
    assert!(!home.path().join("good").exists());
    fs::create_dir(home.path().join("empty")).unwrap();
    assert!(new(home.path(), &["empty", "--lang", "py"]).status.success(), "an empty folder is accepted");
}
