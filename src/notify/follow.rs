//! Follows the events on record, and records which notifications they lead to.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::time::now;
use crate::base::bounds::MAX_PAGE;
use crate::base::fault;
use crate::manifest::NotifySpec;
use crate::model::{ActionState, Event, EventKind, Notification, NotifyCause, RunDetail};
use crate::store::{StoreError, named_inputs};

/// How long to gather events after the first, so that a burst of runs costs few reads.
const GATHER: Duration = Duration::from_millis(50);
/// After how many events without a notification the position is recorded, so that the next host
/// does not begin far back.
const RECORD_EVERY: u64 = 10_000;

/// Follows events until `stop`, and then to the newest event.
///
/// # Errors
/// When the store fails. The next call continues from the record.
pub(super) async fn follow(shared: Arc<Shared>, stop: CancellationToken) -> Result<(), String> {
    let mut newest = shared.store().newest_event();
    let recorded = shared.store().notified().await.map_err(|error| error.to_string())?.unwrap_or(0);
    let mut at = Position { recorded, examined: recorded };
    loop {
        newest.mark_unchanged();
        examine(&shared, &mut at).await.map_err(|error| error.to_string())?;
        if stop.is_cancelled() {
            return Ok(());
        }
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { return Ok(()) },
            () = stop.cancelled() => continue,
        }
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// How far events were examined, and what of that is on record.
struct Position {
    recorded: u64,
    examined: u64,
}

/// Examines all events after `at`.
async fn examine(shared: &Shared, at: &mut Position) -> Result<(), StoreError> {
    loop {
        let events = shared.store().events(at.examined, None, MAX_PAGE).await?;
        let Some(last) = events.last().map(|event| event.seq) else { return Ok(()) };
        let mut new = Vec::new();
        for event in &events {
            note_arrival(shared, event);
            new.extend(notifications(shared, event).await?);
        }
        at.examined = last;
        if !new.is_empty() || last >= at.recorded.saturating_add(RECORD_EVERY) {
            fault::point("notify.event");
            shared.record(Some(last), new).await?;
            fault::point("notify.recorded");
            at.recorded = last;
        }
    }
}

/// Notes when an artifact arrived in a resource.
fn note_arrival(shared: &Shared, event: &Event) {
    let resource = event.data.get("resource").and_then(|resource| resource.as_str());
    if let (EventKind::ArtifactRecorded, Some(resource)) = (event.kind, resource) {
        shared.arrivals.send_modify(|arrivals| {
            arrivals.insert(resource.to_owned(), (event.seq, event.time));
        });
    }
}

/// Returns the notifications that an event leads to. An event older than `retry_for` of a receiver
/// leads to none for it: the receiver was added later, or no host was running for a long time.
async fn notifications(shared: &Shared, event: &Event) -> Result<Vec<Notification>, StoreError> {
    let Some(cause) = cause(event) else { return Ok(Vec::new()) };
    let age = now().since(event.time);
    let told = |spec: &&NotifySpec| spec.on.contains(&cause) && age <= spec.retry_for;
    let mut specs = shared.specs.iter().filter(told).peekable();
    let (Some(run), Some(_)) = (event.run_id, specs.peek()) else { return Ok(Vec::new()) };
    let Some(run) = shared.store().run_progress(run).await? else { return Ok(Vec::new()) };
    if cause == NotifyCause::AwaitingApproval {
        let Some(name) = &event.action else { return Ok(Vec::new()) };
        let asked = specs.filter(|spec| spec.action.as_ref().is_none_or(|action| action == name));
        return Ok(asked.filter_map(|spec| shared.writer.about_approval(spec, event, &run)).collect());
    }
    let inputs = named_inputs(shared.store(), run.run.id).await?;
    let told = specs.filter(|spec| selects(spec, cause, &run));
    Ok(told.map(|spec| shared.writer.about_run(spec, cause, event.seq, &run, &inputs)).collect())
}

/// Returns what an event is a cause of.
fn cause(event: &Event) -> Option<NotifyCause> {
    if event.kind == EventKind::ApprovalRequested {
        return Some(NotifyCause::AwaitingApproval);
    }
    if event.kind != EventKind::RunState {
        return None;
    }
    match event.data.get("state")?.as_str()? {
        "failed" => Some(NotifyCause::RunFailed),
        "succeeded" => Some(NotifyCause::RunSucceeded),
        _ => None,
    }
}

/// Returns whether the action that a receiver asks about ended as the run did.
fn selects(spec: &NotifySpec, cause: NotifyCause, run: &RunDetail) -> bool {
    let Some(name) = &spec.action else { return true };
    let wanted = |state: ActionState| match cause {
        NotifyCause::RunFailed => state == ActionState::Failed,
        _ => state.succeeded(),
    };
    run.actions.iter().any(|action| action.name == *name && !action.skipped_rest && wanted(action.state))
}
