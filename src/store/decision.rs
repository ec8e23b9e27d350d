//! What decisions about approvals may be, and why others are refused.

use super::{Result, StoreError};
use crate::base::bounds::{MAX_DECIDER_CHARS, MAX_NOTE_CHARS};
use crate::model::{ActionState, Approval, Decision, Verdict};

/// Refuses a decision whose texts are too long.
pub(super) fn check(decision: &Decision) -> Result<()> {
    for (what, text, most) in
        [("the name", &decision.by, MAX_DECIDER_CHARS), ("the note", &decision.note, MAX_NOTE_CHARS)]
    {
        if text.as_ref().is_some_and(|text| text.chars().count() > most) {
            return Err(StoreError::Invalid(format!("{what} is longer than {most} characters")));
        }
    }
    Ok(())
}

/// Returns whether the newest decision is about the current start of an action in this state.
pub(super) fn is_in_force(state: ActionState) -> bool {
    !matches!(state, ActionState::Pending | ActionState::Skipped | ActionState::Cancelled)
}

/// Says why a decision about an action that was decided already is refused.
pub(super) fn decided_already(number: u64, action: &str, approval: &Approval, first: Option<&Decision>) -> String {
    let outcome = approval.outcome().unwrap_or_default();
    match first {
        Some(Decision { verdict: Verdict::TimedOut, at, .. }) => {
            format!("it is too late to decide about `{action}` of run {number}: {outcome}, at {at}")
        }
        Some(Decision { at, .. }) => format!("`{action}` of run {number} was decided already, at {at}: {outcome}"),
        None => format!("`{action}` of run {number} does not wait for approval any more"),
    }
}
