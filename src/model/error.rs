//! Why something failed, as it is kept on record and shown.

use serde::{Deserialize, Serialize};

/// Why an attempt or a call of a guest failed. The same three fields as `error` in the WIT package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ErrorInfo {
    /// A word to branch on, such as `denied`, `changed`, `limit` or `memory_limit`.
    pub code: String,
    /// For people: what failed, where, why, what to do next. Masked, and at most
    /// [`crate::base::bounds::MAX_MESSAGE_BYTES`].
    pub message: String,
    /// Whether the same may succeed later.
    pub retryable: bool,
}

impl ErrorInfo {
    /// An error that trying again does not mend.
    pub fn permanent(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), retryable: false }
    }

    /// An error that may be gone at the next try.
    pub fn retryable(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), retryable: true }
    }
}
