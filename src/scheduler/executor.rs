//! One attempt, from its start to the point where its end can be put on record.
//!
//! Publishing is done here: stage (the sandbox did), commit point, make visible. What remains is
//! the closing transaction, which also holds the step that follows, and so is the driver's.

use std::sync::Arc;

use super::definition::Definition;
use super::shared::{Phase, Shared, TRY_AGAIN, persist};
use crate::base::{AttemptId, fault};
use crate::model::{AttemptState, ErrorInfo, Fence, Outcome, StagedFile};
use crate::resource::{Resource, ResourceError};
use crate::sandbox::{AttemptOrder, AttemptReport, StopSignal};
use crate::store::{AttemptEnd, Intent, StoreError};

/// How an attempt is to be closed.
#[derive(Debug)]
pub(super) enum Close {
    /// It has published nothing: this is its end.
    Finish(Box<AttemptEnd>),
    /// Its outputs are visible.
    Published(Visible),
    /// It is not ours to close: another host has taken over, the store is at odds with us, or this
    /// host stops before the outputs could be made visible. Recovery does it.
    Left,
}

/// The outputs of an attempt that are visible.
#[derive(Debug)]
pub(super) struct Visible {
    /// The resources that they are in. What those keep of the attempt is [`discard`]ed once its end
    /// is on record, not before: it is how publishing that has to be done again knows how far it
    /// was.
    pub(super) resources: Vec<Arc<dyn Resource>>,
    /// The stamp of each file of the intent, in its order, where it is another one than that of the
    /// staged file.
    pub(super) stamps: Vec<Option<String>>,
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
    fault::point("attempt.begin");
    let report = shared.executor.run(order, &definition.services, stop).await;
    shared.progress.clear(fence.attempt_id);
    if report.staged.is_empty() {
        let close = Close::Finish(Box::new(end_of(&report)));
        return (report.outcome, close);
    }
    let mut report = report;
    if let Err(error) = note_replaced(definition, &mut report.staged).await {
        let error = if error.retryable() { ErrorInfo::retryable } else { ErrorInfo::permanent }(
            error.code(),
            error.to_string(),
        );
        return refused(definition, fence, report, error).await;
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
        Err(error @ StoreError::PathTaken { .. }) => {
            refused(definition, fence, report, ErrorInfo::permanent("already-exists", error.to_string())).await
        }
        // Whether it is committed is not known here, so what is staged stays.
        Err(error) => {
            tracing::error!(attempt = %fence.attempt_id, "failed to commit the outputs of an attempt: {error}");
            (report.outcome, Close::Left)
        }
    }
}

/// Has the resources note what the outputs are meant to replace.
async fn note_replaced(definition: &Definition, files: &mut [StagedFile]) -> Result<(), ResourceError> {
    for file in files.iter_mut().filter(|file| file.overwrite) {
        if let Some(resource) = definition.services.resources.get(&file.resource) {
            resource.note_replaced(std::slice::from_mut(file)).await?;
        }
    }
    Ok(())
}

/// The outputs cannot be committed: the attempt has failed, and nothing of it is left.
async fn refused(definition: &Definition, fence: Fence, report: AttemptReport, error: ErrorInfo) -> (Outcome, Close) {
    discard(&touched(definition, &report.staged), fence.attempt_id).await;
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
    let mut stamps = vec![None; files.len()];
    let resources = touched(definition, files);
    for resource in &resources {
        let (places, of_resource): (Vec<usize>, Vec<StagedFile>) =
            files.iter().cloned().enumerate().filter(|(_, file)| file.resource == resource.name()).unzip();
        let visible = loop {
            match resource.publish(attempt, &of_resource).await {
                Ok(visible) => break visible,
                Err(error) => tracing::error!("{error}; it is tried again every second"),
            }
            if *phase.borrow() == Phase::HandingBack {
                return Close::Left;
            }
            let _ = tokio::time::timeout(TRY_AGAIN, phase.wait_for(|phase| *phase == Phase::HandingBack)).await;
        };
        for (place, stamp) in places.into_iter().zip(visible) {
            if let Some(slot) = stamps.get_mut(place) {
                *slot = stamp;
            }
        }
        fault::point("publish.resource");
    }
    if let Some(file) = files.iter().find(|file| !definition.services.resources.contains_key(&file.resource)) {
        tracing::error!("{} is not in the manifest any more; `{}` stays staged there", file.resource, file.path);
        return Close::Left;
    }
    fault::point("publish.visible");
    Close::Published(Visible { resources, stamps })
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
        log_to: report.log_to,
    }
}

/// Why an attempt crashed: the process is another one by now.
pub(super) const HOST_DIED: &str = "the host died while this attempt was at work; it uses up no retry";
/// Why an attempt crashed: the host still lives.
pub(super) const HOST_FAILED: &str =
    "the host failed while this attempt was at work, see the host's log; it uses up no retry";

/// The end of an attempt that crashed, as far as it is known.
pub(super) fn crashed_end(why: &str, log_to: crate::model::LogPosition) -> AttemptEnd {
    AttemptEnd {
        state: AttemptState::Crashed,
        error: Some(ErrorInfo::retryable("crashed", why)),
        message: None,
        usage: crate::model::Usage::default(),
        accesses: Vec::new(),
        denials: Vec::new(),
        requests: Vec::new(),
        tags: Vec::new(),
        log_to,
    }
}
