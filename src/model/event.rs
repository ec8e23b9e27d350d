//! Events: what happened, in order. One type feeds the store, the event stream, the command line
//! and the pages.

use serde::{Deserialize, Serialize};

use super::words;
use crate::base::{ArtifactId, AttemptId, RunId, Timestamp};

words! {
    /// What an event tells.
    EventKind {
        /// A host opened the store. `data`: `version`, `pid`.
        HostStarted = "host_started",
        /// A manifest came into force. `data`: `revision`.
        RevisionRegistered = "revision_registered",
        /// An artifact was recorded as new. `data`: `resource`, `path`, `version`, `digest`,
        /// `size`.
        ArtifactRecorded = "artifact_recorded",
        /// Something was ignored. `data`: `resource`, `path`, `reason`.
        ArtifactIgnored = "artifact_ignored",
        /// An artifact was replaced before any run claimed it. `data`: `resource`, `path`,
        /// `version`.
        ArtifactSuperseded = "artifact_superseded",
        /// What lay at a path is gone. `data`: `resource`, `path`, `version`.
        ArtifactDeleted = "artifact_deleted",
        /// An artifact has another path. `data`: `resource`, `from`, `path`, `version`.
        ArtifactRenamed = "artifact_renamed",
        /// An attempt's output is committed. `data`: `resource`, `path`, `version`, `digest`,
        /// `size`.
        ArtifactPublished = "artifact_published",
        /// A run was created, and its inputs were claimed. `data`: `number`, `trigger`, `inputs`
        /// (how many).
        RunCreated = "run_created",
        /// A run's state changed. `data`: `number`, `state`, `reason`, and `retried` (true) if it
        /// had ended and was taken up again.
        RunState = "run_state",
        /// The state of an action in a run changed. `data`: `state`, `reason`.
        ActionState = "action_state",
        /// An attempt started. `data`: `number`.
        AttemptStarted = "attempt_started",
        /// An attempt's guest was done, and the commit point was passed. `data`: `outputs` (how
        /// many).
        AttemptPublishing = "attempt_publishing",
        /// An attempt ended. `data`: `state`, `error`.
        AttemptEnded = "attempt_ended",
        /// Metrics, params or tags were recorded. `data`: how many of each.
        FactsRecorded = "facts_recorded",
        /// The pipeline was paused. No `data`.
        Paused = "paused",
        /// The pipeline goes on. No `data`.
        Resumed = "resumed",
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Dense, from 1, in the order of commits.
    pub seq: u64,
    /// The store's epoch.
    pub epoch: u64,
    /// When.
    pub time: Timestamp,
    /// What.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The version of the shape of `data` for this kind.
    pub v: u32,
    /// The run concerned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run_id: Option<RunId>,
    /// The action concerned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub action: Option<String>,
    /// The attempt concerned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attempt: Option<AttemptId>,
    /// The artifact concerned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub artifact_id: Option<ArtifactId>,
    /// The rest; see [`EventKind`].
    pub data: serde_json::Value,
}
