//! Repeats a write whose answer may have been lost.

use std::time::Duration;

use super::{Result, StoreError};

/// How long to wait before each repeat.
const PAUSES: [Duration; 3] = [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(500)];

/// Calls `write`, and repeats it a few times within a second while the store is unavailable. For
/// callers that must answer a request soon: afterwards they report that the store is unavailable.
/// `write` must make the same write each time, with the same ids.
///
/// # Errors
/// The last error of the store.
pub async fn repeat_briefly<T, F>(mut write: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    for pause in PAUSES {
        match write().await {
            Err(StoreError::Unavailable { .. }) => tokio::time::sleep(pause).await,
            answer => return answer,
        }
    }
    write().await
}
