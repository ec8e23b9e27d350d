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
use crate::store::StoreError;
use crate::ui::Pages;

/// Largest form, in bytes. A note of the longest characters fits, each byte written with three.
const MAX_FORM_BYTES: usize = 32 << 10;
/// How long a form may take to arrive.
const FORM_TIMEOUT: Duration = Duration::from_secs(15);

/// The form. Each button sends its verdict; `timed_out`, which only the host decides, is refused.
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
        Err(error) => home::render(&pages, status(&error), Some(error.to_string())).await,
    }
}

/// Reads a form. It is written like the query of an address.
async fn read(body: Body) -> Option<Form> {
    let bytes = tokio::time::timeout(FORM_TIMEOUT, to_bytes(body, MAX_FORM_BYTES)).await.ok()?.ok()?;
    let uri = Uri::builder().path_and_query(format!("/?{}", std::str::from_utf8(&bytes).ok()?)).build().ok()?;
    let Query(form) = Query::<Form>::try_from_uri(&uri).ok()?;
    (form.verdict != Verdict::TimedOut).then_some(form)
}

/// Returns the status for a decision that is not recorded.
fn status(error: &StoreError) -> StatusCode {
    match error {
        StoreError::Conflict(_) | StoreError::PathTaken { .. } | StoreError::Fenced { .. } => StatusCode::CONFLICT,
        StoreError::Invalid(_) => StatusCode::BAD_REQUEST,
        StoreError::Unavailable { .. }
        | StoreError::InUse { .. }
        | StoreError::StateInUse { .. }
        | StoreError::ReadOnly { .. }
        | StoreError::Lost { .. } => StatusCode::SERVICE_UNAVAILABLE,
        StoreError::Corrupt(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(verdict: &str) -> Body {
        Body::from(format!("run={}&action=publish&verdict={verdict}", RunId::new()))
    }

    #[tokio::test]
    async fn a_form_has_the_verdict_of_a_person() {
        assert_eq!(read(form("approved")).await.unwrap().verdict, Verdict::Approved);
        assert_eq!(read(form("rejected")).await.unwrap().verdict, Verdict::Rejected);
        assert!(read(form("timed_out")).await.is_none());
    }

    #[test]
    fn a_store_that_does_not_answer_is_no_conflict() {
        let unavailable = StoreError::Unavailable { doing: "decide".to_owned(), why: "disk I/O error".to_owned() };
        assert_eq!(status(&unavailable), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(&StoreError::Conflict("it was decided already".to_owned())), StatusCode::CONFLICT);
        assert_eq!(status(&StoreError::Invalid("the note is too long".to_owned())), StatusCode::BAD_REQUEST);
    }
}
