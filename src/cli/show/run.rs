//! Runs: the list, and one with all that belongs to it.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Align, Cell, Table, ago, duration, plain, plural, state_mark, styles};
use crate::base::{ByteSize, Timestamp};
use crate::model::{Artifact, Attempt, Run, RunAction, RunDetail};

/// Most inputs that are shown one by one.
const MAX_INPUTS: usize = 20;

/// The list of runs, newest first.
pub(crate) fn run_list(runs: &[Run], now: Timestamp) -> String {
    let mut table = Table::new(&[
        ("RUN", Align::Right),
        ("STATE", Align::Left),
        ("CREATED", Align::Left),
        ("TOOK", Align::Right),
        ("TRIGGER", Align::Left),
        ("REASON", Align::Left),
    ]);
    for run in runs {
        table.row(vec![
            Cell::new(format!("#{}", run.number)).style(styles::STRONG),
            state_mark(run.state.as_str()),
            Cell::new(ago(run.created_at, now)),
            Cell::new(took(run.started_at, run.ended_at, now)),
            Cell::new(&run.trigger),
            Cell::new(run.reason.as_deref().unwrap_or_default()),
        ]);
    }
    table.render()
}

/// From start to end, or to now.
fn took(started: Option<Timestamp>, ended: Option<Timestamp>, now: Timestamp) -> String {
    started.map(|started| duration(ended.unwrap_or(now).since(started))).unwrap_or_default()
}

/// One run: what it is, what it took in, what became of its actions and why. `path` is the PATH that leads to its pipeline, for the
/// commands that are proposed.
pub(crate) fn run_detail(detail: &RunDetail, path: &str, now: Timestamp) -> String {
    let run = &detail.run;
    let mut text = format!(
        "{} {}\n",
        Cell::new(format!("Run #{}", run.number)).style(styles::STRONG),
        state_mark(run.state.as_str())
    );
    text.push_str(&facts(run, now));
    if !detail.inputs.is_empty() {
        let _ = write!(text, "\n{}\n{}", heading("Inputs"), inputs(&detail.inputs));
    }
    let _ = write!(text, "\n{}\n", heading("Actions"));
    for action in &detail.actions {
        let attempts: Vec<&Attempt> = detail.attempts.iter().filter(|attempt| attempt.action == action.name).collect();
        text.push_str(&action_lines(action, &attempts, detail, now));
    }
    if let Some(hint) = hint(detail, path) {
        let _ = write!(text, "\n{hint}\n");
    }
    text
}

fn heading(text: &str) -> Cell {
    Cell::new(text).style(styles::STRONG)
}

fn facts(run: &Run, now: Timestamp) -> String {
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]).indent(2);
    let mut fact = |name: &str, value: String| {
        table.row(vec![Cell::new(name).style(styles::FAINT), Cell::new(value)]);
    };
    fact("id", run.id.to_string());
    fact("trigger", run.trigger.clone());
    fact("created", format!("{} ({})", run.created_at, ago(run.created_at, now)));
    if run.started_at.is_some() {
        fact("took", took(run.started_at, run.ended_at, now));
    }
    if run.params.as_object().is_some_and(|params| !params.is_empty()) {
        fact("params", run.params.to_string());
    }
    if let Some(reason) = &run.reason {
        fact("reason", reason.clone());
    }
    table.render()
}

fn inputs(inputs: &[Artifact]) -> String {
    let mut table =
        Table::new(&[("", Align::Left), ("", Align::Left), ("", Align::Right), ("", Align::Left)]).indent(2);
    for artifact in inputs.iter().take(MAX_INPUTS) {
        table.row(vec![
            Cell::new(format!("{}/{}", artifact.resource, artifact.path)),
            Cell::new(format!("v{}", artifact.version)),
            Cell::new(ByteSize(artifact.size).to_string()),
            state_mark(artifact.state.as_str()),
        ]);
    }
    let mut text = table.render();
    if let Some(more) = inputs.len().checked_sub(MAX_INPUTS).filter(|more| *more > 0) {
        let _ = writeln!(text, "  {}", Cell::new(format!("… and {more} more")).style(styles::FAINT));
    }
    text
}

fn action_lines(action: &RunAction, attempts: &[&Attempt], detail: &RunDetail, now: Timestamp) -> String {
    let width = detail.actions.iter().map(|other| other.name.len()).max().unwrap_or(0);
    let mut text = format!("  {:width$}  {}", action.name, state_mark(action.state.as_str()));
    if let Some(reason) = &action.reason {
        let _ = write!(text, "  {}", plain(reason));
    }
    if let Some(at) = action.retry_at {
        let _ = write!(text, "  next attempt in {}", duration(at.since(now)));
    }
    text.push('\n');
    let mut table =
        Table::new(&[("", Align::Left), ("", Align::Left), ("", Align::Right), ("", Align::Left)]).indent(4);
    for attempt in attempts {
        table.row(vec![
            Cell::new(format!("attempt {}", attempt.number)).style(styles::FAINT),
            state_mark(attempt.state.as_str()),
            Cell::new(took(Some(attempt.started_at), attempt.ended_at, now)),
            Cell::new(what_came_of(attempt)),
        ]);
    }
    text.push_str(&table.render());
    text
}

/// The error, or the message with what was used.
fn what_came_of(attempt: &Attempt) -> String {
    if let Some(error) = &attempt.error {
        let again = if error.retryable { ", retryable" } else { "" };
        return format!("{} ({}{again})", error.message, error.code);
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
    parts.join(" · ")
}

/// What one does next.
fn hint(detail: &RunDetail, path: &str) -> Option<String> {
    let number = detail.run.number;
    let attempts = u64::try_from(detail.attempts.len()).unwrap_or(u64::MAX);
    let path = if path == "." { String::new() } else { format!(" {path}") };
    let text = match detail.run.state.as_str() {
        "failed" | "cancelled" => format!(
            "See what its {} said with `anacostia runs logs {number}{path}`; take it up again with `anacostia runs retry {number}{path}`.",
            plural(attempts, "attempt")
        ),
        "running" => format!("Follow it with `anacostia runs logs {number}{path} --follow`."),
        _ => return None,
    };
    Some(Cell::new(text).style(styles::FAINT).to_string())
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::{run_detail, run_list};
    use crate::model::RunState;

    #[test]
    fn list_of_every_state() {
        let runs: Vec<_> =
            RunState::ALL.iter().zip([1, 2, 30, 4, 5, 6]).map(|(state, number)| samples::run(number, *state)).collect();
        insta::assert_snapshot!(anstream::adapter::strip_str(&run_list(&runs, samples::at(65))));
    }

    #[test]
    fn a_failed_run_says_what_failed_and_what_to_do() {
        insta::assert_snapshot!(anstream::adapter::strip_str(&run_detail(
            &samples::detail(),
            "pipelines/a",
            samples::at(7_300)
        )));
    }

    #[test]
    fn colours_stand_around_states_only_in_pairs() {
        let text = run_list(&[samples::run(1, RunState::Failed)], samples::at(65));
        insta::assert_snapshot!(text.replace('\u{1b}', "ESC"));
    }

    #[test]
    fn many_inputs_are_counted() {
        let mut detail = samples::detail();
        detail.inputs = (0..25).map(|n| samples::artifact(&format!("{n}.csv"), 1, 1)).collect();
        let text = run_detail(&detail, ".", samples::at(65));
        assert!(text.contains("19.csv") && !text.contains("20.csv") && text.contains("… and 5 more"), "{text}");
    }
}
