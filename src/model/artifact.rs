//! Artifacts.

use serde::{Deserialize, Serialize};

use super::words;
use crate::base::{ArtifactId, AttemptId, Digest, RunId, Timestamp};

words! {
    /// Where an artifact stands.
    ArtifactState {
        /// Recorded in a watched resource, and claimed by no run yet.
        New = "new",
        /// Claimed by a run that has not ended.
        Current = "current",
        /// Claimed by a run that has ended.
        Old = "old",
        /// Replaced before any run claimed it.
        Superseded = "superseded",
        /// Gone before any run claimed it.
        Deleted = "deleted",
        /// Seen, and never taken as an input, for the reason given.
        Ignored = "ignored",
        /// Written by an action.
        Published = "published",
    }
}

/// One version of one thing in a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Names it.
    pub id: ArtifactId,
    /// The resource's name.
    pub resource: String,
    /// Where in the resource; escaped if it is `ignored`.
    pub path: String,
    /// Counts up per path.
    pub version: u64,
    /// Of the content. Absent if it is `ignored`.
    pub digest: Option<Digest>,
    /// Bytes.
    pub size: u64,
    /// Where it stands.
    pub state: ArtifactState,
    /// Why it is ignored.
    pub reason: Option<String>,
    /// The run that claimed it.
    pub run_id: Option<RunId>,
    /// The attempt that wrote it.
    pub produced_by: Option<AttemptId>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// Sorted.
    pub tags: Vec<String>,
    /// Whether this version's content still lies at its path, as far as the host knows.
    pub present: bool,
    /// What the resource needs to know the content again (for a folder device, inode, size and
    /// times; for a bucket the etag). Means nothing to anyone else.
    #[serde(skip)]
    pub stamp: String,
}

/// What a resource saw. A watcher hands these to the store, which decides whether it is news.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Observation {
    /// Whole content lies at `path`. News if it differs from the last version there, or if that one
    /// was gone.
    Present {
        /// Where.
        path: String,
        /// Of the content. Absent if reading is expensive (a bucket): then the content is what its
        /// stamp says it is, and the digest is recorded when an action first reads all of it; see
        /// [`super::Access::digest`].
        digest: Option<Digest>,
        /// Bytes.
        size: u64,
        /// See [`Artifact::stamp`].
        stamp: String,
    },
    /// Nothing lies at `path` any more.
    Gone {
        /// Where.
        path: String,
    },
    /// What lay at `from` now lies at `to`, unchanged: version, id and claim stay with it. Where
    /// that version number is taken at `to`, it becomes the next one there.
    Renamed {
        /// Where it lay.
        from: String,
        /// Where it lies.
        to: String,
        /// See [`Artifact::stamp`].
        stamp: String,
    },
    /// Something that cannot be an artifact lies at `path`.
    Ignored {
        /// Where, escaped.
        path: String,
        /// Why, for people.
        reason: String,
        /// See [`Artifact::stamp`].
        stamp: String,
    },
}
