//! An action of a checked pipeline: its component, what it is granted, its limits, and when it
//! runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::approval::ApprovalSpec;
use super::secret::SecretSource;
use super::sql::TableNames;
use crate::base::{Digest, Endpoint};
use crate::model::Influence;

/// An action of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionSpec {
    /// Its name.
    pub name: String,
    /// The component's file, absolute.
    pub component: PathBuf,
    /// The required digest of the component.
    pub digest: Option<Digest>,
    /// How to build it.
    pub build: Option<Build>,
    /// The nodes that it depends on: resources and actions.
    pub after: Vec<String>,
    /// Resources that it may read.
    pub reads: Vec<String>,
    /// Resources that it may write.
    pub writes: Vec<String>,
    /// The tables that it may use, of databases for which not all of them are granted.
    pub tables: BTreeMap<String, TableNames>,
    /// Whether its outputs are `new` artifacts in watched resources.
    pub retrigger: bool,
    /// Its params, a JSON object.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// `args`: the arguments of a command, without its name.
    pub args: Vec<String>,
    /// `stdin`: the input that becomes a command's standard input, `RESOURCE` or `RESOURCE/GLOB`.
    pub stdin: Option<String>,
    /// Its environment; values expanded.
    pub env: BTreeMap<String, String>,
    /// Its secrets: the name that the action sees, and the source of the value.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Its secrets that the host puts into a header of its requests, by name. They are not visible
    /// to the action.
    pub header_secrets: BTreeMap<String, HeaderSecretSpec>,
    /// Hosts that it may send requests to.
    pub http: Vec<Endpoint>,
    /// The names in `pipeline.concurrency` that an attempt of it uses, each once.
    pub uses: Vec<String>,
    /// Its limits.
    pub limits: Limits,
    /// When it is retried.
    pub retry: Retry,
    /// When it runs, depending on how the actions before it ended.
    pub run_when: RunWhen,
    /// The approval that it needs before it starts.
    pub approval: Option<ApprovalSpec>,
    /// Whether its result may be taken from an earlier attempt.
    pub cache: Option<CacheSpec>,
}

/// `cache` of an action: it does not run if an earlier attempt had the same result for sure.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CacheSpec {
    /// `ignore`: what it may use although it is not on record, because it does not matter.
    pub ignore: Vec<Influence>,
}

/// A secret that goes into one header of the requests to one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderSecretSpec {
    /// The source of the value.
    pub source: SecretSource,
    /// The header, in lower case.
    pub header: String,
    /// The host; one that the action is granted.
    pub host: Endpoint,
    /// Text before the value, such as `Bearer `.
    pub prefix: String,
}

/// How a component is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// For `sh -c`, in the manifest's folder.
    pub command: String,
    /// Paths whose change asks for a build, absolute.
    pub watch: Vec<PathBuf>,
}

/// What an attempt may use. Going beyond ends it with an error that names the limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// `memory`: bytes of all linear memories and tables together (default 256 MiB).
    pub memory_bytes: u64,
    /// `cpu`: time on a CPU inside the guest (default 60 s).
    pub cpu: Duration,
    /// `wall`: time from start to end (default 10 min).
    pub wall: Duration,
    /// `output`: bytes written to resources (default 1 GiB).
    pub output_bytes: u64,
    /// `log`: bytes of log lines (default 16 MiB).
    pub log_bytes: u64,
    /// `handles`: readers and writers open at once (default 256).
    pub handles: u32,
    /// `metric_names`: distinct names of metrics (default 1,000).
    pub metric_names: u32,
    /// `http_body`: bytes of the body of one request, and of one answer (default 64 MiB).
    pub http_body_bytes: u64,
    /// `http_requests`: requests over the network (default 1,000).
    pub http_requests: u32,
    /// `http_wait`: the longest wait of a request: for the connection, for the answer, between two
    /// parts of its body (default 30 s).
    pub http_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            cpu: Duration::from_mins(1),
            wall: Duration::from_mins(10),
            output_bytes: 1 << 30,
            log_bytes: 16 << 20,
            handles: 256,
            metric_names: 1_000,
            http_body_bytes: 64 << 20,
            http_requests: 1_000,
            http_wait: Duration::from_secs(30),
        }
    }
}

/// When a failed action is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// `max_attempts`: number of tries, 1 to 100 (default 1: no retry). Only errors that are marked
    /// as retryable are retried.
    pub max_attempts: u32,
    /// How long to wait.
    pub backoff: Backoff,
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_attempts: 1, backoff: Backoff::default() }
    }
}

/// Delay before the next try: `first`, doubled each time, at most `max`. The actual delay is a
/// random part of it, between half and all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// `backoff` (default 1 s).
    pub first: Duration,
    /// `max_backoff` (default 1 min).
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_mins(1) }
    }
}

/// When an action runs, given how those before it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunWhen {
    /// All have succeeded (default).
    #[default]
    AllSucceeded,
    /// All have ended, however.
    AllDone,
    /// All have ended, and one of them failed.
    AnyFailed,
}
