//! A question to a trigger component, and its answer on its way to the dispatcher.

use tokio::task::{Id, JoinError};

use super::core::Asked;
use crate::base::Digest;
use crate::sandbox::DecisionReport;

/// A question to a trigger component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// The component that is asked, as answers are kept.
    pub(super) asked: Asked,
    /// Its name among the components of the pipeline.
    pub(super) name: String,
    /// The number of the question.
    pub(super) number: u64,
    /// The component.
    pub(super) component: Digest,
}

/// The end of the task that asks.
pub(super) type AnswerEnd = Result<(Id, DecisionReport), JoinError>;
