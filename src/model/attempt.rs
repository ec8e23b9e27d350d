//! Attempts, and what the host observed of each.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CacheUse, ErrorInfo, LogPosition, string_enum};
use crate::base::{ArtifactId, AttemptId, Digest, RunId, Timestamp};

string_enum! {
    /// The state of an attempt.
    AttemptState {
        /// The guest is running.
        Running = "running",
        /// The guest has ended and the commit point has passed: the host is making the outputs
        /// visible, and the attempt can no longer be stopped.
        Publishing = "publishing",
        /// It has ended, and its outputs are visible.
        Succeeded = "succeeded",
        /// It returned an error, trapped, or reached a limit.
        Failed = "failed",
        /// It reached its limit of wall time.
        TimedOut = "timed_out",
        /// The host died while it was running.
        Crashed = "crashed",
        /// The run was cancelled, or the host was stopped and handed the attempt back.
        Cancelled = "cancelled",
    }
}

/// The right to write about one attempt (a fencing token). Tokens grow, and the store refuses older
/// ones, so that a host that was presumed dead cannot disturb its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// The attempt.
    pub attempt_id: AttemptId,
    /// The store's epoch when the token was issued. Each start of a host increases it by one.
    pub epoch: u64,
    /// Increases with each token of an epoch.
    pub token: u64,
}

/// One attempt of one action in one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// The run.
    pub run_id: RunId,
    /// The action's name.
    pub action: String,
    /// 1 for the first attempt of the action in the run.
    pub number: u32,
    /// Its state.
    pub state: AttemptState,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The component that ran.
    pub component_digest: Digest,
    /// The effective grants, as a JSON object for display: `reads`, `writes`, `env` (names),
    /// `secrets` (names), `http`, `limits`.
    pub grants: serde_json::Value,
    /// Why it failed.
    pub error: Option<ErrorInfo>,
    /// The message that the action returned on success.
    pub message: Option<String>,
    /// The resources that it used.
    pub usage: Usage,
    /// Why its result was, or was not, taken from an earlier attempt. `None` for an action that the
    /// manifest does not cache, and while it is not known.
    #[serde(default)]
    pub cache: Option<CacheUse>,
    /// Start of its log.
    pub log_from: LogPosition,
    /// End of its log; set when it has ended.
    pub log_to: Option<LogPosition>,
    /// Its newest fencing token.
    #[serde(skip)]
    pub fence: Option<Fence>,
}

impl Attempt {
    /// Returns whether it did not run, because its result is that of an earlier attempt.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.attempt_id.is_some())
    }
}

/// What an attempt used, as measured by the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Usage {
    /// Peak size of all its linear memories and tables together, in bytes.
    #[schema(required)]
    pub peak_memory_bytes: u64,
    /// Time on a CPU inside the guest, in microseconds.
    #[schema(required)]
    pub cpu_time_us: u64,
    /// Time from start to end by the monotonic clock, in microseconds.
    #[schema(required)]
    pub wall_time_us: u64,
    /// Bytes read from resources.
    #[schema(required)]
    pub bytes_read: u64,
    /// Bytes written to resources.
    #[schema(required)]
    pub bytes_written: u64,
    /// Bytes of log lines.
    #[schema(required)]
    pub log_bytes: u64,
    /// Calls to host functions of `anacostia:pipeline`.
    #[schema(required)]
    pub host_calls: u64,
    /// Requests through `wasi:http`, including denied ones.
    #[schema(required)]
    pub http_requests: u64,
    /// Bytes of the bodies of these requests.
    #[schema(required)]
    pub http_bytes_sent: u64,
    /// Bytes of the bodies of the answers.
    #[schema(required)]
    pub http_bytes_received: u64,
}

/// How the guest of an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It succeeded, optionally with a message.
    Done(Option<String>),
    /// It succeeded and found nothing worth doing; dependents are skipped.
    Skip(String),
    /// It did not run: its result is that of an earlier attempt.
    Cached {
        /// Whether that attempt returned `skip`.
        skip: bool,
        /// The message of that attempt.
        message: Option<String>,
    },
    /// It returned an error, trapped, or reached a limit.
    Failed(ErrorInfo),
    /// It reached its limit of wall time.
    TimedOut(ErrorInfo),
    /// It was stopped because the run is cancelled.
    Cancelled,
    /// It was stopped because the host stops; the run continues it at the next start. Does not
    /// count as a try.
    HandedBack,
    /// The host died while it was running. Does not count as a try.
    Crashed,
}

string_enum! {
    /// How an attempt used an artifact.
    AccessKind {
        /// It read bytes of it.
        Read = "read",
        /// It wrote it.
        Wrote = "wrote",
    }
}

/// The record that an attempt used an artifact: one for each attempt, artifact and kind, written
/// when the attempt ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The used artifact.
    pub artifact_id: ArtifactId,
    /// The kind of use.
    pub kind: AccessKind,
    /// Number of bytes, over all calls.
    pub bytes: u64,
    /// Number of calls.
    pub calls: u64,
    /// Digest of the content, if it was not recorded before and the attempt has read all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// A call that the grants did not allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Denial {
    /// The capability, such as `resources.create`.
    pub call: String,
    /// The target of the call, escaped.
    pub target: String,
    /// The error message that the guest received.
    pub message: String,
}
