//! `kill -9`, many times, while files arrive and a chain of three actions processes them. At the
//! end, independent code that reads the disk and the records checks the result.

#[path = "crash_records.rs"]
mod records;
#[path = "crash_shapes.rs"]
mod shapes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anacostia::base::Digest;

use self::records::{Action, OnRecord};
use crate::support::app::TestApp;
use crate::support::wait::{wait_for, wait_until};

/// The number of kills: half of them at random times, half at fault points.
const KILLS: u64 = 60;
/// The seed of the order of fault points and of the times of random kills. To reproduce a failure,
/// use the seed that it prints.
const SEED: u64 = 0x616e_6163_6f73_7469;

/// The fault points in each step: recording, claiming, starting, staging, publishing, finishing.
const POINTS: &[&str] = &[
    "record.observed",
    "record.in_transaction",
    "record.committed",
    "claim.in_transaction",
    "claim.committed",
    "run.created",
    "start.in_transaction",
    "start.committed",
    "attempt.before_guest",
    "stage.write",
    "stage.finished",
    "attempt.guest_done",
    "intent.in_transaction",
    "intent.committed",
    "publish.begin",
    "publish.before_rename",
    "publish.renamed",
    "publish.resource",
    "publish.visible",
    "published.in_transaction",
    "published.committed",
    "finish.in_transaction",
    "finish.committed",
    "step.recorded",
];

/// The actions of the chain, each with the resource that it reads and the one that it writes.
const CHAIN: [(&str, &str, &str); 3] =
    [("clean", "raw", "cleaned"), ("train", "cleaned", "models"), ("report", "models", "reports")];

fn manifest() -> String {
    let mut text = String::from(
        r#"
manifest_version = 1
[pipeline]
name = "crash"
max_concurrent_runs = 2
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = { max_artifacts = 3 }
"#,
    );
    for (action, from, to) in CHAIN {
        let after = CHAIN.iter().find(|(_, _, output)| *output == from).map_or("raw", |(before, _, _)| before);
        text.push_str(&format!(
            r#"
[resources.{to}]
kind = "folder"
path = "{to}"
[actions.{action}]
component = "worker.wasm"
after = ["{after}"]
reads = ["{from}"]
writes = ["{to}"]
retry = {{ max_attempts = 50, backoff = "5ms", max_backoff = "20ms" }}
params = {{ steps = [
    {{ do = "copy", from = "{from}", to = "{to}", append = "+{action}" }},
    {{ do = "fail", one_in = 4, retryable = true, message = "bad luck" }},
] }}
"#
        ));
    }
    text
}

/// Drops files until it is stopped, some written in pieces, some renamed into place.
struct Arrivals {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Arrivals {
    fn into_folder(folder: std::path::PathBuf) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = std::thread::spawn({
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            move || {
                while !stop.load(Ordering::SeqCst) {
                    let number = count.load(Ordering::SeqCst);
                    arrive(&folder, number);
                    count.store(number + 1, Ordering::SeqCst);
                    // The rate of arrivals. Nothing waits for it.
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        Self { stop, count, thread: Some(thread) }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Stops the arrivals, and returns the number of files that arrived.
    fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.count()
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn name(number: u64) -> String {
    format!("day-{number:04}.csv")
}

fn content(number: u64) -> String {
    format!("row,{number}\n").repeat(1 + usize::try_from(number % 7).unwrap())
}

fn arrive(folder: &Path, number: u64) {
    use std::io::Write as _;
    let (place, content) = (folder.join(name(number)), content(number));
    if number.is_multiple_of(2) {
        let draft = folder.join(format!("{}.part", name(number)));
        fs::write(&draft, content).unwrap();
        fs::rename(draft, place).unwrap();
    } else {
        let mut file = fs::File::create(place).unwrap();
        for piece in content.as_bytes().chunks(5) {
            file.write_all(piece).unwrap();
        }
    }
}

#[test]
fn sixty_kills_lose_nothing_and_repeat_nothing() {
    let mut app = TestApp::new(&manifest()).with_guest("worker");
    fs::create_dir(app.path("raw")).unwrap();
    let mut rng = fastrand::Rng::with_seed(SEED);
    let arrivals = Arrivals::into_folder(app.path("raw"));
    const { assert!(KILLS / 2 >= POINTS.len() as u64, "some fault points are never used") };
    for kill in 0..KILLS {
        if kill.is_multiple_of(2) {
            app.start();
            std::thread::sleep(Duration::from_millis(rng.u64(0..300)));
            app.kill();
        } else {
            let point = POINTS[usize::try_from(kill / 2).unwrap() % POINTS.len()];
            app.die_at(&format!("{point}:{}", rng.u32(1..5)));
        }
        // An action whose attempt was killed three times in a row has failed as `crash_loop`, which
        // is correct; but in this test everything is to succeed.
        if kill % 10 == 9 {
            app.start();
            let arrived = arrivals.count();
            wait_until("arrivals without kills", || arrivals.count() > arrived + 5);
            app.kill();
        }
    }
    let arrived = arrivals.end();
    app.start();
    let retried = wait_until_processed(&app, arrived);
    app.signal(rustix::process::Signal::TERM);
    assert!(app.wait_for_end().success());

    let found = OnRecord::of(&app);
    check_claims(&found, arrived);
    check_runs(&found, &retried);
    check_outputs(&app, &found, arrived);
    check_staging(&app);
    let checked = app.cli(&["store", "check", "PATH"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    println!("{KILLS} kills, {arrived} files, {} runs taken up again after a crash loop", retried.len());
}

/// Waits until all files that arrived have been processed. Retries runs that were killed too often
/// in a row, as a person would, and returns them.
fn wait_until_processed(app: &TestApp, arrived: u64) -> BTreeSet<String> {
    let mut retried = BTreeSet::new();
    wait_for("every file to be processed", || {
        let runs = app.get_all("/api/v1/runs");
        for run in runs.iter().filter(|run| run["state"] == "failed") {
            let reason = run["reason"].as_str().unwrap();
            assert!(reason.contains("crash_loop"), "a run failed: {reason}");
            let id = run["id"].as_str().unwrap().to_owned();
            let (status, body) = app.post(&format!("/api/v1/runs/{id}/retry"));
            assert!(status < 300, "{status} {body}");
            retried.insert(id);
        }
        let done = app.get_all("/api/v1/artifacts?resource=raw&state=old").len();
        (u64::try_from(done).unwrap() == arrived && runs.iter().all(|run| run["state"] == "succeeded")).then_some(())
    });
    retried
}

/// Checks that every file is recorded once, and claimed by one run.
fn check_claims(found: &OnRecord, arrived: u64) {
    let raw: Vec<_> = found.artifacts.iter().filter(|(_, it)| it.resource == "raw").collect();
    let paths: BTreeSet<&str> =
        raw.iter().filter(|(_, it)| it.version == "1").map(|(_, it)| it.path.as_str()).collect();
    assert_eq!((raw.len() as u64, paths.len() as u64), (arrived, arrived));
    let claimed: BTreeSet<&String> = found.claims.iter().collect();
    assert_eq!(claimed.len(), found.claims.len(), "a file was claimed twice");
    assert_eq!(claimed, raw.iter().map(|(key, _)| *key).collect(), "claims");
}

/// Checks that every run has succeeded, with all of its actions, and that no crash used up a retry.
fn check_runs(found: &OnRecord, retried: &BTreeSet<String>) {
    assert!(found.runs.iter().all(|run| run.state == "succeeded"));
    assert!(found.actions.iter().all(|action| action.state == "succeeded"));
    assert!(found.attempts.iter().all(|attempt| attempt.has_ended));
    assert_eq!(found.intents, 0, "an intent that was never published");
    let count = |state: &str| found.attempts.iter().filter(|attempt| attempt.state == state).count();
    assert!(count("crashed") > 0, "no kill hit an attempt");
    assert!(count("failed") > 0, "no attempt failed on its own");
    for Action { run, name, tries, .. } in &found.actions {
        let states: Vec<&str> = found
            .attempts
            .iter()
            .filter(|attempt| attempt.run == *run && attempt.action == *name)
            .map(|attempt| attempt.state.as_str())
            .collect();
        let count = |wanted: &[&str]| states.iter().filter(|state| wanted.contains(state)).count() as u64;
        assert_eq!(count(&["succeeded"]), 1, "run {run}, {name}: it ran again after it had succeeded");
        let failures = count(&["failed", "timed_out"]);
        // When a person retries a run, its attempts start at zero again.
        let id = &found.runs.iter().find(|it| it.number == *run).unwrap().id;
        let again = retried.iter().any(|retried| retried.replace('-', "") == *id);
        assert!(
            *tries == failures || (again && *tries <= failures),
            "run {run}, {name}: {tries} attempts, {failures} failures"
        );
    }
    let first = found.events[0];
    assert!((first..).zip(&found.events).all(|(number, seq)| *seq == number), "a gap in the events");
}

/// Checks that every output is recorded once, and is on disk with the right content; and that there
/// is nothing else.
fn check_outputs(app: &TestApp, found: &OnRecord, arrived: u64) {
    let mut suffix = String::new();
    for (action, _, resource) in CHAIN {
        suffix.push_str(&format!("+{action}"));
        let recorded: Vec<_> = found.artifacts.values().filter(|it| it.resource == resource).collect();
        assert_eq!(recorded.len() as u64, arrived, "{resource}");
        let recorded: BTreeMap<&str, _> = recorded.into_iter().map(|it| (it.path.as_str(), it)).collect();
        let on_disk: BTreeSet<String> = files(&app.path(resource)).into_iter().collect();
        let expected: BTreeSet<String> = (0..arrived).map(name).collect();
        assert_eq!(on_disk, expected, "{resource}");
        for number in 0..arrived {
            let bytes = fs::read(app.path(resource).join(name(number))).unwrap();
            let wanted = format!("{}{suffix}", content(number));
            assert_eq!(String::from_utf8_lossy(&bytes), wanted, "{resource}/{}", name(number));
            let artifact = recorded[name(number).as_str()];
            assert_eq!((artifact.state.as_str(), artifact.version.as_str()), ("published", "1"));
            assert_eq!(format!("sha256:{}", artifact.digest), Digest::of(wanted.as_bytes()).to_string());
        }
    }
}

/// Checks that nothing is staged any more, and that no temporary file is left.
fn check_staging(app: &TestApp) {
    for folder in ["raw", "cleaned", "models", "reports"] {
        let left = files(&app.path(folder).join(".anacostia"));
        assert!(left.is_empty(), "staged in {folder}: {left:?}");
    }
}

/// Returns the files below a folder, except in hidden folders.
fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            if !name.starts_with('.') {
                found.extend(files(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
            }
        } else {
            found.push(name);
        }
    }
    found
}
