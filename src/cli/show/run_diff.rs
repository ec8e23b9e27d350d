//! Formats the comparison of two runs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::{Cell, Column, Table, duration, plural, short_digest, state_mark, styles};
use crate::base::double::{self, Number};
use crate::base::{ByteSize, Digest};
use crate::model::{ActionRecord, DiffList, DiffRun, FileDiff, FileVersion, MetricDiff, RunDiff, TimingDiff};

/// Most items of a list that are shown; `--json` has more.
const MAX_SHOWN: usize = 20;
/// What stands where a run has nothing.
const NOTHING: &str = "–";

/// Formats a comparison for a terminal with `width` columns.
pub(crate) fn run_diff(diff: &RunDiff, width: usize) -> String {
    let mut text = heads(diff, width);
    if !diff.same_manifest {
        text.push_str("They ran with different manifests.\n");
    }
    let params = diff.params.items.iter().map(|it| {
        let name = it.action.as_ref().map_or_else(|| it.name.clone(), |action| format!("{action}: {}", it.name));
        [Cell::new(name), value(it.a.as_ref()), value(it.b.as_ref()), differs(it.same)]
    });
    section(&mut text, "Params", &diff.params, params, width);
    let components =
        diff.components.items.iter().map(|it| [Cell::new(&it.action), digest(it.a), digest(it.b), differs(it.same)]);
    section(&mut text, "Components", &diff.components, components, width);
    section(&mut text, "Inputs", &diff.inputs, diff.inputs.items.iter().map(file), width);
    section(&mut text, "Metrics", &diff.metrics, diff.metrics.items.iter().map(metric), width);
    section(&mut text, "Timings", &diff.timings, diff.timings.items.iter().map(timing), width);
    section(&mut text, "Outputs", &diff.outputs, diff.outputs.items.iter().map(file), width);
    for run in [&diff.a, &diff.b].into_iter().filter(|run| !run.incomplete.is_empty()) {
        let _ = writeln!(
            text,
            "\nRun #{} has too many {} to compare all of them.",
            run.number,
            run.incomplete.join(" and ")
        );
    }
    text
}

/// Both runs, one below the other.
fn heads(diff: &RunDiff, width: usize) -> String {
    let mut table = Table::new(&[("", Column::Word), ("", Column::Word), ("", Column::Number), ("", Column::Text)]);
    let row = |run: &DiffRun| {
        let took = run.took_us.map(|took| duration(Duration::from_micros(took))).unwrap_or_default();
        vec![
            Cell::new(format!("Run #{}", run.number)).style(styles::STRONG),
            state_mark(run.state.as_str()),
            Cell::new(took),
            Cell::new(&run.trigger),
        ]
    };
    table.rows([row(&diff.a), row(&diff.b)]);
    table.render(width)
}

/// Adds a list with its heading, if either run has any of it.
fn section<T>(
    text: &mut String,
    heading: &str,
    list: &DiffList<T>,
    rows: impl Iterator<Item = [Cell; 4]>,
    width: usize,
) {
    if list.different + list.equal == 0 {
        return;
    }
    let _ = writeln!(text, "\n{}", Cell::new(heading).style(styles::STRONG));
    let mut table =
        Table::new(&[("", Column::Path), ("", Column::Text), ("", Column::Text), ("", Column::Word)]).indent(2);
    table.rows(rows.take(MAX_SHOWN).map(Vec::from));
    text.push_str(&table.render(width));
    let hidden = list.items.len().saturating_sub(MAX_SHOWN) + list.left_out;
    let only_different = list.items.len() + list.left_out == list.different;
    let mut notes = Vec::new();
    if hidden > 0 {
        notes.push(format!("… and {hidden} more"));
    }
    if only_different && list.equal > 0 {
        notes.push(format!("{} in both", plural(list.equal as u64, "equal file")));
    }
    if !notes.is_empty() {
        let _ = writeln!(text, "  {}", Cell::new(notes.join("; ")).style(styles::FAINT));
    }
}

fn differs(same: bool) -> Cell {
    if same { Cell::new("same").style(styles::FAINT) } else { Cell::new("differs").style(styles::WARN) }
}

fn nothing() -> Cell {
    Cell::new(NOTHING).style(styles::FAINT)
}

fn value(value: Option<&Value>) -> Cell {
    match value {
        None => nothing(),
        Some(Value::String(text)) => Cell::new(text),
        Some(value) => Cell::new(value.to_string()),
    }
}

fn digest(digest: Option<Digest>) -> Cell {
    digest.map_or_else(nothing, |digest| Cell::new(short_digest(digest)))
}

fn file(it: &FileDiff) -> [Cell; 4] {
    let version = |version: &FileVersion| Cell::new(format!("v{}, {}", version.version, ByteSize(version.size)));
    let what = match (&it.a, &it.b) {
        (Some(_), Some(_)) => "differs",
        (Some(_), None) => "only in the first",
        _ => "only in the second",
    };
    [
        Cell::new(format!("{}/{}", it.resource, it.path)),
        it.a.as_ref().map_or_else(nothing, version),
        it.b.as_ref().map_or_else(nothing, version),
        Cell::new(what).style(styles::WARN),
    ]
}

fn metric(it: &MetricDiff) -> [Cell; 4] {
    let number = |value: Option<Number>| value.map_or_else(nothing, |Number(value)| Cell::new(double::text(value)));
    let change = match it.change {
        _ if it.same => Cell::new("same").style(styles::FAINT),
        None => Cell::new("differs").style(styles::WARN),
        Some(Number(change)) => Cell::new(with_percent(&signed(change), it.change_percent)).style(styles::WARN),
    };
    [Cell::new(format!("{}: {}", it.action, it.name)), number(it.a), number(it.b), change]
}

/// A change with six significant digits: the rest is the noise of the subtraction.
fn signed(change: f64) -> String {
    let rounded = format!("{change:.5e}").parse().unwrap_or(change);
    let sign = if rounded > 0.0 { "+" } else { "" };
    format!("{sign}{}", double::text(rounded))
}

fn with_percent(change: &str, percent: Option<Number>) -> String {
    match percent {
        Some(Number(percent)) => format!("{change} ({})", double::percent(percent)),
        None => change.to_owned(),
    }
}

fn timing(it: &TimingDiff) -> [Cell; 4] {
    let took = |record: &ActionRecord| match record.attempts {
        0 => Cell::new(record.state.as_str()),
        1 => Cell::new(span(record.took_us)),
        attempts => Cell::new(format!("{}, {attempts} attempts", span(record.took_us))),
    };
    let change = it.change_us.map(|change| {
        let sign = if change < 0 { "-" } else { "+" };
        with_percent(&format!("{sign}{}", span(change.unsigned_abs())), it.change_percent)
    });
    let states = |record: &Option<ActionRecord>| record.as_ref().map(|it| it.state);
    let style = if states(&it.a) == states(&it.b) { styles::PLAIN } else { styles::WARN };
    let change = match (change, &it.b) {
        // How it ended matters more than how long it took.
        (_, Some(b)) if states(&it.a) != states(&it.b) => b.state.as_str().to_owned(),
        (change, _) => change.unwrap_or_default(),
    };
    [
        Cell::new(&it.action),
        it.a.as_ref().map_or_else(nothing, took),
        it.b.as_ref().map_or_else(nothing, took),
        Cell::new(change).style(style),
    ]
}

fn span(micros: u64) -> String {
    duration(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::samples;
    use super::run_diff;
    use crate::base::Digest;
    use crate::model::{ActionRecord, ActionState, Artifact, RunDiff, RunRecords, RunState};

    fn records(number: u64, params: serde_json::Value, seed: u64) -> RunRecords {
        let key = |name: &str| ("train".to_owned(), name.to_owned());
        let component = Some(Digest::of(&seed.to_le_bytes()));
        let action = ActionRecord { state: ActionState::Succeeded, attempts: 1, took_us: 1_250 * seed, component };
        RunRecords {
            run: crate::model::Run { params, ..samples::run(number, RunState::Succeeded) },
            params: BTreeMap::from([(key("solver"), "lbfgs".to_owned())]),
            actions: BTreeMap::from([("train".to_owned(), action)]),
            inputs: vec![samples::artifact("a.csv", 1, 100), samples::artifact("b.csv", seed, 200 * seed)],
            metrics: BTreeMap::from([(key("accuracy"), 0.9 + 0.01 * f64::from(u8::try_from(seed).unwrap()))]),
            outputs: Vec::new(),
            incomplete: Vec::new(),
        }
    }

    #[test]
    fn two_runs_are_compared() {
        let (a, mut b) = (records(7, json!({ "lr": 0.1, "model": "tree" }), 1), records(8, json!({ "lr": 0.2 }), 2));
        b.inputs = vec![
            samples::artifact("a.csv", 1, 100),
            Artifact { digest: Some(Digest::of(b"other")), id: crate::base::ArtifactId::new(), ..b.inputs[1].clone() },
        ];
        b.run.revision = Digest::of(b"another manifest");
        b.incomplete = vec!["metrics", "outputs"];
        let text = run_diff(&RunDiff::of(&a, &b), 100);
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }
}
