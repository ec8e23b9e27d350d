//! `POST /approvals`: the form of the home page that decides about an approval.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::home;
use crate::base::RunId;
use crate::model::Verdict;
use crate::ui::Pages;

/// Largest form, in bytes. A note of the longest characters fits, each byte written with three.
const MAX_FORM_BYTES: usize = 32 << 10;
/// How long a form may take to arrive.
const FORM_TIMEOUT: Duration = Duration::from_secs(15);

/// The form: each button has its verdict.
#[derive(Debug, Deserialize)]
struct Form {
    run: RunId,
    action: String,
    verdict: Verdict,
    #[serde(default)]
    by: String,
    #[serde(default)]
    note: String,
}

/// `POST /approvals`: decides, and leads back to the page. If the decision is not recorded, the
/// page says why.
pub(in crate::ui) async fn decide(State(pages): State<Pages>, body: Body) -> Response {
    let Some(Form { run, action, verdict, by, note }) = read(body).await else {
        return home::render(&pages, StatusCode::BAD_REQUEST, Some("the form could not be read".to_owned())).await;
    };
    match pages.view.control.decide(run, &action, verdict, Some(&by), Some(&note)).await {
        Ok(Some(_)) => (StatusCode::SEE_OTHER, [(header::LOCATION, "/")]).into_response(),
        Ok(None) => home::render(&pages, StatusCode::NOT_FOUND, Some(format!("there is no run {run}"))).await,
        Err(error) => home::render(&pages, StatusCode::CONFLICT, Some(error.to_string())).await,
    }
}

/// Reads a form. It is written like the query of an address.
async fn read(body: Body) -> Option<Form> {
    let bytes = tokio::time::timeout(FORM_TIMEOUT, to_bytes(body, MAX_FORM_BYTES)).await.ok()?.ok()?;
    let uri = Uri::builder().path_and_query(format!("/?{}", std::str::from_utf8(&bytes).ok()?)).build().ok()?;
    Query::<Form>::try_from_uri(&uri).ok().map(|Query(form)| form)
}
