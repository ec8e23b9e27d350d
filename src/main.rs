//! The binary. It sets the global allocator; everything else is in the library.
//!
//! Rust and SQLite both use `mimalloc`: records are many small allocations, made by one thread and
//! freed by another, which the C library's allocator serves more slowly.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc's header, which the bindings lack: milliseconds.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> std::process::ExitCode {
    // SAFETY: any thread may call these functions at any time.
    anacostia::cli::main(anacostia::cli::Allocator {
        give_back: || unsafe { libmimalloc_sys::mi_collect(true) },
        delay: || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) },
        set_delay: |delay| unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, delay) },
    })
}
