//! Types that the scheduler passes between a resource and the store.

use serde::{Deserialize, Serialize};

use super::ArtifactState;
use crate::base::{ArtifactId, Digest};

/// The newest version at a path, as the store has it. A resource is reconciled with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPath {
    /// The path; escaped if the artifact is `ignored`.
    pub path: String,
    /// Digest of the content. Absent if the artifact is `ignored`.
    pub digest: Option<Digest>,
    /// Size in bytes.
    pub size: u64,
    /// State of that version.
    pub state: ArtifactState,
    /// See [`super::Artifact::stamp`].
    pub stamp: String,
}

/// A file that is completely written but not yet visible. It is recorded in the publishing intent,
/// so that another process can make it visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// The artifact that it will become.
    pub artifact_id: ArtifactId,
    /// The target resource.
    pub resource: String,
    /// The target path.
    pub path: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Data by which the resource finds it, for example a path in its staging folder.
    pub staged: String,
    /// Its stamp once it is visible; see [`super::Artifact::stamp`].
    pub stamp: String,
    /// Whether it may replace existing content at its path.
    pub overwrite: bool,
    /// With `overwrite`: the stamp of the content that it replaces, taken right before the commit
    /// point; `None` if there was none. Without: the stamp of the only content that it may replace,
    /// if any, which an earlier attempt of its action has published.
    #[serde(default)]
    pub replaces: Option<String>,
}

impl StagedFile {
    /// Returns whether it may replace something at its path.
    #[must_use]
    pub fn may_replace(&self) -> bool {
        self.overwrite || self.replaces.is_some()
    }
}
