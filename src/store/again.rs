//! What messages about a failed run need, to say how its work is done again.

use super::{MetadataStore, PageRequest, Result};
use crate::base::RunId;
use crate::model::{Artifact, NAMED_INPUTS, Page, Run, RunState};

/// Says what to do about a run if it has failed, as [`Run::what_next`] does.
///
/// # Errors
/// When the store is unavailable.
pub async fn what_next(store: &dyn MetadataStore, run: &Run, path: &str) -> Result<Option<String>> {
    if run.state != RunState::Failed {
        return Ok(None);
    }
    Ok(Some(Run::what_next(run.number, path, &named_inputs(store, run.id).await?)))
}

/// Returns the inputs that messages about a run name.
///
/// # Errors
/// When the store is unavailable.
pub async fn named_inputs(store: &dyn MetadataStore, run: RunId) -> Result<Page<Artifact>> {
    store.run_inputs(run, PageRequest { cursor: None, limit: NAMED_INPUTS }).await
}
