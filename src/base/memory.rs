//! Returns memory that the allocator holds, but the process has freed, to the system.
//!
//! An allocator returns freed memory after a delay, and only when it is called again, which an idle
//! host does not do. The binary chooses the allocator, and passes functions that make it return
//! memory.

use std::sync::OnceLock;

/// Functions of the binary's allocator. Any thread may call them at any time.
#[derive(Debug, Clone, Copy)]
pub struct Allocator {
    /// Returns the free memory of the calling thread to the system.
    pub give_back: fn(),
    /// Sets the delay before freed memory is returned, in milliseconds.
    pub set_delay: fn(u16),
}

/// The delay before freed memory is returned, in milliseconds: mimalloc's default. Returning memory
/// at once costs a tenth of the CPU time of a run.
const DELAY: u16 = 1_000;

static ALLOCATOR: OnceLock<Allocator> = OnceLock::new();

/// Sets the allocator for this module; without one, its functions do nothing. Only the first call
/// has an effect.
pub fn set_allocator(allocator: Allocator) {
    // If one is set already, it is the same allocator.
    let _ = ALLOCATOR.set(allocator);
}

/// Returns free memory of the calling thread to the system. Used after work that needed far more
/// memory than the work that follows. Takes up to a few milliseconds.
pub fn give_back() {
    if let Some(allocator) = ALLOCATOR.get() {
        (allocator.give_back)();
    }
}

/// Makes the allocator return memory as soon as any thread frees it, until the returned value is
/// dropped. Used for loading large data, because mimalloc otherwise sometimes fails to return some
/// of the memory.
#[must_use]
pub fn give_back_at_once() -> AtOnce {
    set_delay(0);
    AtOnce(())
}

/// See [`give_back_at_once`].
#[derive(Debug)]
pub struct AtOnce(());

impl Drop for AtOnce {
    fn drop(&mut self) {
        // A concurrent load continues with the delay, which costs little.
        set_delay(DELAY);
    }
}

fn set_delay(milliseconds: u16) {
    if let Some(allocator) = ALLOCATOR.get() {
        (allocator.set_delay)(milliseconds);
    }
}
