//! The action and the manifest in the README are built and run exactly as they are printed there.

use std::fs;
use std::path::Path;

use anacostia::manifest::parse_pinned;

use crate::support::app::TestApp;

const README: &str = include_str!("../../README.md");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Returns the first block of this language in the section on writing an action.
fn block(language: &str) -> String {
    let section = README.split("### Writing an action").nth(1).expect("the section");
    let block = section.split(&format!("```{language}\n")).nth(1).expect("a block");
    block.split("```").next().unwrap().replace("CHECKOUT", ROOT)
}

#[test]
fn the_action_of_the_readme_builds_and_works() {
    let app = TestApp::new(&block("toml"));
    fs::create_dir(app.path("src")).unwrap();
    fs::write(app.path("src/lib.rs"), block("rust")).unwrap();
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
fn its_triggers_can_be_run() {
    let section = README.split("### Triggers").nth(1).expect("the section");
    let triggers = section.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let head = "manifest_version = 1\n[pipeline]\nname = \"readme\"\n";
    let action = "[actions.work]\ncomponent = \"w.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\n";
    let folder = Path::new("/nowhere");
    let text = format!("{head}{triggers}{action}");
    let pipeline = parse_pinned(&text, folder, &folder.join("anacostia.toml"), &|_| None).unwrap();
    assert_eq!(pipeline.triggers.len(), 2);
}
