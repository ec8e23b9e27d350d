//! Triggers: why runs start.

use serde::{Deserialize, Serialize};

use super::words;
use crate::base::{RunId, Timestamp};

/// The `new` artifacts of a watched resource, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// How many.
    pub count: u64,
    /// How many bytes in all.
    pub bytes: u64,
    /// When the oldest was recorded.
    pub oldest_at: Option<Timestamp>,
    /// When the newest was recorded.
    pub newest_at: Option<Timestamp>,
    /// The newest event when this was counted. Every change of the count comes with an event, so of
    /// two counts the one with the greater number is the later one.
    #[serde(skip)]
    pub as_of: u64,
}

words! {
    /// What came of one evaluation of a trigger.
    TickOutcome {
        /// A run was created.
        Fired = "fired",
        /// The resource has what it needs, but no run was created, for the reason given.
        Held = "held",
        /// The resource does not have what it needs yet.
        NotReady = "not_ready",
    }
}

/// One evaluation of a trigger. An evaluation with the same outcome and reason as the one before is
/// not recorded again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Orders and pages; 0 until the store has given it one.
    pub seq: u64,
    /// The trigger's name. The trigger of a watched resource has the resource's name.
    pub trigger: String,
    /// The resource whose artifacts it waits for, if it waits for artifacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// When.
    pub time: Timestamp,
    /// What came of it.
    pub outcome: TickOutcome,
    /// Why, for people: `3 new artifacts`, `1 of 5 artifacts`, `waits for labels`, `1 of 1 runs at
    /// work`, `paused`.
    pub reason: String,
    /// The run, if it fired.
    pub run_id: Option<RunId>,
}
