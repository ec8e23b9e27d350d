//! Disk space that is freed, and machines on which a usual location is not writable.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anacostia::base::Digest;
use rustix::process::Signal;
use serde_json::json;

use crate::support::app::{TestApp, anacostia};
use crate::support::guests::guest;
use crate::support::program::as_nobody;
use crate::support::wait::{wait_for, wait_until};

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
    let beside = app.cli_json(&["gc", "--json", "PATH"]);
    assert_eq!(beside["components"], json!({"files": 0, "bytes": 0}), "its run may be retried");
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
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["REMOVED", "COUNT", "SIZE"]);
    assert_eq!(
        (&lines[1][..3], &lines[3][..5]),
        (&["kept", "components", "1"][..], &["files", "of", "compiled", "code", "0"][..])
    );
    assert_eq!(stored_components(&app), names(&[1]));
}

#[test]
fn components_of_the_oldest_ended_runs_are_removed_beyond_a_bound() {
    let mut app = app(r#"{ do = "fail", message = "no" }"#);
    for number in 0..3 {
        fs::write(app.path("worker.wasm"), variant(number)).unwrap();
        app.start();
        app.drop_file(&format!("raw/{number}"), &[number]);
        assert_eq!(app.wait_for_runs(usize::from(number) + 1)[usize::from(number)]["state"], "failed");
        stop(&mut app);
    }
    assert_eq!(stored_components(&app), names(&[0, 1, 2]));
    // Files with a hole, which take no space: 1.5 GiB each, and together more than 4 GiB.
    let file = |number: u8| app.path(&format!("state/components/{}", names(&[number])[0]));
    let set_size = |number: u8, bytes: u64| {
        fs::File::options().write(true).open(file(number)).unwrap().set_len(bytes).unwrap();
    };
    let large = 3 << 29;
    (0..3).for_each(|number| set_size(number, large));
    let told = app.cli_json(&["gc", "--dry-run", "--json", "PATH"]);
    assert_eq!(told["components"], json!({"files": 1, "bytes": large}));
    assert_eq!(stored_components(&app), names(&[0, 1, 2]), "nothing was removed");
    let output = app.cli(&["gc", "PATH"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(line, ["kept", "components", "1", "1.5", "GiB"], "{text}");
    assert_eq!(stored_components(&app), names(&[1, 2]));
    // The component in force counts, and stays although its run is not the newest one.
    fs::write(app.path("worker.wasm"), variant(1)).unwrap();
    (1..3).for_each(|number| set_size(number, 3 << 30));
    app.cli_json(&["gc", "--json", "PATH"]);
    assert_eq!(stored_components(&app), names(&[1]));
    set_size(1, variant(1).len() as u64);

    let why = |run: u64| {
        format!(
            "run #{run} cannot be retried: the components that it began with were removed, because stored components take at \
             most 4 GiB; `anacostia runs retry {run} --current` starts a new run with the same inputs, and with the current \
             manifest and components"
        )
    };
    let refused = app.cli(&["runs", "retry", "1", "PATH"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(String::from_utf8_lossy(&refused.stderr), format!("error: {}\n", why(1)));
    app.start();
    let (status, problem) = app.post("/api/v1/runs/3/retry");
    assert_eq!((status, problem["detail"].as_str()), (409, Some(&*why(3))));
    let refused = app.cli(&["runs", "retry", "3", "PATH"]);
    let said = format!("error: the host refused to retry the run: {}\n", why(3));
    assert_eq!(String::from_utf8_lossy(&refused.stderr), said);
    assert_eq!(app.get("/api/v1/runs/3")["state"], "failed");
    for retry in [&["runs", "retry", "2", "PATH"][..], &["runs", "retry", "3", "PATH", "--current"]] {
        let retried = app.cli(retry);
        assert!(retried.status.success(), "{retried:?}");
    }
    assert_eq!(app.wait_for_runs(4).len(), 4);
    assert_eq!(app.get("/api/v1/runs/2")["actions"][0]["attempts"].as_array().unwrap().len(), 2);
}

/// A component of an unfinished run stays, however large, and however old the run.
#[test]
fn components_of_unfinished_runs_stay_beyond_the_bound() {
    let mut app = app(r#"{ do = "await_cancel" }"#);
    fs::write(app.path("worker.wasm"), variant(0)).unwrap();
    app.start();
    app.drop_file("raw/0", b"0");
    wait_until("the run to begin", || app.try_get("/api/v1/runs/1").is_ok_and(|(_, run)| run["state"] == "running"));
    app.kill();
    let stored = app.path(&format!("state/components/{}", names(&[0])[0]));
    fs::File::options().write(true).open(stored).unwrap().set_len(5 << 30).unwrap();
    fs::write(app.path("worker.wasm"), variant(1)).unwrap();
    let told = app.cli_json(&["gc", "--json", "PATH"]);
    assert_eq!(told["components"], json!({"files": 0, "bytes": 0}));
    assert_eq!(stored_components(&app), names(&[0]));
}

/// The log of the database can only be kept small by refusing to record, so its growth is shown.
#[test]
fn a_write_ahead_log_that_a_foreign_reader_lets_grow_is_shown_until_it_has_gone() {
    let mut app = app(r#"{ do = "read", from = "raw" }"#);
    app.start();
    let warnings = || app.get("/api/v1/pipeline")["host"]["warnings"].clone();
    assert_eq!(warnings(), json!([]));
    let database = app.path("state/metadata.db");
    let [reader, writer] = [(); 2].map(|()| rusqlite::Connection::open(&database).unwrap());
    reader.execute_batch("BEGIN; SELECT count(*) FROM runs").unwrap();
    let grow = "PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0; CREATE TABLE foreign_rows (content);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 65)
        INSERT INTO foreign_rows SELECT zeroblob(4200000) FROM n";
    writer.execute_batch(grow).unwrap();
    drop(writer);
    let ready = || app.try_get("/readyz").unwrap().0;
    // An idle host looks at the log when it is asked whether it can record.
    assert_eq!(ready(), 200, "all that is to be recorded is recorded");
    let warning = wait_for("the warning", || warnings()[0].as_str().map(str::to_owned));
    let (size, rest) = warning.split_once(" and grows ").unwrap();
    assert!(
        size.starts_with("the write-ahead log of the metadata store takes 26") && size.ends_with(" MiB"),
        "{warning}"
    );
    assert_eq!(
        rest,
        format!(
            "with each write, probably because another program stays in a transaction that reads {}: end that program, \
             or its transaction, and the host frees the space",
            database.display()
        )
    );
    let page = app.page();
    assert!(page.contains("<strong>Warning:</strong> the write-ahead log of the metadata store takes "), "{page}");
    app.drop_file("raw/1", b"1");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    assert_eq!(ready(), 200);
    app.wait_to_say("the write-ahead log of the metadata store takes ");
    assert_eq!(app.said().matches("the write-ahead log of the metadata store takes ").count(), 1, "{}", app.said());
    reader.execute_batch("ROLLBACK").unwrap();
    wait_until("the log to be small", || warnings() == json!([]));
    assert!(fs::metadata(app.path("state/metadata.db-wal")).unwrap().len() <= 64 << 20);
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
        "error: run #1: log lines of work have been removed; `[pipeline] logs` and `[retention] logs` in the manifest say \
         which are kept\n"
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
    assert_eq!(app.said().matches(" WARN ").count(), 2, "one for each start: {}", app.said());
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
        let output = as_nobody(&app, args);
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
