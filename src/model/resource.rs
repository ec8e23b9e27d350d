//! What passes between a resource and the store, through the scheduler.

use serde::{Deserialize, Serialize};

use super::ArtifactState;
use crate::base::{ArtifactId, Digest};

/// The newest version at a path, as the store knows it: what a resource is reconciled with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPath {
    /// Where (escaped if `ignored`).
    pub path: String,
    /// Of the content. Absent if it is `ignored`.
    pub digest: Option<Digest>,
    /// Bytes.
    pub size: u64,
    /// Where that version stands.
    pub state: ArtifactState,
    /// See [`super::Artifact::stamp`].
    pub stamp: String,
}

/// A file that is written whole, and not visible yet. It stands in the publishing intent, from
/// which it can be made visible by another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// The artifact that it becomes.
    pub artifact_id: ArtifactId,
    /// The resource that it goes to.
    pub resource: String,
    /// Where it goes.
    pub path: String,
    /// Of the content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// What the resource needs to find it, for example a path in its staging folder.
    pub staged: String,
    /// What the resource will know it by once it is visible; see [`super::Artifact::stamp`].
    pub stamp: String,
    /// Whether it may replace what lies at its path.
    pub overwrite: bool,
    /// What the resource knows the content by that it replaces, as it was right before the commit
    /// point; `None` if nothing lay there.
    #[serde(default)]
    pub replaces: Option<String>,
}
