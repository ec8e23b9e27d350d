//! `/runs`: what ran, found by filters, and chosen for a comparison.

use std::time::Duration;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;

use crate::base::{Clock as _, SystemClock, Timestamp, When, bounds::cut};
use crate::model::{Run, RunState};
use crate::scheduler::View;
use crate::store::{RunQuery, RunSort};
use crate::ui::page::{self, Head, Params, Refusal, Result, Section};
use crate::ui::svg::bar;
use crate::ui::svg::scatter::{self, Scatter, Took};
use crate::ui::{Pages, look, text};

/// Runs on a page.
const RUNS: u32 = 50;
const PATH: &str = "/runs";
/// Most params of a run that a row shows.
const PARAMS: usize = 4;
/// Most characters of a param's value in a row.
const VALUE_CHARS: usize = 40;

#[derive(Debug, Serialize)]
struct Content {
    /// Why what is written in the fields is no filter.
    wrong: Option<String>,
    states: Vec<Choice>,
    /// The triggers of the manifest, and the one that is asked for.
    triggers: Vec<(String, bool)>,
    /// The orders, each with what it means.
    sorts: Vec<Order>,
    /// What is written in the other fields.
    since: String,
    until: String,
    param: String,
    tag: String,
    /// Whether a filter is set.
    filtered: bool,
    /// The durations of the runs on the page.
    scatter: Option<Scatter>,
    rows: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
}

/// A value of a filter.
#[derive(Debug, Serialize)]
struct Choice {
    kind: &'static str,
    word: &'static str,
    chosen: bool,
}

/// An order of the list.
#[derive(Debug, Serialize)]
struct Order {
    word: &'static str,
    text: &'static str,
    chosen: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    number: u64,
    kind: &'static str,
    state: &'static str,
    reason: Option<String>,
    trigger: String,
    partition: Option<String>,
    params: Vec<(String, String)>,
    more_params: usize,
    started: Option<text::Moment>,
    duration: Option<String>,
    /// The width of the bar beside the duration.
    bar: Option<String>,
}

/// `GET /runs`
pub(in crate::ui) async fn show(State(pages): State<Pages>, uri: Uri) -> Response {
    let content = gather(&pages.view, &uri).await;
    let head = |wrong| Head::of(Section::Runs, "runs.html", "Runs").wrong(wrong);
    page::answer(&pages, content.map(|content| (head(content.wrong.is_some()), content))).await
}

async fn gather(view: &View, uri: &Uri) -> Result<Content> {
    let (params, now) = (Params::of(uri)?, SystemClock.now());
    let (query, wrong) = page::or_wrong(query(&params, now))?;
    let field = |name| params.text(name).unwrap_or_default().to_owned();
    let states = RunState::ALL.iter().map(|state| {
        let (kind, word) = look::run(*state);
        let chosen = params.all("state").iter().any(|text| text.split(',').any(|it| it == state.as_str()));
        Choice { kind, word, chosen }
    });
    let states = states.collect();
    let filtered = query != RunQuery::default();
    let page = view.store.runs(query.clone(), params.page(RUNS)).await?;
    let runs = if wrong.is_some() { Vec::new() } else { page.items };
    let longest = runs.iter().filter_map(|run| duration(run, now)).max().unwrap_or_default();
    let took: Vec<Took> = runs.iter().filter_map(|run| point(run, now)).collect();
    Ok(Content {
        wrong,
        scatter: scatter::draw(&took),
        triggers: triggers(view, params.text("trigger")),
        sorts: sorts(query.sort),
        since: field("since"),
        until: field("until"),
        param: field("param"),
        tag: field("tag"),
        states,
        filtered,
        rows: runs.into_iter().map(|run| row(run, longest, now)).collect(),
        first: params.text("cursor").map(|_| params.link(PATH, &["cursor"], &[])),
        next: page.next_cursor.map(|cursor| params.link(PATH, &["cursor"], &[("cursor", &cursor)])),
    })
}

/// Reads the filters.
fn query(params: &Params, now: Timestamp) -> Result<RunQuery> {
    let words = params.all("state").into_iter().flat_map(|text| text.split(',')).filter(|word| !word.is_empty());
    let states: std::result::Result<Vec<RunState>, _> = words.map(str::parse::<RunState>).collect();
    let states = states.map_err(|error| Refusal::Invalid(format!("The state of a run is not valid: {error}.")))?;
    let time = |name, label| Ok::<_, Refusal>(params.parsed::<When>(name, label)?.map(|when| when.at(now)));
    Ok(RunQuery {
        states,
        trigger: params.text("trigger").map(str::to_owned),
        since: time("since", "Created since")?,
        until: time("until", "Created before")?,
        param: params.parsed("param", "Param")?,
        tag: params.parsed("tag", "Tag")?,
        before_run: None,
        sort: params.parsed("sort", "Order")?.unwrap_or_default(),
    })
}

/// Returns the triggers of the manifest, and one that is asked for and is not in it any more.
fn triggers(view: &View, chosen: Option<&str>) -> Vec<(String, bool)> {
    let pipeline = view.pipeline();
    let resources = pipeline.resources.iter().filter(|resource| resource.watch).map(|resource| resource.name.as_str());
    let mut names: Vec<&str> = resources.chain(pipeline.triggers.iter().map(|trigger| trigger.name.as_str())).collect();
    names.extend(chosen.filter(|name| !names.contains(name)));
    names.into_iter().map(|name| (name.to_owned(), Some(name) == chosen)).collect()
}

fn sorts(chosen: RunSort) -> Vec<Order> {
    let texts = RunSort::ALL.map(|sort| match sort {
        RunSort::Newest => (sort, "Newest first"),
        RunSort::Oldest => (sort, "Oldest first"),
        RunSort::Longest => (sort, "Longest first"),
        RunSort::Shortest => (sort, "Shortest first"),
    });
    texts.map(|(sort, text)| Order { word: sort.as_str(), text, chosen: sort == chosen }).into()
}

/// Returns how long a run took, or has taken.
fn duration(run: &Run, now: Timestamp) -> Option<Duration> {
    run.started_at.map(|started| run.ended_at.unwrap_or(now).since(started))
}

fn point(run: &Run, now: Timestamp) -> Option<Took> {
    let (kind, state) = look::run(run.state);
    duration(run, now).map(|span| Took { number: run.number, kind, state, span })
}

fn row(run: Run, longest: Duration, now: Timestamp) -> Row {
    let (kind, state) = look::run(run.state);
    let took = duration(&run, now);
    let params = run.params.as_object().map(|params| params.iter().map(param).collect::<Vec<_>>()).unwrap_or_default();
    Row {
        number: run.number,
        kind,
        state,
        reason: run.reason.filter(|reason| !reason.is_empty()).as_deref().map(text::in_list),
        trigger: run.trigger,
        partition: run.partition,
        more_params: params.len().saturating_sub(PARAMS),
        params: params.into_iter().take(PARAMS).collect(),
        started: run.started_at.map(text::both),
        duration: took.map(text::span),
        bar: took.map(|took| bar::width(took, longest)),
    }
}

/// Returns a param in short: its name, and its value.
pub(super) fn param((name, value): (&String, &serde_json::Value)) -> (String, String) {
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    (name.clone(), cut(&value, VALUE_CHARS).into_owned())
}

#[cfg(test)]
mod tests {
    use super::Params;
    use crate::base::Timestamp;
    use crate::model::RunState;
    use crate::store::{RunQuery, RunSort};

    fn query(query: &str) -> Result<RunQuery, String> {
        let params = Params::of(&format!("/runs?{query}").parse().unwrap()).unwrap();
        super::query(&params, Timestamp::from_micros(3_600_000_000)).map_err(|refusal| format!("{refusal:?}"))
    }

    #[test]
    fn states_are_given_one_by_one_or_as_a_list() {
        let states = |text: &str| query(text).map(|query| query.states);
        let both = vec![RunState::Failed, RunState::Running];
        assert_eq!(states("state=failed&state=running"), Ok(both.clone()));
        assert_eq!(states("state=failed,running&other=1"), Ok(both));
        assert_eq!(states("state="), Ok(vec![]));
        assert!(states("state=broken").unwrap_err().contains("`broken` is not one of queued"));
    }

    #[test]
    fn the_other_fields_filter_and_sort() {
        let found = query("trigger=raw&since=1h&param=lr%3D0.1&tag=stage&sort=longest").unwrap();
        assert_eq!((found.trigger.as_deref(), found.since), (Some("raw"), Some(Timestamp::from_micros(0))));
        assert_eq!(found.param.map(|param| (param.name, param.value)), Some(("lr".to_owned(), "0.1".to_owned())));
        assert_eq!((found.tag.map(|tag| tag.name), found.sort), (Some("stage".to_owned()), RunSort::Longest));
        assert_eq!(query("trigger=&since=&param=&tag=&sort="), Ok(RunQuery::default()));
        for wrong in ["since=soon", "param=lr", "tag=%3Dx", "sort=best"] {
            assert!(query(wrong).unwrap_err().contains("is not valid"), "{wrong}");
        }
    }
}
