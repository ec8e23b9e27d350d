//! Guests that produce too much: output, log lines, facts, handles, texts.

use std::time::Duration;

use anacostia::manifest::Limits;
use serde_json::json;

use super::{Act, Case, check_cases, mode};
use crate::sandbox::{Bench, done, lines};

fn output(limits: &mut Limits) {
    limits.output_bytes = 2 << 20;
}

fn log(limits: &mut Limits) {
    limits.log_bytes = 1 << 20;
}

fn few_handles(limits: &mut Limits) {
    (limits.handles, limits.metric_names) = (5, 3);
}

const LOG_FULL: &str = "the limit of 1 MiB of log lines is reached";

pub(super) fn cases() -> Vec<Case> {
    let full = |name: &str, act: Act, counterpart: Act| {
        Case::stopped(name, act, "log_limit", LOG_FULL, counterpart).within(log)
    };
    let cpu = |name: &str, act: Act, counterpart: Act| {
        let words = "the limit of 300ms of CPU time is reached";
        Case::stopped(name, act, "cpu_limit", words, counterpart)
            .within(|limits| limits.cpu = Duration::from_millis(300))
    };
    let mut cases = vec![
        Case::stopped(
            "a flood of output, by one who fails over it",
            worker_like_write(3 << 20),
            "output_limit",
            "the limit of 2 MiB of output is reached",
            worker_like_write(1 << 20),
        )
        .within(output),
        full("a flood of log lines", mode("log", None), mode("log", 100)),
        full("a flood of empty lines on standard output", mode("stdout", None), mode("stdout", 1024)),
        // It is one line, of which only the beginning is kept. So no limit on size is reached, and
        // the CPU time ends it.
        cpu("a flood on standard error without a newline", mode("stderr", None), mode("stderr", 2)),
        cpu("a flood of progress", mode("progress", u64::MAX), mode("progress", 1000)),
        Case::stopped(
            "a log line of 32 MiB",
            mode("log_huge", 32),
            "payload_limit",
            "more than 16 MiB in one call of a host function",
            mode("log_huge", 4),
        ),
        Case::stopped(
            "an error of 10 MiB, made of control characters",
            mode("huge_error", 10 << 20),
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…",
            "\\u{1b}[2J",
            mode("spin", 1),
        ),
        Case::stopped(
            "more handles of WASI than there are",
            mode("pollables", 100_000),
            "trap",
            "resource table has no free keys",
            mode("pollables", 100),
        ),
        Case::stopped(
            "a list of a million pollables",
            mode("poll_list", 8 << 20),
            "payload_limit",
            "more than 16 MiB",
            mode("poll_list", 1000),
        ),
        Case::stopped(
            "more random bytes in one call than there are",
            mode("random", 1 << 30),
            "trap",
            "random",
            mode("random", 1 << 20),
        ),
    ];
    cases.extend(refusals());
    cases
}

fn worker_like_write(bytes: u64) -> Act {
    Act::Hooked(json!({ "steps": [{ "do": "write", "to": "out", "path": "big", "bytes": bytes }], "hooks": {} }))
}

fn refusals() -> Vec<Case> {
    let refused = |name: &str, mode: &str, words: &'static str| {
        Case::refused(name, json!({ "mode": mode, "from": "raw", "to": "out", "other": "other", "times": 1000 }), words)
    };
    vec![
        refused("a flood of output, by one who listens", "write", "write again: limit")
            .within(output)
            .with_counterpart(Act::Mode(json!({ "mode": "write", "to": "out", "bytes": 1 << 20 }))),
        refused("readers without end", "readers", "open after 5 readers: limit").within(few_handles),
        refused("writers without end", "writers", "create after 5 writers: limit").within(few_handles),
        refused("a million names of metrics", "metric_names", "name 4: limit").within(few_handles),
        refused("params without end", "params_flood", "once more: limit").with_counterpart(mode("params_flood", 1)),
        refused("tags without end", "tags", "tag 10001: limit"),
        refused("artifacts without end", "artifacts", "artifact 50001: limit"),
        refused("facts out of their bounds", "facts", "invalid"),
        refused("calls out of their bounds", "misuse", "read of 4 GiB: invalid"),
    ]
}

#[tokio::test]
async fn floods_are_stopped_at_their_limit() {
    check_cases(&Bench::new(), cases()).await;
}

#[tokio::test]
async fn a_million_denials_make_at_most_a_hundred_records() {
    let bench = Bench::new();
    let params = json!({ "mode": "denials", "other": "other", "times": 1_000_000 });
    let report = bench.hostile(params, |_| ()).await;
    assert_eq!(done(&report), "refused 1000000 times");
    assert_eq!(report.denials.len(), anacostia::sandbox::MAX_DENIALS);
}

/// The guest knows its own secrets, so it can fill a text with them. Masking them must not take
/// time from others.
#[tokio::test]
async fn a_text_full_of_secrets_is_masked_quickly() {
    let bench = Bench::new();
    // Any variables that the environment of the tests has; the second does not occur in the text.
    let secret = std::env::var("CARGO_PKG_NAME").unwrap();
    let params = json!({ "mode": "haystack", "text": secret, "times": 3 << 20 });
    let mut order = bench.order(bench.guest("hostile").await, &params);
    order.secrets =
        [("A", "CARGO_PKG_NAME"), ("B", "CARGO_MANIFEST_DIR")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    order.limits.cpu = Duration::from_secs(20);
    let report = bench.run(order.clone()).await;
    assert!(!done(&report).contains(&secret), "{}", done(&report));
    assert!(lines(&bench, &order).iter().all(|line| !format!("{line:?}").contains(&secret)));
    assert!(bench.store.facts.lock().unwrap().params.iter().all(|entry| !entry.value.contains(&secret)));
    assert!(report.denials.iter().all(|denial| !denial.target.contains(&secret)), "{:?}", report.denials);
}
