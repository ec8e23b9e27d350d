//! The allocator of the process.
//!
//! `mimalloc`, for Rust and for SQLite alike: records are many small allocations, made by one thread and freed by another, which the C library's allocator
//! serves more slowly. It keeps what was freed for a second, and then until it is asked for memory again; a host that has nothing to do
//! does not ask. Hence [`give_back`].

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives memory that is free back to the system: after work that needed far more than what follows. Takes up to some milliseconds.
pub fn give_back() {
    // SAFETY: it may be called by any thread at any time.
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
}
