//! Sends OpenLineage events about runs and actions to endpoints and files.
//!
//! The queue is the events on record. An *emitter* for each receiver reads them after its cursor,
//! derives OpenLineage events from them and the records that they are about, and delivers these in
//! order, one after the other. Its cursor is on record too, and moves after the delivery: a host
//! that dies in between sends some events again, which are the same as the first time, and loses
//! none. A receiver that is down is tried again with growing pauses, as long as the events are on
//! record. What it refuses by itself is given up.
//!
//! Rejected: a queue of messages as that of notifications (a busy pipeline has so many events that
//! they would push the notifications out of it), and a method of the store for the cursor (it is
//! one of those that resources have, under a name that no resource can have).

mod columns;
mod dataset;
mod emitter;
mod facets;
mod run_event;
mod target;

use crate::base::Clock as _;
use crate::base::{SystemClock, WriteId};
use crate::manifest::{OpenLineageSpec, Pipeline};
use crate::store::{Batch, MetadataStore, StoreError};
pub(super) use emitter::Emitter;

/// Records the newest event for each receiver that is new: it gets what happens from then on.
///
/// # Errors
/// When the store cannot be read or written.
pub(super) async fn begin(store: &dyn MetadataStore, pipeline: &Pipeline) -> Result<(), StoreError> {
    for spec in &pipeline.openlineage {
        if read_cursor(store, spec).await?.is_none() {
            let newest = *store.newest_event().borrow();
            write_cursor(store, spec, newest).await?;
        }
    }
    Ok(())
}

/// Returns the last event that a receiver has got what follows from it.
async fn read_cursor(store: &dyn MetadataStore, spec: &OpenLineageSpec) -> Result<Option<u64>, StoreError> {
    Ok(store.cursor(&spec.cursor()).await?.and_then(|text| text.parse().ok()))
}

async fn write_cursor(store: &dyn MetadataStore, spec: &OpenLineageSpec, event: u64) -> Result<(), StoreError> {
    let batch = Batch { id: WriteId::new(), seen: Vec::new(), as_of: event, cursor: Some(event.to_string()) };
    store.record(&spec.cursor(), batch, SystemClock.now()).await.map(drop)
}
