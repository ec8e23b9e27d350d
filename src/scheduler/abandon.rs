//! Ends a run that nobody can drive: the manifest that it began under can not be used any more, and someone has cancelled it.

use super::executor::crashed_end;
use super::shared::{Shared, persist};
use crate::base::WriteId;
use crate::model::{ActionState, RunAction, RunState};
use crate::store::{ActionChange, RunChange, RunStep, StoreError, UnfinishedRun};

/// Ends `run` as cancelled, and says whether it could: it must have been asked for, and no attempt may have passed its commit point, because
/// only the run's own manifest says where its outputs go.
pub(super) async fn abandon(shared: &Shared, run: &UnfinishedRun) -> Result<bool, StoreError> {
    let publishing = run.attempts.iter().any(|attempt| attempt.files.is_some());
    if run.detail.run.state != RunState::Cancelling || publishing {
        return Ok(false);
    }
    for attempt in &run.attempts {
        let end = crashed_end(shared.logs.end());
        let now = shared.clock.now();
        persist(shared, || shared.store.finish_attempt(attempt.fence, end.clone(), RunStep::default(), now)).await?;
    }
    let open = run.detail.actions.iter().filter(|action| !action.state.ended());
    let actions = open.map(|action| ActionChange {
        before: action.state,
        action: RunAction { state: ActionState::Cancelled, retry_at: None, ..action.clone() },
    });
    let reason = "cancelled on request; its manifest could not be used any more".to_owned();
    let end = RunChange { state: RunState::Cancelled, reason: Some(reason) };
    let step = RunStep { actions: actions.collect(), starts: Vec::new(), run: Some(end) };
    let id = WriteId::new();
    persist(shared, || shared.store.advance(run.detail.run.id, id, step.clone(), shared.clock.now())).await?;
    // Nobody may be waiting for it.
    let _ = shared.ends.send(run.detail.run.id);
    Ok(true)
}
