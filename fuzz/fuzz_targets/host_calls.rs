#![no_main]

#[path = "../entries/host_calls.rs"]
mod entry;
#[path = "../../tests/suite/sandbox/fakes.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod fakes;

use std::path::PathBuf;
use std::sync::OnceLock;

static GUEST: OnceLock<PathBuf> = OnceLock::new();

fn guest() -> PathBuf {
    std::env::var_os("ANACOSTIA_FUZZ_GUEST").expect("ANACOSTIA_FUZZ_GUEST names the guest: see fuzz/README.md").into()
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(entry::run(GUEST.get_or_init(guest), data)));
