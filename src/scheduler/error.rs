//! Why a host could not start.

use std::path::PathBuf;

use crate::resource::ResourceError;
use crate::store::StoreError;

/// Why a host could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The metadata store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A resource cannot be used.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// A component cannot be run.
    #[error("the component of {action} cannot be used: {why}")]
    Component {
        /// The action.
        action: String,
        /// Why.
        why: String,
    },
    /// The manifest of an unfinished run is not valid any more. Contains the rendered diagnostics.
    #[error("{0}")]
    Manifest(String),
    /// A component could not be copied to the component store.
    #[error("failed to keep a copy of {}: {why}", file.display())]
    Keep {
        /// The file of the component.
        file: PathBuf,
        /// Why.
        why: std::io::Error,
    },
}
