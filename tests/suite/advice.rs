//! What the command line says when a user has to act: files that were not taken, folders that may
//! not be written, a host that does not answer.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::app::TestApp;
use crate::support::program::{NOBODY, as_nobody};

const ONCE: [&str; 4] = ["run", "--once", "--listen", "127.0.0.1:0"];

fn app() -> TestApp {
    let manifest = r#"
manifest_version = 1
[pipeline]
name = "advice"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
include = ["**/*.csv*"]
[actions.read]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = { steps = [{ do = "read", from = "raw" }] }
"#;
    let app = TestApp::new(manifest).with_guest("worker");
    fs::create_dir(app.path("raw")).unwrap();
    app
}

/// Gives a file or folder to that user.
fn give(path: &Path) {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn said(output: &Output) -> (String, String) {
    (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

#[test]
fn once_lists_files_that_it_did_not_take_and_says_why() {
    let app = app();
    fs::write(app.path("raw/secret.csv"), "1").unwrap();
    set_mode(&app.path("raw/secret.csv"), 0);
    fs::write(app.path("raw/half.csv.part"), "1").unwrap();
    fs::write(app.path("raw/notes.tmp"), "not included, so nobody expects a run").unwrap();
    for place in ["", "raw", "raw/secret.csv"] {
        give(&app.path(place));
    }
    let output = as_nobody(&app, &ONCE);
    let (out, error) = said(&output);
    assert!(output.status.success(), "{error}");
    let expected = "0 runs: 1 file is not taken: raw/secret.csv: it cannot be read: Permission denied (os error 13)\n\
                    1 file is ignored by name: raw/half.csv.part; `ignore` in the manifest says which names are temporary\n";
    assert!(out.ends_with(expected), "{out}");

    // Files that `include` does not match, and folders that cannot be searched.
    fs::remove_file(app.path("raw/half.csv.part")).unwrap();
    fs::write(app.path("raw/notes.txt"), "1").unwrap();
    fs::create_dir(app.path("raw/closed")).unwrap();
    fs::write(app.path("raw/closed/b.csv"), "1").unwrap();
    give(&app.path("raw/closed"));
    set_mode(&app.path("raw/closed"), 0o444);
    let (out, error) = said(&as_nobody(&app, &ONCE));
    let expected = "0 runs: 1 folder waits: raw/closed is a folder that this user may list and not search: give it the `x` \
                    permission (`chmod u+x`)\n\
                    1 file is not taken: raw/secret.csv: it cannot be read: Permission denied (os error 13)\n\
                    1 file is outside `include`: raw/notes.txt; that key of the manifest says which files count\n";
    assert!(out.ends_with(expected), "{out}{error}");
    set_mode(&app.path("raw/closed"), 0o755);
    fs::remove_dir_all(app.path("raw/closed")).unwrap();

    // Names are not mentioned if there was work to do.
    fs::write(app.path("raw/a.csv"), "1").unwrap();
    let (out, _) = said(&as_nobody(&app, &ONCE));
    let expected =
        "1 run: 1 succeeded\n1 file is not taken: raw/secret.csv: it cannot be read: Permission denied (os error 13)\n";
    assert!(out.ends_with(expected), "{out}");
}

#[test]
fn a_command_that_writes_names_what_is_read_only() {
    let app = app();
    set_mode(app.folder(), 0o755);
    let (_, error) = said(&as_nobody(&app, &ONCE));
    let owner = fs::metadata(app.folder()).map(|about| std::os::unix::fs::MetadataExt::uid(&about)).unwrap();
    let why = if owner == 0 {
        format!("it belongs to user id 0, and this process runs as user id {NOBODY}; ")
    } else {
        set_mode(app.folder(), 0o555);
        "this user owns it, without the permission to write; ".to_owned()
    };
    let told = |path: &Path| {
        format!(
            "error: {} is read-only here: {why}give this user the permission to write it (`chmod`, `chown`), or run the command \
             as its owner. Commands that only read records, such as `anacostia runs list`, still work\n",
            path.display()
        )
    };
    if owner == 0 {
        assert!(error.ends_with(&told(app.folder())), "{error}");
    }
    set_mode(app.folder(), 0o755);
    app.drop_file("raw/a.csv", b"1");
    assert!(app.cli(&[&ONCE[..], &["PATH"]].concat()).status.success());
    let state = app.path("state");
    let files = [state.clone(), state.join("logs"), state.join("metadata.db")];
    let mode = |path: &Path, write: bool| {
        let bits = if path.is_dir() { 0o555 } else { 0o444 };
        set_mode(path, if write { bits | 0o222 } else { bits });
    };
    // The log of the database may be left, too.
    for entry in fs::read_dir(&state).unwrap() {
        mode(&entry.unwrap().path(), true);
    }
    mode(&state, true);
    for path in &files {
        mode(path, false);
        for verb in [&["gc"][..], &ONCE, &["runs", "retry", "1"]] {
            // A request alone needs no logs.
            if verb[0] == "runs" && path.ends_with("logs") {
                continue;
            }
            let output = as_nobody(&app, verb);
            let (_, error) = said(&output);
            assert!(output.status.code() == Some(1) && error.ends_with(&told(path)), "{verb:?}: {error}");
        }
        mode(path, true);
    }
}

#[test]
fn a_host_that_does_not_answer_is_reported_soon() {
    let mut app = app();
    app.start();
    app.drop_file("raw/a.csv", b"1");
    app.wait_for_runs(1);
    app.signal(Signal::STOP);
    let (address, pid) = (app.url().trim_start_matches("http://").to_owned(), app.pid());
    let began = Instant::now();
    let output = app.cli(&["trigger", "PATH"]);
    let (_, error) = said(&output);
    assert!((9..25).contains(&began.elapsed().as_secs()), "{:?}: {error}", began.elapsed());
    let notice = format!("The host at {address} (process {pid}) does not answer; waiting 7 s more.\n");
    let told = format!(
        "error: the host at {address} (process {pid}) has not answered for 10 s: the process is stopped (SIGSTOP, or Ctrl-Z in its \
         terminal); `kill -CONT {pid}` continues it\n"
    );
    assert_eq!((output.status.code(), error), (Some(1), notice + &told));
    app.signal(Signal::CONT);
    let began = Instant::now();
    let (_, error) = said(&app.cli(&["trigger", "--wait", "PATH"]));
    assert!(error.is_empty() && began.elapsed() < Duration::from_mins(1), "{error}");
}
