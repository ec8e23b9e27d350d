//! Rows that follow those of the actions and attempts of a run.

use super::{Cell, styles};
use crate::model::{Approval, Attempt, Verdict};

/// The row that says who decided about an action, when, and why; `None` before that.
pub(super) fn decided(approval: &Approval) -> Option<Vec<Cell>> {
    let decision = approval.decision.as_ref()?;
    let by = decision.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let how = match decision.verdict {
        Verdict::TimedOut => approval.outcome()?,
        verdict => format!("{verdict}{by}"),
    };
    // A note of several lines is shown on one.
    let note = decision.note.iter().flat_map(|note| note.lines()).collect::<Vec<_>>().join(" ");
    let why = if note.is_empty() { note } else { format!(": {note}") };
    let text = Cell::new(format!("{how}, {}{why}", decision.at)).style(styles::FAINT);
    Some(vec![Cell::new("  approval").style(styles::FAINT), Cell::new(""), Cell::new(""), text])
}

/// The row that says why the result of an attempt was, or was not, taken from an earlier one.
pub(super) fn cached(attempt: &Attempt) -> Option<Vec<Cell>> {
    let reason = Cell::new(&attempt.cache.as_ref()?.reason).style(styles::FAINT);
    Some(vec![Cell::new("  cache").style(styles::FAINT), Cell::new(""), Cell::new(""), reason])
}
