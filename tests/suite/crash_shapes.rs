//! `kill -9` while files are not only created: they are also replaced, written in place, renamed
//! and removed, and outputs replace one another. The test queries the host for what must hold, and
//! compares it with the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anacostia::base::Digest;
use serde_json::Value;

use super::{POINTS, SEED, check_staging, files};
use crate::support::app::TestApp;
use crate::support::wait::wait_for;

/// `copy` replaces its earlier outputs.
const MANIFEST: &str = r#"
manifest_version = 1
[pipeline]
name = "shapes"
max_concurrent_runs = 1
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = { max_artifacts = 3 }
[resources.models]
kind = "folder"
path = "models"
[actions.copy]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["models"]
retry = { max_attempts = 50, backoff = "5ms", max_backoff = "20ms" }
params = { steps = [
    { do = "copy", from = "raw", to = "models", overwrite = true },
    { do = "fail", one_in = 4, retryable = true, message = "bad luck" },
] }
"#;

/// The outputs of `copy` trigger this action.
const FOLLOW: &str = r#"
[actions.follow]
component = "worker.wasm"
after = ["models", "copy"]
reads = ["models"]
params = { steps = [{ do = "done" }] }
"#;

/// Changes the files of a folder until it is stopped, and knows what must be there.
struct Editor {
    stop: Arc<AtomicBool>,
    changes: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<BTreeMap<String, String>>>,
}

impl Editor {
    fn start(folder: PathBuf) -> Self {
        let (stop, changes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&changes));
        let thread = std::thread::spawn(move || {
            let (mut there, mut rng) = (BTreeMap::new(), fastrand::Rng::with_seed(SEED));
            while !stopped.load(Ordering::SeqCst) {
                change(&folder, &mut there, &mut rng, counter.fetch_add(1, Ordering::SeqCst));
                // The rate of changes. Nothing waits for it.
                std::thread::sleep(Duration::from_millis(30));
            }
            there
        });
        Self { stop, changes, thread: Some(thread) }
    }

    /// Stops the changes, and returns what is there.
    fn end(mut self) -> BTreeMap<String, String> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// Creates a file, or replaces, writes in place, renames or removes an existing one. All contents
/// are different.
fn change(folder: &Path, there: &mut BTreeMap<String, String>, rng: &mut fastrand::Rng, number: u64) {
    let content = format!("content,{number}\n").repeat(rng.usize(1..20));
    let known: Vec<String> = there.keys().cloned().collect();
    match (rng.u32(0..8), rng.choice(&known)) {
        (0, Some(path)) => {
            fs::remove_file(folder.join(path)).unwrap();
            there.remove(path);
        }
        (1, Some(path)) => {
            let to = format!("renamed-{number}.csv");
            fs::rename(folder.join(path), folder.join(&to)).unwrap();
            let content = there.remove(path).unwrap();
            there.insert(to, content);
        }
        (2, Some(path)) => {
            fs::write(folder.join(path), &content).unwrap();
            there.insert(path.clone(), content);
        }
        (3..5, Some(path)) => replace(folder, path.clone(), content, there),
        _ => replace(folder, format!("file-{number}.csv"), content, there),
    }
}

fn replace(folder: &Path, path: String, content: String, there: &mut BTreeMap<String, String>) {
    let draft = folder.join("draft.part");
    fs::write(&draft, &content).unwrap();
    fs::rename(draft, folder.join(&path)).unwrap();
    there.insert(path, content);
}

#[test]
fn replaced_renamed_and_removed_files_are_recorded_correctly_after_kills() {
    kill_and_check(MANIFEST);
}

/// The same, with outputs that trigger `follow` in separate runs.
#[test]
fn outputs_that_trigger_actions_are_recorded_correctly_after_kills() {
    let watched = format!("{MANIFEST}{FOLLOW}")
        .replace("max_concurrent_runs = 1\n", "max_concurrent_runs = 1\njoin = \"any\"\n")
        .replace("path = \"models\"\n", "path = \"models\"\nwatch = true\n")
        .replace("writes = [\"models\"]\n", "writes = [\"models\"]\nretrigger = true\n");
    let runs = kill_and_check(&watched);
    let woken = |run: &&Value| run["inputs"].as_array().unwrap().iter().any(|input| input["resource"] == "models");
    assert!(runs.iter().filter(woken).count() > 0, "no output triggered a run");
}

/// Kills a host of this pipeline at each fault point and at random times while files change, and
/// checks the result. Returns the runs.
fn kill_and_check(manifest: &str) -> Vec<Value> {
    let mut app = TestApp::new(manifest).with_guest("worker");
    fs::create_dir(app.path("raw")).unwrap();
    let mut rng = fastrand::Rng::with_seed(SEED);
    let editor = Editor::start(app.path("raw"));
    for point in POINTS {
        app.die_at(&format!("{point}:{}", rng.u32(1..4)));
        app.start();
        std::thread::sleep(Duration::from_millis(rng.u64(0..200)));
        app.kill();
    }
    let changes = editor.changes.load(Ordering::SeqCst);
    let there = editor.end();
    app.start();
    let runs = wait_until_processed(&app, &there);
    check_runs(&app, &runs);
    check_disk(&app, &there);
    app.signal(rustix::process::Signal::TERM);
    assert!(app.wait_for_end().success());
    check_staging(&app);
    println!("{} kills, {changes} changes, {} runs", 2 * POINTS.len(), runs.len());
    runs
}

/// Waits until everything is recorded and processed. Retries runs that the kills ended as
/// `crash_loop`; any other failure must be due to an input that changed or disappeared during the
/// run. Returns the runs.
fn wait_until_processed(app: &TestApp, there: &BTreeMap<String, String>) -> Vec<Value> {
    wait_for("every file to be processed", || {
        // This comes first: once nothing is new and nothing is claimed by a running run, no run can
        // start or change.
        let idle = ["raw", "models"].iter().all(|resource| {
            ["new", "current"]
                .iter()
                .all(|state| app.get_all(&format!("/api/v1/artifacts?resource={resource}&state={state}")).is_empty())
        });
        let all = newest(app, "raw") == digests(there);
        let runs: Vec<Value> = app.get_all("/api/v1/runs").iter().map(|run| detail(app, run)).collect();
        let looped = runs.iter().filter(|run| run["state"] == "failed" && failed_by_kills(run)).collect::<Vec<_>>();
        for run in &looped {
            let (status, body) = app.post(&format!("/api/v1/runs/{}/retry", run["id"].as_str().unwrap()));
            assert!(status < 300, "{status} {body}");
        }
        let ended = runs.iter().all(|run| matches!(run["state"].as_str(), Some("succeeded" | "failed")));
        (looped.is_empty() && ended && idle && all).then_some(runs)
    })
}

fn detail(app: &TestApp, run: &Value) -> Value {
    app.get(&format!("/api/v1/runs/{}", run["id"].as_str().unwrap()))
}

/// Returns whether a run failed because its host was killed too often, and not because of its
/// inputs.
fn failed_by_kills(run: &Value) -> bool {
    let failed = run["actions"].as_array().unwrap().iter().find(|action| action["state"] == "failed").unwrap();
    if failed["reason"].as_str().unwrap().contains("crash_loop") {
        return true;
    }
    let error = &failed["attempts"].as_array().unwrap().last().unwrap()["error"];
    assert!(matches!(error["code"].as_str(), Some("changed" | "not-found")), "{run:#}");
    false
}

/// Returns the recorded digest of the artifact at each path of a resource.
fn newest(app: &TestApp, resource: &str) -> BTreeMap<String, String> {
    let artifacts = app.get_all(&format!("/api/v1/artifacts?resource={resource}"));
    let present = artifacts.iter().filter(|artifact| artifact["present"] == true);
    let word = |artifact: &Value, key: &str| artifact[key].as_str().unwrap_or_default().to_owned();
    present.map(|artifact| (word(artifact, "path"), word(artifact, "digest"))).collect()
}

fn digests(there: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    there.iter().map(|(path, content)| (path.clone(), Digest::of(content.as_bytes()).to_string())).collect()
}

/// Checks that no artifact was claimed by two runs, and that an action that succeeded published
/// exactly once what its run had claimed for it.
fn check_runs(app: &TestApp, runs: &[Value]) {
    let mut claimed = BTreeSet::new();
    for input in runs.iter().flat_map(|run| run["inputs"].as_array().unwrap()) {
        assert!(claimed.insert(input["id"].to_string()), "claimed twice: {input:#}");
    }
    let mut outputs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for output in app.get_all("/api/v1/artifacts?resource=models") {
        let attempt = output["produced_by"].as_str().unwrap_or_else(|| panic!("no run made {output:#}"));
        outputs.entry(attempt.to_owned()).or_default().push(output["digest"].to_string());
    }
    for run in runs {
        let copy = run["actions"].as_array().unwrap().iter().find(|action| action["name"] == "copy").unwrap();
        let inputs = run["inputs"].as_array().unwrap().iter().filter(|input| input["resource"] == "raw");
        let mut wanted: Vec<String> = inputs.map(|input| input["digest"].to_string()).collect();
        wanted.sort();
        let attempts = copy["attempts"].as_array().unwrap();
        let good: Vec<&Value> = attempts.iter().filter(|attempt| attempt["state"] == "succeeded").collect();
        assert_eq!(good.len(), usize::from(copy["state"] == "succeeded"), "{run:#}");
        for attempt in good {
            let mut made = outputs.remove(attempt["id"].as_str().unwrap()).unwrap_or_default();
            made.sort();
            assert_eq!(made, wanted, "{run:#}");
        }
    }
    assert!(outputs.is_empty(), "published by attempts that did not succeed: {outputs:?}");
}

/// Checks that a folder contains what is recorded as present, and nothing else.
fn check_disk(app: &TestApp, there: &BTreeMap<String, String>) {
    assert_eq!(newest(app, "raw"), digests(there));
    for resource in ["raw", "models"] {
        let folder = app.path(resource);
        let disk: BTreeMap<String, String> = files(&folder)
            .into_iter()
            .map(|path| {
                let digest = Digest::of(&fs::read(folder.join(&path)).unwrap()).to_string();
                (path, digest)
            })
            .collect();
        assert_eq!(newest(app, resource), disk, "{resource}");
    }
}
