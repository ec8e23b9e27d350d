//! Frees disk space: removes log lines, compiled code and stored components beyond their bounds,
//! and components that no run can need any more.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::disk::blocking;
use super::kept_components::KeptComponents;
use super::parts::Parts;
use crate::base::{Digest, Freed};
use crate::sandbox::{SandboxError, trim_compiled_code};
use crate::store::logs::LogStore;
use crate::store::{MetadataStore, Result};

/// What uses disk space for a pipeline, apart from its data and records.
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
}

/// What was freed, or would be. A failure of one part does not affect the others.
#[derive(Debug)]
pub struct GivenBack {
    /// Stored components.
    pub components: Result<Freed>,
    /// Segments of the log.
    pub logs: Result<Freed>,
    /// Compiled code.
    pub compiled_code: std::result::Result<Freed, SandboxError>,
}

impl Space {
    /// Returns what uses disk space for a host.
    pub(super) fn of(parts: &Parts, components: KeptComponents) -> Self {
        Self {
            store: Arc::clone(&parts.store),
            components,
            logs: Arc::clone(&parts.logs),
            compiled: parts.compiled.clone(),
        }
    }

    /// Removes what nothing needs any more. `in_force` are the components of the manifest in force;
    /// no other manifest may come into force meanwhile. With `dry_run`, only returns what it would
    /// remove. Files that cannot be removed stay.
    pub async fn give_back(&self, in_force: &BTreeSet<Digest>, dry_run: bool) -> GivenBack {
        GivenBack {
            components: self.components.remove_unneeded(in_force, dry_run).await,
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

    async fn trim_compiled_code(&self, dry_run: bool) -> std::result::Result<Freed, SandboxError> {
        let folders = self.compiled.clone();
        let trim = move || {
            folders.iter().try_fold(Freed::default(), |mut freed, folder| {
                freed += trim_compiled_code(folder, dry_run)?;
                Ok(freed)
            })
        };
        tokio::task::spawn_blocking(trim).await.unwrap_or_else(|panic| {
            let folder = self.compiled.first().cloned().unwrap_or_default();
            Err(SandboxError::Cache { folder, why: panic.to_string() })
        })
    }
}
