//! What waits for approval, on the home page, and the form that decides about it.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::home;
use crate::base::RunId;
use crate::base::bounds::{MAX_DECIDER_CHARS, MAX_NOTE_CHARS};
use crate::model::Verdict;
use crate::scheduler::View;
use crate::store::{AwaitingApproval, PageRequest, Result};
use crate::ui::{Pages, text};

/// Most approvals on the page.
const APPROVALS: u32 = 25;
/// Largest form, in bytes. A note of the longest characters fits, each byte written with three.
const MAX_FORM_BYTES: usize = 32 << 10;
/// How long a form may take to arrive.
const FORM_TIMEOUT: Duration = Duration::from_secs(15);

/// The approvals on the page.
#[derive(Debug, Serialize)]
pub(super) struct Approvals {
    rows: Vec<ApprovalRow>,
    /// Whether there are more.
    more: bool,
    max_by: usize,
    max_note: usize,
}

#[derive(Debug, Serialize)]
struct ApprovalRow {
    run: String,
    number: u64,
    action: String,
    who: String,
    /// Times in full, and as displayed.
    since: (String, String),
    until: Option<(String, String)>,
}

/// Returns what waits for approval.
pub(super) async fn gather(view: &View) -> Result<Approvals> {
    let page = view.store.awaiting_approval(PageRequest { cursor: None, limit: APPROVALS }).await?;
    Ok(Approvals {
        rows: page.items.into_iter().map(row).collect(),
        more: page.next_cursor.is_some(),
        max_by: MAX_DECIDER_CHARS,
        max_note: MAX_NOTE_CHARS,
    })
}

fn row(waits: AwaitingApproval) -> ApprovalRow {
    let AwaitingApproval { run_id, run_number, action, approval } = waits;
    let moment = |moment| (format!("{moment}"), text::moment(moment));
    ApprovalRow {
        run: run_id.to_string(),
        number: run_number,
        action,
        who: approval.who,
        since: moment(approval.since),
        until: approval.until.map(moment),
    }
}

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

/// `POST /approvals`: decides, and leads back to the page. If the decision is not recorded, the page
/// says why.
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
