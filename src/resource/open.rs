//! Makes a resource from its part of the manifest: the only place that knows every kind.

use std::sync::Arc;

use super::folder::Folder;
use super::{Resource, Result};
use crate::manifest::{ResourceKind, ResourceSpec};
use crate::model::Durability;

/// Makes the resource that a manifest means. Whether its data is there is not looked at.
///
/// # Errors
/// [`ResourceError::Unusable`](super::ResourceError::Unusable) if it cannot work as it is
/// configured.
pub fn open(spec: &ResourceSpec, durability: Durability) -> Result<Arc<dyn Resource>> {
    match &spec.kind {
        ResourceKind::Folder(folder) => Ok(Arc::new(Folder::new(&spec.name, folder, durability == Durability::Full)?)),
    }
}
