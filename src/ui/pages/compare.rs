//! `/runs/compare`: what differs between two runs.

use std::time::Duration;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use crate::base::double::Number;
use crate::base::{ByteSize, Digest, RunId};
use crate::model::{ActionRecord, DiffList, DiffRun, FileDiff, FileVersion, MetricDiff, RunDiff};
use crate::scheduler::{View, diff_runs};
use crate::ui::page::{self, Head, Params, Refusal, Result, Section};
use crate::ui::{Pages, look, text};

/// What stands where a run has nothing.
const NOTHING: &str = "–";
/// Characters of a digest that are shown.
const DIGEST_CHARS: usize = 12;

#[derive(Debug, Serialize)]
struct Content {
    runs: [Side; 2],
    same_manifest: bool,
    lists: Vec<List>,
    /// The same as JSON.
    json: String,
}

/// One of the two runs.
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
    different: usize,
    equal: usize,
    left_out: usize,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// What each run has: as it is displayed, and in full.
    a: text::Numeral,
    b: text::Numeral,
    /// The change from the first to the second.
    change: Option<String>,
    same: bool,
}

/// `GET /runs/compare?run=A&run=B`
pub(in crate::ui) async fn show(State(pages): State<Pages>, uri: Uri) -> Response {
    let content = gather(&pages.view, &uri).await;
    let head = |content: &Content| {
        let [a, b] = content.runs.each_ref().map(|run| run.number);
        Head::of(Section::Runs, "compare.html", format!("Run {a} and run {b}"))
    };
    page::answer(&pages, content.map(|content| (head(&content), content))).await
}

async fn gather(view: &View, uri: &Uri) -> Result<Content> {
    let params = Params::of(uri)?;
    let chosen = params.all("run");
    let [a, b] = chosen.as_slice() else {
        let was = if chosen.len() == 1 { "was" } else { "were" };
        let why = format!("Two runs are compared, and {} {was} chosen. Go back, and choose exactly two.", chosen.len());
        return Err(Refusal::Invalid(why));
    };
    let (a, b) = (find(view, a).await?, find(view, b).await?);
    let gone = || Refusal::Missing("One of the two runs is not on record any more.".to_owned());
    let diff = diff_runs(view.store.as_ref(), a, b).await?.ok_or_else(gone)?;
    Ok(content(&diff))
}

/// Returns the run of this number.
async fn find(view: &View, number: &str) -> Result<RunId> {
    let missing = || Refusal::Missing(format!("There is no run {number}."));
    let number: u64 = number.parse().map_err(|_| missing())?;
    view.store.run_by_number(number).await?.ok_or_else(missing)
}

fn content(diff: &RunDiff) -> Content {
    let lists = vec![
        list("params", "Params", &diff.params, |it| Row {
            name: it.action.as_ref().map_or_else(|| it.name.clone(), |action| format!("{action}: {}", it.name)),
            a: whole(value(it.a.as_ref())),
            b: whole(value(it.b.as_ref())),
            change: None,
            same: it.same,
        }),
        list("metrics", "Metrics", &diff.metrics, metric),
        list("timings", "Timings", &diff.timings, |it| Row {
            name: it.action.clone(),
            a: whole(took(it.a.as_ref())),
            b: whole(took(it.b.as_ref())),
            change: it.change_percent.map(percent),
            same: it.a == it.b,
        }),
        list("components", "Components", &diff.components, |it| Row {
            name: it.action.clone(),
            a: whole(digest(it.a)),
            b: whole(digest(it.b)),
            change: None,
            same: it.same,
        }),
        list("inputs", "Inputs", &diff.inputs, file),
        list("outputs", "Outputs", &diff.outputs, file),
    ];
    Content {
        runs: [side(&diff.a), side(&diff.b)],
        same_manifest: diff.same_manifest,
        lists,
        json: format!("/api/v1/runs/{}/diff/{}", diff.a.number, diff.b.number),
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
    List { id, title, rows, different: list.different, equal: list.equal, left_out: list.left_out }
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
    Row { name, a: number(metric.a), b: number(metric.b), change, same: metric.same }
}

fn percent(number: Number) -> String {
    format!("{:+.1} %", number.0).replace('-', "−")
}

/// Returns the time that an action took; it took none if it has not run.
fn took(record: Option<&ActionRecord>) -> String {
    let ran = record.filter(|record| record.attempts > 0);
    ran.map_or_else(|| NOTHING.to_owned(), |record| text::span(Duration::from_micros(record.took_us)))
}

/// A text that is displayed in full.
fn whole(text: String) -> text::Numeral {
    (text.clone(), text)
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
    Row { name, a, b, change: None, same: false }
}
