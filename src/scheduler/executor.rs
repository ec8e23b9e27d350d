//! One attempt, from its start to the point where its end can be put on record.
//!
//! Publishing is done here: stage (the sandbox did), commit point, make visible. What remains is the closing transaction, which also
//! holds the step that follows, and so is the driver's.

use std::sync::Arc;

use super::definition::Definition;
use super::shared::{Phase, Shared, TRY_AGAIN, persist};
use crate::base::{AttemptId, fault};
use crate::model::{AttemptState, ErrorInfo, Fence, Outcome, StagedFile};
use crate::resource::Resource;
use crate::sandbox::{AttemptOrder, AttemptReport, StopSignal};
use crate::store::{AttemptEnd, Intent, StoreError};

/// How an attempt is to be closed.
#[derive(Debug)]
pub(super) enum Close {
    /// It has published nothing: this is its end.
    Finish(Box<AttemptEnd>),
    /// Its outputs are visible, in these resources. What they keep of the attempt is [`discard`]ed once that is on record, not before:
    /// it is how publishing that has to be done again knows how far it was.
    Published(Vec<Arc<dyn Resource>>),
    /// It is not ours to close: another host has taken over, the store is at odds with us, or this host stops before the outputs could be made visible.
    /// Recovery does it.
    Left,
}

/// Runs an attempt. Never fails: what goes wrong is in the outcome.
pub(super) async fn execute(
    shared: &Shared,
    definition: &Definition,
    order: AttemptOrder,
    retrigger: Vec<String>,
    stop: StopSignal,
) -> (Outcome, Close) {
    let fence = order.fence;
    let report = shared.sandbox.run(order, &definition.services, stop).await;
    shared.progress.clear(fence.attempt_id);
    if report.staged.is_empty() {
        let close = Close::Finish(Box::new(end_of(&report)));
        return (report.outcome, close);
    }
    let intent = Intent {
        end: end_of(&report),
        skip: matches!(report.outcome, Outcome::Skip(_)),
        files: report.staged.clone(),
        retrigger,
    };
    match persist(shared, || shared.store.publish_intent(fence, intent.clone(), shared.clock.now())).await {
        Ok(()) => {
            let close = make_visible(shared, definition, fence.attempt_id, &report.staged).await;
            (report.outcome, close)
        }
        Err(error @ StoreError::PathTaken { .. }) => refused(definition, fence, report, &error).await,
        // Whether it is committed is not known here, so what is staged stays.
        Err(error) => {
            tracing::error!(attempt = %fence.attempt_id, "failed to commit the outputs of an attempt: {error}");
            (report.outcome, Close::Left)
        }
    }
}

/// A path of the outputs is taken, so that none is committed: the attempt has failed, and nothing of it is left.
async fn refused(definition: &Definition, fence: Fence, report: AttemptReport, error: &StoreError) -> (Outcome, Close) {
    discard(&touched(definition, &report.staged), fence.attempt_id).await;
    let error = ErrorInfo::permanent("already-exists", error.to_string());
    let outcome = Outcome::Failed(error);
    let report = AttemptReport { outcome: outcome.clone(), ..report };
    (outcome, Close::Finish(Box::new(end_of(&report))))
}

/// Makes committed files visible, however long it takes. [`Close::Left`] if the host stops before.
pub(super) async fn make_visible(
    shared: &Shared,
    definition: &Definition,
    attempt: AttemptId,
    files: &[StagedFile],
) -> Close {
    let mut phase = shared.phase.clone();
    fault::point("publish.begin");
    for file in files {
        let Some(resource) = definition.services.resources.get(&file.resource) else {
            tracing::error!("{} is not in the manifest any more; `{}` stays staged there", file.resource, file.path);
            return Close::Left;
        };
        while let Err(error) = resource.publish(attempt, file).await {
            tracing::error!("{error}; it is tried again every second");
            if *phase.borrow() == Phase::HandingBack {
                return Close::Left;
            }
            let _ = tokio::time::timeout(TRY_AGAIN, phase.wait_for(|phase| *phase == Phase::HandingBack)).await;
        }
        fault::point("publish.file");
    }
    fault::point("publish.visible");
    Close::Published(touched(definition, files))
}

/// Removes what resources keep of an attempt that needs it no more.
pub(super) async fn discard(resources: &[Arc<dyn Resource>], attempt: AttemptId) {
    for resource in resources {
        if let Err(error) = resource.discard(attempt).await {
            tracing::warn!("{error}; the next start removes it");
        }
    }
}

/// The resources that files are staged in, each once.
fn touched(definition: &Definition, files: &[StagedFile]) -> Vec<Arc<dyn Resource>> {
    let mut names: Vec<&str> = files.iter().map(|file| file.resource.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter_map(|name| definition.services.resources.get(name).cloned()).collect()
}

/// The record of an attempt's end.
fn end_of(report: &AttemptReport) -> AttemptEnd {
    let (state, error, message) = match &report.outcome {
        Outcome::Done(message) => (AttemptState::Succeeded, None, message.clone()),
        Outcome::Skip(reason) => (AttemptState::Succeeded, None, Some(reason.clone())),
        Outcome::Failed(error) => (AttemptState::Failed, Some(error.clone()), None),
        Outcome::TimedOut(error) => (AttemptState::TimedOut, Some(error.clone()), None),
        Outcome::Cancelled => (AttemptState::Cancelled, None, None),
        Outcome::HandedBack => {
            let error =
                ErrorInfo::retryable("handed_back", "the host was stopped; the run goes on when it starts again");
            (AttemptState::Cancelled, Some(error), None)
        }
        Outcome::Crashed => (AttemptState::Crashed, Some(crashed()), None),
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
        log_to: report.log_to,
    }
}

/// The error of an attempt that the host died under.
fn crashed() -> ErrorInfo {
    ErrorInfo::retryable("crashed", "the host died while this attempt was at work; it uses up no retry")
}

/// The end of an attempt that the host died under, as far as it is known.
pub(super) fn crashed_end(log_to: crate::model::LogPosition) -> AttemptEnd {
    AttemptEnd {
        state: AttemptState::Crashed,
        error: Some(crashed()),
        message: None,
        usage: crate::model::Usage::default(),
        accesses: Vec::new(),
        denials: Vec::new(),
        requests: Vec::new(),
        tags: Vec::new(),
        log_to,
    }
}
