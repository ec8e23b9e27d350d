//! Reads the groups of pending artifacts, for triggers with `group_by`.

use std::collections::BTreeMap;
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
            let (artifacts, _) = self.wait_for(work, read).await?;
            self.pending.note_groups(resource, by, &artifacts, self.shared.clock.both());
        }
        Ok(())
    }
}

/// Reads all groups. Returns how many pending artifacts belong to none, by resource.
pub(super) async fn note_groups(
    store: &dyn MetadataStore,
    pipeline: &Pipeline,
    pending: &mut Waiting,
    now: Now,
) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut without = BTreeMap::new();
    for (resource, by) in grouped(pipeline) {
        let (artifacts, others) = oldest(store, resource, by).await?;
        pending.note_groups(resource, by, &artifacts, now);
        without.insert(resource.to_owned(), others);
    }
    Ok(without)
}

/// Returns the watched resources whose triggers group artifacts.
fn grouped(pipeline: &Pipeline) -> impl Iterator<Item = (&str, &GroupBy)> {
    let watched = pipeline.resources.iter().filter(|resource| resource.watch);
    watched.filter_map(|resource| Some((resource.name.as_str(), resource.trigger.group_by.as_ref()?)))
}

/// Returns the oldest pending artifacts of a resource that belong to a group, and how many others
/// are among them.
async fn oldest(store: &dyn MetadataStore, resource: &str, by: &GroupBy) -> Result<(Vec<Artifact>, u64), StoreError> {
    let (mut all, mut others, mut cursor) = (Vec::new(), 0, None);
    while all.len() < MAX_GROUPED {
        let page = store.pending_artifacts(resource, PageRequest { cursor, limit: MAX_PAGE }).await?;
        let (grouped, rest): (Vec<_>, Vec<_>) = page.items.into_iter().partition(|it| by.group(&it.path).is_some());
        others += rest.len() as u64;
        all.extend(grouped);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    Ok((all, others))
}
