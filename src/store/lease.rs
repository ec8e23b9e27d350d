//! One host per store.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Result;
use crate::base::Timestamp;

/// The holder of a store that is open for writing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process id.
    pub pid: u32,
    /// When it opened the store.
    pub started_at: Timestamp,
    /// The address at which it serves HTTP, once it does.
    pub listen: Option<String>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} since {}", self.pid, self.started_at)?;
        match &self.listen {
            Some(listen) => write!(f, " (listening on {listen})"),
            None => Ok(()),
        }
    }
}

/// The right to be the only host of a store. The host that opens a store for writing has it, until
/// the store is dropped or the process ends.
#[async_trait]
pub trait HostLease: Send + Sync + std::fmt::Debug {
    /// Records the address at which this host serves HTTP, for those who ask who holds the store.
    ///
    /// # Errors
    /// When it cannot be recorded.
    async fn announce(&self, address: &str) -> Result<()>;

    /// Waits until the right is lost, and returns what was lost, and how: the files of the store
    /// were removed or replaced, or another host has taken it over. Returns within seconds of the
    /// loss. From then on nothing that this host writes is certain to be kept, so the host stops.
    async fn lost(&self) -> String;
}
