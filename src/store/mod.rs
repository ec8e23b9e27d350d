//! Floor 4: the metadata store, which holds runs, attempts, artifacts, facts and events.
//!
//! [`MetadataStore`] is a trait in terms of the domain. Each method that writes is **one
//! transaction**: all of it happens, with its events, or none of it. The trait has no `begin` and
//! no `commit`, because a store without interactive transactions (Redis: one Lua script per method)
//! must be able to implement it. The caller says what time it is and makes the ids of runs,
//! attempts, artifacts and writes; the store makes what must be dense or growing (sequence, run
//! numbers, versions, fencing tokens).
//!
//! # State after a crash
//!
//! A method that has returned `Ok` survives the death of the process. A process that dies before a
//! method returns finds, at the next start, either nothing of the write or all of it. Whether a
//! write survives a power cut is the store's setting, see [`Durability`](crate::model::Durability).
//! The docs of each writing method say what the next host does in either case.
//!
//! # Repeated writes
//!
//! [`StoreError::Unavailable`] does not say whether the write happened: a server may commit and
//! lose the connection before it answers. The caller then calls again with **the same arguments**,
//! above all the same ids, and the store answers as it did the first time, without doing anything
//! again. `now` may differ: the first one counts. Each method's docs name the id by which it
//! recognises a repeat. A store has to recognise a repeat only until the next write about the same
//! subject (the same run, attempt or resource), because a caller repeats a write before it
//! continues. Another write under an id that is on record is [`StoreError::Conflict`] or
//! [`StoreError::Fenced`].
//!
//! The alternative, a log of all write ids with their answers, would be simpler to specify, but
//! would cost each transaction one more page. Most ids are in rows that the write needs anyway.
//!
//! # Rejected
//!
//! A generic key-value trait (all rules would be in the callers, and be checked outside of a
//! transaction), and one `execute(sql)` (it fits only one kind of store).

mod again;
pub mod components;
#[cfg(test)]
mod conformance;
mod decision;
mod error;
mod keeper;
mod lease;
mod lineage;
mod lock;
pub mod logs;
mod new_event;
mod open;
mod page;
mod path_range;
pub mod postgres;
mod presence;
mod query;
pub mod redis;
mod repeat;
mod retention;
mod rival;
mod run_key;
pub mod sqlite;
mod steps;
mod upkeep;
mod views;
mod waiting;
mod writable;
mod write;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::base::{ArtifactId, AttemptId, Digest, NotificationId, RunId, Timestamp, WriteId};
use crate::model::{
    Artifact, Decision, Delivery, Denial, EndedRun, Event, Facts, Fence, HttpRequest, KnownPath, LogRange,
    MetricRecord, NodeKind, Notification, NotifyCause, Page, ParamRecord, Pause, Pending, Recording, Remembered, Run,
    RunDetail, RunState, RunTag, Tick, TriggerMark,
};

pub use again::{named_inputs, what_next};
pub use error::StoreError;
pub use lease::{Holder, HostLease, Loss, Process};
pub use lineage::{LineageSide, MAX_LINEAGE_DEPTH, walk_lineage};
pub use open::{HostStore, empty, holder, open, open_host, open_read_only, open_upkeep, open_views};
pub use query::{
    ACCESSES_LOOKED_AT, ATTEMPT_RUNS, AccessSum, ActionAttempt, ArtifactQuery, ArtifactUse, AwaitingApproval,
    FactQuery, FilterError, LineageEdge, NotificationQuery, PageRequest, ParamFilter, PublishedOutput, ResourceAccess,
    RunQuery, RunSort, SnapshotQuery, TagFilter, TickQuery,
};
pub use repeat::repeat_briefly;
pub use retention::{GoneRuns, OldRun, OldRuns, Removal, Removed, RemovedRows, RunsToKeep};
pub use upkeep::{Copied, StorePart, Upkeep};
pub use views::{RowSink, VIEWS, Value, Views};
pub(crate) use writable::make_folder;
pub use write::{
    ActionChange, AttemptEnd, Batch, CacheNote, Claim, CreatedRun, Intent, MAX_MEMORIES, MAX_NOTIFICATIONS, MAX_TICKS,
    NewAttempt, NewRevision, NewRun, Recorded, Refusal, Reuse, Revision, RunChange, RunStep, StartedAttempt,
    UnfinishedAttempt, UnfinishedRun, Visible,
};

/// The most runs that a page of [`GuestRecords::runs`] looks at, for each state in the query.
pub const MAX_RUNS_LOOKED_AT: usize = 10_000;

/// The result of a store's method.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The records that a guest can read and write. The sandbox needs no other part of a store, so that
/// it can run on another machine than the store.
#[async_trait]
pub trait GuestRecords: Send + Sync + std::fmt::Debug {
    /// Returns an artifact, with its current path. `None` if no artifact has this id.
    async fn artifact(&self, id: ArtifactId) -> Result<Option<Artifact>>;

    /// Returns what a run sees in a resource, by path: the snapshot of its start, and the outputs
    /// of the given actions in that run (the last version, if two wrote the same path). Paths that
    /// were `ignored` or gone at the start are left out. The answer is the same for every attempt:
    /// a version that was replaced, deleted or renamed since is still listed, under the path and
    /// version number that it had. [`GuestRecords::artifact`] says where it is now.
    async fn snapshot(&self, query: SnapshotQuery, page: PageRequest) -> Result<Page<Artifact>>;

    /// Returns the outputs of the given actions in a resource and a run, by path. They are inputs
    /// of the actions after them.
    async fn outputs(&self, run: RunId, resource: &str, actions: &[String]) -> Result<Vec<Artifact>>;

    /// Returns the outputs of all intents whose attempt is still `publishing`, in any run.
    async fn open_intents(&self) -> Result<Vec<PublishedOutput>>;

    /// Counts the pending artifacts of a resource. The cost does not grow with the records.
    async fn pending(&self, resource: &str) -> Result<Pending>;

    /// Lists the pending artifacts of a resource, oldest first.
    async fn pending_artifacts(&self, resource: &str, page: PageRequest) -> Result<Page<Artifact>>;

    /// Lists what lies in a resource now, by path, whatever runs have taken. Leaves out what is
    /// `ignored`. The cursor is the last path of the page before.
    async fn present_artifacts(&self, resource: &str, page: PageRequest) -> Result<Page<Artifact>>;

    /// Lists runs, newest first unless the query says otherwise.
    ///
    /// The cost of a page does not grow with the records: each filter and each order has an index.
    /// A page reads the index of one filter (in this order: param, tag, trigger, states) or of the
    /// numbers, between the numbers that `since` and `until` leave, and compares the other filters
    /// with at most [`MAX_RUNS_LOOKED_AT`] runs there. If so many do not fill it, the page is
    /// short, or even empty, and has a cursor with which the next one continues. A list by duration
    /// reads the index of durations. `since` and `until` may miss runs from a time over which the
    /// clock was set back, if that time has more than a thousand runs.
    async fn runs(&self, query: RunQuery, page: PageRequest) -> Result<Page<Run>>;

    /// Lists metrics, newest first.
    async fn metrics(&self, query: FactQuery, page: PageRequest) -> Result<Page<MetricRecord>>;

    /// Records metrics, params and tags of a running attempt.
    ///
    /// Crash before it commits: the facts are missing, and the attempt has crashed with the host.
    /// After: they are on record as facts of an attempt that did not succeed. Repeat: recognised by
    /// `id`, if it is the last of the attempt; the facts are not recorded again. Fenced.
    async fn record_facts(&self, fence: Fence, id: WriteId, facts: Facts, now: Timestamp) -> Result<()>;
}

/// The metadata store. The module's docs say what holds for all methods.
#[async_trait]
pub trait MetadataStore: GuestRecords {
    /// Returns the epoch of this host, which is one more than that of any host before it. Opening
    /// the store raises it durably.
    fn epoch(&self) -> u64;

    /// Checks whether the store takes records now, without writing anything: a write would fail or
    /// wait in the same way.
    async fn probe(&self) -> Result<()>;

    /// Returns what people should know about a store that works, such as that its files grow.
    /// Cheap.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the version of the schema of the records, if this kind of store has one. Cheap.
    fn schema_version(&self) -> Option<usize> {
        None
    }

    /// Returns the sequence of the newest committed event, which is not older than those of methods
    /// that have returned. A change wakes the waiting tasks. Cheap.
    fn newest_event(&self) -> watch::Receiver<u64>;

    // ── configuration ────────────────────────────────────────────────────────────────────────────

    /// Records a manifest under its digest.
    ///
    /// Crash before or after: the next host registers its own manifest again. Repeat: recognised by
    /// the digest.
    async fn register_revision(&self, revision: NewRevision, now: Timestamp) -> Result<()>;

    /// Returns the manifest with this digest. `None` if it is not on record.
    async fn revision(&self, digest: Digest) -> Result<Option<Revision>>;

    /// Returns whether the pipeline is paused.
    async fn paused(&self) -> Result<bool>;

    /// Pauses or resumes the pipeline.
    ///
    /// Crash before: the pipeline is as it was. After: the next host starts paused, or not. Repeat:
    /// setting what is set changes nothing and makes no event.
    async fn set_paused(&self, paused: bool, now: Timestamp) -> Result<()>;

    /// Pauses a resource or an action, and returns the pause on record. The store does not know
    /// which names exist. If it is paused already, `since` stays, and another reason, if one is
    /// given, replaces the one on record.
    ///
    /// Crash before: it is as it was. After: the next host starts with the pause. Repeat: pausing
    /// what is paused for the same reason changes nothing and makes no event.
    async fn pause_node(&self, kind: NodeKind, name: &str, reason: Option<String>, now: Timestamp) -> Result<Pause>;

    /// Ends the pause of a resource or an action.
    ///
    /// Crash before: it is as it was. After: the next host starts without the pause. Repeat:
    /// resuming what is not paused changes nothing and makes no event.
    async fn resume_node(&self, kind: NodeKind, name: &str, now: Timestamp) -> Result<()>;

    /// Returns the paused resources and actions, by kind and name.
    async fn paused_nodes(&self) -> Result<Vec<Pause>>;

    // ── artifacts ────────────────────────────────────────────────────────────────────────────────

    /// Records the observations of a resource, in order, and its new cursor. Returns how many
    /// artifacts were new, and how many are pending.
    ///
    /// `Present` with the digest of the newest version at the path, if that version is still there,
    /// is not new; only its stamp is updated. Where one of the two has no digest, their stamps are
    /// compared. Otherwise it becomes the next version, in state `new`, and the version before
    /// becomes `superseded` unless a run has claimed it. `Gone` makes an unclaimed version
    /// `deleted`. No observation touches a claim. An observation that contradicts an output which
    /// was published after the event [`Batch::as_of`], or is committed and not yet published, is
    /// not recorded: it may be older than the output. [`Recorded::outdated`] names it. A rename of
    /// a path that is not on record is dropped; the next scan finds the file.
    ///
    /// Crash before: when the resource is reconciled at the next start, it continues from its
    /// previous cursor and sees everything again. After: the artifacts wait for a run. Repeat:
    /// recognised by [`Batch::id`], if it is the last of the resource.
    async fn record(&self, resource: &str, batch: Batch, now: Timestamp) -> Result<Recorded>;

    /// Returns the cursor of a resource: that of the last [`Batch`] that had one. `None` if none
    /// had.
    async fn cursor(&self, resource: &str) -> Result<Option<String>>;

    /// Lists the version that is present at each path of a resource, by path, including `ignored`
    /// ones. A resource is reconciled with these. The only writer of the resource must not record
    /// anything between the pages.
    async fn known(&self, resource: &str, page: PageRequest) -> Result<Page<KnownPath>>;

    /// Lists the digests of the artifacts of a resource that runs need: those that are `new`, and
    /// the inputs (claimed and given) and the outputs of each run that has not ended. An artifact
    /// counts wherever it is, and even if it was replaced. Digests may repeat, and a page may be
    /// empty although others follow. What is claimed while the pages are read is on one of them;
    /// what a new run is given meanwhile may not be.
    async fn needed(&self, resource: &str, page: PageRequest) -> Result<Page<Digest>>;

    /// Lists artifacts, newest first.
    async fn artifacts(&self, query: ArtifactQuery, page: PageRequest) -> Result<Page<Artifact>>;

    // ── runs ─────────────────────────────────────────────────────────────────────────────────────

    /// Creates a run and claims its inputs: for each [`Claim`] the oldest `new` artifacts of that
    /// resource, at most as many as it says. They become `current`. Records the ticks that fired
    /// and the marks of their triggers, and takes the first step of the run like
    /// [`MetadataStore::advance`]. Returns `None` and changes nothing if a claim finds fewer
    /// artifacts than its `at_least`, or fewer bytes than its `min_bytes` (pending artifacts were
    /// replaced or deleted meanwhile).
    ///
    /// Crash before: there is no run, and its inputs stay pending. After: the next host gets the
    /// run from [`MetadataStore::take_over`] with the attempts of its first step. Repeat:
    /// recognised by [`NewRun::id`]; a run of this id with another content is a
    /// [`StoreError::Conflict`]. After `None` nothing is on record, so a repeat may create the run.
    async fn create_run(&self, run: NewRun, now: Timestamp) -> Result<Option<CreatedRun>>;

    /// Takes a step of a run that does not follow from the end of an attempt: changes the states of
    /// the run and its actions and starts attempts, as the scheduler decided.
    /// [`StoreError::Conflict`] if the run has ended, or an action has an active attempt already.
    /// A run that is `cancelling` stays so until the step that ends it.
    ///
    /// Crash before: the next host decides the step again. After: it finds the attempts that were
    /// started, and counts them as crashed (or as handed back; see [`MetadataStore::note_stop`]).
    /// Repeat: recognised by `id`, if it is the last such step of the run.
    async fn advance(&self, run: RunId, id: WriteId, step: RunStep, now: Timestamp) -> Result<Vec<StartedAttempt>>;

    /// Ends an attempt that publishes nothing, and takes the step that follows from it. Records
    /// accesses, denials, requests, usage, and the artifact tags if it succeeded; leaves out
    /// accesses and tags of artifacts that are not on record (staged files that are not published).
    /// [`StoreError::Fenced`] if the token is old or the attempt has ended otherwise,
    /// [`StoreError::Conflict`] if it is `publishing`.
    ///
    /// Crash before: the next host finds the attempt unfinished, and counts it as crashed. After:
    /// it continues from the step. Repeat: recognised by the attempt with the same end on record.
    async fn finish_attempt(
        &self,
        fence: Fence,
        end: AttemptEnd,
        step: RunStep,
        now: Timestamp,
    ) -> Result<Vec<StartedAttempt>>;

    /// The **commit point** of an attempt with outputs. The attempt becomes `publishing`; every
    /// staged file gets its record (the next version at its path, in state `published`, or the
    /// present version if the digest is the same); accesses, usage and tags are recorded.
    /// [`StoreError::PathTaken`], with no change, if a path is on record as present and `overwrite`
    /// is not set.
    ///
    /// With [`Intent::reuse`] the outputs of the earlier attempt become outputs of this run as
    /// well, and its metrics and params are recorded again for this attempt.
    /// [`StoreError::Conflict`], with no change, if that attempt has no result, or one of its
    /// outputs is not in its place any more. From then on this attempt is the one that is
    /// remembered.
    ///
    /// Crash before: the next host discards the staged files and counts the attempt as crashed.
    /// After: it makes the files visible and calls [`MetadataStore::published`]; nothing takes the
    /// outputs back. With [`Intent::synced`] the commit survives a power cut too. Repeat:
    /// recognised by the attempt with the same intent on record.
    async fn publish_intent(&self, fence: Fence, intent: Intent, now: Timestamp) -> Result<()>;

    /// Records that every staged file of the intent is visible: the attempt has succeeded, and its
    /// outputs become `new` where the intent says so (not earlier: a run could claim a file that
    /// cannot be read yet). Takes the step that follows.
    ///
    /// Crash before: the next host makes the files visible again, which changes nothing, and calls
    /// this. After: it continues from the step. Repeat: recognised by the attempt; a step that
    /// starts other attempts is a [`StoreError::Conflict`].
    async fn published(
        &self,
        fence: Fence,
        visible: Visible,
        step: RunStep,
        now: Timestamp,
    ) -> Result<Vec<StartedAttempt>>;

    /// Like [`MetadataStore::published`], when services did not take some of the outputs: the
    /// attempt ends as the refusal says. The outputs that it names become `not_taken`, with the
    /// reason. They hold their paths no more, and are no outputs of the run; what one of them had
    /// replaced is at its path again, unless something else is. The others are visible.
    ///
    /// Crash and repeat: as for [`MetadataStore::published`].
    async fn refused(
        &self,
        fence: Fence,
        visible: Visible,
        refusal: Refusal,
        step: RunStep,
        now: Timestamp,
    ) -> Result<Vec<StartedAttempt>>;

    /// Requests the cancellation of a run: it becomes `cancelling`, and the scheduler ends it.
    /// Returns the run, unchanged if it has ended; `None` if there is no such run.
    ///
    /// Crash before: the run continues. After: the next host ends it. Repeat: a run that is
    /// `cancelling` is returned as it is.
    async fn request_cancel(&self, run: RunId, now: Timestamp) -> Result<Option<Run>>;

    /// Resumes a run that has ended: its failed, skipped and cancelled actions, and those in
    /// `again`, whatever their state, become `pending`, with no tries and crashes counted, the run
    /// becomes `running`, its claims `current`. An action that was skipped because nothing had
    /// triggered it stays so. What an action in `again` has published stays until it succeeds
    /// again; from then on only its new outputs are outputs of the run. Returns the run; `None` if
    /// there is no such run; [`StoreError::Conflict`] if it has not ended, or if it has succeeded
    /// and `again` is empty; [`StoreError::Invalid`] if the run has no action of such a name.
    ///
    /// Crash before: the run stays ended. After: the next host gets it from
    /// [`MetadataStore::take_over`]. Repeat: recognised by `id`, if it is the last retry of the
    /// run; the run is returned as it is now.
    async fn request_retry(&self, run: RunId, again: &[String], id: WriteId, now: Timestamp) -> Result<Option<Run>>;

    /// Records the decision about an action that waits for approval; the scheduler takes the step
    /// that follows. Returns the run; `None` if there is no such run; [`StoreError::Conflict`] if
    /// the action does not wait, its run is being cancelled, or there is another decision, which
    /// stands; [`StoreError::Invalid`] if a text of the decision is too long.
    ///
    /// Crash before: the action waits. After: the next host continues from the decision. Repeat:
    /// recognised by `id`, or by the same verdict, person and note.
    async fn decide_approval(&self, run: RunId, action: &str, decision: Decision, id: WriteId) -> Result<Option<Run>>;

    /// Lists the actions that wait for approval, in the order in which they asked. The cost grows
    /// only with their number.
    async fn awaiting_approval(&self, page: PageRequest) -> Result<Page<AwaitingApproval>>;

    /// Gives every unfinished attempt of an earlier epoch a token of this epoch, so that writes of
    /// the host before are refused. Returns every run that has not ended, with its unfinished
    /// attempts and their publishing intents. A host calls it once, when it starts, before any
    /// other write.
    ///
    /// Crash before or after: the next host has a higher epoch, and calls it again. Repeat:
    /// attempts with a token of this epoch keep it.
    async fn take_over(&self, now: Timestamp) -> Result<Vec<UnfinishedRun>>;

    /// Records that this host was asked to stop. If it is killed before its attempts have ended,
    /// the next host finds them marked as [`UnfinishedAttempt::stopped`].
    ///
    /// Crash before: the next host counts its unfinished attempts as crashed. After: it hands them
    /// back. Repeat: no change. It holds for the epoch of this host alone, so nothing takes it
    /// back.
    async fn note_stop(&self) -> Result<()>;

    /// Returns a run that has not ended, as [`MetadataStore::take_over`] does, without new tokens.
    /// `None` if there is no such run.
    async fn unfinished(&self, run: RunId) -> Result<Option<UnfinishedRun>>;

    /// Lists the inputs of a run, claimed and given, in the order of recording. Empty if there is
    /// no such run.
    async fn run_inputs(&self, run: RunId, page: PageRequest) -> Result<Page<Artifact>>;

    /// Counts the inputs of a run, claimed and given.
    async fn count_inputs(&self, run: RunId) -> Result<u64>;

    /// Returns a run with its actions and attempts.
    async fn run_progress(&self, id: RunId) -> Result<Option<RunDetail>>;

    /// Returns a run without its actions and attempts.
    async fn run_summary(&self, id: RunId) -> Result<Option<Run>>;

    /// Counts the runs in a state. The cost may grow with their number, so callers ask only for
    /// states that runs leave again.
    async fn count_runs(&self, state: RunState) -> Result<u64>;

    /// Returns the id of the run with this number.
    async fn run_by_number(&self, number: u64) -> Result<Option<RunId>>;

    /// Lists what every attempt of a run read and wrote, in the order of recording.
    async fn lineage(&self, run: RunId, page: PageRequest) -> Result<Page<LineageEdge>>;

    /// Lists the attempts, of any run, that read or wrote an artifact, newest first. Empty if there
    /// is no such artifact.
    async fn uses(&self, artifact: ArtifactId, page: PageRequest) -> Result<Page<ArtifactUse>>;

    /// Returns the use in which an action wrote an artifact. `None` if no action has written it.
    async fn writer(&self, artifact: ArtifactId) -> Result<Option<ArtifactUse>>;

    /// Lists the newest attempts that read, wrote or were denied a resource, newest first, at most
    /// `limit`. Looks at the newest [`ACCESSES_LOOKED_AT`] records only, so that no index has to
    /// be written with each of them.
    async fn resource_accesses(&self, resource: &str, limit: u32) -> Result<Vec<ResourceAccess>>;

    /// Lists the attempts of an action in the newest [`ATTEMPT_RUNS`] runs, newest run first. The
    /// bound avoids an index, which every attempt would have to be written to. It means that an
    /// action that has not run in these runs has no attempts to list, and that the cost does not
    /// grow with history.
    async fn action_attempts(&self, action: &str, page: PageRequest) -> Result<Page<ActionAttempt>>;

    /// Lists the denied calls of a run, attempt by attempt, in the order of the calls.
    async fn denials(&self, run: RunId) -> Result<Vec<(AttemptId, Denial)>>;

    /// Lists the network requests of a run, attempt by attempt, in the order of the calls.
    async fn requests(&self, run: RunId) -> Result<Vec<(AttemptId, HttpRequest)>>;

    /// Returns what an attempt was told, if it has succeeded. `None` if it has not, or was told
    /// nothing that is not on record elsewhere.
    async fn recording(&self, attempt: AttemptId) -> Result<Option<Recording>>;

    /// Returns what is remembered of attempts of an action that have succeeded ([`CacheNote`]):
    /// first the one with this fingerprint and these inputs, if there is one, then the newest, at
    /// most `limit`. The store keeps the newest of each fingerprint and inputs, and of each action
    /// about [`MAX_MEMORIES`].
    async fn remembered(
        &self,
        action: &str,
        fingerprint: Digest,
        inputs: Digest,
        limit: u32,
    ) -> Result<Vec<Remembered>>;

    // ── facts ────────────────────────────────────────────────────────────────────────────────────

    /// Lists params, newest first.
    async fn params(&self, query: FactQuery, page: PageRequest) -> Result<Page<ParamRecord>>;

    /// Lists tags of runs, newest first.
    async fn tags(&self, query: FactQuery, page: PageRequest) -> Result<Page<RunTag>>;

    // ── triggers, events ─────────────────────────────────────────────────────────────────────────

    /// Records an evaluation of a trigger that did not fire ([`MetadataStore::create_run`] records
    /// those that did). The store keeps at most [`MAX_TICKS`].
    ///
    /// Crash before or after: the next host evaluates its triggers again. Repeat: a tick with the
    /// outcome, the reason and the conditions of the one before it, of the same trigger, is
    /// dropped.
    async fn record_tick(&self, tick: Tick) -> Result<()>;

    /// Lists ticks, newest first.
    async fn ticks(&self, query: TickQuery, page: PageRequest) -> Result<Page<Tick>>;

    /// Returns what the conditions of triggers have accounted for, by trigger and condition.
    async fn trigger_marks(&self) -> Result<Vec<TriggerMark>>;

    /// Replaces all marks ([`MetadataStore::create_run`] sets those of the triggers that fired):
    /// the marks of new conditions are added, those of conditions that are gone are dropped, and a
    /// time of a schedule at which nothing could start is accounted for.
    ///
    /// Crash before: the next host decides the same again. After: the marks are in force. Repeat:
    /// setting the same marks again changes nothing.
    async fn set_trigger_marks(&self, marks: Vec<TriggerMark>) -> Result<()>;

    /// Returns at most `limit` runs that ended in `state` after one event and before another,
    /// newest first. A run that is retried counts again when it ends again, and not until then.
    /// Runs that ended before the store kept this order are left out.
    async fn ended_runs(&self, state: RunState, after: u64, before: u64, limit: u32) -> Result<Vec<EndedRun>>;

    /// Returns at most `limit` events after a sequence number, oldest first; only those of a run if
    /// one is given.
    async fn events(&self, after: u64, run: Option<RunId>, limit: u32) -> Result<Vec<Event>>;

    /// Returns the sequence of the oldest retained event; one more than the newest if there is
    /// none.
    async fn oldest_event(&self) -> Result<u64>;

    /// Drops all events but the newest `keep`.
    ///
    /// Crash before or after: the next host prunes again. May be several transactions. Repeat:
    /// nothing is left to drop.
    async fn prune_events(&self, keep: u64) -> Result<()>;

    // ── retention ────────────────────────────────────────────────────────────────────────────────

    /// Lists runs with a number below `below` (without it, all) that have ended and that nothing
    /// keeps, newest first, with what is removed with them. Runs in `gone` count as removed: what
    /// only they have read is not needed. Looks at a bounded number of runs, of which all may be
    /// kept.
    async fn old_runs(&self, keep: RunsToKeep, gone: GoneRuns, below: Option<u64>) -> Result<OldRuns>;

    /// Removes the first of these runs, in their order, and leaves out those that have not ended or
    /// that something keeps now. [`RunsToKeep::newest`] is not looked at again. Removes a bounded
    /// number of records, so that other writes wait only briefly; the caller goes on with the runs
    /// that are not done. Numbers of runs and events are not given again.
    ///
    /// Crash before: nothing of this call is removed. After: the next host goes on. Repeat: what
    /// was removed is not there any more, and is not counted again.
    async fn remove_runs(&self, keep: RunsToKeep, runs: Vec<u64>, now: Timestamp) -> Result<Removed>;

    // ── notifications ────────────────────────────────────────────────────────────────────────────

    /// Returns the last event that was examined for notifications. `None` if there never was a
    /// receiver.
    async fn notified(&self) -> Result<Option<u64>>;

    /// Records notifications that wait for their delivery, and that the events up to `examined` led
    /// to no others. The store keeps at most [`MAX_NOTIFICATIONS`].
    ///
    /// Crash before: the next host examines the same events again. After: it delivers what waits.
    /// Repeat: each notification is recognised by its id; `examined` never goes back.
    async fn record_notifications(&self, examined: Option<u64>, new: Vec<Notification>) -> Result<()>;

    /// Returns which receivers were told that a resource cannot be reached, as pairs of the
    /// resource and the receiver. [`MetadataStore::record_notifications`] adds those of
    /// notifications with that cause, and [`MetadataStore::note_reachable`] removes them.
    async fn told_outages(&self) -> Result<Vec<(String, String)>>;

    /// Records that a resource can be reached again, so that its next outage is reported.
    ///
    /// Crash before: the next host finds that itself. After: it is on record. Repeat: no change.
    async fn note_reachable(&self, resource: &str) -> Result<()>;

    /// Records the result of an attempt to deliver a notification. One that was delivered or given
    /// up is not changed, and one that is not on record is ignored.
    ///
    /// Crash before: the next host delivers it again. After: it is on record. Repeat: no change.
    async fn note_delivery(&self, id: NotificationId, delivery: Delivery, now: Timestamp) -> Result<()>;

    /// Lists at most `limit` notifications for a receiver that wait for their delivery, oldest
    /// first.
    async fn waiting_notifications(&self, name: &str, limit: u32) -> Result<Vec<Notification>>;

    /// Returns the newest notification for a receiver with this cause about this resource, or about
    /// none.
    async fn last_notification(
        &self,
        name: &str,
        cause: NotifyCause,
        resource: Option<&str>,
    ) -> Result<Option<Notification>>;

    /// Lists notifications, newest first.
    async fn notifications(&self, query: NotificationQuery, page: PageRequest) -> Result<Page<Notification>>;

    /// Returns the log positions of every attempt of every run that has not ended, in no order: the
    /// log store must keep these lines.
    async fn unfinished_logs(&self) -> Result<Vec<LogRange>>;
}
