//! What holds a run back: actions that wait for approval, are paused, or wait for a named limit or
//! their log.

use super::fit::headline;
use crate::model::{ActionState, Pause, RunAction};
use crate::scheduler::core::WAITS_FOR;

/// Returns whether an action with this state and reason is paused: it starts when a person resumes
/// it.
pub(crate) fn is_paused(state: &str, reason: &str) -> bool {
    state == ActionState::Ready.as_str() && reason.starts_with(Pause::SINCE)
}

/// Returns why an action is held back, on one line with its name; `None` if it is not. The line
/// begins with `?` if a person has to act.
pub(super) fn held(action: &RunAction) -> Option<String> {
    let name = &action.name;
    if let Some(approval) = action.undecided() {
        return Some(format!("? {name} waits for approval: {}", headline(&approval.who)));
    }
    let reason = action.reason.as_deref().filter(|_| action.state == ActionState::Ready)?;
    let mark = match reason {
        paused if paused.starts_with(Pause::SINCE) => "?",
        waits if waits.starts_with(WAITS_FOR) => "○",
        _ => return None,
    };
    Some(format!("{mark} {name} {}", headline(reason)))
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::{held, is_paused};
    use crate::model::{ActionState, Decision, NodeKind, Pause, Verdict};

    #[test]
    fn an_approval_that_is_decided_holds_nothing_back() {
        let mut action = samples::action("publish", ActionState::AwaitingApproval, 0, Some("waits for approval: x"));
        action.approvals = vec![samples::approval()];
        assert_eq!(held(&action).unwrap(), "? publish waits for approval: data team");
        action.approvals[0].decision = Some(Decision::new(Verdict::Approved, None, None, samples::at(4)));
        assert_eq!(held(&action), None);
    }

    #[test]
    fn an_action_that_is_held_back_is_told_from_one_that_starts_soon() {
        let pause = |reason: Option<&str>| Pause {
            kind: NodeKind::Action,
            name: "publish".to_owned(),
            since: samples::at(0),
            reason: reason.map(str::to_owned),
        };
        let (moves, bare) = (pause(Some("the server moves\nto Bonn")).describe(), pause(None).describe());
        let held = |state, reason: &str| held(&samples::action("publish", state, 0, Some(reason)));
        let since = "? publish paused since 2026-03-01 12:00 UTC";
        assert_eq!(held(ActionState::Ready, &bare).unwrap(), since);
        assert_eq!(held(ActionState::Ready, &moves).unwrap(), format!("{since}: the server moves"));
        let waits = held(ActionState::Ready, "waits for gpu (2 of 2 in use)").unwrap();
        assert_eq!(waits, "○ publish waits for gpu (2 of 2 in use)");
        assert_eq!(held(ActionState::Ready, "approved by ann"), None);
        assert_eq!(held(ActionState::Failed, &bare), None, "so ended an attempt");
        assert!(is_paused("ready", &moves) && !is_paused("failed", &moves) && !is_paused("ready", "approved by ann"));
    }
}
