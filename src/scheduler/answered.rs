//! A question to a trigger component, and its answer on its way to the dispatcher.

use tokio::task::{Id, JoinError};

use super::core::Asked;
use crate::base::Digest;
use crate::sandbox::DecisionReport;

/// A question to a trigger component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// The key under which the component's answers are kept.
    pub(super) asked: Asked,
    /// The component's name in the pipeline.
    pub(super) name: String,
    /// The number of the question.
    pub(super) number: u64,
    /// The digest of the component.
    pub(super) component: Digest,
}

/// The result of the task that asks.
pub(super) type AnswerEnd = Result<(Id, DecisionReport), JoinError>;
