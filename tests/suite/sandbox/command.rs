//! Commands: a program that only uses files finds its inputs, writes its outputs, and has no more
//! access than any other action.

use std::sync::atomic::Ordering::SeqCst;

use anacostia::model::{AccessKind, LogStream, Outcome};
use anacostia::sandbox::{AttemptOrder, AttemptReport};
use serde_json::json;

use super::fakes::artifact;
use super::{Bench, failure, guests, lines, variable};

/// Runs the program, and returns its standard output, without the line about its arguments.
pub(super) async fn run(bench: &Bench, steps: &[&str]) -> (AttemptReport, Vec<String>) {
    run_with(bench, steps, |_| {}).await
}

pub(super) async fn run_with(
    bench: &Bench,
    steps: &[&str],
    change: impl FnOnce(&mut AttemptOrder),
) -> (AttemptReport, Vec<String>) {
    let mut order = bench.command(steps).await;
    change(&mut order);
    let report = bench.run(order.clone()).await;
    let said = lines_on(bench, &order, LogStream::Stdout);
    (report, said.into_iter().skip(1).collect())
}

fn lines_on(bench: &Bench, order: &AttemptOrder, stream: LogStream) -> Vec<String> {
    lines(bench, order).into_iter().filter(|line| line.stream == stream).map(|line| line.text).collect()
}

/// Returns the results of the program, step by step; it must have exited with 0.
async fn step_results(bench: &Bench, steps: &[&str]) -> Vec<String> {
    let (report, said) = run(bench, steps).await;
    assert_eq!(report.outcome, Outcome::Done(None), "{said:?}");
    said
}

/// Returns the paths and contents of the outputs to publish.
pub(super) fn staged(bench: &Bench, report: &AttemptReport) -> Vec<(String, String)> {
    let kept = bench.out.staged.lock().unwrap();
    let files = report.staged.iter().map(|file| {
        let content = String::from_utf8_lossy(&kept[&file.staged]).into_owned();
        assert_eq!(file.size, content.len() as u64);
        (file.path.clone(), content)
    });
    let mut files: Vec<_> = files.collect();
    files.sort();
    files
}

pub(super) fn texts(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(path, content)| ((*path).to_owned(), (*content).to_owned())).collect()
}

#[tokio::test]
async fn a_command_sees_exactly_its_inputs() {
    let bench = Bench::new();
    let (report, said) = run(
        &bench,
        &[
            "list|/",
            "list|/in",
            "list|/out",
            "list|/in/raw",
            "stat|/in/raw/a.txt",
            "stat|/in/raw",
            "cat|/in/raw/a.txt",
            "part|/in/raw/a.txt|5|100",
            "part|in/./raw//../raw/a.txt|0|4",
            // In the resource, but not an input of this run.
            "cat|/in/raw/b.txt",
            "cat|/in/other/secret.txt",
            "stat|/in/nowhere",
            "cat|/in/raw/a.txt/b",
            "cat|/in/raw/a.txt/",
        ],
    )
    .await;
    assert_eq!(
        said,
        [
            "list: in/ out/ (2)",
            "list: raw/ (1)",
            "list: out/ (1)",
            "list: a.txt (1)",
            "stat: 12 bytes, without a time",
            "stat: folder",
            "some contentcat: ok",
            "part: content",
            "part: some",
            "cat: ENOENT",
            "cat: ENOENT",
            "stat: ENOENT",
            "cat: ENOTDIR",
            "cat: ENOTDIR",
        ]
    );
    assert_eq!(report.outcome, Outcome::Done(None));
    // Lineage contains what was read: once completely, twice in part.
    let [access] = report.accesses.as_slice() else { panic!("{:?}", report.accesses) };
    assert_eq!((access.artifact_id, access.kind), (bench.store.inputs[0].id, AccessKind::Read));
    assert_eq!((access.bytes, report.usage.bytes_read), (12 + 7 + 4, 12 + 7 + 4));
    // The program gets the error that the file does not exist; the record contains the reason.
    let [denial] = report.denials.as_slice() else { panic!("{:?}", report.denials) };
    assert_eq!((denial.call.as_str(), denial.target.as_str()), ("wasi:filesystem", "other"));
    assert!(denial.message.ends_with("[actions.train]\nreads = [\"raw\", \"other\"]"), "{}", denial.message);
}

#[tokio::test]
async fn outputs_are_staged_only_if_the_command_exits_with_zero() {
    let bench = Bench::new();
    let (report, said) = run(
        &bench,
        &[
            "write|/out/out/a.txt|one",
            "mkdir|/out/out/deep",
            "mkdir|/out/out/deep",
            "write|/out/out/deep/b.txt|two",
            "list|/out/out",
            "stat|/out/out/a.txt",
            "cat|/out/out/a.txt",
            // Published by an earlier attempt: the program does not see it, and it is replaced.
            "stat|/out/out/taken.txt",
            "write|/out/out/taken.txt|new",
            "keep|/out/out/open.txt|not closed",
        ],
    )
    .await;
    assert_eq!(
        said,
        [
            "write: ok",
            "mkdir: ok",
            "mkdir: EEXIST",
            "write: ok",
            "list: a.txt deep/ (2)",
            "stat: 3 bytes, with a time",
            "onecat: ok",
            "stat: ENOENT",
            "write: ok",
            "keep: ok",
        ]
    );
    assert_eq!(report.outcome, Outcome::Done(None));
    let files = [("a.txt", "one"), ("deep/b.txt", "two"), ("open.txt", "not closed"), ("taken.txt", "new")];
    assert_eq!(staged(&bench, &report), texts(&files));
    assert!(report.staged.iter().all(|file| file.overwrite));
    let written: u64 = report.accesses.iter().filter(|a| a.kind == AccessKind::Wrote).map(|access| access.bytes).sum();
    assert_eq!((written, report.usage.bytes_written), (3 + 3 + 10 + 3, 3 + 3 + 10 + 3));
}

#[tokio::test]
async fn output_files_can_be_renamed_removed_replaced_and_appended_to() {
    let bench = Bench::new();
    let (report, said) = run(
        &bench,
        &[
            "write|/out/out/a.tmp|draft",
            "rename|/out/out/a.tmp|/out/out/a.txt",
            "stat|/out/out/a.tmp",
            "write|/out/out/b.txt|old",
            "write|/out/out/b.txt|b",
            "append|/out/out/b.txt| and more",
            "append|/out/out/b.txt| and more",
            "write|/out/out/gone.txt|x",
            "unlink|/out/out/gone.txt",
            "unlink|/out/out/gone.txt",
            "write|/out/out/c.txt|replaced",
            "rename|/out/out/c.txt|/out/out/a.txt",
            "rename_open|/out/out/d.tmp|/out/out/d.txt",
            "write|/out/out/e.txt|something",
            "truncate|/out/out/e.txt|0",
            "mkdir|/out/out/empty",
            "rmdir|/out/out/empty",
            "rename|/out/out/nothing|/out/out/x",
            "write|/out/out/folder/|x",
        ],
    )
    .await;
    let bad: Vec<&String> = said.iter().filter(|line| !line.ends_with(": ok")).collect();
    assert_eq!(bad, ["stat: ENOENT", "unlink: ENOENT", "rename: ENOENT", "write: EINVAL"]);
    assert_eq!(report.outcome, Outcome::Done(None));
    let files = [("a.txt", "replaced"), ("b.txt", "b and more and more"), ("d.txt", "before after"), ("e.txt", "")];
    assert_eq!(staged(&bench, &report), texts(&files));
    // Files that were replaced or removed are not recorded.
    assert_eq!(report.accesses.len(), 4);
}

#[tokio::test]
async fn a_progress_bar_is_logged_as_its_last_state() {
    let bench = Bench::new();
    let steps = ["raw|\r  0% [    ]", "raw|\r 50% [##  ]", "raw|\r100% [####]\n", "raw|one\r\ntwo\r\n"];
    assert_eq!(step_results(&bench, &steps).await, ["100% [####]", "one", "two"]);
}

#[tokio::test]
async fn local_time_is_utc_whatever_tz_is_set_to() {
    let bench = Bench::new();
    let (_, said) = run_with(&bench, &["time"], |order| {
        order.env.insert("TZ".to_owned(), "America/New_York".to_owned());
    })
    .await;
    assert_eq!(said, ["time: 1970-01-01 00:00, TZ=America/New_York"]);
}

#[tokio::test]
async fn unsupported_staging_operations_are_refused_and_logged() {
    let bench = Bench::new();
    let steps = [
        "write|/out/out/a/b.txt|x",
        "write|/out/out/a|a folder is there",
        "write|/out/out/a/b.txt/c|a file lies above",
        "rename|/out/out/a|/out/out/z",
        "rmdir|/out/out/a",
        "create|/out/out/taken.txt|x",
        "overwrite|/out/out/none.txt|x",
        "symlink|/in/raw/a.txt|/out/out/link",
    ];
    let order = bench.command(&steps).await;
    let report = bench.run(order.clone()).await;
    let said = lines_on(&bench, &order, LogStream::Stdout);
    let errors = ["ok", "EISDIR", "ENOTDIR", "ENOTSUP", "ENOTEMPTY", "EEXIST", "ENOENT", "ENOTSUP"];
    let told: Vec<&str> = said[1..].iter().filter_map(|line| line.split(": ").last()).collect();
    assert_eq!(told, errors, "{said:?}");
    assert_eq!(report.outcome, Outcome::Done(None));
    let host = lines_on(&bench, &order, LogStream::Host);
    assert!(host.iter().any(|line| line == "/out/out/a: is a folder: only files in `/out` can be renamed"), "{host:?}");
}

#[tokio::test]
async fn a_command_writes_only_where_it_is_granted() {
    let bench = Bench::new();
    let steps = [
        "write|/in/raw/a.txt|x",
        "write|/in/raw/new.txt|x",
        "unlink|/in/raw/a.txt",
        "rename|/in/raw/a.txt|/out/out/a.txt",
        "write|/out/other/x.txt|x",
        "write|/out/nowhere/x.txt|x",
        "write|/tmp/x|x",
        "write|/x|x",
        "write|/out/x|x",
        "mkdir|/out/other/x",
        "mkdir|/elsewhere",
        "write|/out/out/allowed.txt|x",
    ];
    let (report, said) = run(&bench, &steps).await;
    let errors = ["EACCES"; 5].into_iter().chain(["ENOENT", "EACCES", "EACCES", "ENOENT", "EACCES", "EACCES", "ok"]);
    let told: Vec<&str> = said.iter().filter_map(|line| line.split(": ").last()).collect();
    assert_eq!(told, errors.collect::<Vec<_>>(), "{said:?}");
    assert_eq!(staged(&bench, &report), texts(&[("allowed.txt", "x")]));
    let first = &report.denials[0];
    assert_eq!((first.call.as_str(), first.target.as_str()), ("wasi:filesystem", "/in/raw/a.txt"));
    assert!(
        first.message.ends_with(
            "to let it make new versions in `/out/raw`, write in anacostia.toml:\n[actions.train]\nwrites = [\"out\", \"raw\"]"
        ),
        "{}",
        first.message
    );
    assert!(report.denials.iter().any(|denial| denial.message.ends_with("writes = [\"out\", \"other\"]")));
}

#[tokio::test]
async fn no_path_leads_out_of_the_preopened_folders() {
    let bench = Bench::new();
    let said = step_results(
        &bench,
        &[
            "cat|/../etc/passwd",
            "cat|../../etc/passwd",
            "cat|/in/raw/../../../etc/passwd",
            "cat|/in/raw/../../etc/passwd",
            "cat|/etc/passwd",
            "write|/out/out/../../../x|x",
            "write|/out/out/../other/x|x",
            "write|/out/out/a\u{1}b|x",
            "long|/out/out/",
            "write|/out/out/.anacostia/x|x",
            "write|/out/out/in/../side.txt|x",
        ],
    )
    .await;
    let told: Vec<&str> = said.iter().filter_map(|line| line.split(": ").last()).collect();
    assert_eq!(
        told,
        ["EPERM", "EPERM", "EPERM", "ENOENT", "ENOENT", "EPERM", "EACCES", "EILSEQ", "ENAMETOOLONG", "ok", "ok"],
        "{said:?}"
    );
}

#[tokio::test]
async fn the_exit_code_decides_the_outcome() {
    let bench = Bench::new();
    // The adapter of this program only preserves that the code is not 0.
    let (report, _) = run(&bench, &["write|/out/out/a.txt|x", "err|no such column: age", "exit|3"]).await;
    let error = failure(&report);
    assert_eq!((error.code.as_str(), error.retryable), ("exit_code", false));
    assert_eq!(error.message, "it exited with code 1. Its last output:\n    no such column: age");
    assert!(report.staged.is_empty() && bench.out.staged.lock().unwrap().is_empty());
    let (report, _) = run(&bench, &["write|/out/out/a.txt|x", "exit|0"]).await;
    assert_eq!(report.outcome, Outcome::Done(None));
    assert_eq!(report.staged.len(), 1);
    let (report, _) = run(&bench, &["abort"]).await;
    assert_eq!(failure(&report).code, "trap");
}

#[tokio::test]
async fn the_error_quotes_the_last_stderr_lines_without_secrets() {
    let bench = Bench::new();
    let (name, value) = variable();
    for shown in [value.as_str(), "•••"] {
        let steps = [&format!("err|the key is {value}"), "mutter|and that is all", "exit|3"];
        let (report, _) = run_with(&bench, &steps, |order| {
            if shown != value {
                order.secrets.insert("KEY".to_owned(), name.clone());
            }
        })
        .await;
        // Text without a final newline counts, too.
        let said = format!("Its last output:\n    the key is {shown}\n    and that is all");
        assert!(failure(&report).message.ends_with(&said), "{}", failure(&report).message);
    }
}

/// A command that calls `wasi:cli/exit` itself, with this code.
fn exiting(code: u8) -> Vec<u8> {
    let world = "
        package test:exit;
        world program { import wasi:cli/exit@0.2.12; export wasi:cli/run@0.2.12; }
        package wasi:cli@0.2.12 {
            interface exit { exit: func(status: result); exit-with-code: func(status-code: u8); }
            interface run { run: func() -> result; }
        }";
    let module = format!(
        r#"(module
            (import "wasi:cli/exit@0.2.12" "exit-with-code" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "wasi:cli/run@0.2.12#run") (result i32) (call $exit (i32.const {code})) i32.const 0))"#
    );
    guests::in_world(&module, Some((world, "program")))
}

#[tokio::test]
async fn an_exit_code_is_reported() {
    let bench = Bench::new();
    let mut ends = Vec::new();
    for code in [0, 3, 75] {
        let digest = bench.load(&exiting(code)).await;
        let report = bench.run(bench.order(digest, &json!({}))).await;
        ends.push(match report.outcome {
            Outcome::Done(None) => "done".to_owned(),
            Outcome::Failed(error) => format!("{} (retryable: {})", error.message, error.retryable),
            other => panic!("{other:?}"),
        });
    }
    let failed = |code| format!("it exited with code {code}, and said nothing on standard error");
    assert_eq!(ends, ["done".to_owned(), failed(3) + " (retryable: false)", failed(75) + " (retryable: true)"]);
}

#[tokio::test]
async fn args_env_and_stdin_come_from_the_manifest() {
    let bench = Bench::new();
    let order = |order: &mut AttemptOrder| {
        order.stdin = Some("raw/*.txt".to_owned());
        order.env.insert("MODE".to_owned(), "prod".to_owned());
        order.params = json!({"seed": 7}).to_string();
    };
    let steps = ["stdin", "env|MODE", "env|HOME", "env|ANACOSTIA_PARAMS"];
    let (report, said) = run_with(&bench, &steps, order).await;
    assert_eq!(said, ["some contentstdin: ok", "env: prod", "env: (none)", "env: {\"seed\":7}"]);
    assert_eq!(report.accesses[0].bytes, 12);
    let mut order = bench.command(&["stdin"]).await;
    bench.run(order.clone()).await;
    assert_eq!(lines_on(&bench, &order, LogStream::Stdout), ["called train with 1", "stdin: ok"]);
    // Exactly one input must match.
    order.stdin = Some("raw/*.csv".to_owned());
    let report = bench.run(order).await;
    assert_eq!(
        (failure(&report).code.as_str(), failure(&report).message.as_str()),
        ("stdin", "`stdin = \"raw/*.csv\"` names none of the action's inputs; it must name one")
    );
    let (report, said) = run_with(&bench, &["stdin"], |order| {
        let more = artifact("raw", "sub/c.txt", b"more");
        order.inputs = order.inputs.iter().cloned().chain([more]).collect();
        order.stdin = Some("raw".to_owned());
    })
    .await;
    assert!(said.is_empty(), "the program never ran: {said:?}");
    assert!(
        failure(&report).message.ends_with("names 2 of the action's inputs; it must name one: `a.txt`, `sub/c.txt`")
    );
}

#[tokio::test]
async fn metric_lines_become_metrics() {
    let bench = Bench::new();
    let good = r#"{"name": "loss", "value": 0.5, "step": 1}"#;
    let steps = [
        format!("write|/out/metrics.jsonl|{good}\n"),
        "stat|/out/metrics.jsonl".to_owned(),
        "list|/out".to_owned(),
        // The file grows in whatever way it is opened. The last line needs no newline.
        r#"append|/out/metrics.jsonl|{"name": "loss", "value": 0.25, "step": 2, "time": 9}"#.to_owned(),
        "append|/out/metrics.jsonl|nonsense\n\n{\"name\": \"\", \"value\": 1}\n{\"name\": \"loss\", \"value\": nought}\n"
            .to_owned(),
        r#"append|/out/metrics.jsonl|{"name": "loss", "value": 1, "step": 9223372036854775808}"#.to_owned(),
        "append|/out/metrics.jsonl|\n{\"name\": \"loss\", \"value\": -Infinity}\n".to_owned(),
        "append|/out/metrics.jsonl|{\"name\": \"loss\", \"value\": inf}\n{\"name\": \"loss\", \"value\": \"-inf\"}\n".to_owned(),
        r#"keep|/out/metrics.jsonl|{"name": "accuracy", "value": 1}"#.to_owned(),
    ];
    let order = bench.command(&steps.each_ref().map(String::as_str)).await;
    let report = bench.run(order.clone()).await;
    assert_eq!(report.outcome, Outcome::Done(None));
    let size = good.len() + 1;
    assert_eq!(
        lines_on(&bench, &order, LogStream::Stdout)[1..4],
        ["write: ok".to_owned(), format!("stat: {size} bytes, with a time"), "list: out/ metrics.jsonl (2)".to_owned()]
    );
    let metrics = bench.store.facts.lock().unwrap().metrics.clone();
    let metrics: Vec<_> = metrics.iter().map(|m| (m.name.as_str(), m.value, m.step)).collect();
    let diverged = ("loss", f64::NEG_INFINITY, None);
    let expected = [
        ("loss", 0.5, Some(1)),
        ("loss", 0.25, Some(2)),
        diverged,
        ("loss", f64::INFINITY, None),
        diverged,
        ("accuracy", 1.0, None),
    ];
    assert_eq!(metrics, expected);
    let host = lines_on(&bench, &order, LogStream::Host);
    let numbers: Vec<&str> = host.iter().filter_map(|line| line.split(" is not a metric: ").next()).collect();
    assert_eq!(numbers, [3, 5, 6, 7].map(|n| format!("/out/metrics.jsonl: line {n}")), "{host:?}");
    // The bounds are those of `log-metrics`.
    let many: Vec<String> = (0..10).map(|n| format!("{{\"name\": \"m{n}\", \"value\": 1}}\n")).collect();
    let step = format!("write|/out/metrics.jsonl|{}", many.concat());
    let (report, said) = run_with(&bench, &[&step, "exit|1"], |order| order.limits.metric_names = 4).await;
    assert_eq!(said, ["write: ok", "write: EDQUOT"]);
    assert_eq!(failure(&report).code, "metric_names_limit");
}

#[tokio::test]
async fn the_limit_of_output_is_exact() {
    let bench = Bench::new();
    let limit = 1_000_000;
    let steps = [format!("fill|/out/out/a.bin|{limit}|1000"), "write|/out/out/b.bin|x".to_owned()];
    let (report, said) = run_with(&bench, &[&steps[0]], |order| order.limits.output_bytes = limit).await;
    assert_eq!((said, &report.outcome), (vec!["fill: ok".to_owned()], &Outcome::Done(None)));
    assert_eq!(report.usage.bytes_written, limit);
    let (report, said) = run_with(&bench, &[&steps[0], &steps[1]], |order| order.limits.output_bytes = limit).await;
    assert_eq!(said, ["fill: ok", "write: ok", "write: ENOSPC"]);
    assert_eq!((failure(&report).code.as_str(), report.usage.bytes_written), ("output_limit", limit));
    assert!(report.staged.is_empty() && bench.out.staged.lock().unwrap().is_empty());
}

#[tokio::test]
async fn open_descriptors_are_limited() {
    let bench = Bench::new();
    let limit = |order: &mut AttemptOrder| order.limits.handles = 50;
    let (report, said) = run_with(&bench, &["open_many|/in/raw/a.txt|100000", "exit|0"], limit).await;
    assert_eq!(said, ["open_many: 50, then EDQUOT"]);
    assert_eq!(report.outcome, Outcome::Done(None), "the program may handle the error as it likes");
    let (report, said) = run_with(&bench, &["open_many|/in|100000|folders", "exit|1"], limit).await;
    assert_eq!(said, ["open_many: 50, then EDQUOT"]);
    assert_eq!(failure(&report).code, "handles_limit");
    // A file that cannot be opened is unchanged.
    let steps = [
        "write|/out/out/a.txt|kept",
        "open_many|/in/raw/a.txt|100",
        "append|/out/out/a.txt|x",
        "write|/out/out/a.txt|x",
    ];
    let (report, said) = run_with(&bench, &steps, limit).await;
    assert_eq!(said[2..], ["append: EDQUOT", "write: EDQUOT"]);
    assert_eq!(staged(&bench, &report), texts(&[("a.txt", "kept")]));
    // Closed files do not count.
    let many = vec!["cat|/in/raw/a.txt"; 200];
    let (report, _) = run_with(&bench, &many, limit).await;
    assert_eq!(report.outcome, Outcome::Done(None));
}

#[tokio::test]
async fn a_changed_input_fails_the_attempt_whatever_the_program_returns() {
    let bench = Bench::new();
    bench.raw.changed.store(true, SeqCst);
    let (report, said) = run(&bench, &["cat|/in/raw/a.txt", "write|/out/out/a.txt|x"]).await;
    assert_eq!(said, ["cat: EIO", "write: ok"]);
    assert_eq!(failure(&report).code, "changed");
    assert!(report.staged.is_empty());
}

#[tokio::test]
async fn large_folders_are_listed() {
    let bench = Bench::new();
    let (report, said) = run_with(&bench, &["list|/in/raw", "list|/in/raw/deep"], |order| {
        let many = (0..20_000).map(|n| artifact("raw", &format!("deep/{n:05}.txt"), b"x"));
        order.inputs = order.inputs.iter().cloned().chain(many).collect();
    })
    .await;
    assert_eq!(report.outcome, Outcome::Done(None));
    assert_eq!(said[0], "list: a.txt deep/ (2)");
    assert!(said[1].starts_with("list: 00000.txt 00001.txt ") && said[1].ends_with(" (20000)"), "{}", said[1]);
}

#[tokio::test]
async fn actions_that_are_not_commands_have_no_preopened_folders() {
    let bench = Bench::new();
    let report = bench.hostile(json!({ "mode": "wasi" }), |_| {}).await;
    assert!(matches!(report.outcome, Outcome::Done(_)), "{:?}", report.outcome);
}
