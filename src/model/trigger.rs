//! Triggers: why runs start.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{RunState, string_enum};
use crate::base::{RunId, Timestamp};

/// Count of the `new` artifacts of a watched resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pending {
    /// Number of artifacts.
    pub count: u64,
    /// Total size in bytes.
    pub bytes: u64,
    /// When the oldest was recorded.
    #[schema(required)]
    pub oldest_at: Option<Timestamp>,
    /// When the newest was recorded.
    #[schema(required)]
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
        /// The trigger is not satisfied, because a component of it has failed to decide.
        Error = "error",
    }
}

/// What one condition of a trigger saw, and what it wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConditionSeen {
    /// Its key in the manifest, such as `min_artifacts` or `cron`.
    pub condition: String,
    /// What it waits for, such as `3` or `0 6 * * 1-5 Europe/Berlin`.
    pub wanted: String,
    /// What it saw, for display.
    pub seen: String,
    /// Whether it is met.
    pub met: bool,
    /// For `all` and `any`: the conditions inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub conditions: Vec<ConditionSeen>,
}

/// What a condition of a trigger has accounted for. It survives a restart, so that nothing fires
/// twice for the same reason.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerMark {
    /// The trigger.
    pub trigger: String,
    /// The condition, as its key and what it waits for: `every 1h`. An edited condition counts as
    /// another one.
    pub condition: String,
    /// The time up to which it is accounted for: when it last fired, or when the host first saw it.
    pub at: Timestamp,
    /// The record up to which it is accounted for: an event for `after_run`, or a metric.
    pub seq: u64,
    /// The value of the metric then, if there was one. For `component`: 1 once it has led to a run,
    /// because time and record are also set when the host first sees it.
    pub value: Option<f64>,
}

/// A run that has ended, and its place in the order of ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedRun {
    /// The event of its end.
    pub seq: u64,
    /// Its number.
    pub number: u64,
    /// How it ended.
    pub state: RunState,
    /// See [`Run::fired_by`](super::Run::fired_by).
    pub fired_by: Vec<String>,
}

/// One evaluation of a trigger. An evaluation is recorded only if its outcome, its reason or its
/// conditions differ from the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// runs active`, `paused`.
    pub reason: String,
    /// The created run, if the outcome is `fired`.
    #[schema(required)]
    pub run_id: Option<RunId>,
    /// Each condition, with what it saw and what it wanted.
    #[serde(default)]
    #[schema(required)]
    pub conditions: Vec<ConditionSeen>,
}

impl Tick {
    /// Returns whether it says the same as another evaluation of the same trigger.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        (self.outcome, &self.reason, &self.conditions) == (other.outcome, &other.reason, &other.conditions)
    }
}
