//! What is passed from one call of an attempt to the next, and what is not.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use anacostia::model::{AccessKind, Outcome};
use anacostia::sandbox::{AttemptOrder, SandboxError, Stop};
use serde_json::{Value, json};

use super::{Bench, done, failure, guests, lines};

async fn hooked(bench: &Bench, steps: Value, hooks: Value) -> AttemptOrder {
    bench.order(bench.guest("hooked").await, &json!({ "steps": steps, "hooks": hooks }))
}

#[tokio::test]
async fn staged_files_tags_and_facts_pass_between_hooks_but_open_writers_do_not() {
    let bench = Bench::new();
    let write =
        |path: &str, finish: bool| json!({ "do": "write", "to": "out", "path": path, "text": "x", "finish": finish });
    let order = hooked(
        &bench,
        json!([
            write("dropped", true),
            { "do": "expect", "code": "already-exists", "step": write("kept", true) },
        ]),
        json!({
            "before_run": [write("kept", true), write("dropped", false), { "do": "metrics", "name": "m", "values": [1.0] }],
            "on_success": [{ "do": "tag_inputs", "from": "raw", "tag": "seen" }, { "do": "read", "from": "raw" }],
            "after_run": [{ "do": "metrics", "name": "m", "values": [2.0] }],
        }),
    )
    .await;
    let report = bench.run(order).await;
    assert_eq!(done(&report), "2 steps");
    let paths: Vec<&str> = report.staged.iter().map(|staged| staged.path.as_str()).collect();
    assert_eq!(paths, ["kept", "dropped"]);
    assert_eq!((report.tags.len(), report.tags[0].artifact_id), (1, bench.store.inputs[0].id));
    assert_eq!(report.accesses.iter().filter(|access| access.kind == AccessKind::Read).count(), 1);
    assert_eq!(bench.store.facts.lock().unwrap().metrics.len(), 2);
}

#[tokio::test]
async fn an_input_changed_during_a_hook_fails_the_attempt() {
    for hook in ["on_success", "after_run"] {
        let bench = Bench::new();
        bench.raw.changed.store(true, SeqCst);
        let steps = json!([{ "do": "write", "to": "out", "path": "x", "text": "x" }]);
        let order = hooked(&bench, steps, json!({ hook: [{ "do": "read", "from": "raw" }] })).await;
        let report = bench.run(order).await;
        assert_eq!(failure(&report).code, "changed", "{hook}");
        assert!(report.staged.is_empty() && bench.out.staged.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_stopping_host_neither_waits_for_a_hook_nor_calls_another() {
    let bench = Bench::new();
    let steps = json!([{ "do": "write", "to": "out", "path": "x", "text": "x" }]);
    let spin = json!({ "on_success": [{ "do": "spin", "rounds": u64::MAX }] });
    let order = hooked(&bench, steps, spin).await;
    let attempt = bench.run(order.clone());
    let stop = async {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !lines(&bench, &order).iter().any(|line| line.text.starts_with("on-success")) {
            assert!(Instant::now() < deadline, "the hook is called");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bench.stop.send_replace(Stop::HandBack);
    };
    let (report, ()) = tokio::join!(attempt, stop);
    assert_eq!(report.outcome, Outcome::HandedBack);
    assert!(report.staged.is_empty() && bench.out.staged.lock().unwrap().is_empty());
    assert!(!lines(&bench, &order).iter().any(|line| line.text.starts_with("after-run")));
}

#[tokio::test]
async fn an_attempt_fenced_off_in_a_hook_is_not_committed() {
    let bench = Bench::new();
    bench.store.fenced.store(true, SeqCst);
    let order = hooked(&bench, json!([]), json!({ "on_success": [{ "do": "tags", "entries": { "a": "b" } }] })).await;
    let report = bench.run(order).await;
    assert_eq!(failure(&report).code, "fenced");
}

#[tokio::test]
async fn an_incomplete_hooks_interface_is_refused_at_load() {
    let bench = Bench::new();
    let package = r"
        package test:hooks;
        world half {
            export anacostia:pipeline/action@0.1.0;
            export anacostia:pipeline/hooks@0.1.0;
        }";
    let module = |hooks: &str| {
        format!(
            r#"(module
                (memory (export "memory") 1)
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
                (func $zero (result i32) i32.const 0)
                (export "anacostia:pipeline/action@0.1.0#run" (func $zero)){hooks})"#
        )
    };
    let all = r#"
        (export "anacostia:pipeline/hooks@0.1.0#before-run" (func $zero))
        (export "anacostia:pipeline/hooks@0.1.0#after-run" (func $zero))
        (func (export "anacostia:pipeline/hooks@0.1.0#on-success") (param i32 i32 i32 i32) (result i32) i32.const 0)
        (func (export "anacostia:pipeline/hooks@0.1.0#on-failure") (param i32 i32 i32 i32 i32) (result i32) i32.const 0)"#;
    let whole = bench.load(&guests::in_world(&module(all), Some((package, "half")))).await;
    assert_eq!(bench.run(bench.order(whole, &json!({}))).await.outcome, Outcome::Done(None));

    let bytes = wat::parse_str(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $m (instantiate $m))
            (func $f (canon lift (core func $m "f")))
            (instance $action (export "run" (func $f)))
            (instance $hooks (export "before-run" (func $f)))
            (export "anacostia:pipeline/action@0.1.0" (instance $action))
            (export "anacostia:pipeline/hooks@0.1.0" (instance $hooks)))"#,
    )
    .unwrap();
    let (digest, file) = guests::write(bench.folder.path(), "part.wasm", &bytes);
    let refused = bench.sandbox.load(digest, &file).await.unwrap_err();
    assert!(matches!(&refused, SandboxError::Link { why, .. } if why.contains("on-success")), "{refused}");
}
