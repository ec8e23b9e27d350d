//! The reason of a failure, as it is recorded and displayed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why an attempt or a call of it failed. The same three fields as `error` in the WIT package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, ToSchema)]
#[error("{message}")]
pub struct ErrorInfo {
    /// A code for programs, such as `denied`, `changed`, `limit` or `memory_limit`.
    pub code: String,
    /// For people: what failed, where, why, and what to do next. Secrets are masked.
    pub message: String,
    /// Whether a retry may succeed.
    pub retryable: bool,
}

impl ErrorInfo {
    /// Creates an error that a retry cannot fix.
    pub fn permanent(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), retryable: false }
    }

    /// Creates an error for which a retry may succeed.
    pub fn retryable(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), retryable: true }
    }
}
