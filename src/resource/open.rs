//! Creates a resource from its section of the manifest. Only this module knows every kind.

use std::sync::Arc;

use super::folder::Folder;
use super::{Resource, Result};
use crate::manifest::{ResourceKind, ResourceSpec};
use crate::model::Durability;

/// Creates the resource that `spec` describes. Does not check whether its data exists.
///
/// # Errors
/// [`ResourceError::Unusable`](super::ResourceError::Unusable) if the resource cannot work as
/// configured.
pub fn open(spec: &ResourceSpec, durability: Durability) -> Result<Arc<dyn Resource>> {
    match &spec.kind {
        ResourceKind::Folder(folder) => Ok(Arc::new(Folder::new(&spec.name, folder, durability == Durability::Full)?)),
    }
}
