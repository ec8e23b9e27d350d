//! The services of the host that an attempt uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{AttemptId, Clock};
use crate::resource::Resource;
use crate::store::GuestRecords;
use crate::store::logs::LogStore;

use super::order::Progress;

/// The services of the host that an attempt uses.
#[derive(Clone)]
pub struct Services {
    /// The records that guests may read and write.
    pub store: Arc<dyn GuestRecords>,
    /// The resources, by name.
    pub resources: Arc<BTreeMap<String, Arc<dyn Resource>>>,
    /// Stores log lines.
    pub logs: Arc<dyn LogStore>,
    /// The clock for timestamps of records.
    pub clock: Arc<dyn Clock>,
    /// Receives the progress of attempts, at most ten times a second for each. Must not block.
    pub progress: Arc<dyn Fn(AttemptId, Progress) + Send + Sync>,
}
