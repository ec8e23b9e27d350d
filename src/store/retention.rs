//! Which runs are removed, and what is removed with them.

use std::collections::BTreeSet;
use std::ops::AddAssign;
use std::sync::Arc;

use crate::base::{RunId, Timestamp};

/// How many runs a list of old runs looks at. It may return fewer.
pub(super) const LOOKED_AT: u64 = 500;
/// About how many rows one transaction removes, so that no other write waits long.
pub(super) const BATCH_ROWS: u64 = 200;

/// What keeps a run that has ended. Without `ended_since` and `newest` all runs are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunsToKeep {
    /// Those that ended at this time or later.
    pub ended_since: Option<Timestamp>,
    /// The newest runs, this many.
    pub newest: Option<u64>,
    /// Those with one of these tags, `NAME` or `NAME=VALUE`, and those that wrote an artifact with
    /// one.
    pub tags: Vec<String>,
    /// Those whose end is after this event, because someone has not been told of it yet.
    pub told_until: Option<u64>,
    /// These.
    pub runs: BTreeSet<RunId>,
}

/// How a run is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// With all that belongs to it. Artifacts, events and notifications stay.
    Whole,
    /// Its metrics, recorded params, network requests and denied calls. The rest stays, because the
    /// lineage of something that is there, or that a run on record has read, leads through it.
    Details,
}

/// A run that nothing keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldRun {
    /// Its number.
    pub number: u64,
    /// How it is removed.
    pub removal: Removal,
    /// What is removed with it.
    pub rows: RemovedRows,
}

/// Some runs that nothing keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OldRuns {
    /// The runs, newest first.
    pub runs: Vec<OldRun>,
    /// The number below which the next ones are; `None` if there are no others.
    pub below: Option<u64>,
}

/// The runs that are looked at as if they had been removed already.
pub type GoneRuns = Arc<BTreeSet<u64>>;

/// How many records are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemovedRows {
    /// Runs, as [`Removal::Whole`].
    pub runs: u64,
    /// Runs, as [`Removal::Details`].
    pub trimmed: u64,
    /// Attempts.
    pub attempts: u64,
    /// Reads and writes.
    pub accesses: u64,
    /// Metrics.
    pub metrics: u64,
    /// Params that actions recorded.
    pub params: u64,
    /// Tags of runs.
    pub tags: u64,
    /// Denied calls.
    pub denials: u64,
    /// Network requests.
    pub requests: u64,
}

impl AddAssign for RemovedRows {
    fn add_assign(&mut self, other: Self) {
        let Self { runs, trimmed, attempts, accesses, metrics, params, tags, denials, requests } = other;
        self.runs += runs;
        self.trimmed += trimmed;
        self.attempts += attempts;
        self.accesses += accesses;
        self.metrics += metrics;
        self.params += params;
        self.tags += tags;
        self.denials += denials;
        self.requests += requests;
    }
}

/// What one transaction has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// How many of the runs are done, in their order. The others are left for the next
    /// transaction; some of the first one's details may be removed.
    pub done: usize,
    /// What was removed.
    pub rows: RemovedRows,
}
