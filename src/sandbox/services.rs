//! What host functions work on.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{AttemptId, Clock};
use crate::resource::Resource;
use crate::store::GuestRecords;
use crate::store::logs::LogStore;

use super::order::Progress;

/// What host functions work on.
#[derive(Clone)]
pub struct Services {
    /// What is on record.
    pub store: Arc<dyn GuestRecords>,
    /// Where data lies, by name.
    pub resources: Arc<BTreeMap<String, Arc<dyn Resource>>>,
    /// Log lines.
    pub logs: Arc<dyn LogStore>,
    /// Time for records.
    pub clock: Arc<dyn Clock>,
    /// Told how far attempts say they are, at most ten times a second each. Must not block.
    pub progress: Arc<dyn Fn(AttemptId, Progress) + Send + Sync>,
}
