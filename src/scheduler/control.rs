//! The interface to control a running pipeline, and to read its state that is not on record.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};

use super::core::SlotUse;
use super::space::FreedSpace;
use crate::base::{ArtifactId, AttemptId, RunId};
use crate::manifest::{ComponentInfo, Pipeline, WitError, wit_known};
use crate::model::{AliasMove, NodeKind, Pause, Run, Verdict};
use crate::resource::{Outage, Resource, Status, Waiting};
use crate::sandbox::Progress;
use crate::store::components::ComponentStore;
use crate::store::logs::LogStore;
use crate::store::{AliasTarget, MetadataStore, NewModelVersion, StoreError};

/// The inputs of a run that is started by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inputs {
    /// All new artifacts, which it claims; there may be none.
    New,
    /// The new artifacts of this resource, which it claims, whatever the resource's trigger waits
    /// for; at least one.
    NewIn(String),
    /// The inputs of a run that has ended, again. The default params are those of that run.
    Of(RunId),
    /// These artifacts, whichever run claimed them.
    Given(Vec<ArtifactId>),
}

/// Controls a running pipeline. The HTTP floor uses this trait; tests provide their own
/// implementation.
#[async_trait]
pub trait Control: Send + Sync {
    /// Requests the cancellation of a run, and returns the run. `None` if there is no such run. A
    /// run that has ended stays unchanged.
    async fn cancel(&self, run: RunId) -> Result<Option<Run>, StoreError>;
    /// Retries a run that has ended: what has not succeeded, and the actions in `again`; see
    /// [`MetadataStore::request_retry`].
    async fn retry(&self, run: RunId, again: Vec<String>) -> Result<Option<Run>, StoreError>;
    /// Records what a person has decided about an action that waits for approval, and lets the run
    /// go on. `by` and `note` are texts for people. Returns the run; `None` if there is no such
    /// run; see [`MetadataStore::decide_approval`] for errors.
    async fn decide(
        &self,
        run: RunId,
        action: &str,
        verdict: Verdict,
        by: Option<&str>,
        note: Option<&str>,
    ) -> Result<Option<Run>, StoreError>;
    /// Starts a run by hand, under the manifest in force.
    ///
    /// Idempotent by id: if the run exists and was started in the same way, it is returned
    /// unchanged.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the run exists and was started otherwise, if the run to repeat
    /// does not exist or has not ended, if an artifact that it is to work on does not exist, or
    /// was replaced or removed, or if nothing is new in the resource. [`StoreError::Invalid`] if
    /// its params do not fit `params_schema`.
    async fn start(&self, run: RunId, params: Option<serde_json::Value>, inputs: Inputs) -> Result<Run, StoreError>;
    /// Pauses the pipeline, so that no run starts by a trigger, or resumes it.
    async fn set_paused(&self, paused: bool) -> Result<(), StoreError>;
    /// Pauses a resource or an action, and returns the pause; see [`MetadataStore::pause_node`].
    /// While a resource is paused, no run claims what is in it. While an action is paused, no
    /// attempt of it starts. Does not check that the name exists.
    async fn pause_node(&self, kind: NodeKind, name: &str, reason: Option<String>) -> Result<Pause, StoreError>;
    /// Resumes a resource or an action. Does nothing if it is not paused.
    async fn resume_node(&self, kind: NodeKind, name: &str) -> Result<(), StoreError>;
    /// Records the card of a model; see [`crate::store::ModelRegistry::set_model_card`].
    async fn set_model_card(&self, model: &str, card: &str) -> Result<(), StoreError>;
    /// Registers a version of a model, and returns its number; see
    /// [`crate::store::ModelRegistry::register_version`].
    async fn register_version(&self, new: NewModelVersion) -> Result<u64, StoreError>;
    /// Moves an alias of a model; see [`crate::store::ModelRegistry::move_alias`].
    async fn move_alias(&self, to: AliasTarget) -> Result<AliasMove, StoreError>;
    /// Subscribes to the runs that end from now on. Each is sent once its end is on record. A slow
    /// receiver misses some, and gets an error that says so.
    fn ended_runs(&self) -> broadcast::Receiver<RunId>;
    /// Returns the status of each watched resource, by name.
    fn watches(&self) -> BTreeMap<String, Status>;
    /// Returns what watched resources have found and cannot record yet, by name. Resources without
    /// such paths are absent.
    fn waiting(&self) -> BTreeMap<String, Waiting>;
    /// Returns why committed outputs are not published yet, for each attempt that waits for that.
    fn outages(&self) -> BTreeMap<AttemptId, Outage>;
    /// Returns the progress that active attempts have reported.
    fn progress(&self) -> BTreeMap<AttemptId, Progress>;
    /// Returns how much of each named limit is used, by name.
    fn concurrency(&self) -> BTreeMap<String, SlotUse>;
    /// Frees disk space, and returns what was freed. With `dry_run`, only returns what it would
    /// free. May take minutes; it goes on even if the caller does not wait for it.
    ///
    /// # Errors
    /// When a part fails. The other parts are freed.
    async fn give_back(&self, dry_run: bool) -> Result<FreedSpace, StoreError>;
    /// Checks whether log lines can be written. While they cannot, the host is not ready, and no
    /// attempt starts.
    async fn check_logs(&self);
    /// Returns the reasons why the host is not ready; empty if it is. A ready host can reach its
    /// store, and all its watches have reconciled.
    fn not_ready(&self) -> Vec<String>;
}

/// The manifest that new runs are bound to, and its components. A reload replaces both atomically.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The pipeline of the manifest.
    pub pipeline: Arc<Pipeline>,
    /// The components, by action.
    pub components: Arc<BTreeMap<String, ComponentInfo>>,
}

/// Gives higher floors access to a pipeline: its records, logs and data, and its control.
#[derive(Clone)]
pub struct View {
    /// The manifest and components in force.
    pub in_force: watch::Receiver<InForce>,
    /// The records.
    pub store: Arc<dyn MetadataStore>,
    /// The log lines.
    pub logs: Arc<dyn LogStore>,
    /// The components that runs are bound to.
    pub stored: Arc<dyn ComponentStore>,
    /// The resources, by name.
    pub resources: Arc<BTreeMap<String, Arc<dyn Resource>>>,
    /// The control of the pipeline.
    pub control: Arc<dyn Control>,
}

impl View {
    /// Returns the pipeline in force.
    #[must_use]
    pub fn pipeline(&self) -> Arc<Pipeline> {
        Arc::clone(&self.in_force.borrow().pipeline)
    }

    /// Returns the components in force, by action.
    #[must_use]
    pub fn components(&self) -> Arc<BTreeMap<String, ComponentInfo>> {
        Arc::clone(&self.in_force.borrow().components)
    }

    /// Returns the world of an action's component in force as WIT. `None` if there is no such
    /// action.
    pub async fn wit(&self, action: &str) -> Option<Result<Arc<str>, WitError>> {
        let digest = self.components().get(action)?.digest;
        let stored = Arc::clone(&self.stored);
        let read = tokio::task::spawn_blocking(move || wit_known(digest, || stored.get(digest)));
        Some(read.await.unwrap_or_else(|why| Err(WitError::Unreadable(format!("cannot be read: {why}")))))
    }

    /// Returns a string of the manifest as it is written there, with `${…}` unexpanded, for
    /// display. `None` if there is no string at `keys`.
    #[must_use]
    pub fn written(&self, keys: &[&str]) -> Option<String> {
        self.pipeline().written(keys)
    }
}
