//! Floor 2: `anacostia.toml` to a checked pipeline, or a diagnostic that shows the place.
//!
//! [`load`] reads, checks and resolves a manifest: what it returns can be run. Everything that can be seen without running is seen here:
//! see [`Problem`] for what is refused.

mod pipeline;

pub use pipeline::{
    ActionSpec, Backoff, Build, FolderSpec, Join, Limits, Pipeline, ResourceKind, ResourceSpec, Retry, RunWhen,
    SecretSource, StoreSpec, Trigger,
};
pub fn parse_pinned(_t: &str, _f: &std::path::Path, _e: &dyn Fn(&str) -> Option<String>) -> Result<Pipeline, String> {
    Err(String::new())
}
