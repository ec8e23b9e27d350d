//! Actions in a run.

use serde::{Deserialize, Serialize};

use super::{Approval, string_enum};
use crate::base::Timestamp;

/// The reason of an action that is skipped because no resource before it has triggered (`join =
/// "any"`).
pub const NOT_TRIGGERED: &str = "not_triggered";

string_enum! {
    /// The state of an action in a run.
    ActionState {
        /// It waits for the actions before it.
        Pending = "pending",
        /// It can start as soon as an executor is free.
        Ready = "ready",
        /// An attempt is running.
        Running = "running",
        /// The last attempt failed; the next one follows at `retry_at`.
        Retrying = "retrying",
        /// It waits until a person approves or rejects it.
        AwaitingApproval = "awaiting_approval",
        /// It has succeeded.
        Succeeded = "succeeded",
        /// It has succeeded without running: its result is that of an earlier attempt, because
        /// nothing that it depends on has changed.
        Cached = "cached",
        /// It failed permanently.
        Failed = "failed",
        /// It is not run, for the given reason.
        Skipped = "skipped",
        /// It was stopped or never started, because the run was cancelled.
        Cancelled = "cancelled",
    }
}

impl ActionState {
    /// Returns whether the action has a result.
    #[must_use]
    pub fn succeeded(self) -> bool {
        matches!(self, Self::Succeeded | Self::Cached)
    }

    /// Returns whether the state is final unless the run is retried.
    #[must_use]
    pub fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Cached | Self::Failed | Self::Skipped | Self::Cancelled)
    }
}

impl RunAction {
    /// Puts it into a state in which it has a result.
    pub fn succeed(&mut self, state: ActionState, reason: Option<String>, skipped_rest: bool) {
        (self.state, self.reason, self.skipped_rest) = (state, reason, skipped_rest);
    }

    /// Returns the approval that it waits for; `None` if it waits for none.
    #[must_use]
    pub fn awaited(&self) -> Option<&Approval> {
        self.approvals.last().filter(|_| self.state == ActionState::AwaitingApproval)
    }

    /// Returns the approval that it waits for if nobody has decided about it yet. Without a host,
    /// an action keeps waiting after the decision.
    #[must_use]
    pub fn undecided(&self) -> Option<&Approval> {
        self.awaited().filter(|approval| approval.decision.is_none())
    }

    /// Returns whether it takes no part in its run, because no resource before it has triggered.
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
    /// Its state.
    pub state: ActionState,
    /// Why it is skipped, failed or waiting; or the message of a succeeded action.
    pub reason: Option<String>,
    /// Number of started attempts.
    pub attempts: u32,
    /// Number of attempts that count as tries: all except those that crashed with the host.
    pub tries: u32,
    /// Number of most recent attempts in a row that crashed with the host.
    pub crashes: u32,
    /// When the next attempt is due, while `retrying`.
    pub retry_at: Option<Timestamp>,
    /// Whether it succeeded by returning `skip`, because there was nothing worth doing: its
    /// dependents are skipped.
    pub skipped_rest: bool,
    /// The approvals that it has asked for in this run, oldest first: one each time that it was
    /// about to start again. Automatic retries do not ask.
    #[serde(default)]
    pub approvals: Vec<Approval>,
}

impl RunAction {
    /// Creates an action of a new run, in its initial state.
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
            approvals: Vec::new(),
        }
    }
}
