//! The guests of the tests, built when the first test needs them.
//!
//! Each is a crate below `tests/guests`, or an action of the examples. They are built by the
//! scripts that users have, so every run of the tests also tests these scripts. A guest is built
//! once per test process, and not at all if nothing has changed since the last time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Returns the component of the guest `name`: `tests/guests/<name>`. A guest that is not written in
/// Rust has its language at the end of its name.
pub(crate) fn guest(name: &str) -> PathBuf {
    if name == "command" {
        return command();
    }
    if name == "python_program" {
        // One test needs it.
        return build("tests/guests/python_program/build.sh", None, "tests/guests/python_program");
    }
    let script = match name.rsplit('_').next() {
        Some("c") => "scripts/build-c-guest",
        Some("go") => "scripts/build-go-guest",
        Some("javascript" | "typescript") => "scripts/build-js-guest",
        Some("python") => "scripts/build-python-guest",
        _ => "scripts/build-rust-guest",
    };
    component(&format!("tests/guests/{name}"), script)
}

/// Returns the component of `tests/guests/command`, a program in C, built by its own `build.sh`.
pub(crate) fn command() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("tests/guests/command/build.sh", None, "tests/guests/command")).clone()
}

/// Returns the component of an action of the examples: `guest-examples/rust/<name>`.
pub(crate) fn example(name: &str) -> PathBuf {
    component(&format!("guest-examples/rust/{name}"), "scripts/build-rust-guest")
}

/// Returns the component of an action of the examples, `guest-examples/<language>/<name>`, built by
/// its own `build.sh`.
pub(crate) fn action(language: &str, name: &str) -> PathBuf {
    static BUILT: OnceLock<Mutex<HashMap<String, PathBuf>>> = OnceLock::new();
    // A separate lock, so that a test that needs a crate does not wait for the tools of all
    // languages.
    let mut built = BUILT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let folder = format!("guest-examples/{language}/{name}");
    let script = format!("{folder}/build.sh");
    built.entry(folder.clone()).or_insert_with(|| build(&script, None, &folder)).clone()
}

/// Returns the component of the sources in a folder of the checkout, built by a script of the
/// checkout.
fn component(folder: &str, script: &str) -> PathBuf {
    static BUILT: OnceLock<Mutex<HashMap<String, PathBuf>>> = OnceLock::new();
    // A failed build has panicked with the lock held. The next test then repeats the build, with
    // the same error.
    let mut built = BUILT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    built.entry(folder.to_owned()).or_insert_with(|| build(script, Some(folder), folder)).clone()
}

/// Calls a script of the checkout, with a folder of the checkout if the script needs one, and the
/// path of the component.
fn build(script: &str, argument: Option<&str>, folder: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let components = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
    std::fs::create_dir_all(&components).unwrap();
    let component = components.join(format!("{}.wasm", folder.replace('/', "-")));
    let output = Command::new(root.join(script))
        .args(argument.map(|argument| root.join(argument)))
        .arg(&component)
        .output()
        .unwrap_or_else(|why| panic!("{script} does not start: {why}"));
    assert!(
        output.status.success(),
        "building {folder} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    component
}
