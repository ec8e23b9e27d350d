//! Triggers: why runs start.

use serde::{Deserialize, Serialize};

use super::string_enum;
use crate::base::{RunId, Timestamp};

/// Count of the `new` artifacts of a watched resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Number of artifacts.
    pub count: u64,
    /// Total size in bytes.
    pub bytes: u64,
    /// When the oldest was recorded.
    pub oldest_at: Option<Timestamp>,
    /// When the newest was recorded.
    pub newest_at: Option<Timestamp>,
    /// The newest event at the time of the count. Every change of the count comes with an event, so
    /// of two counts the one with the larger number is later.
    #[serde(skip)]
    pub as_of: u64,
}

string_enum! {
    /// The result of one evaluation of a trigger.
    TickOutcome {
        /// A run was created.
        Fired = "fired",
        /// The trigger is satisfied, but no run was created, for the given reason.
        Held = "held",
        /// The trigger is not yet satisfied.
        NotReady = "not_ready",
    }
}

/// One evaluation of a trigger. An evaluation is recorded only if its outcome or reason differs
/// from the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Sequence number, for order and paging; 0 until the store has assigned one.
    pub seq: u64,
    /// The trigger's name. The trigger of a watched resource has the resource's name.
    pub trigger: String,
    /// The resource whose artifacts it counts, if it counts artifacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Time of the evaluation.
    pub time: Timestamp,
    /// Its result.
    pub outcome: TickOutcome,
    /// The reason, for display: `3 new artifacts`, `1 of 5 artifacts`, `waits for labels`, `1 of 1
    /// runs at work`, `paused`.
    pub reason: String,
    /// The created run, if the outcome is `fired`.
    pub run_id: Option<RunId>,
}
