//! The queries of a store, and results that are not in the model.

use serde::{Deserialize, Serialize};

use crate::base::{ArtifactId, AttemptId, RunId};
use crate::model::{AccessKind, Approval, Artifact, ArtifactState, Attempt, RunState, StagedFile};

/// Selects a page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// `next_cursor` of the page before; `None` for the first.
    pub cursor: Option<String>,
    /// At most this many items; 1 to [`crate::base::bounds::MAX_PAGE`], moved into it.
    pub limit: u32,
}

/// Selects runs. An empty query selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Only those in one of these states; empty: in any.
    pub states: Vec<RunState>,
    /// Only runs before this one (by number), for a guest that looks back.
    pub before_run: Option<u64>,
}

/// Selects artifacts. An empty query selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArtifactQuery {
    /// Only of this resource.
    pub resource: Option<String>,
    /// Only at this path.
    pub path: Option<String>,
    /// Only in this state.
    pub state: Option<ArtifactState>,
    /// Only inputs of this run: what it claimed, and what it was given.
    pub run: Option<RunId>,
    /// Only with this tag.
    pub tag: Option<String>,
}

/// Selects what a run sees in a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotQuery {
    /// The run.
    pub run: RunId,
    /// The resource.
    pub resource: String,
    /// The actions whose outputs in this run are included.
    pub actions: Vec<String>,
    /// Only paths that start with this.
    pub prefix: Option<String>,
    /// Only paths after this one, in byte order.
    pub after: Option<String>,
    /// Only this path.
    pub path: Option<String>,
    /// Only this artifact, at whatever path it lay when the run was created.
    pub artifact: Option<ArtifactId>,
}

/// Which facts. Everything absent: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FactQuery {
    /// Only of this run.
    pub run: Option<RunId>,
    /// Only of runs before this one (by number), for a guest that looks back.
    pub before_run: Option<u64>,
    /// Only with this name.
    pub name: Option<String>,
    /// Only of succeeded attempts.
    pub succeeded_only: bool,
}

/// Which ticks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TickQuery {
    /// Only of the trigger of this name.
    pub trigger: Option<String>,
}

/// Selects notifications. An empty query selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotificationQuery {
    /// Only for the receiver of this name.
    pub name: Option<String>,
}

/// One edge of lineage: an attempt used an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageEdge {
    /// The attempt.
    pub attempt_id: AttemptId,
    /// Its action.
    pub action: String,
    /// How it used the artifact.
    pub kind: AccessKind,
    /// The artifact.
    pub artifact: Artifact,
    /// Bytes in all calls.
    pub bytes: u64,
}

/// One edge of lineage, seen from the artifact: an attempt used it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactUse {
    /// The run of the attempt.
    pub run_id: RunId,
    /// The run's number.
    pub run_number: u64,
    /// The attempt.
    pub attempt_id: AttemptId,
    /// Its action.
    pub action: String,
    /// The attempt's number.
    pub attempt: u32,
    /// How it used the artifact.
    pub kind: AccessKind,
    /// Bytes in all calls.
    pub bytes: u64,
}

/// How many of the newest runs [`action_attempts`](super::MetadataStore::action_attempts) looks at.
pub const ATTEMPT_RUNS: u64 = 1_000;

/// An attempt of an action, with the number of its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionAttempt {
    /// The run's number.
    pub run_number: u64,
    /// The attempt.
    pub attempt: Attempt,
}

/// An action of a run that waits for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitingApproval {
    /// The run.
    pub run_id: RunId,
    /// The run's number.
    pub run_number: u64,
    /// The action.
    pub action: String,
    /// What it asks for.
    pub approval: Approval,
}

/// A committed output that may not be visible yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedOutput {
    /// The attempt.
    pub attempt_id: AttemptId,
    /// The file.
    pub file: StagedFile,
}
