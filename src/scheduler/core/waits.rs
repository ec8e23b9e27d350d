//! How many pending artifacts there are, and since when.
//!
//! Counts contain the times at which artifacts were recorded. How long artifacts have waited is
//! measured from the moments at which the scheduler received the counts, so that setting the clock
//! changes nothing. For artifacts that the last host recorded, only the time on record is known; a
//! time in the future counts as now.

use std::time::Duration;

use crate::base::{Moment, Now, Timestamp};
use crate::model::Pending;

/// The pending artifacts in one resource, or in one group of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waits {
    /// The count.
    pub(super) pending: Pending,
    /// When the oldest artifact was recorded; if there is none, when the count was received.
    pub(super) oldest: Moment,
    /// When the newest artifact was recorded; if there is none, when the count was received.
    pub(super) newest: Moment,
    /// When the count was received.
    received: Moment,
}

impl Waits {
    /// Creates the state from the first count of a resource.
    pub(super) fn first(pending: Pending, now: Now) -> Self {
        let moment = |at: Option<Timestamp>| now.moment.before(at.map_or(Duration::ZERO, |at| now.time.since(at)));
        Self { pending, oldest: moment(pending.oldest_at), newest: moment(pending.newest_at), received: now.moment }
    }

    /// Creates the state of a group.
    pub(super) fn of_group(count: u64, bytes: u64, oldest: Moment, newest: Moment) -> Self {
        Self { pending: Pending { count, bytes, ..Pending::default() }, oldest, newest, received: newest }
    }

    /// Returns the state after the next count.
    pub(super) fn next(&self, pending: Pending, now: Now) -> Self {
        let next = Self::first(pending, now);
        let is_same_newest = pending.newest_at == self.pending.newest_at && pending.newest_at.is_some();
        let is_same_oldest = pending.oldest_at == self.pending.oldest_at && pending.oldest_at.is_some();
        // If the newest artifact has changed, it was recorded since the last count. If the oldest
        // has changed, because older ones were claimed, it is not older than those were.
        let newest = if is_same_newest { self.newest } else { next.newest.max(self.received) };
        let oldest = if is_same_oldest { self.oldest } else { next.oldest.max(self.oldest) };
        Self { oldest: oldest.min(newest), newest, ..next }
    }
}
