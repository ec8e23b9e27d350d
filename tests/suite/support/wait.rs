//! Waiting for conditions, instead of for time to pass.

use std::time::{Duration, Instant};

/// Long enough for a busy machine. A test that reaches this deadline is stuck, not slow.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// How often to check a condition that has no notification.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `look` returns a value. Panics with `what` if it has not by the [`DEADLINE`].
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_for_within(DEADLINE, what, look)
}

/// The same with another deadline: for compilers, which may have to be downloaded first.
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
