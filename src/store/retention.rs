//! Which runs are removed, and what is removed with them.

use std::collections::BTreeSet;
use std::ops::AddAssign;
use std::sync::Arc;

use crate::base::{RunId, Timestamp};
use crate::model::Run;

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

impl RunsToKeep {
    /// Returns whether a run is kept for what its own record says. Does not look at
    /// [`RunsToKeep::newest`]: no run becomes newer.
    pub(super) fn keeps(&self, run: &Run) -> bool {
        let limits_nothing = self.newest.is_none() && self.ended_since.is_none();
        let is_young = self.ended_since.is_some_and(|since| run.ended_at.is_none_or(|at| at >= since));
        limits_nothing || !run.state.ended() || is_young || self.runs.contains(&run.id)
    }
}

/// Splits one of [`RunsToKeep::tags`] into the name and the value that a tag of a run must have.
pub(super) fn tag_of_run(tag: &str) -> (&str, Option<&str>) {
    tag.split_once('=').map_or((tag, None), |(name, value)| (name, Some(value)))
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

/// [`GoneRuns`], and those that a list has found.
#[derive(Debug)]
pub(super) struct Gone<'a> {
    before: &'a BTreeSet<u64>,
    here: BTreeSet<u64>,
}

impl<'a> Gone<'a> {
    /// Returns these.
    pub(super) fn new(before: &'a BTreeSet<u64>) -> Self {
        Self { before, here: BTreeSet::new() }
    }

    /// Adds a run.
    pub(super) fn add(&mut self, number: u64) {
        self.here.insert(number);
    }

    /// Returns whether a run counts as removed.
    pub(super) fn contains(&self, number: u64) -> bool {
        self.here.contains(&number) || self.before.contains(&number)
    }

    /// Returns whether no run counts as removed.
    pub(super) fn is_empty(&self) -> bool {
        self.here.is_empty() && self.before.is_empty()
    }
}

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

impl RemovedRows {
    /// Returns the numbers of metrics, params, denied calls and network requests as such.
    pub(super) fn of_details([metrics, params, denials, requests]: [u64; 4]) -> Self {
        Self { metrics, params, denials, requests, ..Self::default() }
    }

    /// Returns the number of records that [`Removal::Details`] removes.
    pub(super) fn details(&self) -> u64 {
        self.metrics + self.params + self.denials + self.requests
    }
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
