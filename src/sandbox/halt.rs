//! Reasons for which the host stops a guest. They pass through wasm as a trap, which the host
//! converts back to a [`Halt`].

use crate::manifest::Limits;
use crate::model::ErrorInfo;

use super::limits;

/// Why the host stopped a guest during a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Halt {
    /// The CPU time is used up.
    #[error("the limit of CPU time is reached")]
    Cpu,
    /// The log limit is reached.
    #[error("the limit of the log is reached")]
    Log,
    /// The log cannot be written.
    #[error("its log cannot be written: {0}")]
    LogUnwritable(String),
    /// Another host has taken over the run.
    #[error("{0}")]
    Fenced(String),
}

impl Halt {
    /// Returns whether the halt ends the attempt, whichever call it stopped. This host must not
    /// record a run whose log is lost, or that another host has taken over.
    pub(super) fn ends_attempt(&self) -> bool {
        matches!(self, Self::LogUnwritable(_) | Self::Fenced(_))
    }

    /// Returns the error of the attempt.
    pub(super) fn error(&self, action: &str, limits: &Limits) -> ErrorInfo {
        match self {
            Self::Cpu => limits::cpu(action, limits),
            Self::Log => limits::log(action, limits),
            Self::LogUnwritable(_) => ErrorInfo::retryable("unavailable", self.to_string()),
            Self::Fenced(why) => ErrorInfo::permanent("fenced", why),
        }
    }
}
