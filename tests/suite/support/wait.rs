//! Waiting for something to happen, never for time to pass.

use std::time::{Duration, Instant};

/// Long enough for a busy machine. A test that gets here is stuck, not slow.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// How often a condition that nothing announces is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `look` gives a value, and panics with `what` when it has not by the [`DEADLINE`].
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_for_within(DEADLINE, what, look)
}

/// The same with another deadline: for compilers, which may have to be fetched first.
#[track_caller]
pub(crate) fn wait_for_within<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(began.elapsed() < deadline, "waited {deadline:?} for {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}
