//! The input of decisions about triggers.

use std::collections::BTreeMap;

use super::history::History;
use super::waiting::Waiting;
use crate::base::Now;

/// How the reason for a resource ends while its watch scans it. A scan ends by itself, so its tick
/// is recorded only if something waits for it.
pub const BEING_SCANNED: &str = "is being scanned";

/// The input of a decision.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The pending artifacts in each watched resource.
    pub pending: &'a Waiting,
    /// Watched resources that may differ from the record, with the reason. Their pending artifacts
    /// may have been replaced.
    pub unseen: &'a BTreeMap<String, String>,
    /// What conditions on time, metrics and runs look at.
    pub history: &'a History,
    /// The number of active runs.
    pub runs: usize,
    /// How many of them continue only once a person decides about an approval, or ends a pause.
    pub left: usize,
    /// The number of runs that wait for a slot: started by hand, retried, or left by the last host.
    pub queued: usize,
    /// Whether the pipeline is paused.
    pub paused: bool,
    /// The paused resources, with since when and why: `paused since …`.
    pub paused_resources: &'a BTreeMap<String, String>,
    /// Whether no more artifacts will come (`run --once`), so that no trigger waits for quiet.
    pub draining: bool,
    /// The time.
    pub now: Now,
    /// The time by which conditions on time are due: now, or for a host that drains, its start,
    /// because it would otherwise never end.
    pub due: Now,
}
