//! Guests that do their work.

use std::sync::atomic::Ordering::SeqCst;

use anacostia::base::Digest;
use anacostia::model::{AccessKind, Outcome};
use serde_json::json;

use super::fakes::artifact;
use super::{Bench, done, failure, guests, lines, variable};

#[tokio::test]
async fn a_copy_is_staged_with_its_lineage() {
    let bench = Bench::new();
    let report =
        bench.worker(json!([{ "do": "copy", "from": "raw", "to": "out", "prefix": "copies/", "append": "!" }])).await;
    assert_eq!(done(&report), "1 steps");
    let [staged] = report.staged.as_slice() else { panic!("{:?}", report.staged) };
    assert_eq!((staged.path.as_str(), staged.size), ("copies/a.txt", 13));
    assert_eq!(staged.digest, Digest::of(b"some content!"));
    let [read, wrote] = [AccessKind::Read, AccessKind::Wrote]
        .map(|kind| report.accesses.iter().find(|access| access.kind == kind).unwrap().clone());
    assert_eq!((read.artifact_id, read.bytes), (bench.store.inputs[0].id, 12));
    assert_eq!((wrote.artifact_id, wrote.bytes, wrote.calls), (staged.artifact_id, 13, 2));
    assert_eq!((report.usage.bytes_read, report.usage.bytes_written), (12, 13));
    assert!(report.usage.peak_memory_bytes > 0 && report.usage.cpu_time_us > 0 && report.usage.host_calls > 5);
    assert!(!bench.out.discarded.load(SeqCst));
}

#[tokio::test]
async fn pages_of_inputs_add_up_to_the_list_of_inputs() {
    let bench = Bench::new();
    let mut texts = Vec::new();
    for page in [json!(null), json!(7), json!(1000)] {
        let step = json!({ "do": "summarise", "from": "raw", "to": "out", "path": "table.txt", "page": page });
        let mut order = bench.order(bench.guest("worker").await, &json!({ "steps": [step] }));
        let many = (0..30).map(|n| artifact("raw", &format!("{:02}.txt", n * 7 % 30), format!("{n}").as_bytes()));
        // A further version of an existing path, another resource, and an artifact that is claimed
        // twice.
        let twice = bench.store.inputs.iter().cloned();
        order.inputs = twice.clone().chain(many).chain([artifact("other", "x", b"x")]).collect();
        let report = bench.run(order).await;
        assert_eq!(done(&report), "1 steps");
        texts.push(String::from_utf8(bench.out.staged.lock().unwrap()[&report.staged[0].staged].to_vec()).unwrap());
    }
    assert_eq!(texts[0].lines().count(), 31);
    assert!(texts[0].lines().is_sorted() && texts.iter().all(|text| *text == texts[0]), "{texts:#?}");
}

/// A component that was built with the contract as it was before `inputs-page` was added.
#[tokio::test]
async fn components_of_an_older_contract_run() {
    let contract = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/wit/pipeline.wit")).unwrap();
    let line = contract.lines().find(|line| line.trim_start().starts_with("inputs-page: func")).unwrap();
    let older = contract.replace(line, "");
    let module = r#"(module
        (import "anacostia:pipeline/resources@0.1.0" "inputs" (func $inputs (param i32 i32 i32)))
        (memory (export "memory") 2)
        (data (i32.const 64) "raw")
        (global $free (mut i32) (i32.const 65536))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $free)
            (global.set $free (i32.and (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 15)) (i32.const -8))))
        (func (export "anacostia:pipeline/action@0.1.0#run") (result i32)
            (call $inputs (i32.const 64) (i32.const 3) (i32.const 128))
            ;; One input, or a trap.
            (if (i32.ne (i32.load8_u (i32.const 128)) (i32.const 0)) (then unreachable))
            (if (i32.ne (i32.load (i32.const 136)) (i32.const 1)) (then unreachable))
            i32.const 0))"#;
    let bench = Bench::new();
    let component = guests::of_contract(module, &older);
    let report = bench.run(bench.order(bench.load(&component).await, &json!({}))).await;
    assert_eq!(report.outcome, Outcome::Done(None));
}

#[tokio::test]
async fn a_failed_attempt_leaves_nothing_staged() {
    let bench = Bench::new();
    let report = bench
        .worker(json!([
            { "do": "write", "to": "out", "path": "x", "text": "x" },
            { "do": "fail", "code": "no_luck", "message": "not today", "retryable": true },
        ]))
        .await;
    let error = failure(&report);
    assert_eq!((error.code.as_str(), error.message.as_str(), error.retryable), ("no_luck", "not today", true));
    assert!(report.staged.is_empty());
    assert!(bench.out.staged.lock().unwrap().is_empty());
    assert!(bench.out.discarded.load(SeqCst));
}

#[tokio::test]
async fn a_changed_input_fails_the_attempt_whatever_the_guest_returns() {
    let bench = Bench::new();
    bench.raw.changed.store(true, SeqCst);
    let report = bench
        .worker(
            json!([{ "do": "expect", "code": "changed", "step": { "do": "read", "from": "raw" } }, { "do": "done" }]),
        )
        .await;
    let error = failure(&report);
    assert_eq!(error.code, "changed");
    assert_eq!(error.message, "`a.txt` in raw has changed since it was recorded: its size is 5, not 4");
}

#[tokio::test]
async fn listing_ranges_tags_and_earlier_runs_work() {
    let bench = Bench::new();
    let report = bench
        .worker(json!([
            { "do": "list", "from": "raw", "page": 1, "expect": ["a.txt", "b.txt"] },
            { "do": "read_range", "from": "raw", "path": "b.txt", "offset": 5, "length": 3, "expect": "con" },
            { "do": "expect", "code": "not-found", "step":
                { "do": "read_range", "from": "raw", "path": "c.txt", "length": 1 } },
            { "do": "expect", "code": "already-exists", "step":
                { "do": "write", "to": "out", "path": "taken.txt", "text": "x" } },
            { "do": "write", "to": "out", "path": "taken.txt", "text": "x", "overwrite": true, "tag": "best", "unique": true },
            { "do": "expect", "code": "already-exists", "step":
                { "do": "write", "to": "out", "path": "taken.txt/below", "text": "x" } },
            { "do": "write", "to": "out", "path": "deep/er", "text": "x" },
            { "do": "expect", "code": "already-exists", "step": { "do": "write", "to": "out", "path": "deep", "text": "x" } },
            { "do": "write", "to": "out", "path": "dropped", "text": "x", "finish": false },
            { "do": "write", "to": "out", "path": "dropped", "text": "y" },
            { "do": "tag_inputs", "from": "raw", "tag": "seen" },
            { "do": "metrics", "name": "loss", "values": [0.5, 0.25], "first_step": 1 },
            { "do": "params", "entries": { "depth": "3" } },
            { "do": "tags", "entries": { "note": "fine" } },
            { "do": "runs", "limit": 10 },
            { "do": "skip", "reason": "not better" },
        ]))
        .await;
    assert_eq!(report.outcome, Outcome::Skip("not better".to_owned()));
    let paths: Vec<&str> = report.staged.iter().map(|staged| staged.path.as_str()).collect();
    assert_eq!(paths, ["taken.txt", "deep/er", "dropped"]);
    assert_eq!(report.tags.len(), 2);
    let best = report.tags.iter().find(|tag| tag.tag == "best").unwrap();
    assert!(best.unique && best.artifact_id == report.staged[0].artifact_id);
    let facts = bench.store.facts.lock().unwrap().clone();
    assert_eq!((facts.metrics.len(), facts.metrics[1].step), (2, Some(2)));
    assert_eq!((facts.params[0].value.as_str(), facts.tags[0].value.as_str()), ("3", "fine"));
}

#[tokio::test]
async fn a_step_beyond_i64_is_refused() {
    let bench = Bench::new();
    let step = |first: u64| json!({ "do": "metrics", "name": "loss", "values": [0.5], "first_step": first });
    let steps = json!([{ "do": "expect", "code": "invalid", "step": step(1 << 63) }, step((1 << 63) - 1)]);
    let order = bench.order(bench.guest("worker").await, &json!({ "steps": steps }));
    done(&bench.run(order.clone()).await);
    let said =
        "expected invalid: the metric `loss` has the step 9223372036854775808: at most 9223372036854775807 is kept";
    assert_eq!(lines(&bench, &order)[0].text, said);
}

#[tokio::test]
async fn secrets_are_passed_to_the_guest_and_masked_in_the_log() {
    let bench = Bench::new();
    let (name, value) = variable();
    let steps = json!([
        { "do": "progress", "fraction": 7.0, "message": format!("with {value}") },
        { "do": "tags", "entries": { "seen": format!("x{value}x") } },
        { "do": "expect", "code": "invalid", "step":
            { "do": "write", "to": "out", "path": format!("for {value}.txt"), "text": "x" } },
        { "do": "fail", "message": format!("it is {value}!") },
    ]);
    let mut order = bench.order(bench.guest("worker").await, &json!({ "steps": steps }));
    order.secrets.insert("TOKEN".to_owned(), name);
    let report = bench.run(order.clone()).await;
    assert_eq!(failure(&report).message, "it is •••!");
    assert_eq!(
        lines(&bench, &order)[0].text,
        "expected invalid: `for •••.txt` contains the value of a secret, and paths are on record: write to another path"
    );
    assert_eq!(bench.store.facts.lock().unwrap().tags[0].value, "x•••x");
    let progress = bench.progress.lock().unwrap().clone();
    assert_eq!((progress[0].fraction.to_bits(), progress[0].message.as_str()), (1.0_f64.to_bits(), "with •••"));

    order.secrets.insert("OTHER".to_owned(), "ANACOSTIA_TEST_NOT_SET".to_owned());
    let report = bench.run(order).await;
    assert_eq!(failure(&report).code, "secret_missing");
    assert_eq!(
        failure(&report).message,
        "the secret `OTHER` of `train` comes from the environment variable `ANACOSTIA_TEST_NOT_SET`, which is not set for the host"
    );
}

#[tokio::test]
async fn a_new_instance_shares_no_state_with_the_previous_one() {
    let bench = Bench::new();
    // Traps if its memory is not in its initial state.
    let digest = bench
        .load(&guests::body(
            "(if (i32.load (i32.const 4096)) (then unreachable)) (i32.store (i32.const 4096) (i32.const 1)) i32.const 0",
        ))
        .await;
    for _ in 0..100 {
        let report = bench.run(bench.order(digest, &json!({}))).await;
        assert_eq!(report.outcome, Outcome::Done(None));
    }
}
