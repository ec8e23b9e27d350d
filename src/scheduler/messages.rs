//! The messages to the dispatcher. Senders need to know nothing else about it.

use tokio::sync::oneshot;

use super::error::StartError;
use super::library::PinnedRevision;
use super::new_run::ManualRun;
use crate::base::RunId;
use crate::model::{Pending, Run};
use crate::store::StoreError;

/// The capacity of the dispatcher's queue. Senders wait when it is full.
pub(super) const MESSAGES: usize = 1_024;

/// A message to the dispatcher.
pub(super) enum Message {
    /// The number of pending artifacts in a resource has changed.
    Waiting {
        /// The name of the resource.
        resource: String,
        /// The pending artifacts in it.
        pending: Pending,
    },
    /// Resume a run on record, because someone retried it.
    Resume(RunId),
    /// Cancel a run.
    Cancel(RunId),
    /// A decision about an approval in this run is on record.
    Decided(RunId),
    /// Start a run by hand.
    Start {
        /// The run.
        run: ManualRun,
        /// Receives the answer. If the receiver is gone, the run is not started.
        answer: oneshot::Sender<Result<Run, StoreError>>,
    },
    /// The pipeline was paused (`true`) or resumed.
    Paused(bool),
    /// Put another manifest, or other components, in force.
    Reload {
        /// The manifest and components to put in force.
        bound: Box<PinnedRevision>,
        /// Receives the answer.
        answer: oneshot::Sender<Result<(), StartError>>,
    },
}
