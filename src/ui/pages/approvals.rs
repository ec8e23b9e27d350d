//! What waits for approval, on the home page.

use serde::Serialize;

use crate::base::bounds::{MAX_DECIDER_CHARS, MAX_NOTE_CHARS};
use crate::scheduler::View;
use crate::store::{AwaitingApproval, PageRequest, Result};
use crate::ui::text;

/// Most approvals on the page.
const APPROVALS: u32 = 25;

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
