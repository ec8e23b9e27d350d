//! Memory that is free, and still the process's.
//!
//! An allocator keeps what was freed, and gives it back to the system when it is asked for memory
//! again, which an idle host does not do. The allocator is the binary's choice: it says here how to
//! make it.

use std::sync::OnceLock;

static GIVE_BACK: OnceLock<fn()> = OnceLock::new();

/// Sets what [`give_back`] does. The first call counts.
pub fn set_give_back(give_back: fn()) {
    // Set already: the allocator is the same.
    let _ = GIVE_BACK.set(give_back);
}

/// Gives free memory of the calling thread back to the system: after work that needed far more than
/// what follows. Takes up to some milliseconds. Does nothing unless [`set_give_back`] was called.
pub fn give_back() {
    if let Some(give_back) = GIVE_BACK.get() {
        give_back();
    }
}
