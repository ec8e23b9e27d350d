//! How states look: the kind, which is the name of an icon and of a colour, and the word.

use crate::model::{ActionState, AttemptState, RunAction, RunState};

/// The kind of a state: `ok`, `bad`, `run`, `wait`, `stop`, `skip` or `ask`.
pub(super) type Kind = &'static str;

/// How the state of a run looks.
pub(super) fn run(state: RunState) -> (Kind, &'static str) {
    let kind = match state {
        RunState::Queued => "wait",
        RunState::Running => "run",
        RunState::Succeeded => "ok",
        RunState::Failed => "bad",
        RunState::Cancelling | RunState::Cancelled => "stop",
    };
    (kind, state.as_str())
}

/// How the state of an action in a run looks.
pub(super) fn action(action: &RunAction) -> (Kind, &'static str) {
    match action.state {
        ActionState::Pending => ("wait", "pending"),
        ActionState::Ready => ("wait", "ready"),
        ActionState::Running => ("run", "running"),
        ActionState::Retrying => ("retry", "retrying"),
        ActionState::AwaitingApproval => ("ask", "awaiting approval"),
        ActionState::Succeeded => ("ok", "succeeded"),
        ActionState::Cached => ("ok", "cached"),
        ActionState::Failed => ("bad", "failed"),
        ActionState::Skipped => ("skip", "skipped"),
        // It has not started, or was stopped.
        ActionState::Cancelled if action.attempts == 0 => ("skip", "not reached"),
        ActionState::Cancelled => ("stop", "cancelled"),
    }
}

/// How the state of an attempt looks.
pub(super) fn attempt(state: AttemptState) -> (Kind, &'static str) {
    match state {
        AttemptState::Running => ("run", "running"),
        AttemptState::Publishing => ("run", "publishing"),
        AttemptState::Succeeded => ("ok", "succeeded"),
        AttemptState::Failed => ("bad", "failed"),
        AttemptState::TimedOut => ("bad", "timed out"),
        AttemptState::Crashed => ("bad", "crashed"),
        AttemptState::Cancelled => ("stop", "cancelled"),
    }
}
