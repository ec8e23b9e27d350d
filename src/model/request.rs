//! Network requests of attempts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::string_enum;

string_enum! {
    /// The result of a request.
    RequestOutcome {
        /// The server answered, with any status, and the guest read the answer as far as it needed.
        Answered = "answered",
        /// The grants did not allow it; nothing was sent.
        Denied = "denied",
        /// It failed in transit, or reached a limit.
        Failed = "failed",
        /// The attempt ended before the answer did.
        Unfinished = "unfinished",
    }
}

/// A request that an attempt made through `wasi:http`. Texts are escaped, truncated, and without
/// secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HttpRequest {
    /// The method, such as `GET`.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// The host and the port.
    pub authority: String,
    /// The path without its query, because queries may contain keys.
    pub path: String,
    /// Its result.
    pub outcome: RequestOutcome,
    /// The status of the answer, if there was one.
    #[schema(required)]
    pub status: Option<u16>,
    /// Bytes of the request's body that were handed to the network.
    pub bytes_sent: u64,
    /// Bytes of the answer's body that the guest read.
    pub bytes_received: u64,
    /// From the call to the end of the answer by the monotonic clock, in microseconds.
    pub duration_us: u64,
    /// Why it was denied or failed.
    #[schema(required)]
    pub error: Option<String>,
}
