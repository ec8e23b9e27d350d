//! What a host is made of.

use std::path::PathBuf;
use std::sync::Arc;

use crate::base::Clock;
use crate::manifest::Pipeline;
use crate::sandbox::Executor;
use crate::store::components::ComponentStore;
use crate::store::logs::LogStore;
use crate::store::{HostLease, MetadataStore};

/// What a host is made of.
pub struct Parts {
    /// The manifest.
    pub pipeline: Pipeline,
    /// Where records go. This host must be the only one that writes to it.
    pub store: Arc<dyn MetadataStore>,
    /// The right to be that one. When it is lost, the host ends.
    pub lease: Arc<dyn HostLease>,
    /// Where log lines go.
    pub logs: Arc<dyn LogStore>,
    /// Where the components that runs are bound to are kept.
    pub components: Arc<dyn ComponentStore>,
    /// The folders in which the executor may keep compiled code.
    pub compiled: Vec<PathBuf>,
    /// Where components run.
    pub executor: Arc<dyn Executor>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}
