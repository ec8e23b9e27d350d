//! The limits that `docs/SANDBOX.md` publishes: the page must be equal to the constants in the
//! code. Also measures how far a guest exceeds each limit, and prints this with
//! `cargo test --test suite hostile::published -- --nocapture`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anacostia::base::{ByteSize, TimeSpan};
use anacostia::manifest::Limits;
use anacostia::model::{Outcome, Usage};
use anacostia::sandbox::{CANCEL_GRACE, CompileBounds, MAX_DENIALS, Sandbox, SandboxConfig};
use serde_json::json;

use super::{Act, mode, order};
use crate::sandbox::{Bench, failure};

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SANDBOX.md")).unwrap()
}

/// Returns the cells of the table row that begins with `label`.
fn row(label: &str) -> Vec<String> {
    let start = format!("| {label} |");
    let page = page();
    let line = page.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no row `{label}`"));
    line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
}

/// The settings: the key, the default, the code of the error, and the words that follow the number
/// in the message.
fn settings() -> [(&'static str, String, &'static str, &'static str); 9] {
    let limits = Limits::default();
    let size = |bytes| ByteSize(bytes).to_string();
    let time = |span| TimeSpan(span).to_string();
    [
        ("memory", size(limits.memory_bytes), "memory_limit", "of memory"),
        ("cpu", time(limits.cpu), "cpu_limit", "of CPU time"),
        ("wall", time(limits.wall), "wall_limit", "of wall time"),
        ("output", size(limits.output_bytes), "output_limit", "of output"),
        ("log", size(limits.log_bytes), "log_limit", "of log lines"),
        ("handles", limits.handles.to_string(), "handles_limit", "readers and writers open at once"),
        ("metric_names", limits.metric_names.to_string(), "metric_names_limit", "names of metrics"),
        ("http_requests", limits.http_requests.to_string(), "http_requests_limit", "requests over the network"),
        ("http_body", size(limits.http_body_bytes), "http_body_limit", "in the body of a request"),
    ]
}

#[test]
fn the_sandbox_page_lists_every_setting() {
    for (key, default, code, words) in settings() {
        let cells = row(&format!("`{key}`"));
        assert_eq!(cells[2], default, "{key}");
        assert_eq!(cells[3], format!("`{code}`"), "{key}");
        assert_eq!(cells[4], format!("the limit of {default} {words} is reached"), "{key}");
    }
    // The setting whose error is not ours.
    assert_eq!(row("`http_wait`")[2], TimeSpan(Limits::default().http_wait).to_string());
    let all = serde_json::to_value(Limits::default()).unwrap();
    assert_eq!(all.as_object().unwrap().len(), settings().len() + 1, "a limit that the page does not have: {all}");
}

/// Returns the value of a constant in the source: `1_000`, `16 << 20`, or several values
/// multiplied.
fn constant(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).unwrap();
    let start = format!("const {name}: ");
    let line = text.lines().find_map(|line| line.split_once(&start)).unwrap_or_else(|| panic!("no {name} in {file}")).1;
    let value = line.split_once(" = ").unwrap().1.trim_end_matches(';').replace('_', "");
    match value.split_once(" << ") {
        Some((number, shift)) => number.parse::<u64>().unwrap() << shift.parse::<u32>().unwrap(),
        None => value.parse().unwrap(),
    }
}

/// Formats a count with commas between the thousands.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let from_end = |at: usize| digits.len() - at;
    let comma = |at: usize| if at > 0 && from_end(at).is_multiple_of(3) { "," } else { "" };
    digits.chars().enumerate().map(|(at, digit)| format!("{}{digit}", comma(at))).collect()
}

#[test]
fn the_sandbox_page_lists_every_fixed_bound() {
    let size = |file, name| ByteSize(constant(file, name)).to_string();
    let number = |file, name| count(constant(file, name));
    let compile = CompileBounds::default();
    for (label, value) in [
        ("what one call hands over", size("sandbox/limits.rs", "MAX_PAYLOAD_BYTES")),
        ("one read or write", size("base/bounds.rs", "MAX_CHUNK_BYTES")),
        ("stack of the guest", size("sandbox/engine.rs", "MAX_WASM_STACK_BYTES")),
        ("stack of guest and host functions", size("sandbox/engine.rs", "STACK_BYTES")),
        ("elements of a table", number("sandbox/engine.rs", "MAX_TABLE_ELEMENTS")),
        ("core instances of a component", number("sandbox/engine.rs", "MAX_CORE_INSTANCES")),
        ("memories of a component", number("sandbox/engine.rs", "MAX_MEMORIES")),
        ("handles of WASI", number("sandbox/setup.rs", "WASI_HANDLES")),
        ("random bytes in one call", size("sandbox/host/wasi.rs", "MAX_RANDOM_BYTES")),
        ("artifacts of an attempt", number("sandbox/host/resources.rs", "MAX_OUTPUTS")),
        ("artifacts that an attempt reads", number("sandbox/host/access.rs", "MAX_READS")),
        ("inputs in one list", number("sandbox/host/inputs.rs", "MAX_LIST")),
        ("metrics, params and tags of an attempt", number("sandbox/host/metadata.rs", "MAX_FACTS")),
        ("bytes of them", size("sandbox/host/metadata.rs", "MAX_FACT_BYTES")),
        ("tags on artifacts", number("sandbox/host/metadata.rs", "MAX_ARTIFACT_TAGS")),
        ("metrics in one call", number("base/bounds.rs", "MAX_METRICS_PER_CALL")),
        ("params or tags in one call", number("base/bounds.rs", "MAX_ENTRIES_PER_CALL")),
        ("items of a list", number("base/bounds.rs", "MAX_PAGE")),
        ("a path", format!("{} bytes", number("base/bounds.rs", "MAX_PATH_BYTES"))),
        ("a log message", size("base/bounds.rs", "MAX_LOG_MESSAGE_BYTES")),
        ("fields of a log line", number("base/bounds.rs", "MAX_LOG_FIELDS")),
        ("message of an error or an outcome", size("base/bounds.rs", "MAX_MESSAGE_BYTES")),
        ("denials on record", count(MAX_DENIALS as u64)),
        ("time to end after being cancelled", TimeSpan(CANCEL_GRACE).to_string()),
        ("component", size("base/bounds.rs", "MAX_COMPONENT_BYTES")),
        ("functions of a component", number("sandbox/compile.rs", "MAX_FUNCTIONS")),
        ("one function", size("sandbox/compile.rs", "MAX_BODY_BYTES")),
        ("modules and components in a component", number("sandbox/compile.rs", "MAX_PARTS")),
        ("time to compile", TimeSpan(compile.wall).to_string()),
        ("memory to compile", compile.memory.to_string()),
        ("guests at once", count(SandboxConfig::default().max_instances.into())),
    ] {
        assert_eq!(row(label)[1], value, "{label}");
    }
}

/// Returns by how much one attempt exceeded a limit, in the unit of the limit, and how it ended.
async fn overshoot(
    bench: &Bench,
    act: Act,
    limits: fn(&mut Limits),
    used: fn(&Usage, &Limits) -> i64,
) -> (i64, String) {
    let order = order(bench, &act, limits).await.unwrap();
    let report = bench.run(order.clone()).await;
    let error = match &report.outcome {
        Outcome::Done(_) => String::new(),
        _ => format!("{}: {}", failure(&report).code, failure(&report).message),
    };
    (used(&report.usage, &order.limits), error)
}

/// A measurement: its name, the act, its limits, and by how much it exceeded the limit.
type Measured<'a> = (&'a str, &'a dyn Fn() -> Act, fn(&mut Limits), fn(&Usage, &Limits) -> i64);

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap()
}

#[tokio::test]
async fn counted_resources_never_exceed_their_limit() {
    let bench = Bench::new();
    let memory = overshoot(
        &bench,
        mode("allocate", None),
        |limits| limits.memory_bytes = 32 << 20,
        |used, limits| signed(used.peak_memory_bytes) - signed(limits.memory_bytes),
    );
    let output = overshoot(
        &bench,
        Act::Mode(json!({ "mode": "write_stubbornly", "to": "out", "times": 9 })),
        |limits| limits.output_bytes = 2 << 20,
        |used, limits| signed(used.bytes_written) - signed(limits.output_bytes),
    );
    let log = overshoot(
        &bench,
        mode("log", None),
        |limits| limits.log_bytes = 1 << 20,
        |used, limits| signed(used.log_bytes) - signed(limits.log_bytes),
    );
    for (key, (past, error)) in [("memory", memory.await), ("output", output.await), ("log", log.await)] {
        println!("{key}: {past} bytes past its limit. {error}");
        assert!(past <= 0, "{key}: {past}");
        assert_eq!(row(&format!("`{key}`"))[5], "nothing", "{key}");
    }
    // Limits that count are never exceeded: the guests themselves check that the first request
    // beyond them is refused. `sandbox::outbound` tests bodies.
    for key in ["handles", "metric_names", "http_requests", "http_body"] {
        assert_eq!(row(&format!("`{key}`"))[5], "nothing", "{key}");
    }
}

#[tokio::test]
async fn measured_resources_exceed_their_limit_by_at_most_a_slice_or_one_instruction() {
    let bench = Bench::new();
    let cpu = |used: &Usage, limits: &Limits| signed(used.cpu_time_us) - i64::try_from(limits.cpu.as_micros()).unwrap();
    let wall =
        |used: &Usage, limits: &Limits| signed(used.wall_time_us) - i64::try_from(limits.wall.as_micros()).unwrap();
    let short: fn(&mut Limits) = |limits| limits.cpu = Duration::from_millis(100);
    let waits: fn(&mut Limits) = |limits| limits.wall = Duration::from_millis(100);
    let fill = |bytes: u64| Act::Mode(json!({ "mode": "fill", "bytes": bytes }));
    let large: fn(&mut Limits) = |limits| (limits.cpu, limits.memory_bytes) = (Duration::from_millis(100), 300 << 20);
    let cases: [Measured; 7] = [
        ("cpu, a spin", &|| mode("spin", None), short, cpu),
        ("cpu, host calls", &|| mode("spin_in_host", None), short, cpu),
        ("cpu, one instruction that fills 1 MiB", &|| fill(1 << 20), short, cpu),
        ("cpu, one instruction that fills 256 MiB", &|| fill(256 << 20), large, cpu),
        ("wall, a wait", &|| mode("sleep_forever", None), waits, wall),
        ("wall, a spin", &|| mode("spin", None), waits, wall),
        ("wall, host calls that are work", &|| mode("list", None), waits, wall),
    ];
    for (name, act, limits, used) in cases {
        let mut times = Vec::new();
        for _ in 0..10 {
            let (past, error) = overshoot(&bench, act(), limits, used).await;
            assert!(past >= 0, "{name}: stopped {past} µs before its limit: {error}");
            assert!(error.starts_with(if name.starts_with("cpu") { "cpu_limit" } else { "wall_limit" }), "{error}");
            times.push(past);
        }
        times.sort_unstable();
        println!("{name}: median {} µs, most {} µs past", times[5], times[9]);
    }

    let folder = tempfile::tempdir().unwrap();
    let compile = CompileBounds { wall: Duration::from_secs(1), ..CompileBounds::default() };
    let sandbox = Sandbox::new(SandboxConfig {
        cache_folder: folder.path().join("cache"),
        compiler: Some(env!("CARGO_BIN_EXE_anacostia").into()),
        compile,
        ..SandboxConfig::default()
    })
    .unwrap();
    let (digest, file) = crate::sandbox::guests::write(folder.path(), "bomb.wasm", &super::compiling::endless());
    let began = Instant::now();
    sandbox.load(digest, &file).await.unwrap_err();
    println!("time to compile: {} µs past", began.elapsed().saturating_sub(compile.wall).as_micros());
}
