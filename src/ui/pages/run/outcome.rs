//! The one sentence that says why a run is in its state.

use crate::base::Timestamp;
use crate::base::bounds::cut;
use crate::model::{ActionState, Attempt, Pause, Run, RunAction, RunDetail, RunState};
use crate::ui::text;

/// Most actions that wait for something which the sentence names.
const MOST_HELD: usize = 2;
/// Most bytes of a reason that are said; its attempt and the log have all of it.
const MOST_SAID: usize = 1_000;

/// Returns the attempt whose log says more than the sentence: the last one of the first action that
/// the sentence says has failed. `None` if that action has failed without an error of an attempt,
/// such as by a person who rejected it: then no log says why.
pub(super) fn culprit(detail: &RunDetail) -> Option<&Attempt> {
    let failed = |action: &&RunAction| action.state == ActionState::Failed;
    let action = match detail.run.state {
        RunState::Failed => {
            named(detail, detail.run.reason.as_deref()?.trim()).map(|(action, _)| action).filter(failed)
        }
        RunState::Running => detail.actions.iter().find(failed),
        _ => None,
    }?;
    let last = detail.attempts.iter().rfind(|attempt| attempt.action == action.name);
    last.filter(|attempt| attempt.error.is_some())
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

/// Returns the lines that the sentence of a failed run announces with a colon.
pub(super) fn remedy(run: &Run) -> Option<String> {
    let (first, rest) = run.reason.as_deref().filter(|_| run.state == RunState::Failed)?.trim().split_once('\n')?;
    first.trim_end().ends_with(':').then(|| cut(rest.trim_matches('\n'), MOST_SAID).into_owned())
}

fn running(detail: &RunDetail) -> String {
    let named = |state| names(detail.actions.iter().filter(|action| action.state == state));
    let done = detail.actions.iter().filter(|action| action.state.ended()).count();
    let mut parts = Vec::new();
    for (state, one, many) in [
        (ActionState::Failed, "has failed", "have failed"),
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
    parts.extend(held(detail));
    let total = text::count(detail.actions.len() as u64, "action", "actions");
    let doing = if parts.is_empty() { "The next action is about to start".to_owned() } else { parts.join("; ") };
    format!("{doing}. {done} of {total} done.")
}

/// Says why actions that are ready have not started: for a pause, a named limit, or their log.
fn held(detail: &RunDetail) -> Vec<String> {
    let why = |action: &RunAction| {
        let reason = action.reason.as_deref().filter(|_| action.state == ActionState::Ready)?;
        let verb = if reason.starts_with(Pause::SINCE) { "is " } else { "" };
        Some(format!("`{}` {verb}{reason}", action.name))
    };
    let mut all: Vec<String> = detail.actions.iter().filter_map(why).collect();
    let more = all.len().saturating_sub(MOST_HELD);
    all.truncate(MOST_HELD);
    if more > 0 {
        all.push(format!(
            "{} {}",
            text::count(more as u64, "other", "others"),
            if more == 1 { "waits" } else { "wait" }
        ));
    }
    all
}

fn succeeded(detail: &RunDetail, took: Option<String>) -> String {
    let count = |state| detail.actions.iter().filter(|action| action.state == state).count();
    let (all, cached, skipped) = (detail.actions.len(), count(ActionState::Cached), count(ActionState::Skipped));
    let done = cached + count(ActionState::Succeeded);
    let without = match cached {
        0 => String::new(),
        _ if all == 1 => ", without running".to_owned(),
        cached => format!(", {cached} of them without running"),
    };
    let took = took.map(|took| format!(" in {took}")).unwrap_or_default() + &without;
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

/// Returns the action whose name a reason begins with, between ticks or not, and what follows.
fn named<'a>(detail: &'a RunDetail, reason: &'a str) -> Option<(&'a RunAction, &'a str)> {
    let rest_after = |name: &str| {
        let quoted = reason.strip_prefix('`').and_then(|it| it.strip_prefix(name)).and_then(|it| it.strip_prefix('`'));
        quoted.or_else(|| reason.strip_prefix(name)).filter(|rest| rest.starts_with([' ', ':']))
    };
    detail.actions.iter().find_map(|action| Some((action, rest_after(&action.name)?)))
}

/// Makes a reason a sentence. The name of an action at its start stays as it is, as code.
fn sentence_of(detail: &RunDetail, reason: &str) -> String {
    let text = if let Some((action, rest)) = named(detail, reason) {
        format!("`{}`{rest}", action.name)
    } else {
        let mut letters = reason.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
    };
    let text = cut(&text, MOST_SAID).into_owned();
    if text.ends_with(['.', '!', '?', ':', '…']) { text } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{culprit, remedy, sentence};
    use crate::base::{AttemptId, Digest, RunId, Timestamp};
    use crate::model::{
        ActionState, Attempt, AttemptState, ErrorInfo, LogPosition, Run, RunAction, RunDetail, RunState, Usage,
    };

    fn said(state: RunState, reason: Option<&str>, actions: &[(&str, ActionState)]) -> String {
        let detail = detail(state, reason, actions);
        sentence(&detail, detail.run.created_at.after(Duration::from_secs(2)))
    }

    fn detail(state: RunState, reason: Option<&str>, actions: &[(&str, ActionState)]) -> RunDetail {
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
            trimmed_at: None,
        };
        let actions = actions.iter().map(|(name, state)| RunAction { state: *state, ..RunAction::pending(name) });
        RunDetail { run, actions: actions.collect(), attempts: vec![] }
    }

    /// An attempt that has failed with an error.
    fn failed(action: &str) -> Attempt {
        let at = Timestamp::from_micros(1_772_366_400_000_000);
        Attempt {
            id: AttemptId::new(),
            run_id: RunId::new(),
            action: action.to_owned(),
            number: 1,
            state: AttemptState::Failed,
            started_at: at,
            ended_at: Some(at),
            component_digest: Digest::of(b""),
            grants: serde_json::json!({}),
            error: Some(ErrorInfo::permanent("failed", "no rows")),
            message: None,
            usage: Usage::default(),
            log_from: LogPosition::default(),
            log_to: None,
            fence: None,
            cache: None,
        }
    }

    #[test]
    fn the_log_is_that_of_the_action_that_the_sentence_names() {
        use ActionState::{Failed, Running};
        let of = |mut detail: RunDetail| {
            detail.attempts = vec![failed("b"), failed("c")];
            culprit(&detail).map(|attempt| attempt.action.clone())
        };
        let all = [("a", Failed), ("b", Failed), ("c", Failed)];
        for (reason, log) in [
            (Some("c failed: no rows"), Some("c")),
            (Some("`b` failed: no rows"), Some("b")),
            (Some("a failed: rejected by Ann"), None),
            (Some("its manifest could not be used any more"), None),
            (None, None),
        ] {
            assert_eq!(of(detail(RunState::Failed, reason, &all)).as_deref(), log, "{reason:?}");
        }
        assert_eq!(of(detail(RunState::Running, None, &[("a", Running), all[2]])).as_deref(), Some("c"));
        assert_eq!(of(detail(RunState::Cancelled, Some("c failed"), &all)), None);
    }

    #[test]
    fn a_run_that_runs_says_what_has_failed_and_what_waits_for_what() {
        use ActionState::{Failed, Ready, Running};
        let actions = [("a", Failed), ("b", Running), ("c", Ready), ("d", Ready), ("e", Ready), ("f", Ready)];
        let mut detail = detail(RunState::Running, None, &actions);
        let now = detail.run.created_at;
        assert_eq!(sentence(&detail, now), "`a` has failed; `b` runs. 1 of 6 actions done.");
        detail.actions[2].reason = Some("waits for gpu (1 of 1 in use)".to_owned());
        detail.actions[3].reason = Some("paused since 2026-03-01 12:00 UTC: no GPU".to_owned());
        let waits = "`c` waits for gpu (1 of 1 in use); `d` is paused since 2026-03-01 12:00 UTC: no GPU";
        assert_eq!(sentence(&detail, now), format!("`a` has failed; `b` runs; {waits}. 1 of 6 actions done."));
        detail.actions[4].reason = Some("waits for api".to_owned());
        assert!(sentence(&detail, now).contains("no GPU; 1 other waits. "));
        detail.actions[5].reason = Some("waits for api".to_owned());
        assert!(sentence(&detail, now).contains("no GPU; 2 others wait. "));
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
        let long = said(RunState::Failed, Some(&"bad luck ".repeat(1_000)), &[("b", Failed)]);
        assert!(long.len() <= 1_000 && long.starts_with("Bad") && long.ends_with('…'), "{long}");
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

    #[test]
    fn lines_that_a_sentence_announces_follow_it() {
        let why = "`b` may not write; to grant it, write:\n[actions.b]\nwrites = [\"out\"]\n";
        let mut run = detail(RunState::Failed, Some(why), &[("b", ActionState::Failed)]).run;
        assert_eq!(remedy(&run).unwrap(), "[actions.b]\nwrites = [\"out\"]");
        assert_eq!(
            said(RunState::Failed, Some(why), &[("b", ActionState::Failed)]),
            "`b` may not write; to grant it, write:"
        );
        run.reason = Some("no rows\nin 3 of 10 files".to_owned());
        assert_eq!(remedy(&run), None);
    }
}
