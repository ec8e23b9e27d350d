//! Runs disk work on blocking threads, and describes its failures.

use std::io;

use crate::store::{Result, StoreError};

/// Runs disk work on a blocking thread.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|why| unavailable("give back disk space", &io::Error::other(why)))
}

pub(super) fn unavailable(doing: &str, why: &io::Error) -> StoreError {
    StoreError::Unavailable { doing: doing.to_owned(), why: why.to_string() }
}
