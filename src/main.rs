//! The binary: its allocator; everything else is in the library.
//!
//! `mimalloc`, for Rust and for SQLite alike: records are many small allocations, made by one
//! thread and freed by another, which the C library's allocator serves more slowly.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // SAFETY: it may be called by any thread at any time.
    anacostia::cli::main(|| unsafe { libmimalloc_sys::mi_collect(true) })
}
