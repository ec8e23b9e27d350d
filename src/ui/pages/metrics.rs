//! `/runs/metrics`: any metric over runs, as a chart and as a table.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;

use super::headline::changed;
use super::metric_names::{self, MetricName};
use crate::base::{Clock as _, SystemClock, Timestamp, When};
use crate::model::Run;
use crate::scheduler::View;
use crate::store::{FactQuery, PageRequest, RunQuery};
use crate::ui::chart::{self, Chart, Line, Over, Point};
use crate::ui::page::{self, Head, Params, Result, Section};
use crate::ui::{Pages, text};

const PATH: &str = "/runs/metrics";
/// The choices of how many runs are looked at.
const RUNS: [u32; 3] = [30, 10, 100];
/// Most metrics at once.
const METRICS: usize = 4;
/// Metrics that are shown while none is chosen.
const FIRST: usize = 2;
/// Most names to choose from. Another one can be written.
const NAMES: usize = 24;
/// How many of the newest values of a metric in a run are looked at for the last one of each
/// action.
const VALUES: u32 = 20;
/// The same where one action is chosen: the others may have recorded theirs after it.
const VALUES_OF_ACTION: u32 = 200;

#[derive(Debug, Serialize)]
struct Content {
    /// Why what is written in the fields is no filter.
    wrong: Option<String>,
    /// Whether any metric is on record.
    is_any: bool,
    /// The names to choose from, and whether they are chosen.
    names: Vec<(String, bool)>,
    actions: Vec<(String, bool)>,
    runs: Vec<(u32, bool)>,
    since: String,
    until: String,
    is_log: bool,
    panels: Vec<Panel>,
    /// How many metrics were chosen and are not shown.
    left_out: usize,
    first: Option<String>,
    next: Option<String>,
}

/// A metric.
#[derive(Debug, Serialize)]
struct Panel {
    name: String,
    chart: Chart,
    /// Whether several actions have recorded it.
    has_actions: bool,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    run: u64,
    action: String,
    value: text::Numeral,
    /// The change from the run before.
    change: Option<String>,
    at: text::Moment,
}

/// The last value of an action in a run.
struct Last<'a> {
    run: &'a Run,
    action: String,
    value: f64,
    at: Timestamp,
}

/// `GET /runs/metrics`
pub(in crate::ui) async fn show(State(pages): State<Pages>, uri: Uri) -> Response {
    let content = gather(&pages.view, &uri).await;
    let head = |wrong| Head::of(Section::Metrics, "metrics.html", "Metrics").wrong(wrong);
    page::answer(&pages, content.map(|content| (head(content.wrong.is_some()), content))).await
}

async fn gather(view: &View, uri: &Uri) -> Result<Content> {
    let (params, now) = (Params::of(uri)?, SystemClock.now());
    let known = metric_names::recent(view).await?;
    let (query, wrong) = page::or_wrong(query(&params, now))?;
    let limit = params.parsed::<u32>("runs", "Runs")?.unwrap_or(RUNS[0]).clamp(1, 100);
    let page = view.store.runs(query, params.page(limit)).await?;
    let action = params.text("action");
    let names = chosen(&params, &known);
    let is_log = params.text("scale") == Some("log");
    let mut panels = Vec::new();
    for name in names.iter().take(if wrong.is_some() { 0 } else { METRICS }) {
        panels.push(panel(name, is_log, &lasts(view, &page.items, name, action).await?));
    }
    let field = |name| params.text(name).unwrap_or_default().to_owned();
    Ok(Content {
        is_any: !known.is_empty(),
        actions: actions(&known, action),
        names: choices(known, &names),
        runs: RUNS.map(|runs| (runs, runs == limit)).into(),
        since: field("since"),
        until: field("until"),
        is_log,
        left_out: if wrong.is_some() { 0 } else { names.len() - panels.len() },
        wrong,
        panels,
        first: params.text("cursor").map(|_| params.link(PATH, &["cursor"], &[])),
        next: page.next_cursor.map(|cursor| params.link(PATH, &["cursor"], &[("cursor", &cursor)])),
    })
}

/// Reads which runs the address asks for.
fn query(params: &Params, now: Timestamp) -> Result<RunQuery> {
    let time = |name, label| Ok::<_, page::Refusal>(params.parsed::<When>(name, label)?.map(|when| when.at(now)));
    let (since, until) = (time("since", "Created since")?, time("until", "Created before")?);
    Ok(RunQuery { since, until, ..RunQuery::default() })
}

/// Returns the names that the address asks for, or the first ones.
fn chosen(params: &Params, known: &[MetricName]) -> Vec<String> {
    let mut chosen: Vec<String> = Vec::new();
    for name in params.all("name") {
        if !chosen.iter().any(|other| other == name) {
            chosen.push(name.to_owned());
        }
    }
    if chosen.is_empty() { known.iter().take(FIRST).map(|known| known.name.clone()).collect() } else { chosen }
}

fn choices(known: Vec<MetricName>, chosen: &[String]) -> Vec<(String, bool)> {
    let mut names: Vec<String> = known.into_iter().map(|known| known.name).take(NAMES).collect();
    names.extend(chosen.iter().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>());
    names.into_iter().map(|name| (chosen.contains(&name), name)).map(|(is, name)| (name, is)).collect()
}

fn actions(known: &[MetricName], chosen: Option<&str>) -> Vec<(String, bool)> {
    let mut names: Vec<&str> = Vec::new();
    for name in known.iter().flat_map(|known| &known.actions).map(String::as_str).chain(chosen) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().map(|name| (name.to_owned(), Some(name) == chosen)).collect()
}

/// Returns the last value of each action in each run, in the order of the runs.
async fn lasts<'a>(view: &View, runs: &'a [Run], name: &str, action: Option<&str>) -> Result<Vec<Last<'a>>> {
    let mut lasts: Vec<Last<'a>> = Vec::new();
    for run in runs {
        let query =
            FactQuery { run: Some(run.id), name: Some(name.to_owned()), succeeded_only: true, ..FactQuery::default() };
        let limit = if action.is_some() { VALUES_OF_ACTION } else { VALUES };
        let values = view.store.metrics(query, PageRequest { cursor: None, limit }).await?.items;
        let first = lasts.len();
        for value in values {
            let is_wanted = action.is_none_or(|action| action == value.action);
            if is_wanted && !lasts.iter().skip(first).any(|last| last.action == value.action) {
                lasts.push(Last { run, action: value.action, value: value.value, at: value.recorded_at });
            }
        }
    }
    Ok(lasts)
}

/// Shows the last values of a metric, those of the newest run first.
fn panel(name: &str, is_log: bool, lasts: &[Last<'_>]) -> Panel {
    let mut lines: BTreeMap<&str, Line> = BTreeMap::new();
    let mut rows = Vec::new();
    for (at, last) in lasts.iter().enumerate() {
        let new = || Line { name: last.action.clone(), href: None, points: Vec::new() };
        let number = last.run.number;
        let point = Point { row: number, x: chart::place(number), y: last.value };
        lines.entry(&last.action).or_insert_with(new).points.push(point);
        let before = lasts.iter().skip(at + 1).find(|other| other.action == last.action);
        let change = before.map(|before| last.value - before.value).filter(|change| change.is_finite());
        rows.push(Row {
            run: number,
            action: last.action.clone(),
            value: text::numeral(last.value),
            change: change.map(changed),
            at: text::both(last.at),
        });
    }
    let has_actions = lines.len() > 1;
    let chart = chart::draw(name, "", Over::Run, is_log, lines.into_values().collect()).without_table();
    Panel { name: name.to_owned(), chart, has_actions, rows }
}

#[cfg(test)]
mod tests {
    use super::{Params, actions, choices, chosen};
    use crate::ui::pages::metric_names::MetricName;

    fn known() -> Vec<MetricName> {
        let name = |name: &str, has_steps, action: &str| MetricName {
            name: name.to_owned(),
            has_steps,
            actions: vec![action.to_owned()],
        };
        vec![name("recall", false, "evaluate"), name("area", false, "evaluate"), name("loss", true, "train")]
    }

    fn params(query: &str) -> Params {
        Params::of(&format!("/runs/metrics?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn the_first_names_are_chosen_until_the_reader_chooses() {
        assert_eq!(chosen(&params(""), &known()), ["recall", "area"]);
        assert_eq!(chosen(&params("name=loss&name=&name=x&name=loss"), &known()), ["loss", "x"]);
        assert!(chosen(&params(""), &[]).is_empty());
    }

    #[test]
    fn what_was_chosen_stays_to_choose_even_if_it_is_not_known() {
        let names = choices(known(), &["loss".to_owned(), "gone".to_owned()]);
        let chosen: Vec<&str> = names.iter().filter(|(_, is)| *is).map(|(name, _)| name.as_str()).collect();
        assert_eq!((names.len(), chosen), (4, vec!["loss", "gone"]));
        let names = actions(&known(), Some("gone"));
        let names: Vec<_> = names.iter().map(|(name, is)| (name.as_str(), *is)).collect();
        assert_eq!(names, [("evaluate", false), ("train", false), ("gone", true)]);
    }
}
