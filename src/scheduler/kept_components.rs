//! The stored components that runs are bound to: how long they are stored, and which runs can
//! therefore be retried.
//!
//! An unfinished run may need its components at any time. A run that failed or was cancelled can be
//! retried for as long as its components are stored. All stored components together take at most
//! `retention.components` bytes; beyond that, those of the oldest ended runs are removed first. For
//! a run that succeeded nothing is kept: it can be retried from an action on while another run, or
//! the manifest in force, needs the same components.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::disk::{blocking, unavailable};
use crate::base::bounds::MAX_PAGE;
use crate::base::{ByteSize, Digest, Freed, RunId, Timestamp, WriteId};
use crate::manifest::Retention;
use crate::model::{Run, RunState};
use crate::store::components::ComponentStore;
use crate::store::{MetadataStore, PageRequest, Result, RunQuery, StoreError};

/// The states of runs that may need their components at any time.
const UNFINISHED: [RunState; 3] = [RunState::Queued, RunState::Running, RunState::Cancelling];
/// The states of runs whose components are kept for a retry.
const RETRIABLE: [RunState; 2] = [RunState::Failed, RunState::Cancelled];

/// The stored components of a pipeline, with the records that say which of them are needed.
#[derive(Clone)]
pub struct KeptComponents {
    store: Arc<dyn MetadataStore>,
    components: Arc<dyn ComponentStore>,
    /// The size of all stored components beyond which those of ended runs are removed.
    max_bytes: u64,
    /// Held while components are removed, and while a run is retried, so that a run's components
    /// are not removed just when it begins to need them.
    turn: Arc<Mutex<()>>,
}

impl KeptComponents {
    /// Returns the components in `components`, which runs in `store` are bound to.
    #[must_use]
    pub fn new(store: Arc<dyn MetadataStore>, components: Arc<dyn ComponentStore>, retention: &Retention) -> Self {
        Self { store, components, max_bytes: retention.max_component_bytes, turn: Arc::default() }
    }

    /// Retries a run; see [`MetadataStore::request_retry`].
    ///
    /// # Errors
    /// Also [`StoreError::Conflict`] if a component that the run began with is no longer stored.
    pub async fn request_retry(
        &self,
        run: RunId,
        again: &[String],
        id: WriteId,
        now: Timestamp,
    ) -> Result<Option<Run>> {
        let _turn = self.turn.lock().await;
        if let Some(run) = self.store.run_summary(run).await?
            && (RETRIABLE.contains(&run.state) || run.state == RunState::Succeeded && !again.is_empty())
        {
            let (needed, stored) = (self.components_of(run.revision).await?, self.stored().await?);
            if !needed.iter().all(|digest| stored.contains_key(digest)) {
                let number = run.number;
                return Err(StoreError::Conflict(format!(
                    "run #{number} cannot be retried: the components that it began with were removed, because {}; `anacostia runs retry {number} --current` starts a new run with the \
                     same inputs, and with the current manifest and components",
                    if run.state == RunState::Succeeded {
                        "those of runs that succeeded are not kept".to_owned()
                    } else {
                        format!("stored components take at most {}", ByteSize(self.max_bytes))
                    }
                )));
            }
        }
        self.store.request_retry(run, again, id, now).await
    }

    /// Removes the components that no run can need any more, and those of the oldest ended runs
    /// beyond the bound. `in_force` are those of the manifest in force, which stay. Runs in `gone`
    /// need nothing.
    pub(super) async fn remove_unneeded(
        &self,
        in_force: &BTreeSet<Digest>,
        gone: &BTreeSet<u64>,
        dry_run: bool,
    ) -> Result<Freed> {
        let mut unneeded = self.stored().await?;
        if unneeded.keys().all(|digest| in_force.contains(digest)) {
            unneeded.clear();
        }
        if !unneeded.is_empty() {
            let needed = self.needed(in_force, gone, &unneeded).await?;
            unneeded.retain(|digest, _| !needed.contains(digest));
        }
        let _turn = self.turn.lock().await;
        if !unneeded.is_empty() {
            // Runs may have been retried since: reading all that can be retried takes a while.
            let needed = self.of_unfinished().await?;
            unneeded.retain(|digest, _| !needed.contains(digest));
        }
        let components = Arc::clone(&self.components);
        let remove = move || {
            let mut freed = components.remove_unfinished(dry_run)?;
            for (digest, bytes) in unneeded {
                if dry_run || components.remove(digest).is_ok() {
                    freed.add(bytes);
                }
            }
            Ok(freed)
        };
        blocking(remove).await?.map_err(|why| failed(&why))
    }

    /// Returns the components to keep: those in force, those of unfinished runs, and those of the
    /// newest runs that can be retried, within the bound. `stored` has the sizes.
    async fn needed(
        &self,
        in_force: &BTreeSet<Digest>,
        gone: &BTreeSet<u64>,
        stored: &BTreeMap<Digest, u64>,
    ) -> Result<BTreeSet<Digest>> {
        let mut needed = &self.of_unfinished().await? | in_force;
        let size = |digests: &BTreeSet<Digest>| digests.iter().filter_map(|digest| stored.get(digest)).sum::<u64>();
        let mut left = self.max_bytes.saturating_sub(size(&needed));
        let mut pages = Revisions::of(&RETRIABLE, gone);
        while let Some(page) = pages.next(self.store.as_ref()).await? {
            for revision in page {
                let more = &self.components_of(revision).await? - &needed;
                let Some(rest) = left.checked_sub(size(&more)) else { return Ok(needed) };
                left = rest;
                needed.extend(more);
            }
        }
        Ok(needed)
    }

    /// Returns the components of the unfinished runs.
    async fn of_unfinished(&self) -> Result<BTreeSet<Digest>> {
        let none = BTreeSet::new();
        let (mut components, mut pages) = (BTreeSet::new(), Revisions::of(&UNFINISHED, &none));
        while let Some(page) = pages.next(self.store.as_ref()).await? {
            for revision in page {
                components.extend(self.components_of(revision).await?);
            }
        }
        Ok(components)
    }

    /// Returns the components of a revision.
    async fn components_of(&self, revision: Digest) -> Result<BTreeSet<Digest>> {
        let record = self.store.revision(revision).await?;
        Ok(record.into_iter().flat_map(|it| it.components).map(|(_, digest)| digest).collect())
    }

    /// Returns the stored components, with their sizes in bytes.
    async fn stored(&self) -> Result<BTreeMap<Digest, u64>> {
        let components = Arc::clone(&self.components);
        let stored = blocking(move || components.list()).await?.map_err(|why| failed(&why))?;
        Ok(stored.into_iter().map(|kept| (kept.digest, kept.bytes)).collect())
    }
}

/// The revisions of the runs in some states, each once, the one of the newest run first.
struct Revisions<'a> {
    query: RunQuery,
    /// Runs that are left out.
    gone: &'a BTreeSet<u64>,
    seen: BTreeSet<Digest>,
    cursor: Option<String>,
    is_read: bool,
}

impl<'a> Revisions<'a> {
    fn of(states: &[RunState], gone: &'a BTreeSet<u64>) -> Self {
        let query = RunQuery { states: states.to_vec(), ..RunQuery::default() };
        Self { query, gone, seen: BTreeSet::new(), cursor: None, is_read: false }
    }

    /// Returns the revisions of the next page of runs, `None` after the last.
    async fn next(&mut self, store: &dyn MetadataStore) -> Result<Option<Vec<Digest>>> {
        if self.is_read {
            return Ok(None);
        }
        let request = PageRequest { cursor: self.cursor.take(), limit: MAX_PAGE };
        let page = store.runs(self.query.clone(), request).await?;
        self.is_read = page.next_cursor.is_none();
        self.cursor = page.next_cursor;
        let revisions = page.items.iter().filter(|run| !self.gone.contains(&run.number)).map(|run| run.revision);
        Ok(Some(revisions.filter(|revision| self.seen.insert(*revision)).collect()))
    }
}

fn failed(why: &io::Error) -> StoreError {
    unavailable("look at the kept components", why)
}
