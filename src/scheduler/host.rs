//! A host at work: starts the parts in order, recovers what the last host left, and stops them.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::control::View;
use super::core::Waiting;
use super::definition::Definition;
use super::dispatcher::{Dispatcher, MESSAGES, Message, Tally};
use super::kept::remove_unneeded_components;
use super::library::Library;
use super::recorder::{Recorder, StatusBoard};
use super::reload::{ReloadError, Reloader};
use super::retention::keep_events_bounded;
use super::shared::{ENDS, Phase, ProgressBoard, Shared};
use super::steering::Steering;
use crate::base::Clock;
use crate::base::bounds::MAX_PAGE;
use crate::manifest::Pipeline;
use crate::model::KnownPath;
use crate::resource::{Resource, ResourceError};
use crate::sandbox::Sandbox;
use crate::store::logs::LogStore;
use crate::store::{HostLease, MetadataStore, PageRequest, StoreError, UnfinishedRun};

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
    /// The manifest of an unfinished run can not be read any more, as drawn for people.
    #[error("{0}")]
    Manifest(String),
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
    /// The right to be that one. When it is lost, the host ends.
    pub lease: Arc<dyn HostLease>,
    /// Where log lines go.
    pub logs: Arc<dyn LogStore>,
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
    reloader: Reloader,
    phase: watch::Sender<Phase>,
    watching: CancellationToken,
    dispatcher: JoinHandle<Result<Tally, StoreError>>,
    watchers: Vec<JoinHandle<()>>,
    ended: CancellationToken,
    lost: Arc<OnceLock<String>>,
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
            ends: broadcast::Sender::new(ENDS),
        });
        let mut library = Library::open(&parts, &progress).await?;
        let definition = library.current().clone();
        let unfinished = parts.store.take_over(parts.clock.now()).await?;
        let mut resources = definition.written().cloned().collect::<Vec<_>>();
        for run in &unfinished {
            if let Some(definition) = library.get(run.detail.run.revision).await {
                resources.extend(definition.written().cloned());
            }
        }
        sweep(&resources, &unfinished).await?;
        for run in &unfinished {
            tracing::warn!("run #{} was not finished when the last host ended: it goes on", run.detail.run.number);
        }

        forget_unneeded_components(&parts, &definition).await;
        let watched: Vec<String> = parts
            .pipeline
            .resources
            .iter()
            .filter(|resource| resource.watch)
            .map(|resource| resource.name.clone())
            .collect();
        let statuses = StatusBoard::new(watched.iter().cloned());
        let (to_dispatcher, messages) = mpsc::channel(MESSAGES);
        let mut pending = Waiting::default();
        for name in &watched {
            pending.note(name, parts.store.pending(name).await?);
        }
        let in_force = library.in_force();
        let reloader = Reloader::new(library.binder(), in_force.clone(), to_dispatcher.clone());
        let dispatcher = Dispatcher {
            shared: Arc::clone(&shared),
            library,
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
        tokio::spawn(keep_events_bounded(Arc::clone(&shared)));
        let logs = parts.logs;
        let steering = Steering { shared, dispatcher: to_dispatcher, statuses, progress };
        let view = View {
            in_force,
            store: parts.store,
            logs: Arc::clone(&logs),
            resources: Arc::clone(&definition.services.resources),
            control: Arc::new(steering),
        };
        let ended = CancellationToken::new();
        let lost = Arc::default();
        tokio::spawn(end_when_lost(parts.lease, logs, ended.clone(), Arc::clone(&lost)));
        let told = ended.clone().drop_guard();
        let dispatcher = tokio::spawn(async move {
            let _told = told;
            dispatcher.work().await
        });
        Ok(Self { view, reloader, phase, watching, dispatcher, watchers, ended, lost, grace: options.grace })
    }

    /// What floors above look at and steer by.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Puts another manifest of the same pipeline in force, or the same one with other components: for runs that are created from now on. A run at
    /// work keeps what it began with. When this fails, nothing has changed.
    ///
    /// # Errors
    /// When the manifest differs in what only a restart can change, or a component can not be used.
    pub async fn reload(&self, pipeline: Pipeline) -> Result<(), ReloadError> {
        self.reloader.reload(pipeline).await
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
        if let Some(what) = self.lost.get() {
            return Err(StoreError::Lost { what: what.clone() });
        }
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
        for resource in self.view.resources.values() {
            resource.release_writing().await;
        }
        tally.unwrap_or_else(|error| Err(StoreError::Conflict(format!("the dispatcher ended abruptly: {error}"))))
    }
}

/// Removes kept components that no run needs any more. Before anything is at work: a run is bound to components at any time.
async fn forget_unneeded_components(parts: &Parts, definition: &Definition) {
    let in_force = definition.components.values().copied().collect();
    let folder = parts.pipeline.state.join("components");
    match remove_unneeded_components(parts.store.as_ref(), &folder, &in_force, false).await {
        Ok(removed) if removed.files > 0 => {
            tracing::info!("removed {} components that no run needs any more", removed.files);
        }
        Ok(_) => {}
        Err(error) => tracing::warn!("{error}; components that no run needs are removed later"),
    }
}

/// Ends the host when what it writes its records to is lost.
async fn end_when_lost(
    lease: Arc<dyn HostLease>,
    logs: Arc<dyn LogStore>,
    ended: CancellationToken,
    lost: Arc<OnceLock<String>>,
) {
    let what = tokio::select! {
        what = lease.lost() => what,
        what = logs.lost() => what,
        () = ended.cancelled() => return,
    };
    // Set once, here.
    let _ = lost.set(what);
    ended.cancel();
}

/// Removes what dead attempts have staged where this pipeline writes; what was committed is kept, to be made visible. What lies
/// elsewhere is another pipeline's, whose attempts may be at work.
async fn sweep(resources: &[Arc<dyn Resource>], unfinished: &[UnfinishedRun]) -> Result<(), StartError> {
    let committed = unfinished.iter().flat_map(|run| &run.attempts).filter(|attempt| attempt.files.is_some());
    let keep: Vec<_> = committed.map(|attempt| attempt.fence.attempt_id).collect();
    for resource in resources {
        resource.sweep(&keep).await?;
    }
    Ok(())
}

/// What is present in a resource, page by page: nobody records anything there before it is watched.
async fn known(shared: &Shared, resource: &str) -> Result<Vec<KnownPath>, StoreError> {
    let (mut known, mut cursor) = (Vec::new(), None);
    loop {
        let page = shared.store.known(resource, PageRequest { cursor, limit: MAX_PAGE }).await?;
        known.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(known);
        }
    }
}

async fn watch_resource(
    shared: &Arc<Shared>,
    definition: &Definition,
    name: String,
    dispatcher: &mpsc::Sender<Message>,
    statuses: &StatusBoard,
    stop: &CancellationToken,
) -> Result<JoinHandle<()>, StartError> {
    let known = known(shared, &name).await?;
    let cursor = shared.store.cursor(&name).await?;
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
        if let Err(error) = resource.watch(known, cursor, Arc::new(recorder), stop).await {
            tracing::error!("{error}; it is not watched any more");
        }
    }))
}
