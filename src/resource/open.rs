//! Creates a resource from its section of the manifest. Only this module knows every kind.

use std::path::Path;
use std::sync::Arc;

use super::folder::Folder;
use super::http::Endpoint;
use super::s3::Bucket;
use super::sql::Sql;
use super::{Resource, Result};
use crate::manifest::{ResourceKind, ResourceSpec};
use crate::model::Durability;

/// Creates a resource for files that are written and never published, below the folder `at`.
///
/// # Errors
/// As [`open`].
pub fn open_scratch(name: &str, at: &Path) -> Result<Arc<dyn Resource>> {
    Ok(Arc::new(Folder::spool(name, at)?))
}

/// Creates the resource that `spec` describes. Does not check whether its data exists. `state` is
/// the state folder of the pipeline, for kinds that keep content or outputs there.
///
/// # Errors
/// [`ResourceError::Unusable`](super::ResourceError::Unusable) if the resource cannot work as
/// configured.
pub fn open(spec: &ResourceSpec, durability: Durability, state: &Path) -> Result<Arc<dyn Resource>> {
    match &spec.kind {
        ResourceKind::Folder(folder) => Ok(Arc::new(Folder::new(&spec.name, folder, durability == Durability::Full)?)),
        ResourceKind::Http(http) => Ok(Arc::new(Endpoint::new(&spec.name, http, state)?)),
        ResourceKind::S3(s3) => Ok(Arc::new(Bucket::new(&spec.name, s3, state)?)),
        ResourceKind::Sql(sql) => Ok(Arc::new(Sql::new(&spec.name, sql, state)?)),
    }
}
