//! Opening a version on record, whether it is visible already or about to be.
//!
//! Outputs are on record from their commit point on, and visible a moment later, one after the other. Who looks in between finds nothing there, or
//! what was there before: that is no loss, and must not be told as one.

use std::time::Duration;

use crate::base::{Digest, escape};
use crate::model::Artifact;
use crate::resource::{Content, Reader, Resource, ResourceError};
use crate::store::GuestRecords;

/// How long to wait for an output to become visible, in all. It takes milliseconds, or else someone has to do something first.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait before it is looked at for the first time; each wait is twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_millis(10);

/// Opens a version of an artifact for reading, with its digest. One that is being published is waited for, up to two seconds.
///
/// # Errors
/// Those of [`Resource::open`], and [`ResourceError::Unavailable`] if it is still being published, or if that can not be told.
pub async fn open_version(
    store: &dyn GuestRecords,
    resource: &dyn Resource,
    artifact: &Artifact,
    digest: Digest,
) -> Result<Box<dyn Reader>, ResourceError> {
    let Artifact { path, size, stamp, .. } = artifact;
    let content = Content { path: path.clone(), size: *size, digest, stamp: stamp.clone() };
    let unavailable = |why: String| ResourceError::Unavailable {
        resource: artifact.resource.clone(),
        doing: format!("open `{}`", escape(path.as_bytes())),
        why,
    };
    let (mut waited, mut wait) = (Duration::ZERO, FIRST_WAIT);
    loop {
        let failed = match resource.open(&content).await {
            Err(error @ (ResourceError::NotFound { .. } | ResourceError::Changed { .. })) => error,
            answer => return answer,
        };
        if artifact.produced_by.is_none() {
            return Err(failed);
        }
        // Asked only now, when something is wrong: it costs as much as there is to be published.
        let open = store.open_intents().await.map_err(|error| unavailable(error.to_string()))?;
        if !open.iter().any(|output| output.file.artifact_id == artifact.id) {
            // It may have become visible after it was looked at and before this was asked.
            return resource.open(&content).await;
        }
        if waited >= PATIENCE {
            return Err(unavailable("it is being published; ask again".to_owned()));
        }
        tokio::time::sleep(wait).await;
        waited += wait;
        wait *= 2;
    }
}
