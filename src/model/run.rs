//! Runs.

use serde::{Deserialize, Serialize};

use super::{Attempt, RunAction, string_enum};
use crate::base::{RunId, Timestamp};

string_enum! {
    /// The state of a run.
    RunState {
        /// Created; nothing has started yet.
        Queued = "queued",
        /// At least one action has started, is ready to start, or waits for approval.
        Running = "running",
        /// Every action that had to run succeeded.
        Succeeded = "succeeded",
        /// An action failed permanently.
        Failed = "failed",
        /// Cancellation was requested; attempts are being stopped.
        Cancelling = "cancelling",
        /// It ended because cancellation was requested.
        Cancelled = "cancelled",
    }
}

impl RunState {
    /// Returns whether the state is final unless the run is retried.
    #[must_use]
    pub fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// One execution of the graph with the artifacts that it claimed or was given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its permanent id.
    pub id: RunId,
    /// Run number, from 1, in the order of creation.
    pub number: u64,
    /// Its state.
    pub state: RunState,
    /// Why it started, for display.
    pub trigger: String,
    /// Params for this run only, a JSON object.
    pub params: serde_json::Value,
    /// The digest of the manifest that it uses.
    pub revision: crate::base::Digest,
    /// The store's sequence at its creation: its snapshot of every resource.
    pub snapshot: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its first attempt started.
    pub started_at: Option<Timestamp>,
    /// When it ended (the last time, if it was retried).
    pub ended_at: Option<Timestamp>,
    /// Why it failed or was cancelled, for display.
    pub reason: Option<String>,
    /// The run whose inputs it was given, to work on them again.
    pub rerun_of: Option<RunId>,
    /// The triggers that led to it: those that started it, and those that led to the runs whose end
    /// or metric they saw. Empty for a run that was started by hand.
    #[serde(default)]
    pub fired_by: Vec<String>,
    /// The group of artifacts that it is about, such as `day=2026-03-01`, if its trigger groups
    /// them.
    #[serde(default)]
    pub partition: Option<String>,
    /// When its metrics, recorded params, network requests and denied calls were removed, because
    /// it was old and only its lineage is needed. Also set while that is being done.
    #[serde(default)]
    pub trimmed_at: Option<Timestamp>,
}

/// A run with its actions and attempts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunDetail {
    /// The run.
    pub run: Run,
    /// Its actions, in the order of the manifest.
    pub actions: Vec<RunAction>,
    /// All attempts of all its actions, in the order in which they started.
    pub attempts: Vec<Attempt>,
}
