//! A host at work: starts the parts in order, recovers what the last host left, and stops them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::control::View;
use super::definition::{ComponentShelf, Definition, new_revision, resources};
use super::dispatcher::{Dispatcher, MESSAGES, Message, Tally};
use super::recorder::{Recorder, StatusBoard};
use super::shared::{Phase, ProgressBoard, Shared};
use super::steering::Steering;
use crate::base::{Clock, Digest};
use crate::manifest::Pipeline;
use crate::resource::{Resource, ResourceError};
use crate::sandbox::{Sandbox, Services};
use crate::store::logs::LogBook;
use crate::store::{MetadataStore, StoreError, UnfinishedRun};

/// Why a host could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The metadata store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A resource can not be used.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// A component can not be run.
    #[error("the component of {action} can not be used: {why}")]
    Component {
        /// The action.
        action: String,
        /// Why.
        why: String,
    },
    /// A component could not be copied to where runs are bound to it.
    #[error("failed to keep a copy of {}: {why}", file.display())]
    Keep {
        /// The component's file.
        file: PathBuf,
        /// Why.
        why: std::io::Error,
    },
}

/// What a host is made of.
pub struct Parts {
    /// The manifest.
    pub pipeline: Pipeline,
    /// Where records go. This host must be the only one that writes to it.
    pub store: Arc<dyn MetadataStore>,
    /// Where log lines go.
    pub logs: Arc<LogBook>,
    /// Where components run.
    pub sandbox: Arc<Sandbox>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// How a host works.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether it ends once nothing is left to do.
    pub drain: bool,
    /// Most attempts at work at once, 1 or more.
    pub slots: usize,
    /// How long attempts may go on after [`Host::stop`] before they are handed back.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { drain: false, slots: 16, grace: Duration::from_secs(10) }
    }
}

/// A pipeline at work.
pub struct Host {
    view: View,
    phase: watch::Sender<Phase>,
    watching: CancellationToken,
    dispatcher: JoinHandle<Result<Tally, StoreError>>,
    watchers: Vec<JoinHandle<()>>,
    ended: CancellationToken,
    grace: Duration,
}

impl Host {
    /// Starts a pipeline: binds it to a revision, recovers what is unfinished, watches its resources.
    ///
    /// # Errors
    /// When the store, a resource or a component can not be used.
    pub async fn start(parts: Parts, options: Options) -> Result<Self, StartError> {
        let (phase, phases) = watch::channel(Phase::Running);
        let progress = ProgressBoard::default();
        let shared = Arc::new(Shared {
            store: Arc::clone(&parts.store),
            sandbox: Arc::clone(&parts.sandbox),
            logs: Arc::clone(&parts.logs),
            clock: Arc::clone(&parts.clock),
            slots: Arc::new(Semaphore::new(options.slots.max(1))),
            phase: phases,
            progress: progress.clone(),
        });
        let shelf = ComponentShelf::new(&parts.pipeline.state_folder());
        let definition = define(&parts, &shelf, &progress).await?;
        let unfinished = parts.store.take_over(parts.clock.now()).await?;
        let definitions = pinned(&parts, &shelf, &definition, &unfinished).await?;
        sweep(&definitions, &unfinished).await?;

        let watched: Vec<String> = parts
            .pipeline
            .resources
            .iter()
            .filter(|resource| resource.watch)
            .map(|resource| resource.name.clone())
            .collect();
        let statuses = StatusBoard::new(watched.iter().cloned());
        let (to_dispatcher, messages) = mpsc::channel(MESSAGES);
        let mut pending = BTreeMap::new();
        for name in &watched {
            pending.insert(name.clone(), parts.store.pending(name).await?);
        }
        let dispatcher = Dispatcher {
            shared: Arc::clone(&shared),
            definition: definition.clone(),
            definitions,
            statuses: statuses.clone(),
            messages,
            paused: parts.store.paused().await?,
            draining: options.drain,
            pending,
            waiting: VecDeque::from(unfinished),
        };
        let watching = CancellationToken::new();
        let mut watchers = Vec::new();
        for name in watched {
            watchers.push(watch_resource(&shared, &definition, name, &to_dispatcher, &statuses, &watching).await?);
        }
        let steering = Steering { shared, dispatcher: to_dispatcher, statuses, progress };
        let view = View {
            pipeline: Arc::clone(&definition.pipeline),
            store: parts.store,
            logs: parts.logs,
            resources: Arc::clone(&definition.services.resources),
            components: Arc::clone(&definition.components),
            control: Arc::new(steering),
        };
        let ended = CancellationToken::new();
        let told = ended.clone().drop_guard();
        let dispatcher = tokio::spawn(async move {
            let _told = told;
            dispatcher.work().await
        });
        Ok(Self { view, phase, watching, dispatcher, watchers, ended, grace: options.grace })
    }

    /// What floors above look at and steer by.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Waits until the host has ended by itself: drained, or in trouble. [`Host::stop`] tells which.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Stops: nothing new starts, what runs has the grace time to finish and is handed back then. Returns how many runs ended how.
    ///
    /// # Errors
    /// When the store refused something on the way, now or before.
    pub async fn stop(self) -> Result<Tally, StoreError> {
        self.watching.cancel();
        self.phase.send_replace(Phase::Finishing);
        let phase = self.phase.clone();
        let grace = self.grace;
        let patience = tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            phase.send_replace(Phase::HandingBack);
        });
        let tally = self.dispatcher.await;
        patience.abort();
        self.phase.send_replace(Phase::HandingBack);
        for watcher in self.watchers {
            // A watcher that panicked has said so on stderr; there is nothing left for it to do.
            let _ = watcher.await;
        }
        tally.unwrap_or_else(|error| Err(StoreError::Conflict(format!("the dispatcher ended abruptly: {error}"))))
    }
}

/// The manifest in force, bound to its components and on record.
async fn define(parts: &Parts, shelf: &ComponentShelf, progress: &ProgressBoard) -> Result<Definition, StartError> {
    let mut components = BTreeMap::new();
    for action in &parts.pipeline.actions {
        let kept = shelf.keep(&action.component);
        let digest = kept.map_err(|why| StartError::Keep { file: action.component.clone(), why })?;
        components.insert(action.name.clone(), digest);
    }
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
    Ok(Definition::new(Arc::new(parts.pipeline.clone()), components, digest, services))
}

/// The definitions that unfinished runs are bound to, and the one in force. One that can not be used any more is left out, with
/// a word about it: its runs wait.
async fn pinned(
    parts: &Parts,
    shelf: &ComponentShelf,
    current: &Definition,
    unfinished: &[UnfinishedRun],
) -> Result<HashMap<Digest, Definition>, StartError> {
    let mut definitions = HashMap::from([(current.revision, current.clone())]);
    for run in unfinished {
        let revision = run.detail.run.revision;
        if definitions.contains_key(&revision) {
            continue;
        }
        match restore(parts, shelf, current, revision).await {
            Ok(definition) => {
                definitions.insert(revision, definition);
            }
            Err(StartError::Store(error)) => return Err(error.into()),
            Err(error) => tracing::error!(
                run = run.detail.run.number,
                "the manifest of an unfinished run can not be used: {error}"
            ),
        }
    }
    Ok(definitions)
}

/// A definition on record.
async fn restore(
    parts: &Parts,
    shelf: &ComponentShelf,
    current: &Definition,
    revision: Digest,
) -> Result<Definition, StartError> {
    let missing = || StoreError::Corrupt(format!("there is no manifest {revision} on record"));
    let record = parts.store.revision(revision).await?.ok_or_else(missing)?;
    let pipeline =
        crate::manifest::parse_pinned(&record.manifest, &parts.pipeline.file, &|name| std::env::var(name).ok())
            .map_err(|problems| StoreError::Corrupt(problems.to_string()))?;
    let components: BTreeMap<String, Digest> = record.components.into_iter().collect();
    shelf.load(&parts.sandbox, &components).await?;
    let known = (&*current.pipeline, &*current.services.resources);
    let resources = Arc::new(resources(&pipeline, Some(known))?);
    let services = Services { resources, ..current.services.clone() };
    Ok(Definition::new(Arc::new(pipeline), components, revision, services))
}

/// Removes what dead attempts have staged; what was committed is kept, to be made visible.
async fn sweep(definitions: &HashMap<Digest, Definition>, unfinished: &[UnfinishedRun]) -> Result<(), StartError> {
    let committed = unfinished.iter().flat_map(|run| &run.attempts).filter(|attempt| attempt.files.is_some());
    let keep: Vec<_> = committed.map(|attempt| attempt.fence.attempt_id).collect();
    for resource in definitions.values().flat_map(|definition| definition.services.resources.values()) {
        resource.sweep(&keep).await?;
    }
    Ok(())
}

async fn watch_resource(
    shared: &Arc<Shared>,
    definition: &Definition,
    name: String,
    dispatcher: &mpsc::Sender<Message>,
    statuses: &StatusBoard,
    stop: &CancellationToken,
) -> Result<JoinHandle<()>, StartError> {
    let known = shared.store.known(&name).await?;
    let unknown = || ResourceError::Unusable { resource: name.clone(), why: "it is not in the manifest".to_owned() };
    let resource: Arc<dyn Resource> = definition.services.resources.get(&name).cloned().ok_or_else(unknown)?;
    let recorder = Recorder {
        shared: Arc::clone(shared),
        resource: name.clone(),
        dispatcher: dispatcher.clone(),
        statuses: statuses.clone(),
    };
    let stop = stop.clone();
    Ok(tokio::spawn(async move {
        if let Err(error) = resource.watch(known, Arc::new(recorder), stop).await {
            tracing::error!("{error}; it is not watched any more");
        }
    }))
}
