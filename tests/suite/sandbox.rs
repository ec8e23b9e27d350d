//! The sandbox: guests can do their work, and no guest exceeds its grants or its limits.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unnecessary_wraps,
    unreachable_pub,
    reason = "a test fails by panicking, and its helpers are seen by tests alone"
)]

mod command;
mod drafts;
pub(crate) mod fakes;
pub(crate) mod guests;
mod hooks;
mod hostile;
mod loading;
mod logging;
mod outbound;
mod outputs;
mod stopping;
mod working;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anacostia::base::{Digest, RunId, SystemClock};
use anacostia::manifest::Limits;
use anacostia::model::{ErrorInfo, Facts, LogLine, LogPosition, LogRange, Outcome};
use anacostia::resource::Resource;
use anacostia::sandbox::{AttemptOrder, AttemptReport, Progress, Sandbox, SandboxConfig, Services, Stop};
use anacostia::store::logs;
use fakes::{FakeResource, FakeStore, artifact};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

/// A sandbox with fakes around it.
pub(crate) struct Bench {
    pub(crate) sandbox: Sandbox,
    pub(crate) services: Services,
    pub(crate) store: Arc<FakeStore>,
    pub(crate) raw: Arc<FakeResource>,
    pub(crate) out: Arc<FakeResource>,
    pub(crate) progress: Arc<Mutex<Vec<Progress>>>,
    pub(crate) folder: TempDir,
    /// Kept so that it is dropped last: without it, nothing could send a stop.
    pub(crate) stop: watch::Sender<Stop>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(2)
    }

    /// The same with this many executor threads.
    pub(crate) fn with(executors: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = SandboxConfig {
            // Shared between tests, so that each component is compiled once.
            cache_folder: std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"),
            executors,
            ..SandboxConfig::default()
        };
        let content: &[u8] = b"some content";
        let raw = FakeResource::new("raw", &[("a.txt", content), ("b.txt", content)]);
        let out = FakeResource::new("out", &[("taken.txt", content)]);
        let other = FakeResource::new("other", &[]);
        let store = Arc::new(FakeStore {
            run: RunId::new(),
            inputs: vec![artifact("raw", "a.txt", content)],
            others: vec![artifact("raw", "b.txt", content), artifact("other", "secret.txt", content)],
            metrics: Vec::new(),
            runs: vec![
                fakes::run(9, anacostia::model::RunState::Failed),
                fakes::run(3, anacostia::model::RunState::Failed),
            ],
            facts: Mutex::new(Facts::default()),
            fenced: AtomicBool::new(false),
        });
        let progress: Arc<Mutex<Vec<Progress>>> = Arc::default();
        let sink = Arc::clone(&progress);
        let resources = [raw.clone(), out.clone(), other].map(|r| (r.name.clone(), r as Arc<dyn Resource>));
        let services = Services {
            store: store.clone(),
            resources: Arc::new(BTreeMap::from(resources)),
            logs: logs::open(folder.path(), u64::MAX).unwrap(),
            clock: Arc::new(SystemClock),
            progress: Arc::new(move |_, progress| sink.lock().unwrap().push(progress)),
        };
        let sandbox = Sandbox::new(config).unwrap();
        Self { sandbox, services, store, raw, out, progress, folder, stop: watch::channel(Stop::No).0 }
    }

    /// Returns an order for the component that may read `raw` and write `out`.
    pub(crate) fn order(&self, component: Digest, params: &Value) -> AttemptOrder {
        AttemptOrder {
            params: params.to_string(),
            limits: Limits { wall: Duration::from_mins(2), ..Limits::default() },
            ..fakes::order(&self.store, component)
        }
    }

    /// Loads a Rust guest, and returns its digest.
    pub(crate) async fn guest(&self, name: &str) -> Digest {
        let file = guests::rust(name);
        let digest = Digest::of(&std::fs::read(&file).unwrap());
        self.sandbox.load(digest, &file).await.unwrap();
        digest
    }

    /// Loads a component, and returns its digest.
    pub(crate) async fn load(&self, component: &[u8]) -> Digest {
        let (digest, file) = guests::write(self.folder.path(), "guest.wasm", component);
        self.sandbox.load(digest, &file).await.unwrap();
        digest
    }

    pub(crate) async fn run(&self, order: AttemptOrder) -> AttemptReport {
        self.sandbox.run(order, &self.services, self.stop.subscribe()).await
    }

    /// Returns an order for the program of `tests/guests/command`, with these steps as its
    /// arguments.
    async fn command(&self, steps: &[&str]) -> AttemptOrder {
        let file = crate::support::guests::command();
        let digest = Digest::of(&std::fs::read(&file).unwrap());
        self.sandbox.load(digest, &file).await.unwrap();
        let mut order = self.order(digest, &json!({}));
        order.args = steps.iter().map(|step| (*step).to_owned()).collect();
        order
    }

    /// Runs the hostile guest in a mode, within these limits.
    pub(crate) async fn hostile(&self, params: Value, limits: impl FnOnce(&mut Limits)) -> AttemptReport {
        let mut order = self.order(self.guest("hostile").await, &params);
        limits(&mut order.limits);
        self.run(order).await
    }

    /// Runs the worker with these steps.
    pub(crate) async fn worker(&self, steps: Value) -> AttemptReport {
        let order = self.order(self.guest("worker").await, &json!({ "steps": steps }));
        self.run(order).await
    }
}

/// Returns the log lines of an attempt: stream and text.
pub(crate) fn lines(bench: &Bench, order: &AttemptOrder) -> Vec<LogLine> {
    let range = LogRange { from: LogPosition::default(), to: None };
    bench.services.logs.read(order.fence.attempt_id, range, None, 1000).unwrap().items
}

/// A variable of this process for a secret, and its value, which may occur in any text. Cargo sets
/// it to the same value on every machine.
pub(crate) fn variable() -> (String, String) {
    let (name, value) = ("CARGO_PKG_LICENSE", env!("CARGO_PKG_LICENSE"));
    assert_eq!(std::env::var(name).as_deref(), Ok(value), "the tests are run by cargo");
    (name.to_owned(), value.to_owned())
}

/// Returns the error of an attempt that failed.
pub(crate) fn failure(report: &AttemptReport) -> &ErrorInfo {
    match &report.outcome {
        Outcome::Failed(error) | Outcome::TimedOut(error) => error,
        other => panic!("it should have failed: {other:?}"),
    }
}

/// Returns the message of a guest that has completed its work.
pub(crate) fn done(report: &AttemptReport) -> &str {
    match &report.outcome {
        Outcome::Done(Some(text)) => text,
        other => panic!("it should have succeeded: {other:?}"),
    }
}
