//! Executes one attempt, from its start until its end can be put on record.
//!
//! This module publishes the outputs: the sandbox has staged them, the commit point follows, then
//! they are made visible. The driver does the closing transaction, because that also contains the
//! next step of the run.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::cache::{self, Key, Look};
use super::definition::Definition;
use super::shared::{Phase, Shared, TRY_AGAIN, persist};
use crate::base::{AttemptId, TimeSpan, Timestamp, fault};
use crate::model::{AttemptState, ErrorInfo, Fence, LogPosition, Outcome, Recording, StagedFile};
use crate::resource::{NotTaken, Prepared, Resource, ResourceError};
use crate::sandbox::{AttemptOrder, AttemptReport, Stop, StopSignal};
use crate::store::{self, AttemptEnd, CacheNote, Intent, Refusal, RunStep, StartedAttempt, StoreError};

/// The longest pause before outputs are published again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How to close an attempt.
#[derive(Debug)]
pub(super) enum Close {
    /// It has published nothing, and ends like this.
    Finish(Box<AttemptEnd>),
    /// Its outputs are visible.
    Published(Visible),
    /// It cannot be closed now: another host has taken over, the store contradicts this host, or
    /// this host stops before the outputs could be made visible. Recovery closes it.
    Left,
}

/// The visible outputs of an attempt.
#[derive(Debug)]
pub(super) struct Visible {
    /// The resources that contain them. What these keep of the attempt is [`discard`]ed only once
    /// its end is on record, because repeated publishing uses it to see how far it had come.
    pub(super) resources: Vec<Arc<dyn Resource>>,
    /// The stamp of each file of the intent, in its order, if it differs from that of the staged
    /// file.
    pub(super) stamps: Vec<Option<String>>,
    /// Those that a service did not take. The attempt has failed then, or was cancelled.
    pub(super) refusal: Option<Refusal>,
}

impl Close {
    /// Returns how the attempt ended: as its guest did, unless an output was not taken.
    pub(super) fn outcome(&self, of_guest: Outcome) -> Outcome {
        match self {
            Self::Published(Visible { refusal: Some(refusal), .. }) => match refusal.state {
                AttemptState::Cancelled => Outcome::Cancelled,
                _ => Outcome::Failed(refusal.error.clone()),
            },
            _ => of_guest,
        }
    }
}

/// Runs an attempt. Never fails; errors are part of the outcome.
pub(super) async fn execute(
    shared: &Shared,
    definition: &Definition,
    order: AttemptOrder,
    is_first: bool,
    retrigger: Vec<String>,
    stop: StopSignal,
) -> (Outcome, Close) {
    let (fence, wall) = (order.fence, order.limits.wall);
    fault::point("attempt.begin");
    let mut key = None;
    if order.cache.is_some() {
        match Box::pin(reuse(shared, definition, &order, is_first)).await {
            Reused::Not(of_cache) => key = of_cache,
            Reused::Ended(outcome, close) => return (outcome, close),
        }
    }
    let report = shared.executor.run(order, &definition.services, stop.clone()).await;
    shared.progress.clear(fence.attempt_id);
    if let Some(why) = &report.log_lost {
        // Before its end is known: the action must not start again at once.
        shared.log_gate.close(why.clone());
    }
    let note = key.map(|key| key.note(definition, &report));
    if report.staged.is_empty() {
        let close = Close::Finish(Box::new(end_of(&report, note)));
        return (report.outcome, close);
    }
    let mut report = report;
    let noted = tokio::select! {
        biased;
        noted = settle(definition, &mut report.staged) => noted,
        // A large upload over a slow line must not hold up a host that stops.
        () = handing_back(&shared.phase) => return (Outcome::HandedBack, Close::Left),
    };
    if let Err(error) = noted {
        return refused(definition, fence, report, note, info(&error)).await;
    }
    // Kept until the end: what a resource has prepared is undone if the outputs are not published.
    let _prepared = match prepare(shared, definition, fence.attempt_id, &report.staged, wall).await {
        Some(Ok(prepared)) => prepared,
        Some(Err(error)) => return refused(definition, fence, report, note, error).await,
        None => return (Outcome::HandedBack, Close::Left),
    };
    let intent = Intent {
        end: end_of(&report, note.clone()),
        skip: matches!(report.outcome, Outcome::Skip(_)),
        files: report.staged.clone(),
        retrigger,
        models: definition.models(),
        reuse: None,
        synced: is_synced(&resources_of(definition, &report.staged)),
    };
    match persist(shared, || shared.store.publish_intent(fence, intent.clone(), shared.clock.now())).await {
        Ok(()) => {
            let close = make_visible(shared, definition, fence.attempt_id, &report.staged, cancelled(stop)).await;
            (close.outcome(report.outcome), close)
        }
        Err(error @ StoreError::PathTaken { .. }) => {
            let error = ErrorInfo::permanent("already-exists", error.to_string());
            refused(definition, fence, report, note, error).await
        }
        // It is unknown whether the outputs are committed, so the staged files stay.
        Err(error) => {
            tracing::error!(attempt = %fence.attempt_id, "failed to commit the outputs of an attempt: {error}");
            (report.outcome, Close::Left)
        }
    }
}

/// Whether an attempt has taken the result of an earlier one.
enum Reused {
    /// It has not, so it runs. Its key, if its action is cached.
    Not(Option<Key>),
    /// It has.
    Ended(Outcome, Close),
}

/// Ends an attempt with the result of an earlier one, if there is one that it can take.
async fn reuse(shared: &Shared, definition: &Definition, order: &AttemptOrder, is_first: bool) -> Reused {
    let (found, key) = match cache::look(shared, definition, order, is_first).await {
        Look::Uncached => return Reused::Not(None),
        Look::Runs(key) => return Reused::Not(Some(key)),
        Look::Found(found, key) => (found, key),
    };
    let (intent, fence) = (found.intent, order.fence);
    match persist(shared, || shared.store.publish_intent(fence, intent.clone(), shared.clock.now())).await {
        Ok(()) => {
            fault::point("cache.committed");
            let visible = Visible { resources: Vec::new(), stamps: Vec::new(), refusal: None };
            Reused::Ended(found.outcome, Close::Published(visible))
        }
        Err(StoreError::Conflict(_)) => Reused::Not(Some(key.outdated())),
        Err(error) => {
            tracing::error!(attempt = %fence.attempt_id, "failed to take the result of an earlier attempt: {error}");
            Reused::Ended(found.outcome, Close::Left)
        }
    }
}

/// Asks the resources what the outputs are going to replace, and has them sync the outputs if their
/// commit point is synced: a commit must not survive a power cut that its outputs do not survive.
async fn settle(definition: &Definition, files: &mut [StagedFile]) -> Result<(), ResourceError> {
    for file in files.iter_mut() {
        if let Some(resource) = definition.services.resources.get(&file.resource) {
            resource.note_replaced(std::slice::from_mut(file)).await?;
        }
    }
    let resources = resources_of(definition, files);
    if is_synced(&resources) {
        for resource in &resources {
            resource.sync(&of_resource(resource.name(), files)).await?;
        }
    }
    Ok(())
}

/// Returns the files of one resource.
fn of_resource(resource: &str, files: &[StagedFile]) -> Vec<StagedFile> {
    files.iter().filter(|file| file.resource == resource).cloned().collect()
}

fn info(error: &ResourceError) -> ErrorInfo {
    let info = if error.retryable() { ErrorInfo::retryable } else { ErrorInfo::permanent };
    info(error.code(), error.to_string())
}

/// Lets the resources prepare what is published there, each in at most the wall time of an attempt.
/// `None` if attempts are handed back before.
async fn prepare(
    shared: &Shared,
    definition: &Definition,
    attempt: AttemptId,
    files: &[StagedFile],
    wall: Duration,
) -> Option<Result<Vec<Prepared>, ErrorInfo>> {
    let mut all = Vec::new();
    for resource in resources_of(definition, files) {
        let of_resource = of_resource(resource.name(), files);
        let prepared = tokio::select! {
            biased;
            prepared = tokio::time::timeout(wall, resource.prepare(attempt, &of_resource)) => prepared,
            () = handing_back(&shared.phase) => return None,
        };
        match prepared {
            Ok(Ok(prepared)) => all.extend(prepared),
            Ok(Err(error)) => return Some(Err(info(&error))),
            Err(_) => {
                let message = format!("{} did not prepare the outputs in {}", resource.name(), TimeSpan(wall));
                return Some(Err(ErrorInfo::retryable("unavailable", message)));
            }
        }
    }
    Some(Ok(all))
}

/// Fails an attempt whose outputs cannot be committed, and removes its staged files.
async fn refused(
    definition: &Definition,
    fence: Fence,
    report: AttemptReport,
    note: Option<CacheNote>,
    error: ErrorInfo,
) -> (Outcome, Close) {
    discard(&resources_of(definition, &report.staged), fence.attempt_id).await;
    let outcome = Outcome::Failed(error);
    let report = AttemptReport { outcome: outcome.clone(), ..report };
    (outcome, Close::Finish(Box::new(end_of(&report, note))))
}

/// Waits until the run of an attempt is to be cancelled.
async fn cancelled(mut stop: StopSignal) {
    if stop.wait_for(|stop| *stop == Stop::Cancel).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Makes committed files visible, and tries again for as long as it takes. [`Close::Left`] if the
/// host stops before that. Once the run is `cancelled`, resources give up what they can.
pub(super) async fn make_visible(
    shared: &Shared,
    definition: &Definition,
    attempt: AttemptId,
    files: &[StagedFile],
    cancelled: impl Future<Output = ()>,
) -> Close {
    let resources = resources_of(definition, files);
    let give_up = async {
        cancelled.await;
        for resource in &resources {
            resource.give_up(attempt);
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        close = give_up => close,
        close = publish_all(shared, definition, attempt, files, &resources) => close,
    }
}

async fn publish_all(
    shared: &Shared,
    definition: &Definition,
    attempt: AttemptId,
    files: &[StagedFile],
    resources: &[Arc<dyn Resource>],
) -> Close {
    let mut phase = shared.phase.clone();
    fault::point("publish.begin");
    let mut stamps = vec![None; files.len()];
    let mut refusal = None;
    let synced = is_synced(resources);
    for resource in resources {
        let (places, of_resource): (Vec<usize>, Vec<StagedFile>) =
            files.iter().cloned().enumerate().filter(|(_, file)| file.resource == resource.name()).unzip();
        let mut pause = Duration::ZERO;
        let visible = loop {
            let published = tokio::select! {
                biased;
                published = publish(resource.as_ref(), attempt, &of_resource, synced) => published,
                // A server may be unreachable for any length of time.
                () = handing_back(&shared.phase) => return Close::Left,
            };
            match published {
                Ok(visible) => break visible,
                Err(ref error @ ResourceError::Refused { files: ref not_taken, .. }) => {
                    tracing::error!("{error}");
                    add_refusal(&mut refusal, error, not_taken, &places);
                    break Vec::new();
                }
                Err(error) => {
                    pause = longer(pause);
                    shared.outages.failed(attempt, resource.name(), &error.to_string());
                    tracing::error!("{error}; trying again in {:.0} s", pause.as_secs_f64());
                }
            }
            if *phase.borrow() == Phase::HandingBack {
                return Close::Left;
            }
            let _ = tokio::time::timeout(pause, phase.wait_for(|phase| *phase == Phase::HandingBack)).await;
        };
        for (place, stamp) in places.into_iter().zip(visible) {
            if let Some(slot) = stamps.get_mut(place) {
                *slot = stamp;
            }
        }
        shared.outages.over(attempt);
        fault::point("publish.resource");
    }
    if let Some(file) = files.iter().find(|file| !definition.services.resources.contains_key(&file.resource)) {
        tracing::error!("{} is not in the manifest any more; `{}` stays staged there", file.resource, file.path);
        return Close::Left;
    }
    fault::point("publish.visible");
    Close::Published(Visible { resources: resources.to_vec(), stamps, refusal })
}

/// Adds the outputs that a resource did not take; `places` are those of its files in the intent.
/// The attempt is cancelled only if all of them were given up.
fn add_refusal(refusal: &mut Option<Refusal>, error: &ResourceError, not_taken: &[NotTaken], places: &[usize]) {
    let is_cancelled = not_taken.iter().all(|file| file.given_up);
    let state = if is_cancelled { AttemptState::Cancelled } else { AttemptState::Failed };
    let info = || ErrorInfo::permanent(error.code(), error.to_string());
    let all = refusal.get_or_insert_with(|| Refusal { state, error: info(), files: Vec::new() });
    if all.state == AttemptState::Cancelled && !is_cancelled {
        (all.state, all.error) = (state, info());
    }
    let in_intent = |file: &NotTaken| Some((*places.get(file.place)?, file.why.clone()));
    all.files.extend(not_taken.iter().filter_map(in_intent));
}

/// Publishes the files of one resource, and syncs their new names if the record of that is
/// `synced`.
async fn publish(
    resource: &dyn Resource,
    attempt: AttemptId,
    files: &[StagedFile],
    synced: bool,
) -> Result<Vec<Option<String>>, ResourceError> {
    let visible = resource.publish(attempt, files).await?;
    if synced {
        resource.sync(files).await?;
    }
    Ok(visible)
}

/// Returns the pause after another failure: about twice the last one. It is random, so that many
/// hosts do not return to a service at the same moment.
fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(TRY_AGAIN, LONGEST_PAUSE).mul_f64(0.75 + 0.25 * fastrand::f64())
}

/// Waits until attempts are handed back.
async fn handing_back(phase: &watch::Receiver<Phase>) {
    let mut phase = phase.clone();
    if phase.wait_for(|phase| *phase == Phase::HandingBack).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Records that the outputs of an attempt are visible, and which of them were not taken.
pub(super) async fn mark_published(
    shared: &Shared,
    fence: Fence,
    visible: &Visible,
    step: RunStep,
    now: Timestamp,
) -> Result<Vec<StartedAttempt>, StoreError> {
    let on_record = store::Visible { stamps: visible.stamps.clone(), synced: is_synced(&visible.resources) };
    match &visible.refusal {
        None => shared.store.published(fence, on_record, step, now).await,
        Some(refusal) => shared.store.refused(fence, on_record, refusal.clone(), step, now).await,
    }
}

/// Removes what resources keep of an attempt that does not need it any more.
pub(super) async fn discard(resources: &[Arc<dyn Resource>], attempt: AttemptId) {
    for resource in resources {
        if let Err(error) = resource.discard(attempt).await {
            tracing::warn!("{error}; the next start removes it");
        }
    }
}

/// Returns the resources in which files are staged, without duplicates. Databases come first,
/// because their transactions are open.
fn resources_of(definition: &Definition, files: &[StagedFile]) -> Vec<Arc<dyn Resource>> {
    let mut names: Vec<&str> = files.iter().map(|file| file.resource.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut resources: Vec<_> =
        names.into_iter().filter_map(|name| definition.services.resources.get(name).cloned()).collect();
    resources.sort_by_key(|resource: &Arc<dyn Resource>| resource.database().is_none());
    resources
}

/// Returns whether the commit of outputs in these resources is synced with every durability.
fn is_synced(resources: &[Arc<dyn Resource>]) -> bool {
    resources.iter().any(|resource| resource.capabilities().synced)
}

/// Returns the record of an attempt's end. Only what has succeeded is remembered.
fn end_of(report: &AttemptReport, note: Option<CacheNote>) -> AttemptEnd {
    let (state, error, message) = match &report.outcome {
        Outcome::Done(message) | Outcome::Cached { message, .. } => (AttemptState::Succeeded, None, message.clone()),
        Outcome::Skip(reason) => (AttemptState::Succeeded, None, Some(reason.clone())),
        Outcome::Failed(error) => (AttemptState::Failed, Some(error.clone()), None),
        Outcome::TimedOut(error) => (AttemptState::TimedOut, Some(error.clone()), None),
        Outcome::Cancelled => (AttemptState::Cancelled, None, None),
        Outcome::HandedBack => {
            let why = match &report.log_lost {
                Some(why) => format!("the host {why}; the run continues when it can, and no retry is used up"),
                None => "the host was stopped; the run continues when it starts again".to_owned(),
            };
            (AttemptState::Cancelled, Some(ErrorInfo::retryable("handed_back", why)), None)
        }
        Outcome::Crashed => (AttemptState::Crashed, Some(ErrorInfo::retryable("crashed", HOST_FAILED)), None),
    };
    AttemptEnd {
        state,
        error,
        message,
        usage: report.usage,
        accesses: report.accesses.clone(),
        denials: report.denials.clone(),
        requests: report.requests.clone(),
        tags: report.tags.clone(),
        cache: note,
        recording: report.recording.clone(),
        log_to: report.log_to,
    }
}

/// The reason of a crash, if this is a later process than that of the attempt.
pub(super) const HOST_DIED: &str = "the host died while this attempt was running; that does not use up a retry";
/// The reason of a crash, if this is still the process of the attempt.
pub(super) const HOST_FAILED: &str =
    "the host failed while this attempt was running, see the host's log; that does not use up a retry";

/// The reason of an attempt that is handed back after its host is dead.
const HOST_STOPPED: &str =
    "the host was stopped before this attempt had ended; the run continues, and that does not use up a retry";

/// Returns the record of a crashed attempt's end, as far as it is known.
pub(super) fn crashed_end(why: &str, log_to: LogPosition) -> AttemptEnd {
    unreported_end(AttemptState::Crashed, ErrorInfo::retryable("crashed", why), log_to)
}

/// Returns the record of the end of an attempt whose host was asked to stop, and was killed before
/// it had recorded that end.
pub(super) fn stopped_end(log_to: LogPosition) -> AttemptEnd {
    unreported_end(AttemptState::Cancelled, ErrorInfo::retryable("handed_back", HOST_STOPPED), log_to)
}

/// Returns the record of the end of an attempt that has made no report.
fn unreported_end(state: AttemptState, error: ErrorInfo, log_to: LogPosition) -> AttemptEnd {
    AttemptEnd {
        state,
        error: Some(error),
        message: None,
        usage: crate::model::Usage::default(),
        accesses: Vec::new(),
        denials: Vec::new(),
        requests: Vec::new(),
        tags: Vec::new(),
        cache: None,
        recording: Recording::default(),
        log_to,
    }
}
