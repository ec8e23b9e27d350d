//! Actions in a run.

use serde::{Deserialize, Serialize};

use super::words;
use crate::base::Timestamp;

/// The reason of an action that was skipped because no resource before it had fired (`join =
/// "any"`).
pub const NOT_TRIGGERED: &str = "not_triggered";

words! {
    /// Where an action of one run stands.
    ActionState {
        /// Waits for the actions before it.
        Pending = "pending",
        /// May start, as soon as an executor is free.
        Ready = "ready",
        /// An attempt is running.
        Running = "running",
        /// The last attempt failed, another one follows at `retry_at`.
        Retrying = "retrying",
        /// Waits for a person.
        AwaitingApproval = "awaiting_approval",
        /// Done.
        Succeeded = "succeeded",
        /// Done before with the same inputs; not run again.
        Cached = "cached",
        /// Failed for good.
        Failed = "failed",
        /// Not run, for the reason given.
        Skipped = "skipped",
        /// Stopped, or never started, because the run was cancelled.
        Cancelled = "cancelled",
    }
}

impl ActionState {
    /// Whether nothing more happens to such an action unless the run is retried.
    #[must_use]
    pub fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Cached | Self::Failed | Self::Skipped | Self::Cancelled)
    }
}

impl RunAction {
    /// Whether it has no part in its run, because no resource before it had fired.
    #[must_use]
    pub fn not_triggered(&self) -> bool {
        self.state == ActionState::Skipped && self.reason.as_deref() == Some(NOT_TRIGGERED)
    }
}

/// One action of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAction {
    /// The action's name in the manifest.
    pub name: String,
    /// Where it stands.
    pub state: ActionState,
    /// Why it is skipped, failed or waits; or what a succeeded action said of itself.
    pub reason: Option<String>,
    /// How many attempts were started.
    pub attempts: u32,
    /// How many of them used up a try: all but those that crashed with the host.
    pub tries: u32,
    /// How many attempts crashed with the host, in a row, up to now.
    pub crashes: u32,
    /// When the next attempt is due, while `retrying`.
    pub retry_at: Option<Timestamp>,
    /// Whether it has succeeded by saying that there was nothing worth doing: its dependents are
    /// skipped.
    pub skipped_rest: bool,
}

impl RunAction {
    /// An action of a new run: nothing has happened to it yet.
    #[must_use]
    pub fn pending(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: ActionState::Pending,
            reason: None,
            attempts: 0,
            tries: 0,
            crashes: 0,
            retry_at: None,
            skipped_rest: false,
        }
    }
}
