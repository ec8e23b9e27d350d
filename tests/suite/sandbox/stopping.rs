//! Attempts that are stopped from outside.

use std::time::{Duration, Instant};

use anacostia::model::Outcome;
use anacostia::sandbox::{CANCEL_GRACE, Stop};
use serde_json::json;

use super::{Bench, failure};

#[tokio::test]
async fn handing_back_stops_a_spinning_guest_at_once_and_leaves_nothing_staged() {
    let bench = Bench::new();
    let steps = json!([{ "do": "write", "to": "out", "path": "x", "text": "x" }, { "do": "spin", "rounds": u64::MAX }]);
    let order = bench.order(bench.guest("worker").await, &json!({ "steps": steps }));
    let attempt = bench.run(order);
    tokio::pin!(attempt);
    let deadline = Instant::now() + Duration::from_mins(1);
    while bench.out.staged.lock().unwrap().is_empty() {
        assert!(Instant::now() < deadline);
        assert!(
            futures_util::FutureExt::now_or_never(tokio::time::timeout(Duration::from_millis(5), &mut attempt))
                .is_none()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bench.stop.send_replace(Stop::HandBack);
    let report = attempt.await;
    assert_eq!(report.outcome, Outcome::HandedBack);
    assert!(report.staged.is_empty());
    assert!(bench.out.staged.lock().unwrap().is_empty());
}

#[tokio::test]
async fn cancelling_tells_the_guest_and_ends_as_cancelled_whatever_it_returns() {
    let bench = Bench::new();
    for then in ["done", "fail"] {
        bench.stop.send_replace(Stop::No);
        let began = Instant::now();
        let attempt = bench.worker(json!([{ "do": "await_cancel", "then": then }]));
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            bench.stop.send_replace(Stop::Cancel);
        };
        let (report, ()) = tokio::join!(attempt, cancel);
        assert_eq!(report.outcome, Outcome::Cancelled);
        // The guest returned by itself: the grace was not used up. (Unless the machine stood still for seconds.)
        assert!(report.usage.host_calls > 0, "{:?} after {:?}", report.usage, began.elapsed());
    }
}

#[tokio::test]
async fn a_guest_that_does_not_listen_is_stopped_after_the_grace() {
    let bench = Bench::new();
    bench.guest("worker").await;
    let began = Instant::now();
    let attempt = bench.worker(json!([{ "do": "await_cancel", "deaf": true }]));
    bench.stop.send_replace(Stop::Cancel);
    let order = bench.order(bench.guest("worker").await, &json!({}));
    assert_eq!(bench.run(order).await.outcome, Outcome::Cancelled, "told before it began");
    bench.stop.send_replace(Stop::No);
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        bench.stop.send_replace(Stop::Cancel);
    };
    let (report, ()) = tokio::join!(attempt, cancel);
    assert_eq!(report.outcome, Outcome::Cancelled);
    assert!(began.elapsed() >= CANCEL_GRACE);
}

#[tokio::test]
async fn nobody_waits_for_a_dropped_attempt() {
    let bench = Bench::new();
    let steps = json!([{ "do": "write", "to": "out", "path": "x", "text": "x" }, { "do": "spin", "rounds": u64::MAX }]);
    let order = bench.order(bench.guest("worker").await, &json!({ "steps": steps }));
    let deadline = Instant::now() + Duration::from_mins(1);
    let staged = async {
        while bench.out.staged.lock().unwrap().is_empty() {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        report = bench.run(order) => panic!("it spins: {report:?}"),
        () = staged => {}
    }
    while !bench.out.staged.lock().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "what a dropped attempt has staged is discarded");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_attempt_that_is_fenced_off_stops_at_once() {
    let bench = Bench::new();
    bench.store.fenced.store(true, std::sync::atomic::Ordering::SeqCst);
    let report =
        bench.worker(json!([{ "do": "expect", "code": "x", "step": { "do": "tags", "entries": { "a": "b" } } }])).await;
    let error = failure(&report);
    assert_eq!(error.code, "fenced");
    assert!(error.message.ends_with("is no longer ours: it has token 2"), "{}", error.message);
}

#[tokio::test]
async fn dropping_the_sandbox_stops_its_guests() {
    let bench = Bench::new();
    let order = bench.order(bench.guest("hostile").await, &json!({ "mode": "spin" }));
    assert!(tokio::time::timeout(Duration::from_millis(100), bench.run(order)).await.is_err());
    // The guest may still be at work when the threads are told to end. This returns once they have.
    drop(bench);
}
