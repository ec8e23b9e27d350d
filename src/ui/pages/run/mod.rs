//! `/runs/{run}`: one run, in several pages under one head. The first says what happened, why, and
//! what to do about it; the others have its logs, artifacts, metrics and events in full.

pub(in crate::ui) mod act;
pub(in crate::ui) mod artifacts;
pub(in crate::ui) mod events;
pub(in crate::ui) mod graph;
pub(in crate::ui) mod logs;
pub(in crate::ui) mod metrics;
pub(in crate::ui) mod overview;

mod attempts;
mod curves;
mod held;
mod lines;
mod outcome;
mod top;
