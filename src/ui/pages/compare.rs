//! `/runs/compare`: what differs between runs. Each is compared with the first one.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use crate::base::bounds::cut;
use crate::base::double::{self, Number};
use crate::base::{ByteSize, Digest, RunId};
use crate::model::{
    ActionRecord, ComponentDiff, DiffList, DiffRun, FileDiff, FileVersion, MetricDiff, ParamDiff, RunDiff, TimingDiff,
};
use crate::scheduler::{View, diff_runs};
use crate::ui::page::{self, Head, Params, Refusal, Result, Section};
use crate::ui::{Pages, look, text};

/// What stands where a run has nothing.
const NOTHING: &str = "–";
/// What stands where a run may have something, but the list of what differs is too long.
const LEFT_OUT: &str = "not shown";
/// Characters of a digest that are shown.
const DIGEST_CHARS: usize = 12;
/// Most bytes of a value that are displayed.
const MOST_SHOWN: usize = 400;
/// How many runs are compared at once.
const RUNS: RangeInclusive<usize> = 2..=6;

#[derive(Debug, Serialize)]
struct Content {
    title: String,
    runs: Vec<Side>,
    same_manifest: bool,
    lists: Vec<List>,
    /// The same as JSON, for each run after the first.
    json: Vec<String>,
}

/// One of the runs.
#[derive(Debug, Serialize)]
struct Side {
    number: u64,
    kind: &'static str,
    state: &'static str,
    trigger: String,
    took: Option<String>,
    incomplete: Vec<&'static str>,
}

/// What is compared of one kind.
#[derive(Debug, Serialize)]
struct List {
    id: &'static str,
    title: &'static str,
    rows: Vec<Row>,
    /// How many runs are compared with the first one.
    columns: usize,
    different: usize,
    equal: usize,
    left_out: usize,
}

#[derive(Debug, Clone, Serialize)]
struct Row {
    name: String,
    /// What the first run has: as it is displayed, and in full.
    first: text::Numeral,
    /// What the others have.
    others: Vec<Cell>,
}

/// What a run has, and the change from the first one.
#[derive(Debug, Clone, Serialize)]
struct Cell {
    value: text::Numeral,
    change: Option<String>,
    same: bool,
}

impl Row {
    fn new(name: String, first: text::Numeral, value: text::Numeral, change: Option<String>, same: bool) -> Self {
        Self { name, first, others: vec![Cell { value, change, same }] }
    }

    fn is_same(&self) -> bool {
        self.others.iter().all(|cell| cell.same)
    }
}

/// `GET /runs/compare?run=A&run=B`, with up to six runs.
pub(in crate::ui) async fn show(State(pages): State<Pages>, uri: Uri) -> Response {
    let content = gather(&pages.view, &uri).await;
    let head = |content: &Content| Head::of(Section::Runs, "compare.html", &content.title);
    page::answer(&pages, content.map(|content| (head(&content), content))).await
}

async fn gather(view: &View, uri: &Uri) -> Result<Content> {
    let params = Params::of(uri)?;
    let chosen = params.all("run");
    if !RUNS.contains(&chosen.len()) {
        let was = if chosen.len() == 1 { "was" } else { "were" };
        let why =
            format!("Two to six runs are compared, and {} {was} chosen. Go back, and choose others.", chosen.len());
        return Err(Refusal::Invalid(why));
    }
    let mut runs = Vec::new();
    for number in chosen {
        let run = find(view, number).await?;
        if runs.contains(&run) {
            let why = format!(
                "Run {number} was chosen twice, and is compared with others only. Go back, and choose another."
            );
            return Err(Refusal::Invalid(why));
        }
        runs.push(run);
    }
    let mut diffs = Vec::new();
    if let Some((first, others)) = runs.split_first() {
        for other in others {
            let gone = || Refusal::Missing("One of the runs is not on record any more.".to_owned());
            diffs.push(diff_runs(view.store.as_ref(), *first, *other).await?.ok_or_else(gone)?);
        }
    }
    Ok(content(&diffs))
}

/// Returns the run of this number.
async fn find(view: &View, number: &str) -> Result<RunId> {
    let missing = || Refusal::Missing(format!("There is no run {number}."));
    let number: u64 = number.parse().map_err(|_| missing())?;
    view.store.run_by_number(number).await?.ok_or_else(missing)
}

/// Puts the comparisons of each run with the first one beside each other.
fn content(diffs: &[RunDiff]) -> Content {
    let runs: Vec<&DiffRun> =
        diffs.first().map(|diff| &diff.a).into_iter().chain(diffs.iter().map(|it| &it.b)).collect();
    let numbers: Vec<String> = runs.iter().map(|run| run.number.to_string()).collect();
    let title = match numbers.as_slice() {
        [a, b] => format!("Run {a} and run {b}"),
        [others @ .., last] => format!("Runs {} and {last}", others.join(", ")),
        [] => String::new(),
    };
    let json = |diff: &RunDiff| format!("/api/v1/runs/{}/diff/{}", diff.a.number, diff.b.number);
    Content {
        title,
        runs: runs.into_iter().map(side).collect(),
        same_manifest: diffs.iter().all(|diff| diff.same_manifest),
        json: diffs.iter().map(json).collect(),
        lists: diffs
            .iter()
            .map(lists)
            .reduce(|all, more| all.into_iter().zip(more).map(beside).collect())
            .unwrap_or_default(),
    }
}

/// Returns what is compared of the first run and another one.
fn lists(diff: &RunDiff) -> Vec<List> {
    let param = |it: &ParamDiff| {
        let name = it.action.as_ref().map_or_else(|| it.name.clone(), |action| format!("{action}: {}", it.name));
        Row::new(name, whole(value(it.a.as_ref())), whole(value(it.b.as_ref())), None, it.same)
    };
    let timing = |it: &TimingDiff| {
        let (a, b) = (whole(took(it.a.as_ref())), whole(took(it.b.as_ref())));
        Row::new(it.action.clone(), a, b, it.change_percent.map(percent), it.a == it.b)
    };
    let component =
        |it: &ComponentDiff| Row::new(it.action.clone(), whole(digest(it.a)), whole(digest(it.b)), None, it.same);
    vec![
        list("params", "Params", &diff.params, param),
        list("metrics", "Metrics", &diff.metrics, metric),
        list("timings", "Timings", &diff.timings, timing),
        list("components", "Components", &diff.components, component),
        list("inputs", "Inputs", &diff.inputs, file),
        list("outputs", "Outputs", &diff.outputs, file),
    ]
}

/// Adds the column of one more run to a list. Where a list does not have a row, that run has there
/// what the first run has, or the row is left out.
fn beside((mut all, more): (List, List)) -> List {
    let absent = |first: &text::Numeral, left_out: usize| Cell {
        value: if left_out > 0 { whole(LEFT_OUT.to_owned()) } else { first.clone() },
        change: None,
        same: left_out == 0,
    };
    let mut rows: BTreeMap<String, Row> = more.rows.into_iter().map(|row| (row.name.clone(), row)).collect();
    for row in &mut all.rows {
        let cell = rows.remove(&row.name).and_then(|row| row.others.into_iter().next());
        row.others.push(cell.unwrap_or_else(|| absent(&row.first, more.left_out)));
    }
    for row in rows.into_values() {
        let mut others = vec![absent(&row.first, all.left_out); all.columns];
        others.extend(row.others);
        all.rows.push(Row { others, ..row });
    }
    // What differs comes first.
    all.rows.sort_by_key(Row::is_same);
    List {
        columns: all.columns + 1,
        different: all.rows.iter().filter(|row| !row.is_same()).count(),
        equal: all.equal.min(more.equal),
        left_out: all.left_out.max(more.left_out),
        ..all
    }
}

fn side(run: &DiffRun) -> Side {
    let (kind, state) = look::run(run.state);
    Side {
        number: run.number,
        kind,
        state,
        trigger: run.trigger.clone(),
        took: run.took_us.map(|took| text::span(Duration::from_micros(took))),
        incomplete: run.incomplete.clone(),
    }
}

fn list<T>(id: &'static str, title: &'static str, list: &DiffList<T>, row: impl Fn(&T) -> Row) -> List {
    let rows = list.items.iter().map(row).collect();
    let DiffList { different, equal, left_out, .. } = *list;
    List { id, title, rows, columns: 1, different, equal, left_out }
}

fn metric(metric: &MetricDiff) -> Row {
    let number =
        |number: Option<Number>| number.map_or_else(|| whole(NOTHING.to_owned()), |number| text::numeral(number.0));
    let change = metric.change.filter(|_| !metric.same).map(|change| {
        let percent = metric.change_percent.map(|it| format!(" ({})", percent(it))).unwrap_or_default();
        let (sign, size) = if change.0 < 0.0 { ("−", -change.0) } else { ("+", change.0) };
        format!("{sign}{}{percent}", text::numeral(size).0)
    });
    let name = format!("{}: {}", metric.action, metric.name);
    Row::new(name, number(metric.a), number(metric.b), change, metric.same)
}

fn percent(number: Number) -> String {
    double::percent(number.0).replace('-', "−")
}

/// Returns the time that an action took; it took none if it has not run.
fn took(record: Option<&ActionRecord>) -> String {
    let ran = record.filter(|record| record.attempts > 0);
    ran.map_or_else(|| NOTHING.to_owned(), |record| text::span(Duration::from_micros(record.took_us)))
}

/// A text that is displayed in full, unless it is very long.
fn whole(text: String) -> text::Numeral {
    (cut(&text, MOST_SHOWN).into_owned(), text)
}

fn value(value: Option<&Value>) -> String {
    match value {
        None => NOTHING.to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn digest(digest: Option<Digest>) -> String {
    digest.map_or_else(|| NOTHING.to_owned(), |digest| digest.hex().chars().take(DIGEST_CHARS).collect())
}

fn file(file: &FileDiff) -> Row {
    let version = |version: Option<&FileVersion>| {
        version.map_or_else(|| NOTHING.to_owned(), |it| format!("v{}, {}", it.version, ByteSize(it.size)))
    };
    let by = file.action.as_ref().map(|action| format!(" ({action})")).unwrap_or_default();
    let name = format!("{}/{}{by}", file.resource, file.path);
    let [a, b] = [&file.a, &file.b].map(|it| whole(version(it.as_ref())));
    Row::new(name, a, b, None, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list_of(rows: &[(&str, &str, &str)], left_out: usize) -> List {
        let row = |(name, a, b): &(&str, &str, &str)| {
            Row::new((*name).to_owned(), whole((*a).to_owned()), whole((*b).to_owned()), None, a == b)
        };
        let rows = rows.iter().map(row).collect();
        List { id: "x", title: "X", rows, columns: 1, different: 0, equal: 3, left_out }
    }

    fn shown(list: &List) -> Vec<String> {
        let row = |row: &Row| {
            let cells = row.others.iter().map(|cell| format!("{}{}", cell.value.0, if cell.same { "" } else { "*" }));
            format!("{} {} {}", row.name, row.first.0, cells.collect::<Vec<_>>().join(" "))
        };
        list.rows.iter().map(row).collect()
    }

    #[test]
    fn rows_of_several_runs_stand_beside_each_other_and_what_differs_comes_first() {
        let second = list_of(&[("a", "1", "1"), ("b", "1", "2")], 0);
        let third = list_of(&[("b", "1", "1"), ("c", "5", "6")], 0);
        let both = beside((second, third));
        assert_eq!(shown(&both), ["b 1 2* 1", "c 5 5 6*", "a 1 1 1"]);
        assert_eq!((both.columns, both.different), (2, 2));
        let all = beside((both, list_of(&[("a", "1", "7")], 2)));
        assert_eq!(shown(&all), ["b 1 2* 1 not shown*", "c 5 5 6* not shown*", "a 1 1 1 7*"]);
        assert_eq!((all.columns, all.left_out), (3, 2));
    }
}
