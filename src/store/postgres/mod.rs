//! The PostgreSQL store: a schema in a database on a server.
//!
//! One connection writes ([`writer`]: a transaction for each write, one after the other), a few
//! read ([`Place::pool`]: snapshots), and one host has the store at a time ([`lease`]). Every
//! method of the trait is a function over one transaction, in the module of its subject, which has
//! the name that it has in the SQLite store. This file only passes them to the connections.
//!
//! Once a method has returned, its write survives the death of this process. With
//! [`Durability::Full`] the server syncs every commit; with [`Durability::Normal`] it does so only
//! for the epoch and for commits that ask for it ([`Intent::synced`]), so the others of the last
//! moments may be lost if it crashes, or its machine loses power. A host that notices this ends
//! ([`writer`]).
//!
//! If the connection is lost, methods return [`StoreError::Unavailable`], and the next call
//! connects again.
//!
//! [`Durability::Full`]: crate::model::Durability::Full
//! [`Durability::Normal`]: crate::model::Durability::Normal

/// Work on a transaction, as the pools need it: `work!(tx => …)`.
macro_rules! work {
    ($transaction:ident => $work:expr) => {
        move |$transaction| Box::pin(async move { $work })
    };
}

mod access_log;
mod advance;
mod approvals;
mod artifacts;
mod attempts;
mod connect;
mod copy;
mod db;
mod events;
mod facts;
mod holder;
mod lease;
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
pub(super) mod tests;
mod ticks;
mod unfinished;
mod upkeep;
mod views;
mod writer;

use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use deadpool_postgres::Pool;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use self::connect::{Place, no_connection};
use self::db::Db;
use self::sql::{Fail, Work};
use self::writer::{Tx, Writer};
use super::keeper::Kept;
use super::steps::{self, Step};
use super::{
    ActionAttempt, ArtifactQuery, ArtifactUse, AttemptEnd, AwaitingApproval, Batch, CreatedRun, FactQuery, GoneRuns,
    GuestRecords, Holder, HostLease, Intent, LineageEdge, Loss, MetadataStore, NewRevision, NewRun, NotificationQuery,
    OldRuns, PageRequest, PublishedOutput, Recorded, Refusal, Removed, ResourceAccess, Result, Revision, RunQuery,
    RunStep, RunsToKeep, SnapshotQuery, StartedAttempt, StoreError, TickQuery, UnfinishedRun, Visible,
};
use crate::base::{ArtifactId, AttemptId, Digest, NotificationId, RunId, Timestamp, WriteId};
use crate::model::{
    Artifact, Decision, Delivery, Denial, EndedRun, Event, Facts, Fence, HttpRequest, KnownPath, LogRange,
    MetricRecord, NodeKind, Notification, NotifyCause, Page, ParamRecord, Pause, Pending, Recording, Remembered, Run,
    RunDetail, RunState, RunTag, Tick, TriggerMark,
};

pub(super) use copy::{PostgresCopy, PostgresRecords};
pub use open::read_holder;
pub(super) use upkeep::PostgresUpkeep;
pub(super) use views::PostgresViews;

/// Begins a transaction that reads: one snapshot for all of its statements.
const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// A store in a schema of a PostgreSQL database. When it is dropped, it gives the lease back.
#[derive(Debug)]
pub struct PostgresStore {
    place: Place,
    epoch: u64,
    newest: watch::Receiver<u64>,
    readers: Pool,
    /// Absent if it was opened for reading only.
    writing: Option<Writing>,
}

/// The parts that only a host has.
#[derive(Debug)]
struct Writing {
    writer: Writer,
    lease: Kept,
    holder: Mutex<Holder>,
}

impl PostgresStore {
    async fn write<T: Send + 'static>(
        &self,
        step: Step,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Work<T>> + Send + 'static,
    ) -> Result<T> {
        self.write_synced(step, false, work).await
    }

    /// Like [`Self::write`]. With `synced`, the commit survives a power cut with every durability.
    async fn write_synced<T: Send + 'static>(
        &self,
        step: Step,
        synced: bool,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Work<T>> + Send + 'static,
    ) -> Result<T> {
        let Some(writing) = &self.writing else {
            return Err(StoreError::Conflict(format!(
                "failed to {}: {} is open for reading only; ask the host that has it, or stop that host first",
                step.doing, self.place
            )));
        };
        writing.writer.write(step, synced, work).await
    }

    /// Does `work` on one snapshot of the database.
    async fn read<T: Send>(
        &self,
        doing: &'static str,
        work: impl for<'d> FnOnce(&'d Db) -> BoxFuture<'d, Work<T>> + Send,
    ) -> Result<T> {
        self.reading(Some(READ), work).await.map_err(|fail| fail.into_store(doing))
    }

    /// Does `work` that is one statement, and so needs no transaction.
    async fn look<T: Send>(
        &self,
        doing: &'static str,
        work: impl for<'d> FnOnce(&'d Db) -> BoxFuture<'d, Work<T>> + Send,
    ) -> Result<T> {
        self.reading(None, work).await.map_err(|fail| fail.into_store(doing))
    }

    async fn reading<T: Send>(
        &self,
        begin: Option<&'static str>,
        work: impl for<'d> FnOnce(&'d Db) -> BoxFuture<'d, Work<T>> + Send,
    ) -> Work<T> {
        let client = self.readers.get().await.map_err(no_connection)?;
        let db = Db::new(client, begin);
        let found = AssertUnwindSafe(work(&db)).catch_unwind().await;
        let found = found.unwrap_or_else(|payload| Err(Fail::panicked(&*payload)));
        if found.is_ok() {
            db.end(begin.map(|_| "COMMIT")).await?;
        } else {
            db.undo().await;
        }
        found
    }
}

#[async_trait]
impl HostLease for PostgresStore {
    async fn announce(&self, address: &str) -> Result<()> {
        let Some(writing) = &self.writing else { return Ok(()) };
        let holder = {
            let mut holder = writing.holder.lock().unwrap_or_else(PoisonError::into_inner);
            holder.listen = Some(address.to_owned());
            holder.clone()
        };
        let announce = async {
            let db = Db::new(writing.writer.pool.get().await.map_err(no_connection)?, None);
            holder::announce(&db, self.epoch, &holder).await?;
            db.end(None).await
        };
        announce.await.map_err(|fail: Fail| fail.into_store("note the address in the lease"))
    }

    async fn lost(&self) -> Loss {
        let Some(writing) = &self.writing else { return std::future::pending().await };
        tokio::select! {
            lost = writing.lease.lost() => lost,
            () = writing.writer.forgets() => Loss::Forgotten(self.place.to_string()),
        }
    }
}

#[async_trait]
impl GuestRecords for PostgresStore {
    async fn open_intents(&self) -> Result<Vec<PublishedOutput>> {
        self.look("read what is being published", work!(db => attempts::open_intents(db).await)).await
    }

    async fn artifact(&self, id: ArtifactId) -> Result<Option<Artifact>> {
        self.look("read an artifact", work!(db => artifacts::one(db, id).await)).await
    }

    async fn snapshot(&self, query: SnapshotQuery, page: PageRequest) -> Result<Page<Artifact>> {
        self.read("read a snapshot", work!(db => snapshot::snapshot(db, &query, &page).await)).await
    }

    async fn outputs(&self, run: RunId, resource: &str, actions: &[String]) -> Result<Vec<Artifact>> {
        let (resource, actions) = (resource.to_owned(), actions.to_owned());
        self.read("read the outputs of actions", work!(db => snapshot::outputs(db, run, &resource, &actions).await))
            .await
    }

    async fn pending(&self, resource: &str) -> Result<Pending> {
        let resource = resource.to_owned();
        self.read("read what waits in a resource", work!(db => artifacts::pending(db, &resource).await)).await
    }

    async fn pending_artifacts(&self, resource: &str, page: PageRequest) -> Result<Page<Artifact>> {
        let resource = resource.to_owned();
        self.look("list what waits in a resource", work!(db => artifacts::waiting(db, &resource, &page).await)).await
    }

    async fn present_artifacts(&self, resource: &str, page: PageRequest) -> Result<Page<Artifact>> {
        let resource = resource.to_owned();
        self.look("list what lies in a resource", work!(db => artifacts::present(db, &resource, &page).await)).await
    }

    async fn runs(&self, query: RunQuery, page: PageRequest) -> Result<Page<Run>> {
        self.read("list runs", work!(db => run_list::list(db, &query, &page).await)).await
    }

    async fn metrics(&self, query: FactQuery, page: PageRequest) -> Result<Page<MetricRecord>> {
        self.read("list metrics", work!(db => facts::metrics(db, &query, &page).await)).await
    }

    async fn record_facts(&self, fence: Fence, id: WriteId, facts: Facts, now: Timestamp) -> Result<()> {
        self.write(steps::FACTS, work!(tx => facts::record(tx, fence, id, &facts, now).await)).await
    }
}

#[async_trait]
impl MetadataStore for PostgresStore {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn probe(&self) -> Result<()> {
        self.write(steps::PROBE, work!(_tx => Ok(()))).await
    }

    fn schema_version(&self) -> Option<usize> {
        Some(migrations::SCRIPTS.len())
    }

    fn newest_event(&self) -> watch::Receiver<u64> {
        self.newest.clone()
    }

    async fn register_revision(&self, revision: NewRevision, now: Timestamp) -> Result<()> {
        self.write(steps::REVISION, work!(tx => settings::register_revision(tx, &revision, now).await)).await
    }

    async fn revision(&self, digest: Digest) -> Result<Option<Revision>> {
        self.look("read a manifest", work!(db => settings::revision(db, digest).await)).await
    }

    async fn paused(&self) -> Result<bool> {
        self.look("read whether it is paused", work!(db => settings::paused(db).await)).await
    }

    async fn set_paused(&self, paused: bool, now: Timestamp) -> Result<()> {
        self.write(steps::PAUSE, work!(tx => settings::set_paused(tx, paused, now).await)).await
    }

    async fn pause_node(&self, kind: NodeKind, name: &str, reason: Option<String>, now: Timestamp) -> Result<Pause> {
        let name = name.to_owned();
        self.write(steps::PAUSE_NODE, work!(tx => pauses::pause(tx, kind, &name, reason, now).await)).await
    }

    async fn resume_node(&self, kind: NodeKind, name: &str, now: Timestamp) -> Result<()> {
        let name = name.to_owned();
        self.write(steps::RESUME_NODE, work!(tx => pauses::resume(tx, kind, &name, now).await)).await
    }

    async fn paused_nodes(&self) -> Result<Vec<Pause>> {
        self.look("read what is paused", work!(db => pauses::all(db).await)).await
    }

    async fn record(&self, resource: &str, batch: Batch, now: Timestamp) -> Result<Recorded> {
        let resource = resource.to_owned();
        self.write(steps::RECORD, work!(tx => record::record(tx, &resource, &batch, now).await)).await
    }

    async fn cursor(&self, resource: &str) -> Result<Option<String>> {
        let resource = resource.to_owned();
        self.look("read a resource's cursor", work!(db => settings::cursor(db, &resource).await)).await
    }

    async fn known(&self, resource: &str, page: PageRequest) -> Result<Page<KnownPath>> {
        let resource = resource.to_owned();
        self.look("read what is in a resource", work!(db => artifacts::known(db, &resource, &page).await)).await
    }

    async fn needed(&self, resource: &str, page: PageRequest) -> Result<Page<Digest>> {
        let resource = resource.to_owned();
        self.read("read which artifacts runs need", work!(db => needed::digests(db, &resource, &page).await)).await
    }

    async fn artifacts(&self, query: ArtifactQuery, page: PageRequest) -> Result<Page<Artifact>> {
        self.read("list artifacts", work!(db => artifacts::list(db, &query, &page).await)).await
    }

    async fn create_run(&self, run: NewRun, now: Timestamp) -> Result<Option<CreatedRun>> {
        self.write(steps::CLAIM, work!(tx => runs::create(tx, run, now).await)).await
    }

    async fn advance(&self, run: RunId, id: WriteId, step: RunStep, now: Timestamp) -> Result<Vec<StartedAttempt>> {
        let which = if step.starts.is_empty() { steps::ADVANCE } else { steps::START };
        self.write(which, work!(tx => advance::advance(tx, run, id, &step, now).await)).await
    }

    async fn finish_attempt(
        &self,
        fence: Fence,
        end: AttemptEnd,
        step: RunStep,
        now: Timestamp,
    ) -> Result<Vec<StartedAttempt>> {
        self.write(steps::FINISH, work!(tx => attempts::finish(tx, fence, &end, &step, now).await)).await
    }

    async fn publish_intent(&self, fence: Fence, intent: Intent, now: Timestamp) -> Result<()> {
        let synced = intent.synced;
        self.write_synced(steps::INTENT, synced, work!(tx => publish::intent(tx, fence, &intent, now).await)).await
    }

    async fn published(
        &self,
        fence: Fence,
        visible: Visible,
        step: RunStep,
        now: Timestamp,
    ) -> Result<Vec<StartedAttempt>> {
        let synced = visible.synced;
        self.write_synced(
            steps::PUBLISHED,
            synced,
            work!(tx => publish::published(tx, fence, &visible.stamps, None, &step, now).await),
        )
        .await
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
        self.write_synced(
            steps::REFUSED,
            synced,
            work!(tx => publish::published(tx, fence, &visible.stamps, Some(&refusal), &step, now).await),
        )
        .await
    }

    async fn request_cancel(&self, run: RunId, now: Timestamp) -> Result<Option<Run>> {
        self.write(steps::CANCEL, work!(tx => runs::request_cancel(tx, run, now).await)).await
    }

    async fn request_retry(&self, run: RunId, again: &[String], id: WriteId, now: Timestamp) -> Result<Option<Run>> {
        let again = again.to_vec();
        self.write(steps::RETRY, work!(tx => runs::request_retry(tx, run, &again, id, now).await)).await
    }

    async fn decide_approval(&self, run: RunId, action: &str, decision: Decision, id: WriteId) -> Result<Option<Run>> {
        let action = action.to_owned();
        self.write(steps::DECIDE, work!(tx => approvals::decide(tx, run, &action, &decision, id).await)).await
    }

    async fn awaiting_approval(&self, page: PageRequest) -> Result<Page<AwaitingApproval>> {
        self.look("list what waits for approval", work!(db => approvals::awaiting(db, &page).await)).await
    }

    async fn take_over(&self, _now: Timestamp) -> Result<Vec<UnfinishedRun>> {
        self.write(steps::TAKE_OVER, work!(tx => unfinished::take_over(tx).await)).await
    }

    async fn note_stop(&self) -> Result<()> {
        self.write(steps::STOP, work!(tx => { unfinished::note_stop(tx); Ok(()) })).await
    }

    async fn unfinished(&self, run: RunId) -> Result<Option<UnfinishedRun>> {
        self.read("read an unfinished run", work!(db => unfinished::unfinished(db, run).await)).await
    }

    async fn run_inputs(&self, run: RunId, page: PageRequest) -> Result<Page<Artifact>> {
        self.read("list the inputs of a run", work!(db => runs::inputs(db, run, &page).await)).await
    }

    async fn count_inputs(&self, run: RunId) -> Result<u64> {
        self.look("count the inputs of a run", work!(db => runs::count_inputs(db, run).await)).await
    }

    async fn run_progress(&self, id: RunId) -> Result<Option<RunDetail>> {
        self.read("read a run", work!(db => runs::progress(db, id).await)).await
    }

    async fn run_summary(&self, id: RunId) -> Result<Option<Run>> {
        self.look("read a run", work!(db => run_rows::find(db, id).await)).await
    }

    async fn count_runs(&self, state: RunState) -> Result<u64> {
        self.look("count runs", work!(db => runs::count(db, state).await)).await
    }

    async fn run_by_number(&self, number: u64) -> Result<Option<RunId>> {
        self.look("read a run", work!(db => Ok(run_rows::by_number(db, number).await?.map(|run| run.id)))).await
    }

    async fn lineage(&self, run: RunId, page: PageRequest) -> Result<Page<LineageEdge>> {
        self.read("read the lineage of a run", work!(db => attempts::lineage(db, run, &page).await)).await
    }

    async fn uses(&self, artifact: ArtifactId, page: PageRequest) -> Result<Page<ArtifactUse>> {
        self.look("read who used an artifact", work!(db => attempts::uses(db, artifact, &page).await)).await
    }

    async fn writer(&self, artifact: ArtifactId) -> Result<Option<ArtifactUse>> {
        self.look("read who wrote an artifact", work!(db => attempts::writer(db, artifact).await)).await
    }

    async fn resource_accesses(&self, resource: &str, limit: u32) -> Result<Vec<ResourceAccess>> {
        let resource = resource.to_owned();
        self.read("read who used a resource", work!(db => access_log::of_resource(db, &resource, limit).await)).await
    }

    async fn action_attempts(&self, action: &str, page: PageRequest) -> Result<Page<ActionAttempt>> {
        let action = action.to_owned();
        self.read("read the attempts of an action", work!(db => attempts::of_action(db, &action, &page).await)).await
    }

    async fn denials(&self, run: RunId) -> Result<Vec<(AttemptId, Denial)>> {
        self.read("read what a run was refused", work!(db => attempts::denials(db, run).await)).await
    }

    async fn requests(&self, run: RunId) -> Result<Vec<(AttemptId, HttpRequest)>> {
        self.read("read what a run asked for over the network", work!(db => requests::of_run(db, run).await)).await
    }

    async fn recording(&self, attempt: AttemptId) -> Result<Option<Recording>> {
        self.read("read what an attempt was told", work!(db => attempts::recording(db, attempt).await)).await
    }

    async fn remembered(
        &self,
        action: &str,
        fingerprint: Digest,
        inputs: Digest,
        limit: u32,
    ) -> Result<Vec<Remembered>> {
        let action = action.to_owned();
        self.read(
            "read what is remembered of an action",
            work!(db => memories::remembered(db, &action, fingerprint, inputs, limit).await),
        )
        .await
    }

    async fn params(&self, query: FactQuery, page: PageRequest) -> Result<Page<ParamRecord>> {
        self.read("list params", work!(db => facts::params(db, &query, &page).await)).await
    }

    async fn tags(&self, query: FactQuery, page: PageRequest) -> Result<Page<RunTag>> {
        self.read("list tags", work!(db => facts::tags(db, &query, &page).await)).await
    }

    async fn record_tick(&self, tick: Tick) -> Result<()> {
        self.write(steps::TICK, work!(tx => ticks::record(tx, &tick).await)).await
    }

    async fn ticks(&self, query: TickQuery, page: PageRequest) -> Result<Page<Tick>> {
        self.look("list ticks", work!(db => ticks::list(db, &query, &page).await)).await
    }

    async fn trigger_marks(&self) -> Result<Vec<TriggerMark>> {
        self.look("read the marks of triggers", work!(db => marks::all(db).await)).await
    }

    async fn set_trigger_marks(&self, marks: Vec<TriggerMark>) -> Result<()> {
        self.write(steps::MARKS, work!(tx => { marks::replace(tx, &marks); Ok(()) })).await
    }

    async fn ended_runs(&self, state: RunState, after: u64, before: u64, limit: u32) -> Result<Vec<EndedRun>> {
        self.look("read which runs have ended", work!(db => marks::ended(db, state, after, before, limit).await)).await
    }

    async fn events(&self, after: u64, run: Option<RunId>, limit: u32) -> Result<Vec<Event>> {
        self.look("read events", work!(db => events::after(db, after, run, limit).await)).await
    }

    async fn oldest_event(&self) -> Result<u64> {
        self.read("read the oldest event", work!(db => events::oldest(db).await)).await
    }

    async fn prune_events(&self, keep: u64) -> Result<()> {
        // In batches, so that no other write waits long.
        while self.write(steps::PRUNE, work!(tx => events::prune(tx, keep).await)).await? >= events::prune_batch() {}
        Ok(())
    }

    async fn old_runs(&self, keep: RunsToKeep, gone: GoneRuns, below: Option<u64>) -> Result<OldRuns> {
        self.read("list old runs", work!(db => old_runs::list(db, &keep, &gone, below).await)).await
    }

    async fn remove_runs(&self, keep: RunsToKeep, runs: Vec<u64>, now: Timestamp) -> Result<Removed> {
        self.write(steps::REMOVE, work!(tx => old_runs::remove(tx, &keep, &runs, now).await)).await
    }

    async fn notified(&self) -> Result<Option<u64>> {
        self.look("read which events were examined", work!(db => notifications::cursor(db).await)).await
    }

    async fn record_notifications(&self, examined: Option<u64>, new: Vec<Notification>) -> Result<()> {
        self.write(steps::NOTIFY, work!(tx => notifications::record(tx, examined, &new).await)).await
    }

    async fn told_outages(&self) -> Result<Vec<(String, String)>> {
        self.look("read who was told about outages", work!(db => notifications::told_outages(db).await)).await
    }

    async fn note_reachable(&self, resource: &str) -> Result<()> {
        let resource = resource.to_owned();
        self.write(steps::REACHABLE, work!(tx => { notifications::note_reachable(tx, &resource); Ok(()) })).await
    }

    async fn note_delivery(&self, id: NotificationId, delivery: Delivery, now: Timestamp) -> Result<()> {
        self.write(steps::DELIVERY, work!(tx => { notifications::note_delivery(tx, id, &delivery, now); Ok(()) })).await
    }

    async fn waiting_notifications(&self, name: &str, limit: u32) -> Result<Vec<Notification>> {
        let name = name.to_owned();
        self.look("list notifications to deliver", work!(db => notifications::waiting(db, &name, limit).await)).await
    }

    async fn last_notification(
        &self,
        name: &str,
        cause: NotifyCause,
        resource: Option<&str>,
    ) -> Result<Option<Notification>> {
        let (name, resource) = (name.to_owned(), resource.map(str::to_owned));
        self.look(
            "read the last notification",
            work!(db => notifications::last(db, &name, cause, resource.as_deref()).await),
        )
        .await
    }

    async fn notifications(&self, query: NotificationQuery, page: PageRequest) -> Result<Page<Notification>> {
        self.look("list notifications", work!(db => notifications::list(db, &query, &page).await)).await
    }

    async fn unfinished_logs(&self) -> Result<Vec<LogRange>> {
        self.read("read which logs are needed", work!(db => attempts::unfinished_logs(db).await)).await
    }
}
