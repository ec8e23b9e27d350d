//! Ends a run that cannot be driven.

use std::sync::Arc;

use super::definition::Definition;
use super::executor::{Close, HOST_FAILED, crashed_end, make_visible, mark_published};
use super::shared::{Shared, persist};
use crate::base::WriteId;
use crate::model::{ActionState, RunAction, RunState};
use crate::store::{ActionChange, RunChange, RunStep, StoreError, UnfinishedRun};

/// Why a run is abandoned.
pub(super) enum GiveUp {
    /// The manifest that it began under cannot be used any more. The run is only ended if someone
    /// has cancelled it.
    Cancelled,
    /// Its driver fails repeatedly, for this reason. The second field is the definition that it is
    /// bound to, if there is one.
    Failed(String, Option<Definition>),
}

/// Ends `run`, and returns whether it could. Makes committed outputs visible first, which needs the
/// run's own definition, because only that says where the outputs go.
pub(super) async fn abandon(shared: Arc<Shared>, run: UnfinishedRun, how: GiveUp) -> Result<bool, StoreError> {
    let is_cancelled = run.detail.run.state == RunState::Cancelling;
    let (state, reason, definition) = match how {
        GiveUp::Cancelled if is_cancelled => {
            (RunState::Cancelled, "cancelled on request; its manifest could not be used any more".to_owned(), None)
        }
        GiveUp::Cancelled => return Ok(false),
        GiveUp::Failed(_, definition) if is_cancelled => {
            (RunState::Cancelled, "cancelled on request".to_owned(), definition)
        }
        GiveUp::Failed(why, definition) => (RunState::Failed, why, definition),
    };
    let committed = run.attempts.iter().filter_map(|attempt| Some((attempt, attempt.files.as_ref()?)));
    let mut published = Vec::new();
    for (attempt, files) in committed {
        let (Some(definition), id) = (&definition, attempt.fence.attempt_id) else { return Ok(false) };
        if files.is_empty() {
            return Ok(false);
        }
        let cancelled = async {
            if !is_cancelled {
                std::future::pending::<()>().await;
            }
        };
        let close = make_visible(&shared, definition, id, files, cancelled).await;
        let Close::Published(visible) = close else { return Ok(false) };
        published.push((attempt.action.as_str(), attempt.fence, visible));
    }
    for attempt in &run.attempts {
        let (fence, now) = (attempt.fence, shared.clock.now());
        let visible = published.iter().find(|(_, of, _)| *of == fence).map(|(_, _, visible)| visible);
        let end = crashed_end(HOST_FAILED, shared.logs.end());
        let close = || async {
            if let Some(visible) = visible {
                return mark_published(&shared, fence, visible, RunStep::default(), now).await;
            }
            shared.store.finish_attempt(fence, end.clone(), RunStep::default(), now).await
        };
        persist(&shared, close).await?;
    }
    let succeeded = published.iter().filter(|(.., visible)| visible.refusal.is_none());
    let published: Vec<&str> = succeeded.map(|(action, ..)| *action).collect();
    let step = last_step(&run, state, &reason, &published);
    let (id, now) = (WriteId::new(), shared.clock.now());
    persist(&shared, || shared.store.advance(run.detail.run.id, id, step.clone(), now)).await?;
    // There may be no subscriber.
    let _ = shared.ends.send(run.detail.run.id);
    Ok(true)
}

/// Returns the step that ends a run with all its actions. Actions that have published succeed. In a
/// failed run, other actions that have begun fail and the rest are skipped; in a cancelled run, all
/// of these are cancelled.
fn last_step(run: &UnfinishedRun, state: RunState, reason: &str, published: &[&str]) -> RunStep {
    let open = run.detail.actions.iter().filter(|action| !action.state.ended());
    let actions = open.map(|action| {
        let (state, reason) = match (state, action.state) {
            _ if published.contains(&action.name.as_str()) => (ActionState::Succeeded, action.reason.clone()),
            (RunState::Cancelled, _) => (ActionState::Cancelled, action.reason.clone()),
            (_, ActionState::Pending | ActionState::AwaitingApproval) => {
                (ActionState::Skipped, Some(reason.to_owned()))
            }
            _ => (ActionState::Failed, Some(reason.to_owned())),
        };
        ActionChange { before: action.state, action: RunAction { state, reason, retry_at: None, ..action.clone() } }
    });
    let end = RunChange { state, reason: Some(reason.to_owned()) };
    RunStep { actions: actions.collect(), starts: Vec::new(), run: Some(end) }
}
