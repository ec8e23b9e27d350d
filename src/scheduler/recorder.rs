//! Records the observations of a watched resource, and reports the pending artifacts to the
//! dispatcher.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc};

use super::core::BEING_SCANNED;
use super::messages::Message;
use super::shared::{Shared, persist};
use crate::base::{fault, memory};
use crate::model::Observation;
use crate::resource::{ObservationSink, RecordOutcome, Status, Waiting};
use crate::store::Batch;

/// The status of each watched resource.
#[derive(Debug, Clone, Default)]
pub(super) struct StatusBoard {
    board: Arc<Mutex<BTreeMap<String, Option<Status>>>>,
    /// What each resource cannot record yet.
    waiting: Arc<Mutex<BTreeMap<String, Waiting>>>,
    changed: Arc<Notify>,
}

impl StatusBoard {
    /// Creates a board on which none of these resources has a status yet.
    pub(super) fn new(resources: impl IntoIterator<Item = String>) -> Self {
        let board = resources.into_iter().map(|name| (name, None)).collect();
        Self { board: Arc::new(Mutex::new(board)), waiting: Arc::default(), changed: Arc::default() }
    }

    pub(super) fn set(&self, resource: &str, status: Status) {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).insert(resource.to_owned(), Some(status));
        self.changed.notify_one();
    }

    fn set_waiting(&self, resource: &str, waiting: Waiting) {
        let mut board = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.count == 0 {
            board.remove(resource);
        } else {
            board.insert(resource.to_owned(), waiting);
        }
    }

    /// Returns what resources cannot record yet. Resources without such paths are absent.
    pub(super) fn waiting(&self) -> BTreeMap<String, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a status has changed. Supports one waiter.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns the status of each resource that has reported one.
    pub(super) fn known(&self) -> BTreeMap<String, Status> {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.iter().filter_map(|(name, status)| Some((name.clone(), status.clone()?))).collect()
    }

    /// Returns the resources that have not been reconciled, each with the reason.
    pub(super) fn unseen(&self) -> BTreeMap<String, String> {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let reason =
            |(name, status): (&String, &Option<Status>)| Some((name.clone(), unseen_reason(name, status.as_ref())?));
        board.iter().filter_map(reason).collect()
    }

    /// Returns the reasons why resources have not been reconciled.
    pub(super) fn not_ready(&self) -> Vec<String> {
        self.unseen().into_values().collect()
    }
}

/// Returns why a resource has not been reconciled, if so. `status` is absent if it has reported
/// none.
pub(super) fn unseen_reason(name: &str, status: Option<&Status>) -> Option<String> {
    match status {
        None | Some(Status::Reconciling) => Some(format!("{name} {BEING_SCANNED}")),
        Some(Status::Unreachable(why)) => Some(format!("{name} cannot be reached: {why}")),
        Some(Status::Watching | Status::Scanning(_)) => None,
    }
}

/// Records the observations of one watched resource.
pub(super) struct Recorder {
    shared: Arc<Shared>,
    resource: String,
    dispatcher: mpsc::Sender<Message>,
    statuses: StatusBoard,
    /// Why the store refused a batch, which ended the watch.
    refusal: Mutex<Option<String>>,
}

impl Recorder {
    pub(super) fn new(
        shared: &Arc<Shared>,
        resource: &str,
        dispatcher: &mpsc::Sender<Message>,
        statuses: &StatusBoard,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            resource: resource.to_owned(),
            dispatcher: dispatcher.clone(),
            statuses: statuses.clone(),
            refusal: Mutex::default(),
        }
    }

    /// Returns why the store refused a batch, if it did.
    pub(super) fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl ObservationSink for Recorder {
    fn as_of(&self) -> u64 {
        *self.shared.store.newest_event().borrow()
    }

    async fn observed(&self, seen: Vec<Observation>, as_of: u64, cursor: Option<String>) -> RecordOutcome {
        fault::point("record.observed");
        let batch = Batch { cursor, ..Batch::new(seen, as_of) };
        let write = || self.shared.store.record(&self.resource, batch.clone(), self.shared.clock.now());
        match persist(&self.shared, write).await {
            Ok(recorded) => {
                let resource = self.resource.clone();
                let message = Message::Waiting { resource, pending: recorded.pending };
                match self.dispatcher.send(message).await {
                    Ok(()) => RecordOutcome::Recorded { outdated: recorded.outdated },
                    Err(_) => RecordOutcome::Refused,
                }
            }
            Err(error) => {
                *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                RecordOutcome::Refused
            }
        }
    }

    fn waiting(&self, waiting: Waiting) {
        self.statuses.set_waiting(&self.resource, waiting);
    }

    fn status(&self, status: Status) {
        match &status {
            Status::Watching if self.statuses.known().contains_key(&self.resource) => {
                tracing::warn!("{} is watched again", self.resource);
            }
            Status::Watching | Status::Reconciling => {}
            Status::Scanning(why) => tracing::warn!("changes in {} are found by scanning: {why}", self.resource),
            Status::Unreachable(why) => tracing::warn!("{} cannot be reached: {why}", self.resource),
        }
        self.statuses.set(&self.resource, status);
        // The thread of the watch calls this. It does not need the memory of the last scan any
        // more.
        memory::give_back();
    }
}
