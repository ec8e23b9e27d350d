//! Opening a version on record, where it lies now.
//!
//! The record and the resource are never quite at the same point. Outputs are on record from their
//! commit point on, and visible a moment later, one after the other. A file that someone renames is
//! at its new path before the rename is on record. Whoever looks in between finds nothing there, or
//! something else: that is no loss, and must not be reported as one.

use std::time::Duration;

use crate::base::escape;
use crate::model::Artifact;
use crate::resource::{Content, Reader, Resource, ResourceError};
use crate::store::GuestRecords;

/// How long to wait for an output to become visible, in all. It takes milliseconds, or else someone
/// has to do something first.
const PUBLISHING_WAIT: Duration = Duration::from_secs(2);

/// How long to wait for the record of what has happened to an observed artifact: the watch needs
/// milliseconds for it, on a busy machine more. A file that a writer has just opened is waited for
/// as long.
const RECORDING_WAIT: Duration = Duration::from_secs(5);

/// How long to wait before the record is looked at for the first time; each wait is twice as long
/// as the one before, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// Opens a version of an artifact for reading: at the path where the artifact is on record now,
/// which is another one than that of `artifact` if it was renamed since. Where nothing lies at that
/// path, or something else, a version that is being published is waited for up to two seconds, and
/// the record of a change to an observed one up to five seconds.
///
/// # Errors
/// Those of [`Resource::open`], and [`ResourceError::Unavailable`] if the version is still being
/// published, or if that cannot be told.
pub async fn open_version(
    store: &dyn GuestRecords,
    resource: &dyn Resource,
    artifact: &Artifact,
) -> Result<Box<dyn Reader>, ResourceError> {
    let mut tried = artifact.clone();
    let mut waits = Waits::default();
    loop {
        let Artifact { path, size, digest, stamp, .. } = &tried;
        let content = Content { path: path.clone(), size: *size, digest: *digest, stamp: stamp.clone() };
        let failed = match resource.open(&content).await {
            Err(error @ (ResourceError::NotFound { .. } | ResourceError::Changed { .. })) => error,
            answer => return answer,
        };
        let unavailable = |why: String| ResourceError::Unavailable {
            resource: artifact.resource.clone(),
            doing: format!("open `{}`", escape(artifact.path.as_bytes())),
            why,
        };
        // Only now, when something is wrong: most versions are opened without asking the store.
        let mut publishing = false;
        if artifact.produced_by.is_some() {
            // The cost of this grows with what there is to be published.
            let open = store.open_intents().await.map_err(|error| unavailable(error.to_string()))?;
            publishing = open.iter().any(|output| output.file.artifact_id == artifact.id);
        }
        let now = store.artifact(artifact.id).await.map_err(|error| unavailable(error.to_string()))?;
        let Some(now) = now.filter(|now| now.present) else { return Err(failed) };
        let recorded = (&now.path, &now.stamp) != (&tried.path, &tried.stamp);
        tried = now;
        if recorded {
            continue;
        }
        if publishing {
            if !waits.wait(PUBLISHING_WAIT).await {
                return Err(unavailable("it is being published; ask again".to_owned()));
            }
        } else if artifact.produced_by.is_some() {
            // It may have become visible after it was looked at and before the store was asked.
            return resource.open(&content).await;
        } else if !waits.wait(RECORDING_WAIT).await {
            return Err(failed);
        }
    }
}

/// Waits that grow.
#[derive(Debug, Default)]
struct Waits {
    waited: Duration,
    next: Option<Duration>,
}

impl Waits {
    /// Waits once more; returns `false`, at once, if it has been `limit` in all.
    async fn wait(&mut self, limit: Duration) -> bool {
        if self.waited >= limit {
            return false;
        }
        let wait = self.next.unwrap_or(FIRST_WAIT);
        tokio::time::sleep(wait).await;
        self.waited += wait;
        self.next = Some((wait * 2).min(LONGEST_WAIT));
        true
    }
}
