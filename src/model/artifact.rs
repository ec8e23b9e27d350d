//! Artifacts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::string_enum;
use crate::base::{ArtifactId, AttemptId, Digest, RunId, Timestamp};

string_enum! {
    /// The state of an artifact.
    ArtifactState {
        /// Recorded in a watched resource, and not yet claimed by a run.
        New = "new",
        /// Claimed by a run that has not ended.
        Current = "current",
        /// Claimed by a run that has ended.
        Old = "old",
        /// Replaced before any run claimed it.
        Superseded = "superseded",
        /// Removed before any run claimed it.
        Deleted = "deleted",
        /// Found, but never used as an input, for the given reason.
        Ignored = "ignored",
        /// Written by an action.
        Published = "published",
        /// Written by an action, and not taken by the service that it was for, for the given
        /// reason.
        NotTaken = "not_taken",
    }
}

/// One version of the content at one path of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Artifact {
    /// Its id.
    pub id: ArtifactId,
    /// The resource's name.
    pub resource: String,
    /// Path in the resource; escaped if the artifact is `ignored`.
    pub path: String,
    /// Version number, counted for each path.
    pub version: u64,
    /// Digest of the content. Absent if the artifact is `ignored`.
    #[schema(required)]
    pub digest: Option<Digest>,
    /// Size in bytes.
    pub size: u64,
    /// Its state.
    pub state: ArtifactState,
    /// Why it is ignored, or was not taken.
    #[schema(required)]
    pub reason: Option<String>,
    /// The run that claimed it.
    #[schema(required)]
    pub run_id: Option<RunId>,
    /// The attempt that wrote it.
    #[schema(required)]
    pub produced_by: Option<AttemptId>,
    /// Time of the record.
    pub created_at: Timestamp,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// Whether this version's content is still at its path, as far as the host knows.
    pub present: bool,
    /// Data by which the resource recognises the content (for a folder: device, inode, size and
    /// times; for a bucket: the etag). Opaque to all other code.
    #[serde(skip)]
    pub stamp: String,
}

impl Artifact {
    /// Returns whether its content can be read, as far as the record says. What a service did not
    /// take is still kept on this machine.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.present || self.state == ArtifactState::NotTaken
    }

    /// Returns whether a run that has it as an input was given it, and has not claimed it.
    #[must_use]
    pub fn is_given_to(&self, run: RunId) -> bool {
        self.run_id != Some(run)
    }
}

/// An observation of a resource. A watcher passes it to the store, which decides whether it is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Observation {
    /// Complete content is at `path`. It is new if it differs from the last version there, or if
    /// that version was removed.
    Present {
        /// The path.
        path: String,
        /// Digest of the content. Absent if reading is expensive (a bucket): then the stamp
        /// identifies the content, and the digest is recorded when an action first reads all of it;
        /// see [`super::Access::digest`].
        digest: Option<Digest>,
        /// Size in bytes.
        size: u64,
        /// See [`Artifact::stamp`].
        stamp: String,
    },
    /// There is no content at `path` any more.
    Gone {
        /// The path.
        path: String,
    },
    /// The content at `from` was moved to `to`, unchanged. Version, id and claim stay the same. If
    /// that version number is already used at `to`, the artifact gets the next one there.
    Renamed {
        /// The old path.
        from: String,
        /// The new path.
        to: String,
        /// See [`Artifact::stamp`].
        stamp: String,
    },
    /// A file that cannot be an artifact is at `path`.
    Ignored {
        /// The path, escaped.
        path: String,
        /// The reason, for display.
        reason: String,
        /// See [`Artifact::stamp`].
        stamp: String,
    },
}
