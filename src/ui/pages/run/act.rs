//! What a person can do about a run: retry it, start it again, cancel it. Each is a form whose
//! confirmation says what will happen.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::{overview, top};
use crate::base::RunId;
use crate::model::Run;
use crate::scheduler::{Inputs, actions_from};
use crate::store::StoreError;
use crate::ui::Pages;
use crate::ui::form::{self, UNREADABLE};
use crate::ui::page::{self, refused_write};

#[derive(Debug, Deserialize)]
struct AgainForm {
    /// The id of the new run.
    id: String,
}

#[derive(Debug, Deserialize)]
struct RetryForm {
    /// The action from which on all is done again.
    from: Option<String>,
}

/// `POST /runs/{run}/retry`: retries a run, from an action on if the form names one.
pub(in crate::ui) async fn retry(State(pages): State<Pages>, Path(name): Path<String>, body: Body) -> Response {
    let id = match top::find(&pages.view, &name).await {
        Ok(detail) => detail.run.id,
        Err(refusal) => return page::refused(&pages, refusal).await,
    };
    let Some(RetryForm { from }) = form::read(body).await else {
        return overview::render(&pages, &name, Some((StatusCode::BAD_REQUEST, UNREADABLE.to_owned()))).await;
    };
    let view = &pages.view;
    let result = match actions_from(view.store.as_ref(), id, from.as_deref(), &view.pipeline()).await {
        Ok(again) => view.control.retry(id, again).await,
        Err(error) => Err(error),
    };
    done(&pages, &name, result).await
}

/// `POST /runs/{run}/cancel`
pub(in crate::ui) async fn cancel(State(pages): State<Pages>, Path(name): Path<String>) -> Response {
    let id = match top::find(&pages.view, &name).await {
        Ok(detail) => detail.run.id,
        Err(refusal) => return page::refused(&pages, refusal).await,
    };
    done(&pages, &name, pages.view.control.cancel(id).await).await
}

/// `POST /runs/{run}/again`: starts another run on the same inputs. The form has the id of the new
/// run, so a form that is sent twice starts one.
pub(in crate::ui) async fn again(State(pages): State<Pages>, Path(name): Path<String>, body: Body) -> Response {
    let old = match top::find(&pages.view, &name).await {
        Ok(detail) => detail.run.id,
        Err(refusal) => return page::refused(&pages, refusal).await,
    };
    let id = form::read::<AgainForm>(body).await.and_then(|form| form.id.parse::<RunId>().ok());
    let Some(id) = id.filter(RunId::is_version_7) else {
        return overview::render(&pages, &name, Some((StatusCode::BAD_REQUEST, UNREADABLE.to_owned()))).await;
    };
    done(&pages, &name, pages.view.control.start(id, None, Inputs::Of(old)).await.map(Some)).await
}

/// Leads to the run, or says why it was not done.
async fn done(pages: &Pages, name: &str, result: Result<Option<Run>, StoreError>) -> Response {
    match result {
        Ok(Some(run)) => (StatusCode::SEE_OTHER, [(header::LOCATION, format!("/runs/{}", run.number))]).into_response(),
        Ok(None) => overview::render(pages, name, None).await,
        Err(error) => overview::render(pages, name, Some((refused_write(&error), error.to_string()))).await,
    }
}
