//! State and helpers that the dispatcher, the drivers and the executors share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, broadcast, watch};

use super::health::Health;
use super::log_gate::LogGate;
use super::pauses::PauseBoard;
use super::slots::SlotBoard;
use crate::base::{AttemptId, Clock, RunId};
use crate::resource::Outages;
use crate::sandbox::{Executor, Progress};
use crate::store::logs::LogStore;
use crate::store::{MetadataStore, StoreError};

/// How long to wait before trying again after a temporary failure.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(1);
/// The most ends of runs that are buffered for a listener. A slower listener gets an error that
/// says that it has missed some.
pub(super) const ENDS: usize = 1_024;

/// The phase of the host, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The host is working.
    Running,
    /// Nothing new starts; active attempts may finish.
    Finishing,
    /// Attempts that are still active are handed back.
    HandingBack,
}

/// What the driver of a run is told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    /// The run is to be cancelled.
    pub(super) cancel: bool,
    /// Another decision about an approval is on record. It is set again for each one, which wakes
    /// the driver.
    pub(super) decided: bool,
    /// The driver is to end as soon as only a person can continue the run.
    pub(super) leave: bool,
}

/// State that the dispatcher, the drivers and the executors share.
pub(super) struct Shared {
    pub(super) store: Arc<dyn MetadataStore>,
    pub(super) executor: Arc<dyn Executor>,
    pub(super) logs: Arc<dyn LogStore>,
    pub(super) clock: Arc<dyn Clock>,
    /// One permit for each active attempt.
    pub(super) slots: Arc<Semaphore>,
    /// The named limits of the manifest in force.
    pub(super) named: SlotBoard,
    /// The resources and actions that are paused.
    pub(super) pauses: PauseBoard,
    pub(super) phase: watch::Receiver<Phase>,
    /// The progress that active attempts have reported.
    pub(super) progress: ProgressBoard,
    /// Why committed outputs are not published yet.
    pub(super) outages: Outages,
    /// Sends the runs that end, each once its end is on record.
    pub(super) ends: broadcast::Sender<RunId>,
    /// The active runs that cannot continue until a person decides about an approval, or ends
    /// a pause.
    pub(super) left: watch::Sender<BTreeSet<RunId>>,
    /// What prevents the host from working.
    pub(super) health: Health,
    /// Whether log lines can be written.
    pub(super) log_gate: LogGate,
}

impl Shared {
    /// Notes whether a run cannot continue until a person acts.
    pub(super) fn note_left(&self, run: RunId, is_left: bool) {
        self.left.send_if_modified(|runs| if is_left { runs.insert(run) } else { runs.remove(&run) });
    }
}

/// The progress that active attempts have reported.
#[derive(Debug, Clone, Default)]
pub(super) struct ProgressBoard(Arc<Mutex<BTreeMap<AttemptId, Progress>>>);

impl ProgressBoard {
    pub(super) fn set(&self, attempt: AttemptId, progress: Progress) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt, progress);
    }

    pub(super) fn clear(&self, attempt: AttemptId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&attempt);
    }

    pub(super) fn all(&self) -> BTreeMap<AttemptId, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Returns the error for requests while the host is stopping.
pub(super) fn stopping() -> StoreError {
    StoreError::Conflict("the host is stopping; ask again when it has started".to_owned())
}

/// Repeats `write` until the store takes or refuses it, because a full disk must not lose what has
/// happened. While the store fails, [`Health`] reports it.
///
/// # Errors
/// Any refusal of the store. [`StoreError::Unavailable`] only once the host hands back attempts.
pub(super) async fn persist<T, F>(shared: &Shared, mut write: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    loop {
        match write().await {
            Err(error @ StoreError::Unavailable { .. }) => {
                shared.health.write_failed(shared.clock.now(), &error.to_string());
                pause(shared, error).await?;
            }
            answer => {
                shared.health.write_answered();
                return answer;
            }
        }
    }
}

/// Like [`persist`], but for reads, which do not show whether the store takes writes.
///
/// # Errors
/// Any refusal of the store. [`StoreError::Unavailable`] only once the host hands back attempts.
pub(super) async fn read_on<T, F>(shared: &Shared, mut read: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    loop {
        match read().await {
            Err(error @ StoreError::Unavailable { .. }) => pause(shared, error).await?,
            answer => return answer,
        }
    }
}

/// Waits before a retry after `error`. Returns `error` once the host hands back attempts.
async fn pause(shared: &Shared, error: StoreError) -> Result<(), StoreError> {
    let mut phase = shared.phase.clone();
    if *phase.borrow() == Phase::HandingBack {
        return Err(error);
    }
    tracing::error!("{error}; it is tried again every second");
    let _ = tokio::time::timeout(TRY_AGAIN, phase.wait_for(|phase| *phase == Phase::HandingBack)).await;
    Ok(())
}
