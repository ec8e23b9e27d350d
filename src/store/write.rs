//! The arguments of a store's writes, and their results.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{ArtifactId, AttemptId, Digest, RunId, Timestamp, WriteId};
use crate::model::{
    Access, ActionState, Artifact, ArtifactTag, AttemptState, Denial, Entry, ErrorInfo, Fence, HttpRequest,
    LogPosition, Memory, Observation, Page, Pending, Recording, RunAction, RunDetail, RunState, StagedFile, Tick,
    TriggerMark, Usage,
};

/// The most ticks that a store retains; older ones are dropped.
pub const MAX_TICKS: u64 = 100_000;

/// The most notifications that a store retains; older ones are dropped.
pub const MAX_NOTIFICATIONS: u64 = 100_000;

/// About how many attempts of an action a store remembers; older ones are dropped.
pub const MAX_MEMORIES: u64 = 1_000;

/// A manifest to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRevision {
    /// The digest of `manifest` and `components`, which identifies the revision.
    pub digest: Digest,
    /// The manifest's text, `${…}` unexpanded.
    pub manifest: String,
    /// The component of each action.
    pub components: Vec<(String, Digest)>,
}

/// A manifest on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The digest that identifies it.
    pub digest: Digest,
    /// The manifest's text, `${…}` unexpanded.
    pub manifest: String,
    /// The component of each action.
    pub components: Vec<(String, Digest)>,
    /// When it was first registered.
    pub registered_at: Timestamp,
}

/// Observations of a resource, which are recorded as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The id of the batch. The same in every repeat.
    pub id: WriteId,
    /// The observations, in order.
    pub seen: Vec<Observation>,
    /// The newest event that was on record before the resource was examined. Outputs that were
    /// published later may be missing in the observations.
    pub as_of: u64,
    /// The position from which the resource continues after this batch, for kinds that poll. `None`
    /// leaves the cursor unchanged.
    pub cursor: Option<String>,
}

impl Batch {
    /// Creates a batch with a new id and without a cursor, of an examination that began after the
    /// event `as_of`.
    #[must_use]
    pub fn new(seen: Vec<Observation>, as_of: u64) -> Self {
        Self { id: WriteId::new(), seen, as_of, cursor: None }
    }
}

/// The result of recording a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// How many artifacts became `new`.
    pub new: u64,
    /// Indices in [`Batch::seen`] of the observations that were not recorded, because an output was
    /// published at their path after the examination began. The resource examines them again.
    pub outdated: Vec<usize>,
    /// The pending artifacts in the resource after it.
    pub pending: Pending,
}

/// The artifacts that a new run claims in one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The resource.
    pub resource: String,
    /// At most this many, oldest first; `None` for all.
    pub at_most: Option<u64>,
    /// If fewer artifacts are pending, no run is created.
    pub at_least: u64,
    /// If the pending artifacts have fewer bytes in all, no run is created.
    pub min_bytes: u64,
    /// Only these, as far as they are pending; `None` for any.
    pub only: Option<Vec<ArtifactId>>,
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
    /// The artifacts that it claims.
    pub claims: Vec<Claim>,
    /// Artifacts that it works on again, besides what it claims. They stay claimed by the run that
    /// claimed them. Each must still be in its resource, or there is no run
    /// ([`StoreError::Conflict`](super::StoreError::Conflict)).
    pub given: Vec<ArtifactId>,
    /// The run that it repeats.
    pub rerun_of: Option<RunId>,
    /// Its actions in the order of the manifest, each `pending`, or already `skipped` with the
    /// reason.
    pub actions: Vec<RunAction>,
    /// The ticks that fired it; their `run_id` is set by the store.
    pub ticks: Vec<Tick>,
    /// See [`Run::fired_by`](crate::model::Run::fired_by).
    pub fired_by: Vec<String>,
    /// See [`Run::partition`](crate::model::Run::partition).
    pub partition: Option<String>,
    /// The new marks of the triggers that fired it.
    pub marks: Vec<TriggerMark>,
    /// Its first step, from `actions`: none for a run that has to wait for its turn.
    pub step: RunStep,
}

/// A run that was created.
#[derive(Debug, Clone, PartialEq)]
pub struct CreatedRun {
    /// The run with its actions, as they were before its first step.
    pub detail: RunDetail,
    /// The first artifacts that it claimed or was given, in the order of recording, at most
    /// [`MAX_PAGE`](crate::base::bounds::MAX_PAGE); the others are read with
    /// [`run_inputs`](super::MetadataStore::run_inputs).
    pub inputs: Page<Artifact>,
    /// The attempts that its first step started, in the order of the step.
    pub started: Vec<StartedAttempt>,
    /// The artifacts that are still pending in each resource that it claimed from.
    pub pending: Vec<(String, Pending)>,
}

/// One step of a run, decided by the scheduler, written by the store as part of a transaction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunStep {
    /// Changes of actions.
    pub actions: Vec<ActionChange>,
    /// Attempts to start; their actions become `running`, and a `queued` run too.
    pub starts: Vec<NewAttempt>,
    /// The change of the run. When the run ends, its claims become `old`.
    pub run: Option<RunChange>,
}

/// A change of an action: these fields replace those on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionChange {
    /// The action as it is after the step.
    pub action: RunAction,
    /// Its state before. There is an event only if the state differs.
    pub before: ActionState,
}

/// A change of a run.
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
    /// The current position of the log: the attempt's lines come after it.
    pub log_from: LogPosition,
}

/// An attempt that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartedAttempt {
    /// The token that permits writes for it.
    pub fence: Fence,
}

/// The end of an attempt, with what the host observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// Its last state: not `running` or `publishing`.
    pub state: AttemptState,
    /// Why it failed.
    pub error: Option<ErrorInfo>,
    /// The message that it returned.
    pub message: Option<String>,
    /// Its resource usage.
    pub usage: Usage,
    /// Its reads and writes of artifacts.
    pub accesses: Vec<Access>,
    /// Its denied calls.
    pub denials: Vec<Denial>,
    /// Its network requests.
    pub requests: Vec<HttpRequest>,
    /// Tags to put on artifacts; applied only if it succeeded.
    pub tags: Vec<ArtifactTag>,
    /// What the cache has to say about it, if its action is cached.
    #[serde(default)]
    pub cache: Option<CacheNote>,
    /// What it was told, so that it can be replayed; recorded only if it succeeded.
    #[serde(default)]
    pub recording: Recording,
    /// The end of its log.
    pub log_to: LogPosition,
}

/// What the cache has to say about an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CacheNote {
    /// Why it ran, or why it did not.
    pub reason: String,
    /// What is remembered of it once it has succeeded.
    pub memory: Option<Memory>,
}

/// The result that an attempt takes from an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reuse {
    /// The earlier attempt.
    pub from: AttemptId,
    /// Its outputs, all of which are still in their places.
    pub outputs: Vec<ArtifactId>,
    /// The tags that it has put on its run.
    pub run_tags: Vec<Entry>,
}

/// The outputs that an attempt commits to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// Its end once they are published (`succeeded`).
    pub end: AttemptEnd,
    /// Whether the action returned `skip`. Recorded with the intent, so that recovery takes the
    /// right step.
    pub skip: bool,
    /// The files to publish.
    pub files: Vec<StagedFile>,
    /// Resources in which its outputs are `new` (`retrigger`), not `published`.
    pub retrigger: Vec<String>,
    /// Resources of which each output becomes a version of a model, with the name of the model.
    pub models: Vec<(String, String)>,
    /// The result that it takes from an earlier attempt; `files` is empty then.
    pub reuse: Option<Reuse>,
    /// Whether the commit has to survive a power cut with every durability, because what follows it
    /// happens outside of this machine's files and cannot be forgotten there.
    pub synced: bool,
}

impl Intent {
    /// Returns the model of which outputs in a resource become versions, if there is one.
    pub(super) fn model_of(&self, resource: &str) -> Option<&str> {
        self.models.iter().find(|(name, _)| name == resource).map(|(_, model)| model.as_str())
    }
}

/// The outputs of an attempt, now that they are visible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Visible {
    /// The stamp of each file of the intent, in its order. Where it is absent, the stamp of the
    /// staged file stays.
    pub stamps: Vec<Option<String>>,
    /// Whether the record has to survive a power cut with every durability: the staged files are
    /// removed after it, and could not be published again. As [`Intent::synced`].
    pub synced: bool,
}

/// Committed outputs of an attempt that the services that they are for did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// How the attempt ends: `failed`, or `cancelled` if they were given up.
    pub state: AttemptState,
    /// Why.
    pub error: ErrorInfo,
    /// The places of these outputs in the intent, each with the reason.
    pub files: Vec<(usize, String)>,
}

/// A run that has not ended, as a starting host finds it.
#[derive(Debug, Clone, PartialEq)]
pub struct UnfinishedRun {
    /// The run with its actions and attempts.
    pub detail: RunDetail,
    /// Its attempts that have not ended.
    pub attempts: Vec<UnfinishedAttempt>,
}

/// An attempt that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct UnfinishedAttempt {
    /// The token that permits writes for it.
    pub fence: Fence,
    /// Its action.
    pub action: String,
    /// The files that it has committed to publish, if it has passed its commit point: recovery
    /// publishes them.
    pub files: Option<Vec<StagedFile>>,
    /// Whether its host was asked to stop, and so was stopped or killed on purpose. It is handed
    /// back then: it has not crashed.
    pub stopped: bool,
    /// Whether it returned `skip`; see [`Intent::skip`].
    pub skip: bool,
    /// Whether it has committed to take its result from an earlier attempt; see [`Intent::reuse`].
    pub cached: bool,
    /// The message that it returned, if it has passed its commit point.
    pub message: Option<String>,
    /// The artifacts that its files became; in the order of `files`.
    pub artifacts: Vec<ArtifactId>,
}
