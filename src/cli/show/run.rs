//! Formats runs: the list, and one run in detail.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::fit::{headline, wrap};
use super::requests;
use super::{Cell, Column, RunOutputs, Table, ago, duration, next_steps, plain, state_mark, styles};
use crate::base::{AttemptId, ByteSize, Timestamp};
use crate::model::{ActionState, Artifact, Attempt, Denial, HttpRequest, Run, RunAction, RunDetail, RunState};
use crate::store::AwaitingApproval;

/// Most inputs that are shown one by one.
const MAX_INPUTS: usize = 20;
/// Most lines of one error that are shown; a deep stack has more.
const MAX_ERROR_LINES: usize = 24;

/// Most kinds of refused calls that are shown; `--json` has them all.
const MAX_REFUSALS: usize = 5;

/// The list of runs, newest first, for a terminal with `width` columns. `awaiting` are the actions
/// that wait for approval.
pub(crate) fn run_list(runs: &[Run], awaiting: &[AwaitingApproval], now: Timestamp, width: usize) -> String {
    let mut table = Table::new(&[
        ("RUN", Column::Number),
        ("STATE", Column::Word),
        ("CREATED", Column::Word),
        ("TOOK", Column::Number),
        ("TRIGGER", Column::Aside),
        ("REASON", Column::Text),
    ]);
    for run in runs {
        let waits = awaiting.iter().filter(|it| it.run_id == run.id && !run.state.ended());
        let waits: Vec<String> =
            waits.map(|it| format!("? {} waits for approval: {}", it.action, it.approval.who)).collect();
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
        let _ = write!(text, "\n{}\n{}", heading("Inputs"), inputs(seen.inputs, seen.inputs_count, &all, width));
    }
    let _ = write!(text, "\n{}\n{}", heading("Actions"), actions(detail, seen.outages, now, width));
    for attempt in detail.actions.iter().filter_map(|action| fatal(action, detail)) {
        text.push_str(&error(attempt, width));
    }
    text.push_str(&requests::requests(detail, seen.requests, width));
    text.push_str(&refused(detail, seen.denials, width));
    text.push_str(&seen.outputs.map(|outputs| outputs.shown(width)).unwrap_or_default());
    text.push_str(&next_steps(&next(detail, path)));
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
    if let Some(reason) = &run.reason {
        fact("reason", headline(reason).into_owned());
    }
    table.render(width)
}

/// The first inputs, and how many more there are. `all` is the hint on how to list them.
fn inputs(inputs: &[Artifact], count: u64, all: &str, width: usize) -> String {
    let columns = [("", Column::Path), ("", Column::Word), ("", Column::Number), ("", Column::Word)];
    let mut table = Table::new(&columns).indent(2);
    for artifact in inputs.iter().take(MAX_INPUTS) {
        table.row(vec![
            Cell::new(format!("{}/{}", artifact.resource, artifact.path)),
            Cell::new(format!("v{}", artifact.version)),
            Cell::new(ByteSize(artifact.size).to_string()),
            state_mark(artifact.state.as_str()),
        ]);
    }
    let mut text = table.render(width);
    let more = count.saturating_sub(inputs.len().min(MAX_INPUTS) as u64);
    if more > 0 {
        let _ = writeln!(text, "  {}", Cell::new(format!("… and {more} more: {all}")).style(styles::FAINT));
    }
    text
}

/// The actions in one table: a line for each, and a line for each attempt if there are several.
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
            [only] if action.state != ActionState::Ready || action.reason.is_none() => {
                let what = result(only).or_else(|| why(action, now)).unwrap_or_default();
                let what = marked(action, what);
                table.row(vec![
                    name,
                    state,
                    Cell::new(took(Some(only.started_at), only.ended_at, now)),
                    Cell::message(what),
                ]);
            }
            several => {
                // Does not repeat what the line of the last attempt says.
                let why = why(action, now).filter(|_| fatal(action, detail).is_none()).unwrap_or_default();
                table.row(vec![name, state, Cell::new(""), Cell::new(marked(action, why))]);
                for attempt in several {
                    table.row(vec![
                        Cell::new(format!("  attempt {}", attempt.number)).style(styles::FAINT),
                        state_mark(attempt.state.as_str()),
                        Cell::new(took(Some(attempt.started_at), attempt.ended_at, now)),
                        Cell::message(result(attempt).unwrap_or_default()),
                    ]);
                }
            }
        }
    }
    table.render(width)
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
    if attempt.ended_at.is_some() {
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
    last.error.as_ref().filter(|_| action.state == ActionState::Failed).map(|_| last)
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

/// Formats a PATH for a command; `.` is left out.
fn beside(path: &str) -> String {
    if path == "." { String::new() } else { format!(" {path}") }
}

/// What to do next: a description, and the command.
fn next(detail: &RunDetail, path: &str) -> Vec<(&'static str, String)> {
    let run = &detail.run;
    let command = |verb: &str, rest: &str| format!("anacostia runs {verb} {}{}{rest}", run.number, beside(path));
    match run.state {
        RunState::Failed | RunState::Cancelled => {
            vec![
                ("see what it said", command("logs", "")),
                ("retry what failed", command("retry", "")),
                ("start it again after a fix", command("retry", " --current")),
            ]
        }
        RunState::Running => {
            let decide = |verb: &str, action: &RunAction| {
                format!("anacostia runs {verb} {} {}{}", run.number, action.name, beside(path))
            };
            let waiting = detail.actions.iter().filter(|action| action.awaited().is_some());
            let mut steps: Vec<_> = waiting
                .flat_map(|it| [("approve it", decide("approve", it)), ("reject it", decide("reject", it))])
                .collect();
            if detail.actions.iter().any(|action| action.state == ActionState::Running) || steps.is_empty() {
                steps.push(("follow it", command("logs", " --follow")));
            }
            steps.push(("end it", command("cancel", "")));
            steps
        }
        RunState::Queued | RunState::Cancelling | RunState::Succeeded => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::{MAX_ERROR_LINES, Seen, run_detail, run_list};
    use crate::base::{RunId, Timestamp};
    use crate::model::{ActionState, Artifact, AttemptState, Denial, ErrorInfo, RunDetail, RunState};
    use crate::store::AwaitingApproval;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    /// Formats a run with two inputs and the other records of `seen`.
    fn shown(detail: &RunDetail, seen: Seen<'_>, path: &str, now: Timestamp, width: usize) -> String {
        let inputs = samples::inputs();
        plain(&run_detail(detail, Seen { inputs: &inputs, inputs_count: 2, ..seen }, path, now, width))
    }

    #[test]
    fn run_list_of_every_state() {
        let mut runs: Vec<_> =
            RunState::ALL.iter().zip([1, 2, 30, 4, 5, 6]).map(|(state, number)| samples::run(number, *state)).collect();
        runs[3].reason = Some(format!("train failed: {}", samples::LIMIT));
        let approval = samples::approval();
        let of = |run: RunId| AwaitingApproval {
            run_id: run,
            run_number: 2,
            action: "publish".to_owned(),
            approval: approval.clone(),
        };
        let awaiting = [of(runs[1].id)];
        let text = [usize::MAX, 80, 60].map(|width| run_list(&runs, &awaiting, samples::at(65), width)).join("\n");
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
        let text = run_list(&[samples::run(1, RunState::Failed)], &[], samples::at(65), 100);
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
