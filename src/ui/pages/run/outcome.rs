//! The one sentence that says why a run is in its state.

use crate::base::Timestamp;
use crate::model::{ActionState, Attempt, RunAction, RunDetail, RunState};
use crate::ui::text;

/// Returns the attempt with which the run failed: the last one of the first action that has failed
/// with an error.
pub(super) fn culprit(detail: &RunDetail) -> Option<&Attempt> {
    let failed = detail.actions.iter().filter(|action| action.state == ActionState::Failed);
    let mut last = failed.filter_map(|action| detail.attempts.iter().rfind(|attempt| attempt.action == action.name));
    last.find(|attempt| attempt.error.is_some())
}

/// Returns the sentence.
pub(super) fn sentence(detail: &RunDetail, now: Timestamp) -> String {
    let run = &detail.run;
    let took = run.started_at.map(|started| text::span(run.ended_at.unwrap_or(now).since(started)));
    let reason = run.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    let first = reason.and_then(|reason| reason.lines().next());
    match run.state {
        RunState::Queued => "It waits to start.".to_owned(),
        RunState::Running => running(detail),
        RunState::Succeeded => succeeded(detail, took),
        RunState::Failed => first.map_or_else(|| "It failed.".to_owned(), |why| sentence_of(detail, why)),
        RunState::Cancelling => "It is being cancelled: what runs is stopped.".to_owned(),
        RunState::Cancelled => {
            let after = took.map(|took| format!(" after {took}")).unwrap_or_default();
            // That it was requested goes without saying.
            let why = first.map(|why| why.strip_prefix("cancelled on request").unwrap_or(why).trim_start_matches("; "));
            let why = why.filter(|why| !why.is_empty()).map(|why| format!(": {why}")).unwrap_or_default();
            format!("It was cancelled{after}{why}.")
        }
    }
}

fn running(detail: &RunDetail) -> String {
    let named = |state| names(detail.actions.iter().filter(|action| action.state == state));
    let done = detail.actions.iter().filter(|action| action.state.ended()).count();
    let mut parts = Vec::new();
    for (state, one, many) in [
        (ActionState::Running, "runs", "run"),
        (ActionState::AwaitingApproval, "waits for approval", "wait for approval"),
        (ActionState::Retrying, "has failed and is tried again", "have failed and are tried again"),
    ] {
        let names = named(state);
        if let [name] = &names[..] {
            parts.push(format!("{name} {one}"));
        } else if !names.is_empty() {
            parts.push(format!("{} {many}", list(&names)));
        }
    }
    let total = text::count(detail.actions.len() as u64, "action", "actions");
    let doing = if parts.is_empty() { "The next action is about to start".to_owned() } else { parts.join("; ") };
    format!("{doing}. {done} of {total} done.")
}

fn succeeded(detail: &RunDetail, took: Option<String>) -> String {
    let count = |state| detail.actions.iter().filter(|action| action.state == state).count();
    let (all, done, skipped) = (detail.actions.len(), count(ActionState::Succeeded), count(ActionState::Skipped));
    let took = took.map(|took| format!(" in {took}")).unwrap_or_default();
    let actions = text::count(all as u64, "action", "actions");
    match (all, skipped) {
        (1, 0) => format!("Its action succeeded{took}."),
        (_, 0) if done == all => format!("All {actions} succeeded{took}."),
        (_, 1) => format!("{done} of {actions} succeeded{took}; 1 was skipped."),
        (_, skipped) if skipped > 0 => format!("{done} of {actions} succeeded{took}; {skipped} were skipped."),
        _ => format!("{done} of {actions} succeeded{took}."),
    }
}

fn names<'a>(actions: impl Iterator<Item = &'a RunAction>) -> Vec<String> {
    actions.map(|action| format!("`{}`", action.name)).collect()
}

/// `a`, `b` and 3 others.
fn list(names: &[String]) -> String {
    match names {
        [first, second] => format!("{first} and {second}"),
        [first, second, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second} and {}", text::count(rest.len() as u64, "other", "others"))
        }
        _ => names.join(", "),
    }
}

/// Makes a reason a sentence. The name of an action at its start stays as it is, as code.
fn sentence_of(detail: &RunDetail, reason: &str) -> String {
    let rest_after = |name: &str| reason.strip_prefix(name).filter(|rest| rest.starts_with([' ', ':']));
    let named = detail.actions.iter().find_map(|action| rest_after(&action.name).map(|rest| (&action.name, rest)));
    let text = match named {
        Some((name, rest)) => format!("`{name}`{rest}"),
        None => {
            let mut letters = reason.chars();
            letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
        }
    };
    if text.ends_with(['.', '!', '?']) { text } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::sentence;
    use crate::base::{Digest, RunId, Timestamp};
    use crate::model::{ActionState, Run, RunAction, RunDetail, RunState};

    fn said(state: RunState, reason: Option<&str>, actions: &[(&str, ActionState)]) -> String {
        let start = Timestamp::from_micros(1_772_366_400_000_000);
        let run = Run {
            id: RunId::new(),
            number: 1,
            state,
            trigger: String::new(),
            params: serde_json::json!({}),
            revision: Digest::of(b""),
            snapshot: 0,
            created_at: start,
            started_at: Some(start),
            ended_at: state.ended().then(|| start.after(Duration::from_millis(4_200))),
            reason: reason.map(str::to_owned),
            rerun_of: None,
            fired_by: Vec::new(),
            partition: None,
        };
        let actions = actions.iter().map(|(name, state)| RunAction { state: *state, ..RunAction::pending(name) });
        let detail = RunDetail { run, actions: actions.collect(), attempts: vec![] };
        sentence(&detail, start.after(Duration::from_secs(2)))
    }

    #[test]
    fn each_outcome_is_one_sentence() {
        use ActionState::{AwaitingApproval, Failed, Pending, Running, Skipped, Succeeded};
        let (a, b, c) = (("a", Succeeded), ("b", Succeeded), ("c", Skipped));
        assert_eq!(said(RunState::Succeeded, None, &[a]), "Its action succeeded in 4.2 s.");
        assert_eq!(said(RunState::Succeeded, None, &[a, b]), "All 2 actions succeeded in 4.2 s.");
        assert_eq!(said(RunState::Succeeded, None, &[a, b, c]), "2 of 3 actions succeeded in 4.2 s; 1 was skipped.");
        let why = Some("`b` failed: no rows\nin detail");
        assert_eq!(said(RunState::Failed, why, &[a, ("b", Failed)]), "`b` failed: no rows.");
        assert_eq!(said(RunState::Failed, Some("b failed: x!"), &[("b", Failed)]), "`b` failed: x!");
        assert_eq!(said(RunState::Failed, Some("bad luck"), &[("b", Failed)]), "Bad luck.");
        assert_eq!(said(RunState::Failed, None, &[("b", Failed)]), "It failed.");
        let busy = [a, ("b", Running), ("c", AwaitingApproval), ("d", Pending)];
        assert_eq!(said(RunState::Running, None, &busy), "`b` runs; `c` waits for approval. 1 of 4 actions done.");
        let many = [("a", Running), ("b", Running), ("c", Running)];
        assert_eq!(said(RunState::Running, None, &many), "`a`, `b` and 1 other run. 0 of 3 actions done.");
        assert_eq!(said(RunState::Cancelled, Some("cancelled on request"), &[a]), "It was cancelled after 4.2 s.");
        let gone = Some("cancelled on request; its manifest could not be used any more");
        let wanted = "It was cancelled after 4.2 s: its manifest could not be used any more.";
        assert_eq!(said(RunState::Cancelled, gone, &[a]), wanted);
    }
}
