//! The binary: its allocator; everything else is in the library.
//!
//! `mimalloc`, for Rust and for SQLite alike: records are many small allocations, made by one
//! thread and freed by another, which the C library's allocator serves more slowly.

use std::process::ExitCode;

use anacostia::cli::Allocator;
use libmimalloc_sys::{mi_collect, mi_option_set, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc's header, which the bindings lack: milliseconds.
const PURGE_DELAY: mi_option_t = 15;

fn main() -> ExitCode {
    // SAFETY: any thread may call these at any time.
    anacostia::cli::main(Allocator {
        give_back: || unsafe { mi_collect(true) },
        set_delay: |delay| unsafe { mi_option_set(PURGE_DELAY, delay.into()) },
    })
}
