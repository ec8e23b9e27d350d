//! The runtime of a verb that is no host.

use super::failure::Failure;

/// Creates the runtime of a verb that waits for one thing at a time.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::from)
}
