//! One host per store.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Result, StoreError};
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
    /// The name of its machine, if the store can be reached from several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

impl Holder {
    /// Returns the description of this process as the holder of a store on a server.
    pub(super) fn this_host(now: Timestamp) -> Self {
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let machine = machine.map(|name| name.trim().to_owned());
        Self { pid: std::process::id(), started_at: now, listen: None, machine }
    }

    /// Describes the holder on record, for people.
    pub(super) fn describe(on_record: Option<&str>) -> String {
        let holder = on_record.and_then(|text| serde_json::from_str::<Self>(text).ok());
        holder.map_or_else(|| "another host".to_owned(), |holder| holder.to_string())
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}", self.pid)?;
        if let Some(machine) = &self.machine {
            write!(f, " on {machine}")?;
        }
        write!(f, " since {}", self.started_at)?;
        match &self.listen {
            Some(listen) => write!(f, " (listening on {listen})"),
            None => Ok(()),
        }
    }
}

/// How a host has lost the right to write a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// Files that it writes to were removed or replaced; what happened, for people.
    Files(String),
    /// Another host has taken the store over.
    Host {
        /// Which store.
        store: String,
        /// The other host, for people.
        by: String,
    },
    /// The server of this store has less on record than it had confirmed.
    Forgotten(String),
}

impl From<Loss> for StoreError {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::Files(what) => Self::Lost { what },
            Loss::Host { store, by } => Self::TakenOver { store, by },
            Loss::Forgotten(store) => Self::Forgotten { store },
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

    /// Waits until the right is lost, and returns how. Returns within seconds of the loss, or of
    /// the moment at which the store can be reached again. From then on nothing that this host
    /// writes is certain to be kept, so the host stops.
    async fn lost(&self) -> Loss;
}
