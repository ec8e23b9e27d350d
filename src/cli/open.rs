//! Which store a manifest means: the one place that knows the kinds.

use std::sync::Arc;

use super::failure::Failure;
use crate::base::Timestamp;
use crate::manifest::{Pipeline, StoreSpec};
use crate::store::sqlite::{Holder, SqliteStore, read_holder};
use crate::store::{Durability, MetadataStore};

/// The store of a pipeline, opened for writing.
pub(crate) type Store = Arc<SqliteStore>;

/// Opens the store for a host, or to put a wish on record. Fails, with the name of the holder, if a host has it.
pub(crate) fn for_writing(pipeline: &Pipeline, now: Timestamp) -> Result<Store, Failure> {
    let StoreSpec::Sqlite { path, full_durability } = &pipeline.store;
    let durability = if *full_durability { Durability::Full } else { Durability::Normal };
    Ok(SqliteStore::open(path, durability, now)?)
}

/// Opens the store to look at it, also beside a host. `path` is the PATH that leads to the pipeline.
pub(crate) fn for_reading(pipeline: &Pipeline, path: &str) -> Result<Arc<dyn MetadataStore>, Failure> {
    let StoreSpec::Sqlite { path: file, .. } = &pipeline.store;
    if !file.exists() {
        let run = if path == "." { String::new() } else { format!(" {path}") };
        return Err(Failure::usage(format!(
            "nothing is on record yet: {} does not exist; start the pipeline with `anacostia run{run}`",
            file.display()
        )));
    }
    Ok(SqliteStore::open_read_only(file)?)
}

/// The host that has the store, if there is one.
pub(crate) fn holder(pipeline: &Pipeline) -> Result<Option<Holder>, Failure> {
    let StoreSpec::Sqlite { path, .. } = &pipeline.store;
    Ok(read_holder(path)?)
}
