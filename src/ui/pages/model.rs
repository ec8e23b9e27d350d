//! `/models/{name}`: one model, and the forms that move its aliases.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde::Serialize;

use crate::base::bounds::{MAX_ARTIFACT_TAG_BYTES, MAX_DECIDER_CHARS, MAX_NOTE_CHARS};
use crate::base::{ByteSize, RunId, escape};
use crate::model::{AliasMove, MetricRecord, ModelAlias, ModelDetail, ModelVersion};
use crate::scheduler::View;
use crate::store::{AliasTarget, FactQuery, PageRequest};
use crate::ui::form::{self, UNREADABLE, lead_to};
use crate::ui::page::{self, Head, Params, Refusal, Result, Section, refused_write};
use crate::ui::{Pages, text};

/// Versions on a page.
const VERSIONS: u32 = 25;
/// Moves that are listed; the API has all.
const MOVES: u32 = 50;
/// Metrics that are shown of each version.
const METRICS: usize = 3;
/// Metrics of a run among which those are chosen.
const LOOKED_AT: u32 = 200;

#[derive(Debug, Serialize)]
struct Content {
    name: String,
    aliases: Vec<Alias>,
    card: Option<String>,
    metrics: Vec<String>,
    versions: Vec<Version>,
    moves: Vec<Move>,
    more_moves: bool,
    max_alias: usize,
    max_by: usize,
    max_note: usize,
    first: Option<String>,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Alias {
    name: String,
    version: u64,
    artifact: String,
    since: text::Moment,
    /// The version to which a rollback returns.
    back: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Version {
    number: u64,
    aliases: Vec<String>,
    artifact: String,
    resource: String,
    path: String,
    size: String,
    /// Whether its content is in its place.
    is_there: bool,
    run: Option<u64>,
    /// The values of the metrics, in their order.
    values: Vec<Option<text::Numeral>>,
    registered: text::Moment,
    by: Option<String>,
    note: Option<String>,
}

#[derive(Debug, Serialize)]
struct Move {
    at: text::Moment,
    alias: String,
    version: u64,
    before: Option<u64>,
    rolled_back: bool,
    by: Option<String>,
    /// The action that moved it, and the number of its run.
    action: Option<(String, u64)>,
    note: Option<String>,
}

/// `GET /models/{name}`
pub(in crate::ui) async fn show(State(pages): State<Pages>, Path(name): Path<String>, uri: Uri) -> Response {
    render(&pages, &name, &uri, None).await
}

/// Answers with the page. `refusal` says why an alias was not moved, and with which status.
async fn render(pages: &Pages, name: &str, uri: &Uri, refusal: Option<(StatusCode, String)>) -> Response {
    let content = gather(&pages.view, name, uri).await;
    let mut head = Head::below(Section::Models, "model.html", name);
    if let Some((status, why)) = refusal {
        head = head.refusing(status, why, address(name));
    }
    page::answer(pages, content.map(|content| (head, content))).await
}

fn address(name: &str) -> String {
    format!("/models/{}", text::encoded(name))
}

async fn gather(view: &View, name: &str, uri: &Uri) -> Result<Content> {
    let params = Params::of(uri)?;
    let missing = || Refusal::Missing(format!("There is no model {}.", escape(name.as_bytes())));
    let model = view.store.model(name).await?.ok_or_else(missing)?;
    let page = view.store.model_versions(name, params.page(VERSIONS)).await?;
    let moves = view.store.alias_moves(name, PageRequest { cursor: None, limit: MOVES }).await?;
    let metrics = match page.items.iter().find_map(|version| version.run_id) {
        Some(run) => names(&of_run(view, run).await?),
        None => Vec::new(),
    };
    let values = values(view, &page.items, &metrics).await?;
    let here = address(name);
    Ok(Content {
        versions: page.items.into_iter().map(|version| self::version(version, &model, &metrics, &values)).collect(),
        name: model.name,
        aliases: model.aliases.into_iter().map(alias).collect(),
        card: model.card.filter(|card| !card.trim().is_empty()),
        metrics,
        moves: moves.items.into_iter().map(moved).collect(),
        more_moves: moves.next_cursor.is_some(),
        max_alias: MAX_ARTIFACT_TAG_BYTES,
        max_by: MAX_DECIDER_CHARS,
        max_note: MAX_NOTE_CHARS,
        first: params.text("cursor").map(|_| here.clone()),
        next: page.next_cursor.map(|cursor| params.link(&here, &["cursor"], &[("cursor", &cursor)])),
    })
}

async fn of_run(view: &View, run: RunId) -> Result<Vec<MetricRecord>> {
    let query = FactQuery { run: Some(run), succeeded_only: true, ..FactQuery::default() };
    Ok(view.store.metrics(query, PageRequest { cursor: None, limit: LOOKED_AT }).await?.items)
}

/// Chooses the metrics to show: the first ones of the last action that has recorded any, which is
/// the one that evaluates. `recorded` are the metrics of a run, newest first.
fn names(recorded: &[MetricRecord]) -> Vec<String> {
    let Some(last) = recorded.first() else { return Vec::new() };
    let mut names: Vec<String> = Vec::new();
    for metric in recorded.iter().rev().filter(|metric| metric.action == last.action) {
        if !names.contains(&metric.name) {
            names.push(metric.name.clone());
        }
    }
    names.truncate(METRICS);
    names
}

/// Returns the last value of each of these metrics in the runs of versions.
async fn values(view: &View, versions: &[ModelVersion], names: &[String]) -> Result<BTreeMap<(RunId, String), f64>> {
    let wanted = versions.iter().filter_map(|version| version.run_id).flat_map(|run| {
        names.iter().map(move |name| async move {
            let query =
                FactQuery { run: Some(run), name: Some(name.clone()), succeeded_only: true, ..FactQuery::default() };
            let last = view.store.metrics(query, PageRequest { cursor: None, limit: 1 }).await?.items.pop();
            Ok::<_, Refusal>(last.map(|last| ((run, name.clone()), last.value)))
        })
    });
    Ok(try_join_all(wanted).await?.into_iter().flatten().collect())
}

fn alias(alias: ModelAlias) -> Alias {
    Alias {
        name: alias.alias,
        version: alias.version,
        artifact: text::artifact_address(alias.artifact_id),
        since: text::both(alias.since),
        back: alias.rollback_to,
    }
}

fn version(
    version: ModelVersion,
    model: &ModelDetail,
    metrics: &[String],
    values: &BTreeMap<(RunId, String), f64>,
) -> Version {
    let value = |name: &String| values.get(&(version.run_id?, name.clone())).map(|value| text::numeral(*value));
    Version {
        aliases: model.aliases_of(version.version).map(str::to_owned).collect(),
        values: metrics.iter().map(value).collect(),
        number: version.version,
        artifact: text::artifact_address(version.artifact.id),
        is_there: version.artifact.is_readable(),
        resource: version.artifact.resource,
        path: version.artifact.path,
        size: ByteSize(version.artifact.size).to_string(),
        run: version.run_number,
        registered: text::both(version.registered_at),
        by: version.by,
        note: version.note,
    }
}

fn moved(moved: AliasMove) -> Move {
    Move {
        at: text::both(moved.at),
        alias: moved.alias,
        version: moved.version,
        before: moved.before,
        rolled_back: moved.rolled_back,
        by: moved.by,
        action: moved.action.zip(moved.run_number),
        note: moved.note,
    }
}

/// The form that promotes. The one that rolls back has no version.
#[derive(Debug, Deserialize)]
struct Form {
    alias: String,
    version: Option<u64>,
    #[serde(default)]
    by: String,
    #[serde(default)]
    note: String,
}

/// `POST /models/{name}/promote`
pub(in crate::ui) async fn promote(State(pages): State<Pages>, Path(name): Path<String>, body: Body) -> Response {
    let form = form::read::<Form>(body).await.filter(|form| form.version.is_some());
    move_alias(&pages, name, form).await
}

/// `POST /models/{name}/rollback`
pub(in crate::ui) async fn roll_back(State(pages): State<Pages>, Path(name): Path<String>, body: Body) -> Response {
    let form = form::read::<Form>(body).await.filter(|form| form.version.is_none());
    move_alias(&pages, name, form).await
}

/// Moves the alias as the form says, and leads back to the page. If it is not moved, the page says
/// why.
async fn move_alias(pages: &Pages, name: String, form: Option<Form>) -> Response {
    let Some(Form { alias, version, by, note }) = form else {
        let refusal = (StatusCode::BAD_REQUEST, UNREADABLE.to_owned());
        return render(pages, &name, &Uri::default(), Some(refusal)).await;
    };
    let text = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let alias = alias.trim().to_owned();
    let to = AliasTarget { model: name.clone(), alias, version, by: text(by), note: text(note) };
    match pages.view.control.move_alias(to).await {
        Ok(_) => lead_to(&address(&name)),
        Err(error) => {
            let refusal = (refused_write(&error), error.to_string());
            render(pages, &name, &Uri::default(), Some(refusal)).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::names;
    use crate::base::{AttemptId, RunId, Timestamp};
    use crate::model::MetricRecord;

    #[test]
    fn the_first_metrics_of_the_last_action_are_shown() {
        let metric = |seq: u64, action: &str, name: &str| MetricRecord {
            seq,
            run_id: RunId::new(),
            run_number: 1,
            action: action.to_owned(),
            attempt_id: AttemptId::new(),
            succeeded: true,
            name: name.to_owned(),
            value: 0.5,
            step: None,
            recorded_at: Timestamp::from_micros(0),
        };
        let evaluate = ["rows", "accuracy", "rows", "recall", "precision"];
        let mut recorded = vec![metric(1, "train", "loss"), metric(2, "train", "loss")];
        recorded.extend((3..).zip(evaluate).map(|(seq, name)| metric(seq, "evaluate", name)));
        recorded.reverse();
        assert_eq!(names(&recorded), ["rows", "accuracy", "recall"]);
        assert!(names(&[]).is_empty());
    }
}
