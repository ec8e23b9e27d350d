//! What the dispatcher is told, and by whom nothing else needs to be known.

use tokio::sync::oneshot;

use super::error::StartError;
use super::library::PinnedRevision;
use crate::base::RunId;
use crate::model::{Pending, Run};
use crate::store::StoreError;

/// The most messages that wait for the dispatcher; senders wait beyond that.
pub(super) const MESSAGES: usize = 1_024;

/// What the dispatcher is told.
pub(super) enum Message {
    /// What waits in a resource changed.
    Waiting {
        /// The resource.
        resource: String,
        /// What waits there.
        pending: Pending,
    },
    /// A run on record is to be driven: someone retried it.
    TakeUp(RunId),
    /// A run is to end.
    Cancel(RunId),
    /// Someone starts a run by hand.
    Start {
        /// Its id.
        run: RunId,
        /// Its params.
        params: serde_json::Value,
        /// Where the answer goes. If the receiver is gone, the run is not started.
        answer: oneshot::Sender<Result<Run, StoreError>>,
    },
    /// The pipeline is paused, or goes on.
    Paused(bool),
    /// Another manifest, or other components, are to come into force.
    Reload {
        /// What is to come into force.
        bound: Box<PinnedRevision>,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<(), StartError>>,
    },
}
