//! Frees disk space: removes old runs, log lines, compiled code and stored components beyond their
//! bounds, and components that no run can need any more.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::disk::{blocking, unavailable};
use super::kept_components::KeptComponents;
use super::old_runs::{OldRunsRemoved, remove_old_runs};
use super::parts::Parts;
use crate::base::{Clock, Digest, Freed};
use crate::manifest::Pipeline;
use crate::sandbox::trim_compiled_code;
use crate::store::logs::LogStore;
use crate::store::{MetadataStore, RemovedRows, Result};

/// What uses disk space for a pipeline, apart from its data.
#[derive(Clone)]
pub struct Space {
    /// The records, which determine what is needed.
    pub store: Arc<dyn MetadataStore>,
    /// The components that runs are bound to.
    pub components: KeptComponents,
    /// The log lines.
    pub logs: Arc<dyn LogStore>,
    /// The folders for compiled code. Other pipelines of the user may use them too.
    pub compiled: Vec<PathBuf>,
    /// Says how old something is.
    pub clock: Arc<dyn Clock>,
}

/// What was freed, or would be. A failure of one part does not affect the others.
#[derive(Debug)]
pub struct GivenBack {
    /// Records of old runs.
    pub runs: Result<RemovedRows>,
    /// Stored components.
    pub components: Result<Freed>,
    /// Segments of the log.
    pub logs: Result<Freed>,
    /// Compiled code.
    pub compiled_code: Result<Freed>,
}

/// What was freed, or would be, when all parts succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FreedSpace {
    /// Records of old runs.
    pub runs: RemovedRows,
    /// Stored components.
    pub components: Freed,
    /// Segments of the log.
    pub logs: Freed,
    /// Compiled code.
    pub compiled_code: Freed,
}

impl GivenBack {
    /// Returns what was freed, or the first failure.
    ///
    /// # Errors
    /// When a part failed.
    pub fn whole(self) -> Result<FreedSpace> {
        let Self { runs, components, logs, compiled_code } = self;
        Ok(FreedSpace { runs: runs?, components: components?, logs: logs?, compiled_code: compiled_code? })
    }
}

impl Space {
    /// Returns what uses disk space for a host.
    pub(super) fn of(parts: &Parts, components: KeptComponents) -> Self {
        Self {
            store: Arc::clone(&parts.store),
            components,
            logs: Arc::clone(&parts.logs),
            compiled: parts.compiled.clone(),
            clock: Arc::clone(&parts.clock),
        }
    }

    /// Removes what nothing needs any more. `in_force` are the components of the manifest in force;
    /// no other manifest may come into force meanwhile. With `dry_run`, only returns what it would
    /// remove. Files that cannot be removed stay.
    pub async fn give_back(&self, pipeline: &Pipeline, in_force: &BTreeSet<Digest>, dry_run: bool) -> GivenBack {
        let runs = self.remove_old_runs(pipeline, dry_run, &CancellationToken::new()).await;
        self.give_back_files(pipeline, in_force, runs, dry_run).await
    }

    /// Removes old runs, until `stop`.
    pub(super) async fn remove_old_runs(
        &self,
        pipeline: &Pipeline,
        dry_run: bool,
        stop: &CancellationToken,
    ) -> Result<OldRunsRemoved> {
        remove_old_runs(self.store.as_ref(), pipeline, self.clock.now(), dry_run, stop).await
    }

    /// Removes files that nothing needs any more, after `runs` were removed; see
    /// [`Space::give_back`].
    pub(super) async fn give_back_files(
        &self,
        pipeline: &Pipeline,
        in_force: &BTreeSet<Digest>,
        runs: Result<OldRunsRemoved>,
        dry_run: bool,
    ) -> GivenBack {
        let gone = runs.as_ref().map(|runs| Arc::clone(&runs.gone)).unwrap_or_default();
        GivenBack {
            runs: runs.map(|runs| runs.rows),
            components: self.components.remove_unneeded(in_force, &gone, dry_run).await,
            logs: self.trim_logs(pipeline, dry_run).await,
            compiled_code: self.trim_compiled_code(pipeline, dry_run).await,
        }
    }

    /// Removes the oldest log lines beyond the bound, and those that are too old, except those of
    /// runs that have not ended.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the store or the log cannot be read.
    pub async fn trim_logs(&self, pipeline: &Pipeline, dry_run: bool) -> Result<Freed> {
        let needed = self.store.unfinished_logs().await?;
        let logs = Arc::clone(&self.logs);
        let keep_for = pipeline.retention.keep_logs_for;
        blocking(move || logs.trim(&needed, keep_for, dry_run)).await?
    }

    async fn trim_compiled_code(&self, pipeline: &Pipeline, dry_run: bool) -> Result<Freed> {
        let (folders, max_bytes) = (self.compiled.clone(), pipeline.retention.max_compiled_bytes);
        let trim = move || {
            folders.iter().try_fold(Freed::default(), |mut freed, folder| {
                freed += trim_compiled_code(folder, max_bytes, dry_run)?;
                Ok::<_, crate::sandbox::SandboxError>(freed)
            })
        };
        blocking(trim).await?.map_err(|why| unavailable("give back compiled code", &std::io::Error::other(why)))
    }
}
