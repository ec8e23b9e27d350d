//! Where uploads are recorded.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::resource::ObservationSink;

/// Where uploads are recorded, while the resource is watched.
#[derive(Default)]
pub(super) struct Uploads {
    sink: Mutex<Option<Arc<dyn ObservationSink>>>,
    /// Held while an upload is recorded: a store recognises only the last batch if it is repeated.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Uploads {
    pub(super) fn set(&self, sink: Option<Arc<dyn ObservationSink>>) {
        *self.sink.lock().unwrap_or_else(PoisonError::into_inner) = sink;
    }

    pub(super) fn turn(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.turn)
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
