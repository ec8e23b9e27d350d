//! Components that are hostile before they run: malformed, forged, with absurd types, or endless to
//! compile.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anacostia::base::Digest;
use anacostia::model::Outcome;
use anacostia::sandbox::{Sandbox, SandboxConfig};
use serde_json::json;

use super::encode::section;
use super::{Case, check_cases};
use crate::sandbox::Bench;
use crate::sandbox::guests::{body, by_hand, in_world, write};

const HARMLESS: &str = "i32.const 0";

/// Code that was compiled by this program's own compiler.
fn compiled(folder: &Path, component: &[u8]) -> Vec<u8> {
    let out = folder.join("forged.cwasm");
    let _ = std::fs::remove_file(&out);
    let mut compiler = std::process::Command::new(env!("CARGO_BIN_EXE_anacostia"))
        .arg(anacostia::sandbox::COMPILE_VERB)
        .arg(&out)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut compiler.stdin.take().unwrap(), component).unwrap();
    assert!(compiler.wait().unwrap().success());
    std::fs::read(out).unwrap()
}

/// `count` types, each of which is composed of the one before.
fn types(count: u32, make: impl Fn(u32) -> String) -> String {
    (1..=count).fold("(type $t0 string)".to_owned(), |all, n| all + &format!("(type $t{n} {})", make(n - 1)))
}

/// Components in components, nested to this depth, at the end of one that does nothing. Binary,
/// because no text parser supports this depth.
fn nested(depth: u32) -> Vec<u8> {
    const HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";
    let innermost = section(4, &HEADER);
    let nested = (1..depth).fold(innermost, |inner, _| section(4, &[&HEADER, inner.as_slice()].concat()));
    [body(HARMLESS), nested].concat()
}

/// An action that imports an interface that no host provides.
fn importing() -> Vec<u8> {
    let wit = "package test:test; interface secret { f: func(); }
        world w { include anacostia:pipeline/guest@0.1.0; import secret; }";
    let module = r#"(module
        (import "test:test/secret" "f" (func $f))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
        (func (export "anacostia:pipeline/action@0.1.0#run") (result i32) call $f i32.const 0))"#;
    in_world(module, Some((wit, "w")))
}

pub(super) fn cases(folder: &Path) -> Vec<Case> {
    let good = body(HARMLESS);
    let case = |name: &str, component: Vec<u8>, words| Case::not_loaded(name, component, words, body(HARMLESS));
    let own = |name: &str, declarations: &str, words, counterpart: &str| {
        Case::not_loaded(name, by_hand(declarations), words, by_hand(counterpart))
    };
    let mut wrong_section = good.clone();
    wrong_section[8] = 0x7f;
    vec![
        case("what is no WebAssembly", b"#!/bin/sh\nrm -rf /\n".to_vec(), "it does not begin as WebAssembly does"),
        case("nothing", Vec::new(), "it does not begin as WebAssembly does"),
        case("a core module", wat::parse_str("(module)").unwrap(), "it is a core module"),
        case("a truncated component", good[..good.len() / 2].to_vec(), "it is damaged"),
        case("a component with a section that there is not", wrong_section, "malformed section id: 127"),
        case("compiled code instead of a component", compiled(folder, &good), "it does not begin as WebAssembly does"),
        case("an import that no host has", importing(), "test:test/secret"),
        case(
            "a component that is no action",
            wat::parse_str("(component)").unwrap(),
            "anacostia:pipeline/action@0.1.0",
        ),
        own(
            "a memory that threads share",
            "(core module (memory 1 2 shared))",
            "threads",
            "(core module (memory 1 2))",
        ),
        own("a memory of 64 bits", "(core module (memory i64 1))", "memory64", "(core module (memory 1))"),
        own("a hundred memories", &memories(100), "4", &memories(2)),
        own("two hundred instances of a module", &flat(200), "60", &flat(20)),
        own("a table of a million elements", &table(1_000_000), "40000", &table(30_000)),
        own("types in types, a thousand deep", &list_types(1000), "", &list_types(10)),
        own("a type with 2^40 parts", &pair_types(40), "type size", &pair_types(4)),
        Case::not_loaded(
            "more components in components than are looked at",
            nested(2000),
            "it has more than 1000 modules",
            nested(900),
        ),
        own("too many functions", &functions(200_001), "it has more than 200000 functions", &functions(1000)),
        own(
            "a function that is too long",
            &long_function(5 << 20),
            "it has a function of more than 4 MiB",
            &long_function(9),
        ),
    ]
}

fn memories(count: u32) -> String {
    (0..count).map(|n| format!("(core module $m{n} (memory 0)) (core instance (instantiate $m{n}))")).collect()
}

fn flat(count: u32) -> String {
    let instances: String = (0..count).map(|_| "(core instance (instantiate $extra))").collect();
    format!("(core module $extra (func (export \"f\"))) {instances}")
}

fn table(elements: u32) -> String {
    format!("(core module $extra (table {elements} funcref)) (core instance (instantiate $extra))")
}

fn list_types(depth: u32) -> String {
    exported(depth, &types(depth, |n| format!("(list $t{n})")))
}

fn pair_types(depth: u32) -> String {
    exported(depth, &types(depth, |n| format!("(tuple $t{n} $t{n})")))
}

/// A component that uses the last of some types: it imports a function with that type.
fn exported(depth: u32, types: &str) -> String {
    let uses = format!("(alias outer 1 $t{depth} (type $t)) (import \"f\" (func (param \"x\" $t)))");
    format!("{types} (component $uses {uses})")
}

fn functions(count: usize) -> String {
    format!("(core module {})", "(func)".repeat(count))
}

fn long_function(bytes: usize) -> String {
    format!("(core module (func {}))", "i32.const 1 drop ".repeat(bytes / 3))
}

#[tokio::test]
async fn malformed_forged_and_oversized_components_are_refused() {
    let bench = Bench::new();
    let cases = cases(bench.folder.path());
    check_cases(&bench, cases).await;
}

/// The forged code would trap; the component that it replaces does nothing.
#[tokio::test]
async fn forged_code_in_the_cache_is_never_run() {
    let bench = Bench::new();
    let folder = bench.folder.path();
    let cache = folder.join("cache");
    let sandbox =
        || Sandbox::new(SandboxConfig { cache_folder: cache.clone(), executors: 1, ..SandboxConfig::default() });
    let (good, good_file) = write(folder, "good.wasm", &body(HARMLESS));
    let (evil, evil_file) = write(folder, "evil.wasm", &body("unreachable"));
    let code_of = |digest: Digest| {
        let names = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
        let of_digest = |path: &PathBuf| path.to_str().unwrap().contains(&digest.hex());
        names.filter(of_digest).find(|path| path.extension().is_some_and(|end| end == "cwasm")).unwrap()
    };
    let outcome = async |digest: Digest, file: &Path| {
        let sandbox = sandbox().unwrap();
        sandbox.load(digest, file).await.unwrap();
        sandbox.run(bench.order(digest, &json!({})), &bench.services, bench.stop.subscribe()).await.outcome
    };
    assert!(matches!(outcome(evil, &evil_file).await, Outcome::Failed(_)));
    assert_eq!(outcome(good, &good_file).await, Outcome::Done(None));
    let (target, forged) = (code_of(good), code_of(evil));

    let replaced = || assert!(fs::copy(&forged, &target).unwrap() > 0);
    let linked = || {
        fs::remove_file(&target).unwrap();
        std::os::unix::fs::symlink(&forged, &target).unwrap();
    };
    let cut = || fs::write(&target, &fs::read(&forged).unwrap()[..1000]).unwrap();
    let appended = || fs::write(&target, [fs::read(&target).unwrap(), vec![0]].concat()).unwrap();
    for forge in [&replaced as &dyn Fn(), &linked, &cut, &appended] {
        forge();
        assert_eq!(outcome(good, &good_file).await, Outcome::Done(None));
        assert!(
            !target.is_symlink() && fs::read(&target).unwrap() != fs::read(&forged).unwrap(),
            "it is compiled again"
        );
    }
    // Unmodified code is used as it is: compiling again would create another file.
    let before = fs::metadata(&target).unwrap().ino();
    assert_eq!(outcome(good, &good_file).await, Outcome::Done(None));
    assert_eq!(fs::metadata(&target).unwrap().ino(), before);
}

/// However a component is damaged, it is refused, or does its work, or traps; the host is not
/// affected otherwise.
#[tokio::test]
async fn a_corrupt_component_affects_only_its_own_action() {
    let bench = Bench::new();
    let whole = body(HARMLESS);
    for length in (0..whole.len()).step_by(11) {
        let (digest, file) = write(bench.folder.path(), "cut.wasm", &whole[..length]);
        assert!(bench.sandbox.load(digest, &file).await.is_err(), "the first {length} bytes");
    }
    let seed = 0x5eed;
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut loaded = 0;
    for _ in 0..300 {
        let mut damaged = whole.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(0..damaged.len());
            damaged[at] = random.u8(..);
        }
        let (digest, file) = write(bench.folder.path(), "damaged.wasm", &damaged);
        if bench.sandbox.load(digest, &file).await.is_ok() {
            let mut order = bench.order(digest, &json!({}));
            (order.limits.cpu, order.limits.wall) = (Duration::from_millis(50), Duration::from_secs(5));
            bench.run(order).await;
            bench.sandbox.forget(digest);
            loaded += 1;
        }
    }
    println!("{loaded} of 300 could be loaded");
    let (digest, file) = write(bench.folder.path(), "whole.wasm", &whole);
    bench.sandbox.load(digest, &file).await.unwrap();
    assert_eq!(bench.run(bench.order(digest, &json!({}))).await.outcome, Outcome::Done(None));
}
