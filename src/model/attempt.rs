//! Attempts, and what the host observed of each.

use serde::{Deserialize, Serialize};

use super::{ErrorInfo, LogPosition, words};
use crate::base::{ArtifactId, AttemptId, Digest, RunId, Timestamp};

words! {
    /// Where an attempt stands.
    AttemptState {
        /// The guest is running.
        Running = "running",
        /// The guest is done, the commit point is passed: its outputs are being made visible, and
        /// nothing stops them any more.
        Publishing = "publishing",
        /// Done, and its outputs are visible.
        Succeeded = "succeeded",
        /// It returned an error, trapped, or reached a limit.
        Failed = "failed",
        /// It reached its limit of wall time.
        TimedOut = "timed_out",
        /// The host died under it.
        Crashed = "crashed",
        /// The run was cancelled, or the host was stopped and handed it back.
        Cancelled = "cancelled",
    }
}

/// The right to write about one attempt. Tokens grow: who holds an old one is refused, so that a
/// host which was thought dead cannot disturb its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// The attempt.
    pub attempt_id: AttemptId,
    /// The store's epoch at issue: one more at each start of a host.
    pub epoch: u64,
    /// Grows with each token of an epoch.
    pub token: u64,
}

/// One try of one action in one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Names it.
    pub id: AttemptId,
    /// The run.
    pub run_id: RunId,
    /// The action's name.
    pub action: String,
    /// 1 for the first attempt of the action in the run.
    pub number: u32,
    /// Where it stands.
    pub state: AttemptState,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The component that ran.
    pub component_digest: Digest,
    /// The grants in force, as a JSON object for people: `reads`, `writes`, `env` (names),
    /// `secrets` (names), `http`, `limits`.
    pub grants: serde_json::Value,
    /// Why it failed.
    pub error: Option<ErrorInfo>,
    /// What it said of itself when it succeeded.
    pub message: Option<String>,
    /// What it used.
    pub usage: Usage,
    /// Where its log begins.
    pub log_from: LogPosition,
    /// Where its log ends, once it has ended.
    pub log_to: Option<LogPosition>,
    /// The newest fencing token of it.
    #[serde(skip)]
    pub fence: Option<Fence>,
}

/// What an attempt used, measured by the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// The most memory that its linear memories and tables had at once, in bytes.
    pub peak_memory_bytes: u64,
    /// Time on a CPU inside the guest, in microseconds.
    pub cpu_time_us: u64,
    /// From start to end by the monotonic clock, in microseconds.
    pub wall_time_us: u64,
    /// Bytes read from resources.
    pub bytes_read: u64,
    /// Bytes written to resources.
    pub bytes_written: u64,
    /// Bytes of log lines.
    pub log_bytes: u64,
    /// Calls to host functions of `anacostia:pipeline`.
    pub host_calls: u64,
    /// Requests through `wasi:http`, those that were refused too.
    pub http_requests: u64,
    /// Bytes of the bodies of those requests.
    pub http_bytes_sent: u64,
    /// Bytes of the bodies of their answers.
    pub http_bytes_received: u64,
}

/// How the guest's part of an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did its work, and may have said something about it.
    Done(Option<String>),
    /// It did its work by seeing that there was nothing worth doing; dependents are skipped.
    Skip(String),
    /// It returned an error, trapped, or reached a limit.
    Failed(ErrorInfo),
    /// It reached its limit of wall time.
    TimedOut(ErrorInfo),
    /// It was stopped because the run is cancelled.
    Cancelled,
    /// It was stopped because the host stops; the run takes it up again at the next start. Uses up
    /// no try.
    HandedBack,
    /// The host died under it. Uses up no try.
    Crashed,
}

words! {
    /// How an attempt used an artifact.
    AccessKind {
        /// It read bytes of it.
        Read = "read",
        /// It wrote it.
        Wrote = "wrote",
    }
}

/// That an attempt used an artifact: one record for each attempt, artifact and kind, written when
/// the attempt ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// What was used.
    pub artifact_id: ArtifactId,
    /// How.
    pub kind: AccessKind,
    /// How many bytes, in all calls.
    pub bytes: u64,
    /// How many calls.
    pub calls: u64,
    /// Of the content, if it was not on record and the attempt has read all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// A call that the grants did not allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// The capability that was used, such as `resources.create`.
    pub call: String,
    /// What it was used on, escaped.
    pub target: String,
    /// What the guest was told.
    pub message: String,
}
