//! The time of the machine, for records.

use crate::base::{Clock as _, SystemClock, Timestamp};

pub(super) fn now() -> Timestamp {
    SystemClock.now()
}
