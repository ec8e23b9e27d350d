#![no_main]

#[path = "../entries/http.rs"]
mod entry;

use std::sync::OnceLock;

static ACTION: OnceLock<Vec<u8>> = OnceLock::new();

fn action() -> Vec<u8> {
    let file =
        std::env::var_os("ANACOSTIA_FUZZ_GUEST").expect("ANACOSTIA_FUZZ_GUEST names the guest: see fuzz/README.md");
    std::fs::read(file).expect("the guest can be read")
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::run(ACTION.get_or_init(action), data));
