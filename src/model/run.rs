//! Runs.

use serde::{Deserialize, Serialize};

use super::{Artifact, Attempt, RunAction, words};
use crate::base::{RunId, Timestamp};

words! {
    /// Where a run stands.
    RunState {
        /// Created, nothing started yet.
        Queued = "queued",
        /// At least one action has started, or one could.
        Running = "running",
        /// Every action that had to run succeeded.
        Succeeded = "succeeded",
        /// An action failed for good.
        Failed = "failed",
        /// Someone asked for an end; attempts are being stopped.
        Cancelling = "cancelling",
        /// It ended because someone asked for it.
        Cancelled = "cancelled",
    }
}

impl RunState {
    /// Whether nothing more happens in such a run unless someone retries it.
    #[must_use]
    pub fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// One execution of the graph over the artifacts that it claimed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its permanent id.
    pub id: RunId,
    /// 1, 2, 3, … in the order of creation.
    pub number: u64,
    /// Where it stands.
    pub state: RunState,
    /// Why it started, for people.
    pub trigger: String,
    /// The params given for this run alone, a JSON object.
    pub params: serde_json::Value,
    /// The digest of the manifest that it is bound to.
    pub revision: crate::base::Digest,
    /// The store's sequence at its creation: its snapshot of every resource.
    pub snapshot: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its first attempt started.
    pub started_at: Option<Timestamp>,
    /// When it ended (the last time, if it was retried).
    pub ended_at: Option<Timestamp>,
    /// Why it failed or was cancelled, for people.
    pub reason: Option<String>,
    /// The run whose inputs it was given, to work on them again.
    pub rerun_of: Option<RunId>,
}

/// A run with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunDetail {
    /// The run.
    pub run: Run,
    /// What it claimed, in the order of recording.
    pub inputs: Vec<Artifact>,
    /// Its actions, in the order of the manifest.
    pub actions: Vec<RunAction>,
    /// All attempts of all its actions, in the order in which they started.
    pub attempts: Vec<Attempt>,
}
