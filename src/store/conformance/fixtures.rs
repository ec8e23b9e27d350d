//! Short helpers for the cases.

use std::sync::Arc;

pub(super) use crate::base::WriteId;
use crate::base::{ArtifactId, AttemptId, Digest, RunId, Timestamp};
use crate::model::{
    ActionState, Artifact, ArtifactState, AttemptState, Event, EventKind, Fence, LogPosition, Observation, Recording,
    RunAction, RunState, StagedFile, Usage,
};
use crate::store::{
    ActionChange, ArtifactQuery, AttemptEnd, Batch, Claim, CreatedRun, Intent, MetadataStore, NewAttempt, NewRevision,
    NewRun, PageRequest, Recorded, RunChange, RunStep, Visible,
};

/// A moment.
pub(super) fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(1_772_366_400_000_000 + micros)
}

/// The first page, of maximum size.
pub(super) fn all() -> PageRequest {
    PageRequest { cursor: None, limit: 1_000 }
}

pub(super) fn present(path: &str, content: &str) -> Observation {
    Observation::Present {
        path: path.to_owned(),
        digest: Some(Digest::of(content.as_bytes())),
        size: content.len() as u64,
        stamp: format!("stamp of {content}"),
    }
}

pub(super) fn gone(path: &str) -> Observation {
    Observation::Gone { path: path.to_owned() }
}

pub(super) fn renamed(from: &str, to: &str) -> Observation {
    Observation::Renamed { from: from.to_owned(), to: to.to_owned(), stamp: format!("stamp at {to}") }
}

pub(super) fn ignored(path: &str, reason: &str) -> Observation {
    Observation::Ignored { path: path.to_owned(), reason: reason.to_owned(), stamp: String::new() }
}

pub(super) async fn record(store: &dyn MetadataStore, seen: Vec<Observation>) -> Recorded {
    let as_of = *store.newest_event().borrow();
    store.record("raw", Batch::new(seen, as_of), at(10)).await.unwrap()
}

/// All versions at a path of `raw`, oldest first: version and state.
pub(super) async fn versions(store: &dyn MetadataStore, path: &str) -> Vec<(u64, ArtifactState, bool)> {
    let mut found = artifacts_at(store, "raw", path).await;
    found.reverse();
    found.iter().map(|it| (it.version, it.state, it.present)).collect()
}

/// All versions at a path, newest first.
pub(super) async fn artifacts_at(store: &dyn MetadataStore, resource: &str, path: &str) -> Vec<Artifact> {
    let query =
        ArtifactQuery { resource: Some(resource.to_owned()), path: Some(path.to_owned()), ..ArtifactQuery::default() };
    store.artifacts(query, all()).await.unwrap().items
}

/// What a run claimed.
pub(super) async fn inputs_of(store: &dyn MetadataStore, run: RunId) -> Vec<Artifact> {
    store.run_inputs(run, all()).await.unwrap().items
}

pub(super) fn revision() -> NewRevision {
    NewRevision {
        digest: Digest::of(b"manifest"),
        manifest: "manifest_version = 1".to_owned(),
        components: vec![("train".to_owned(), Digest::of(b"component"))],
    }
}

pub(super) fn action(name: &str) -> RunAction {
    RunAction::pending(name)
}

pub(super) fn claim(at_most: Option<u64>, at_least: u64) -> Claim {
    Claim { resource: "raw".to_owned(), at_most, at_least, min_bytes: 0, only: None }
}

/// A run of `first` and `second` that claims all that waits in `raw`.
pub(in crate::store) fn new_run() -> NewRun {
    NewRun {
        id: RunId::new(),
        trigger: "something arrived".to_owned(),
        params: serde_json::json!({ "seed": 7 }),
        revision: revision().digest,
        claims: vec![claim(None, 0)],
        actions: vec![action("first"), action("second")],
        ticks: Vec::new(),
        fired_by: Vec::new(),
        partition: None,
        marks: Vec::new(),
        step: RunStep::default(),
        given: Vec::new(),
        rerun_of: None,
    }
}

pub(super) async fn create(store: &dyn MetadataStore, run: NewRun) -> CreatedRun {
    store.register_revision(revision(), at(0)).await.unwrap();
    store.create_run(run, at(20)).await.unwrap().unwrap()
}

pub(super) fn attempt(action: &str, number: u32) -> NewAttempt {
    NewAttempt {
        id: AttemptId::new(),
        action: action.to_owned(),
        number,
        component_digest: Digest::of(b"component"),
        grants: Arc::new(serde_json::json!({ "reads": ["raw"] })),
        log_from: LogPosition::from_parts((1, 100)),
    }
}

pub(super) fn starts(attempts: Vec<NewAttempt>) -> RunStep {
    RunStep { starts: attempts, ..RunStep::default() }
}

pub(super) fn run_becomes(state: RunState, reason: Option<&str>) -> RunStep {
    RunStep { run: Some(RunChange { state, reason: reason.map(str::to_owned) }), ..RunStep::default() }
}

pub(super) fn becomes(name: &str, before: ActionState, state: ActionState) -> ActionChange {
    ActionChange { action: RunAction { state, attempts: 1, tries: 1, ..action(name) }, before }
}

/// A run with a running attempt of `first`.
pub(in crate::store) async fn started(store: &dyn MetadataStore, run: NewRun) -> (RunId, Fence) {
    let id = create(store, run).await.detail.run.id;
    (id, start(store, id, "first", 1).await)
}

pub(super) async fn start(store: &dyn MetadataStore, run: RunId, action: &str, number: u32) -> Fence {
    let started = store.advance(run, WriteId::new(), starts(vec![attempt(action, number)]), at(30)).await.unwrap();
    assert_eq!(started.len(), 1);
    started[0].fence
}

pub(in crate::store) fn end(state: AttemptState) -> AttemptEnd {
    AttemptEnd {
        state,
        error: None,
        message: Some("did it".to_owned()),
        usage: Usage { cpu_time_us: 5, ..Usage::default() },
        accesses: Vec::new(),
        denials: Vec::new(),
        requests: Vec::new(),
        tags: Vec::new(),
        cache: None,
        recording: Recording::default(),
        log_to: LogPosition::from_parts((1, 200)),
    }
}

pub(super) fn staged(resource: &str, path: &str, content: &str, overwrite: bool) -> StagedFile {
    StagedFile {
        artifact_id: ArtifactId::new(),
        resource: resource.to_owned(),
        path: path.to_owned(),
        digest: Digest::of(content.as_bytes()),
        size: content.len() as u64,
        staged: format!("staging/{path}"),
        stamp: format!("stamp of {content}"),
        overwrite,
        replaces: None,
    }
}

pub(in crate::store) fn intent(files: Vec<StagedFile>) -> Intent {
    let (retrigger, models) = (Vec::new(), Vec::new());
    Intent { end: end(AttemptState::Succeeded), skip: false, files, retrigger, models, reuse: None, synced: false }
}

/// Publishes through both steps.
pub(super) async fn publish(store: &dyn MetadataStore, fence: Fence, files: Vec<StagedFile>) {
    store.publish_intent(fence, intent(files), at(40)).await.unwrap();
    store.published(fence, Visible::default(), RunStep::default(), at(50)).await.unwrap();
}

/// The kinds of the events after a sequence number.
pub(super) async fn kinds_after(store: &dyn MetadataStore, seq: u64) -> Vec<EventKind> {
    store.events(seq, None, 1_000).await.unwrap().iter().map(|event| event.kind).collect()
}

/// All events.
pub(super) async fn events(store: &dyn MetadataStore) -> Vec<Event> {
    store.events(0, None, 1_000).await.unwrap()
}

/// The number of the newest event on record.
pub(super) async fn newest(store: &dyn MetadataStore) -> u64 {
    events(store).await.last().unwrap().seq
}
