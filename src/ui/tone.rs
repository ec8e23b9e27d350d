//! The colour and icon of each state. The name is both the CSS class and the icon's name.

use crate::model::{ActionState, ArtifactState, AttemptState, RunState, TickOutcome};

pub(super) fn of_run(state: RunState) -> &'static str {
    match state {
        RunState::Queued => "wait",
        RunState::Running => "run",
        RunState::Succeeded => "ok",
        RunState::Failed => "bad",
        RunState::Cancelling | RunState::Cancelled => "stop",
    }
}

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

pub(super) fn of_attempt(state: AttemptState) -> &'static str {
    match state {
        AttemptState::Running | AttemptState::Publishing => "run",
        AttemptState::Succeeded => "ok",
        AttemptState::Failed | AttemptState::TimedOut | AttemptState::Crashed => "bad",
        AttemptState::Cancelled => "stop",
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
