//! Runs the fuzz entries over the stored corpus and a bounded number of mutations of it, the same
//! in every run, so that this can be part of the tests. `fuzz/README.md` says how to run the
//! fuzzers for longer.

#[path = "../../fuzz/entries/component.rs"]
mod component;
#[path = "../../fuzz/entries/folder_names.rs"]
mod folder_names;
#[path = "../../fuzz/entries/host_calls.rs"]
mod host_calls;
#[path = "../../fuzz/entries/http.rs"]
mod http;
#[path = "../../fuzz/entries/manifest.rs"]
mod manifest;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::sandbox::{fakes, guests};

/// The default seed of the mutations; `ANACOSTIA_FUZZ_SEED` overrides it. Another seed gives other
/// mutations.
const SEED: u64 = 0x0a11_ac05_71a0;
/// The maximum length of an input.
const MAX_BYTES: usize = 4096;

/// Returns the stored inputs of a target, in the same order on every machine.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no corpus");
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Returns a mutation of an input in the corpus.
fn mutated(random: &mut fastrand::Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.choice(corpus).cloned().unwrap_or_default();
    for _ in 0..random.usize(1..8) {
        let at = random.usize(0..=bytes.len());
        let end = random.usize(at..=bytes.len().min(at + 32));
        match random.u8(0..6) {
            0 => bytes.insert(at, random.u8(..)),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let other = random.choice(corpus).cloned().unwrap_or_default();
                let from = random.usize(0..=other.len());
                bytes.splice(at..end, other[from..other.len().min(from + 64)].iter().copied());
            }
        }
    }
    bytes.truncate(MAX_BYTES);
    bytes
}

/// Returns a number that the environment may override.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Runs a target over its corpus and `rounds` mutations, or as many as `ANACOSTIA_FUZZ_ROUNDS`
/// says. Saves the input of a failure, which can become part of the corpus once the fault is fixed.
fn bounded(target: &str, rounds: u64, run: impl Fn(&[u8])) {
    let corpus = corpus(target);
    let (seed, rounds) = (setting("ANACOSTIA_FUZZ_SEED", SEED), setting("ANACOSTIA_FUZZ_ROUNDS", rounds));
    let mut random = fastrand::Rng::with_seed(seed);
    println!("{target}: {} inputs and {rounds} mutations, seed {seed}", corpus.len());
    let mutations = (0..rounds).map(|_| mutated(&mut random, &corpus));
    for input in corpus.iter().cloned().chain(mutations) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&input))) {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}-failed"));
            fs::write(&kept, &input).unwrap();
            eprintln!("{target} fails on the input in {}", kept.display());
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn any_text_is_a_manifest_or_has_printable_problems() {
    bounded("manifest", 3000, manifest::run);
}

#[test]
fn any_bytes_are_inspected_without_a_panic() {
    bounded("component", 3000, component::run);
}

#[test]
fn no_path_resolves_outside_the_folder() {
    bounded("folder_names", 500, folder_names::run);
}

#[test]
fn any_host_calls_keep_the_accounting_consistent() {
    let guest = guests::rust("fuzz");
    bounded("host_calls", 500, |data| drop(host_calls::run(&guest, data)));
    // Checks the decoding of bytes: this input makes every call of the contract once, and most of
    // them succeed.
    let each = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/host_calls/each-once");
    let report = host_calls::run(&guest, &fs::read(each).unwrap());
    assert!(report.usage.host_calls > 20 && report.usage.bytes_read > 0, "{report:?}");
    assert!(report.staged.len() == 1 && report.tags.len() == 1 && report.denials.len() == 1, "{report:?}");
}

#[test]
fn any_request_gets_a_response() {
    let action = guests::body("i32.const 0");
    bounded("http", 500, |data| http::run(&action, data));
}
