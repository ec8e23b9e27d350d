//! How others steer a running pipeline, and what it shows of itself that is not on record.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};

use crate::base::{AttemptId, RunId};
use crate::manifest::{ComponentInfo, Pipeline};
use crate::model::Run;
use crate::resource::{Resource, Status, Waiting};
use crate::sandbox::Progress;
use crate::store::{MetadataStore, StoreError, logs::LogStore};

/// What steers a running pipeline. The HTTP floor is given one; tests give it another.
#[async_trait]
pub trait Control: Send + Sync {
    /// Asks a run to end. `None` if there is no such run; a run that has ended is returned as it
    /// is.
    async fn cancel(&self, run: RunId) -> Result<Option<Run>, StoreError>;
    /// Takes a failed or cancelled run up again; see [`MetadataStore::request_retry`].
    async fn retry(&self, run: RunId) -> Result<Option<Run>, StoreError>;
    /// Starts a run by hand, with whatever is new, also with nothing. Idempotent by id: the run is
    /// returned as it is if it exists with the same params; [`StoreError::Conflict`] if it exists
    /// with others.
    async fn start(&self, run: RunId, params: serde_json::Value) -> Result<Run, StoreError>;
    /// Pauses the pipeline (nothing new starts), or lets it go on.
    async fn set_paused(&self, paused: bool) -> Result<(), StoreError>;
    /// The runs that end from now on, each once its end is on record. A slow receiver misses some,
    /// and is told so.
    fn ended_runs(&self) -> broadcast::Receiver<RunId>;
    /// How the watched resources are doing, by name.
    fn watches(&self) -> BTreeMap<String, Status>;
    /// What watched resources have found and cannot record yet, by name; those without anything
    /// like that are absent.
    fn waiting(&self) -> BTreeMap<String, Waiting>;
    /// How far active attempts say they are.
    fn progress(&self) -> BTreeMap<AttemptId, Progress>;
    /// Whether the host takes part in everything: the store answers, all watches have reconciled.
    /// The reasons why not, if not.
    fn not_ready(&self) -> Vec<String>;
}

/// The manifest that new runs are bound to, and its components. A reload replaces both at once.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The pipeline as its manifest says.
    pub pipeline: Arc<Pipeline>,
    /// The components, by action.
    pub components: Arc<BTreeMap<String, ComponentInfo>>,
}

/// What a floor above needs to look at a pipeline: records, logs, data, and the means to steer it.
#[derive(Clone)]
pub struct View {
    /// What is in force at the moment.
    pub in_force: watch::Receiver<InForce>,
    /// What is on record.
    pub store: Arc<dyn MetadataStore>,
    /// Log lines.
    pub logs: Arc<dyn LogStore>,
    /// Where data lies, by name.
    pub resources: Arc<BTreeMap<String, Arc<dyn Resource>>>,
    /// Steers.
    pub control: Arc<dyn Control>,
}

impl View {
    /// The pipeline in force.
    #[must_use]
    pub fn pipeline(&self) -> Arc<Pipeline> {
        Arc::clone(&self.in_force.borrow().pipeline)
    }

    /// The components in force, by action.
    #[must_use]
    pub fn components(&self) -> Arc<BTreeMap<String, ComponentInfo>> {
        Arc::clone(&self.in_force.borrow().components)
    }

    /// A text of the manifest as it is written there, `${…}` unexpanded: what is shown to people.
    /// `None` if it is not a text.
    #[must_use]
    pub fn written(&self, keys: &[&str]) -> Option<String> {
        let manifest: toml::Table = self.pipeline().text.parse().ok()?;
        let (last, tables) = keys.split_last()?;
        let table = tables.iter().try_fold(&manifest, |table, key| table.get(*key)?.as_table())?;
        table.get(*last)?.as_str().map(str::to_owned)
    }
}
