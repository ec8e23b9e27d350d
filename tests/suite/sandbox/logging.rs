//! Log lines, standard output and standard error of guests.

use std::sync::Arc;

use anacostia::base::{AttemptId, Freed};
use anacostia::model::{LogLevel, LogLine, LogPosition, LogRange, LogStream, Outcome};
use anacostia::store::logs::{LogPage, LogStore, LogTail};
use anacostia::store::{Result as StoreResult, StoreError};
use async_trait::async_trait;
use serde_json::json;
use tokio::sync::watch;

use super::{Bench, failure, guests, lines, variable};

#[tokio::test]
async fn lines_are_numbered_split_escaped_and_masked() {
    let bench = Bench::new();
    let (name, value) = variable();
    let steps = json!({ "steps": [
        { "do": "log", "message": "one\ntwo \u{1b}[2J", "level": "warn" },
        { "do": "log", "message": format!("it is {value}.") },
        { "do": "log", "message": "m".repeat(20_000) },
    ] });
    let mut order = bench.order(bench.guest("worker").await, &steps);
    order.secrets.insert("TOKEN".to_owned(), name);
    let report = bench.run(order.clone()).await;
    let lines = lines(&bench, &order);
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts[..3], ["one", "two \\u{1b}[2J", "it is •••."]);
    assert_eq!(texts[3].len(), 16 << 10);
    assert!(texts[3].ends_with("m…"));
    assert_eq!(lines.iter().map(|line| line.n).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((lines[0].level, lines[0].stream), (LogLevel::Warn, LogStream::Log));
    assert_eq!(lines[0].fields, [("n".to_owned(), "1".to_owned())]);
    assert!(lines[1].fields.is_empty());
    assert_eq!(report.log_to, bench.services.logs.end());
    assert!(report.usage.log_bytes > 16 << 10);
}

#[tokio::test]
async fn a_failure_is_logged_with_the_denials() {
    let bench = Bench::new();
    let order = bench.order(bench.guest("worker").await, &json!({ "steps": [{ "do": "read", "from": "other" }] }));
    let report = bench.run(order.clone()).await;
    assert_eq!(failure(&report).code, "denied");
    let texts: Vec<String> = lines(&bench, &order)
        .into_iter()
        .filter(|line| line.stream == LogStream::Host)
        .map(|line| format!("{} {}", line.level, line.text))
        .collect();
    assert_eq!(
        texts,
        [
            "warn denied: resources.inputs on other: `train` may not read `other`; to grant it, write in anacostia.toml:",
            "warn [actions.train]",
            "warn reads = [\"raw\", \"other\"]",
            "error denied: `train` may not read `other`; to grant it, write in anacostia.toml:",
            "error [actions.train]",
            "error reads = [\"raw\", \"other\"]",
        ]
    );
}

#[tokio::test]
async fn a_log_never_exceeds_its_limit() {
    let bench = Bench::new();
    let mut order = bench.order(bench.guest("hostile").await, &json!({ "mode": "log" }));
    order.limits.log_bytes = 100 << 10;
    let report = bench.run(order.clone()).await;
    assert_eq!(failure(&report).code, "log_limit");
    let bytes: usize =
        lines(&bench, &order).iter().filter(|line| line.stream == LogStream::Log).map(|l| l.text.len()).sum();
    assert!((50 << 10..100 << 10).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn log_lines_of_a_running_guest_are_visible() {
    let bench = Bench::new();
    let steps = json!({ "steps": [{ "do": "log", "message": "begun" }, { "do": "spin", "rounds": u64::MAX }] });
    let order = bench.order(bench.guest("worker").await, &steps);
    let seen = async {
        while lines(&bench, &order).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        report = bench.run(order.clone()) => panic!("it spins: {report:?}"),
        seen = tokio::time::timeout(std::time::Duration::from_mins(1), seen) => seen.unwrap(),
    }
}

/// Writes to standard output and standard error: a line in two pieces, a control character, and an
/// end without a newline.
const PRINTS: &str = r#"(module
    (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
        (func $write (param i32 i32 i32 i32)))
    (import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
    (import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "first\0asec")
    (data (i32.const 16) "ond \01\0d\0alast")
    (data (i32.const 32) "oops\0a")
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
    (func (export "anacostia:pipeline/action@0.1.0#run") (result i32)
        (call $write (call $stdout) (i32.const 0) (i32.const 9) (i32.const 1024))
        (call $write (call $stderr) (i32.const 32) (i32.const 5) (i32.const 1024))
        (call $write (call $stdout) (i32.const 16) (i32.const 11) (i32.const 1024))
        i32.const 2048))"#;

/// The part of WASI that [`PRINTS`] imports.
const PRINTING: &str = "
    package test:printing;
    world printing {
        include anacostia:pipeline/guest@0.1.0;
        import wasi:cli/stdout@0.2.0;
        import wasi:cli/stderr@0.2.0;
    }
    package wasi:io@0.2.0 {
        interface error { resource error; }
        interface streams {
            use error.{error};
            variant stream-error { last-operation-failed(error), closed }
            resource output-stream {
                blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
            }
        }
    }
    package wasi:cli@0.2.0 {
        interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; }
        interface stderr { use wasi:io/streams@0.2.0.{output-stream}; get-stderr: func() -> output-stream; }
    }";

#[tokio::test]
async fn stdout_and_stderr_are_in_the_log() {
    let bench = Bench::new();
    let prints = guests::in_world(PRINTS, Some((PRINTING, "printing")));
    let order = bench.order(bench.load(&prints).await, &json!({}));
    let report = bench.run(order.clone()).await;
    assert_eq!(report.outcome, Outcome::Done(None));
    let texts: Vec<String> =
        lines(&bench, &order).into_iter().map(|line| format!("{} {}", line.stream, line.text)).collect();
    assert_eq!(texts, ["stdout first", "stderr oops", "stdout second \\u{1}", "stdout last"]);
}

#[tokio::test]
async fn a_trap_is_reported_with_the_last_stderr_lines_without_secrets() {
    let bench = Bench::new();
    let (name, value) = variable();
    let trap = PRINTS
        .replace("(i32.const 32) \"oops\\0a\"", &format!("(i32.const 32) \"it is {value}\\0anow\""))
        .replace("(i32.const 32) (i32.const 5)", &format!("(i32.const 32) (i32.const {})", value.len() + 10))
        .replace("i32.const 2048))", "unreachable))");
    let prints = guests::in_world(&trap, Some((PRINTING, "printing")));
    let mut order = bench.order(bench.load(&prints).await, &json!({}));
    for secret in [false, true] {
        if secret {
            order.secrets.insert("TOKEN".to_owned(), name.clone());
        }
        let report = bench.run(order.clone()).await;
        let shown = if secret { "•••" } else { &value };
        // Text without a final newline counts, too. Standard output does not.
        let words = format!("a panic or an abort. Its last output:\n    it is {shown}\n    now\n  at ");
        assert!(failure(&report).message.contains(&words), "{}", failure(&report).message);
    }
}

/// A log on a disk that becomes full at the line with this text.
#[derive(Debug)]
struct FullAt(&'static str, Arc<dyn LogStore>);

#[async_trait]
impl LogStore for FullAt {
    fn end(&self) -> LogPosition {
        self.1.end()
    }
    fn append(&self, lines: &[LogLine]) -> StoreResult<u64> {
        if lines.iter().any(|line| line.text.contains(self.0)) {
            let (doing, why) = ("write the log".to_owned(), "No space left on device".to_owned());
            return Err(StoreError::Unavailable { doing, why });
        }
        self.1.append(lines)
    }
    fn probe(&self) -> StoreResult<()> {
        self.1.probe()
    }
    fn read(&self, attempt: AttemptId, range: LogRange, cursor: Option<&str>, limit: u32) -> StoreResult<LogPage> {
        self.1.read(attempt, range, cursor, limit)
    }
    fn tail(&self, attempt: AttemptId, range: LogRange, before: Option<&str>, limit: u32) -> StoreResult<LogTail> {
        self.1.tail(attempt, range, before, limit)
    }
    fn trim(&self, needed: &[LogRange], keep_for: Option<std::time::Duration>, dry_run: bool) -> StoreResult<Freed> {
        self.1.trim(needed, keep_for, dry_run)
    }
    fn grown(&self) -> watch::Receiver<u64> {
        self.1.grown()
    }
    async fn lost(&self) -> String {
        self.1.lost().await
    }
}

#[tokio::test]
async fn an_attempt_that_loses_lines_is_handed_back() {
    let mut bench = Bench::new();
    bench.services.logs = Arc::new(FullAt("lost", Arc::clone(&bench.services.logs)));
    let write = "write|/out/out/a.txt|x";
    // In the middle; at the end, without a line feed, so that the line is complete only when the
    // program has ended; and of a program that fails.
    for steps in [&[write, "err|lost", "err|more"][..], &[write, "raw|lost"], &["err|lost", "exit|1"]] {
        let report = bench.run(bench.command(steps).await).await;
        assert_eq!(report.outcome, Outcome::HandedBack, "{steps:?}");
        let why = "failed to write the log: No space left on device";
        assert_eq!(report.log_lost.as_deref(), Some(why), "{steps:?}");
        assert!(report.staged.is_empty() && bench.out.staged.lock().unwrap().is_empty(), "{steps:?}");
    }
    let report = bench.run(bench.command(&[write, "raw|kept"]).await).await;
    assert_eq!((report.outcome, report.log_lost), (Outcome::Done(None), None));
}
