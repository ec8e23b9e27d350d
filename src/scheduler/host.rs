//! A running host: starts the parts in order, recovers the unfinished work of the last host, and
//! stops the parts.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::at_work::Tally;
use super::cleanup::{Cleaner, run_cleanup};
use super::control::{InForce, View};
use super::control_impl::HostControl;
use super::core::{History, Waiting};
use super::definition::Definition;
use super::dispatcher::Dispatcher;
use super::error::StartError;
use super::health::Health;
use super::kept::{Known, trim_kept};
use super::kept_components::KeptComponents;
use super::library::Library;
use super::log_gate::{self, LogGate};
use super::messages::{MESSAGES, Message};
use super::parts::Parts;
use super::pauses::PauseBoard;
use super::recorder::{Recorder, StatusBoard};
use super::reload::{ReloadError, Reloader};
use super::retention::prune_events;
use super::shared::{ENDS, Phase, ProgressBoard, Shared, persist};
use super::slots::SlotBoard;
use super::space::Space;
use super::supervise::supervise;
use crate::base::{Digest, fault};
use crate::manifest::Pipeline;
use crate::model::RunState;
use crate::resource::{ObservationSink, Outages, Resource, ResourceError, Status};
use crate::store::components::ComponentStore;
use crate::store::logs::LogStore;
use crate::store::{HostLease, Loss, StoreError, UnfinishedRun};

/// How long attempts may continue after the request to stop. Below the 10 s after which supervisors
/// (`docker stop`, supervisord) kill a process by default: what is left is for recording the end of
/// the attempts that have to be stopped.
const GRACE: Duration = Duration::from_secs(8);

/// The options of a host.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether the host ends once nothing is left to do.
    pub drain: bool,
    /// How long attempts may continue after [`Host::stop`] before they are handed back.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { drain: false, grace: GRACE }
    }
}

/// A running pipeline.
pub struct Host {
    view: View,
    shared: Arc<Shared>,
    reloader: Reloader,
    phase: watch::Sender<Phase>,
    watching: CancellationToken,
    dispatcher: JoinHandle<Result<Tally, StoreError>>,
    watchers: Vec<JoinHandle<()>>,
    cleanup: JoinHandle<()>,
    ended: CancellationToken,
    lost: Arc<OnceLock<Loss>>,
    grace: Duration,
}

impl Host {
    /// Starts a pipeline: binds it to a revision, recovers unfinished runs, and watches its
    /// resources.
    ///
    /// # Errors
    /// [`StartError`] if the store, a resource or a component cannot be used.
    pub async fn start(parts: Parts, options: Options) -> Result<Self, StartError> {
        let (phase, phases) = watch::channel(Phase::Running);
        let progress = ProgressBoard::default();
        let shared = shared(&parts, phases, progress.clone()).await?;
        let mut library = Library::open(&parts, &progress).await?;
        let definition = library.current().clone();
        let unfinished = parts.store.take_over(parts.clock.now()).await?;
        sweep_staged(&mut library, &unfinished).await?;
        let watched = parts.pipeline.resources.iter().filter(|resource| resource.watch);
        let watched: Vec<String> = watched.map(|resource| resource.name.clone()).collect();
        let statuses = StatusBoard::new(watched.iter().cloned());
        let (to_dispatcher, messages) = mpsc::channel(MESSAGES);
        let (marks, started) = (parts.store.trigger_marks().await?, parts.clock.both());
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
            history: History::new(&marks, &parts.pipeline, started),
            marks,
            started,
            waiting: unfinished.into_iter().map(Into::into).collect(),
            deferred: VecDeque::new(),
        };
        let (watching, mut watchers) = (CancellationToken::new(), Vec::new());
        for name in watched {
            watchers.push(watch_resource(&shared, &definition, name, &to_dispatcher, &statuses, &watching)?);
        }
        tokio::spawn(trim_kept(Arc::clone(&shared), Arc::clone(&definition.services.resources), watching.clone()));
        tokio::spawn(prune_events(Arc::clone(&shared), watching.clone()));
        tokio::spawn(log_gate::reopen(shared.log_gate.clone(), Arc::clone(&shared.logs), watching.clone()));
        let cleaner = cleaner(&parts, in_force.clone(), binding, watching.clone());
        let cleanup = tokio::spawn(run_cleanup(cleaner.clone(), Arc::clone(&shared), watching.clone()));
        let (logs, components) = (parts.logs, parts.components);
        let resources = Arc::clone(&definition.services.resources);
        let control = HostControl {
            shared: Arc::clone(&shared),
            resources: Arc::clone(&resources),
            cleaner,
            dispatcher: to_dispatcher,
            statuses,
            progress,
        };
        let view = View {
            in_force,
            store: parts.store,
            logs: Arc::clone(&logs),
            stored: Arc::clone(&components),
            resources,
            control: Arc::new(control),
        };
        let ended = CancellationToken::new();
        let lost = Arc::default();
        tokio::spawn(guard_state(parts.lease, logs, components, ended.clone(), Arc::clone(&lost)));
        let ended_guard = ended.clone().drop_guard();
        let dispatcher = tokio::spawn(async move {
            let _ended_guard = ended_guard;
            dispatcher.work().await
        });
        let grace = options.grace;
        Ok(Self { view, shared, reloader, phase, watching, dispatcher, watchers, cleanup, ended, lost, grace })
    }

    /// Returns the access to the pipeline for higher floors.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Puts another manifest of the same pipeline, or the same one with other components, in force
    /// for runs that are created from now on. An active run keeps the revision that it began with.
    /// If this fails, nothing has changed.
    ///
    /// # Errors
    /// [`ReloadError`] if the manifest differs in something that only a restart can change, or a
    /// component cannot be used.
    pub async fn reload(&self, pipeline: Pipeline) -> Result<(), ReloadError> {
        self.reloader.reload(pipeline).await
    }

    /// Waits until the host has ended by itself, because it has drained or because of an error.
    /// [`Host::stop`] returns which.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Records that someone asked the host to stop, which [`Host::stop`] is about to do: they may
    /// kill it before its attempts have ended. The task ends once that is on record.
    pub fn note_stop(&self) -> JoinHandle<()> {
        self.phase.send_replace(Phase::Finishing);
        tokio::spawn(note_stop(Arc::clone(&self.shared)))
    }

    /// Stops the host: nothing new starts, and active attempts may finish within the grace time
    /// before they are handed back. Returns the number of runs by how they ended.
    ///
    /// # Errors
    /// [`StoreError`] if the store refused something, now or earlier.
    pub async fn stop(self) -> Result<Tally, StoreError> {
        self.watching.cancel();
        if let Some(loss) = self.lost.get() {
            return Err(loss.clone().into());
        }
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
        for task in self.watchers.into_iter().chain([self.cleanup]) {
            // The task ends when `watching` is cancelled, after completing what it has begun.
            let _ = task.await;
        }
        for resource in self.view.resources.values() {
            resource.release_writing().await;
        }
        tally.unwrap_or_else(|error| Err(StoreError::Conflict(format!("the dispatcher ended abruptly: {error}"))))
    }
}

/// Records that the host was asked to stop. If that fails until the attempts are handed back, they
/// count as crashed if the host is killed.
async fn note_stop(shared: Arc<Shared>) {
    if let Err(error) = persist(&shared, || shared.store.note_stop()).await {
        tracing::warn!("it is not on record that this host was asked to stop: {error}");
    }
}

/// Creates what frees disk space until `stop`.
fn cleaner(
    parts: &Parts,
    in_force: watch::Receiver<InForce>,
    binding: Arc<Mutex<()>>,
    stop: CancellationToken,
) -> Cleaner {
    let (store, components) = (Arc::clone(&parts.store), Arc::clone(&parts.components));
    let kept = KeptComponents::new(store, components, &parts.pipeline.retention);
    Cleaner { space: Space::of(parts, kept), in_force, binding, round: Arc::default(), stop }
}

/// Creates the state that the parts of a host share, with the pauses on record.
async fn shared(
    parts: &Parts,
    phase: watch::Receiver<Phase>,
    progress: ProgressBoard,
) -> Result<Arc<Shared>, StartError> {
    Ok(Arc::new(Shared {
        store: Arc::clone(&parts.store),
        executor: Arc::clone(&parts.executor),
        logs: Arc::clone(&parts.logs),
        clock: Arc::clone(&parts.clock),
        slots: Arc::new(Semaphore::new(parts.pipeline.max_concurrent_actions as usize)),
        named: SlotBoard::new(parts.pipeline.concurrency.clone()),
        pauses: PauseBoard::new(&parts.store.paused_nodes().await?),
        phase,
        progress,
        outages: Outages::default(),
        ends: broadcast::Sender::new(ENDS),
        left: watch::Sender::default(),
        health: Health::default(),
        log_gate: LogGate::default(),
    }))
}

/// Ends the host when its state is lost, or when the watch over the state fails.
async fn guard_state(
    lease: Arc<dyn HostLease>,
    logs: Arc<dyn LogStore>,
    components: Arc<dyn ComponentStore>,
    ended: CancellationToken,
    lost: Arc<OnceLock<Loss>>,
) {
    let guard = tokio::spawn(end_when_lost(lease, logs, components, ended.clone(), Arc::clone(&lost)));
    if guard.await.is_err_and(|error| error.is_panic()) {
        let _ =
            lost.set(Loss::Files("the watch over the state folder panicked, which is a bug in Anacostia".to_owned()));
        ended.cancel();
    }
}

/// Ends the host when it loses the store, the log or the components that it writes.
async fn end_when_lost(
    lease: Arc<dyn HostLease>,
    logs: Arc<dyn LogStore>,
    components: Arc<dyn ComponentStore>,
    ended: CancellationToken,
    lost: Arc<OnceLock<Loss>>,
) {
    fault::panic_point("state.watch");
    let loss = tokio::select! {
        loss = lease.lost() => loss,
        what = logs.lost() => Loss::Files(what),
        what = components.lost() => Loss::Files(what),
        () = ended.cancelled() => return,
    };
    // Only set here, once.
    let _ = lost.set(loss);
    ended.cancel();
}

/// Removes the staged files that belong to no unfinished attempt, in every resource that the
/// manifest in force or an unfinished run writes to.
async fn sweep_staged(library: &mut Library, unfinished: &[UnfinishedRun]) -> Result<(), StartError> {
    let mut resources = library.current().written().cloned().collect::<Vec<_>>();
    for run in unfinished {
        if let Some(definition) = at_start(library, run.detail.run.revision).await {
            resources.extend(definition.written().cloned());
        }
    }
    sweep(&resources, unfinished).await?;
    let (waiting, begun): (Vec<_>, Vec<_>) =
        unfinished.iter().map(|run| &run.detail.run).partition(|run| run.state == RunState::Queued);
    for run in begun {
        tracing::warn!("run #{} was not finished when the last host ended: it continues", run.number);
    }
    match waiting.as_slice() {
        [] => {}
        [run] => tracing::info!("run #{} waits for a slot, as before", run.number),
        runs => tracing::info!("{} runs wait for a slot, as before", runs.len()),
    }
    Ok(())
}

/// Removes the staged files of dead attempts in `resources`. Keeps committed files, which still
/// have to be made visible. Other resources may belong to another pipeline, whose attempts may be
/// active.
async fn sweep(resources: &[Arc<dyn Resource>], unfinished: &[UnfinishedRun]) -> Result<(), StartError> {
    let committed = unfinished.iter().flat_map(|run| &run.attempts).filter(|attempt| attempt.files.is_some());
    let keep: Vec<_> = committed.map(|attempt| attempt.fence.attempt_id).collect();
    for resource in resources {
        resource.sweep(&keep).await?;
    }
    Ok(())
}

/// Returns the definition of an unfinished run. `None` if it cannot be restored now; the dispatcher
/// tries again when the run gets a slot.
async fn at_start(library: &mut Library, revision: Digest) -> Option<Definition> {
    if let Some(known) = library.get(revision) {
        return Some(known);
    }
    let definition = library.restore(revision).await.ok()?;
    library.keep(definition.clone());
    Some(definition)
}

/// Watches a resource until `stop`. Restarts a watch that ends earlier. Until the watch has
/// reconciled, the resource counts as unreachable, so no run starts with outdated records of it,
/// and `/readyz` reports the reason.
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
                    (Ok(()), Some(why)) => Err(format!("failed to record the observations: {why}")),
                    (Ok(()), None) => Ok(()),
                }
            }
        };
        let ended =
            |why| statuses.set(&name, Status::Unreachable(format!("its watch has ended, and starts again: {why}")));
        supervise(&format!("the watch of {name}"), stop.clone(), begin, ended).await;
    }))
}
