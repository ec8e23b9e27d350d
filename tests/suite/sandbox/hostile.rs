//! Guests that misbehave: each ends within its limit, with its own error, and others continue.

use std::time::Duration;

use anacostia::model::Outcome;
use serde_json::json;

use super::{Bench, done, failure, guests};

/// Returns the resident memory of this process in bytes.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test]
async fn a_guest_that_spins_reaches_its_cpu_limit() {
    let bench = Bench::new();
    for mode in ["spin", "spin_in_host"] {
        let report = bench.hostile(json!({ "mode": mode }), |limits| limits.cpu = Duration::from_millis(200)).await;
        let error = failure(&report);
        assert_eq!(error.code, "cpu_limit");
        assert_eq!(
            error.message,
            "the limit of 200ms of CPU time is reached; to raise it, set `cpu` in `limits` of \
             `[actions.train]` in anacostia.toml, for example to \"400ms\""
        );
        assert!(report.usage.cpu_time_us >= 200_000, "{mode}: {:?}", report.usage);
    }
}

#[tokio::test]
async fn a_guest_that_waits_reaches_its_wall_limit_and_uses_no_cpu() {
    let bench = Bench::new();
    let report =
        bench.hostile(json!({ "mode": "sleep_forever" }), |limits| limits.wall = Duration::from_millis(300)).await;
    assert!(matches!(report.outcome, Outcome::TimedOut(_)), "{:?}", report.outcome);
    let error = failure(&report);
    assert_eq!(error.code, "wall_limit");
    assert_eq!(
        error.message,
        "the limit of 300ms of wall time is reached; to raise it, set `wall` in `limits` of \
         `[actions.train]` in anacostia.toml, for example to \"600ms\""
    );
    assert!(report.usage.wall_time_us >= 300_000 && report.usage.cpu_time_us < 100_000, "{:?}", report.usage);
}

#[tokio::test]
async fn memory_is_bounded_in_the_guest_and_in_the_process() {
    let bench = Bench::new();
    bench.guest("hostile").await;
    let before = resident_bytes();
    for _ in 0..5 {
        let report = bench.hostile(json!({ "mode": "allocate" }), |limits| limits.memory_bytes = 64 << 20).await;
        let error = failure(&report);
        assert_eq!(error.code, "memory_limit");
        assert_eq!(
            error.message,
            "the limit of 64 MiB of memory is reached; to raise it, set `memory` in `limits` of \
             `[actions.train]` in anacostia.toml, for example to \"128MiB\""
        );
        assert!(report.usage.peak_memory_bytes <= 64 << 20, "{:?}", report.usage);
        assert!(report.usage.peak_memory_bytes > 32 << 20, "{:?}", report.usage);
    }
    // Other tests in this process have guests, too; but not five times 64 MiB.
    let after = resident_bytes();
    assert!(after < before + (200 << 20), "{before} bytes before, {after} after");
}

#[tokio::test]
async fn tables_and_initial_memories_count_towards_the_memory_limit() {
    let bench = Bench::new();
    let grows = guests::body(
        "(loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 10)) (i32.const -1)))) unreachable",
    );
    let mut order = bench.order(bench.load(&grows).await, &json!({}));
    order.limits.memory_bytes = 100 << 10;
    assert_eq!(failure(&bench.run(order).await).code, "memory_limit");

    let mut order = bench.order(bench.load(&guests::body("i32.const 0")).await, &json!({}));
    order.limits.memory_bytes = 60 << 10;
    assert_eq!(failure(&bench.run(order.clone()).await).code, "memory_limit", "one page is 64 KiB");
    order.limits.memory_bytes = 80 << 10;
    assert_eq!(bench.run(order).await.outcome, Outcome::Done(None));
}

#[tokio::test]
async fn traps_are_reported_with_their_kind_and_location() {
    let bench = Bench::new();
    for (mode, code, text) in [
        (
            "trap",
            "trap",
            "it reached `unreachable`: a panic or an abort, whose text, if there is one, is in the log\n  at ",
        ),
        (
            "panic",
            "trap",
            "it reached `unreachable`: a panic or an abort. Its last output:\n    panicked: this guest panics, as its params say  at=",
        ),
        ("out_of_bounds", "trap", "it trapped: out of bounds memory access\n  at "),
        (
            "recurse",
            "stack_overflow",
            "its stack overflowed: it calls itself without end, or keeps too much on the stack\n  at ",
        ),
        ("recurse_in_memory", "trap", "it trapped: out of bounds memory access\n  at "),
    ] {
        let report = bench.hostile(json!({ "mode": mode }), |_| ()).await;
        let error = failure(&report);
        assert_eq!(error.code, code, "{mode}: {error:?}");
        assert!(error.message.starts_with(text), "{mode}: {}", error.message);
        assert!(error.message.contains("hostile"), "{mode}: the frames are named: {}", error.message);
        assert!(!error.retryable);
    }
}

#[tokio::test]
async fn output_is_bounded() {
    let bench = Bench::new();
    let params = json!({ "mode": "write", "to": "out" });
    let report = bench.hostile(params, |limits| limits.output_bytes = 3 << 20).await;
    // The guest gets `limit`, twice, and then succeeds without the file.
    assert!(done(&report).contains("write after 3145728 bytes: limit; write again: limit"), "{:?}", report.outcome);
    assert!(report.staged.is_empty());
    assert_eq!(report.usage.bytes_written, 3 << 20);

    let steps = json!([{ "do": "write", "to": "out", "path": "big", "bytes": 4 << 20 }]);
    let mut order = bench.order(bench.guest("worker").await, &json!({ "steps": steps }));
    order.limits.output_bytes = 3 << 20;
    let report = bench.run(order).await;
    let error = failure(&report);
    assert_eq!(error.code, "output_limit");
    assert!(
        error.message.contains(
            "the limit of 3 MiB of output is reached; to raise it, set `output` in `limits` of \
             `[actions.train]` in anacostia.toml, for example to \"6MiB\""
        ),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn a_guest_that_logs_without_end_is_stopped() {
    let bench = Bench::new();
    let report = bench.hostile(json!({ "mode": "log" }), |limits| limits.log_bytes = 1 << 20).await;
    let error = failure(&report);
    assert_eq!(error.code, "log_limit");
    assert_eq!(
        error.message,
        "the limit of 1 MiB of log lines is reached; to raise it, set `log` in `limits` of \
         `[actions.train]` in anacostia.toml, for example to \"2MiB\""
    );
    assert!(report.usage.log_bytes <= 1 << 20 && report.usage.log_bytes > 1 << 19, "{:?}", report.usage);
}

#[tokio::test]
async fn arguments_of_calls_are_bounded() {
    let bench = Bench::new();
    let report = bench.hostile(json!({ "mode": "log_huge" }), |_| ()).await;
    let error = failure(&report);
    assert_eq!(error.code, "payload_limit");
    assert_eq!(error.message, "it passed more than 16 MiB in one call of a host function: pass it in parts");
}

#[tokio::test]
async fn handles_and_metric_names_are_bounded() {
    let bench = Bench::new();
    let few = |limits: &mut anacostia::manifest::Limits| (limits.handles, limits.metric_names) = (5, 3);
    let report = bench.hostile(json!({ "mode": "readers", "from": "raw" }), few).await;
    assert!(done(&report).contains("open after 5 readers: limit"), "{:?}", report.outcome);
    let report = bench.hostile(json!({ "mode": "writers", "to": "out" }), few).await;
    assert!(done(&report).contains("create after 5 writers: limit"), "{:?}", report.outcome);
    let report = bench.hostile(json!({ "mode": "metric_names" }), few).await;
    assert!(done(&report).contains("name 4: limit; name 1 again: ok"), "{:?}", report.outcome);
}

#[tokio::test]
async fn bounds_of_the_contract_for_paths_and_facts_hold() {
    let bench = Bench::new();
    for mode in ["paths", "misuse", "facts"] {
        let params = json!({ "mode": mode, "from": "raw", "to": "out", "known": "a.txt" });
        done(&bench.hostile(params, |_| ()).await);
    }
}

#[tokio::test]
async fn ungranted_calls_are_denied_and_recorded() {
    let bench = Bench::new();
    let other = bench.store.others[1].id.to_string();
    let params = json!({ "mode": "ungranted", "from": "raw", "to": "out", "other": "other", "artifact": other });
    let report = bench.hostile(params, |_| ()).await;
    done(&report);
    let first = &report.denials[0];
    assert_eq!((first.call.as_str(), first.target.as_str()), ("resources.inputs", "other"));
    assert_eq!(
        first.message,
        "`train` may not read `other`; to grant it, write in anacostia.toml:\n[actions.train]\nreads = [\"raw\", \"other\"]"
    );
    assert!(report.denials.iter().any(|denial| denial.call == "resources.create" && denial.target == "raw"));
    assert!(report.denials.iter().any(|denial| denial.call == "metadata.tag-artifact"));

    let report = bench.hostile(json!({ "mode": "denials", "other": "other", "times": 1000 }), |_| ()).await;
    assert_eq!(report.denials.len(), anacostia::sandbox::MAX_DENIALS);
}

#[tokio::test]
async fn wasi_is_available_but_empty_and_socket_calls_are_recorded() {
    let bench = Bench::new();
    let report = bench.hostile(json!({ "mode": "wasi" }), |_| ()).await;
    done(&report);
    let calls: Vec<&str> = report.denials.iter().map(|denial| denial.call.as_str()).collect();
    assert_eq!(calls, ["wasi:sockets/tcp-create-socket", "wasi:sockets/ip-name-lookup"]);
    assert_eq!(report.denials[1].target, "localhost");
    assert_eq!(report.denials[0].message, "actions have no network: WASI sockets are never granted");
}

#[tokio::test]
async fn spinning_guests_do_not_block_another_on_the_same_thread() {
    let bench = Bench::with(1);
    let spin = bench.order(bench.guest("hostile").await, &json!({ "mode": "spin" }));
    let honest = bench.guest("worker").await;
    let steps = json!({ "steps": [
        { "do": "copy", "from": "raw", "to": "out" }, { "do": "spin", "rounds": 20_000_000 }, { "do": "sleep", "ms": 20 },
    ] });
    let spinning: Vec<_> = (0..8).map(|_| bench.run(spin.clone())).collect();
    let spinning = futures_util::future::join_all(spinning);
    tokio::pin!(spinning);
    tokio::select! {
        _ = &mut spinning => panic!("guests with 60 s of CPU time ended before an honest one"),
        report = bench.run(bench.order(honest, &steps)) => assert_eq!(done(&report), "3 steps"),
    }
    bench.stop.send_replace(anacostia::sandbox::Stop::HandBack);
    for report in spinning.await {
        assert_eq!(report.outcome, Outcome::HandedBack);
    }
}
