//! The parts of a host, made ready one after the other, and set to work together.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use anyhow::Context as _;

use crate::base::{Clock, Digest};
use crate::cli::records::log_folder;
use crate::cli::{Failure, open};
use crate::manifest::{Pipeline, ResourceKind};
use crate::resource::Resource;
use crate::scheduler::View;
use crate::store::MetadataStore;
use crate::store::logs::LogBook;

/// Everything that a host is made of, nothing at work yet. Dropped, it leaves nothing behind but a store that knows that it was opened.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) pipeline: Arc<Pipeline>,
    store: Arc<dyn MetadataStore>,
    logs: Arc<LogBook>,
    resources: Arc<BTreeMap<String, Arc<dyn Resource>>>,
    components: Arc<BTreeMap<String, Digest>>,
    clock: Arc<dyn Clock>,
}

impl Parts {
    /// Opens the store (a second host fails here, with the first one's name), the logs and the resources.
    pub(crate) async fn prepare(pipeline: Pipeline, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let state = pipeline.state_folder();
        fs::create_dir_all(&state).with_context(|| format!("failed to make the folder {}", state.display()))?;
        let store = open::for_writing(&pipeline)?;
        let logs = Arc::new(LogBook::open(&log_folder(&pipeline))?);
        let mut resources = BTreeMap::new();
        for spec in &pipeline.resources {
            let ResourceKind::Folder(_folder) = &spec.kind;
            let resource: Arc<dyn Resource> = Err(Failure::work("not built yet"))?;
            resources.insert(spec.name.clone(), resource);
        }
        let components = BTreeMap::new();
        Ok(Self {
            pipeline: Arc::new(pipeline),
            store,
            logs,
            resources: Arc::new(resources),
            components: Arc::new(components),
            clock,
        })
    }

    /// THE SEAM: sets the scheduler to work. It takes over what is unfinished, sweeps, reconciles, watches and runs, in the background.
    pub(crate) async fn start(self) -> Result<Started, Failure> {
        // What is wished for:
        //   let host = Host::start(Setup { pipeline, store, logs, resources, sandbox, components, revision, clock }).await?;
        //   host.view() -> View                                    everything that HTTP needs
        //   host.drained() -> Result<u64, StoreError>              when nothing waits and nothing is at work: how many runs have failed
        //   host.stop() -> Result<(), StoreError>                  finishes or hands back what is at work, closes the log and the store
        let _ = (self.store, self.logs, self.resources, self.components, self.clock);
        Err(Failure::work("the scheduler is not built yet"))
    }
}

/// A host at work.
pub(crate) struct Started {
    view: View,
}

impl Started {
    pub(crate) fn view(&self) -> View {
        self.view.clone()
    }

    pub(crate) fn store(&self) -> Arc<dyn MetadataStore> {
        Arc::clone(&self.view.store)
    }

    /// Waits until nothing waits and nothing is at work; gives the number of runs that have failed since the start.
    pub(crate) async fn drained(&self) -> Result<u64, Failure> {
        Ok(0)
    }

    /// Lets what is at work finish or hands it back. Takes as long as that takes.
    pub(crate) async fn stop(&self) -> Result<(), Failure> {
        Ok(())
    }
}
