//! Guests that no compiler produces: they violate the rules by which values pass between guest and
//! host. Each traps without affecting the host.

use super::{Act, Case, check_cases};
use crate::sandbox::Bench;
use crate::sandbox::guests::text;

/// The common parts of all modules here: host functions, memory with a few texts, and `run` with
/// this body.
fn module(run: &str) -> String {
    with_realloc("(i32.and (i32.add (local.get 2) (i32.const 4095)) (i32.const 0xfff8))", run)
}

fn with_realloc(realloc: &str, run: &str) -> String {
    format!(
        r#"(module
            (import "anacostia:pipeline/log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))
            (import "anacostia:pipeline/run-context@0.1.0" "params" (func $params (param i32)))
            (import "anacostia:pipeline/resources@0.1.0" "inputs" (func $inputs (param i32 i32 i32)))
            (import "anacostia:pipeline/resources@0.1.0" "open-path" (func $open (param i32 i32 i32 i32 i32)))
            (import "anacostia:pipeline/resources@0.1.0" "create" (func $create (param i32 i32 i32 i32 i32 i32)))
            (import "anacostia:pipeline/resources@0.1.0" "[method]reader.read" (func $read (param i32 i64 i32 i32)))
            (import "anacostia:pipeline/resources@0.1.0" "[method]writer.finish" (func $finish (param i32 i32)))
            (import "anacostia:pipeline/resources@0.1.0" "[resource-drop]reader" (func $drop (param i32)))
            (import "anacostia:pipeline/resources@0.1.0" "[resource-drop]writer" (func $drop-writer (param i32)))
            (memory (export "memory") 4)
            (data (i32.const 16) "raw") (data (i32.const 32) "a.txt") (data (i32.const 48) "out")
            (data (i32.const 64) "\ff\fe\c0\80") (data (i32.const 80) "x.txt")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
            (func (export "anacostia:pipeline/action@0.1.0#run") (result i32) {run}))"#
    )
}

/// Opens `a.txt` in `raw`, and leaves its handle on the stack. The result of the call is at 256.
const READER: &str = "(call $open (i32.const 16) (i32.const 3) (i32.const 32) (i32.const 5) (i32.const 256))";
const WRITER: &str =
    "(call $create (i32.const 48) (i32.const 3) (i32.const 80) (i32.const 5) (i32.const 0) (i32.const 256))";
const HANDLE: &str = "(i32.load (i32.const 260))";
const OK: &str = "(i32.const 0)";

fn case(name: &str, words: &'static str, run: &str, counterpart: &str) -> Case {
    let act = |run: &str| Act::Component(text(&module(&format!("{run} {OK}"))));
    Case::stopped(name, act(run), "trap", words, act(counterpart))
}

/// Calls `log` with a message at `from` of `length` bytes, and the given number of fields.
fn log(level: u32, from: u32, length: u32, fields: u32) -> String {
    let [level, from, length, fields] = [level, from, length, fields].map(|n| format!("(i32.const {n})"));
    format!("(call $log {level} {from} {length} (i32.const 512) {fields})")
}

fn read(handle: &str) -> String {
    format!("(call $read {handle} (i64.const 0) (i32.const 4) (i32.const 512))")
}

fn values() -> Vec<Case> {
    let good = log(1, 16, 3, 0);
    let params = |at: u32| format!("(call $params (i32.const {at}))");
    vec![
        case("a text that lies outside of the memory", "out of bounds", &log(1, 0x7fff_ffff, 10, 0), &good),
        case("a text that wraps around the address space", "out of bounds", &log(1, u32::MAX - 2, 8, 0), &good),
        case("a text that is not UTF-8", "utf-8", &log(1, 64, 4, 0), &good),
        case("a list of four thousand million fields", "out of bounds", &log(1, 16, 3, u32::MAX), &good),
        case("a list that ends outside of the memory", "out of bounds", &log(1, 16, 3, 100_000), &good),
        case("a word that the contract does not have", "discriminant", &log(99, 16, 3, 0), &good),
        case("an answer that is to lie outside of the memory", "out of bounds", &params(0x7fff_fff0), &params(512)),
        case("an answer at an address that does not fit", "not aligned", &params(513), &params(512)),
    ]
}

fn handles() -> Vec<Case> {
    let reads = read(HANDLE);
    let drop = format!("(call $drop {HANDLE})");
    let good = format!("{READER} {reads} {drop}");
    vec![
        case("a handle that was never given", "unknown handle index", &read("(i32.const 77)"), &good),
        case("the handle 0", "unknown handle index", &read("(i32.const 0)"), &good),
        case("a handle of another kind", "handle index", &format!("{WRITER} {reads}"), &good),
        case("a handle after it was dropped", "unknown handle index", &format!("{READER} {drop} {reads}"), &good),
        case("a handle that is dropped twice", "unknown handle index", &format!("{READER} {drop} {drop}"), &good),
        case(
            "a writer that is dropped as a reader",
            "handle index",
            &format!("{WRITER} {drop}"),
            &format!("{WRITER} (call $drop-writer {HANDLE})"),
        ),
    ]
}

/// Cases about `run` itself, and about the memory that the guest allocates.
fn answers() -> Vec<Case> {
    let act = |realloc: &str, run: &str| Act::Component(text(&with_realloc(realloc, run)));
    let good = "(i32.const 1024)";
    let asks = format!("(call $params (i32.const 512)) {OK}");
    let returns =
        |name: &str, words: &'static str, run: &str| Case::stopped(name, act(good, run), "trap", words, act(good, OK));
    let gives = |name: &str, words: &'static str, realloc: &str| {
        Case::stopped(name, act(realloc, &asks), "trap", words, act(good, &asks))
    };
    let store = |at: u32, value: u32| format!("(i32.store (i32.const {at}) (i32.const {value}))");
    vec![
        returns("an outcome outside of the memory", "out of bounds", "(i32.const 0x7ffffff0)"),
        returns("an outcome at an address that does not fit", "not aligned", "(i32.const 1025)"),
        returns("an outcome that is none", "discriminant", &format!("{} (i32.const 1024)", store(1024, 9))),
        returns(
            "an outcome with a text of 2 GiB",
            "out of bounds",
            // ok(done(some(text of 2 GiB at 0)))
            &format!("{} {} (i32.const 1024)", store(1032, 1), store(1040, 0x8000_0000)),
        ),
        gives("memory for the host that is not the guest's", "beyond end of memory", "(i32.const 0x7ffffff0)"),
        gives("memory for the host, and a trap instead", "unreachable", "unreachable"),
        gives(
            "a host call while the host is asking for memory",
            "cannot leave component instance",
            "(call $params (i32.const 512)) (i32.const 1024)",
        ),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    values().into_iter().chain(handles()).chain(answers()).collect()
}

#[tokio::test]
async fn invalid_abi_values_trap_the_guest() {
    check_cases(&Bench::new(), cases()).await;
}
