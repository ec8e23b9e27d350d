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
    /// Returns the delay before freed memory is returned, in milliseconds. Negative if it never is.
    pub delay: fn() -> i64,
    /// Sets that delay.
    pub set_delay: fn(i64),
}

/// The allocator, with the delay that it has for most work: its default (for mimalloc 1 s, because
/// returning memory at once costs a tenth of the CPU time of a run), or what the user has set by
/// the environment.
static ALLOCATOR: OnceLock<(Allocator, i64)> = OnceLock::new();

/// Sets the allocator for this module; without one, its functions do nothing. Only the first call
/// has an effect.
pub fn set_allocator(allocator: Allocator) {
    // If one is set already, it is the same allocator.
    let _ = ALLOCATOR.set((allocator, (allocator.delay)()));
}

/// Returns free memory of the calling thread to the system. Used after work that needed far more
/// memory than the work that follows. Takes up to a few milliseconds.
pub fn give_back() {
    if let Some((allocator, _)) = ALLOCATOR.get() {
        (allocator.give_back)();
    }
}

/// Makes the allocator return memory as soon as any thread frees it, until the returned value is
/// dropped. Used for loading large data, because mimalloc otherwise sometimes fails to return some
/// of the memory.
#[must_use]
pub fn give_back_at_once() -> AtOnce {
    AtOnce::begin(ALLOCATOR.get().copied())
}

/// See [`give_back_at_once`].
#[derive(Debug)]
pub struct AtOnce(Option<(Allocator, i64)>);

impl AtOnce {
    fn begin(allocator: Option<(Allocator, i64)>) -> Self {
        if let Some((allocator, _)) = allocator {
            (allocator.set_delay)(0);
        }
        Self(allocator)
    }
}

impl Drop for AtOnce {
    fn drop(&mut self) {
        // A concurrent load continues with the delay, which costs little.
        if let Some((allocator, usual)) = self.0 {
            (allocator.set_delay)(usual);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::{Allocator, AtOnce};

    static DELAY: AtomicI64 = AtomicI64::new(7_000);

    #[test]
    fn the_delay_that_the_user_has_set_is_restored() {
        let delay = || DELAY.load(Ordering::Relaxed);
        let allocator = Allocator { give_back: || {}, delay, set_delay: |delay| DELAY.store(delay, Ordering::Relaxed) };
        let usual = Some((allocator, (allocator.delay)()));
        let (first, second) = (AtOnce::begin(usual), AtOnce::begin(usual));
        assert_eq!(delay(), 0);
        drop(first);
        drop(second);
        assert_eq!(delay(), 7_000);
    }
}
