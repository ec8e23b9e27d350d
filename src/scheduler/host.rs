//! A running host: starts the parts in order, recovers what the last host left, and stops them.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::at_work::Tally;
use super::control::View;
use super::control_impl::HostControl;
use super::core::Waiting;
use super::definition::Definition;
use super::dispatcher::Dispatcher;
use super::error::StartError;
use super::health::Health;
use super::library::Library;
use super::messages::{MESSAGES, Message};
use super::parts::Parts;
use super::recorder::{Recorder, StatusBoard};
use super::reload::{ReloadError, Reloader};
use super::retention::prune_events;
use super::shared::{ENDS, Phase, ProgressBoard, Shared};
use super::space::Space;
use super::supervise::supervise;
use super::tidy::{Tidier, keep_tidy};
use crate::base::Digest;
use crate::base::bounds::MAX_PAGE;
use crate::manifest::Pipeline;
use crate::model::{KnownPath, Page};
use crate::resource::{KnownPaths, ObservationSink, Resource, ResourceError, Status};
use crate::store::logs::LogStore;
use crate::store::{HostLease, PageRequest, StoreError, UnfinishedRun};

/// How a host works.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether it ends once nothing is left to do.
    pub drain: bool,
    /// Most active attempts at once, 1 or more.
    pub slots: usize,
    /// How long attempts may go on after [`Host::stop`] before they are handed back.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { drain: false, slots: 16, grace: Duration::from_secs(10) }
    }
}

/// A running pipeline.
pub struct Host {
    view: View,
    reloader: Reloader,
    phase: watch::Sender<Phase>,
    watching: CancellationToken,
    dispatcher: JoinHandle<Result<Tally, StoreError>>,
    watchers: Vec<JoinHandle<()>>,
    tidying: JoinHandle<()>,
    ended: CancellationToken,
    lost: Arc<OnceLock<String>>,
    grace: Duration,
}

impl Host {
    /// Starts a pipeline: binds it to a revision, recovers what is unfinished, watches its
    /// resources.
    ///
    /// # Errors
    /// When the store, a resource or a component cannot be used.
    pub async fn start(parts: Parts, options: Options) -> Result<Self, StartError> {
        let (phase, phases) = watch::channel(Phase::Running);
        let progress = ProgressBoard::default();
        let shared = Arc::new(Shared {
            store: Arc::clone(&parts.store),
            executor: Arc::clone(&parts.executor),
            logs: Arc::clone(&parts.logs),
            clock: Arc::clone(&parts.clock),
            slots: Arc::new(Semaphore::new(options.slots.max(1))),
            phase: phases,
            progress: progress.clone(),
            ends: broadcast::Sender::new(ENDS),
            health: Health::default(),
        });
        let mut library = Library::open(&parts, &progress).await?;
        let definition = library.current().clone();
        let unfinished = parts.store.take_over(parts.clock.now()).await?;
        sweep_staged(&mut library, &unfinished).await?;
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
            pending.note(name, parts.store.pending(name).await?, parts.clock.both());
        }
        let in_force = library.in_force();
        let binding = Arc::default();
        let reloader = Reloader::new(library.builder(), in_force.clone(), to_dispatcher.clone(), Arc::clone(&binding));
        let dispatcher = Dispatcher {
            shared: Arc::clone(&shared),
            library,
            statuses: statuses.clone(),
            messages,
            paused: parts.store.paused().await?,
            draining: options.drain,
            pending,
            waiting: unfinished.into_iter().map(Into::into).collect(),
            deferred: VecDeque::new(),
        };
        let watching = CancellationToken::new();
        let mut watchers = Vec::new();
        for name in watched {
            watchers.push(watch_resource(&shared, &definition, name, &to_dispatcher, &statuses, &watching)?);
        }
        tokio::spawn(prune_events(Arc::clone(&shared), watching.clone()));
        let tidier = Tidier { space: Space::of(&parts), in_force: in_force.clone(), binding };
        let tidying = tokio::spawn(keep_tidy(tidier, Arc::clone(&shared), watching.clone()));
        let logs = parts.logs;
        let control = HostControl { shared, dispatcher: to_dispatcher, statuses, progress };
        let view = View {
            in_force,
            store: parts.store,
            logs: Arc::clone(&logs),
            resources: Arc::clone(&definition.services.resources),
            control: Arc::new(control),
        };
        let ended = CancellationToken::new();
        let lost = Arc::default();
        tokio::spawn(end_when_lost(parts.lease, logs, ended.clone(), Arc::clone(&lost)));
        let told = ended.clone().drop_guard();
        let dispatcher = tokio::spawn(async move {
            let _told = told;
            dispatcher.work().await
        });
        Ok(Self { view, reloader, phase, watching, dispatcher, watchers, tidying, ended, lost, grace: options.grace })
    }

    /// What floors above look at and steer by.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Puts another manifest of the same pipeline in force, or the same one with other components:
    /// for runs that are created from now on. An active run keeps what it began with. When this
    /// fails, nothing has changed.
    ///
    /// # Errors
    /// When the manifest differs in what only a restart can change, or a component cannot be used.
    pub async fn reload(&self, pipeline: Pipeline) -> Result<(), ReloadError> {
        self.reloader.reload(pipeline).await
    }

    /// Waits until the host has ended by itself: drained, or in trouble. [`Host::stop`] tells
    /// which.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Stops: nothing new starts, what runs has the grace time to finish and is handed back then.
    /// Returns how many runs ended how.
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
        for task in self.watchers.into_iter().chain([self.tidying]) {
            // It ends with `watching`, and whatever it began before has been waited for.
            let _ = task.await;
        }
        for resource in self.view.resources.values() {
            resource.release_writing().await;
        }
        tally.unwrap_or_else(|error| Err(StoreError::Conflict(format!("the dispatcher ended abruptly: {error}"))))
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

/// Removes what no unfinished attempt has staged, in every resource that the manifest in force or
/// an unfinished run writes.
async fn sweep_staged(library: &mut Library, unfinished: &[UnfinishedRun]) -> Result<(), StartError> {
    let mut resources = library.current().written().cloned().collect::<Vec<_>>();
    for run in unfinished {
        if let Some(definition) = at_start(library, run.detail.run.revision).await {
            resources.extend(definition.written().cloned());
        }
    }
    sweep(&resources, unfinished).await?;
    for run in unfinished {
        tracing::warn!("run #{} was not finished when the last host ended: it goes on", run.detail.run.number);
    }
    Ok(())
}

/// Removes what dead attempts have staged where this pipeline writes; what was committed is kept,
/// to be made visible. What lies elsewhere is another pipeline's, whose attempts may be active.
async fn sweep(resources: &[Arc<dyn Resource>], unfinished: &[UnfinishedRun]) -> Result<(), StartError> {
    let committed = unfinished.iter().flat_map(|run| &run.attempts).filter(|attempt| attempt.files.is_some());
    let keep: Vec<_> = committed.map(|attempt| attempt.fence.attempt_id).collect();
    for resource in resources {
        resource.sweep(&keep).await?;
    }
    Ok(())
}

/// What is on record of a resource, for its watch: nobody records anything there while it is not
/// watched.
struct Known {
    shared: Arc<Shared>,
    resource: String,
}

#[async_trait]
impl KnownPaths for Known {
    async fn page(&self, cursor: Option<String>) -> Result<Page<KnownPath>, ResourceError> {
        let page = self.shared.store.known(&self.resource, PageRequest { cursor, limit: MAX_PAGE }).await;
        page.map_err(|error| ResourceError::Unavailable {
            resource: self.resource.clone(),
            doing: "read what is on record".to_owned(),
            why: error.to_string(),
        })
    }
}

/// The definition of a run that goes on. What cannot be restored now is tried again when the run
/// gets its turn.
async fn at_start(library: &mut Library, revision: Digest) -> Option<Definition> {
    if let Some(known) = library.get(revision) {
        return Some(known);
    }
    let definition = library.restore(revision).await.ok()?;
    library.keep(definition.clone());
    Some(definition)
}

/// Watches a resource until `stop`. A watch that ends before is begun again; until it has
/// reconciled, the resource counts as unreachable, so no run starts on what is on record of it, and
/// `/readyz` says why.
fn watch_resource(
    shared: &Arc<Shared>,
    definition: &Definition,
    name: String,
    dispatcher: &mpsc::Sender<Message>,
    statuses: &StatusBoard,
    stop: &CancellationToken,
) -> Result<JoinHandle<()>, StartError> {
    let unknown = || ResourceError::Unusable { resource: name.clone(), why: "it is not in the manifest".to_owned() };
    let resource: Arc<dyn Resource> = definition.services.resources.get(&name).cloned().ok_or_else(unknown)?;
    let (shared, dispatcher, statuses) = (Arc::clone(shared), dispatcher.clone(), statuses.clone());
    let stop = stop.clone();
    Ok(tokio::spawn(async move {
        let begin = || {
            let recorder = Recorder::new(&shared, &name, &dispatcher, &statuses);
            let (resource, shared, stop) = (Arc::clone(&resource), Arc::clone(&shared), stop.clone());
            async move {
                let recorder = Arc::new(recorder);
                let known = Arc::new(Known { shared: Arc::clone(&shared), resource: resource.name().to_owned() });
                let cursor = shared.store.cursor(resource.name()).await.map_err(|error| error.to_string())?;
                let watched =
                    resource.watch(known, cursor, Arc::clone(&recorder) as Arc<dyn ObservationSink>, stop).await;
                match (watched, recorder.refusal()) {
                    (Err(error), _) => Err(error.to_string()),
                    (Ok(()), Some(why)) => Err(format!("what was seen could not be recorded: {why}")),
                    (Ok(()), None) => Ok(()),
                }
            }
        };
        let ended =
            |why| statuses.set(&name, Status::Unreachable(format!("its watch has ended, and starts again: {why}")));
        supervise(&format!("the watch of {name}"), stop.clone(), begin, ended).await;
    }))
}
