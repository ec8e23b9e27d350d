//! Keeps the groups of pending artifacts up to date, for triggers with `group_by`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::at_work::AtWork;
use super::core::{Added, Groups, Look, Waiting};
use super::dispatcher::Dispatcher;
use super::shared::read_on;
use crate::base::bounds::MAX_PAGE;
use crate::base::{ArtifactId, Now, RunId};
use crate::manifest::{GroupBy, Pipeline};
use crate::model::ArtifactState;
use crate::store::{MetadataStore, PageRequest, StoreError};

/// How many pending artifacts of a resource are in no group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outside {
    /// They do not match the pattern.
    pub(super) without_group: u64,
    /// They match, and are left out because of the bound on artifacts in groups.
    pub(super) beyond: u64,
}

impl Dispatcher {
    /// Brings the groups of the resources up to date whose pending artifacts have changed.
    pub(super) async fn read_groups(&mut self, work: &AtWork) -> Result<(), StoreError> {
        let pipeline = Arc::clone(&self.library.current().pipeline);
        for (resource, by) in grouped(&pipeline) {
            if self.pending.knows_groups(resource, by) {
                continue;
            }
            let known = self.pending.take_groups(resource).filter(|it| it.are_of(by, 0));
            let followed = match known {
                Some(mut groups) => self.follow(resource, &mut groups, work).await?.then_some(groups),
                None => None,
            };
            let groups = match followed.filter(|it| !it.has_room_again()) {
                Some(groups) => groups,
                None => self.read(resource, by, work).await?,
            };
            self.pending.set_groups(resource, groups);
        }
        Ok(())
    }

    /// Reads the groups of a resource.
    async fn read(&mut self, resource: &str, by: &GroupBy, work: &AtWork) -> Result<Groups, StoreError> {
        let (shared, now) = (Arc::clone(&self.shared), self.shared.clock.both());
        let store = shared.store.as_ref();
        // What happens while they are read is in the events after this one.
        let as_of = *store.newest_event().borrow();
        let reading = read_on(&shared, || read(store, resource, by, as_of, now));
        let (mut groups, _) = self.wait_for(work, reading).await?;
        self.follow(resource, &mut groups, work).await?;
        Ok(groups)
    }

    /// Lets the groups of a resource follow the events. Returns whether all events are there:
    /// otherwise, the groups have to be read.
    async fn follow(&mut self, resource: &str, groups: &mut Groups, work: &AtWork) -> Result<bool, StoreError> {
        let shared = Arc::clone(&self.shared);
        loop {
            let (after, newest) = (groups.as_of(), *shared.store.newest_event().borrow());
            let reading = read_on(&shared, || shared.store.events(after, None, MAX_PAGE));
            let events = self.wait_for(work, reading).await?;
            if events.first().map_or(newest > after, |first| first.seq != after + 1) {
                return Ok(false);
            }
            let now = shared.clock.both();
            for event in &events {
                match groups.follow(resource, event, now) {
                    Some(Look::Claims(run)) => self.remove_claimed(run, groups, work).await?,
                    Some(Look::Renamed(id)) => self.add_renamed(id, groups, work).await?,
                    None => {}
                }
            }
            if events.len() < MAX_PAGE as usize {
                groups.note_followed(now);
                return Ok(true);
            }
        }
    }

    /// Removes what a run has claimed. Artifacts that it was given may still be pending.
    async fn remove_claimed(&mut self, run: RunId, groups: &mut Groups, work: &AtWork) -> Result<(), StoreError> {
        let (shared, mut cursor) = (Arc::clone(&self.shared), None);
        loop {
            let request = PageRequest { cursor, limit: MAX_PAGE };
            let reading = read_on(&shared, || shared.store.run_inputs(run, request.clone()));
            let page = self.wait_for(work, reading).await?;
            page.items.iter().filter(|it| !it.is_given_to(run)).for_each(|it| groups.remove(it.id));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Adds an artifact that was renamed, if it is pending.
    async fn add_renamed(&mut self, id: ArtifactId, groups: &mut Groups, work: &AtWork) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let reading = read_on(&shared, || shared.store.artifact(id));
        if let Some(it) = self.wait_for(work, reading).await?.filter(|it| it.state == ArtifactState::New) {
            groups.add(id, &it.path, it.size, it.created_at, shared.clock.both());
        }
        Ok(())
    }
}

/// Reads all groups. Returns how many pending artifacts are in none, by resource.
pub(super) async fn note_groups(
    store: &dyn MetadataStore,
    pipeline: &Pipeline,
    pending: &mut Waiting,
    now: Now,
) -> Result<BTreeMap<String, Outside>, StoreError> {
    let mut outside = BTreeMap::new();
    for (resource, by) in grouped(pipeline) {
        let (groups, others) = read(store, resource, by, 0, now).await?;
        pending.set_groups(resource, groups);
        outside.insert(resource.to_owned(), others);
    }
    Ok(outside)
}

/// Returns the watched resources whose triggers group artifacts.
fn grouped(pipeline: &Pipeline) -> impl Iterator<Item = (&str, &GroupBy)> {
    let watched = pipeline.resources.iter().filter(|resource| resource.watch);
    watched.filter_map(|resource| Some((resource.name.as_str(), resource.trigger.group_by.as_ref()?)))
}

/// Reads the groups of a resource, and how many of its pending artifacts are in none.
async fn read(
    store: &dyn MetadataStore,
    resource: &str,
    by: &GroupBy,
    as_of: u64,
    now: Now,
) -> Result<(Groups, Outside), StoreError> {
    let (mut groups, mut outside) = (Groups::new(by, as_of, now), Outside::default());
    let mut cursor = None;
    loop {
        let page = store.pending_artifacts(resource, PageRequest { cursor, limit: MAX_PAGE }).await?;
        for it in page.items {
            match groups.add(it.id, &it.path, it.size, it.created_at, now) {
                Added::Grouped => {}
                Added::Without => outside.without_group += 1,
                Added::Beyond => outside.beyond += 1,
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok((groups, outside));
        }
    }
}
