//! Icon and colour of a state.

use super::{Cell, styles};

/// A state as icon and name, in its colour. Takes the states of runs, actions, attempts and
/// artifacts.
pub(crate) fn state_mark(state: &str) -> Cell {
    let (icon, style) = match state {
        "succeeded" | "approved" | "cached" | "published" => ("✓", styles::GOOD),
        "failed" | "rejected" | "timed_out" | "crashed" | "not_taken" => ("✗", styles::BAD),
        "running" | "publishing" | "current" => ("●", styles::BUSY),
        "retrying" => ("↻", styles::WARN),
        "awaiting_approval" => ("?", styles::WARN),
        "cancelling" | "cancelled" => ("⊘", styles::WARN),
        "skipped" | "ignored" | "superseded" | "deleted" => ("–", styles::FAINT),
        _ => ("○", styles::PLAIN),
    };
    Cell::new(format!("{icon} {state}")).style(style)
}
