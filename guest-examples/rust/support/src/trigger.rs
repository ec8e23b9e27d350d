//! Trigger components: they decide whether a run starts. `wit/trigger.wit` is the full
//! documentation.
//!
//! ```ignore
//! use anacostia_guest::{Result, trigger::{self, Decision}};
//!
//! anacostia_guest::decider!(decide);
//!
//! fn decide() -> Result<Decision> {
//!     let new = trigger::count_new("readings")?;
//!     Ok(match new.bytes {
//!         0..1_000_000 => trigger::skip(format!("only {} bytes are new", new.bytes)),
//!         bytes => trigger::fire(format!("{bytes} bytes are new")),
//!     })
//! }
//! ```

use std::time::Duration;

pub use crate::trigger_bindings::anacostia::pipeline::trigger_context::{
    NewArtifacts, PresentArtifact, TriggerInfo, count_new, info, list_new, list_present, params,
};
pub use crate::trigger_bindings::exports::anacostia::pipeline::decider::{Decision, Skipped};
use crate::{Artifact, Result};

/// Returns the decision that a run may start, for this reason.
pub fn fire(reason: impl Into<String>) -> Decision {
    Decision::Fire(reason.into())
}

/// Returns the decision that no run starts, until something has changed.
pub fn skip(reason: impl Into<String>) -> Decision {
    Decision::Skip(Skipped { reason: reason.into(), ask_again_ms: None })
}

/// Returns the decision that no run starts, and that the host asks again after this time, even if
/// nothing has changed.
pub fn ask_again(after: Duration, reason: impl Into<String>) -> Decision {
    let ask_again_ms = Some(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    Decision::Skip(Skipped { reason: reason.into(), ask_again_ms })
}

/// Lists all new artifacts of a resource, oldest first, page by page.
pub fn all_new(resource: &str) -> Result<Vec<Artifact>> {
    let mut all = Vec::new();
    loop {
        let page = list_new(resource, all.last().map(|last: &Artifact| last.id.as_str()), None)?;
        let is_last = page.len() < 1_000;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

/// Lists all that lies in a resource now, by path, page by page.
pub fn all_present(resource: &str) -> Result<Vec<PresentArtifact>> {
    let mut all = Vec::new();
    loop {
        let after = all.last().map(|last: &PresentArtifact| last.artifact.path.as_str());
        let page = list_present(resource, after, None)?;
        let is_last = page.len() < 1_000;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}
