//! The definitions that runs are bound to: the one in force, and those of runs that began under another.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::try_join_all;
use serde_json::json;

use super::definition::{Definition, resources};
use super::host::{Parts, StartError};
use super::shared::ProgressBoard;
use crate::base::Digest;
use crate::manifest::{ComponentError, ComponentInfo, Pipeline, inspect, inspect_known};
use crate::sandbox::{Sandbox, Services};
use crate::store::{NewRevision, StoreError};

/// The definitions that runs are bound to.
pub(super) struct Library {
    current: Definition,
    /// What is known of the components in force, by action.
    components: Arc<BTreeMap<String, ComponentInfo>>,
    others: HashMap<Digest, Definition>,
    shelf: ComponentShelf,
    sandbox: Arc<Sandbox>,
}

impl Library {
    /// Binds the manifest to its components, and puts it on record.
    pub(super) async fn open(parts: &Parts, progress: &ProgressBoard) -> Result<Self, StartError> {
        let shelf = ComponentShelf(parts.pipeline.state_folder().join("components"));
        let mut infos = BTreeMap::new();
        for action in &parts.pipeline.actions {
            infos.insert(action.name.clone(), shelf.keep(&action.name, &action.component)?);
        }
        let components = infos.iter().map(|(action, info)| (action.clone(), info.digest)).collect();
        shelf.load(&parts.sandbox, &components).await?;
        let revision = new_revision(&parts.pipeline, &components);
        let digest = revision.digest;
        parts.store.register_revision(revision, parts.clock.now()).await?;
        let board = progress.clone();
        let services = Services {
            store: Arc::clone(&parts.store),
            resources: Arc::new(resources(&parts.pipeline, None)?),
            logs: Arc::clone(&parts.logs),
            clock: Arc::clone(&parts.clock),
            progress: Arc::new(move |attempt, progress| board.set(attempt, progress)),
        };
        let current = Definition::new(Arc::new(parts.pipeline.clone()), components, digest, services);
        let sandbox = Arc::clone(&parts.sandbox);
        Ok(Self { current, components: Arc::new(infos), others: HashMap::new(), shelf, sandbox })
    }

    /// What is known of the components in force, by action.
    pub(super) fn components(&self) -> Arc<BTreeMap<String, ComponentInfo>> {
        Arc::clone(&self.components)
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
        let record = services.store.revision(revision).await?.ok_or_else(missing)?;
        let file = &self.current.pipeline.file;
        let pipeline = crate::manifest::parse_pinned(&record.manifest, &self.current.pipeline.folder, file, &|name| {
            std::env::var(name).ok()
        })
        .map_err(|problems| StartError::Manifest(problems.to_string()))?;
        let components: BTreeMap<String, Digest> = record.components.into_iter().collect();
        self.shelf.load(&self.sandbox, &components).await?;
        let known = (&*self.current.pipeline, &*services.resources);
        let resources = Arc::new(resources(&pipeline, Some(known))?);
        let services = Services { resources, ..services.clone() };
        Ok(Definition::new(Arc::new(pipeline), components, revision, services))
    }
}

/// Where the components that runs are bound to are kept.
#[derive(Debug, Clone)]
struct ComponentShelf(PathBuf);

impl ComponentShelf {
    fn place(&self, digest: Digest) -> PathBuf {
        self.0.join(format!("{}.wasm", digest.hex()))
    }

    /// Keeps a copy of the component in `file`, and returns what is known of it.
    fn keep(&self, action: &str, file: &Path) -> Result<ComponentInfo, StartError> {
        let failed = |why| StartError::Keep { file: file.to_owned(), why };
        let no_component =
            |error: ComponentError| StartError::Component { action: action.to_owned(), why: error.to_string() };
        let info = inspect_known(file).map_err(no_component)?;
        if self.has(&info) {
            return Ok(info);
        }
        let bytes = std::fs::read(file).map_err(failed)?;
        // Once more: what is kept is what was read.
        let info = inspect(&bytes).map_err(no_component)?;
        self.put(info.digest, &bytes).map_err(failed)?;
        Ok(info)
    }

    /// Whether a component is kept. A power cut can leave a file of its name without what was written to it.
    fn has(&self, component: &ComponentInfo) -> bool {
        std::fs::metadata(self.place(component.digest)).is_ok_and(|kept| kept.len() == component.size)
    }

    fn put(&self, digest: Digest, bytes: &[u8]) -> std::io::Result<()> {
        let place = self.place(digest);
        std::fs::create_dir_all(&self.0)?;
        let half = self.0.join(format!("{}.{}.tmp", digest.hex(), std::process::id()));
        let mut file = std::fs::File::create(&half)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&half, &place)
    }

    /// Puts kept components into the sandbox, several at a time.
    async fn load(&self, sandbox: &Sandbox, components: &BTreeMap<String, Digest>) -> Result<(), StartError> {
        let loads = components.iter().map(|(action, digest)| async move {
            let failed = |why| StartError::Component { action: action.clone(), why };
            sandbox.load(*digest, &self.place(*digest)).await.map_err(|error| failed(error.to_string()))
        });
        try_join_all(loads).await.map(drop)
    }
}

/// The record of a manifest with its components. Its digest is over both: a rebuilt component is another revision.
fn new_revision(pipeline: &Pipeline, components: &BTreeMap<String, Digest>) -> NewRevision {
    let components: Vec<(String, Digest)> = components.iter().map(|(name, digest)| (name.clone(), *digest)).collect();
    let text = json!([pipeline.text, components]).to_string();
    NewRevision { digest: Digest::of(text.as_bytes()), manifest: pipeline.text.clone(), components }
}
