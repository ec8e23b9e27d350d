//! Formats runs: the list, and one run in detail.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::fit::{headline, wrap};
use super::held::{held, is_paused};
use super::requests;
use super::run_rows::{cached, decided};
use super::{
    Cell, Column, RunOutputs, Table, ago, beside, duration, next_steps, plain, resume_command, state_mark, styles,
};
use crate::base::{AttemptId, ByteSize, RunId, Timestamp};
use crate::model::{
    ActionState, Approval, Artifact, Attempt, AttemptState, Denial, HttpRequest, NodeKind, Run, RunAction, RunDetail,
    RunState, Verdict,
};

/// Most inputs that are shown one by one.
const MAX_INPUTS: usize = 20;
/// Most lines of one error that are shown; a deep stack has more.
const MAX_ERROR_LINES: usize = 24;

/// Most kinds of refused calls that are shown; `--json` has them all.
const MAX_REFUSALS: usize = 5;

/// The list of runs, newest first, for a terminal with `width` columns. `actions` are those of the
/// runs that have not ended, whose reason is what holds them back.
pub(crate) fn run_list(
    runs: &[Run],
    actions: &BTreeMap<RunId, Vec<RunAction>>,
    now: Timestamp,
    width: usize,
) -> String {
    let mut table = Table::new(&[
        ("RUN", Column::Number),
        ("STATE", Column::Word),
        ("CREATED", Column::Word),
        ("TOOK", Column::Number),
        ("TRIGGER", Column::Aside),
        ("REASON", Column::Text),
    ]);
    for run in runs {
        let mut waits: Vec<String> = actions.get(&run.id).into_iter().flatten().filter_map(held).collect();
        // First what a person has to do, because the end may be cut.
        waits.sort_by_key(|it| !it.starts_with('?'));
        let reason = match run.reason.as_deref() {
            Some(reason) => headline(reason),
            None => waits.join("; ").into(),
        };
        table.row(vec![
            Cell::new(format!("#{}", run.number)).style(styles::STRONG),
            state_mark(run.state.as_str()),
            Cell::new(ago(run.created_at, now)),
            Cell::new(took(run.started_at, run.ended_at, now)),
            Cell::new(&run.trigger),
            Cell::new(reason),
        ]);
    }
    table.render(width)
}

/// The time from start to end, or until now.
fn took(started: Option<Timestamp>, ended: Option<Timestamp>, now: Timestamp) -> String {
    started.map(|started| duration(ended.unwrap_or(now).since(started))).unwrap_or_default()
}

/// The records of a run besides its actions and attempts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen<'a> {
    /// Its first inputs.
    pub(crate) inputs: &'a [Artifact],
    /// How many inputs it has.
    pub(crate) inputs_count: u64,
    /// Calls that were refused to its attempts.
    pub(crate) denials: &'a [(AttemptId, Denial)],
    /// HTTP requests of its attempts.
    pub(crate) requests: &'a [(AttemptId, HttpRequest)],
    /// Artifacts and metrics that it made.
    pub(crate) outputs: Option<&'a RunOutputs>,
    /// What attempts wait for whose outputs are committed.
    pub(crate) outages: Option<&'a BTreeMap<AttemptId, String>>,
}

/// Formats one run: its facts, inputs, actions with their results, requests, outputs, and next
/// steps, for a terminal with `width` columns. `path` is the PATH that leads to its pipeline, for
/// the proposed commands.
pub(crate) fn run_detail(detail: &RunDetail, seen: Seen<'_>, path: &str, now: Timestamp, width: usize) -> String {
    let run = &detail.run;
    let mut text = format!(
        "{} {}\n",
        Cell::new(format!("Run #{}", run.number)).style(styles::STRONG),
        state_mark(run.state.as_str())
    );
    text.push_str(&facts(run, now, width));
    if !seen.inputs.is_empty() {
        let all = format!("`anacostia artifacts list{} --run {}` lists them", beside(path), run.number);
        let _ = write!(text, "\n{}\n{}", heading("Inputs"), inputs(run, seen, &all, width));
    }
    let _ = write!(text, "\n{}\n{}", heading("Actions"), actions(detail, seen.outages, now, width));
    for attempt in detail.actions.iter().filter_map(|action| fatal(action, detail)) {
        text.push_str(&error(attempt, width));
    }
    text.push_str(&requests::requests(detail, seen.requests, width));
    text.push_str(&refused(detail, seen.denials, width));
    text.push_str(&seen.outputs.map(|outputs| outputs.shown(&detail.attempts, width)).unwrap_or_default());
    text.push_str(&next_steps(&next(detail, seen, path)));
    text
}

fn heading(text: &str) -> Cell {
    Cell::new(text).style(styles::STRONG)
}

fn facts(run: &Run, now: Timestamp, width: usize) -> String {
    let mut table = Table::new(&[("", Column::Word), ("", Column::Prose)]).indent(2);
    let mut fact = |name: &str, value: String| {
        table.row(vec![Cell::new(name).style(styles::FAINT), Cell::new(value)]);
    };
    fact("id", run.id.to_string());
    fact("trigger", run.trigger.clone());
    if let Some(partition) = &run.partition {
        fact("partition", partition.clone());
    }
    fact("created", format!("{} ({})", run.created_at, ago(run.created_at, now)));
    if run.started_at.is_some() {
        fact("took", took(run.started_at, run.ended_at, now));
    }
    if run.params.as_object().is_some_and(|params| !params.is_empty()) {
        fact("params", run.params.to_string());
    }
    if let Some(trimmed) = run.trimmed_at {
        let what = "its metrics, recorded params, network requests and denied calls were removed";
        fact(
            "trimmed",
            format!("{} ({}): {what}, because it is old and only its lineage is needed", trimmed, ago(trimmed, now)),
        );
    }
    if let Some(reason) = &run.reason {
        fact("reason", headline(reason).into_owned());
    }
    table.render(width)
}

/// The first inputs, which of them the run was given, and how many more there are. `all` is the
/// hint on how to list them.
fn inputs(run: &Run, seen: Seen<'_>, all: &str, width: usize) -> String {
    let columns =
        [("", Column::Path), ("", Column::Word), ("", Column::Number), ("", Column::Word), ("", Column::Word)];
    let mut table = Table::new(&columns).indent(2);
    for artifact in seen.inputs.iter().take(MAX_INPUTS) {
        table.row(vec![
            Cell::new(format!("{}/{}", artifact.resource, artifact.path)),
            Cell::new(format!("v{}", artifact.version)),
            Cell::new(ByteSize(artifact.size).to_string()),
            state_mark(artifact.state.as_str()),
            Cell::new(if artifact.is_given_to(run.id) { "given" } else { "" }),
        ]);
    }
    let mut text = table.render(width);
    let more = seen.inputs_count.saturating_sub(seen.inputs.len().min(MAX_INPUTS) as u64);
    if more > 0 {
        let _ = writeln!(text, "  {}", Cell::new(format!("… and {more} more: {all}")).style(styles::FAINT));
    }
    text
}

/// The actions in one table: a line for each, one for each attempt that the action's own line does
/// not describe, and one for each decision about it.
fn actions(detail: &RunDetail, outages: Option<&BTreeMap<AttemptId, String>>, now: Timestamp, width: usize) -> String {
    let result =
        |attempt: &Attempt| outages.and_then(|all| all.get(&attempt.id).cloned()).or_else(|| attempt_result(attempt));
    let columns = [("", Column::Text), ("", Column::Word), ("", Column::Number), ("", Column::Prose)];
    let mut table = Table::new(&columns).indent(2);
    for action in &detail.actions {
        let attempts: Vec<&Attempt> = detail.attempts.iter().filter(|attempt| attempt.action == action.name).collect();
        let name = Cell::new(&action.name).style(styles::STRONG);
        let state = state_mark(action.state.as_str());
        match attempts.as_slice() {
            [only] if is_in_its_state(action, only) => {
                let what = result(only).or_else(|| why(action, now)).unwrap_or_default();
                let what = marked(action, what);
                table.row(vec![
                    name,
                    state,
                    Cell::new(took(Some(only.started_at), only.ended_at, now)),
                    Cell::message(what),
                ]);
                table.rows(action.approvals.iter().filter_map(decided));
                table.rows(cached(only));
            }
            several => {
                // Does not repeat what the line of the last attempt says.
                let why = why(action, now).filter(|_| fatal(action, detail).is_none()).unwrap_or_default();
                table.row(vec![name, state, Cell::new(""), Cell::new(marked(action, why))]);
                let mut approvals = action.approvals.iter().peekable();
                for attempt in several {
                    let before = |it: &&Approval| it.decision.as_ref().is_none_or(|it| it.at <= attempt.started_at);
                    while let Some(approval) = approvals.next_if(before) {
                        table.rows(decided(approval));
                    }
                    table.row(vec![
                        Cell::new(format!("  attempt {}", attempt.number)).style(styles::FAINT),
                        state_mark(attempt.state.as_str()),
                        Cell::new(took(Some(attempt.started_at), attempt.ended_at, now)),
                        Cell::message(result(attempt).unwrap_or_default()),
                    ]);
                    table.rows(cached(attempt));
                }
                table.rows(approvals.filter_map(decided));
            }
        }
    }
    table.render(width)
}

/// Returns whether an action is in its state because of this attempt, so that one line describes
/// both. It is not if the run was retried since, and the new start has not come to an attempt.
fn is_in_its_state(action: &RunAction, attempt: &Attempt) -> bool {
    let by_attempt = match attempt.state {
        AttemptState::Running | AttemptState::Publishing => action.state == ActionState::Running,
        AttemptState::Succeeded => action.state.succeeded(),
        AttemptState::Failed | AttemptState::TimedOut => {
            matches!(action.state, ActionState::Failed | ActionState::Retrying)
        }
        AttemptState::Cancelled => action.state == ActionState::Cancelled,
        // The action starts again, or has crashed too often to.
        AttemptState::Crashed => false,
    };
    by_attempt && !has_asked_since(action, attempt)
}

/// Returns whether an action has asked for another approval since an attempt ended. An approval
/// that is not granted has no attempt, whatever the clocks say.
fn has_asked_since(action: &RunAction, attempt: &Attempt) -> bool {
    action.approvals.last().is_some_and(|newest| {
        let granted = newest.decision.as_ref().is_some_and(|decision| decision.verdict == Verdict::Approved);
        !granted || attempt.ended_at.is_some_and(|ended| newest.since > ended)
    })
}

/// Marks an action that returned `skip`. Otherwise a last action that skipped would look like one
/// that did its work.
fn marked(action: &RunAction, what: String) -> String {
    match (action.skipped_rest, what.as_str()) {
        (false, _) => what,
        (true, "") => "said skip".to_owned(),
        (true, _) => format!("skip: {what}"),
    }
}

/// Why an action is in its state, and what comes next.
fn why(action: &RunAction, now: Timestamp) -> Option<String> {
    let reason = action.reason.as_deref().map(|reason| headline(reason).into_owned());
    let next = action.retry_at.map(|at| format!("next attempt in {}", duration(at.since(now))));
    let since = action.awaited().map(|it| format!("since {} ({})", it.since, ago(it.since, now)));
    let until = action.awaited().and_then(|it| it.until).map(|until| format!("until {until}"));
    let parts: Vec<String> = reason.into_iter().chain(next).chain(since).chain(until).collect();
    Some(parts.join(" · ")).filter(|text| !text.is_empty())
}

/// The error in short, or the message with the resources used.
fn attempt_result(attempt: &Attempt) -> Option<String> {
    if let Some(error) = &attempt.error {
        let again = if error.retryable { ", retryable" } else { "" };
        return Some(format!("{} ({}{again})", headline(&error.message), error.code));
    }
    let usage = &attempt.usage;
    let mut parts: Vec<String> = attempt.message.iter().cloned().collect();
    if attempt.ended_at.is_some() && !attempt.is_cached() {
        parts.push(format!("cpu {}", duration(Duration::from_micros(usage.cpu_time_us))));
        parts.push(format!("memory {}", ByteSize(usage.peak_memory_bytes)));
    }
    if usage.bytes_read > 0 {
        parts.push(format!("read {}", ByteSize(usage.bytes_read)));
    }
    if usage.bytes_written > 0 {
        parts.push(format!("wrote {}", ByteSize(usage.bytes_written)));
    }
    Some(parts.join(" · ")).filter(|text| !text.is_empty())
}

/// Returns the attempt with which an action failed.
fn fatal<'a>(action: &RunAction, detail: &'a RunDetail) -> Option<&'a Attempt> {
    let last = detail.attempts.iter().rfind(|attempt| attempt.action == action.name)?;
    let failed = action.state == ActionState::Failed && !has_asked_since(action, last);
    last.error.as_ref().filter(|_| failed).map(|_| last)
}

/// Formats an error of several lines in full: with the manifest lines that would help, or the
/// guest's stack trace.
fn error(attempt: &Attempt, width: usize) -> String {
    let Some(error) = attempt.error.as_ref().filter(|error| error.message.trim().contains('\n')) else {
        return String::new();
    };
    let title = format!("Error of {}, attempt {}", attempt.action, attempt.number);
    let mut text = format!("\n{}\n", Cell::new(title).style(styles::BAD));
    let mut lines: Vec<String> = Vec::new();
    for line in error.message.lines().map(plain) {
        lines.extend(wrap(&line, width.saturating_sub(2)));
    }
    for line in lines.iter().take(MAX_ERROR_LINES) {
        let _ = writeln!(text, "  {line}");
    }
    if let Some(more) = lines.len().checked_sub(MAX_ERROR_LINES).filter(|more| *more > 0) {
        let more = format!("… and {more} more lines; `--json` has them all");
        let _ = writeln!(text, "  {}", Cell::new(more).style(styles::FAINT));
    }
    text
}

/// Formats the calls that were refused, each kind once, with the manifest lines that would grant
/// it. Leaves out refusals that an error above explains already.
fn refused(detail: &RunDetail, denials: &[(AttemptId, Denial)], width: usize) -> String {
    let fatal = |message: &str| {
        let errors = detail.actions.iter().filter_map(|action| fatal(action, detail)?.error.as_ref());
        errors.into_iter().any(|error| error.message.contains(message))
    };
    let mut kinds: Vec<(&str, u64)> = Vec::new();
    for (_, denial) in denials.iter().filter(|(_, denial)| !fatal(&denial.message)) {
        if let Some((_, count)) = kinds.iter_mut().find(|(message, _)| *message == denial.message) {
            *count += 1;
        } else if kinds.len() < MAX_REFUSALS {
            kinds.push((&denial.message, 1));
        }
    }
    if kinds.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}\n", Cell::new("Refused").style(styles::WARN));
    for (message, count) in kinds {
        for line in message.lines().flat_map(|line| wrap(&plain(line), width.saturating_sub(2))).take(MAX_ERROR_LINES) {
            let _ = writeln!(text, "  {line}");
        }
        if count > 1 {
            let _ = writeln!(text, "  {}", Cell::new(format!("({count} times)")).style(styles::FAINT));
        }
    }
    text
}

/// What to do next: a description, and the command.
fn next(detail: &RunDetail, seen: Seen<'_>, path: &str) -> Vec<(&'static str, String)> {
    let run = &detail.run;
    let command = |verb: &str, rest: &str| format!("anacostia runs {verb} {}{}{rest}", run.number, beside(path));
    match run.state {
        RunState::Failed | RunState::Cancelled => {
            let is_whole = seen.inputs.len() as u64 == seen.inputs_count;
            let chosen = Run::choose_inputs(&beside(path), seen.inputs, is_whole);
            [
                ("see what it said", command("logs", "")),
                ("retry what failed", command("retry", "")),
                ("start it again, once the host has loaded a fix", command("retry", " --current")),
            ]
            .into_iter()
            .chain(chosen.map(|command| ("start runs on inputs that you choose", plain(&command))))
            .collect()
        }
        RunState::Queued | RunState::Running => {
            let decide = |verb: &str, action: &RunAction| {
                format!("anacostia runs {verb} {} {}{}", run.number, action.name, beside(path))
            };
            let waiting = detail.actions.iter().filter(|it| it.undecided().is_some());
            let mut steps: Vec<_> = waiting
                .flat_map(|it| [("approve it", decide("approve", it)), ("reject it", decide("reject", it))])
                .collect();
            let paused = |it: &&RunAction| is_paused(it.state.as_str(), it.reason.as_deref().unwrap_or_default());
            let resume = |it: &RunAction| resume_command(path, Some((NodeKind::Action, &it.name)));
            steps.extend(detail.actions.iter().filter(paused).map(|it| ("resume it", resume(it))));
            if detail.actions.iter().any(|action| action.state == ActionState::Running) || steps.is_empty() {
                steps.push(("follow it", command("logs", " --follow")));
            }
            steps.push(("end it", command("cancel", "")));
            steps
        }
        RunState::Cancelling | RunState::Succeeded => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::{MAX_ERROR_LINES, Seen, run_detail, run_list};
    use std::collections::BTreeMap;

    use crate::base::Timestamp;
    use crate::model::{
        ActionState, Approval, Artifact, AttemptState, Decision, Denial, ErrorInfo, RunAction, RunDetail, RunState,
        Verdict,
    };

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    /// Formats a run with two inputs and the other records of `seen`.
    fn shown(detail: &RunDetail, seen: Seen<'_>, path: &str, now: Timestamp, width: usize) -> String {
        let inputs = samples::inputs();
        plain(&run_detail(detail, Seen { inputs: &inputs, inputs_count: 2, ..seen }, path, now, width))
    }

    /// Returns the action `publish`, which waits for this approval.
    fn asks(approval: Approval) -> RunAction {
        let reason = format!("waits for approval: {}", approval.who);
        RunAction {
            approvals: vec![approval],
            ..samples::action("publish", ActionState::AwaitingApproval, 0, Some(&reason))
        }
    }

    /// Returns an approval that is asked for at one second, and decided at another.
    fn decided(since: i64, at: i64, verdict: Verdict, by: Option<&str>, note: Option<&str>) -> Approval {
        let decision = Some(Decision::new(verdict, by, note, samples::at(at)));
        Approval { since: samples::at(since), decision, ..samples::approval() }
    }

    /// Returns the lines of the actions.
    fn action_lines(detail: &RunDetail) -> String {
        let text = shown(detail, Seen::default(), ".", samples::at(65), 120);
        let (_, from) = text.split_once("\nActions\n").expect("the actions are shown");
        from.split("\n\n").next().unwrap_or_default().to_owned()
    }

    #[test]
    fn the_reason_of_a_new_start_is_not_that_of_the_attempt_before() {
        let before = decided(0, 1, Verdict::Approved, Some("ann"), Some("fine"));
        let mut detail = samples::detail();
        detail.attempts.truncate(1);
        detail.attempts[0] = samples::attempt("publish", 1, AttemptState::Failed);
        let action = |state, reason: Option<&str>, newest: Approval| RunAction {
            approvals: vec![before.clone(), newest],
            ..samples::action("publish", state, 1, reason)
        };
        let rejected = decided(10, 12, Verdict::Rejected, Some("bob"), Some("too few\n\u{1b}[31mrows"));
        let timed_out = decided(10, 86_410, Verdict::TimedOut, None, None);
        let granted = decided(10, 12, Verdict::Approved, None, None);
        let text = [
            action(ActionState::AwaitingApproval, Some("waits for approval: data team"), samples::approval()),
            action(ActionState::Failed, Some("rejected by bob: too few"), rejected),
            action(ActionState::Failed, Some("nobody decided within 24h"), timed_out),
            action(ActionState::Cancelled, Some("cancelled while it waited for approval"), samples::approval()),
            action(ActionState::Ready, Some("approved"), granted),
        ];
        let text = text.map(|action| {
            detail.actions = vec![action];
            action_lines(&detail)
        });
        insta::assert_snapshot!(text.join("\n\n"));
    }

    #[test]
    fn the_approval_of_the_only_attempt_follows_its_line() {
        let mut detail = samples::detail();
        detail.actions[1].approvals = vec![decided(0, 1, Verdict::Approved, Some("ann"), Some("fine"))];
        let text = action_lines(&detail);
        let lines = text.lines().skip_while(|line| !line.starts_with("  train"));
        let lines: Vec<&str> = lines.take(2).map(str::trim_end).collect();
        assert!(lines[0].starts_with("  train") && lines[0].contains("(unavailable, retryable)"), "{text}");
        let words: Vec<&str> = lines[1].split_whitespace().collect();
        assert_eq!(words.join(" "), "approval approved by ann, 2026-03-01T12:00:01.000000Z: fine");
    }

    #[test]
    fn the_next_steps_resume_what_is_paused_and_end_what_is_queued() {
        let mut detail = samples::detail();
        detail.attempts.clear();
        let steps = |detail: &RunDetail| {
            let text = shown(detail, Seen::default(), "a/b", samples::at(65), 120);
            let (_, steps) = text.split_once("\nNext\n").expect("there are next steps");
            steps.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        let paused = Some("paused since 2026-03-01 12:00 UTC: no GPU");
        for state in [RunState::Queued, RunState::Running] {
            detail.run = samples::run(7, state);
            detail.actions = vec![samples::action("train", ActionState::Ready, 0, paused)];
            let end = "end it anacostia runs cancel 7 a/b";
            assert_eq!(steps(&detail), ["resume it anacostia resume a/b --action train", end]);
            detail.actions[0].reason = Some("waits for gpu (1 of 1 in use)".to_owned());
            assert_eq!(steps(&detail), ["follow it anacostia runs logs 7 a/b --follow", end]);
        }
    }

    #[test]
    fn run_list_of_every_state() {
        let mut runs: Vec<_> =
            RunState::ALL.iter().zip([1, 2, 30, 4, 5, 6]).map(|(state, number)| samples::run(number, *state)).collect();
        runs[3].reason = Some(format!("train failed: {}", samples::LIMIT));
        let ready = |reason| samples::action("train", ActionState::Ready, 0, Some(reason));
        let actions = BTreeMap::from([
            (runs[0].id, vec![ready("paused since 2026-03-01 12:00 UTC: no GPU")]),
            (runs[1].id, vec![ready("waits for gpu (1 of 1 in use)"), asks(samples::approval())]),
        ]);
        let text = [usize::MAX, 80, 60].map(|width| run_list(&runs, &actions, samples::at(65), width)).join("\n");
        insta::assert_snapshot!(plain(&text));
    }

    #[test]
    fn a_failed_run_shows_the_error_and_advice() {
        let text =
            [120, 60].map(|width| shown(&samples::detail(), Seen::default(), "pipelines/a", samples::at(7_300), width));
        insta::assert_snapshot!(text.join("\n────\n\n"));
    }

    #[test]
    fn a_multi_line_error_is_shown_as_a_block() {
        let mut detail = samples::detail();
        detail.attempts[2].error = Some(ErrorInfo::permanent("memory_limit", samples::LIMIT));
        insta::assert_snapshot!(shown(&detail, Seen::default(), ".", samples::at(65), 80));
        let deep = format!("it trapped: x{}", "\n  at y".repeat(100));
        detail.attempts[2].error = Some(ErrorInfo::permanent("trap", deep));
        let text = shown(&detail, Seen::default(), ".", samples::at(65), 80);
        assert_eq!(text.matches("  at y").count(), MAX_ERROR_LINES - 1);
        assert!(text.contains("  … and 77 more lines; `--json` has them all\n"), "{text}");
    }

    #[test]
    fn a_denial_shows_the_lines_that_would_grant_it() {
        let message = "`train` may not write `models`; to grant it, write in anacostia.toml:\n[actions.train]\nwrites = [\"models\"]";
        let denial =
            Denial { call: "resources.create".to_owned(), target: "models".to_owned(), message: message.to_owned() };
        let denials = vec![(samples::attempt_id(1), denial.clone()), (samples::attempt_id(1), denial)];
        let mut detail = samples::detail();
        let text = shown(&detail, Seen { denials: &denials, ..Seen::default() }, ".", samples::at(65), 80);
        let (_, from) = text.split_once("\nRefused\n").expect("what was refused is shown");
        let lines = "  [actions.train]\n  writes = [\"models\"]\n  (2 times)\n\nNext\n";
        assert!(from.starts_with("  `train` may not write `models`; ") && from.contains(lines), "{text}");
        detail.attempts[2].error = Some(ErrorInfo::permanent("denied", message));
        let text = shown(&detail, Seen { denials: &denials, ..Seen::default() }, ".", samples::at(65), 80);
        assert!(!text.contains("Refused") && text.matches("writes = ").count() == 1, "it is shown only once: {text}");
    }

    #[test]
    fn a_running_action_shows_what_comes_next() {
        let mut detail = samples::detail();
        detail.run = samples::run(7, RunState::Running);
        detail.attempts.truncate(1);
        detail.attempts.push(samples::attempt("train", 1, AttemptState::Running));
        detail.attempts[1].ended_at = None;
        detail.actions[0] = samples::action("prepare", ActionState::Retrying, 1, None);
        detail.actions[0].retry_at = Some(samples::at(8));
        detail.actions[1] = samples::action("train", ActionState::Running, 1, None);
        detail.actions[2] = samples::action("publish", ActionState::Pending, 0, None);
        insta::assert_snapshot!(shown(&detail, Seen::default(), ".", samples::at(5), 100));
    }

    #[test]
    fn state_colours_are_always_reset() {
        let text = run_list(&[samples::run(1, RunState::Failed)], &BTreeMap::new(), samples::at(65), 100);
        insta::assert_snapshot!(text.replace('\u{1b}', "ESC"));
    }

    #[test]
    fn a_skip_outcome_is_shown_differently_from_success() {
        let mut detail = samples::detail();
        let before = shown(&detail, Seen::default(), ".", samples::at(65), 100);
        assert!(!before.contains("said skip"), "{before}");
        detail.actions[0].skipped_rest = true;
        let text = shown(&detail, Seen::default(), ".", samples::at(65), 100);
        assert!(text.contains("said skip"), "{text}");
    }

    #[test]
    fn inputs_that_the_run_was_given_are_marked() {
        let [claimed, other] = samples::inputs();
        let inputs = [claimed, Artifact { run_id: None, ..other }];
        let seen = Seen { inputs: &inputs, inputs_count: 2, ..Seen::default() };
        let text = plain(&run_detail(&samples::detail(), seen, ".", samples::at(65), 120));
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("data_store/")).collect();
        assert!(lines[0].ends_with("○ old") && lines[1].ends_with("○ old  given"), "{text}");
    }

    #[test]
    fn many_inputs_are_summarised() {
        let inputs: Vec<_> = (0..25).map(|n| samples::artifact(&format!("{n}.csv"), 1, 1)).collect();
        let shown = |inputs: &[Artifact], inputs_count, path| {
            let seen = Seen { inputs, inputs_count, ..Seen::default() };
            plain(&run_detail(&samples::detail(), seen, path, samples::at(65), 100))
        };
        let text = shown(&inputs, 10_025, ".");
        assert!(text.contains("19.csv") && !text.contains("20.csv"), "{text}");
        assert!(text.contains("  … and 10005 more: `anacostia artifacts list --run 7` lists them\n"), "{text}");
        assert!(
            shown(&inputs, 25, "a/b").contains("… and 5 more: `anacostia artifacts list a/b --run 7` lists them\n")
        );
        assert!(!shown(&inputs[..20], 20, ".").contains(" more: "));
    }
}
