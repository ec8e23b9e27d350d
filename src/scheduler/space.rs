//! Frees disk space: removes log lines and compiled code beyond their bounds, and stored components
//! that no run can need any more.
//!
//! A run is bound to the components that it began with, which are stored for it. A run that
//! succeeded never runs again. Every other run may continue or be retried, for as long as it is on
//! record.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::parts::Parts;
use crate::base::bounds::MAX_PAGE;
use crate::base::{Digest, Freed};
use crate::model::RunState;
use crate::sandbox::trim_compiled_code;
use crate::store::components::ComponentStore;
use crate::store::logs::LogStore;
use crate::store::{MetadataStore, PageRequest, Result, RunQuery, StoreError};

/// The states of runs that may continue or be retried.
const MAY_RUN_AGAIN: [RunState; 5] =
    [RunState::Queued, RunState::Running, RunState::Cancelling, RunState::Failed, RunState::Cancelled];

/// What uses disk space for a pipeline, apart from its data and records.
#[derive(Clone)]
pub struct Space {
    /// The records, which determine what is needed.
    pub store: Arc<dyn MetadataStore>,
    /// The components that runs are bound to.
    pub components: Arc<dyn ComponentStore>,
    /// The log lines.
    pub logs: Arc<dyn LogStore>,
    /// The folders for compiled code. Other pipelines of the user may use them too.
    pub compiled: Vec<PathBuf>,
}

/// What was freed, or would be. A failure of one part does not affect the others.
#[derive(Debug)]
pub struct GivenBack {
    /// Stored components.
    pub components: Result<Freed>,
    /// Segments of the log.
    pub logs: Result<Freed>,
    /// Compiled code.
    pub compiled_code: Result<Freed>,
}

impl Space {
    /// Returns what uses disk space for a host.
    pub(super) fn of(parts: &Parts) -> Self {
        Self {
            store: Arc::clone(&parts.store),
            components: Arc::clone(&parts.components),
            logs: Arc::clone(&parts.logs),
            compiled: parts.compiled.clone(),
        }
    }

    /// Removes what nothing needs any more. `in_force` are the components of the manifest in force;
    /// no other manifest may come into force meanwhile. With `dry_run`, only returns what it would
    /// remove. Files that cannot be removed stay.
    pub async fn give_back(&self, in_force: &BTreeSet<Digest>, dry_run: bool) -> GivenBack {
        GivenBack {
            components: self.remove_components(in_force, dry_run).await,
            logs: self.trim_logs(dry_run).await,
            compiled_code: self.trim_compiled_code(dry_run).await,
        }
    }

    /// Removes the oldest log lines beyond the bound, except those of runs that have not ended.
    ///
    /// # Errors
    /// [`StoreError`] if the store or the log cannot be read.
    pub async fn trim_logs(&self, dry_run: bool) -> Result<Freed> {
        let needed = self.store.unfinished_logs().await?;
        let logs = Arc::clone(&self.logs);
        blocking(move || logs.trim(&needed, dry_run)).await?
    }

    async fn trim_compiled_code(&self, dry_run: bool) -> Result<Freed> {
        let folders = self.compiled.clone();
        let trim = move || {
            folders.iter().try_fold(Freed::default(), |mut freed, folder| {
                freed += trim_compiled_code(folder, dry_run)?;
                Ok(freed)
            })
        };
        blocking(trim).await?.map_err(|why: io::Error| unavailable("look at compiled code", &why))
    }

    async fn remove_components(&self, in_force: &BTreeSet<Digest>, dry_run: bool) -> Result<Freed> {
        let failed = |why: io::Error| unavailable("look at the kept components", &why);
        let components = Arc::clone(&self.components);
        let mut unneeded = blocking(move || components.list()).await?.map_err(failed)?;
        unneeded.retain(|kept| !in_force.contains(&kept.digest));
        if !unneeded.is_empty() {
            let needed = self.needed_by_runs().await?;
            unneeded.retain(|kept| !needed.contains(&kept.digest));
        }
        let components = Arc::clone(&self.components);
        let remove = move || {
            let mut freed = components.remove_unfinished(dry_run)?;
            for kept in unneeded {
                if dry_run || components.remove(kept.digest).is_ok() {
                    freed.add(kept.bytes);
                }
            }
            Ok(freed)
        };
        blocking(remove).await?.map_err(failed)
    }

    /// Returns the components of all runs that may run again.
    async fn needed_by_runs(&self) -> Result<BTreeSet<Digest>> {
        let mut revisions = BTreeSet::new();
        let query = RunQuery { states: MAY_RUN_AGAIN.to_vec(), ..RunQuery::default() };
        let mut cursor = None;
        loop {
            let page = self.store.runs(query.clone(), PageRequest { cursor, limit: MAX_PAGE }).await?;
            revisions.extend(page.items.iter().map(|run| run.revision));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        let mut needed = BTreeSet::new();
        for revision in revisions {
            let record = self.store.revision(revision).await?;
            needed.extend(record.into_iter().flat_map(|it| it.components).map(|(_, digest)| digest));
        }
        Ok(needed)
    }
}

/// Runs disk work on a blocking thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|why| unavailable("give back disk space", &io::Error::other(why)))
}

fn unavailable(doing: &str, why: &io::Error) -> StoreError {
    StoreError::Unavailable { doing: doing.to_owned(), why: why.to_string() }
}
