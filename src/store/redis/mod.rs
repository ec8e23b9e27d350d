//! The Redis store: keys with one prefix in a database on a server.
//!
//! Every method of the trait is one script ([`scripts`]), which the server executes as a whole or
//! not at all. A script that writes compares the epoch first, then reads all that it needs, and
//! writes at its end. One host has the store at a time ([`lease`]). Lists are read in bounded
//! parts, because a script holds up every other client. This file only passes the methods on; the
//! modules make the arguments of the scripts, and read their answers.
//!
//! Once a method has returned, its write survives the death of this process, of the server, and a
//! power cut, with either durability: a server that does not sync every write is refused
//! ([`open`]). A replica that takes the place of a lost server may still lack the last writes. A
//! host that notices this ends.
//!
//! If the connection is lost, methods return [`StoreError::Unavailable`], and the next call
//! connects again.

mod arguments;
mod artifacts;
mod attempts;
mod connect;
mod copied;
mod copy;
mod facts;
mod fitness;
mod lease;
mod memories;
mod models;
mod old_runs;
mod open;
mod others;
mod reader;
mod registry;
mod reply;
mod run_list;
mod runs;
mod scripts;
mod snapshot;
mod step;
#[cfg(test)]
pub(super) mod tests;
mod ticks;
mod upkeep;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio::sync::watch;

use self::arguments::{bounded, time};
use self::connect::{Link, Place};
use self::reader::Reader;
use self::reply::{Fail, Reply, Work};
use self::scripts::WRITE;
use super::keeper::Kept;
use super::steps::{self, Step};
use super::{
    ActionAttempt, ArtifactQuery, ArtifactUse, AttemptEnd, AwaitingApproval, Batch, CreatedRun, FactQuery, GoneRuns,
    GuestRecords, Holder, HostLease, Intent, LineageEdge, Loss, MetadataStore, NewRevision, NewRun, NotificationQuery,
    OldRuns, PageRequest, PublishedOutput, Recorded, Refusal, Removed, ResourceAccess, Result, Revision, RunQuery,
    RunStep, RunsToKeep, SnapshotQuery, StartedAttempt, StoreError, TickQuery, UnfinishedRun, Visible, decision,
};
use crate::base::{ArtifactId, AttemptId, Digest, NotificationId, RunId, Timestamp, WriteId, fault, panicked};
use crate::model::{
    Artifact, Decision, Delivery, Denial, EndedRun, Event, Facts, Fence, HttpRequest, KnownPath, LogRange,
    MetricRecord, NodeKind, Notification, NotifyCause, Page, ParamRecord, Pause, Pending, Recording, Remembered, Run,
    RunDetail, RunState, RunTag, Tick, TriggerMark,
};

pub(super) use copy::{RedisCopy, RedisRecords};
pub use open::read_holder;
pub(super) use upkeep::RedisUpkeep;

/// Why there is no SQL over this kind of store, and what to do instead.
pub const NO_SQL: &str = "a metadata store in Redis answers no SQL: read its records with `anacostia runs list --json` and the \
                          other commands, or keep them in SQLite or PostgreSQL";

/// A store in a database of a Redis server. When it is dropped, it gives the lease back.
#[derive(Debug)]
pub struct RedisStore {
    place: Place,
    link: Link,
    epoch: u64,
    newest: watch::Receiver<u64>,
    /// Absent if it was opened for reading only.
    writing: Option<Writing>,
}

/// The parts that only a host has.
#[derive(Debug)]
struct Writing {
    /// Announces the newest event.
    newest: watch::Sender<u64>,
    /// How many writes the server has confirmed.
    confirmed: AtomicU64,
    /// Tells that the server has less on record than it had confirmed.
    forgotten: watch::Sender<bool>,
    lease: Kept,
    holder: Mutex<Holder>,
}

impl RedisStore {
    /// Executes a method that writes, and returns its answer. If it panics, what it has sent may be
    /// on record, and is repeated as if its answer had been lost.
    async fn write(&self, step: Step, method: &str, arguments: Value) -> Result<Reply> {
        let Some(writing) = &self.writing else {
            return Err(StoreError::Conflict(format!(
                "failed to {}: {} is open for reading only; ask the host that has it, or stop that host first",
                step.doing, self.place
            )));
        };
        let written = AssertUnwindSafe(self.written(writing, step, method, arguments)).catch_unwind().await;
        let why = match written {
            Ok(Ok(_)) if fault::loses_answer(step.name) => "the answer was lost".to_owned(),
            Ok(written) => return written.map_err(|fail| fail.into_store(step.doing)),
            Err(payload) => panicked(&*payload),
        };
        Err(StoreError::Unavailable { doing: step.doing.to_owned(), why })
    }

    async fn written(&self, writing: &Writing, step: Step, method: &str, arguments: Value) -> Work<Reply> {
        let confirmed = writing.confirmed.load(Ordering::SeqCst).to_string();
        fault::point(step.in_transaction);
        let more = [self.epoch.to_string(), confirmed];
        let reply = self.link.call(&WRITE, method, arguments, &more).await?;
        let (answer, event) = self.done(writing, reply)?;
        fault::point(step.committed);
        writing.newest.send_if_modified(|newest| {
            let is_newer = event > *newest;
            *newest = event.max(*newest);
            is_newer
        });
        Ok(answer)
    }

    /// Reads what a write answered: the answer of the method and the newest event, or why the write
    /// was refused.
    fn done(&self, writing: &Writing, reply: Reply) -> Work<(Reply, u64)> {
        let mut parts = reply.list()?.into_iter();
        let mut next = || parts.next().unwrap_or(Reply::Nothing);
        let error = match next().text()?.as_str() {
            "done" => {
                writing.confirmed.fetch_max(next().value()?, Ordering::SeqCst);
                let event = next().value()?;
                return Ok((next(), event));
            }
            "conflict" => StoreError::Conflict(next().text()?),
            "invalid" => StoreError::Invalid(next().text()?),
            "fenced" => StoreError::Fenced { attempt: next().value()?, why: next().text()? },
            "path_taken" => StoreError::PathTaken { resource: next().text()?, path: next().text()? },
            "decided" => StoreError::Conflict(runs::decided_already(next().value()?, &next().row()?)?),
            "taken_over" => {
                StoreError::TakenOver { store: self.place.to_string(), by: Holder::describe(Some(&next().text()?)) }
            }
            "outdated" => return Err(Fail::Server("this host has connected again since".to_owned())),
            "forgotten" => {
                writing.forgotten.send_replace(true);
                StoreError::Forgotten { store: self.place.to_string() }
            }
            other => return Err(Fail::Record(format!("a script answered `{other}`"))),
        };
        Err(error.into())
    }

    fn reader(&self) -> Reader<'_> {
        Reader(&self.link)
    }
}

/// Tells the caller that wanted to do `doing` what has become of it.
fn told<T>(doing: &str, done: Work<T>) -> Result<T> {
    done.map_err(|fail| fail.into_store(doing))
}

/// Like [`told`], about the arguments or the answer of a step.
fn of<T>(step: Step, done: Work<T>) -> Result<T> {
    told(step.doing, done)
}

#[async_trait]
impl HostLease for RedisStore {
    async fn announce(&self, address: &str) -> Result<()> {
        let Some(writing) = &self.writing else { return Ok(()) };
        let holder = {
            let mut holder = writing.holder.lock().unwrap_or_else(PoisonError::into_inner);
            holder.listen = Some(address.to_owned());
            holder.clone()
        };
        let announced = lease::announce(&self.link, self.epoch, &holder).await;
        announced.map_err(|fail| fail.into_store("note the address in the lease"))
    }

    async fn lost(&self) -> Loss {
        let Some(writing) = &self.writing else { return std::future::pending().await };
        let mut forgotten = writing.forgotten.subscribe();
        tokio::select! {
            lost = writing.lease.lost() => lost,
            // The sender lives as long as this.
            _ = forgotten.wait_for(|forgotten| *forgotten) => Loss::Forgotten(self.place.to_string()),
        }
    }
}

#[async_trait]
impl GuestRecords for RedisStore {
    async fn open_intents(&self) -> Result<Vec<PublishedOutput>> {
        told("read what is being published", attempts::open_intents(&self.reader()).await)
    }

    async fn artifact(&self, id: ArtifactId) -> Result<Option<Artifact>> {
        told("read an artifact", artifacts::one(&self.reader(), id).await)
    }

    async fn snapshot(&self, query: SnapshotQuery, page: PageRequest) -> Result<Page<Artifact>> {
        told("read a snapshot", snapshot::snapshot(&self.reader(), &query, &page).await)
    }

    async fn outputs(&self, run: RunId, resource: &str, actions: &[String]) -> Result<Vec<Artifact>> {
        told("read the outputs of actions", snapshot::outputs(&self.reader(), run, resource, actions).await)
    }

    async fn pending(&self, resource: &str) -> Result<Pending> {
        let reply = self.reader().ask("pending", json!({ "resource": resource })).await;
        told("read what waits in a resource", reply.and_then(artifacts::pending))
    }

    async fn pending_artifacts(&self, resource: &str, page: PageRequest) -> Result<Page<Artifact>> {
        told("list what waits in a resource", artifacts::waiting(&self.reader(), resource, &page).await)
    }

    async fn present_artifacts(&self, resource: &str, page: PageRequest) -> Result<Page<Artifact>> {
        told("list what lies in a resource", artifacts::present(&self.reader(), resource, &page).await)
    }

    async fn runs(&self, query: RunQuery, page: PageRequest) -> Result<Page<Run>> {
        told("list runs", run_list::list(&self.reader(), &query, &page).await)
    }

    async fn metrics(&self, query: FactQuery, page: PageRequest) -> Result<Page<MetricRecord>> {
        told("list metrics", facts::metrics(&self.reader(), &query, &page).await)
    }

    async fn record_facts(&self, fence: Fence, id: WriteId, facts: Facts, now: Timestamp) -> Result<()> {
        self.write(steps::FACTS, "record_facts", facts::arguments(fence, id, &facts, now)).await.map(drop)
    }
}

#[async_trait]
impl MetadataStore for RedisStore {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn probe(&self) -> Result<()> {
        self.write(steps::PROBE, "probe", json!({})).await.map(drop)
    }

    fn schema_version(&self) -> Option<usize> {
        Some(lease::SCHEMA)
    }

    fn newest_event(&self) -> watch::Receiver<u64> {
        self.newest.clone()
    }

    async fn register_revision(&self, revision: NewRevision, now: Timestamp) -> Result<()> {
        let NewRevision { digest, manifest, components } = revision;
        let components = of(steps::REVISION, serde_json::to_string(&components).map_err(Fail::from))?;
        let arguments = json!({ "digest": digest, "manifest": manifest, "components": components, "now": time(now) });
        self.write(steps::REVISION, "register_revision", arguments).await.map(drop)
    }

    async fn revision(&self, digest: Digest) -> Result<Option<Revision>> {
        told("read a manifest", others::revision(&self.reader(), digest).await)
    }

    async fn paused(&self) -> Result<bool> {
        let settings = others::settings(&self.reader()).await;
        told("read whether it is paused", settings.map(|settings| settings.has("paused")))
    }

    async fn set_paused(&self, paused: bool, now: Timestamp) -> Result<()> {
        self.write(steps::PAUSE, "set_paused", json!({ "paused": paused, "now": time(now) })).await.map(drop)
    }

    async fn pause_node(&self, kind: NodeKind, name: &str, reason: Option<String>, now: Timestamp) -> Result<Pause> {
        let arguments = json!({ "kind": kind, "name": name, "reason": reason, "now": time(now) });
        let reply = self.write(steps::PAUSE_NODE, "pause_node", arguments).await?;
        of(steps::PAUSE_NODE, reply.first().and_then(|pause| others::pause(pause.unwrap_or(Reply::Nothing))))
    }

    async fn resume_node(&self, kind: NodeKind, name: &str, now: Timestamp) -> Result<()> {
        let arguments = json!({ "kind": kind, "name": name, "now": time(now) });
        self.write(steps::RESUME_NODE, "resume_node", arguments).await.map(drop)
    }

    async fn paused_nodes(&self) -> Result<Vec<Pause>> {
        told("read what is paused", others::pauses(&self.reader()).await)
    }

    async fn record(&self, resource: &str, batch: Batch, now: Timestamp) -> Result<Recorded> {
        let reply = self.write(steps::RECORD, "record", artifacts::batch(resource, &batch, now)).await?;
        of(steps::RECORD, artifacts::recorded(reply))
    }

    async fn cursor(&self, resource: &str) -> Result<Option<String>> {
        told("read a resource's cursor", others::cursor(&self.reader(), resource).await)
    }

    async fn known(&self, resource: &str, page: PageRequest) -> Result<Page<KnownPath>> {
        told("read what is in a resource", artifacts::known(&self.reader(), resource, &page).await)
    }

    async fn needed(&self, resource: &str, page: PageRequest) -> Result<Page<Digest>> {
        told("read which artifacts runs need", artifacts::needed(&self.reader(), resource, &page).await)
    }

    async fn artifacts(&self, query: ArtifactQuery, page: PageRequest) -> Result<Page<Artifact>> {
        told("list artifacts", artifacts::list(&self.reader(), &query, &page).await)
    }

    async fn create_run(&self, run: NewRun, now: Timestamp) -> Result<Option<CreatedRun>> {
        let arguments = of(steps::CLAIM, runs::new_run(&run, now))?;
        let reply = self.write(steps::CLAIM, "create_run", arguments).await?;
        let Some(created) = of(steps::CLAIM, runs::created(reply))? else { return Ok(None) };
        of(steps::CLAIM, created.with_inputs(&self.reader(), run).await).map(Some)
    }

    async fn advance(&self, run: RunId, id: WriteId, step: RunStep, now: Timestamp) -> Result<Vec<StartedAttempt>> {
        let which = if step.starts.is_empty() { steps::ADVANCE } else { steps::START };
        let step = of(which, step::arguments(&step))?;
        let arguments = json!({ "run": run, "id": id, "step": step, "now": time(now) });
        of(which, step::started(self.write(which, "advance", arguments).await?))
    }

    async fn finish_attempt(
        &self,
        fence: Fence,
        end: AttemptEnd,
        step: RunStep,
        now: Timestamp,
    ) -> Result<Vec<StartedAttempt>> {
        let arguments = of(steps::FINISH, attempts::finish(fence, &end, &step, now))?;
        of(steps::FINISH, step::started(self.write(steps::FINISH, "finish_attempt", arguments).await?))
    }

    async fn publish_intent(&self, fence: Fence, intent: Intent, now: Timestamp) -> Result<()> {
        let arguments = of(steps::INTENT, attempts::intent(fence, &intent, now))?;
        self.write(steps::INTENT, "publish_intent", arguments).await.map(drop)
    }

    async fn published(
        &self,
        fence: Fence,
        visible: Visible,
        step: RunStep,
        now: Timestamp,
    ) -> Result<Vec<StartedAttempt>> {
        let arguments = of(steps::PUBLISHED, attempts::published(fence, &visible, None, &step, now))?;
        of(steps::PUBLISHED, step::started(self.write(steps::PUBLISHED, "published", arguments).await?))
    }

    async fn refused(
        &self,
        fence: Fence,
        visible: Visible,
        refusal: Refusal,
        step: RunStep,
        now: Timestamp,
    ) -> Result<Vec<StartedAttempt>> {
        let arguments = of(steps::REFUSED, attempts::published(fence, &visible, Some(&refusal), &step, now))?;
        of(steps::REFUSED, step::started(self.write(steps::REFUSED, "published", arguments).await?))
    }

    async fn request_cancel(&self, run: RunId, now: Timestamp) -> Result<Option<Run>> {
        let reply = self.write(steps::CANCEL, "request_cancel", json!({ "run": run, "now": time(now) })).await?;
        of(steps::CANCEL, runs::changed(reply))
    }

    async fn request_retry(&self, run: RunId, again: &[String], id: WriteId, now: Timestamp) -> Result<Option<Run>> {
        let arguments = json!({ "run": run, "again": again, "id": id, "now": time(now) });
        of(steps::RETRY, runs::changed(self.write(steps::RETRY, "request_retry", arguments).await?))
    }

    async fn decide_approval(&self, run: RunId, action: &str, decision: Decision, id: WriteId) -> Result<Option<Run>> {
        decision::check(&decision)?;
        let Decision { verdict, by, note, at } = decision;
        let arguments = json!({
            "run": run, "action": action, "verdict": verdict, "by": by, "note": note, "id": id, "now": time(at),
        });
        of(steps::DECIDE, runs::changed(self.write(steps::DECIDE, "decide_approval", arguments).await?))
    }

    async fn awaiting_approval(&self, page: PageRequest) -> Result<Page<AwaitingApproval>> {
        told("list what waits for approval", runs::awaiting(&self.reader(), &page).await)
    }

    async fn take_over(&self, _now: Timestamp) -> Result<Vec<UnfinishedRun>> {
        let ids = of(steps::TAKE_OVER, self.write(steps::TAKE_OVER, "take_over", json!({})).await?.each(Reply::value))?;
        let mut found = Vec::new();
        for id in ids {
            found.extend(of(steps::TAKE_OVER, runs::unfinished(&self.reader(), id).await)?);
        }
        Ok(found)
    }

    async fn note_stop(&self) -> Result<()> {
        self.write(steps::STOP, "note_stop", json!({})).await.map(drop)
    }

    async fn unfinished(&self, run: RunId) -> Result<Option<UnfinishedRun>> {
        told("read an unfinished run", runs::unfinished(&self.reader(), run).await)
    }

    async fn run_inputs(&self, run: RunId, page: PageRequest) -> Result<Page<Artifact>> {
        told("list the inputs of a run", artifacts::inputs(&self.reader(), run, &page).await)
    }

    async fn count_inputs(&self, run: RunId) -> Result<u64> {
        told("count the inputs of a run", runs::count(&self.reader(), "count_inputs", json!({ "id": run })).await)
    }

    async fn run_progress(&self, id: RunId) -> Result<Option<RunDetail>> {
        told("read a run", runs::progress(&self.reader(), id).await)
    }

    async fn run_summary(&self, id: RunId) -> Result<Option<Run>> {
        told("read a run", runs::summary(&self.reader(), id).await)
    }

    async fn count_runs(&self, state: RunState) -> Result<u64> {
        told("count runs", runs::count(&self.reader(), "count_runs", json!({ "state": state })).await)
    }

    async fn run_by_number(&self, number: u64) -> Result<Option<RunId>> {
        told("read a run", runs::by_number(&self.reader(), number).await)
    }

    async fn lineage(&self, run: RunId, page: PageRequest) -> Result<Page<LineageEdge>> {
        told("read the lineage of a run", attempts::lineage(&self.reader(), run, &page).await)
    }

    async fn uses(&self, artifact: ArtifactId, page: PageRequest) -> Result<Page<ArtifactUse>> {
        told("read who used an artifact", attempts::uses(&self.reader(), artifact, &page).await)
    }

    async fn writer(&self, artifact: ArtifactId) -> Result<Option<ArtifactUse>> {
        told("read who wrote an artifact", attempts::writer(&self.reader(), artifact).await)
    }

    async fn resource_accesses(&self, resource: &str, limit: u32) -> Result<Vec<ResourceAccess>> {
        told("read who used a resource", attempts::of_resource(&self.reader(), resource, limit).await)
    }

    async fn action_attempts(&self, action: &str, page: PageRequest) -> Result<Page<ActionAttempt>> {
        told("read the attempts of an action", attempts::of_action(&self.reader(), action, &page).await)
    }

    async fn denials(&self, run: RunId) -> Result<Vec<(AttemptId, Denial)>> {
        told("read what a run was refused", attempts::denials(&self.reader(), run).await)
    }

    async fn requests(&self, run: RunId) -> Result<Vec<(AttemptId, HttpRequest)>> {
        told("read what a run asked for over the network", attempts::requests(&self.reader(), run).await)
    }

    async fn recording(&self, attempt: AttemptId) -> Result<Option<Recording>> {
        told("read what an attempt was told", attempts::recording(&self.reader(), attempt).await)
    }

    async fn remembered(
        &self,
        action: &str,
        fingerprint: Digest,
        inputs: Digest,
        limit: u32,
    ) -> Result<Vec<Remembered>> {
        let found = memories::remembered(&self.reader(), action, fingerprint, inputs, limit).await;
        told("read what is remembered of an action", found)
    }

    async fn params(&self, query: FactQuery, page: PageRequest) -> Result<Page<ParamRecord>> {
        told("list params", facts::params(&self.reader(), &query, &page).await)
    }

    async fn tags(&self, query: FactQuery, page: PageRequest) -> Result<Page<RunTag>> {
        told("list tags", facts::tags(&self.reader(), &query, &page).await)
    }

    async fn record_tick(&self, tick: Tick) -> Result<()> {
        let tick = of(steps::TICK, ticks::arguments(&tick, None))?;
        self.write(steps::TICK, "record_tick", json!({ "tick": tick })).await.map(drop)
    }

    async fn ticks(&self, query: TickQuery, page: PageRequest) -> Result<Page<Tick>> {
        told("list ticks", ticks::list(&self.reader(), &query, &page).await)
    }

    async fn trigger_marks(&self) -> Result<Vec<TriggerMark>> {
        told("read the marks of triggers", ticks::all_marks(&self.reader()).await)
    }

    async fn set_trigger_marks(&self, marks: Vec<TriggerMark>) -> Result<()> {
        let marks = of(steps::MARKS, ticks::marks(&marks))?;
        self.write(steps::MARKS, "set_trigger_marks", json!({ "marks": marks })).await.map(drop)
    }

    async fn ended_runs(&self, state: RunState, after: u64, before: u64, limit: u32) -> Result<Vec<EndedRun>> {
        let (after, before) = (bounded(after), bounded(before));
        let arguments = json!({ "state": state, "after": after, "before": before, "limit": limit });
        let reply = self.reader().ask("ended_runs", arguments).await;
        told("read which runs have ended", reply.and_then(|reply| reply.each(runs::ended)))
    }

    async fn events(&self, after: u64, run: Option<RunId>, limit: u32) -> Result<Vec<Event>> {
        told("read events", others::events(&self.reader(), after, run, limit).await)
    }

    async fn oldest_event(&self) -> Result<u64> {
        told("read the oldest event", runs::count(&self.reader(), "oldest_event", json!({})).await)
    }

    async fn prune_events(&self, keep: u64) -> Result<()> {
        // In batches, so that no other write waits long.
        let arguments = json!({ "keep": bounded(keep), "batch": others::PRUNE_BATCH });
        loop {
            let dropped = self.write(steps::PRUNE, "prune_events", arguments.clone()).await?.first();
            let dropped = dropped.and_then(|count| count.unwrap_or(Reply::Nothing).value::<u64>());
            if of(steps::PRUNE, dropped)? < others::PRUNE_BATCH {
                return Ok(());
            }
        }
    }

    async fn old_runs(&self, keep: RunsToKeep, gone: GoneRuns, below: Option<u64>) -> Result<OldRuns> {
        told("list old runs", old_runs::list(&self.reader(), &keep, &gone, below).await)
    }

    async fn remove_runs(&self, keep: RunsToKeep, runs: Vec<u64>, now: Timestamp) -> Result<Removed> {
        let reply = self.write(steps::REMOVE, "remove_runs", old_runs::arguments(&keep, &runs, now)).await?;
        of(steps::REMOVE, old_runs::removed(reply))
    }

    async fn notified(&self) -> Result<Option<u64>> {
        let settings = others::settings(&self.reader()).await;
        told("read which events were examined", settings.and_then(|settings| settings.opt("notified")))
    }

    async fn record_notifications(&self, examined: Option<u64>, new: Vec<Notification>) -> Result<()> {
        let new = of(steps::NOTIFY, new.iter().map(others::arguments).collect::<Work<Vec<_>>>())?;
        self.write(steps::NOTIFY, "record_notifications", json!({ "examined": examined, "new": new })).await.map(drop)
    }

    async fn told_outages(&self) -> Result<Vec<(String, String)>> {
        told("read who was told about outages", others::told_outages(&self.reader()).await)
    }

    async fn note_reachable(&self, resource: &str) -> Result<()> {
        self.write(steps::REACHABLE, "note_reachable", json!({ "resource": resource })).await.map(drop)
    }

    async fn note_delivery(&self, id: NotificationId, delivery: Delivery, now: Timestamp) -> Result<()> {
        let Delivery { state, attempts, error } = delivery;
        let arguments = json!({ "id": id, "state": state, "attempts": attempts, "error": error, "now": time(now) });
        self.write(steps::DELIVERY, "note_delivery", arguments).await.map(drop)
    }

    async fn waiting_notifications(&self, name: &str, limit: u32) -> Result<Vec<Notification>> {
        told("list notifications to deliver", others::waiting(&self.reader(), name, limit).await)
    }

    async fn last_notification(
        &self,
        name: &str,
        cause: NotifyCause,
        resource: Option<&str>,
    ) -> Result<Option<Notification>> {
        told("read the last notification", others::last(&self.reader(), name, cause, resource).await)
    }

    async fn notifications(&self, query: NotificationQuery, page: PageRequest) -> Result<Page<Notification>> {
        told("list notifications", others::notifications(&self.reader(), &query, &page).await)
    }

    async fn unfinished_logs(&self) -> Result<Vec<LogRange>> {
        told("read which logs are needed", runs::unfinished_logs(&self.reader()).await)
    }
}
