//! The SQLite store: the default one, embedded in the host.
//!
//! One file in WAL mode. One thread writes ([`writer`]: group commit), a few read ([`readers`]:
//! snapshots), and one host has it at a time ([`HostLock`]). Every method of the trait is a
//! function over one transaction, in the module of its subject. This file only passes them to the
//! threads.
//!
//! Once a method has returned, its write survives the death of the process (the kernel has it).
//! With [`Durability::Full`] every commit is synced, and survives a power cut; with
//! [`Durability::Normal`] only checkpoints, the epoch, and commits that ask for it are: see
//! [`Intent::synced`].
//!
//! [`Durability::Full`]: crate::model::Durability::Full
//! [`Durability::Normal`]: crate::model::Durability::Normal

mod access_log;
mod advance;
mod approvals;
mod artifacts;
mod attempts;
mod backup;
mod copy;
mod events;
mod facts;
mod marks;
mod memories;
mod migrations;
mod models;
mod needed;
mod notifications;
mod old_runs;
mod open;
mod pauses;
#[cfg(test)]
mod plans;
mod publish;
mod queue;
mod readers;
mod record;
mod registry;
mod requests;
mod run_list;
mod run_rows;
mod runs;
mod settings;
mod snapshot;
mod sql;
#[cfg(test)]
mod tests;
mod ticks;
mod unfinished;
mod upkeep;
mod views;
mod wal;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::watch;

use self::queue::Queue;
use self::readers::Read;
use self::sql::Work;
use self::writer::{Call, Job, Tx};
use super::lock::HostLock;
use super::presence::{LOOK_EVERY, Presence};
use super::steps::{self, Step};
use super::{
    ActionAttempt, ArtifactQuery, ArtifactUse, AttemptEnd, AwaitingApproval, Batch, CreatedRun, FactQuery, GoneRuns,
    GuestRecords, HostLease, Intent, LineageEdge, Loss, MetadataStore, NewRevision, NewRun, NotificationQuery, OldRuns,
    PageRequest, PublishedOutput, Recorded, Refusal, Removed, ResourceAccess, Result, Revision, RunQuery, RunStep,
    RunsToKeep, SnapshotQuery, StartedAttempt, StoreError, TickQuery, UnfinishedRun, Visible,
};
use crate::base::{ArtifactId, AttemptId, Digest, NotificationId, RunId, Timestamp, WriteId};
use crate::model::{
    Artifact, Decision, Delivery, Denial, EndedRun, Event, Facts, Fence, HttpRequest, KnownPath, LogRange,
    MetricRecord, NodeKind, Notification, NotifyCause, Page, ParamRecord, Pause, Pending, Recording, Remembered, Run,
    RunDetail, RunState, RunTag, Tick, TriggerMark,
};

pub use super::steps::FAULT_POINTS;
pub(super) use copy::{SqliteCopy, SqliteRecords};
pub use open::read_holder;
pub(super) use upkeep::SqliteUpkeep;
pub(super) use views::SqliteViews;

/// A store in a SQLite database. When it is dropped, it completes the waiting work, and closes the
/// file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    epoch: u64,
    newest: watch::Receiver<u64>,
    reads: Arc<Queue<Read>>,
    readers: Mutex<Vec<JoinHandle<()>>>,
    /// Absent if it was opened for reading only.
    writing: Option<Writing>,
}

/// The parts that only a host has.
struct Writing {
    jobs: Arc<Queue<Box<dyn Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    lock: HostLock,
    /// The presence of the lock file and of the files of the database.
    presence: Presence,
    log: wal::Log,
}

impl std::fmt::Debug for Writing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writing").field("lock", &self.lock).finish_non_exhaustive()
    }
}

impl SqliteStore {
    async fn write<T: Send + 'static>(
        &self,
        step: Step,
        work: impl FnOnce(&mut Tx<'_>) -> Work<T> + Send + 'static,
    ) -> Result<T> {
        self.write_synced(step, false, work).await
    }

    /// Like [`Self::write`]. With `synced`, the commit survives a power cut with every durability.
    async fn write_synced<T: Send + 'static>(
        &self,
        step: Step,
        synced: bool,
        work: impl FnOnce(&mut Tx<'_>) -> Work<T> + Send + 'static,
    ) -> Result<T> {
        let Some(writing) = &self.writing else {
            return Err(StoreError::Conflict(format!(
                "failed to {}: {} is open for reading only; ask the host that has it, or stop that host first",
                step.doing,
                self.path.display()
            )));
        };
        let (call, answer) = Call::new(step, work);
        let call = call.synced(synced);
        let gone = || StoreError::Unavailable {
            doing: step.doing.to_owned(),
            why: "its thread has ended; restart the host".to_owned(),
        };
        writing.jobs.push(Box::new(call)).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Work<T> + Send + 'static,
    ) -> Result<T> {
        let (read, answer) = readers::read(doing, work);
        let gone = || StoreError::Unavailable {
            doing: doing.to_owned(),
            why: "its threads have ended; restart the host".to_owned(),
        };
        self.reads.push(read).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

#[async_trait]
impl HostLease for SqliteStore {
    async fn announce(&self, address: &str) -> Result<()> {
        let Some(writing) = &self.writing else { return Ok(()) };
        writing.lock.announce(address).map_err(|error| StoreError::Unavailable {
            doing: "note the address in the lock file".to_owned(),
            why: error.to_string(),
        })
    }

    async fn lost(&self) -> Loss {
        let Some(writing) = &self.writing else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(what) = writing.presence.lost() {
                return Loss::Files(what);
            }
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // Closing the last connection removes the log by its path, which by now may be the log of
        // another host. So close nothing; the threads end with the process.
        if self.writing.as_ref().is_some_and(|writing| writing.presence.lost().is_some()) {
            return;
        }
        // Readers first: the last connection to close, which tidies up the log, must be the one
        // that may write.
        self.reads.close();
        for reader in self.readers.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // If it panicked, the message is in the log already.
            let _ = reader.join();
        }
        if let Some(writing) = &self.writing {
            writing.jobs.close();
            if let Some(thread) = writing.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
                let _ = thread.join();
            }
        }
    }
}

#[async_trait]
impl GuestRecords for SqliteStore {
    async fn open_intents(&self) -> Result<Vec<PublishedOutput>> {
        self.read("read what is being published", attempts::open_intents).await
    }

    async fn artifact(&self, id: ArtifactId) -> Result<Option<Artifact>> {
        self.read("read an artifact", move |db| artifacts::one(db, id)).await
    }

    async fn snapshot(&self, query: SnapshotQuery, page: PageRequest) -> Result<Page<Artifact>> {
        self.read("read a snapshot", move |db| snapshot::snapshot(db, &query, &page)).await
    }

    async fn outputs(&self, run: RunId, resource: &str, actions: &[String]) -> Result<Vec<Artifact>> {
        let (resource, actions) = (resource.to_owned(), actions.to_owned());
        self.read("read the outputs of actions", move |db| snapshot::outputs(db, run, &resource, &actions)).await
    }

    async fn pending(&self, resource: &str) -> Result<Pending> {
        let resource = resource.to_owned();
        self.read("read what waits in a resource", move |db| artifacts::pending(db, &resource)).await
    }

    async fn pending_artifacts(&self, resource: &str, page: PageRequest) -> Result<Page<Artifact>> {
        let resource = resource.to_owned();
        self.read("list what waits in a resource", move |db| artifacts::waiting(db, &resource, &page)).await
    }

    async fn present_artifacts(&self, resource: &str, page: PageRequest) -> Result<Page<Artifact>> {
        let resource = resource.to_owned();
        self.read("list what lies in a resource", move |db| artifacts::present(db, &resource, &page)).await
    }

    async fn runs(&self, query: RunQuery, page: PageRequest) -> Result<Page<Run>> {
        self.read("list runs", move |db| run_list::list(db, &query, &page)).await
    }

    async fn metrics(&self, query: FactQuery, page: PageRequest) -> Result<Page<MetricRecord>> {
        self.read("list metrics", move |db| facts::metrics(db, &query, &page)).await
    }

    async fn record_facts(&self, fence: Fence, id: WriteId, facts: Facts, now: Timestamp) -> Result<()> {
        self.write(steps::FACTS, move |tx| facts::record(tx, fence, id, &facts, now)).await
    }
}

#[async_trait]
impl MetadataStore for SqliteStore {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn probe(&self) -> Result<()> {
        self.write(steps::PROBE, |_| Ok(())).await
    }

    fn warnings(&self) -> Vec<String> {
        self.writing.as_ref().and_then(|writing| writing.log.warning()).into_iter().collect()
    }

    fn schema_version(&self) -> Option<usize> {
        Some(migrations::SCRIPTS.len())
    }

    fn newest_event(&self) -> watch::Receiver<u64> {
        self.newest.clone()
    }

    async fn register_revision(&self, revision: NewRevision, now: Timestamp) -> Result<()> {
        self.write(steps::REVISION, move |tx| settings::register_revision(tx, &revision, now)).await
    }

    async fn revision(&self, digest: Digest) -> Result<Option<Revision>> {
        self.read("read a manifest", move |db| settings::revision(db, digest)).await
    }

    async fn paused(&self) -> Result<bool> {
        self.read("read whether it is paused", settings::paused).await
    }

    async fn set_paused(&self, paused: bool, now: Timestamp) -> Result<()> {
        self.write(steps::PAUSE, move |tx| settings::set_paused(tx, paused, now)).await
    }

    async fn pause_node(&self, kind: NodeKind, name: &str, reason: Option<String>, now: Timestamp) -> Result<Pause> {
        let name = name.to_owned();
        self.write(steps::PAUSE_NODE, move |tx| pauses::pause(tx, kind, &name, reason, now)).await
    }

    async fn resume_node(&self, kind: NodeKind, name: &str, now: Timestamp) -> Result<()> {
        let name = name.to_owned();
        self.write(steps::RESUME_NODE, move |tx| pauses::resume(tx, kind, &name, now)).await
    }

    async fn paused_nodes(&self) -> Result<Vec<Pause>> {
        self.read("read what is paused", pauses::all).await
    }

    async fn record(&self, resource: &str, batch: Batch, now: Timestamp) -> Result<Recorded> {
        let resource = resource.to_owned();
        self.write(steps::RECORD, move |tx| record::record(tx, &resource, &batch, now)).await
    }

    async fn cursor(&self, resource: &str) -> Result<Option<String>> {
        let resource = resource.to_owned();
        self.read("read a resource's cursor", move |db| settings::cursor(db, &resource)).await
    }

    async fn known(&self, resource: &str, page: PageRequest) -> Result<Page<KnownPath>> {
        let resource = resource.to_owned();
        self.read("read what is in a resource", move |db| artifacts::known(db, &resource, &page)).await
    }

    async fn needed(&self, resource: &str, page: PageRequest) -> Result<Page<Digest>> {
        let resource = resource.to_owned();
        self.read("read which artifacts runs need", move |db| needed::digests(db, &resource, &page)).await
    }

    async fn artifacts(&self, query: ArtifactQuery, page: PageRequest) -> Result<Page<Artifact>> {
        self.read("list artifacts", move |db| artifacts::list(db, &query, &page)).await
    }

    async fn create_run(&self, run: NewRun, now: Timestamp) -> Result<Option<CreatedRun>> {
        self.write(steps::CLAIM, move |tx| runs::create(tx, run, now)).await
    }

    async fn advance(&self, run: RunId, id: WriteId, step: RunStep, now: Timestamp) -> Result<Vec<StartedAttempt>> {
        let which = if step.starts.is_empty() { steps::ADVANCE } else { steps::START };
        self.write(which, move |tx| advance::advance(tx, run, id, &step, now)).await
    }

    async fn finish_attempt(
        &self,
        fence: Fence,
        end: AttemptEnd,
        step: RunStep,
        now: Timestamp,
    ) -> Result<Vec<StartedAttempt>> {
        self.write(steps::FINISH, move |tx| attempts::finish(tx, fence, &end, &step, now)).await
    }

    async fn publish_intent(&self, fence: Fence, intent: Intent, now: Timestamp) -> Result<()> {
        let synced = intent.synced;
        self.write_synced(steps::INTENT, synced, move |tx| publish::intent(tx, fence, &intent, now)).await
    }

    async fn published(
        &self,
        fence: Fence,
        visible: Visible,
        step: RunStep,
        now: Timestamp,
    ) -> Result<Vec<StartedAttempt>> {
        let synced = visible.synced;
        let write = move |tx: &mut Tx<'_>| publish::published(tx, fence, &visible.stamps, None, &step, now);
        self.write_synced(steps::PUBLISHED, synced, write).await
    }

    async fn refused(
        &self,
        fence: Fence,
        visible: Visible,
        refusal: Refusal,
        step: RunStep,
        now: Timestamp,
    ) -> Result<Vec<StartedAttempt>> {
        let synced = visible.synced;
        let write = move |tx: &mut Tx<'_>| publish::published(tx, fence, &visible.stamps, Some(&refusal), &step, now);
        self.write_synced(steps::REFUSED, synced, write).await
    }

    async fn request_cancel(&self, run: RunId, now: Timestamp) -> Result<Option<Run>> {
        self.write(steps::CANCEL, move |tx| runs::request_cancel(tx, run, now)).await
    }

    async fn request_retry(&self, run: RunId, again: &[String], id: WriteId, now: Timestamp) -> Result<Option<Run>> {
        let again = again.to_vec();
        self.write(steps::RETRY, move |tx| runs::request_retry(tx, run, &again, id, now)).await
    }

    async fn decide_approval(&self, run: RunId, action: &str, decision: Decision, id: WriteId) -> Result<Option<Run>> {
        let action = action.to_owned();
        self.write(steps::DECIDE, move |tx| approvals::decide(tx, run, &action, &decision, id)).await
    }

    async fn awaiting_approval(&self, page: PageRequest) -> Result<Page<AwaitingApproval>> {
        self.read("list what waits for approval", move |db| approvals::awaiting(db, &page)).await
    }

    async fn take_over(&self, _now: Timestamp) -> Result<Vec<UnfinishedRun>> {
        self.write(steps::TAKE_OVER, unfinished::take_over).await
    }

    async fn note_stop(&self) -> Result<()> {
        self.write(steps::STOP, unfinished::note_stop).await
    }

    async fn unfinished(&self, run: RunId) -> Result<Option<UnfinishedRun>> {
        self.read("read an unfinished run", move |db| unfinished::unfinished(db, run)).await
    }

    async fn run_inputs(&self, run: RunId, page: PageRequest) -> Result<Page<Artifact>> {
        self.read("list the inputs of a run", move |db| runs::inputs(db, run, &page)).await
    }

    async fn count_inputs(&self, run: RunId) -> Result<u64> {
        self.read("count the inputs of a run", move |db| runs::count_inputs(db, run)).await
    }

    async fn run_progress(&self, id: RunId) -> Result<Option<RunDetail>> {
        self.read("read a run", move |db| runs::progress(db, id)).await
    }

    async fn run_summary(&self, id: RunId) -> Result<Option<Run>> {
        self.read("read a run", move |db| run_rows::find(db, id)).await
    }

    async fn count_runs(&self, state: RunState) -> Result<u64> {
        self.read("count runs", move |db| runs::count(db, state)).await
    }

    async fn run_by_number(&self, number: u64) -> Result<Option<RunId>> {
        self.read("read a run", move |db| Ok(run_rows::by_number(db, number)?.map(|run| run.id))).await
    }

    async fn lineage(&self, run: RunId, page: PageRequest) -> Result<Page<LineageEdge>> {
        self.read("read the lineage of a run", move |db| attempts::lineage(db, run, &page)).await
    }

    async fn uses(&self, artifact: ArtifactId, page: PageRequest) -> Result<Page<ArtifactUse>> {
        self.read("read who used an artifact", move |db| attempts::uses(db, artifact, &page)).await
    }

    async fn writer(&self, artifact: ArtifactId) -> Result<Option<ArtifactUse>> {
        self.read("read who wrote an artifact", move |db| attempts::writer(db, artifact)).await
    }

    async fn resource_accesses(&self, resource: &str, limit: u32) -> Result<Vec<ResourceAccess>> {
        let resource = resource.to_owned();
        self.read("read who used a resource", move |db| access_log::of_resource(db, &resource, limit)).await
    }

    async fn action_attempts(&self, action: &str, page: PageRequest) -> Result<Page<ActionAttempt>> {
        let action = action.to_owned();
        self.read("read the attempts of an action", move |db| attempts::of_action(db, &action, &page)).await
    }

    async fn denials(&self, run: RunId) -> Result<Vec<(AttemptId, Denial)>> {
        self.read("read what a run was refused", move |db| attempts::denials(db, run)).await
    }

    async fn requests(&self, run: RunId) -> Result<Vec<(AttemptId, HttpRequest)>> {
        self.read("read what a run asked for over the network", move |db| requests::of_run(db, run)).await
    }

    async fn recording(&self, attempt: AttemptId) -> Result<Option<Recording>> {
        self.read("read what an attempt was told", move |db| attempts::recording(db, attempt)).await
    }

    async fn remembered(
        &self,
        action: &str,
        fingerprint: Digest,
        inputs: Digest,
        limit: u32,
    ) -> Result<Vec<Remembered>> {
        let action = action.to_owned();
        self.read("read what is remembered of an action", move |db| {
            memories::remembered(db, &action, fingerprint, inputs, limit)
        })
        .await
    }

    async fn params(&self, query: FactQuery, page: PageRequest) -> Result<Page<ParamRecord>> {
        self.read("list params", move |db| facts::params(db, &query, &page)).await
    }

    async fn tags(&self, query: FactQuery, page: PageRequest) -> Result<Page<RunTag>> {
        self.read("list tags", move |db| facts::tags(db, &query, &page)).await
    }

    async fn record_tick(&self, tick: Tick) -> Result<()> {
        self.write(steps::TICK, move |tx| ticks::record(tx, &tick)).await
    }

    async fn ticks(&self, query: TickQuery, page: PageRequest) -> Result<Page<Tick>> {
        self.read("list ticks", move |db| ticks::list(db, &query, &page)).await
    }

    async fn trigger_marks(&self) -> Result<Vec<TriggerMark>> {
        self.read("read the marks of triggers", marks::all).await
    }

    async fn set_trigger_marks(&self, marks: Vec<TriggerMark>) -> Result<()> {
        self.write(steps::MARKS, move |tx| marks::replace(tx, &marks)).await
    }

    async fn ended_runs(&self, state: RunState, after: u64, before: u64, limit: u32) -> Result<Vec<EndedRun>> {
        self.read("read which runs have ended", move |db| marks::ended(db, state, after, before, limit)).await
    }

    async fn events(&self, after: u64, run: Option<RunId>, limit: u32) -> Result<Vec<Event>> {
        self.read("read events", move |db| events::after(db, after, run, limit)).await
    }

    async fn oldest_event(&self) -> Result<u64> {
        self.read("read the oldest event", events::oldest).await
    }

    async fn prune_events(&self, keep: u64) -> Result<()> {
        // In batches, so that no other write waits long.
        while self.write(steps::PRUNE, move |tx| events::prune(tx, keep)).await? >= events::prune_batch() {}
        Ok(())
    }

    async fn old_runs(&self, keep: RunsToKeep, gone: GoneRuns, below: Option<u64>) -> Result<OldRuns> {
        self.read("list old runs", move |db| old_runs::list(db, &keep, &gone, below)).await
    }

    async fn remove_runs(&self, keep: RunsToKeep, runs: Vec<u64>, now: Timestamp) -> Result<Removed> {
        self.write(steps::REMOVE, move |tx| old_runs::remove(tx, &keep, &runs, now)).await
    }

    async fn notified(&self) -> Result<Option<u64>> {
        self.read("read which events were examined", notifications::cursor).await
    }

    async fn record_notifications(&self, examined: Option<u64>, new: Vec<Notification>) -> Result<()> {
        self.write(steps::NOTIFY, move |tx| notifications::record(tx, examined, &new)).await
    }

    async fn told_outages(&self) -> Result<Vec<(String, String)>> {
        self.read("read who was told about outages", notifications::told_outages).await
    }

    async fn note_reachable(&self, resource: &str) -> Result<()> {
        let resource = resource.to_owned();
        self.write(steps::REACHABLE, move |tx| notifications::note_reachable(tx, &resource)).await
    }

    async fn note_delivery(&self, id: NotificationId, delivery: Delivery, now: Timestamp) -> Result<()> {
        self.write(steps::DELIVERY, move |tx| notifications::note_delivery(tx, id, &delivery, now)).await
    }

    async fn waiting_notifications(&self, name: &str, limit: u32) -> Result<Vec<Notification>> {
        let name = name.to_owned();
        self.read("list notifications to deliver", move |db| notifications::waiting(db, &name, limit)).await
    }

    async fn last_notification(
        &self,
        name: &str,
        cause: NotifyCause,
        resource: Option<&str>,
    ) -> Result<Option<Notification>> {
        let (name, resource) = (name.to_owned(), resource.map(str::to_owned));
        let last = move |db: &Connection| notifications::last(db, &name, cause, resource.as_deref());
        self.read("read the last notification", last).await
    }

    async fn notifications(&self, query: NotificationQuery, page: PageRequest) -> Result<Page<Notification>> {
        self.read("list notifications", move |db| notifications::list(db, &query, &page)).await
    }

    async fn unfinished_logs(&self) -> Result<Vec<LogRange>> {
        self.read("read which logs are needed", attempts::unfinished_logs).await
    }
}
