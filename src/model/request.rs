//! Requests that attempts make over the network.

use serde::{Deserialize, Serialize};

use super::words;

words! {
    /// What came of a request.
    RequestOutcome {
        /// The server answered, with whatever status, and the answer was read as far as the guest
        /// wanted it.
        Answered = "answered",
        /// The grants did not allow it: nothing was sent.
        Denied = "denied",
        /// It failed on the way, or reached a limit.
        Failed = "failed",
        /// The attempt ended before the answer did.
        Unfinished = "unfinished",
    }
}

/// A request that an attempt made through `wasi:http`. Texts are escaped, cut, and without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// The method, such as `GET`.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// The host and the port.
    pub authority: String,
    /// The path, without its query: people put keys there.
    pub path: String,
    /// What came of it.
    pub outcome: RequestOutcome,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// Bytes of the request's body that were handed to the network.
    pub bytes_sent: u64,
    /// Bytes of the answer's body that the guest took.
    pub bytes_received: u64,
    /// From the call to the end of the answer by the monotonic clock, in microseconds.
    pub duration_us: u64,
    /// Why it was denied or failed.
    pub error: Option<String>,
}
