//! `/approvals`: what waits for a person. The home page shows the first of it.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use crate::base::bounds::{MAX_DECIDER_CHARS, MAX_NOTE_CHARS};
use crate::scheduler::View;
use crate::store::{AwaitingApproval, PageRequest};
use crate::ui::page::{self, Head, Params, Result, Section};
use crate::ui::{Pages, text};

/// Most approvals on a page.
const APPROVALS: u32 = 25;

#[derive(Debug, Serialize)]
struct Content {
    approvals: Approvals,
    /// The addresses of the first page, unless it is this one, and of the next.
    first: Option<String>,
    next: Option<String>,
}

/// `GET /approvals`
pub(in crate::ui) async fn show(State(pages): State<Pages>, uri: Uri) -> Response {
    render(&pages, &uri, None).await
}

/// Answers with the page. `refusal` says why a decision was not recorded, and with which status.
pub(super) async fn render(pages: &Pages, uri: &Uri, refusal: Option<(StatusCode, String)>) -> Response {
    let content = content(&pages.view, uri).await;
    let mut head = Head::of(Section::Approvals, "approvals.html", "Approvals");
    if let Some((status, why)) = refusal {
        head = head.refusing(status, why, "/approvals");
    }
    page::answer(pages, content.map(|content| (head, content))).await
}

async fn content(view: &View, uri: &Uri) -> Result<Content> {
    let params = Params::of(uri)?;
    let (approvals, next) = gather(view, params.page(APPROVALS)).await?;
    let first = params.text("cursor").map(|_| "/approvals".to_owned());
    let next = next.map(|cursor| params.link("/approvals", &["cursor"], &[("cursor", &cursor)]));
    Ok(Content { approvals, first, next })
}

/// The approvals on a page.
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
    since: text::Moment,
    until: Option<text::Moment>,
}

/// Returns the first that waits for approval.
pub(super) async fn first(view: &View) -> Result<Approvals> {
    Ok(gather(view, PageRequest { cursor: None, limit: APPROVALS }).await?.0)
}

async fn gather(view: &View, request: PageRequest) -> Result<(Approvals, Option<String>)> {
    let page = view.store.awaiting_approval(request).await?;
    let approvals = Approvals {
        rows: page.items.into_iter().map(row).collect(),
        more: page.next_cursor.is_some(),
        max_by: MAX_DECIDER_CHARS,
        max_note: MAX_NOTE_CHARS,
    };
    Ok((approvals, page.next_cursor))
}

fn row(waits: AwaitingApproval) -> ApprovalRow {
    let AwaitingApproval { run_id, run_number, action, approval } = waits;
    ApprovalRow {
        run: run_id.to_string(),
        number: run_number,
        action,
        who: approval.who,
        since: text::both(approval.since),
        until: approval.until.map(text::both),
    }
}
