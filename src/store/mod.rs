//! Floor 4: what is on record.
//!
//! [`MetadataStore`] speaks the words of the domain. Each of its methods is **one transaction**: it happens as a whole, with
//! its events in it, or not at all. There is no `begin` and no `commit` in the trait, because a store without interactive
//! transactions (Redis: one Lua script a method) must be able to be one. The caller says what time it is, and makes the ids;
//! the store makes whatever must be dense or growing (sequence, run numbers, versions, fencing tokens).
//!
//! Rejected: a generic key-value trait (every rule would live in the callers, and be checked outside of a transaction), and one
//! `execute(sql)` (it would fit one kind of store only).
//!
//! What a method has returned survives the death of the process. Whether it survives a power cut is the store's setting of
//! durability: see [`Durability`](crate::model::Durability).

#[cfg(test)]
mod conformance;
mod error;
mod lease;
pub mod logs;
mod open;
mod query;
pub mod sqlite;
mod write;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::base::{ArtifactId, AttemptId, Digest, RunId, Timestamp};
use crate::model::{
    Artifact, Denial, Event, Facts, Fence, HttpRequest, KnownPath, LogPosition, MetricRecord, Page, ParamRecord,
    Pending, Run, RunDetail, RunTag, StagedFile, Tick,
};

pub use error::StoreError;
pub use lease::{Holder, HostLease};
pub use open::{HostStore, holder, open, open_read_only};
pub use query::{
    ArtifactQuery, ArtifactUse, FactQuery, LineageEdge, PageRequest, PublishedOutput, RunQuery, SnapshotQuery,
    TickQuery,
};
pub use write::{
    ActionChange, AttemptEnd, Batch, Claim, CreatedRun, Intent, MAX_TICKS, NewAttempt, NewRevision, NewRun, Recorded,
    Revision, RunChange, RunStep, StartedAttempt, UnfinishedAttempt, UnfinishedRun,
};

/// The result of a store's method.
pub type Result<T> = std::result::Result<T, StoreError>;

/// What is on record. See the module's docs for what holds for every method.
#[async_trait]
pub trait MetadataStore: Send + Sync + std::fmt::Debug {
    /// The epoch of this host: durably one more than any before it, raised when the store was opened.
    fn epoch(&self) -> u64;

    /// The sequence of the newest committed event; changes wake whoever waits. Cheap.
    fn newest_event(&self) -> watch::Receiver<u64>;

    // ── what is configured ──────────────────────────────────────────────────────────────────────────────────────────

    /// Puts a manifest on record under its digest. The second time, nothing happens.
    async fn register_revision(&self, revision: NewRevision, now: Timestamp) -> Result<()>;

    /// A manifest on record; `None` if there is none of this digest.
    async fn revision(&self, digest: Digest) -> Result<Option<Revision>>;

    /// Whether the pipeline is paused. Survives restarts.
    async fn paused(&self) -> Result<bool>;

    /// Pauses the pipeline, or lets it go on.
    async fn set_paused(&self, paused: bool, now: Timestamp) -> Result<()>;

    // ── artifacts ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// Records what a resource saw, in order, and says what was news and what waits there now. `Present` with the digest of the newest
    /// version at that path, if that one is still there, is no news (its stamp is taken over). Otherwise it is the next version, `new`; the one before becomes `superseded` if
    /// no run had claimed it. `Gone` makes an unclaimed version `deleted`. Nothing of this touches a claim. While an output is committed and not marked as
    /// published, what shows the state before it (nothing there, or what it replaces) is left out: it was seen too late. A rename of what is not
    /// on record is left out too: the next scan finds it.
    async fn record(&self, resource: &str, batch: Batch, now: Timestamp) -> Result<Recorded>;

    /// The cursor of a resource: that of the last [`Batch`] which had one. `None` if no batch had.
    async fn cursor(&self, resource: &str) -> Result<Option<String>>;

    /// The newest version at every path of a resource that is still there, `ignored` ones too: what the resource is reconciled with.
    async fn known(&self, resource: &str) -> Result<Vec<KnownPath>>;

    /// What waits in a resource. Cost does not grow with what is on record.
    async fn pending(&self, resource: &str) -> Result<Pending>;

    /// One artifact.
    async fn artifact(&self, id: ArtifactId) -> Result<Option<Artifact>>;

    /// Artifacts, newest first.
    async fn artifacts(&self, query: ArtifactQuery, page: PageRequest) -> Result<Page<Artifact>>;

    /// What a run sees in a resource, by path: the snapshot of its start, plus what the given actions published there in that run (the last, where two wrote
    /// a path). Paths that were `ignored` or gone at the start are not in it. The same on every attempt: what was replaced, deleted or renamed since is
    /// still shown, under the path and version that it had (where it lies now is asked for by id, with [`MetadataStore::artifact`]).
    async fn snapshot(&self, query: SnapshotQuery, page: PageRequest) -> Result<Page<Artifact>>;

    // ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Creates a run and claims its inputs: for each [`Claim`] the oldest `new` artifacts of that resource, at most as many as it says;
    /// they become `current`. Returns `None`, and does nothing, when a claim finds fewer than its `at_least`, or fewer bytes than its
    /// `min_bytes` (what waited was replaced or deleted meanwhile). The fired ticks are recorded with it, and its first step is taken, as by [`MetadataStore::advance`]. A run whose
    /// id exists is [`StoreError::Conflict`].
    async fn create_run(&self, run: NewRun, now: Timestamp) -> Result<Option<CreatedRun>>;

    /// Changes the state of a run and of its actions, and starts attempts, as the scheduler decided; for steps that no attempt's end causes.
    /// [`StoreError::Conflict`] if the run has ended, or an action has an attempt at work already. A run that is `cancelling` stays so until the step that ends it.
    async fn advance(&self, run: RunId, step: RunStep, now: Timestamp) -> Result<Vec<StartedAttempt>>;

    /// Ends an attempt that publishes nothing, and takes the step that follows from it. Accesses, denials, requests, usage and artifact tags (only of a success) are
    /// recorded with it; accesses and tags of what is not on record (a staged file that nobody publishes) are left out. Refused as
    /// [`StoreError::Fenced`] if the token is old or the attempt has ended, as [`StoreError::Conflict`] if it is `publishing`.
    async fn finish_attempt(
        &self,
        fence: Fence,
        end: AttemptEnd,
        step: RunStep,
        now: Timestamp,
    ) -> Result<Vec<StartedAttempt>>;

    /// The **commit point** of an attempt with outputs: the attempt becomes `publishing`; every staged file gets its record (the next version at
    /// its path, `published`); accesses, usage and tags are recorded. After this the outputs exist, and recovery only rolls forward.
    /// Before it, [`StoreError::PathTaken`] is the answer if a path is on record as present and `overwrite` is not set, and nothing has happened.
    /// A staged file whose digest is that of the newest, present version at its path makes no new version.
    async fn publish_intent(&self, fence: Fence, intent: Intent, now: Timestamp) -> Result<()>;

    /// Every staged file of the intent is visible: the attempt has succeeded; its outputs become `new` where the intent says so (not before: a run
    /// could claim what can not be read yet); takes the step that follows. Idempotent for a token that has published already: nothing happens.
    async fn published(&self, fence: Fence, step: RunStep, now: Timestamp) -> Result<Vec<StartedAttempt>>;

    /// Records that someone wants the run to end: it becomes `cancelling`. Returns the run, unchanged if it has ended;
    /// `None` if there is no such run. The scheduler does the rest, at the next start if no host is at work.
    async fn request_cancel(&self, run: RunId, now: Timestamp) -> Result<Option<Run>>;

    /// Takes up a run that has failed or was cancelled: its failed, skipped and cancelled actions become `pending` with their tries and crashes at zero, and
    /// the run `running`; its claims become `current` again. What was skipped because nothing had triggered it stays so. Returns the run; `None` if there is no such run; [`StoreError::Conflict`] if it has not ended, or
    /// has succeeded.
    async fn request_retry(&self, run: RunId, now: Timestamp) -> Result<Option<Run>>;

    /// Called once, when a host starts, before anything else is written: every unfinished attempt gets a token of this epoch, so that an older host is
    /// refused; returns every run that has not ended, with its attempts that have not ended and their publishing intents.
    async fn take_over(&self, now: Timestamp) -> Result<Vec<UnfinishedRun>>;

    /// A run that has not ended, as [`MetadataStore::take_over`] returns it, but without new tokens. `None` if there is no such run.
    async fn unfinished(&self, run: RunId) -> Result<Option<UnfinishedRun>>;

    /// One run with all that belongs to it.
    async fn run(&self, id: RunId) -> Result<Option<RunDetail>>;

    /// The id of the run with this number.
    async fn run_by_number(&self, number: u64) -> Result<Option<RunId>>;

    /// Runs, newest first.
    async fn runs(&self, query: RunQuery, page: PageRequest) -> Result<Page<Run>>;

    /// What every attempt of a run read and wrote, in the order of recording.
    async fn lineage(&self, run: RunId) -> Result<Vec<LineageEdge>>;

    /// Which attempts, of any run, read or wrote an artifact: newest first. Nothing, if there is no such artifact.
    /// For people who ask once: the cost may grow with what is on record.
    async fn uses(&self, artifact: ArtifactId, page: PageRequest) -> Result<Page<ArtifactUse>>;

    /// What every attempt of a run was refused, attempt by attempt, each in the order of the calls.
    async fn denials(&self, run: RunId) -> Result<Vec<(AttemptId, Denial)>>;

    /// What every attempt of a run asked for over the network, attempt by attempt, each in the order of the calls.
    async fn requests(&self, run: RunId) -> Result<Vec<(AttemptId, HttpRequest)>>;

    /// What the given actions published to a resource in a run, by path. For the inputs of an action.
    async fn outputs(&self, run: RunId, resource: &str, actions: &[String]) -> Result<Vec<Artifact>>;

    /// The outputs of intents whose attempt is still `publishing`, in any run.
    async fn open_intents(&self) -> Result<Vec<PublishedOutput>>;

    // ── facts ───────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Records metrics, params and tags of an attempt at work. Fenced.
    async fn record_facts(&self, fence: Fence, facts: Facts, now: Timestamp) -> Result<()>;

    /// Metrics, newest first.
    async fn metrics(&self, query: FactQuery, page: PageRequest) -> Result<Page<MetricRecord>>;

    /// Params, newest first.
    async fn params(&self, query: FactQuery, page: PageRequest) -> Result<Page<ParamRecord>>;

    /// Tags of runs, newest first.
    async fn tags(&self, query: FactQuery, page: PageRequest) -> Result<Page<RunTag>>;

    // ── triggers, events ────────────────────────────────────────────────────────────────────────────────────────────

    /// Records an evaluation of a trigger that did not fire (one that did is recorded by `create_run`). One
    /// that says what the one before of that resource said is left out. At most [`MAX_TICKS`] are kept.
    async fn record_tick(&self, tick: Tick) -> Result<()>;

    /// Ticks, newest first.
    async fn ticks(&self, query: TickQuery, page: PageRequest) -> Result<Page<Tick>>;

    /// Events after a sequence number, oldest first, at most `limit`; only those of a run if one is given.
    async fn events(&self, after: u64, run: Option<RunId>, limit: u32) -> Result<Vec<Event>>;

    /// The sequence of the oldest event that is still kept; one more than the newest if there is none.
    async fn oldest_event(&self) -> Result<u64>;

    /// Drops events but for the newest `keep`.
    async fn prune_events(&self, keep: u64) -> Result<u64>;

    /// Where an attempt's log begins and ends; `None` if there is no such attempt.
    async fn log_bounds(&self, attempt: AttemptId) -> Result<Option<(LogPosition, Option<LogPosition>)>>;
}

/// The staged files of an intent whose attempt has not ended, grouped for roll-forward.
pub type StagedFiles = Vec<StagedFile>;
