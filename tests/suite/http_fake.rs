//! A metadata store whose state tests control.
//!
//! It is a fake because a real store cannot be made to show what the HTTP floor must handle: events
//! that were dropped, other epochs, gaps, a store that fails.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use anacostia::base::{ArtifactId, AttemptId, Digest, NotificationId, RunId, Timestamp, WriteId};
use anacostia::model::{
    AliasMove, Artifact, Decision, Delivery, Denial, EndedRun, Event, EventKind, Facts, Fence, HttpRequest, KnownPath,
    LogRange, MetricRecord, ModelDetail, ModelVersion, NodeKind, Notification, NotifyCause, Page, ParamRecord, Pause,
    Pending, Recording, RegisteredModel, Remembered, Run, RunDetail, RunState, RunTag, Tick, TriggerMark,
};
use anacostia::store::{
    ActionAttempt, AliasTarget, ArtifactQuery, ArtifactUse, AttemptEnd, AwaitingApproval, Batch, CreatedRun, FactQuery,
    GoneRuns, GuestRecords, Intent, LineageEdge, MetadataStore, ModelRegistry, NewModelVersion, NewRevision, NewRun,
    NotificationQuery, OldRuns, PageRequest, PublishedOutput, Recorded, Refusal, Removed, ResourceAccess, Revision,
    RunQuery, RunStep, RunsToKeep, SnapshotQuery, StartedAttempt, StoreError, TickQuery, UnfinishedRun, Visible,
};
use async_trait::async_trait;
use tokio::sync::watch;

pub(crate) type Stored<T> = Result<T, StoreError>;

fn read_only<T>() -> Stored<T> {
    Err(StoreError::Conflict("the fake store does not write".to_owned()))
}

/// The state that tests set and the HTTP floor reads.
#[derive(Debug)]
pub(crate) struct FakeStore {
    pub(crate) epoch: u64,
    pub(crate) events: Mutex<Vec<Event>>,
    /// How often events were read.
    pub(crate) event_reads: AtomicU64,
    pub(crate) newest: watch::Sender<u64>,
    pub(crate) runs: Mutex<Vec<RunDetail>>,
    pub(crate) inputs: Mutex<BTreeMap<RunId, Vec<Artifact>>>,
    pub(crate) artifacts: Mutex<Vec<Artifact>>,
    pub(crate) ticks: Mutex<Vec<Tick>>,
    pub(crate) revisions: Mutex<Vec<Revision>>,
    pub(crate) lineage: Mutex<Vec<LineageEdge>>,
    pub(crate) accesses: Mutex<Vec<ResourceAccess>>,
    pub(crate) awaiting: Mutex<Vec<AwaitingApproval>>,
    pub(crate) pending: Mutex<Pending>,
    pub(crate) paused: Mutex<bool>,
    pub(crate) pauses: Mutex<Vec<Pause>>,
    pub(crate) failing: Mutex<bool>,
}

impl Default for FakeStore {
    fn default() -> Self {
        Self {
            epoch: 3,
            events: Mutex::default(),
            event_reads: AtomicU64::new(0),
            newest: watch::channel(0).0,
            runs: Mutex::default(),
            inputs: Mutex::default(),
            artifacts: Mutex::default(),
            ticks: Mutex::default(),
            revisions: Mutex::default(),
            lineage: Mutex::default(),
            accesses: Mutex::default(),
            awaiting: Mutex::default(),
            pending: Mutex::default(),
            paused: Mutex::default(),
            pauses: Mutex::default(),
            failing: Mutex::default(),
        }
    }
}

impl FakeStore {
    /// Records an event with the next sequence number.
    pub(crate) fn add_event(&self, epoch: u64, run_id: Option<RunId>) -> u64 {
        let seq = *self.newest.borrow() + 1;
        self.events.lock().unwrap().push(Event {
            seq,
            epoch,
            time: Timestamp::from_micros(1_772_366_400_000_000),
            kind: EventKind::RunState,
            v: 1,
            run_id,
            action: None,
            attempt: None,
            artifact_id: None,
            data: serde_json::json!({ "note": "line\nbreak" }),
        });
        self.newest.send_replace(seq);
        seq
    }

    /// Drops the oldest events, as retention does.
    pub(crate) fn forget_before(&self, seq: u64) {
        self.events.lock().unwrap().retain(|event| event.seq >= seq);
    }

    /// Adds a run with everything that belongs to it.
    pub(crate) fn run(&self, id: RunId) -> Stored<Option<RunDetail>> {
        self.check()?;
        Ok(self.runs.lock().unwrap().iter().find(|detail| detail.run.id == id).cloned())
    }

    fn check(&self) -> Stored<()> {
        if *self.failing.lock().unwrap() {
            return Err(StoreError::Unavailable { doing: "read".into(), why: "the disk is gone".into() });
        }
        Ok(())
    }
}

fn page<T: Clone>(items: &[T], request: &PageRequest) -> Stored<Page<T>> {
    let from = match &request.cursor {
        None => 0,
        Some(cursor) => cursor.parse().map_err(|_| StoreError::Invalid("the cursor is none of this store".into()))?,
    };
    let limit = request.limit as usize;
    let next_cursor = (from + limit < items.len()).then(|| (from + limit).to_string());
    Ok(Page { items: items.iter().skip(from).take(limit).cloned().collect(), next_cursor })
}

#[async_trait]
impl GuestRecords for FakeStore {
    async fn artifact(&self, id: ArtifactId) -> Stored<Option<Artifact>> {
        self.check()?;
        Ok(self.artifacts.lock().unwrap().iter().find(|artifact| artifact.id == id).cloned())
    }
    async fn snapshot(&self, _: SnapshotQuery, _: PageRequest) -> Stored<Page<Artifact>> {
        read_only()
    }
    async fn outputs(&self, _: RunId, _: &str, _: &[String]) -> Stored<Vec<Artifact>> {
        read_only()
    }
    async fn open_intents(&self) -> Stored<Vec<PublishedOutput>> {
        read_only()
    }
    async fn pending(&self, _resource: &str) -> Stored<Pending> {
        self.check()?;
        Ok(*self.pending.lock().unwrap())
    }
    async fn pending_artifacts(&self, _: &str, _: PageRequest) -> Stored<Page<Artifact>> {
        Ok(Page { items: Vec::new(), next_cursor: None })
    }
    async fn present_artifacts(&self, _: &str, _: PageRequest) -> Stored<Page<Artifact>> {
        Ok(Page { items: Vec::new(), next_cursor: None })
    }

    async fn runs(&self, query: RunQuery, request: PageRequest) -> Stored<Page<Run>> {
        self.check()?;
        let runs = self.runs.lock().unwrap();
        let wanted = |run: &Run| query.states.is_empty() || query.states.contains(&run.state);
        let found: Vec<Run> = runs.iter().rev().map(|detail| detail.run.clone()).filter(wanted).collect();
        page(&found, &request)
    }
    async fn metrics(&self, _query: FactQuery, _page: PageRequest) -> Stored<Page<MetricRecord>> {
        Ok(Page { items: Vec::new(), next_cursor: None })
    }
    async fn record_facts(&self, _: Fence, _: WriteId, _: Facts, _: Timestamp) -> Stored<()> {
        read_only()
    }
}

#[async_trait]
impl ModelRegistry for FakeStore {
    async fn set_model_card(&self, _: &str, _: &str, _: Timestamp) -> Stored<()> {
        read_only()
    }
    async fn register_version(&self, _: NewModelVersion, _: Timestamp) -> Stored<u64> {
        read_only()
    }
    async fn move_alias(&self, _: AliasTarget, _: WriteId, _: Timestamp) -> Stored<AliasMove> {
        read_only()
    }
    async fn models(&self, _: PageRequest) -> Stored<Page<RegisteredModel>> {
        page(&[], &PageRequest { cursor: None, limit: 1 })
    }
    async fn model(&self, _: &str) -> Stored<Option<ModelDetail>> {
        Ok(None)
    }
    async fn model_versions(&self, _: &str, _: PageRequest) -> Stored<Page<ModelVersion>> {
        page(&[], &PageRequest { cursor: None, limit: 1 })
    }
    async fn alias_moves(&self, _: &str, _: PageRequest) -> Stored<Page<AliasMove>> {
        page(&[], &PageRequest { cursor: None, limit: 1 })
    }
}

#[async_trait]
impl MetadataStore for FakeStore {
    fn epoch(&self) -> u64 {
        self.epoch
    }
    async fn probe(&self) -> Stored<()> {
        self.check()
    }
    fn newest_event(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
    async fn paused(&self) -> Stored<bool> {
        self.check()?;
        Ok(*self.paused.lock().unwrap())
    }
    async fn paused_nodes(&self) -> Stored<Vec<Pause>> {
        self.check()?;
        Ok(self.pauses.lock().unwrap().clone())
    }
    async fn artifacts(&self, query: ArtifactQuery, request: PageRequest) -> Stored<Page<Artifact>> {
        let all = self.artifacts.lock().unwrap().clone();
        let found: Vec<Artifact> = all
            .into_iter()
            .filter(|artifact| query.state.is_none_or(|state| state == artifact.state))
            .filter(|artifact| query.run.is_none_or(|run| Some(run) == artifact.run_id))
            .filter(|artifact| query.path.as_ref().is_none_or(|path| *path == artifact.path))
            .collect();
        page(&found, &request)
    }
    async fn trigger_marks(&self) -> Stored<Vec<TriggerMark>> {
        Ok(Vec::new())
    }
    async fn set_trigger_marks(&self, _: Vec<TriggerMark>) -> Stored<()> {
        read_only()
    }
    async fn ended_runs(&self, _: RunState, _: u64, _: u64, _: u32) -> Stored<Vec<EndedRun>> {
        Ok(Vec::new())
    }
    async fn run_inputs(&self, run: RunId, request: PageRequest) -> Stored<Page<Artifact>> {
        page(self.inputs.lock().unwrap().get(&run).map_or(&[][..], |inputs| inputs), &request)
    }
    async fn count_inputs(&self, run: RunId) -> Stored<u64> {
        Ok(self.inputs.lock().unwrap().get(&run).map_or(0, |inputs| inputs.len() as u64))
    }
    async fn run_progress(&self, id: RunId) -> Stored<Option<RunDetail>> {
        self.run(id)
    }
    async fn run_summary(&self, id: RunId) -> Stored<Option<Run>> {
        Ok(self.run(id)?.map(|detail| detail.run))
    }
    async fn count_runs(&self, state: RunState) -> Stored<u64> {
        Ok(self.runs.lock().unwrap().iter().filter(|detail| detail.run.state == state).count() as u64)
    }
    async fn run_by_number(&self, number: u64) -> Stored<Option<RunId>> {
        self.check()?;
        let runs = self.runs.lock().unwrap();
        Ok(runs.iter().find(|detail| detail.run.number == number).map(|detail| detail.run.id))
    }
    async fn denials(&self, _run: RunId) -> Stored<Vec<(AttemptId, Denial)>> {
        Ok(Vec::new())
    }
    async fn recording(&self, _: AttemptId) -> Stored<Option<Recording>> {
        Ok(None)
    }
    async fn remembered(&self, _: &str, _: Digest, _: Digest, _: u32) -> Stored<Vec<Remembered>> {
        Ok(Vec::new())
    }
    async fn requests(&self, _run: RunId) -> Stored<Vec<(AttemptId, HttpRequest)>> {
        Ok(Vec::new())
    }

    async fn lineage(&self, _run: RunId, request: PageRequest) -> Stored<Page<LineageEdge>> {
        page(&self.lineage.lock().unwrap(), &request)
    }
    async fn action_attempts(&self, action: &str, request: PageRequest) -> Stored<Page<ActionAttempt>> {
        let runs = self.runs.lock().unwrap();
        let found = runs.iter().rev().flat_map(|detail| {
            let attempts = detail.attempts.iter().rev().filter(move |attempt| attempt.action == action);
            attempts.map(move |attempt| ActionAttempt { run_number: detail.run.number, attempt: attempt.clone() })
        });
        page(&found.collect::<Vec<_>>(), &request)
    }
    async fn uses(&self, _artifact: ArtifactId, _page: PageRequest) -> Stored<Page<ArtifactUse>> {
        Ok(Page { items: Vec::new(), next_cursor: None })
    }
    async fn resource_accesses(&self, _resource: &str, limit: u32) -> Stored<Vec<ResourceAccess>> {
        Ok(self.accesses.lock().unwrap().iter().take(limit as usize).cloned().collect())
    }
    async fn writer(&self, _artifact: ArtifactId) -> Stored<Option<ArtifactUse>> {
        Ok(None)
    }
    async fn params(&self, _query: FactQuery, _page: PageRequest) -> Stored<Page<ParamRecord>> {
        Ok(Page { items: Vec::new(), next_cursor: None })
    }
    async fn tags(&self, _query: FactQuery, _page: PageRequest) -> Stored<Page<RunTag>> {
        Ok(Page { items: Vec::new(), next_cursor: None })
    }
    async fn ticks(&self, _query: TickQuery, request: PageRequest) -> Stored<Page<Tick>> {
        page(&self.ticks.lock().unwrap(), &request)
    }
    async fn events(&self, after: u64, run: Option<RunId>, limit: u32) -> Stored<Vec<Event>> {
        self.check()?;
        self.event_reads.fetch_add(1, SeqCst);
        let events = self.events.lock().unwrap();
        let wanted = |event: &&Event| event.seq > after && (run.is_none() || event.run_id == run);
        Ok(events.iter().filter(wanted).take(limit as usize).cloned().collect())
    }
    async fn oldest_event(&self) -> Stored<u64> {
        let oldest = self.events.lock().unwrap().first().map(|event| event.seq);
        Ok(oldest.unwrap_or_else(|| *self.newest.borrow() + 1))
    }

    // The HTTP floor never calls the methods below.
    async fn register_revision(&self, _: NewRevision, _: Timestamp) -> Stored<()> {
        read_only()
    }
    async fn revision(&self, digest: Digest) -> Stored<Option<Revision>> {
        self.check()?;
        Ok(self.revisions.lock().unwrap().iter().find(|revision| revision.digest == digest).cloned())
    }
    async fn set_paused(&self, _: bool, _: Timestamp) -> Stored<()> {
        read_only()
    }
    async fn pause_node(&self, _: NodeKind, _: &str, _: Option<String>, _: Timestamp) -> Stored<Pause> {
        read_only()
    }
    async fn resume_node(&self, _: NodeKind, _: &str, _: Timestamp) -> Stored<()> {
        read_only()
    }
    async fn record(&self, _: &str, _: Batch, _: Timestamp) -> Stored<Recorded> {
        read_only()
    }
    async fn known(&self, _: &str, _: PageRequest) -> Stored<Page<KnownPath>> {
        read_only()
    }
    async fn needed(&self, _: &str, _: PageRequest) -> Stored<Page<Digest>> {
        read_only()
    }
    async fn create_run(&self, _: NewRun, _: Timestamp) -> Stored<Option<CreatedRun>> {
        read_only()
    }
    async fn advance(&self, _: RunId, _: WriteId, _: RunStep, _: Timestamp) -> Stored<Vec<StartedAttempt>> {
        read_only()
    }
    async fn finish_attempt(&self, _: Fence, _: AttemptEnd, _: RunStep, _: Timestamp) -> Stored<Vec<StartedAttempt>> {
        read_only()
    }
    async fn publish_intent(&self, _: Fence, _: Intent, _: Timestamp) -> Stored<()> {
        read_only()
    }
    async fn published(&self, _: Fence, _: Visible, _: RunStep, _: Timestamp) -> Stored<Vec<StartedAttempt>> {
        read_only()
    }
    async fn refused(&self, _: Fence, _: Visible, _: Refusal, _: RunStep, _: Timestamp) -> Stored<Vec<StartedAttempt>> {
        read_only()
    }
    async fn request_cancel(&self, _: RunId, _: Timestamp) -> Stored<Option<Run>> {
        read_only()
    }
    async fn request_retry(&self, _: RunId, _: &[String], _: WriteId, _: Timestamp) -> Stored<Option<Run>> {
        read_only()
    }
    async fn decide_approval(&self, _: RunId, _: &str, _: Decision, _: WriteId) -> Stored<Option<Run>> {
        read_only()
    }
    async fn awaiting_approval(&self, _: PageRequest) -> Stored<Page<AwaitingApproval>> {
        Ok(Page { items: self.awaiting.lock().unwrap().clone(), next_cursor: None })
    }
    async fn take_over(&self, _: Timestamp) -> Stored<Vec<UnfinishedRun>> {
        read_only()
    }
    async fn note_stop(&self) -> Stored<()> {
        read_only()
    }
    async fn unfinished(&self, _: RunId) -> Stored<Option<UnfinishedRun>> {
        read_only()
    }
    async fn record_tick(&self, _: Tick) -> Stored<()> {
        read_only()
    }
    async fn prune_events(&self, _: u64) -> Stored<()> {
        read_only()
    }
    async fn old_runs(&self, _: RunsToKeep, _: GoneRuns, _: Option<u64>) -> Stored<OldRuns> {
        read_only()
    }
    async fn remove_runs(&self, _: RunsToKeep, _: Vec<u64>, _: Timestamp) -> Stored<Removed> {
        read_only()
    }
    async fn cursor(&self, _: &str) -> Stored<Option<String>> {
        read_only()
    }
    async fn notified(&self) -> Stored<Option<u64>> {
        read_only()
    }
    async fn record_notifications(&self, _: Option<u64>, _: Vec<Notification>) -> Stored<()> {
        read_only()
    }
    async fn told_outages(&self) -> Stored<Vec<(String, String)>> {
        Ok(Vec::new())
    }
    async fn note_reachable(&self, _: &str) -> Stored<()> {
        read_only()
    }
    async fn note_delivery(&self, _: NotificationId, _: Delivery, _: Timestamp) -> Stored<()> {
        read_only()
    }
    async fn waiting_notifications(&self, _: &str, _: u32) -> Stored<Vec<Notification>> {
        read_only()
    }
    async fn last_notification(&self, _: &str, _: NotifyCause, _: Option<&str>) -> Stored<Option<Notification>> {
        read_only()
    }
    async fn notifications(&self, _: NotificationQuery, _: PageRequest) -> Stored<Page<Notification>> {
        Ok(Page { items: Vec::new(), next_cursor: None })
    }
    async fn unfinished_logs(&self) -> Stored<Vec<LogRange>> {
        read_only()
    }
}
