//! Standard output and standard error of a host that fail, or that nobody reads: the host continues
//! to work.

use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Write as _, pipe};
use std::process::Stdio;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Signal;

use crate::support::app::{TestApp, anacostia};
use crate::support::wait::wait_until;

fn app(steps: &str) -> TestApp {
    let manifest = format!(
        r#"
manifest_version = 1
[pipeline]
name = "streams"
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
    let app = TestApp::new(&manifest).with_guest("worker");
    fs::create_dir(app.path("raw")).unwrap();
    app
}

/// A pipe that is full.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'\n'; 4096]).is_ok() {}
    while writer.write(b"\n").is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

fn status(app: &TestApp) -> String {
    app.get("/api/v1/nodes/raw")["state"].as_str().unwrap_or_default().to_owned()
}

/// Makes the threads of the host write to the log and to the report, and checks that all of them
/// continue.
#[track_caller]
fn check_works(app: &TestApp) {
    // If a folder is moved away before it is first checked, this is not noticed.
    wait_until("the host to be ready", || app.try_get("/readyz").is_ok_and(|(status, _)| status == 200));
    for round in 1..=2 {
        // The watch logs that it has lost the folder, and that the folder is back.
        fs::rename(app.path("raw"), app.path("away")).unwrap();
        wait_until("the folder to be unreachable", || status(app) == "unreachable");
        fs::rename(app.path("away"), app.path("raw")).unwrap();
        wait_until("the folder to be watched again", || status(app) == "watching");
        app.drop_file(&format!("raw/{round}"), &[round]);
        assert_eq!(app.wait_for_runs(usize::from(round))[0]["state"], "succeeded");
    }
    assert_eq!(app.try_get("/readyz").unwrap().0, 200);
}

#[track_caller]
fn check_graceful_stop(app: &mut TestApp) {
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success(), "the host did not stop gracefully");
}

#[test]
fn a_full_disk_under_the_log_does_not_stop_the_host() {
    let mut app = app(r#"{ do = "done" }"#);
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    app.start_with_streams(&["--json"], full(), full());
    check_works(&app);
    check_graceful_stop(&mut app);
}

#[test]
fn a_command_whose_output_cannot_be_written_says_so() {
    let mut app = app(r#"{ do = "done" }"#);
    app.start();
    app.drop_file("raw/1", b"1");
    app.wait_for_runs(1);
    let folder = app.folder().to_str().unwrap().to_owned();
    for args in [&["runs", "list"][..], &["runs", "list", "--json"], &["artifacts", "cat", "raw/1"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = anacostia().args(args).arg(&folder).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        let why = "error: failed to write the output: No space left on device (os error 28); make room where it goes, or \
                   send it elsewhere\n";
        assert_eq!(String::from_utf8(output.stderr).unwrap(), why, "{args:?}");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
    }
}

#[test]
fn closed_output_streams_do_not_stop_the_host() {
    let mut app = app(r#"{ do = "done" }"#);
    let gone = || Stdio::from(pipe().unwrap().1);
    app.start_with_streams(&[], gone(), gone());
    check_works(&app);
    check_graceful_stop(&mut app);
}

#[test]
fn blocked_output_streams_do_not_stop_the_host() {
    let mut app = app(r#"{ do = "done" }"#);
    let (_out, stdout) = full_pipe();
    let (_err, stderr) = full_pipe();
    app.start_with_streams(&[], stdout.into(), stderr.into());
    check_works(&app);
    check_graceful_stop(&mut app);
}

#[test]
fn a_second_signal_stops_a_host_with_blocked_output_streams() {
    let mut app = app(r#"{ do = "await_cancel", deaf = true }"#);
    let (_out, stdout) = full_pipe();
    let (_err, stderr) = full_pipe();
    app.start_with_streams(&["--json"], stdout.into(), stderr.into());
    app.drop_file("raw/1", b"1");
    wait_until("the attempt to be running", || {
        app.get("/api/v1/runs")["items"][0]["state"] == "running"
            && app.get("/api/v1/runs/1/logs").to_string().contains("awaiting cancel")
    });
    app.signal(Signal::TERM);
    wait_until("the host to be stopping", || app.try_get("/readyz").is_ok_and(|(status, _)| status == 503));
    app.signal_again(Signal::TERM);
    assert!(!app.wait_for_end().success(), "a host that is stopped at once must not exit with 0");
}
