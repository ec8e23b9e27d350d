//! Uses arbitrary bytes as a sequence of host calls, made by a guest (`tests/guests/fuzz`).
//! Whatever the calls are, the attempt ends with an outcome that the contract allows, everything
//! that is open or staged is recorded, and no limit is exceeded.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anacostia::base::{Digest, RunId, SystemClock};
use anacostia::manifest::Limits;
use anacostia::model::{AccessKind, Facts, Outcome};
use anacostia::resource::Resource;
use anacostia::sandbox::{AttemptOrder, AttemptReport, MAX_DENIALS, Sandbox, SandboxConfig, Services, Stop};
use anacostia::store::logs::{self, LogStore};

use super::fakes::{self, FakeResource, FakeStore, artifact};

/// How the host may end a guest that makes arbitrary calls: by a limit, or because the guest has
/// violated a rule of WASI.
const CODES: [&str; 7] =
    ["log_limit", "payload_limit", "cpu_limit", "wall_limit", "memory_limit", "trap", "handles_limit"];

/// The parts that are shared by all runs.
struct Machine {
    runtime: tokio::runtime::Runtime,
    sandbox: Sandbox,
    component: Digest,
    logs: Arc<dyn LogStore>,
}

fn machine(component: &Path) -> &'static Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("anacostia-fuzz-{}", std::process::id()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = SandboxConfig { cache_folder: folder.join("cache"), executors: 1, ..SandboxConfig::default() };
        let sandbox = Sandbox::new(config).unwrap();
        let digest = Digest::of(&std::fs::read(component).unwrap());
        runtime.block_on(sandbox.load(digest, component)).unwrap();
        let logs = logs::open(&folder, u64::MAX).unwrap();
        // The code is mapped and the log is open, so their files may be removed.
        let _ = std::fs::remove_dir_all(folder);
        Machine { runtime, sandbox, component: digest, logs }
    })
}

fn limits() -> Limits {
    Limits {
        cpu: Duration::from_secs(20),
        wall: Duration::from_mins(1),
        output_bytes: 1 << 20,
        log_bytes: 1 << 20,
        handles: 8,
        metric_names: 16,
        ..Limits::default()
    }
}

/// Makes the guest in the file `component` execute the calls that the bytes encode.
pub(crate) fn run(component: &Path, data: &[u8]) -> AttemptReport {
    let machine = machine(component);
    let raw = FakeResource::new("raw", &[("a.txt", data), ("b.txt", b"b")]);
    let out = FakeResource::new("out", &[("taken.txt", b"taken")]);
    let store = Arc::new(FakeStore {
        run: RunId::new(),
        inputs: vec![artifact("raw", "a.txt", data)],
        others: vec![artifact("raw", "b.txt", b"b"), artifact("other", "secret.txt", b"secret")],
        metrics: Vec::new(),
        runs: Vec::new(),
        facts: Mutex::new(Facts::default()),
        fenced: AtomicBool::new(false),
    });
    let resources = [raw.clone(), out.clone(), FakeResource::new("other", &[])];
    let services = Services {
        store: store.clone(),
        resources: Arc::new(resources.map(|r| (r.name.clone(), r as Arc<dyn Resource>)).into()),
        logs: Arc::clone(&machine.logs),
        clock: Arc::new(SystemClock),
        progress: Arc::new(|_, _| ()),
    };
    let limits = limits();
    let order = AttemptOrder { limits: limits.clone(), ..fakes::order(&store, machine.component) };
    let (_never, stop) = tokio::sync::watch::channel(Stop::No);
    let report = machine.runtime.block_on(machine.sandbox.run(order, &services, stop));
    check(&report, &limits);
    assert_eq!([&raw, &out].map(|resource| resource.open.load(SeqCst)), [0, 0], "readers or writers were left open");
    assert_eq!(out.staged.lock().unwrap().len(), report.staged.len(), "staged but not recorded: {report:?}");
    let names: std::collections::BTreeSet<_> =
        store.facts.lock().unwrap().metrics.iter().map(|metric| metric.name.clone()).collect();
    assert!(names.len() <= limits.metric_names as usize, "{} names of metrics", names.len());
    report
}

fn check(report: &AttemptReport, limits: &Limits) {
    let succeeded = match &report.outcome {
        Outcome::Done(_) => true,
        Outcome::Failed(error) | Outcome::TimedOut(error) => {
            assert!(CODES.contains(&error.code.as_str()), "{error:?}");
            false
        }
        other => panic!("it was not stopped, but ended with {other:?}"),
    };
    assert!(succeeded || report.staged.is_empty(), "failed, but left staged files: {report:?}");
    let bytes =
        |kind| -> u64 { report.accesses.iter().filter(|access| access.kind == kind).map(|access| access.bytes).sum() };
    let usage = &report.usage;
    assert_eq!(bytes(AccessKind::Read), usage.bytes_read, "{report:?}");
    assert!(bytes(AccessKind::Wrote) <= usage.bytes_written, "{report:?}");
    assert!(usage.bytes_written <= limits.output_bytes && usage.log_bytes <= limits.log_bytes, "{usage:?}");
    assert!(usage.peak_memory_bytes <= limits.memory_bytes, "{usage:?}");
    assert!(report.denials.len() <= MAX_DENIALS);
    assert!(report.denials.iter().all(|denial| denial.target.len() <= 200), "{:?}", report.denials);
}
