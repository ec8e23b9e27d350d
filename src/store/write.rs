//! What is handed to a store to put on record.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{ArtifactId, AttemptId, Digest, RunId, Timestamp, WriteId};
use crate::model::{
    Access, ActionState, ArtifactTag, AttemptState, Denial, ErrorInfo, Fence, HttpRequest, LogPosition, Observation,
    Pending, RunAction, RunDetail, RunState, StagedFile, Tick, Usage,
};

/// Most ticks that are kept; older ones are dropped.
pub const MAX_TICKS: u64 = 100_000;

/// A manifest to put on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRevision {
    /// Of `manifest` and `components`: what the revision is known by.
    pub digest: Digest,
    /// The manifest's text, `${…}` unexpanded.
    pub manifest: String,
    /// For each action its component.
    pub components: Vec<(String, Digest)>,
}

/// A manifest on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// What it is known by.
    pub digest: Digest,
    /// The manifest's text, `${…}` unexpanded.
    pub manifest: String,
    /// For each action its component.
    pub components: Vec<(String, Digest)>,
    /// When it was first registered.
    pub registered_at: Timestamp,
}

/// What a resource saw, to be recorded as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Names the batch. The same in every repeat.
    pub id: WriteId,
    /// The observations, in order.
    pub seen: Vec<Observation>,
    /// The newest event that was on record before the resource looked: what was published later
    /// may be missing in what it saw.
    pub as_of: u64,
    /// Where the resource goes on after this batch, for kinds that poll; `None` leaves the cursor
    /// as it is.
    pub cursor: Option<String>,
}

impl Batch {
    /// A batch with a new id, without a cursor, of a look that began after the event `as_of`.
    #[must_use]
    pub fn new(seen: Vec<Observation>, as_of: u64) -> Self {
        Self { id: WriteId::new(), seen, as_of, cursor: None }
    }
}

/// What came of recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// How many artifacts became `new`.
    pub new: u64,
    /// Indices in [`Batch::seen`] of the observations that were not recorded, because an output was
    /// published at their path after the look began. The resource looks there again.
    pub outdated: Vec<usize>,
    /// What waits in the resource after it.
    pub pending: Pending,
}

/// What a new run takes from one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The resource.
    pub resource: String,
    /// At most this many, oldest first; `None` for all.
    pub at_most: Option<u64>,
    /// With fewer there is no run.
    pub at_least: u64,
    /// When the artifacts that wait in the resource have fewer bytes in all, there is no run.
    pub min_bytes: u64,
}

/// A run to create.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// Why it starts, for people.
    pub trigger: String,
    /// Params for this run alone, a JSON object.
    pub params: serde_json::Value,
    /// The manifest that it is bound to.
    pub revision: Digest,
    /// What it takes.
    pub claims: Vec<Claim>,
    /// Artifacts that it works on again, beside what it claims. They stay claimed by the run that
    /// claimed them. Each must still lie in its resource, or there is no run
    /// ([`StoreError::Conflict`](super::StoreError::Conflict)).
    pub given: Vec<ArtifactId>,
    /// The run that it repeats.
    pub rerun_of: Option<RunId>,
    /// Its actions in the order of the manifest, each `pending`, or already `skipped` with the
    /// reason.
    pub actions: Vec<RunAction>,
    /// The ticks that fired it; their `run_id` is set by the store.
    pub ticks: Vec<Tick>,
    /// Its first step, from `actions`: none for a run that has to wait for its turn.
    pub step: RunStep,
}

/// A run that was created.
#[derive(Debug, Clone, PartialEq)]
pub struct CreatedRun {
    /// The run with its inputs and actions, as they were before its first step.
    pub detail: RunDetail,
    /// What its first step started, in the order of the step.
    pub started: Vec<StartedAttempt>,
    /// What still waits in each resource that it claimed from.
    pub pending: Vec<(String, Pending)>,
}

/// One step of a run, decided by the scheduler, written by the store as part of a transaction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunStep {
    /// What becomes of actions.
    pub actions: Vec<ActionChange>,
    /// Attempts to start; their actions become `running`, and a `queued` run too.
    pub starts: Vec<NewAttempt>,
    /// What becomes of the run. When it ends, its claims become `old`.
    pub run: Option<RunChange>,
}

/// What becomes of an action: these fields replace those on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionChange {
    /// The action as it is after the step.
    pub action: RunAction,
    /// Its state before, for the event: no event where it is the same.
    pub before: ActionState,
}

/// What becomes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunChange {
    /// Its state.
    pub state: RunState,
    /// Why, for people.
    pub reason: Option<String>,
}

/// An attempt to start.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAttempt {
    /// Its id.
    pub id: AttemptId,
    /// The action.
    pub action: String,
    /// 1 for the first of the action in the run.
    pub number: u32,
    /// The component that runs.
    pub component_digest: Digest,
    /// See [`crate::model::Attempt::grants`].
    pub grants: Arc<serde_json::Value>,
    /// Where the log is at the moment: the attempt's lines come after it.
    pub log_from: LogPosition,
}

/// An attempt that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartedAttempt {
    /// The right to write about it.
    pub fence: Fence,
}

/// How an attempt ended, and what the host saw of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// Its last state: not `running` or `publishing`.
    pub state: AttemptState,
    /// Why it failed.
    pub error: Option<ErrorInfo>,
    /// What it said of itself.
    pub message: Option<String>,
    /// What it used.
    pub usage: Usage,
    /// What it read and wrote.
    pub accesses: Vec<Access>,
    /// What it was refused.
    pub denials: Vec<Denial>,
    /// What it asked for over the network.
    pub requests: Vec<HttpRequest>,
    /// Tags to put on artifacts; applied only if it succeeded.
    pub tags: Vec<ArtifactTag>,
    /// Where its log ends.
    pub log_to: LogPosition,
}

/// What an attempt publishes.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// How it will have ended (`succeeded`).
    pub end: AttemptEnd,
    /// Whether the action said `skip`: kept with the intent, so that recovery takes the right step.
    pub skip: bool,
    /// What it publishes.
    pub files: Vec<StagedFile>,
    /// Resources in which its outputs are `new` (`retrigger`), not `published`.
    pub retrigger: Vec<String>,
}

/// A run that has not ended, as a starting host finds it.
#[derive(Debug, Clone, PartialEq)]
pub struct UnfinishedRun {
    /// The run with its inputs, actions and attempts.
    pub detail: RunDetail,
    /// Its attempts that have not ended.
    pub attempts: Vec<UnfinishedAttempt>,
}

/// An attempt that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct UnfinishedAttempt {
    /// The right to write about it.
    pub fence: Fence,
    /// Its action.
    pub action: String,
    /// What it has committed to publish, if it has passed its commit point: it is rolled forward.
    pub files: Option<Vec<StagedFile>>,
    /// Whether it said `skip`; see [`Intent::skip`].
    pub skip: bool,
    /// What it said of itself, if it has passed its commit point.
    pub message: Option<String>,
    /// The artifacts that its files became; in the order of `files`.
    pub artifacts: Vec<ArtifactId>,
}
