//! What is kept, and for how long.

use std::time::Duration;

/// Default of `retention.components`.
pub(super) const DEFAULT_COMPONENTS: u64 = 4 << 30;
/// Default of `retention.compiled_code`: the code of about a hundred components with an interpreter
/// in each.
pub(super) const DEFAULT_COMPILED_CODE: u64 = 4 << 30;

/// `[retention]`: what the host and `anacostia gc` remove by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// `runs`.
    pub runs: RunRetention,
    /// `logs.keep_for`: log lines that are older are removed, whatever their size.
    pub keep_logs_for: Option<Duration>,
    /// `components`: bytes of stored components, besides those that are needed at any time.
    pub max_component_bytes: u64,
    /// `compiled_code`: bytes of compiled code.
    pub max_compiled_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            runs: RunRetention::default(),
            keep_logs_for: None,
            max_component_bytes: DEFAULT_COMPONENTS,
            max_compiled_bytes: DEFAULT_COMPILED_CODE,
        }
    }
}

/// `retention.runs`: a run stays as long as one of these keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunRetention {
    /// `keep_for`: how long ago it may have ended.
    pub keep_for: Option<Duration>,
    /// `keep_last`: how many of the newest runs stay.
    pub keep_last: Option<u64>,
    /// `keep_tags`: a run with one of these tags, or that wrote an artifact with one, stays.
    pub keep_tags: Vec<String>,
}

impl RunRetention {
    /// Returns whether runs are removed at all.
    #[must_use]
    pub fn removes(&self) -> bool {
        self.keep_for.is_some() || self.keep_last.is_some()
    }
}
