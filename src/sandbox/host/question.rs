//! What a trigger component is asked, as the state of the guest holds it.

use crate::base::{ArtifactId, Timestamp};
use crate::sandbox::decision_order::DecisionOrder;

/// What a trigger component is asked.
pub(in crate::sandbox) struct Question {
    pub(super) trigger: String,
    pub(super) resources: Vec<String>,
    pub(super) now: Timestamp,
    pub(super) fired_at: Option<Timestamp>,
    /// The end of the last page of a list.
    pub(super) page: Option<PageEnd>,
}

/// The end of a page: its resource, its last artifact, and the cursor of the next page.
pub(in crate::sandbox) struct PageEnd {
    pub(super) resource: String,
    pub(super) last: ArtifactId,
    pub(super) next: Option<String>,
}

impl Question {
    /// Creates the question of an order, which is asked now.
    pub(in crate::sandbox) fn new(order: &DecisionOrder, now: Timestamp) -> Self {
        Self {
            trigger: order.trigger.clone(),
            resources: order.resources.clone(),
            now,
            fired_at: order.fired_at,
            page: None,
        }
    }
}
