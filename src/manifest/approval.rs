//! The approval that an action needs before it starts.

use std::time::Duration;

/// `approval` of an action: it waits for a person before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalSpec {
    /// Who should decide: a text for people, which nothing enforces. From 1 to
    /// [`MAX_DECIDER_CHARS`](crate::base::bounds::MAX_DECIDER_CHARS) characters.
    pub who: String,
    /// After which time without a decision the action fails; `None`: it waits without end.
    pub timeout: Option<Duration>,
}
