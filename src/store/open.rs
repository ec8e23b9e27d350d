//! From a manifest's words to a store: the one place that knows every kind.

use std::sync::Arc;

use super::sqlite::{SqliteStore, read_holder};
use super::{Holder, HostLease, MetadataStore, Result};
use crate::base::Timestamp;
use crate::manifest::StoreSpec;
use crate::model::Durability;

/// A store that this process alone may write.
#[derive(Debug, Clone)]
pub struct HostStore {
    /// The store.
    pub store: Arc<dyn MetadataStore>,
    /// The right to write it.
    pub lease: Arc<dyn HostLease>,
}

/// Opens a store for writing, as its only host, and makes it if there is none. Raises the epoch. Blocks for some milliseconds.
///
/// # Errors
/// [`StoreError::InUse`](super::StoreError::InUse), with the name of the holder, if another host has it.
pub fn open(spec: &StoreSpec, durability: Durability, now: Timestamp) -> Result<HostStore> {
    match spec {
        StoreSpec::Sqlite { path } => {
            let store = SqliteStore::open(path, durability, now)?;
            Ok(HostStore { lease: Arc::clone(&store) as _, store })
        }
    }
}

/// Opens a store for reading, also beside a host that is at work. `None` if nothing was ever recorded there.
///
/// # Errors
/// When it can not be read, or another version of this program made it.
pub fn open_read_only(spec: &StoreSpec) -> Result<Option<Arc<dyn MetadataStore>>> {
    match spec {
        StoreSpec::Sqlite { path } if !path.exists() => Ok(None),
        StoreSpec::Sqlite { path } => Ok(Some(SqliteStore::open_read_only(path)?)),
    }
}

/// The host that has a store open for writing; `None` if there is none.
///
/// # Errors
/// When that can not be found out.
pub fn holder(spec: &StoreSpec) -> Result<Option<Holder>> {
    match spec {
        StoreSpec::Sqlite { path } => read_holder(path),
    }
}
