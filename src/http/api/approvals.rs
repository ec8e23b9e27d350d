//! Approvals: what waits for a person, and what the person decides.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Deserialize;
use utoipa::ToSchema;

use super::List;
use super::control::read;
use super::runs::{RunBody, find_progress, no_run};
use crate::http::App;
use crate::http::problem::{Problem, Result, shown};
use crate::http::query::{Query, Segments};
use crate::model::Verdict;
use crate::store::AwaitingApproval;

/// The body of a decision. An empty body counts as an empty object.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = DecisionRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct DecisionBody {
    /// Who decides; an unchecked text.
    #[schema(max_length = 200)]
    by: Option<String>,
    /// Why.
    #[schema(max_length = 2000)]
    note: Option<String>,
}

/// `GET /api/v1/approvals`: the actions that wait for approval, in the order in which they asked.
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Result<Json<List<AwaitingApproval>>> {
    let query = Query::parse(&uri, &["limit", "cursor"])?;
    Ok(Json(app.view.store.awaiting_approval(query.page()?).await?.into()))
}

/// `POST /api/v1/runs/{id}/actions/{name}/approve`
pub(super) async fn approve(
    State(app): State<App>,
    of: Segments,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<RunBody>> {
    decide(&app, of, &uri, &headers, body, Verdict::Approved).await
}

/// `POST /api/v1/runs/{id}/actions/{name}/reject`
pub(super) async fn reject(
    State(app): State<App>,
    of: Segments,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<RunBody>> {
    decide(&app, of, &uri, &headers, body, Verdict::Rejected).await
}

async fn decide(
    app: &App,
    Segments(run, action): Segments,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
    verdict: Verdict,
) -> Result<Json<RunBody>> {
    Query::parse(uri, &[])?;
    let DecisionBody { by, note } = read(app, headers, body).await?;
    let detail = find_progress(&app.view, &run).await?;
    if !detail.actions.iter().any(|known| known.name == action) {
        let problem = format!("run {} has no action `{}`", detail.run.number, shown(&action));
        let names = detail.actions.iter().map(|known| known.name.as_str());
        return Err(Problem::not_found(problem).choices(&action, names));
    }
    let id = detail.run.id;
    let run = app.view.control.decide(id, &action, verdict, by.as_deref(), note.as_deref()).await?;
    Ok(Json(RunBody::read(app.view.store.as_ref(), run.ok_or_else(|| no_run(id))?).await?))
}
