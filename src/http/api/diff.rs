//! `/api/v1/runs/{a}/diff/{b}`: what differs between two runs.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;

use super::runs::no_run;
use crate::http::App;
use crate::http::problem::Result;
use crate::http::query::{Query, Segments, find_run};
use crate::model::RunDiff;
use crate::scheduler::diff_runs;

/// `GET /api/v1/runs/{id}/diff/{other}`
pub(super) async fn show(State(app): State<App>, Segments(a, b): Segments, uri: Uri) -> Result<Json<RunDiff>> {
    Query::parse(&uri, &[])?;
    let (a, b) = (find_run(&app.view, &a).await?, find_run(&app.view, &b).await?);
    for id in [a, b] {
        app.view.store.run_summary(id).await?.ok_or_else(|| no_run(id))?;
    }
    let diff = diff_runs(app.view.store.as_ref(), a, b).await?;
    Ok(Json(diff.ok_or_else(|| no_run(a))?))
}
