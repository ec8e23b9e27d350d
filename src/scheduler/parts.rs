//! The parts from which a host is built.

use std::path::PathBuf;
use std::sync::Arc;

use crate::base::Clock;
use crate::manifest::Pipeline;
use crate::sandbox::Executor;
use crate::store::components::ComponentStore;
use crate::store::logs::LogStore;
use crate::store::{HostLease, MetadataStore};

/// The parts from which a host is built.
pub struct Parts {
    /// The manifest.
    pub pipeline: Pipeline,
    /// Stores the records. This host must be the only one that writes to it.
    pub store: Arc<dyn MetadataStore>,
    /// The exclusive right to write to the store. When it is lost, the host ends.
    pub lease: Arc<dyn HostLease>,
    /// Stores the log lines.
    pub logs: Arc<dyn LogStore>,
    /// Stores the components that runs are bound to.
    pub components: Arc<dyn ComponentStore>,
    /// The folders in which the executor may keep compiled code.
    pub compiled: Vec<PathBuf>,
    /// Runs components.
    pub executor: Arc<dyn Executor>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}
