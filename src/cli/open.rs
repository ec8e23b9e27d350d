//! Which store a manifest means: the one place that knows the kinds.

use std::sync::Arc;

use super::failure::Failure;
use crate::manifest::{Pipeline, StoreSpec};
use crate::store::{Durability, MetadataStore};

/// Opens the store for a host, or to put a wish on record. Fails, with the name of the holder, if a host has it.
pub(crate) fn for_writing(pipeline: &Pipeline) -> Result<Arc<dyn MetadataStore>, Failure> {
    let StoreSpec::Sqlite { path, full_durability } = &pipeline.store;
    let durability = if *full_durability { Durability::Full } else { Durability::Normal };
    let _ = (path, durability);
    Err(Failure::work("the store is not built yet"))
}

/// Opens the store to look at it, also beside a host.
pub(crate) fn for_reading(pipeline: &Pipeline) -> Result<Arc<dyn MetadataStore>, Failure> {
    let StoreSpec::Sqlite { path, .. } = &pipeline.store;
    if !path.exists() {
        return Err(Failure::usage(format!(
            "nothing is on record yet: {} does not exist; start the pipeline with `anacostia run {}`",
            path.display(),
            pipeline.file.display()
        )));
    }
    Err(Failure::work("the store is not built yet"))
}
