//! Opens a recorded version of an artifact at its current path.
//!
//! The record and the resource are never exactly in step. Outputs are recorded at their commit
//! point, and become visible one after another a moment later. A renamed file is at its new path
//! before the rename is recorded. A reader in between finds nothing at the path, or another
//! version. That is not data loss, and must not be reported as such.

use std::time::Duration;

use crate::base::escape;
use crate::model::Artifact;
use crate::resource::{Content, Reader, Resource, ResourceError};
use crate::store::GuestRecords;

/// Total time to wait for an output to become visible. It normally takes milliseconds; if it takes
/// longer, someone has to intervene first.
const PUBLISHING_WAIT: Duration = Duration::from_secs(2);

/// Total time to wait until a change to an observed artifact is recorded. The watch needs
/// milliseconds, or more on a busy machine. The same wait applies to a file that a writer has just
/// opened.
const RECORDING_WAIT: Duration = Duration::from_secs(5);

/// The first wait before the record is read. Each further wait is twice as long as the previous
/// one, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// Opens a version of an artifact for reading, at the path that is recorded for the artifact now.
/// It differs from the path in `artifact` if the artifact was renamed since. If the path holds
/// nothing or another version, waits up to two seconds for a version that is being published, and
/// up to five seconds for the record of a change to an observed artifact.
///
/// # Errors
/// Those of [`Resource::open`], and [`ResourceError::Unavailable`] if the version is still being
/// published, or if its state cannot be determined.
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
        // Checked only after a failure: most versions are opened without a query to the store.
        let mut publishing = false;
        if artifact.produced_by.is_some() {
            // The cost grows with the number of pending publications.
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
            // The version may have become visible after the resource was checked and before the
            // store answered.
            return resource.open(&content).await;
        } else if !waits.wait(RECORDING_WAIT).await {
            return Err(failed);
        }
    }
}

/// Waits of growing length.
#[derive(Debug, Default)]
struct Waits {
    waited: Duration,
    next: Option<Duration>,
}

impl Waits {
    /// Waits once more. Returns `false` at once if the total has reached `limit`.
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
