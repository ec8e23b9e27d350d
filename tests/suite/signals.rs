//! Signals to a host that is starting, building or running.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::support::app::{TestApp, anacostia};
use crate::support::guests::guest;
use crate::support::wait::{wait_for, wait_until};

/// A process that is killed when this is dropped.
struct Process(Child);

impl Process {
    fn start(args: &[&str], cache: &Path) -> Self {
        let mut command = anacostia();
        command.args(args).env("XDG_CACHE_HOME", cache);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    #[track_caller]
    fn wait_for_end(&mut self) -> ExitStatus {
        wait_for("the process to end", || self.0.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn manifest(action: &str) -> String {
    format!(
        r#"
manifest_version = 1
[pipeline]
name = "signals"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[actions.work]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
{action}
"#
    )
}

/// The worker, with an additional unused module that takes a long time to compile.
fn slow_to_compile() -> Vec<u8> {
    let body = "local.get 0 local.get 0 i32.mul i32.const 7 i32.add local.set 0 ".repeat(40);
    let function = format!("(func (param i32) (result i32) {body} local.get 0)");
    let module = wat::parse_str(format!("(module {})", function.repeat(20_000))).unwrap();
    let mut bytes = fs::read(guest("worker")).unwrap();
    bytes.push(1);
    let mut size = module.len();
    while size > 127 {
        bytes.push(u8::try_from(size % 128).unwrap() | 128);
        size /= 128;
    }
    bytes.push(u8::try_from(size).unwrap());
    bytes.extend(module);
    bytes
}

/// Sends a GET to the host, and returns status and body.
fn get(address: &str, path: &str) -> Option<(u16, Value)> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let mut response = agent.get(format!("http://{address}{path}")).call().ok()?;
    let text = response.body_mut().read_to_string().unwrap();
    Some((response.status().as_u16(), serde_json::from_str(&text).unwrap()))
}

#[test]
fn a_compiling_host_is_live_but_not_ready_and_stops_at_once() {
    let app = TestApp::new(&manifest("params = { steps = [] }"));
    fs::write(app.path("worker.wasm"), slow_to_compile()).unwrap();
    fs::create_dir(app.path("raw")).unwrap();
    let cache = tempfile::tempdir().unwrap();
    for (signal, verb) in [(Signal::INT, "run"), (Signal::TERM, "dev"), (Signal::HUP, "run")] {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let folder = app.folder().to_str().unwrap();
        let mut host = Process::start(&[verb, "--listen", &address, folder], cache.path());
        assert_eq!(wait_for("an answer", || get(&address, "/healthz")).0, 200);
        let (status, ready) = get(&address, "/readyz").unwrap();
        assert_eq!((status, ready["detail"].as_str()), (503, Some("starting: the components are compiled or loaded")));
        assert_eq!(get(&address, "/api/v1/runs").unwrap().0, 503);
        host.signal(signal);
        assert!(host.wait_for_end().success(), "{verb} did not exit with 0");
        let compiled = fs::read_dir(cache.path().join("anacostia/compiled")).unwrap();
        let compiled =
            compiled.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|it| it == "cwasm"));
        assert_eq!(compiled.count(), 0, "the host waited for its compiler");
    }
}

#[test]
fn a_signal_stops_builds_and_their_child_processes() {
    let build = "sleep 1000 & echo $! > pid.tmp; mv pid.tmp pid; wait";
    let app = TestApp::new(&manifest(&format!("build = {{ command = \"{build}\", watch = [] }}\nparams = {{}}")));
    let cache = tempfile::tempdir().unwrap();
    let mut host = Process::start(&["run", "--build", app.folder().to_str().unwrap()], cache.path());
    let pid: i32 =
        wait_for("the build to be running", || fs::read_to_string(app.path("pid")).ok()?.trim().parse().ok());
    host.signal(Signal::TERM);
    assert!(host.wait_for_end().success());
    let pid = Pid::from_raw(pid).unwrap();
    wait_until("the build to end", || test_kill_process(pid).is_err() || is_dead(pid));
}

#[test]
fn an_interrupted_run_once_exits_with_1() {
    let mut app = TestApp::new(&manifest("params = { steps = [] }")).with_guest("worker");
    fs::create_dir(app.path("raw")).unwrap();
    // Sparse: the file takes no space, and half a minute to hash.
    fs::File::create(app.path("raw/large.bin")).unwrap().set_len(64 << 30).unwrap();
    app.start_with(&["--once"]);
    app.signal(Signal::INT);
    assert_eq!(app.wait_for_end().code(), Some(1));
}

/// Returns whether a process has ended, and was not waited for yet.
fn is_dead(pid: Pid) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join("stat"));
    stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

#[test]
fn repeated_sighup_stops_a_host_gracefully() {
    let steps = r#"params = { steps = [{ do = "log", message = "at work" }, { do = "sleep", ms = 700 }] }"#;
    let mut app = TestApp::new(&manifest(steps)).with_guest("worker");
    fs::create_dir(app.path("raw")).unwrap();
    app.start();
    app.drop_file("raw/1", b"1");
    wait_until("the attempt to be running", || {
        app.try_get("/api/v1/runs/1/logs").is_ok_and(|(_, body)| body.to_string().contains("at work"))
    });
    app.signal(Signal::HUP);
    wait_until("the host to be stopping", || app.said().contains("the terminal was closed: finishing running actions"));
    app.signal(Signal::HUP);
    assert!(app.wait_for_end().success(), "the host did not stop gracefully");
    app.start();
    let run = &app.wait_for_runs(1)[0];
    assert_eq!(run["state"], "succeeded");
    assert_eq!(app.get("/api/v1/runs/1")["actions"][0]["attempts"].as_array().unwrap().len(), 1, "nothing ran again");
}

/// GNU `timeout` sends SIGTERM to its child, and then to the whole group.
#[test]
fn a_signal_that_comes_twice_at_once_is_one_request() {
    let steps = r#"params = { steps = [{ do = "log", message = "at work" }, { do = "sleep", ms = 700 }] }"#;
    let mut app = TestApp::new(&manifest(steps)).with_guest("worker");
    fs::create_dir(app.path("raw")).unwrap();
    app.start();
    app.drop_file("raw/1", b"1");
    wait_until("the attempt to be running", || {
        app.try_get("/api/v1/runs/1/logs").is_ok_and(|(_, body)| body.to_string().contains("at work"))
    });
    for _ in 0..3 {
        app.signal(Signal::TERM);
    }
    assert!(app.wait_for_end().success(), "the host did not stop gracefully: {}", app.said());
}

/// Whatever stops a host by force after it was asked to stop, as supervisors do after some seconds
/// and people after some impatience: no action fails because of it.
#[test]
fn attempts_that_are_killed_after_a_request_to_stop_have_not_crashed() {
    let steps = r#"params = { steps = [{ do = "log", message = "at work" }, { do = "sleep", ms = 600000 }] }"#;
    let mut app = TestApp::new(&manifest(steps)).with_guest("worker");
    fs::create_dir(app.path("raw")).unwrap();
    app.drop_file("raw/1", b"1");
    let attempts = |app: &TestApp| {
        let run = app.get("/api/v1/runs/1");
        run["actions"][0]["attempts"].as_array().cloned().unwrap_or_default()
    };
    let is_running = |app: &TestApp, count: usize| {
        wait_until("the attempt to be running", || {
            app.try_get("/api/v1/runs/1").is_ok_and(|(status, _)| status == 200)
                && attempts(app).len() == count
                && attempts(app).last().is_some_and(|attempt| attempt["state"] == "running")
        });
    };
    for stop in 1..=4 {
        app.start();
        is_running(&app, stop);
        let said = app.said().matches("finishing running actions").count();
        app.signal(if stop == 1 { Signal::INT } else { Signal::TERM });
        wait_until("the host to be stopping", || app.said().matches("finishing running actions").count() > said);
        let is_noted = || {
            let database = rusqlite::Connection::open(app.path("state/metadata.db")).unwrap();
            database.query_row("SELECT stopping = epoch FROM meta", [], |row| row.get(0)).unwrap_or(true)
        };
        wait_until("the request to be on record", is_noted);
        if stop == 4 {
            app.kill();
        } else {
            app.signal_again(Signal::TERM);
            assert!(!app.wait_for_end().success(), "it was stopped at once");
        }
    }
    app.start();
    is_running(&app, 5);
    let ended = attempts(&app);
    let why = "the host was stopped before this attempt had ended; the run continues, and that does not use up a retry";
    for attempt in &ended[..4] {
        assert_eq!((&attempt["state"], &attempt["error"]["code"]), (&"cancelled".into(), &"handed_back".into()));
        assert_eq!(attempt["error"]["message"], why);
    }
    // A kill alone is a crash, and three of them are a crash loop.
    for crash in 1..=3 {
        app.kill();
        app.start();
        if crash < 3 {
            is_running(&app, 5 + crash);
        }
    }
    let run = &app.wait_for_runs(1)[0];
    assert!(run["reason"].as_str().unwrap().contains("crash_loop"), "{run:#}");
}
