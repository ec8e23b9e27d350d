//! Events: what happened, in order. The store, the event stream, the command line and the web pages
//! use the same type.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::string_enum;
use crate::base::{ArtifactId, AttemptId, RunId, Timestamp};

string_enum! {
    /// The type of an event.
    EventKind {
        /// A host opened the store. `data`: `version`, `pid`.
        HostStarted = "host_started",
        /// A manifest became active. `data`: `revision`.
        RevisionRegistered = "revision_registered",
        /// An artifact was recorded as new. `data`: `resource`, `path`, `version`, `digest`,
        /// `size`.
        ArtifactRecorded = "artifact_recorded",
        /// A file was ignored. `data`: `resource`, `path`, `reason`.
        ArtifactIgnored = "artifact_ignored",
        /// An artifact was replaced before any run claimed it. `data`: `resource`, `path`,
        /// `version`.
        ArtifactSuperseded = "artifact_superseded",
        /// The content at a path was removed. `data`: `resource`, `path`, `version`.
        ArtifactDeleted = "artifact_deleted",
        /// An artifact was moved to another path. `data`: `resource`, `from`, `path`, `version`.
        ArtifactRenamed = "artifact_renamed",
        /// An attempt's output was committed. `data`: `resource`, `path`, `version`, `digest`,
        /// `size`.
        ArtifactPublished = "artifact_published",
        /// A service did not take a committed output, so it is at its path no more. `data`:
        /// `resource`, `path`, `version`, `reason`.
        ArtifactNotTaken = "artifact_not_taken",
        /// A run was created, and its inputs were claimed. `data`: `number`, `trigger`, `inputs`
        /// (count).
        RunCreated = "run_created",
        /// A run's state changed. `data`: `number`, `state`, `reason`, and `retried` (true) if the
        /// run had ended and was retried.
        RunState = "run_state",
        /// The state of an action in a run changed. `data`: `state`, `reason`.
        ActionState = "action_state",
        /// An action waits for approval. `data`: `number` (of the run), `who`, `until`.
        ApprovalRequested = "approval_requested",
        /// An approval was decided. `data`: `number` (of the run), `verdict`, `by`, `note`.
        ApprovalDecided = "approval_decided",
        /// An attempt started. `data`: `number`.
        AttemptStarted = "attempt_started",
        /// An attempt's guest ended, and the commit point passed. `data`: `outputs` (count).
        AttemptPublishing = "attempt_publishing",
        /// An attempt ended. `data`: `state`, `error`.
        AttemptEnded = "attempt_ended",
        /// Metrics, params or tags were recorded. `data`: the count of each.
        FactsRecorded = "facts_recorded",
        /// The pipeline was paused. No `data`.
        Paused = "paused",
        /// The pipeline was resumed. No `data`.
        Resumed = "resumed",
        /// A resource or an action was paused, or is paused for another reason. `data`: `type`,
        /// `name`, `reason`.
        NodePaused = "node_paused",
        /// A resource or an action was resumed. `data`: `type`, `name`.
        NodeResumed = "node_resumed",
        /// An artifact became a version of a model. `data`: `model`, `version`, `resource`, `path`,
        /// `by`.
        ModelVersionRegistered = "model_version_registered",
        /// An alias of a model was moved to a version. `data`: `model`, `alias`, `version`,
        /// `before` (the version that it named), `rolled_back`, `by`.
        AliasMoved = "alias_moved",
        /// A model has another card. `data`: `model`.
        ModelCardChanged = "model_card_changed",
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Sequence number: starts at 1, without gaps, in the order of commits.
    pub seq: u64,
    /// The store's epoch.
    pub epoch: u64,
    /// Time of the event.
    pub time: Timestamp,
    /// Type of the event.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// Version of the format of `data` for this type.
    pub v: u32,
    /// The related run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run_id: Option<RunId>,
    /// The related action.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub action: Option<String>,
    /// The related attempt.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attempt: Option<AttemptId>,
    /// The related artifact.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub artifact_id: Option<ArtifactId>,
    /// Further data, which `type` describes.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}
