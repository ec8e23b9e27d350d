//! Trigger components in every language besides Rust: each build script makes one of what the
//! source defines, and says what is wrong if that is no guest.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::app::TestApp;
use crate::support::wait::{wait_for, wait_until};
use crate::triggers::components::{component, ticks};

/// The languages, and the error of a guest that has no idea, with its location in the source where
/// the language has one.
const LANGUAGES: [(&str, &[&str]); 5] = [
    ("python", &["failed: ValueError: no idea", "at app.py:", "in decide"]),
    ("javascript", &["failed: TypeError: no idea", "at app.js:", "in decide"]),
    ("typescript", &["failed: TypeError: no idea", "at app.ts:", "in decide"]),
    ("c", &["sensor: no idea"]),
    ("go", &["failed: panic: no idea", "at decider.go:", "in Decide"]),
];

/// A pipeline with a watched resource for each language, with one file, whose trigger asks a
/// component in that language with these params. All components are compiled.
fn app(params: &str) -> TestApp {
    let mut manifest = String::from("manifest_version = 1\n[pipeline]\nname = \"deciders\"\njoin = \"any\"\n");
    for (language, _) in LANGUAGES {
        manifest.push_str(&format!(
            r#"
[resources.{language}]
kind = "folder"
path = "{language}"
watch = true
trigger = {{ component = {{ file = "decider_{language}.wasm", params = {{ {params} }} }} }}
"#
        ));
    }
    let names = LANGUAGES.map(|(language, _)| format!("\"{language}\"")).join(", ");
    manifest.push_str(&format!(
        "[actions.work]\ncomponent = \"worker.wasm\"\nafter = [{names}]\nreads = [{names}]\nparams = {{ steps = [] }}\n"
    ));
    let guests = LANGUAGES.map(|(language, _)| format!("decider_{language}"));
    let app = guests.iter().fold(TestApp::new(&manifest).with_guest("worker"), |app, guest| app.with_guest(guest));
    for (language, _) in LANGUAGES {
        app.drop_file(&format!("{language}/a"), b"a");
    }
    // It asks the components, and so compiles them, which takes longer than a test waits.
    let output = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    app
}

/// Waits for a tick of a trigger with this outcome, and returns the answer of its component.
#[track_caller]
fn wait_for_answer(app: &TestApp, trigger: &str, outcome: &str) -> String {
    wait_for(&format!("{trigger} to be {outcome}"), || {
        let ticks = ticks(app, trigger);
        let tick =
            ticks.iter().find(|tick| tick["outcome"] == outcome && component(tick)["seen"] != "not asked yet")?;
        component(tick)["seen"].as_str().map(str::to_owned)
    })
}

#[test]
fn a_component_in_every_language_decides_by_count() {
    let mut app = app("least = 3");
    app.start();
    for (language, _) in LANGUAGES {
        assert_eq!(wait_for_answer(&app, language, "not_ready"), "1 of 3", "{language}");
        app.drop_file(&format!("{language}/b"), b"b");
        app.drop_file(&format!("{language}/c"), b"c");
    }
    for (language, _) in LANGUAGES {
        assert_eq!(wait_for_answer(&app, language, "fired"), "3 are enough", "{language}");
        app.wait_to_say(&format!("trigger {language}: asked"));
    }
    // A run takes what is new in all resources that fire at that time.
    let runs = app.wait_for_runs(1);
    let taken = runs.iter().map(|run| app.get(&format!("/api/v1/runs/{}", run["number"]))["inputs_count"].clone());
    assert_eq!(taken.filter_map(|count| count.as_u64()).sum::<u64>(), 15, "{runs:#?}");
}

#[test]
fn what_a_component_in_any_language_fails_with_is_the_reason() {
    for (params, code) in [("fails = \"yes\"", None), ("least = 1, of = \"elsewhere\"", Some("denied: "))] {
        let mut app = app(params);
        app.start();
        for (language, said) in LANGUAGES {
            let parts = code.as_ref().map_or(said, std::slice::from_ref);
            let seen = wait_for_answer(&app, language, "error");
            assert!(seen.contains(parts[0]), "{language}: {seen}");
            // The host's log has the location too.
            wait_until(&format!("{language} to say where"), || parts.iter().all(|part| app.said().contains(part)));
        }
        assert!(app.get_all("/api/v1/runs").is_empty());
    }
}

/// Sources that define an action, and sources that define a trigger component, for each script.
const SOURCES: [(&str, &str, &str, &str); 5] = [
    ("python", "app.py", "class Action: ...\n", "class Decider: ...\n"),
    ("js", "app.js", "export const action = { run() {} };\n", "export const decider = { decide() {} };\n"),
    ("js", "app.ts", "export const action = { run() {} };\n", "export const decider = { decide() {} };\n"),
    (
        "c",
        "guest.c",
        "bool exports_anacostia_pipeline_action_run(void *outcome, void *error);\n",
        "bool exports_anacostia_pipeline_decider_decide(void *decision, void *error);\n",
    ),
    ("go", "guest.go", "package action\n", "package decider\n"),
];

/// What a script says of a folder with these files, which it does not build.
#[track_caller]
fn refusal(script: &str, files: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scripts/build-{script}-guest")))
        .args([folder.path(), &folder.path().join("guest.wasm")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{script}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_guest_is_either_an_action_or_a_trigger_component() {
    for (script, file, action, decider) in SOURCES {
        // A language whose package is named in each file has to have two.
        let both = format!("{action}{decider}");
        let files: &[_] = if script == "go" { &[(file, action), ("b.go", decider)] } else { &[(file, both.as_str())] };
        let said = refusal(script, files);
        let why = "): a component is one of the two, so each needs its own folder\n";
        assert!(said.contains("defines both an action (") && said.ends_with(why), "{file}: {said}");

        let said = refusal(script, &[(file, if script == "go" { "package other\n" } else { "\n" })]);
        let why = if script == "python" {
            "TypeError: app.py has neither a class Action nor a class Decider, and the host calls one of them\n"
        } else {
            "defines neither an action ("
        };
        assert!(said.contains(why), "{file}: {said}");
    }
    let imported = "from rules import Limit, Decider\nfrom work import Action\n";
    let said = refusal("python", &[("app.py", imported)]);
    assert!(said.contains("defines both an action ("), "{said}");
}
