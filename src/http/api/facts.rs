//! `/api/v1/metrics`, `/params`, `/tags`, `/triggers`: the records of actions and triggers.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;

use super::List;
use crate::base::{Clock as _, SystemClock};
use crate::http::App;
use crate::http::problem::Result;
use crate::http::query::Query;
use crate::model::{MetricRecord, ParamRecord, RunTag, Tick};
use crate::scheduler::{Preview, View, preview_triggers};
use crate::store::{FactQuery, PageRequest, TickQuery};

async fn facts(view: &View, uri: &Uri) -> Result<(FactQuery, PageRequest)> {
    let query = Query::parse(uri, &["name", "run", "limit", "cursor"])?;
    let run = query.run(view, "run").await?;
    Ok((FactQuery { run, name: query.owned("name"), ..FactQuery::default() }, query.page()?))
}

/// `GET /api/v1/metrics`
pub(super) async fn metrics(State(app): State<App>, uri: Uri) -> Result<Json<List<MetricRecord>>> {
    let (query, page) = facts(&app.view, &uri).await?;
    Ok(Json(app.view.store.metrics(query, page).await?.into()))
}

/// `GET /api/v1/params`
pub(super) async fn params(State(app): State<App>, uri: Uri) -> Result<Json<List<ParamRecord>>> {
    let (query, page) = facts(&app.view, &uri).await?;
    Ok(Json(app.view.store.params(query, page).await?.into()))
}

/// `GET /api/v1/tags`
pub(super) async fn tags(State(app): State<App>, uri: Uri) -> Result<Json<List<RunTag>>> {
    let (query, page) = facts(&app.view, &uri).await?;
    Ok(Json(app.view.store.tags(query, page).await?.into()))
}

/// `GET /api/v1/triggers/preview`: what each trigger would do now.
pub(super) async fn preview(State(app): State<App>, uri: Uri) -> Result<Json<List<Preview>>> {
    Query::parse(&uri, &[])?;
    let (pipeline, watches) = (app.view.pipeline(), app.view.control.watches());
    let triggers = preview_triggers(app.view.store.as_ref(), &pipeline, Some(&watches), SystemClock.both()).await?;
    Ok(Json(List::whole(triggers)))
}

/// `GET /api/v1/triggers`
pub(super) async fn triggers(State(app): State<App>, uri: Uri) -> Result<Json<List<Tick>>> {
    let query = Query::parse(&uri, &["trigger", "resource", "limit", "cursor"])?;
    // The trigger of a resource has the resource's name.
    let filter = TickQuery { trigger: query.owned("trigger").or_else(|| query.owned("resource")) };
    Ok(Json(app.view.store.ticks(filter, query.page()?).await?.into()))
}
