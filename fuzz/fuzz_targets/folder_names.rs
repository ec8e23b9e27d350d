#![no_main]

#[path = "../entries/folder_names.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::run(data));
