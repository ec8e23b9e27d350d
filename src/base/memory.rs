//! Memory that the process has freed, and that the allocator still holds.
//!
//! An allocator returns freed memory to the system after a delay, and only when it is called again,
//! which an idle host does not do. The allocator is the binary's choice: it says here how to make
//! it return memory.

use std::sync::OnceLock;

/// What the binary's allocator can do. Any thread may call these at any time.
#[derive(Debug, Clone, Copy)]
pub struct Allocator {
    /// Returns the free memory of the calling thread to the system.
    pub give_back: fn(),
    /// Sets how long freed memory stays with the process, in milliseconds.
    pub set_delay: fn(u16),
}

/// How long freed memory stays with the process, in milliseconds: mimalloc's default. To return
/// memory at once costs a tenth of the CPU time of a run.
const DELAY: u16 = 1_000;

static ALLOCATOR: OnceLock<Allocator> = OnceLock::new();

/// Sets what the functions of this module use; without it, they do nothing. The first call counts.
pub fn set_allocator(allocator: Allocator) {
    // Set already: the allocator is the same.
    let _ = ALLOCATOR.set(allocator);
}

/// Returns free memory of the calling thread to the system: after work that needed far more than
/// what follows. Takes up to some milliseconds.
pub fn give_back() {
    if let Some(allocator) = ALLOCATOR.get() {
        (allocator.give_back)();
    }
}

/// Makes the allocator return memory as soon as it is freed, by any thread, until the value is
/// dropped: for a load of much data, of which mimalloc otherwise loses track now and then.
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
        // Another load that still goes on goes on with the delay, which loses little.
        set_delay(DELAY);
    }
}

fn set_delay(milliseconds: u16) {
    if let Some(allocator) = ALLOCATOR.get() {
        (allocator.set_delay)(milliseconds);
    }
}
