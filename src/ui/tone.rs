//! The colour and icon of states outside of the record of a run: of the nodes of the graph,
//! artifacts and ticks. The name is both the CSS class and the icon's name.

use crate::model::{ActionState, ArtifactState, TickOutcome};

pub(super) fn of_action(state: ActionState) -> &'static str {
    match state {
        ActionState::Pending | ActionState::Ready | ActionState::Retrying => "wait",
        ActionState::Running => "run",
        ActionState::AwaitingApproval => "ask",
        ActionState::Succeeded | ActionState::Cached => "ok",
        ActionState::Failed => "bad",
        ActionState::Skipped => "skip",
        ActionState::Cancelled => "stop",
    }
}

pub(super) fn of_artifact(state: ArtifactState) -> &'static str {
    match state {
        ArtifactState::New => "wait",
        ArtifactState::Current => "run",
        ArtifactState::Old | ArtifactState::Published => "ok",
        ArtifactState::Superseded | ArtifactState::Deleted => "stop",
        ArtifactState::Ignored => "skip",
        ArtifactState::NotTaken => "bad",
    }
}

/// The tone of a tick, and its outcome in words.
pub(super) fn of_tick(outcome: TickOutcome) -> (&'static str, &'static str) {
    match outcome {
        TickOutcome::Fired => ("run", "fired"),
        TickOutcome::Held => ("stop", "held back"),
        TickOutcome::NotReady => ("wait", "not yet"),
        TickOutcome::Error => ("bad", "cannot decide"),
    }
}
