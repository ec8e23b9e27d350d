//! The definitions that runs are bound to: the one in force, and those of runs that began under another.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use futures_util::future::try_join_all;
use serde_json::json;
use tokio::sync::watch;

use super::control::InForce;
use super::definition::{Definition, claim_written, resources};
use super::host::{Parts, StartError};
use super::shared::{ProgressBoard, stopping};
use crate::base::Digest;
use crate::manifest::{ComponentError, ComponentInfo, Pipeline, inspect, inspect_known};
use crate::sandbox::{Sandbox, Services};
use crate::store::components::{self, ComponentStore};
use crate::store::{MetadataStore, NewRevision, StoreError};

/// The definitions that runs are bound to.
pub(super) struct Library {
    current: Definition,
    others: HashMap<Digest, Definition>,
    binder: Binder,
    in_force: watch::Sender<InForce>,
}

/// A manifest that can come into force: its components are kept and loaded, and it is on record.
pub(super) struct Bound {
    definition: Definition,
    components: BTreeMap<String, ComponentInfo>,
}

/// Binds manifests to their components. Cheap to clone, and apart from the library, because compiling takes long and runs start meanwhile.
#[derive(Clone)]
pub(super) struct Binder {
    kept: Arc<dyn ComponentStore>,
    sandbox: Arc<Sandbox>,
    store: Arc<dyn MetadataStore>,
    services: Services,
}

impl Bound {
    fn in_force(&self) -> InForce {
        InForce { pipeline: Arc::clone(&self.definition.pipeline), components: Arc::new(self.components.clone()) }
    }
}

impl Binder {
    fn new(parts: &Parts, progress: &ProgressBoard) -> Result<Self, StartError> {
        let board = progress.clone();
        let services = Services {
            store: parts.store.clone(),
            resources: Arc::new(resources(&parts.pipeline, None)?),
            logs: Arc::clone(&parts.logs),
            clock: Arc::clone(&parts.clock),
            progress: Arc::new(move |attempt, progress| board.set(attempt, progress)),
        };
        let kept = components::open(&parts.pipeline.state);
        Ok(Self { kept, sandbox: Arc::clone(&parts.sandbox), store: Arc::clone(&parts.store), services })
    }

    /// Puts kept components into the sandbox, several at a time.
    async fn load(&self, components: &BTreeMap<String, Digest>) -> Result<(), StartError> {
        let loads = components.iter().map(|(action, digest)| async move {
            let failed = |why| StartError::Component { action: action.clone(), why };
            let (kept, digest) = (Arc::clone(&self.kept), *digest);
            // It may have to be fetched.
            let file = tokio::task::spawn_blocking(move || kept.get(digest)).await;
            let file = file.map_err(std::io::Error::other).flatten().map_err(|error| failed(error.to_string()))?;
            self.sandbox.load(digest, &file).await.map_err(|error| failed(error.to_string()))
        });
        try_join_all(loads).await.map(drop)
    }

    /// Binds a manifest, whose resources are those that this was made for, to its components, and puts it on record.
    pub(super) async fn bind(&self, pipeline: Pipeline) -> Result<Bound, StartError> {
        claim_written(&pipeline, &self.services.resources).await?;
        let components = Arc::clone(&self.kept);
        let files: Vec<_> =
            pipeline.actions.iter().map(|action| (action.name.clone(), action.component.clone())).collect();
        // Megabytes to hash and to sync: not on a thread that others wait for.
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
        Ok(Bound { definition, components: infos })
    }
}

impl Library {
    /// Binds the manifest to its components, and puts it on record.
    pub(super) async fn open(parts: &Parts, progress: &ProgressBoard) -> Result<Self, StartError> {
        let binder = Binder::new(parts, progress)?;
        let bound = binder.bind(parts.pipeline.clone()).await?;
        let in_force = watch::Sender::new(bound.in_force());
        Ok(Self { current: bound.definition, others: HashMap::new(), binder, in_force })
    }

    /// What is in force, now and later.
    pub(super) fn in_force(&self) -> watch::Receiver<InForce> {
        self.in_force.subscribe()
    }

    /// What binds a further manifest of this pipeline.
    pub(super) fn binder(&self) -> Binder {
        self.binder.clone()
    }

    /// Puts another definition in force, for runs that are created from now on.
    pub(super) async fn replace(&mut self, bound: Bound) -> Result<(), StartError> {
        // Its components were loaded when it was bound; the end of a run may have dropped one since.
        self.binder.load(&bound.definition.components).await?;
        let in_force = bound.in_force();
        let before = std::mem::replace(&mut self.current, bound.definition);
        self.others.insert(before.revision, before);
        self.others.remove(&self.current.revision);
        self.in_force.send_replace(in_force);
        self.tidy();
        Ok(())
    }

    /// Lets go of definitions that no run at work is bound to, and of components that nobody needs then: who rebuilds all day must not fill
    /// the memory. A run that needs one later has it restored.
    pub(super) fn tidy(&mut self) {
        let unused: Vec<Definition> =
            self.others.extract_if(|_, definition| !definition.is_in_use()).map(|(_, definition)| definition).collect();
        for digest in unused.iter().flat_map(|definition| definition.components.values()) {
            let mut kept = self.others.values().chain([&self.current]);
            if !kept.any(|definition| definition.components.values().any(|other| other == digest)) {
                self.binder.sandbox.forget(*digest);
            }
        }
    }

    /// The one in force.
    pub(super) fn current(&self) -> &Definition {
        &self.current
    }

    /// The one of this revision. `None`, with a word in the log, if it can not be used any more.
    pub(super) async fn get(&mut self, revision: Digest) -> Option<Definition> {
        if revision == self.current.revision {
            return Some(self.current.clone());
        }
        if let Some(known) = self.others.get(&revision) {
            return Some(known.clone());
        }
        match self.restore(revision).await {
            Ok(definition) => {
                self.others.insert(revision, definition.clone());
                Some(definition)
            }
            Err(error) => {
                tracing::error!("the manifest {revision}, which a run began under, can not be used any more: {error}");
                None
            }
        }
    }

    /// A definition on record.
    async fn restore(&self, revision: Digest) -> Result<Definition, StartError> {
        let services = &self.current.services;
        let missing = || StoreError::Corrupt(format!("there is no manifest {revision} on record"));
        let record = self.binder.store.revision(revision).await?.ok_or_else(missing)?;
        let file = &self.current.pipeline.file;
        let pipeline = crate::manifest::parse_pinned(&record.manifest, &self.current.pipeline.folder, file, &|name| {
            std::env::var(name).ok()
        })
        .map_err(|problems| StartError::Manifest(problems.to_string()))?;
        let components: BTreeMap<String, Digest> = record.components.into_iter().collect();
        self.binder.load(&components).await?;
        let known = (&*self.current.pipeline, &*services.resources);
        let resources = Arc::new(resources(&pipeline, Some(known))?);
        claim_written(&pipeline, &resources).await?;
        let services = Services { resources, ..services.clone() };
        Ok(Definition::new(Arc::new(pipeline), components, revision, services))
    }
}

/// Keeps a copy of the component in `file`, and returns what is known of it.
fn keep(components: &dyn ComponentStore, action: &str, file: &Path) -> Result<ComponentInfo, StartError> {
    let failed = |why| StartError::Keep { file: file.to_owned(), why };
    let no_component =
        |error: ComponentError| StartError::Component { action: action.to_owned(), why: error.to_string() };
    let info = inspect_known(file).map_err(no_component)?;
    if components.has(info.digest, info.size) {
        return Ok(info);
    }
    let bytes = std::fs::read(file).map_err(failed)?;
    // Once more: what is kept is what was read.
    let info = inspect(&bytes).map_err(no_component)?;
    components.put(info.digest, &bytes).map_err(failed)?;
    Ok(info)
}

/// The record of a manifest with its components. Its digest is over both: a rebuilt component is another revision.
fn new_revision(pipeline: &Pipeline, components: &BTreeMap<String, Digest>) -> NewRevision {
    let components: Vec<(String, Digest)> = components.iter().map(|(name, digest)| (name.clone(), *digest)).collect();
    let text = json!([pipeline.text, components]).to_string();
    NewRevision { digest: Digest::of(text.as_bytes()), manifest: pipeline.text.clone(), components }
}
