//! Gives a resource what is on record about it, and decides when it removes content that it keeps
//! on this machine and that no run needs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::definition::Resources;
use super::shared::Shared;
use super::supervise::supervise;
use crate::base::bounds::MAX_PAGE;
use crate::base::{Digest, fault};
use crate::model::{KnownPath, Page};
use crate::resource::{KnownPaths, ResourceError};
use crate::store::{PageRequest, StoreError};

/// The longest time between two removals. A removal also follows the end of a run.
const EVERY: Duration = Duration::from_mins(1);

/// How long to wait after the end of a run, so that one removal follows a burst of runs.
const COALESCE: Duration = Duration::from_secs(1);

/// Reads what is on record about a resource.
pub(super) struct Known {
    pub(super) shared: Arc<Shared>,
    pub(super) resource: String,
}

#[async_trait]
impl KnownPaths for Known {
    /// Nothing is recorded about the resource while it is not watched.
    async fn page(&self, cursor: Option<String>) -> Result<Page<KnownPath>, ResourceError> {
        let page = self.shared.store.known(&self.resource, PageRequest { cursor, limit: MAX_PAGE }).await;
        page.map_err(|error| self.unread(&error))
    }

    async fn needed(&self, cursor: Option<String>) -> Result<Page<Digest>, ResourceError> {
        let page = self.shared.store.needed(&self.resource, PageRequest { cursor, limit: MAX_PAGE }).await;
        page.map_err(|error| self.unread(&error))
    }
}

impl Known {
    fn unread(&self, error: &StoreError) -> ResourceError {
        ResourceError::Unavailable {
            resource: self.resource.clone(),
            doing: "read what is on record".to_owned(),
            why: error.to_string(),
        }
    }
}

/// Removes content that no run needs: at the start, when runs have ended, and from time to time,
/// until `stop`. A failure only lets the disk fill.
pub(super) async fn trim_kept(shared: Arc<Shared>, resources: Arc<Resources>, stop: CancellationToken) {
    let begin = || {
        let (shared, resources, stop) = (Arc::clone(&shared), Arc::clone(&resources), stop.clone());
        async move {
            keep_trimming(shared, resources, stop).await;
            Ok(())
        }
    };
    supervise("the removal of content that no run needs", stop.clone(), begin, |_| {}).await;
}

async fn keep_trimming(shared: Arc<Shared>, resources: Arc<Resources>, stop: CancellationToken) {
    let mut ends = shared.ends.subscribe();
    loop {
        fault::panic_point("kept.trim");
        for (name, resource) in resources.iter() {
            let known = Known { shared: Arc::clone(&shared), resource: name.clone() };
            if let Err(error) = resource.trim(&known).await {
                tracing::warn!("{error}; content that no run needs is removed later");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
            end = ends.recv() => {
                if matches!(end, Err(RecvError::Closed)) {
                    return;
                }
                // A stop ends the wait early.
                let _ = tokio::time::timeout(COALESCE, stop.cancelled()).await;
            }
        }
        // The next removal also covers the runs that have ended meanwhile.
        while ends.try_recv().is_ok() {}
    }
}
