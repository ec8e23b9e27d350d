//! The answer of a trigger component, on its way to the dispatcher.

use super::core::Asked;
use crate::base::Digest;
use crate::sandbox::DecisionReport;

/// The answer to a question.
pub(super) struct Answered {
    /// The component that was asked, as answers are kept.
    pub(super) asked: Asked,
    /// Its name among the components of the pipeline.
    pub(super) name: String,
    /// The number of the question.
    pub(super) question: u64,
    /// The component.
    pub(super) component: Digest,
    /// Its answer.
    pub(super) report: DecisionReport,
}
