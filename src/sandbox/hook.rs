//! The hooks of the contract, and which hook follows which outcome.

use crate::model::{ErrorInfo, Outcome};

use super::bindings::anacostia::pipeline::types;

/// A hook and its argument.
pub(super) enum Hook {
    BeforeRun,
    OnSuccess(types::Outcome),
    OnFailure(types::Error),
    AfterRun,
}

impl Hook {
    /// Returns its name in the contract.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::BeforeRun => "before-run",
            Self::OnSuccess(_) => "on-success",
            Self::OnFailure(_) => "on-failure",
            Self::AfterRun => "after-run",
        }
    }

    /// Returns the hook that is called for an outcome, if there is one.
    pub(super) fn about(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Done(message) => Some(Self::OnSuccess(types::Outcome::Done(message.clone()))),
            Outcome::Skip(reason) => Some(Self::OnSuccess(types::Outcome::Skip(reason.clone()))),
            Outcome::Failed(ErrorInfo { code, message, retryable })
            | Outcome::TimedOut(ErrorInfo { code, message, retryable }) => Some(Self::OnFailure(types::Error {
                code: code.clone(),
                message: message.clone(),
                retryable: *retryable,
            })),
            Outcome::Cached { .. } | Outcome::Cancelled | Outcome::HandedBack | Outcome::Crashed => None,
        }
    }
}
