//! Holds the definitions that runs are bound to: the one in force, and those of runs that began
//! under another.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use futures_util::future::try_join_all;
use serde_json::json;
use tokio::sync::watch;

use super::control::InForce;
use super::definition::{Definition, claim_written, resources};
use super::error::StartError;
use super::parts::Parts;
use super::shared::{ProgressBoard, stopping};
use crate::base::{Digest, fault};
use crate::manifest::{ComponentError, ComponentInfo, Pipeline, inspect, inspect_known};
use crate::sandbox::{Executor, Services};
use crate::store::components::ComponentStore;
use crate::store::{MetadataStore, NewRevision, StoreError};

/// The definitions that runs are bound to.
pub(super) struct Library {
    current: Definition,
    others: HashMap<Digest, Definition>,
    builder: RevisionBuilder,
    in_force: watch::Sender<InForce>,
}

/// A manifest that can come into force: its components are stored and loaded, and it is on record.
pub(super) struct PinnedRevision {
    definition: Definition,
    components: BTreeMap<String, ComponentInfo>,
}

/// Binds manifests to their components. Cheap to clone, and separate from the library, because
/// compiling takes long and runs start meanwhile.
#[derive(Clone)]
pub(super) struct RevisionBuilder {
    kept: Arc<dyn ComponentStore>,
    executor: Arc<dyn Executor>,
    store: Arc<dyn MetadataStore>,
    services: Services,
}

impl PinnedRevision {
    fn in_force(&self) -> InForce {
        InForce { pipeline: Arc::clone(&self.definition.pipeline), components: Arc::new(self.components.clone()) }
    }
}

impl RevisionBuilder {
    fn new(parts: &Parts, progress: &ProgressBoard) -> Result<Self, StartError> {
        let board = progress.clone();
        let services = Services {
            store: parts.store.clone(),
            resources: Arc::new(resources(&parts.pipeline, None)?),
            logs: Arc::clone(&parts.logs),
            clock: Arc::clone(&parts.clock),
            progress: Arc::new(move |attempt, progress| board.set(attempt, progress)),
        };
        let kept = Arc::clone(&parts.components);
        let (executor, store) = (Arc::clone(&parts.executor), Arc::clone(&parts.store));
        Ok(Self { kept, executor, store, services })
    }

    /// Loads stored components, several at a time.
    async fn load(&self, components: &BTreeMap<String, Digest>) -> Result<(), StartError> {
        let loads = components.iter().map(|(action, digest)| async move {
            let failed = |why| StartError::Component { action: action.clone(), why };
            let (kept, digest) = (Arc::clone(&self.kept), *digest);
            // The component store may have to fetch the file.
            let file = tokio::task::spawn_blocking(move || kept.get(digest)).await;
            let file = file.map_err(std::io::Error::other).flatten().map_err(|error| failed(error.to_string()))?;
            self.executor.load(digest, &file).await.map_err(|error| failed(error.to_string()))
        });
        try_join_all(loads).await.map(drop)
    }

    /// Binds a manifest to its components, and puts it on record. The resources of the manifest
    /// must be those that this builder was created with.
    pub(super) async fn bind(&self, pipeline: Pipeline) -> Result<PinnedRevision, StartError> {
        claim_written(&pipeline, &self.services.resources).await?;
        let components = Arc::clone(&self.kept);
        let files: Vec<_> = pipeline.components().map(|used| (used.name.to_owned(), used.file.to_owned())).collect();
        // This hashes and syncs megabytes, so it runs on a blocking thread.
        let keep_all = move || {
            files
                .into_iter()
                .map(|(action, file)| Ok((action.clone(), keep(components.as_ref(), &action, &file)?)))
                .collect()
        };
        let kept: Result<BTreeMap<String, ComponentInfo>, StartError> =
            tokio::task::spawn_blocking(keep_all).await.unwrap_or_else(|_| Err(stopping().into()));
        let infos = kept?;
        let components = infos.iter().map(|(action, info)| (action.clone(), info.digest)).collect();
        self.load(&components).await?;
        let revision = new_revision(&pipeline, &components);
        let digest = revision.digest;
        self.store.register_revision(revision, self.services.clock.now()).await?;
        let definition = Definition::new(Arc::new(pipeline), components, digest, self.services.clone());
        Ok(PinnedRevision { definition, components: infos })
    }
}

impl Library {
    /// Binds the manifest of a host to its components, and puts it on record.
    pub(super) async fn open(parts: &Parts, progress: &ProgressBoard) -> Result<Self, StartError> {
        let builder = RevisionBuilder::new(parts, progress)?;
        let bound = builder.bind(parts.pipeline.clone()).await?;
        let in_force = watch::Sender::new(bound.in_force());
        Ok(Self { current: bound.definition, others: HashMap::new(), builder, in_force })
    }

    /// Returns a receiver of the manifest and components in force.
    pub(super) fn in_force(&self) -> watch::Receiver<InForce> {
        self.in_force.subscribe()
    }

    /// Returns the builder that binds other manifests of this pipeline.
    pub(super) fn builder(&self) -> RevisionBuilder {
        self.builder.clone()
    }

    /// Loads the components of a pinned revision, in case one was unloaded since.
    pub(super) fn load(&self, bound: &PinnedRevision) -> impl Future<Output = Result<(), StartError>> + use<> {
        let (builder, components) = (self.builder.clone(), Arc::clone(&bound.definition.components));
        async move { builder.load(&components).await }
    }

    /// Puts another definition in force, for runs that are created from now on. Its components must
    /// be loaded.
    pub(super) fn replace(&mut self, bound: PinnedRevision) {
        let in_force = bound.in_force();
        let before = std::mem::replace(&mut self.current, bound.definition);
        self.others.insert(before.revision, before);
        self.others.remove(&self.current.revision);
        self.in_force.send_replace(in_force);
        self.drop_unused();
    }

    /// Drops definitions that no active run is bound to, and unloads the components that nothing
    /// needs then. Otherwise a day of rebuilding would fill the memory. A run that needs a
    /// definition later has it restored.
    pub(super) fn drop_unused(&mut self) {
        let unused: Vec<Definition> =
            self.others.extract_if(|_, definition| !definition.is_in_use()).map(|(_, definition)| definition).collect();
        for digest in unused.iter().flat_map(|definition| definition.components.values()) {
            let mut kept = self.others.values().chain([&self.current]);
            if !kept.any(|definition| definition.components.values().any(|other| other == digest)) {
                self.builder.executor.forget(*digest);
            }
        }
    }

    /// Returns the definition in force.
    pub(super) fn current(&self) -> &Definition {
        &self.current
    }

    /// Returns the definition of a revision, if the library holds it.
    pub(super) fn get(&self, revision: Digest) -> Option<Definition> {
        if revision == self.current.revision {
            return Some(self.current.clone());
        }
        self.others.get(&revision).cloned()
    }

    /// Holds a definition for as long as a run is bound to it.
    pub(super) fn keep(&mut self, definition: Definition) {
        if definition.revision != self.current.revision {
            self.others.insert(definition.revision, definition);
        }
    }

    /// Reads a definition from the record and loads its components, which may mean compiling them.
    /// The future borrows nothing, so that runs can start meanwhile.
    pub(super) fn restore(&self, revision: Digest) -> impl Future<Output = Result<Definition, StartError>> + use<> {
        let (builder, current) = (self.builder.clone(), self.current.clone());
        async move { builder.restore(revision, &current).await }
    }
}

impl RevisionBuilder {
    /// Restores a definition on record. Shares the resources of `current`, the definition in force,
    /// that have the same spec.
    async fn restore(&self, revision: Digest, current: &Definition) -> Result<Definition, StartError> {
        fault::panic_point("definition.restore");
        let services = &current.services;
        let missing = || StoreError::Corrupt(format!("there is no manifest {revision} on record"));
        let record = self.store.revision(revision).await?.ok_or_else(missing)?;
        let (folder, file) = (&current.pipeline.folder, &current.pipeline.file);
        let variable = |name: &str| std::env::var(name).ok();
        let pipeline = crate::manifest::parse_pinned(&record.manifest, folder, file, &variable)
            .map_err(|problems| StartError::Manifest(problems.to_string()))?;
        // The triggers of the manifest in force decide when runs start, not those of a restored
        // one.
        let of_actions = record.components.into_iter().filter(|(name, _)| pipeline.action(name).is_some());
        let components: BTreeMap<String, Digest> = of_actions.collect();
        self.load(&components).await?;
        let known = (&*current.pipeline, &*services.resources);
        let resources = Arc::new(resources(&pipeline, Some(known))?);
        claim_written(&pipeline, &resources).await?;
        let services = Services { resources, ..services.clone() };
        Ok(Definition::new(Arc::new(pipeline), components, revision, services))
    }
}

/// Stores a copy of the component in `file`, and returns its description.
fn keep(components: &dyn ComponentStore, action: &str, file: &Path) -> Result<ComponentInfo, StartError> {
    let failed = |why| StartError::Keep { file: file.to_owned(), why };
    let no_component =
        |error: ComponentError| StartError::Component { action: action.to_owned(), why: error.to_string() };
    let info = inspect_known(file).map_err(no_component)?;
    if components.has(info.digest, info.size) {
        return Ok(info);
    }
    let bytes = std::fs::read(file).map_err(failed)?;
    // Inspect again, because the file may have changed: the description must match the stored
    // bytes.
    let info = inspect(&bytes).map_err(no_component)?;
    components.put(info.digest, &bytes).map_err(failed)?;
    Ok(info)
}

/// Returns the record of a manifest with its components. The digest covers both, so a rebuilt
/// component makes another revision.
fn new_revision(pipeline: &Pipeline, components: &BTreeMap<String, Digest>) -> NewRevision {
    let components: Vec<(String, Digest)> = components.iter().map(|(name, digest)| (name.clone(), *digest)).collect();
    let text = json!([pipeline.text, components]).to_string();
    NewRevision { digest: Digest::of(text.as_bytes()), manifest: pipeline.text.clone(), components }
}
