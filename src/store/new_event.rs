//! An event that a store writes in the transaction that it describes.

use serde_json::Value;

use crate::base::{ArtifactId, AttemptId, RunId};
use crate::model::EventKind;

/// An event to write.
pub(super) struct NewEvent<'a> {
    pub(super) kind: EventKind,
    pub(super) run: Option<RunId>,
    pub(super) action: Option<&'a str>,
    pub(super) attempt: Option<AttemptId>,
    pub(super) artifact: Option<ArtifactId>,
    pub(super) data: Value,
}

impl<'a> NewEvent<'a> {
    /// An event with its data.
    pub(super) fn of(kind: EventKind, data: Value) -> Self {
        Self { kind, run: None, action: None, attempt: None, artifact: None, data }
    }

    /// The run concerned.
    pub(super) fn run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    /// The action concerned.
    pub(super) fn action(mut self, action: &'a str) -> Self {
        self.action = Some(action);
        self
    }

    /// The attempt concerned.
    pub(super) fn attempt(mut self, attempt: AttemptId) -> Self {
        self.attempt = Some(attempt);
        self
    }

    /// The artifact concerned.
    pub(super) fn artifact(mut self, artifact: ArtifactId) -> Self {
        self.artifact = Some(artifact);
        self
    }
}
