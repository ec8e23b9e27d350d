//! What stops a guest from the host's side, as an error that travels through wasm as a trap and
//! comes out typed.

use crate::manifest::Limits;
use crate::model::ErrorInfo;

use super::limits;

/// Why the host stopped a guest in the middle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Halt {
    /// Its CPU time is used up.
    #[error("the limit of CPU time is reached")]
    Cpu,
    /// Its log is full.
    #[error("the limit of the log is reached")]
    Log,
    /// Its lines cannot be kept.
    #[error("its log cannot be written: {0}")]
    LogUnwritable(String),
    /// Another host has taken over.
    #[error("{0}")]
    Fenced(String),
}

impl Halt {
    /// Whether it ends the attempt whatever was called: a run whose log is lost, or that is another
    /// host's, is not ours to record.
    pub(super) fn ends_attempt(&self) -> bool {
        matches!(self, Self::LogUnwritable(_) | Self::Fenced(_))
    }

    /// The attempt's error.
    pub(super) fn error(&self, action: &str, limits: &Limits) -> ErrorInfo {
        match self {
            Self::Cpu => limits::cpu(action, limits),
            Self::Log => limits::log(action, limits),
            Self::LogUnwritable(_) => ErrorInfo::retryable("unavailable", self.to_string()),
            Self::Fenced(why) => ErrorInfo::permanent("fenced", why),
        }
    }
}
