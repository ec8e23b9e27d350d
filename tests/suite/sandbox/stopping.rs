//! Attempts that are stopped from outside.

use std::time::{Duration, Instant};

use anacostia::model::Outcome;
use anacostia::sandbox::{AttemptOrder, CANCEL_GRACE, Stop};
use serde_json::json;

use super::{Bench, failure, lines};

/// Waits until the guest has logged something, which shows that it is running.
async fn wait_for_log(bench: &Bench, order: &AttemptOrder) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while lines(bench, order).is_empty() {
        assert!(Instant::now() < deadline, "the guest logged nothing");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Cancels the attempt once its guest is running.
async fn cancel_at_work(bench: &Bench, order: &AttemptOrder) {
    wait_for_log(bench, order).await;
    bench.stop.send_replace(Stop::Cancel);
}

#[tokio::test]
async fn handing_back_stops_a_spinning_guest_and_leaves_nothing_staged() {
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
async fn cancelling_notifies_the_guest_and_ends_as_cancelled() {
    let bench = Bench::new();
    for then in ["done", "fail"] {
        bench.stop.send_replace(Stop::No);
        let steps = json!({ "steps": [{ "do": "await_cancel", "then": then }] });
        let order = bench.order(bench.guest("worker").await, &steps);
        let (report, ()) = tokio::join!(bench.run(order.clone()), cancel_at_work(&bench, &order));
        assert_eq!(report.outcome, Outcome::Cancelled);
        // The guest checked for cancelling, and returned by itself.
        assert!(report.usage.host_calls > 1, "{:?}", report.usage);
    }
}

#[tokio::test]
async fn a_guest_that_ignores_a_cancel_is_stopped_after_the_grace_period() {
    let bench = Bench::new();
    bench.stop.send_replace(Stop::Cancel);
    let order = bench.order(bench.guest("worker").await, &json!({}));
    assert_eq!(bench.run(order).await.outcome, Outcome::Cancelled, "cancelled before it began");
    bench.stop.send_replace(Stop::No);
    let steps = json!({ "steps": [{ "do": "await_cancel", "deaf": true }] });
    let order = bench.order(bench.guest("worker").await, &steps);
    let began = Instant::now();
    let (report, ()) = tokio::join!(bench.run(order.clone()), cancel_at_work(&bench, &order));
    assert_eq!(report.outcome, Outcome::Cancelled);
    assert!(began.elapsed() >= CANCEL_GRACE);
}

#[tokio::test]
async fn a_dropped_attempt_is_stopped() {
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
        assert!(Instant::now() < deadline, "staged files of a dropped attempt are discarded");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_fenced_off_attempt_stops_at_once() {
    let bench = Bench::new();
    bench.store.fenced.store(true, std::sync::atomic::Ordering::SeqCst);
    let report =
        bench.worker(json!([{ "do": "expect", "code": "x", "step": { "do": "tags", "entries": { "a": "b" } } }])).await;
    let error = failure(&report);
    assert_eq!(error.code, "fenced");
    assert!(error.message.ends_with("no longer belongs to this host: it has token 2"), "{}", error.message);
}

#[tokio::test]
async fn dropping_the_sandbox_stops_its_guests() {
    let bench = Bench::new();
    let steps = json!({ "steps": [{ "do": "log", "message": "at work" }, { "do": "spin", "rounds": u64::MAX }] });
    let order = bench.order(bench.guest("worker").await, &steps);
    tokio::select! {
        report = bench.run(order.clone()) => panic!("it spins: {report:?}"),
        () = wait_for_log(&bench, &order) => {}
    }
    // The guest may still be running when the threads are asked to end. This returns once they have
    // ended.
    drop(bench);
}
