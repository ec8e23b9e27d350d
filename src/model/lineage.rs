//! The lineage of an artifact: what it was made from, and what was made from it.

use serde::Serialize;
use utoipa::ToSchema;

use super::{AccessKind, Artifact};
use crate::base::{ArtifactId, AttemptId, RunId};

/// The part of the lineage around one artifact. Attempts and artifacts are the nodes of the graph,
/// and each read or write of an artifact by an attempt is an edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Lineage {
    /// The artifact in the middle.
    pub artifact: ArtifactId,
    /// How many attempts are at most between that artifact and one at the end.
    pub depth: u32,
    /// Whether the graph goes on, because of `depth` or of another bound.
    pub more: bool,
    /// The artifacts, that in the middle first.
    pub artifacts: Vec<Artifact>,
    /// The attempts that used them.
    pub attempts: Vec<LineageAttempt>,
    /// Who used what.
    pub edges: Vec<LineageLink>,
}

/// An attempt in a lineage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LineageAttempt {
    /// Its id.
    pub id: AttemptId,
    /// Its run.
    pub run_id: RunId,
    /// The run's number.
    pub run_number: u64,
    /// Its action.
    pub action: String,
}

/// An edge of a lineage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LineageLink {
    /// The attempt.
    pub attempt: AttemptId,
    /// The artifact that it used.
    pub artifact: ArtifactId,
    /// How it used the artifact.
    pub kind: AccessKind,
    /// Bytes in all calls.
    pub bytes: u64,
}
