//! Where uploads are recorded.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::resource::ObservationSink;

/// How many uploads are taken at once. The others wait.
pub(super) const MOST: usize = 16;
/// How long an upload waits for its turn.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Where uploads are recorded, while the resource is watched.
pub(super) struct Uploads {
    sink: Mutex<Option<Arc<dyn ObservationSink>>>,
    /// Held while an upload is recorded: a store recognises only the last batch if it is repeated.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// One permit for each upload that is taken.
    places: Arc<Semaphore>,
    /// Notified when an upload was refused because there is no room for its content.
    refused: Notify,
}

impl Default for Uploads {
    fn default() -> Self {
        Self {
            sink: Mutex::default(),
            turn: Arc::default(),
            places: Arc::new(Semaphore::new(MOST)),
            refused: Notify::new(),
        }
    }
}

impl Uploads {
    pub(super) fn set(&self, sink: Option<Arc<dyn ObservationSink>>) {
        *self.sink.lock().unwrap_or_else(PoisonError::into_inner) = sink;
    }

    /// Waits for a place among the uploads that are taken; `None` if none becomes free in time.
    pub(super) async fn place(&self, patience: Duration) -> Option<OwnedSemaphorePermit> {
        tokio::time::timeout(patience, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()
    }

    pub(super) fn turn(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.turn)
    }

    /// Notes that there was no room for an upload.
    pub(super) fn refuse(&self) {
        self.refused.notify_one();
    }

    /// Waits until there is no room for an upload. Supports one waiter.
    pub(super) async fn refused(&self) {
        self.refused.notified().await;
    }

    pub(super) fn sink(&self) -> Option<Arc<dyn ObservationSink>> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Uploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Uploads").field(&self.sink().is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MOST, PATIENCE, Uploads};

    #[tokio::test]
    async fn more_uploads_than_are_taken_at_once_wait_for_a_place() {
        let uploads = Uploads::default();
        let mut places = Vec::new();
        for _ in 0..MOST {
            places.push(uploads.place(Duration::ZERO).await.unwrap());
        }
        assert!(uploads.place(Duration::ZERO).await.is_none());
        let (place, ()) = tokio::join!(uploads.place(PATIENCE), async { drop(places.pop()) });
        assert!(place.is_some());
    }
}
