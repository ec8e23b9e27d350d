//! The action, the trigger component and the manifests in `docs` are built and run exactly as they
//! are printed there, and the README's pipeline is that of the example.

use std::fs;
use std::path::Path;

use anacostia::manifest::parse_pinned;

use crate::support::app::TestApp;
use crate::support::wait::wait_until;

const README: &str = include_str!("../../README.md");
const ACTIONS: &str = include_str!("../../docs/ACTIONS.md");
const TRIGGERS: &str = include_str!("../../docs/TRIGGERS.md");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Returns the first block of this language after a heading of a page.
fn block(page: &str, heading: &str, language: &str) -> String {
    let section = page.split(&format!("# {heading}\n")).nth(1).expect("the section");
    let block = section.split(&format!("```{language}\n")).nth(1).expect("a block");
    block.split("```").next().unwrap().replace("CHECKOUT", ROOT)
}

#[test]
fn the_action_builds_and_works() {
    let app = TestApp::new(&block(ACTIONS, "Writing an action", "toml"));
    fs::create_dir(app.path("src")).unwrap();
    fs::write(app.path("src/lib.rs"), block(ACTIONS, "Writing an action", "rust")).unwrap();
    let cargo = format!(
        "[package]\nname = \"count_rows\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n[dependencies]\nanacostia-guest = {{ path = \"{ROOT}/guest-examples/rust/support\" }}\n[workspace]\n"
    );
    fs::write(app.path("Cargo.toml"), cargo).unwrap();
    app.drop_file("raw/a.csv", b"name,value\na,1\nb,2\n");
    let output = app.cli(&["run", "--build", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(app.path("counts/a.csv.count")).unwrap(), "2");
}

#[test]
fn the_trigger_component_in_python_builds_and_decides() {
    let resource = "[resources.readings]\nkind = \"folder\"\npath = \"readings\"\nwatch = true\n";
    let build = format!("{{ command = \"{ROOT}/scripts/build-python-guest . enough.wasm\" }}");
    let mut app = TestApp::new(&format!(
        "manifest_version = 1\n[pipeline]\nname = \"enough\"\n{resource}\
         [resources.readings.trigger.component]\nfile = \"enough.wasm\"\nbuild = {build}\n\
         [actions.work]\ncomponent = \"worker.wasm\"\nafter = [\"readings\"]\nreads = [\"readings\"]\n\
         params = {{ steps = [{{ do = \"metrics\", name = \"mean\", values = [3.5] }}] }}\n"
    ))
    .with_guest("worker");
    fs::write(app.path("app.py"), block(TRIGGERS, "Components that decide", "python")).unwrap();
    app.drop_file("readings/a", &vec![0; 99_999]);
    let output = app.cli(&["run", "--build", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    app.start();
    let seen = || app.get("/api/v1/triggers/preview").to_string();
    wait_until("it to skip", || seen().contains("\"99999 bytes are new\""));
    app.drop_file("readings/b", b"b");
    assert!(app.wait_for_runs(1)[0]["trigger"].as_str().unwrap().ends_with("100000 bytes are new"));
    app.drop_file("readings/c", b"c");
    assert!(app.wait_for_runs(2)[1]["trigger"].as_str().unwrap().ends_with("mean is only 3.5"));
}

#[test]
fn the_triggers_can_be_run() {
    let triggers = block(TRIGGERS, "Triggers", "toml");
    let head = "manifest_version = 1\n[pipeline]\nname = \"docs\"\n";
    let action = "[actions.work]\ncomponent = \"w.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\n";
    let folder = Path::new("/nowhere");
    let text = format!("{head}{triggers}{action}");
    let pipeline = parse_pinned(&text, folder, &folder.join("anacostia.toml"), &|_| None).unwrap();
    assert_eq!(pipeline.triggers.len(), 2);
}

#[test]
fn the_readme_shows_the_manifest_of_the_example() {
    let path = Path::new(ROOT).join("guest-examples/pipelines/simplest/anacostia.toml");
    assert_eq!(block(README, "One pipeline", "toml"), fs::read_to_string(path).unwrap());
}
