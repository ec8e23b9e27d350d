//! A store that loses the first answer of every write, as a connection to a server may.
//!
//! Each write is done, its answer is dropped as if by [`StoreError::Unavailable`], and the write is
//! repeated as a caller does: with the same ids, at a later time. The suite must pass over such a
//! store as it does over one that loses nothing.
//!
//! [`StoreError::Unavailable`]: crate::store::StoreError::Unavailable

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::StoreFactory;
use crate::base::{ArtifactId, AttemptId, Digest, NotificationId, RunId, Timestamp, WriteId};
use crate::model::{
    AliasMove, Artifact, Decision, Delivery, Denial, EndedRun, Event, Facts, Fence, HttpRequest, KnownPath, LogRange,
    MetricRecord, ModelDetail, ModelVersion, NodeKind, Notification, NotifyCause, Page, ParamRecord, Pause, Pending,
    Recording, RegisteredModel, Remembered, Run, RunDetail, RunState, RunTag, Tick, TriggerMark,
};
use crate::store::{
    ActionAttempt, AliasTarget, ArtifactQuery, ArtifactUse, AttemptEnd, AwaitingApproval, Batch, CreatedRun, FactQuery,
    GoneRuns, GuestRecords, Intent, LineageEdge, MetadataStore, ModelRegistry, NewModelVersion, NewRevision, NewRun,
    NotificationQuery, OldRuns, PageRequest, PublishedOutput, Recorded, Refusal, Removed, ResourceAccess, Result,
    Revision, RunQuery, RunStep, RunsToKeep, SnapshotQuery, StartedAttempt, TickQuery, UnfinishedRun, Visible,
};

/// A factory whose stores lose answers.
pub(crate) struct LossyStoreFactory<P>(pub(crate) P);

#[async_trait]
impl<P: StoreFactory> StoreFactory for LossyStoreFactory<P> {
    async fn open(&self) -> Arc<dyn MetadataStore> {
        Arc::new(Lossy(self.0.open().await))
    }
}

/// A store that loses answers.
#[derive(Debug)]
struct Lossy(Arc<dyn MetadataStore>);

/// Makes the time of the repeat from that of the first call.
trait Later {
    fn later(&self) -> Self;
}

impl Later for Timestamp {
    fn later(&self) -> Self {
        self.after(Duration::from_secs(1))
    }
}

macro_rules! lossy {
    (
        $trait:ident { $($sync:item)* }
        read { $($read:ident($($arg:ident: $type:ty),*) -> $answer:ty;)* }
        write { $($write:ident($($given:ident: $kind:ty),*; $($now:ident)?) -> $wrote:ty;)* }
    ) => {
        #[async_trait]
        impl $trait for Lossy {
            $($sync)*
            $(async fn $read(&self, $($arg: $type),*) -> Result<$answer> {
                self.0.$read($($arg),*).await
            })*
            $(async fn $write(&self, $($given: $kind,)* $($now: Timestamp)?) -> Result<$wrote> {
                // A refusal is an answer too, but it changes nothing, so losing it would test
                // nothing.
                self.0.$write($($given.clone(),)* $($now)?).await?;
                self.0.$write($($given,)* $($now.later())?).await
            })*
        }
    };
}

lossy! {
    GuestRecords {}
    read {
        artifact(id: ArtifactId) -> Option<Artifact>;
        snapshot(query: SnapshotQuery, page: PageRequest) -> Page<Artifact>;
        outputs(run: RunId, resource: &str, actions: &[String]) -> Vec<Artifact>;
        open_intents() -> Vec<PublishedOutput>;
        pending(resource: &str) -> Pending;
        pending_artifacts(resource: &str, page: PageRequest) -> Page<Artifact>;
        present_artifacts(resource: &str, page: PageRequest) -> Page<Artifact>;
        runs(query: RunQuery, page: PageRequest) -> Page<Run>;
        metrics(query: FactQuery, page: PageRequest) -> Page<MetricRecord>;
    }
    write {
        record_facts(fence: Fence, id: WriteId, facts: Facts; now) -> ();
    }
}

lossy! {
    MetadataStore {
        fn epoch(&self) -> u64 {
            self.0.epoch()
        }
        fn newest_event(&self) -> watch::Receiver<u64> {
            self.0.newest_event()
        }
    }
    read {
        probe() -> ();
        revision(digest: Digest) -> Option<Revision>;
        paused() -> bool;
        paused_nodes() -> Vec<Pause>;
        cursor(resource: &str) -> Option<String>;
        known(resource: &str, page: PageRequest) -> Page<KnownPath>;
        needed(resource: &str, page: PageRequest) -> Page<Digest>;
        artifacts(query: ArtifactQuery, page: PageRequest) -> Page<Artifact>;
        unfinished(run: RunId) -> Option<UnfinishedRun>;
        run_inputs(run: RunId, page: PageRequest) -> Page<Artifact>;
        count_inputs(run: RunId) -> u64;
        run_progress(id: RunId) -> Option<RunDetail>;
        run_summary(id: RunId) -> Option<Run>;
        count_runs(state: RunState) -> u64;
        run_by_number(number: u64) -> Option<RunId>;
        lineage(run: RunId, page: PageRequest) -> Page<LineageEdge>;
        uses(artifact: ArtifactId, page: PageRequest) -> Page<ArtifactUse>;
        writer(artifact: ArtifactId) -> Option<ArtifactUse>;
        resource_accesses(resource: &str, limit: u32) -> Vec<ResourceAccess>;
        action_attempts(action: &str, page: PageRequest) -> Page<ActionAttempt>;
        recording(attempt: AttemptId) -> Option<Recording>;
        remembered(action: &str, fingerprint: Digest, inputs: Digest, limit: u32) -> Vec<Remembered>;
        denials(run: RunId) -> Vec<(AttemptId, Denial)>;
        requests(run: RunId) -> Vec<(AttemptId, HttpRequest)>;
        params(query: FactQuery, page: PageRequest) -> Page<ParamRecord>;
        tags(query: FactQuery, page: PageRequest) -> Page<RunTag>;
        ticks(query: TickQuery, page: PageRequest) -> Page<Tick>;
        trigger_marks() -> Vec<TriggerMark>;
        ended_runs(state: RunState, after: u64, before: u64, limit: u32) -> Vec<EndedRun>;
        awaiting_approval(page: PageRequest) -> Page<AwaitingApproval>;
        events(after: u64, run: Option<RunId>, limit: u32) -> Vec<Event>;
        oldest_event() -> u64;
        old_runs(keep: RunsToKeep, gone: GoneRuns, below: Option<u64>) -> OldRuns;
        unfinished_logs() -> Vec<LogRange>;
        notified() -> Option<u64>;
        told_outages() -> Vec<(String, String)>;
        waiting_notifications(name: &str, limit: u32) -> Vec<Notification>;
        last_notification(name: &str, cause: NotifyCause, resource: Option<&str>) -> Option<Notification>;
        notifications(query: NotificationQuery, page: PageRequest) -> Page<Notification>;
    }
    write {
        register_revision(revision: NewRevision; now) -> ();
        set_paused(paused: bool; now) -> ();
        pause_node(kind: NodeKind, name: &str, reason: Option<String>; now) -> Pause;
        resume_node(kind: NodeKind, name: &str; now) -> ();
        record(resource: &str, batch: Batch; now) -> Recorded;
        create_run(run: NewRun; now) -> Option<CreatedRun>;
        advance(run: RunId, id: WriteId, step: RunStep; now) -> Vec<StartedAttempt>;
        finish_attempt(fence: Fence, end: AttemptEnd, step: RunStep; now) -> Vec<StartedAttempt>;
        publish_intent(fence: Fence, intent: Intent; now) -> ();
        published(fence: Fence, visible: Visible, step: RunStep; now) -> Vec<StartedAttempt>;
        refused(fence: Fence, visible: Visible, refusal: Refusal, step: RunStep; now) -> Vec<StartedAttempt>;
        request_cancel(run: RunId; now) -> Option<Run>;
        request_retry(run: RunId, again: &[String], id: WriteId; now) -> Option<Run>;
        decide_approval(run: RunId, action: &str, decision: Decision, id: WriteId;) -> Option<Run>;
        take_over(; now) -> Vec<UnfinishedRun>;
        note_stop(;) -> ();
        record_tick(tick: Tick;) -> ();
        set_trigger_marks(marks: Vec<TriggerMark>;) -> ();
        prune_events(keep: u64;) -> ();
        remove_runs(keep: RunsToKeep, runs: Vec<u64>; now) -> Removed;
        record_notifications(examined: Option<u64>, new: Vec<Notification>;) -> ();
        note_reachable(resource: &str;) -> ();
        note_delivery(id: NotificationId, delivery: Delivery; now) -> ();
    }
}

lossy! {
    ModelRegistry {}
    read {
        models(page: PageRequest) -> Page<RegisteredModel>;
        model(name: &str) -> Option<ModelDetail>;
        model_versions(name: &str, page: PageRequest) -> Page<ModelVersion>;
        alias_moves(name: &str, page: PageRequest) -> Page<AliasMove>;
    }
    write {
        set_model_card(model: &str, card: &str; now) -> ();
        register_version(new: NewModelVersion; now) -> u64;
        move_alias(to: AliasTarget, id: WriteId; now) -> AliasMove;
    }
}
