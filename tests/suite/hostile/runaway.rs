//! Guests that do not end by themselves: in memory, time or depth, in `run`, in hooks, at the
//! start, and while values are passed.

use std::time::Duration;

use anacostia::manifest::Limits;
use anacostia::model::Outcome;
use serde_json::json;

use super::{Act, Case, check_cases, mode};
use crate::sandbox::guests::{by_hand, text};
use crate::sandbox::{Bench, failure};

fn short_cpu(limits: &mut Limits) {
    limits.cpu = Duration::from_millis(200);
}

fn short_wall(limits: &mut Limits) {
    limits.wall = Duration::from_millis(400);
}

fn little_memory(limits: &mut Limits) {
    limits.memory_bytes = 32 << 20;
}

fn tiny_memory(limits: &mut Limits) {
    limits.memory_bytes = 1 << 20;
}

/// A module around the body of `run`, with additional items.
fn with(declarations: &str, run: &str) -> Act {
    Act::Component(text(&format!(
        r#"(module
            (memory $m (export "memory") 1)
            {declarations}
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
            (func (export "anacostia:pipeline/action@0.1.0#run") (result i32) {run}))"#
    )))
}

/// Grows a memory or a table by `step` until that is refused, and then traps, as an allocator does.
fn grow_until_refused(instruction: &str, step: u32) -> String {
    format!("(loop $l (br_if $l (i32.ne ({instruction} (i32.const {step})) (i32.const -1)))) unreachable")
}

const SPIN: &str = "(loop $l (br $l))";
const OK: &str = "i32.const 0";

fn time() -> Vec<Case> {
    let cpu = |name: &str, act: Act, counterpart: Act| {
        Case::stopped(name, act, "cpu_limit", "the limit of 200ms of CPU time is reached", counterpart)
            .within(short_cpu)
    };
    let start = |body: &str| with(&format!("(func $start {body}) (start $start)"), OK);
    let after = |body: &str| {
        let post = r#"(func (export "cabi_post_anacostia:pipeline/action@0.1.0#run") (param i32)"#;
        with(&format!("{post} {body})"), OK)
    };
    vec![
        cpu("a spin", mode("spin", None), mode("spin", 1000)),
        cpu("a spin in a loop of host calls", mode("spin_in_host", None), mode("spin_in_host", 1000)),
        cpu("a start function that spins", start(SPIN), start("nop")),
        cpu("a spin after `run` has returned", after(SPIN), after("nop")),
        cpu("a spin where the host asks for memory", realloc(SPIN), realloc("nop")),
        cpu(
            "memory that is filled with one instruction, over and over",
            Act::Mode(json!({ "mode": "fill", "bytes": 64 << 20 })),
            Act::Mode(json!({ "mode": "fill", "bytes": 1 << 20, "times": 3 })),
        ),
        Case::stopped(
            "waiting for ever",
            mode("sleep_forever", None),
            "wall_limit",
            "the limit of 400ms of wall time is reached",
            mode("sleep_forever", 1_000_000),
        )
        .within(short_wall),
        Case::stopped(
            "host calls that are work for the host, without end",
            mode("list", None),
            "wall_limit",
            "the limit of 400ms of wall time is reached",
            mode("list", 10),
        )
        .within(short_wall),
    ]
}

/// A guest that does this first when the host allocates memory for a text in it.
fn realloc(first: &str) -> Act {
    Act::Component(text(&format!(
        r#"(module
            (import "anacostia:pipeline/run-context@0.1.0" "params" (func $params (param i32)))
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {first} (i32.const 1024))
            (func (export "anacostia:pipeline/action@0.1.0#run") (result i32) (call $params (i32.const 512)) {OK}))"#
    )))
}

fn space() -> Vec<Case> {
    let memory = |name: &str, act: Act, counterpart: Act| {
        let words = "the limit of 1 MiB of memory is reached";
        Case::stopped(name, act, "memory_limit", words, counterpart).within(tiny_memory)
    };
    let many = "(memory $b 0) (memory $c 0) (memory $d 0)";
    let alternating = "(loop $l
        (br_if $l (i32.and
            (i32.ne (memory.grow $b (i32.const 1)) (i32.const -1))
            (i32.and
                (i32.ne (memory.grow $c (i32.const 1)) (i32.const -1))
                (i32.ne (memory.grow $d (i32.const 1)) (i32.const -1)))))) unreachable";
    vec![
        Case::stopped(
            "memory without end",
            mode("allocate", None),
            "memory_limit",
            "the limit of 32 MiB of memory is reached",
            mode("allocate", 8),
        )
        .within(little_memory),
        memory(
            "one memory that grows",
            with("", &grow_until_refused("memory.grow", 1)),
            with("", &grow_once("memory.grow", 1)),
        ),
        memory("many memories, each of them small", with(many, alternating), with(many, OK)),
        memory(
            "a table that grows",
            with("(table $t 1 funcref)", &grow_until_refused("table.grow $t (ref.null func)", 1000)),
            with("(table $t 1 funcref)", &grow_once("table.grow $t (ref.null func)", 1000)),
        ),
        memory("a memory that is too large from the start", with("(memory 1000)", OK), with("(memory 1)", OK)),
        memory(
            "small modules, each with a memory of its own",
            Act::Component(nested(3, 6)),
            Act::Component(nested(3, 1)),
        ),
        Case::stopped(
            "recursion without end",
            mode("recurse", None),
            "stack_overflow",
            "its stack overflowed",
            mode("recurse", 1000),
        ),
        Case::stopped(
            "recursion that fills the guest's own stack",
            mode("recurse_in_memory", None),
            "trap",
            "out of bounds memory access",
            mode("recurse_in_memory", 10),
        ),
        Case::stopped(
            "host calls at the bottom of the stack",
            Act::Component(calls_at_depth(10_000_000)),
            "stack_overflow",
            "its stack overflowed",
            Act::Component(calls_at_depth(1000)),
        )
        .within(|limits| limits.log_bytes = 1 << 30),
        Case::stopped(
            "a read beyond the memory",
            mode("out_of_bounds", None),
            "trap",
            "out of bounds memory access",
            mode("spin", 1),
        ),
    ]
}

/// Grows once, and continues whether it was granted or not.
fn grow_once(instruction: &str, step: u32) -> String {
    format!("(drop ({instruction} (i32.const {step}))) {OK}")
}

/// Calls itself `depth` deep, and calls the host at every depth: calls that are answered from
/// memory, calls that query the store, and denied ones. The host's own functions use the same
/// stack, above the guest's.
fn calls_at_depth(depth: u32) -> Vec<u8> {
    text(&format!(
        r#"(module
            (import "anacostia:pipeline/run-context@0.1.0" "params" (func $params (param i32)))
            (import "anacostia:pipeline/resources@0.1.0" "inputs" (func $inputs (param i32 i32 i32)))
            (import "anacostia:pipeline/log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))
            (memory (export "memory") 4)
            (data (i32.const 16) "raw")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
            (func $deep (param $left i32) (param f64 f64 f64 f64 f64 f64 f64 f64)
                (call $params (i32.const 512))
                (call $log (i32.const 0) (i32.const 16) (i32.const 3) (i32.const 0) (i32.const 0))
                (call $inputs (i32.const 16) (i32.const 3) (i32.const 512))
                (call $inputs (i32.const 17) (i32.const 1) (i32.const 512))
                (if (local.get $left) (then
                    (call $deep (i32.sub (local.get $left) (i32.const 1))
                        (local.get 1) (local.get 2) (local.get 3) (local.get 4)
                        (local.get 5) (local.get 6) (local.get 7) (local.get 8))))
                (call $params (i32.const 512)))
            (func (export "anacostia:pipeline/action@0.1.0#run") (result i32)
                (call $deep (i32.const {depth})
                    (f64.const 1) (f64.const 1) (f64.const 1) (f64.const 1)
                    (f64.const 1) (f64.const 1) (f64.const 1) (f64.const 1))
                i32.const 0))"#
    ))
}

/// The action that does nothing, in a component with `count` further instances, each with a memory
/// of `pages`.
fn nested(count: u32, pages: u32) -> Vec<u8> {
    let instances: String = (0..count).map(|_| "(core instance (instantiate $extra))").collect();
    by_hand(&format!("(core module $extra (memory {pages})) {instances}"))
}

pub(super) fn hooks() -> Vec<Case> {
    let spin = json!([{ "do": "spin", "rounds": u64::MAX }]);
    let short = json!([{ "do": "spin", "rounds": 1000 }]);
    let in_hook = |name: &str, hook: &str, steps: serde_json::Value| {
        let act = |rounds: &serde_json::Value| Act::Hooked(json!({ "steps": steps, "hooks": { hook: rounds } }));
        (name.to_owned(), act(&spin), act(&short))
    };
    let (name, act, counterpart) = in_hook("a spin in the hook `before-run`", "before_run", json!([]));
    vec![
        Case::stopped(&name, act, "cpu_limit", "`before-run` failed: the limit of 200ms", counterpart)
            .within(short_cpu),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    time().into_iter().chain(space()).collect()
}

#[tokio::test]
async fn runaway_guests_are_stopped_and_modest_guests_are_not() {
    check_cases(&Bench::new(), cases()).await;
}

#[tokio::test]
async fn a_spinning_hook_is_stopped_and_the_outputs_of_the_run_are_kept() {
    let bench = Bench::new();
    check_cases(&bench, hooks()).await;
    // A failure of the other hooks does not affect the attempt: its CPU time is used up, but the
    // work is done.
    for hook in ["on_success", "after_run"] {
        let spin = json!([{ "do": "spin", "rounds": u64::MAX }]);
        let params =
            json!({ "steps": [{ "do": "write", "to": "out", "path": hook, "text": "x" }], "hooks": { hook: spin } });
        let mut order = bench.order(bench.guest("hooked").await, &params);
        short_cpu(&mut order.limits);
        let report = bench.run(order).await;
        assert_eq!(report.outcome, Outcome::Done(Some("1 steps".to_owned())), "{hook}");
        assert!(report.usage.cpu_time_us >= 200_000, "{hook}: {:?}", report.usage);
        bench.out.staged.lock().unwrap().clear();
    }
    let params = json!({ "steps": [{ "do": "fail", "code": "mine" }], "hooks": { "on_failure": [{ "do": "spin", "rounds": u64::MAX }] } });
    let mut order = bench.order(bench.guest("hooked").await, &params);
    short_cpu(&mut order.limits);
    let report = bench.run(order).await;
    assert_eq!(failure(&report).code, "mine", "the error of `run` is kept");
    assert!(report.usage.cpu_time_us >= 200_000, "{:?}", report.usage);
}

/// On one thread, so that each guest uses the slot of the one before.
#[tokio::test]
async fn guest_memory_is_not_visible_to_later_guests() {
    let bench = Bench::with(1);
    let touch = |what: &str| {
        format!(
            r#"(module
                (memory (export "memory") 32)
                (table $t 64 funcref)
                (global $g (mut i32) (i32.const 0))
                (func $f (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
                (elem declare func $f)
                (func (export "anacostia:pipeline/action@0.1.0#run") (result i32) (local $at i32)
                    {what}
                    i32.const 0))"#
        )
    };
    let leaves = "(memory.fill (i32.const 16) (i32.const 0xab) (i32.const 2097136))
        (table.fill $t (i32.const 0) (ref.func $f) (i32.const 64)) (global.set $g (i32.const 7))";
    let looks = "(loop $l
            (if (i32.eqz (i64.eqz (i64.load (local.get $at)))) (then unreachable))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $l (i32.lt_u (local.get $at) (i32.const 2097144))))
        (if (i32.eqz (ref.is_null (table.get $t (i32.const 5)))) (then unreachable))
        (if (global.get $g) (then unreachable))";
    let [leaves, looks] = [leaves, looks].map(|what| text(&touch(what)));
    let (leaves, looks) = (bench.load(&leaves).await, bench.load(&looks).await);
    for round in 0..100 {
        for digest in [leaves, looks] {
            let report = bench.run(bench.order(digest, &json!({}))).await;
            assert_eq!(report.outcome, Outcome::Done(None), "round {round}");
        }
    }
}
