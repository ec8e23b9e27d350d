//! Components that would take the compiler minutes or gigabytes. They are valid, and the compiler
//! is the real one: a separate process, stopped by its bounds, which are small here.

use std::path::Path;
use std::time::{Duration, Instant};

use anacostia::base::ByteSize;
use anacostia::model::Outcome;
use anacostia::sandbox::{COMPILE_VERB, CompileBounds, Sandbox, SandboxConfig};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::encode::{leb, section};
use crate::sandbox::Bench;
use crate::sandbox::guests::{body, write};

/// A component around a module with `count` functions of `bytes` bytes each, which repeat `unit`.
/// It is binary, because as text it would be tens of megabytes.
fn component(unit: &[u8], bytes: usize, count: usize) -> Vec<u8> {
    let body = [&[0], unit.repeat(bytes / unit.len()).as_slice(), &[0x20, 0, 0x0b]].concat();
    let bodies = [leb(body.len()), body].concat().repeat(count);
    let types = section(1, b"\x01\x60\x03\x7f\x7f\x7f\x01\x7f");
    let functions = section(3, &[leb(count), vec![0; count]].concat());
    let module =
        [b"\0asm\x01\0\0\0".as_slice(), &types, &functions, &section(10, &[leb(count), bodies].concat())].concat();
    [b"\0asm\x0d\0\x01\0".as_slice(), &section(1, &module)].concat()
}

/// `block (br_if 0 a) c = b + c end`: at each end, the registers of both paths have to be merged.
const BRANCHES: &[u8] = b"\x02\x40\x20\x00\x0d\x00\x20\x01\x20\x02\x6a\x21\x01\x0b";
/// `a = a * b`: much code that compiles quickly.
const PRODUCTS: &[u8] = b"\x20\x00\x20\x01\x6c\x21\x00";

/// Components in components, each with two instances of the next: 2^depth instances of the
/// innermost, in a few hundred bytes.
fn instances(depth: u32) -> Vec<u8> {
    let innermost = "(core module $m (func (export \"f\"))) (core instance (instantiate $m))".to_owned();
    let all = (0..depth).fold(innermost, |inner, _| {
        format!("(component $c {inner}) (instance (instantiate $c)) (instance (instantiate $c))")
    });
    wat::parse_str(format!("(component {all})")).unwrap()
}

/// A component that takes minutes to compile.
pub(super) fn endless() -> Vec<u8> {
    component(BRANCHES, 4_000_000, 1)
}

fn sandbox(cache: &Path, wall: Duration, memory: ByteSize) -> Sandbox {
    Sandbox::new(SandboxConfig {
        cache_folder: cache.to_owned(),
        fallback_cache_folder: None,
        executors: 1,
        max_instances: 4,
        compiler: Some(env!("CARGO_BIN_EXE_anacostia").into()),
        compile: CompileBounds { wall, memory },
    })
    .unwrap()
}

/// Longer than any compilation here takes on a busy machine.
const LONG: Duration = Duration::from_mins(10);

/// Returns the processes that compile into this folder.
fn compilers(cache: &Path) -> Vec<Pid> {
    let cache = cache.to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let compiles = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(cache)
    };
    let ids = processes.filter(compiles).filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(Pid::from_raw).collect()
}

/// Returns what compiling has left in the cache.
fn scraps(cache: &Path) -> Vec<String> {
    let names = std::fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| Path::new(name).extension().is_some_and(|end| end == "tmp")).collect()
}

/// Loads a component that must not be loadable, and then one that must be, in the same cache and with
/// the same memory. The second has as long as it takes on a busy machine.
async fn refused(bomb: &[u8], wall: Duration, memory: ByteSize, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let sandbox = sandbox(&cache, wall, memory);
    let (digest, file) = write(folder.path(), "bomb.wasm", bomb);
    let why = sandbox.load(digest, &file).await.unwrap_err().to_string();
    assert!(words.iter().any(|words| why.contains(words)), "{why}");
    assert_eq!(compilers(&cache), [], "a compiler is still running");
    assert_eq!(scraps(&cache), [""; 0]);

    drop(sandbox);
    let sandbox = self::sandbox(&cache, LONG, memory);
    let (digest, file) = write(folder.path(), "good.wasm", &body("i32.const 0"));
    sandbox.load(digest, &file).await.unwrap();
    let bench = Bench::new();
    let report = sandbox.run(bench.order(digest, &json!({})), &bench.services, bench.stop.subscribe()).await;
    assert_eq!(report.outcome, Outcome::Done(None));
}

#[tokio::test]
async fn a_compilation_that_takes_too_long_is_stopped() {
    let bomb = endless();
    refused(&bomb, Duration::from_secs(2), ByteSize(4 << 30), &["it takes longer than 2s"]).await;
}

#[tokio::test]
async fn a_compilation_that_takes_too_much_memory_is_stopped() {
    let bomb = component(PRODUCTS, 4_000_000, 4);
    let words = ["memory allocation of", "the compiler died"];
    refused(&bomb, LONG, ByteSize(512 << 20), &words).await;
}

#[tokio::test]
async fn a_component_that_expands_to_a_million_instances_is_not_compiled() {
    let bomb = instances(20);
    assert!(bomb.len() < 2000, "{}", bomb.len());
    let words = ["memory allocation of", "the compiler died", "it takes longer than 5s", "instances"];
    refused(&bomb, Duration::from_secs(5), ByteSize(512 << 20), &words).await;
}

#[tokio::test]
async fn cached_components_load_and_run_during_a_compilation() {
    let bench = Bench::new();
    let cache = bench.folder.path().join("cache");
    let (wall, memory) = (Duration::from_secs(20), ByteSize(4 << 30));
    let known = write(bench.folder.path(), "known.wasm", &body("i32.const 0"));
    sandbox(&cache, wall, memory).load(known.0, &known.1).await.unwrap();

    let sandbox = sandbox(&cache, wall, memory);
    let bomb =
        |n: usize| write(bench.folder.path(), &format!("{n}.wasm"), &component(BRANCHES, 4_000_000 - n * 100, 1));
    let bombs: Vec<_> = (0..4).map(bomb).collect();
    let loads = bombs.iter().map(|(digest, file)| Box::pin(sandbox.load(*digest, file)));
    let compiling = futures_util::future::select_all(loads);
    let honest = async {
        while compilers(&cache).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sandbox.load(known.0, &known.1).await.unwrap();
        let report = sandbox.run(bench.order(known.0, &json!({})), &bench.services, bench.stop.subscribe()).await;
        assert_eq!(report.outcome, Outcome::Done(None));
    };
    tokio::select! {
        _ = compiling => panic!("the first compiler was stopped before a cached component was loaded"),
        () = honest => {}
    }
    let compilers = compilers(&cache);
    assert_eq!(compilers.len(), 1, "only one component is compiled at a time");
    // Nothing waits for the result any more; without being killed, the compiler would run until its
    // time limit.
    let _ = kill_process(compilers[0], Signal::KILL);
}

#[tokio::test]
async fn a_compiler_dies_with_its_host() {
    let folder = tempfile::tempdir().unwrap();
    let (_, file) = write(folder.path(), "bomb.wasm", &endless());
    // The compiler is the child of a shell that represents the host and is killed: soon after it
    // was started, or at the moment when it starts.
    let script = format!(
        "ANACOSTIA_COMPILE_HOST=$$ {} {COMPILE_VERB} {}/cache.tmp < {}; true",
        env!("CARGO_BIN_EXE_anacostia"),
        folder.path().display(),
        file.display()
    );
    let mut shell = std::process::Command::new("sh").args(["-c", &script]).spawn().unwrap();
    let alive = || {
        compilers(folder.path())
            .into_iter()
            .filter(|pid| pid.as_raw_nonzero().get() != shell.id().cast_signed())
            .count()
    };
    let deadline = Instant::now() + Duration::from_mins(1);
    while alive() == 0 {
        assert!(Instant::now() < deadline, "no compiler is started");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _ = kill_process(Pid::from_child(&shell), Signal::KILL);
    while alive() > 0 {
        assert!(Instant::now() < deadline, "the compiler is still running");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shell.wait().unwrap();
}
