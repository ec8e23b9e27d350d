//! Reads the groups of pending artifacts, for triggers with `group_by`.

use std::sync::Arc;

use super::at_work::AtWork;
use super::core::Waiting;
use super::dispatcher::Dispatcher;
use super::shared::read_on;
use crate::base::Now;
use crate::base::bounds::MAX_PAGE;
use crate::manifest::{GroupBy, Pipeline};
use crate::model::Artifact;
use crate::store::{MetadataStore, PageRequest, StoreError};

/// The most pending artifacts that are put into groups at once, oldest first. The others follow
/// when these are claimed. Artifacts that belong to no group do not count: they are never claimed.
const MAX_GROUPED: usize = 10_000;

impl Dispatcher {
    /// Reads the groups of the resources whose pending artifacts have changed.
    pub(super) async fn read_groups(&mut self, work: &AtWork) -> Result<(), StoreError> {
        let pipeline = Arc::clone(&self.library.current().pipeline);
        for (resource, by) in
            grouped(&pipeline).filter(|(resource, _)| !self.pending.knows_groups(resource)).collect::<Vec<_>>()
        {
            let shared = Arc::clone(&self.shared);
            let read = read_on(&shared, || oldest(shared.store.as_ref(), resource, by));
            let artifacts = self.wait_for(work, read).await?;
            self.pending.note_groups(resource, by, &artifacts, self.shared.clock.both());
        }
        Ok(())
    }
}

/// Reads all groups.
pub(super) async fn note_groups(
    store: &dyn MetadataStore,
    pipeline: &Pipeline,
    pending: &mut Waiting,
    now: Now,
) -> Result<(), StoreError> {
    for (resource, by) in grouped(pipeline) {
        pending.note_groups(resource, by, &oldest(store, resource, by).await?, now);
    }
    Ok(())
}

/// Returns the watched resources whose triggers group artifacts.
fn grouped(pipeline: &Pipeline) -> impl Iterator<Item = (&str, &GroupBy)> {
    let watched = pipeline.resources.iter().filter(|resource| resource.watch);
    watched.filter_map(|resource| Some((resource.name.as_str(), resource.trigger.group_by.as_ref()?)))
}

/// Returns the oldest pending artifacts of a resource that belong to a group.
async fn oldest(store: &dyn MetadataStore, resource: &str, by: &GroupBy) -> Result<Vec<Artifact>, StoreError> {
    let (mut all, mut cursor) = (Vec::new(), None);
    while all.len() < MAX_GROUPED {
        let page = store.pending_artifacts(resource, PageRequest { cursor, limit: MAX_PAGE }).await?;
        all.extend(page.items.into_iter().filter(|it| by.group(&it.path).is_some()));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    Ok(all)
}
