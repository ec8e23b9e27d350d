//! What things cost, for people: `cargo test --release --test suite sandbox::measure -- --ignored --nocapture --test-threads 1`. Nothing fails on
//! a stopwatch.

use std::time::{Duration, Instant};

use anacostia::model::Outcome;
use serde_json::json;

use super::{Bench, done, guests};

/// Half of the measured calls take at most this long, and nineteen of twenty at most that.
fn quantiles(mut all: Vec<Duration>) -> (Duration, Duration) {
    all.sort();
    let at = |place: usize| all.get(place).copied().unwrap_or_default();
    (at(all.len() / 2), at(all.len() * 19 / 20))
}

#[tokio::test]
#[ignore = "it measures"]
async fn an_attempt_that_does_nothing() {
    let bench = Bench::new();
    let worker = bench.guest("worker").await;
    let empty = bench.load(&guests::body("i32.const 0")).await;
    for (name, digest) in [("a Rust guest without steps", worker), ("an empty guest", empty)] {
        let mut all = Vec::new();
        for _ in 0..2_000 {
            let order = bench.order(digest, &json!({}));
            let began = Instant::now();
            let report = bench.run(order).await;
            all.push(began.elapsed());
            assert!(matches!(report.outcome, Outcome::Done(_)), "{:?}", report.outcome);
        }
        let (half, most) = quantiles(all);
        println!("{name}: order to report {half:?}, 95 % within {most:?}");
    }
}

#[tokio::test]
#[ignore = "it measures"]
async fn host_calls() {
    let bench = Bench::new();
    let calls = guests::text(
        r#"(module
            (import "anacostia:pipeline/run-context@0.1.0" "cancelled" (func $cancelled (result i32)))
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
            (func (export "anacostia:pipeline/action@0.1.0#run") (result i32)
                (local $n i32)
                (loop $l
                    (drop (call $cancelled))
                    (local.set $n (i32.add (local.get $n) (i32.const 1)))
                    (br_if $l (i32.lt_u (local.get $n) (i32.const 1000000))))
                i32.const 0))"#,
    );
    let order = bench.order(bench.load(&calls).await, &json!({}));
    let report = bench.run(order).await;
    println!("a call of `cancelled`: {} ns", report.usage.wall_time_us / 1_000);

    let megabytes = 256;
    bench.raw.files.lock().unwrap().insert("a.txt".to_owned(), std::sync::Arc::new(vec![7; megabytes << 20]));
    let reads = json!({ "steps": [{ "do": "copy", "from": "raw", "to": "out" }] });
    let began = Instant::now();
    let report = bench.run(bench.order(bench.guest("worker").await, &reads)).await;
    assert_eq!(done(&report), "1 steps");
    println!(
        "{megabytes} MiB copied through a guest in {:?}, of which {} µs are the guest's",
        began.elapsed(),
        report.usage.cpu_time_us
    );
}

#[tokio::test]
#[ignore = "it measures"]
async fn loading_from_the_cache() {
    let bench = Bench::new();
    let file = guests::rust("worker");
    let digest = bench.guest("worker").await;
    let mut all = Vec::new();
    for _ in 0..200 {
        bench.sandbox.forget(digest);
        let began = Instant::now();
        bench.sandbox.load(digest, &file).await.unwrap();
        all.push(began.elapsed());
    }
    let (half, most) = quantiles(all);
    println!(
        "a Rust guest of {} bytes loaded from the cache: {half:?}, 95 % within {most:?}",
        file.metadata().unwrap().len()
    );
    let began = Instant::now();
    drop(Bench::new());
    println!("a sandbox made and dropped: {:?}", began.elapsed());
}
