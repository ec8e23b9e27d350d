//! Disk space that is freed, and machines on which a usual location is not writable.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anacostia::base::Digest;
use rustix::process::Signal;
use serde_json::json;

use crate::support::app::{TestApp, anacostia};
use crate::support::guests::guest;
use crate::support::wait::wait_until;

fn app(steps: &str) -> TestApp {
    let manifest = format!(
        r#"
manifest_version = 1
[pipeline]
name = "space"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[actions.work]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = {{ steps = [{steps}] }}
"#
    );
    let mut app = TestApp::new(&manifest).with_guest("worker");
    fs::create_dir(app.path("raw")).unwrap();
    let cache = app.path("cache");
    app.set_env("XDG_CACHE_HOME", cache.to_str().unwrap());
    app
}

/// Returns the worker with an empty section: another component, which does the same.
fn variant(number: u8) -> Vec<u8> {
    let mut bytes = fs::read(guest("worker")).unwrap();
    bytes.extend([0, 3, 1, b'v', number]);
    bytes
}

fn stored_components(app: &TestApp) -> Vec<String> {
    let files = fs::read_dir(app.path("state/components")).unwrap();
    let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn names(variants: &[u8]) -> Vec<String> {
    let mut names: Vec<String> =
        variants.iter().map(|number| format!("{}.wasm", Digest::of(&variant(*number)).hex())).collect();
    names.sort();
    names
}

#[track_caller]
fn stop(app: &mut TestApp) {
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success());
}

#[test]
fn components_are_removed_when_no_run_can_need_them() {
    let mut app = app(r#"{ do = "read", from = "raw" }"#);
    for number in 0..2 {
        fs::write(app.path("worker.wasm"), variant(number)).unwrap();
        app.start();
        app.drop_file(&format!("raw/{number}"), &[number]);
        app.wait_for_runs(usize::from(number) + 1);
        stop(&mut app);
    }
    assert_eq!(stored_components(&app), names(&[1]), "the run of the first has succeeded");

    // A failed run may be retried.
    let text = fs::read_to_string(app.path("anacostia.toml")).unwrap();
    let failing = text.replace(r#"{ do = "read", from = "raw" }"#, r#"{ do = "fail", message = "no" }"#);
    fs::write(app.path("anacostia.toml"), failing).unwrap();
    app.start();
    app.drop_file("raw/fails", b"fails");
    assert_eq!(app.wait_for_runs(3)[2]["state"], "failed");
    let refused = app.cli(&["gc", "PATH"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("in use by process"), "{refused:?}");
    stop(&mut app);
    fs::write(app.path("worker.wasm"), variant(2)).unwrap();
    app.start();
    stop(&mut app);
    assert_eq!(stored_components(&app), names(&[1, 2]));

    fs::write(app.path("worker.wasm"), variant(3)).unwrap();
    let size = variant(2).len();
    let told = app.cli_json(&["gc", "--dry-run", "--json", "PATH"]);
    assert_eq!(told["components"], json!({"files": 1, "bytes": size}));
    assert_eq!(stored_components(&app), names(&[1, 2]), "nothing was removed");
    let output = app.cli(&["gc", "PATH"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("Removed 1 kept component (") && text.ends_with("and 0 files (0 B) of compiled code.\n"),
        "{text}"
    );
    assert_eq!(stored_components(&app), names(&[1]));
}

/// Returns the size of the log on disk in bytes.
fn log_bytes(app: &TestApp) -> u64 {
    let segments = fs::read_dir(app.path("state/logs")).unwrap();
    // A file may be removed while they are counted.
    segments.filter_map(|segment| segment.unwrap().metadata().ok()).map(|about| about.len()).sum()
}

#[test]
fn logs_of_ended_runs_are_trimmed_to_the_bound_while_the_host_runs() {
    let text = "x".repeat(2_000);
    let mut app = app(&format!(r#"{{ do = "log", message = "{text}", times = 200 }}"#));
    let manifest = fs::read_to_string(app.path("anacostia.toml")).unwrap();
    fs::write(app.path("anacostia.toml"), manifest.replace("[pipeline]", "[pipeline]\nlogs = \"1MiB\"")).unwrap();
    app.start();
    for number in 0..8_u8 {
        app.drop_file(&format!("raw/{number}"), &[number]);
        app.wait_for_runs(usize::from(number) + 1);
    }
    // Each run logs more than 400 KB, and the log is checked when a segment of 64 KiB is full.
    wait_until("the log to shrink", || log_bytes(&app) <= (1 << 20) + (64 << 10));
    assert_eq!(app.cli(&["runs", "logs", "8", "PATH"]).stdout.split(|byte| *byte == b'\n').count(), 201);
    let gone = app.cli(&["runs", "logs", "1", "PATH"]);
    assert_eq!((gone.status.code(), &*gone.stdout), (Some(1), &b""[..]));
    assert_eq!(
        String::from_utf8(gone.stderr).unwrap(),
        "error: run #1: log lines of work have been removed to make room for newer ones; `[pipeline] logs` in the manifest \
         says how many bytes are kept\n"
    );
    // The target of the web page's link.
    assert_eq!(app.try_get("/api/v1/runs/1/logs").unwrap().0, 410);
    stop(&mut app);
    app.cli_json(&["gc", "--json", "PATH"]);
    assert!(log_bytes(&app) <= 1 << 20, "the last segment has grown since it was checked: {}", log_bytes(&app));
    assert_eq!(app.cli(&["runs", "logs", "8", "PATH"]).status.code(), Some(0));
}

#[test]
fn an_unwritable_cache_folder_does_not_prevent_the_start() {
    let mut app = app(r#"{ do = "read", from = "raw" }"#);
    fs::write(app.path("a-file"), "").unwrap();
    let file = app.path("a-file");
    for (round, home) in [file.to_str().unwrap(), "/proc"].iter().enumerate() {
        app.set_env("XDG_CACHE_HOME", home);
        app.start();
        app.drop_file(&format!("raw/{round}"), &[u8::try_from(round).unwrap()]);
        assert_eq!(app.wait_for_runs(round + 1)[round]["state"], "succeeded");
        stop(&mut app);
    }
    let warning = format!("compiled code is kept in {} instead", app.path("state/compiled").display());
    assert_eq!(app.said().matches(&warning).count(), 2, "{}", app.said());
}

/// Runs a command as a user who may read everything here, and write nothing.
fn as_read_only_user(app: &TestApp, args: &[&str]) -> Output {
    let program = app.path("program");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_anacostia"), &program).unwrap();
    }
    let mut command = Command::new(program);
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    command.args(args).arg(app.folder()).stdin(Stdio::null()).output().unwrap()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn records_of_a_stopped_host_can_be_read_with_read_only_permissions() {
    let mut app = app(r#"{ do = "log", message = "seen" }"#);
    app.start();
    app.drop_file("raw/1", b"1");
    app.wait_for_runs(1);
    stop(&mut app);
    set_mode(app.folder(), 0o755);
    set_mode(&app.path("state"), 0o555);
    for (args, expected) in [
        (&["runs", "list"][..], "succeeded"),
        (&["runs", "show", "1"], "succeeded"),
        (&["runs", "logs", "1"], "seen"),
        (&["artifacts", "list"], "raw"),
    ] {
        let output = as_read_only_user(&app, args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains(expected), "{args:?}: {output:?}");
    }
    set_mode(&app.path("state"), 0o755);
}

#[test]
fn a_too_small_address_space_is_reported_at_the_start() {
    let app = app("");
    let program = anacostia().get_program().to_owned();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -v 4000000; exec \"$0\" run --once --listen 127.0.0.1:0 \"$1\""]);
    let output = shell.arg(program).arg(app.folder()).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let expected = "the sandbox cannot be built: the address space of the process is limited to 3.8 GiB (`ulimit -v`), and \
                    guests need 12 GiB; raise the limit, or lift it";
    assert!(String::from_utf8_lossy(&output.stderr).contains(expected), "{output:?}");
}
