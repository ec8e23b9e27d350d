//! `anacostia dev` on pipelines whose builds copy a component, so that a build takes no time and a
//! test controls when it fails.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anacostia::base::Digest;
use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::dev::DevSession;
use crate::support::guests::guest;
use crate::support::program::{copy_anacostia, write_script};
use crate::support::wait::{wait_for, wait_until};

/// A pipeline of one action that is built with `command`. All files that it uses are in `src`.
fn manifest(command: &str, keys: &str) -> String {
    format!(
        r#"
manifest_version = 1
[pipeline]
name = "dev"
max_concurrent_runs = 2
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[actions.work]
component = "work.wasm"
build = {{ command = "{command}", watch = ["src"] }}
after = ["raw"]
reads = ["raw"]
{keys}
"#
    )
}

/// Counts the builds, fails if there is a file `src/broken`, and copies the component.
const BUILD: &str = "echo x >> builds; if [ -e src/broken ]; then echo 'error: it does not compile'; exit 1; fi; cp src/a.wasm work.wasm";
const READ: &str = "params = { steps = [{ do = \"read\", from = \"raw\" }] }";

/// Returns the worker with an empty section: another component, which does the same.
fn variant(number: u8) -> Vec<u8> {
    let mut bytes = fs::read(guest("worker")).unwrap();
    bytes.extend([0, 3, 1, b'v', number]);
    bytes
}

fn digest(number: u8) -> String {
    Digest::of(&variant(number)).to_string()
}

fn app(command: &str, keys: &str) -> TestApp {
    app_of(&manifest(command, keys))
}

fn app_of(manifest: &str) -> TestApp {
    let app = TestApp::new(manifest);
    fs::create_dir(app.path("src")).unwrap();
    fs::write(app.path("src/a.wasm"), variant(0)).unwrap();
    app
}

fn builds(app: &TestApp) -> usize {
    fs::read_to_string(app.path("builds")).unwrap_or_default().lines().count()
}

/// Returns a session that is ready.
fn ready(app: &TestApp) -> (DevSession, String) {
    let mut session = DevSession::start(app.folder());
    let url = session.next("ready")["url"].as_str().unwrap().to_owned();
    (session, url)
}

fn get(url: &str) -> Value {
    let body = ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap();
    serde_json::from_str(&body).unwrap()
}

fn post(url: &str) {
    ureq::post(url).send_empty().unwrap();
}

/// Returns the run of this number, once `is_so` holds for it.
#[track_caller]
fn run(url: &str, number: u64, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    wait_for(&format!("run {number}: {what}"), || {
        let body = ureq::get(format!("{url}/api/v1/runs/{number}")).call().ok()?.body_mut().read_to_string().unwrap();
        Some(serde_json::from_str::<Value>(&body).unwrap()).filter(|run| is_so(run))
    })
}

fn attempts(run: &Value) -> Vec<Value> {
    run["actions"][0]["attempts"].as_array().cloned().unwrap_or_default()
}

fn has_state(state: &str) -> impl Fn(&Value) -> bool {
    move |run| run["state"] == state
}

#[test]
fn a_panic_in_the_server_stops_the_session_with_a_message() {
    let app = app(BUILD, READ);
    let mut session = DevSession::start_with_fault(app.folder(), "panic:http.accept:1");
    let url = session.next("ready")["url"].as_str().unwrap().to_owned();
    // The connection that the panic interrupts gets no answer.
    assert!(ureq::get(format!("{url}/healthz")).call().is_err());
    assert_eq!(session.wait_for_end().code(), Some(1));
    let said = session.said();
    assert!(said.contains("the HTTP server has stopped, which is a bug in Anacostia; see the message above"), "{said}");
}

#[test]
fn new_runs_use_the_new_component_and_running_attempts_keep_the_old_one() {
    let app = app(BUILD, "params = { steps = [{ do = \"await_cancel\", then = \"done\" }] }");
    let (mut session, url) = ready(&app);
    app.drop_file("raw/1", b"1");
    let at_work = |run: &Value| attempts(run).last().is_some_and(|attempt| attempt["state"] == "running");
    run(&url, 1, "its attempt is at work", at_work);

    fs::write(app.path("src/a.wasm"), variant(1)).unwrap();
    let swapped = session.next("swapped");
    assert_eq!(
        (&swapped["digest"], &swapped["old"], &swapped["changed"]),
        (&json!(digest(1)), &json!(digest(0)), &json!(["src/a.wasm"])),
    );
    let node = get(&format!("{url}/api/v1/nodes/work"));
    assert_eq!(node["action"]["component"]["digest"], digest(1), "{node}");

    app.drop_file("raw/2", b"2");
    run(&url, 2, "its attempt is at work", at_work);
    for number in [1, 2] {
        post(&format!("{url}/api/v1/runs/{number}/cancel"));
    }
    let ended = run(&url, 1, "it has ended", has_state("cancelled"));
    assert_eq!(attempts(&ended)[0]["component_digest"], digest(0), "{ended:#}");
    let ended = run(&url, 2, "it has ended", has_state("cancelled"));
    assert_eq!(attempts(&ended)[0]["component_digest"], digest(1), "{ended:#}");

    // A run keeps the components that it started with, even if nothing has used them for a while.
    fs::write(app.path("src/a.wasm"), variant(2)).unwrap();
    session.next("swapped");
    post(&format!("{url}/api/v1/runs/1/retry"));
    let again = run(&url, 1, "it is tried again", |run| attempts(run).len() == 2 && at_work(run));
    assert_eq!(attempts(&again)[1]["component_digest"], digest(0), "{again:#}");
}

#[test]
fn a_failed_build_is_shown_and_the_old_component_stays_in_use() {
    let app = app(BUILD, READ);
    let (mut session, url) = ready(&app);
    fs::write(app.path("src/broken"), "").unwrap();
    let failed = session.next("build_failed");
    assert_eq!((&failed["action"], &failed["digest"]), (&json!("work"), &json!(digest(0))), "{failed}");
    wait_until("the compiler's error message", || session.said().contains("error: it does not compile"));
    app.drop_file("raw/1", b"1");
    let first = run(&url, 1, "it has ended", has_state("succeeded"));
    assert_eq!(attempts(&first)[0]["component_digest"], digest(0), "{first:#}");

    // If someone saves the same content again, the result is reported again.
    let before = builds(&app);
    fs::write(app.path("src/broken"), "").unwrap();
    session.next("build_failed");
    assert_eq!(builds(&app), before + 1);

    fs::remove_file(app.path("src/broken")).unwrap();
    fs::write(app.path("src/a.wasm"), variant(1)).unwrap();
    assert_eq!(session.next("swapped")["digest"], digest(1));
    app.drop_file("raw/2", b"2");
    let second = run(&url, 2, "it has ended", has_state("succeeded"));
    assert_eq!(attempts(&second)[0]["component_digest"], digest(1), "{second:#}");
}

#[test]
fn a_built_component_is_checked_as_at_registration() {
    let app = app(BUILD, READ);
    let (mut session, url) = ready(&app);
    fs::write(app.path("src/a.wasm"), wat::parse_str("(module)").unwrap()).unwrap();
    session.next("refused");
    wait_until("the reason", || session.said().contains("is a core WebAssembly module, not a component"));
    fs::write(
        app.path("src/a.wasm"),
        wat::parse_str("(component (import \"acme:tools/thing@1.0.0\" (instance)))").unwrap(),
    )
    .unwrap();
    session.next("refused");
    wait_until("the reason", || session.said().contains("acme:tools/thing"));
    assert_eq!(get(&format!("{url}/api/v1/nodes/work"))["action"]["component"]["digest"], digest(0));
    fs::write(app.path("src/a.wasm"), variant(0)).unwrap();
    assert_eq!(session.next("unchanged")["digest"], digest(0));
}

#[test]
fn files_that_a_build_writes_do_not_trigger_a_build() {
    let command = format!(
        "mkdir -p src/target src/__pycache__; date +%N > src/target/x; date +%N > src/__pycache__/y; echo made > src/made.rs; date +%N > src/draft.tmp; {BUILD}"
    );
    let app = app(&command, READ);
    let (mut session, _) = ready(&app);
    let save = |session: &mut DevSession, number| {
        fs::write(app.path("src/a.wasm"), variant(number)).unwrap();
        assert_eq!(session.next("swapped")["digest"], digest(number));
    };
    // The first build may be followed by one more, because `src/made.rs` is new then. That one is
    // over, or is the one of this save, when the save is swapped in.
    save(&mut session, 1);
    let at_start = builds(&app);
    assert!(at_start <= 3, "{at_start} builds");
    // More than the builds in a row after which changes are taken to be made by builds.
    for number in 2..=6 {
        save(&mut session, number);
    }
    assert_eq!(builds(&app) - at_start, 5, "one build for each save");
    assert_eq!(session.count("sources_keep_changing"), 0);
}

#[test]
fn sources_that_every_build_changes_are_reported_and_do_not_loop() {
    let app = app(&format!("{BUILD}; wc -l builds > src/made.rs"), READ);
    let (mut session, _) = ready(&app);
    let sources_keep_changing = session.next("sources_keep_changing");
    assert_eq!(sources_keep_changing["changed"], json!(["src/made.rs"]), "{sources_keep_changing}");
    let before = builds(&app);
    fs::write(app.path("src/a.wasm"), variant(1)).unwrap();
    assert_eq!(session.next("swapped")["digest"], digest(1));
    session.next("sources_keep_changing");
    assert!(builds(&app) - before <= 3, "{} builds after {before}", builds(&app));
}

#[test]
fn manifest_changes_are_applied_or_the_need_for_a_restart_is_explained() {
    let app = app(BUILD, "params = { steps = [{ do = \"log\", message = \"one\" }] }");
    let (mut session, url) = ready(&app);
    let log_of = |number: u64| {
        app.drop_file(&format!("raw/{number}"), &[u8::try_from(number).unwrap()]);
        run(&url, number, "it has ended", has_state("succeeded"));
        get(&format!("{url}/api/v1/runs/{number}/logs")).to_string()
    };
    assert!(log_of(1).contains("one"));
    let edited = |from: &str, to: &str| {
        let text = fs::read_to_string(app.path("anacostia.toml")).unwrap();
        assert!(text.contains(from), "{from} is not in\n{text}");
        app.drop_file("anacostia.toml", text.replace(from, to).as_bytes());
    };
    edited("\"one\"", "\"two\"");
    assert_eq!(session.next("reloaded")["changed"], json!(["anacostia.toml"]));
    assert!(log_of(2).contains("two"));

    edited("after =", "aftre =");
    session.next("refused");
    wait_until("the place", || session.said().contains("did you mean `after`?"));
    assert!(log_of(3).contains("two"));
    edited("aftre =", "after =");
    session.next("reloaded");

    edited("[resources.raw]", "[resources.more]\nkind = \"folder\"\npath = \"more\"\n[resources.raw]");
    let restart = session.next("needs_restart");
    assert!(
        restart["why"].as_str().unwrap().starts_with("`resources.more` can only change with a restart"),
        "{restart}"
    );
    edited("[resources.more]\nkind = \"folder\"\npath = \"more\"\n", "");
    session.next("reloaded");

    edited("echo x", "echo y");
    assert_eq!(session.next("building")["action"], "work", "a changed command starts a build");
    session.next("reloaded");
    // There is one build at the start, and this one. A build for an earlier edit would have run by
    // now.
    assert_eq!(fs::read_to_string(app.path("builds")).unwrap(), "x\ny\n", "the manifest is not a source");
}

#[test]
fn a_save_keeps_the_locks_on_the_store() {
    let app = app(BUILD, READ);
    let (mut session, url) = ready(&app);
    let store = fs::metadata(app.path("state/metadata.db")).unwrap().ino();
    let locks = || {
        let all = fs::read_to_string("/proc/locks").unwrap();
        all.lines().filter(|line| line.contains(&format!(":{store} "))).count()
    };
    wait_until("the host to have its locks", || locks() > 0);
    let before = locks();
    let text = fs::read_to_string(app.path("anacostia.toml")).unwrap();
    app.drop_file("anacostia.toml", text.replace("max_concurrent_runs = 2", "max_concurrent_runs = 3").as_bytes());
    session.next("reloaded");
    assert_eq!(locks(), before);
    // Without the host's locks, the process that closes the database last removes its log.
    let log = fs::metadata(app.path("state/metadata.db-wal")).unwrap();
    let other = rusqlite::Connection::open(app.path("state/metadata.db")).unwrap();
    other.query_row("SELECT count(*) FROM runs", [], |row| row.get::<_, u64>(0)).unwrap();
    other.close().unwrap();
    let now = fs::metadata(app.path("state/metadata.db-wal")).expect("the log was removed under the host");
    assert_eq!(log.ino(), now.ino());
    app.drop_file("raw/1", b"1");
    run(&url, 1, "it has ended", has_state("succeeded"));
}

#[test]
fn a_host_compiles_with_its_own_executable_after_it_was_replaced() {
    let app = app(BUILD, READ);
    let cache = tempfile::tempdir().unwrap();
    let program = app.path("program");
    copy_anacostia(&program);
    let mut session = DevSession::start_program(&program, app.folder(), cache.path());
    let url = session.next("ready")["url"].as_str().unwrap().to_owned();
    write_script(&program, "echo 'another version' >&2\nexit 1");
    fs::write(app.path("src/a.wasm"), variant(1)).unwrap();
    assert_eq!(session.next("swapped")["digest"], digest(1));
    app.drop_file("raw/1", b"1");
    run(&url, 1, "it has ended", has_state("succeeded"));
}

#[test]
fn an_action_that_shares_a_component_needs_no_build_of_its_own() {
    let twin =
        "[actions.twin]\ncomponent = \"work.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\nparams = { steps = [] }\n";
    let text = manifest(BUILD, READ).replace("[actions.work]", &format!("{twin}[actions.work]"));
    let app = app_of(&text);
    let (mut session, _) = ready(&app);
    assert_eq!(builds(&app), 1);
    app.drop_file("anacostia.toml", text.replace("max_concurrent_runs = 2", "max_concurrent_runs = 3").as_bytes());
    session.next("reloaded");
    assert_eq!(builds(&app), 1, "no source has changed");
}

#[test]
fn dev_starts_once_everything_is_built() {
    let app = app(BUILD, READ);
    fs::write(app.path("src/broken"), "").unwrap();
    let mut session = DevSession::start(app.folder());
    session.next("build_failed");
    session.next("waiting");
    fs::remove_file(app.path("src/broken")).unwrap();
    session.next("ready");
    session.signal(Signal::INT);
    assert!(session.wait_for_end().success());
}

#[test]
fn ctrl_c_stops_a_running_build_and_its_child_processes() {
    let app = app("sleep 1000 & echo $! > pid.tmp; mv pid.tmp pid; wait", READ);
    let mut session = DevSession::start(app.folder());
    let pid: i32 =
        wait_for("the build to be running", || fs::read_to_string(app.path("pid")).ok()?.trim().parse().ok());
    session.signal(Signal::INT);
    assert!(session.wait_for_end().success());
    let pid = Pid::from_raw(pid).unwrap();
    wait_until("what the build started to end", || test_kill_process(pid).is_err() || is_dead(pid));
}

/// Returns whether a process has ended, and was not waited for yet.
fn is_dead(pid: Pid) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join("stat"));
    stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}
