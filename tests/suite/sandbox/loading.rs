//! From a file to a component that can run.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anacostia::base::{ByteSize, Digest};
use anacostia::model::Outcome;
use anacostia::sandbox::{CompileBounds, Sandbox, SandboxConfig, SandboxError};
use serde_json::json;

use super::{Bench, failure, guests};
use crate::support::program::write_script;

fn sandbox(cache: &Path, compiler: Option<&Path>) -> Sandbox {
    Sandbox::new(SandboxConfig {
        cache_folder: cache.to_owned(),
        fallback_cache_folder: None,
        executors: 1,
        max_instances: 4,
        compiler: compiler.map(Path::to_owned),
        compile: CompileBounds { wall: Duration::from_mins(1), memory: ByteSize(4 << 30) },
    })
    .unwrap()
}

/// A program that is called as the compiler.
fn program(folder: &Path, script: &str) -> std::path::PathBuf {
    let path = folder.join("compiler");
    write_script(&path, script);
    path
}

#[tokio::test]
async fn files_that_are_not_components_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(&folder.path().join("cache"), None);
    let module = wat::parse_str("(module)").unwrap();
    let damaged = &guests::body("i32.const 0")[..200];
    for (bytes, text) in [
        (b"hello".as_slice(), "it does not begin as WebAssembly does"),
        (b"", "it does not begin as WebAssembly does"),
        (b"\x7fELF", "it does not begin as WebAssembly does"),
        (&module, "it is a core module; build it for `wasm32-wasip2`, or make a component of it"),
        (damaged, "it is damaged: "),
    ] {
        let (digest, file) = guests::write(folder.path(), "bad.wasm", bytes);
        let error = sandbox.load(digest, &file).await.unwrap_err().to_string();
        let text = format!("{} is not a component that can run: {text}", file.display());
        assert!(error.starts_with(&text), "{error}");
    }
    let (_, file) = guests::write(folder.path(), "good.wasm", &guests::body("i32.const 0"));
    let error = sandbox.load(Digest::of(b"another"), &file).await.unwrap_err();
    assert!(matches!(error, SandboxError::WrongDigest { .. }), "{error}");
    let error = sandbox.load(Digest::of(b"another"), Path::new("/no/such/file")).await.unwrap_err();
    assert!(matches!(error, SandboxError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn incompatible_components_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(&folder.path().join("cache"), None);
    for (text, why) in [
        ("(component)", "anacostia:pipeline/action@0.1.0"),
        (
            r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance (export "x" (func)))))"#,
            "wasi:http/outgoing-handler@0.2.0",
        ),
        ("(component (core module (func $f (loop $l br $l)) (start $f)))", "anacostia:pipeline/action@0.1.0"),
    ] {
        let (digest, file) = guests::write(folder.path(), "misfit.wasm", &wat::parse_str(text).unwrap());
        let error = sandbox.load(digest, &file).await.unwrap_err();
        assert!(matches!(error, SandboxError::Link { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn a_spinning_start_function_is_stopped() {
    let bench = Bench::new();
    let spins = guests::text(
        r#"(module
            (memory (export "memory") 1)
            (func $spin (loop $l br $l))
            (start $spin)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
            (func (export "anacostia:pipeline/action@0.1.0#run") (result i32) i32.const 0))"#,
    );
    let mut order = bench.order(bench.load(&spins).await, &json!({}));
    order.limits.cpu = Duration::from_millis(100);
    assert_eq!(failure(&bench.run(order).await).code, "cpu_limit");
}

#[tokio::test]
async fn components_with_too_large_or_too_many_functions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(&folder.path().join("cache"), None);
    let long = "i32.const 1000000 drop ".repeat(1_200_000);
    for (module, text) in [
        (format!("(func {long})"), "it has a function of more than 4 MiB"),
        ("(func)".repeat(200_001), "it has more than 200000 functions"),
    ] {
        let component = wat::parse_str(format!("(component (core module {module}))")).unwrap();
        let (digest, file) = guests::write(folder.path(), "large.wasm", &component);
        let error = sandbox.load(digest, &file).await.unwrap_err().to_string();
        assert!(error.ends_with(text), "{error}");
    }
}

#[tokio::test]
async fn a_compiler_that_fails_hangs_or_forges_its_output_is_handled() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let (digest, file) = guests::write(folder.path(), "good.wasm", &guests::body("i32.const 0"));
    for (script, text) in [
        ("cat > /dev/null; echo 'no way' >&2; exit 1", "no way"),
        ("exit 0", "No such file or directory (os error 2)"),
        ("kill -9 $$", "the compiler died (signal: 9 (SIGKILL)); it has 4 GiB of memory"),
        ("cat > /dev/null; echo rubbish > \"$2\"", "failed to parse precompiled artifact as an ELF"),
    ] {
        let sandbox = sandbox(&cache, Some(&program(folder.path(), script)));
        let error = sandbox.load(digest, &file).await.unwrap_err().to_string();
        assert!(error.contains(text), "{script}: {error}");
    }
    let hangs = Sandbox::new(SandboxConfig {
        cache_folder: cache.clone(),
        compiler: Some(program(folder.path(), "exec sleep 1000")),
        compile: CompileBounds { wall: Duration::from_millis(200), ..CompileBounds::default() },
        ..SandboxConfig::default()
    })
    .unwrap();
    let error = hangs.load(digest, &file).await.unwrap_err().to_string();
    assert!(error.ends_with("cannot be compiled: it takes longer than 200ms"), "{error}");
    let left: Vec<_> = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{left:?}");
}

#[tokio::test]
async fn code_is_compiled_in_a_separate_process() {
    let folder = tempfile::tempdir().unwrap();
    let compiler = Path::new(env!("CARGO_BIN_EXE_anacostia"));
    let sandbox = sandbox(&folder.path().join("cache"), Some(compiler));
    let (digest, file) = guests::write(folder.path(), "good.wasm", &guests::body("i32.const 0"));
    sandbox.load(digest, &file).await.unwrap();
    let bench = Bench::new();
    let report = sandbox.run(bench.order(digest, &json!({})), &bench.services, bench.stop.subscribe()).await;
    assert_eq!(report.outcome, Outcome::Done(None));
}

#[tokio::test]
async fn compiled_code_is_cached_and_tampered_code_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let (digest, file) = guests::write(folder.path(), "good.wasm", &guests::body("i32.const 0"));
    sandbox(&cache, None).load(digest, &file).await.unwrap();
    assert_eq!(std::fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);

    // With a compiler that always fails, only cached code can be loaded.
    let broken = program(folder.path(), "exit 1");
    sandbox(&cache, Some(&broken)).load(digest, &file).await.unwrap();

    let kept = || std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
    let code = kept().find(|path| path.extension().is_some_and(|end| end == "cwasm")).unwrap();
    let whole = std::fs::read(&code).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for bad in [flipped, whole[..whole.len() / 2].to_vec(), Vec::new()] {
        std::fs::write(&code, bad).unwrap();
        let error = sandbox(&cache, Some(&broken)).load(digest, &file).await.unwrap_err();
        assert!(matches!(error, SandboxError::Compile { .. }), "{error}");
    }
    sandbox(&cache, None).load(digest, &file).await.unwrap();
    assert_eq!(std::fs::read(&code).unwrap(), whole, "it was compiled again");

    std::fs::set_permissions(&code, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(sandbox(&cache, Some(&broken)).load(digest, &file).await.is_err(), "others could write to it");
}

#[tokio::test]
async fn a_component_that_is_not_loaded_fails_the_attempt() {
    let bench = Bench::new();
    let digest = bench.load(&guests::body("i32.const 0")).await;
    bench.sandbox.forget(digest);
    let report = bench.run(bench.order(digest, &json!({}))).await;
    assert_eq!(failure(&report).message, format!("the component {digest} is not loaded"));
}
