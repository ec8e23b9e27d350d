//! Components for the tests: the Rust guests under `tests/guests`, and small components written as
//! text for what Rust cannot express.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anacostia::base::Digest;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Returns the component of the guest in `tests/guests/NAME`, which is built once in each run of
/// the tests.
pub fn rust(name: &str) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let known = built.get_or_insert_default();
    if let Some(path) = known.get(name) {
        return path.clone();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sandbox-{name}.wasm"));
    let status = Command::new(root.join("scripts/build-rust-guest"))
        .arg(root.join("tests/guests").join(name))
        .arg(&out)
        .status()
        .expect("the script runs");
    assert!(status.success(), "the guest {name} is not built");
    known.insert(name.to_owned(), out.clone());
    out
}

/// A component around a core module that is written as text. The module imports functions of
/// `wit/pipeline.wit` as it needs them, and exports `memory`, `cabi_realloc` and
/// `anacostia:pipeline/action@0.1.0#run`.
pub fn text(module: &str) -> Vec<u8> {
    in_world(module, None)
}

/// [`text`] with another world: the text of a WIT package, and the name of a world in it.
pub fn in_world(module: &str, world: Option<(&str, &str)>) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit/pipeline.wit");
    let contract = resolve.push_path(&wit).expect("the contract parses").0;
    let (package, world) = match world {
        Some((text, world)) => (resolve.push_str("world.wit", text).expect("the world parses"), world),
        None => (contract, "guest"),
    };
    let world = resolve.select_world(&[package], Some(world)).expect("it has a world");
    let mut module = wat::parse_str(module).expect("the module is well-formed");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("the module fits the world");
    ComponentEncoder::default().module(&module).and_then(|mut encoder| encoder.encode()).expect("it is a component")
}

/// [`text`] with another text of the contract.
pub fn of_contract(module: &str, contract: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("pipeline.wit", contract).expect("the contract parses");
    let world = resolve.select_world(&[package], Some("guest")).expect("it has a world");
    let mut module = wat::parse_str(module).expect("the module is well-formed");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("the module fits the world");
    ComponentEncoder::default().module(&module).and_then(|mut encoder| encoder.encode()).expect("it is a component")
}

/// [`text`] around the body of `run`. Memory is zero, so returning 0 is `ok(done(none))`.
pub fn body(body: &str) -> Vec<u8> {
    text(&format!(
        r#"(module
            (memory (export "memory") 1)
            (table $t 1 funcref)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
            (func (export "anacostia:pipeline/action@0.1.0#run") (result i32) {body}))"#
    ))
}

/// The action that does nothing, as a component written by hand, with additional declarations, for
/// components that `wit-component` cannot make from a module.
pub fn by_hand(declarations: &str) -> Vec<u8> {
    let types = r#"(type $error (record (field "code" string) (field "message" string) (field "retryable" bool)))
        (type $outcome (variant (case "done" (option string)) (case "skip" string)))"#;
    let text = format!(
        r#"(component
            {declarations}
            {types}
            (core module $m
                (memory (export "memory") 1)
                (func (export "run") (result i32) i32.const 0)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func $run (result (result $outcome (error $error)))
                (canon lift (core func $i "run") (memory $i "memory") (realloc (func $i "realloc"))))
            (component $shim
                {types}
                (import "error" (type $e (eq $error)))
                (import "outcome" (type $o (eq $outcome)))
                (import "run" (func $run (result (result $o (error $e)))))
                (export $error-out "error" (type $e))
                (export $outcome-out "outcome" (type $o))
                (export "run" (func $run) (func (result (result $outcome-out (error $error-out))))))
            (instance $action
                (instantiate $shim (with "error" (type $error)) (with "outcome" (type $outcome)) (with "run" (func $run))))
            (export "anacostia:pipeline/action@0.1.0" (instance $action)))"#
    );
    wat::parse_str(text).expect("the component is well-formed")
}

/// Writes a component to a file, and returns its digest.
pub fn write(folder: &Path, name: &str, component: &[u8]) -> (Digest, PathBuf) {
    let path = folder.join(name);
    std::fs::write(&path, component).expect("the component is written");
    (Digest::of(component), path)
}
