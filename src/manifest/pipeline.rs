//! A checked pipeline: what a manifest means, defaults filled in, paths resolved.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Digest, Endpoint};
use crate::model::Durability;

/// `ignore` of a folder: names that editors, browsers and uploaders give to files that are not
/// finished.
pub(super) const DEFAULT_IGNORE: [&str; 13] = [
    ".*",
    "~$*",
    "#*#",
    "*~",
    "*.tmp",
    "*.part",
    "*.partial",
    "*.filepart",
    "*.crdownload",
    "*.download",
    "*.aria2",
    "*.!qB",
    "*.swp",
];

/// `trigger.max_artifacts` if nothing is said, and `min_artifacts` is not more: what one run can
/// hold in memory, in the host and in a guest.
pub(super) const DEFAULT_MAX_ARTIFACTS: u64 = 10_000;

/// What a manifest means.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// `pipeline.name`.
    pub name: String,
    /// The folder of the manifest, absolute: relative paths start here.
    pub folder: PathBuf,
    /// The manifest's file.
    pub file: PathBuf,
    /// The manifest's text, `${…}` unexpanded: what goes on record.
    pub text: String,
    /// `pipeline.join`.
    pub join: Join,
    /// `pipeline.max_concurrent_runs`, 1 to 1,000.
    pub max_concurrent_runs: u32,
    /// `pipeline.params`, a JSON object.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// `server.listen`.
    pub listen: SocketAddr,
    /// `server.hosts`: names by which the server is reached besides its address, each for any port
    /// or with one. Lower case.
    pub hosts: Vec<String>,
    /// `server.insecure`: plain HTTP off loopback is allowed.
    pub insecure: bool,
    /// `server.token_sha256`: digest of the bearer token that is asked for; needed off loopback.
    pub token: Option<Digest>,
    /// `metadata_store`, but for `durability`.
    pub store: StoreSpec,
    /// `metadata_store.durability`: for the store and for what is published to local resources
    /// alike.
    pub durability: Durability,
    /// `pipeline.state`, absolute: the folder in which the host keeps logs and components.
    pub state: PathBuf,
    /// `pipeline.logs`: bytes of log lines that are kept, besides those of active runs (default 1
    /// GiB).
    pub max_log_bytes: u64,
    /// `resources`, in the order of the file.
    pub resources: Vec<ResourceSpec>,
    /// `actions`, in the order of the file.
    pub actions: Vec<ActionSpec>,
}

impl Pipeline {
    /// The resource of this name.
    #[must_use]
    pub fn resource(&self, name: &str) -> Option<&ResourceSpec> {
        self.resources.iter().find(|resource| resource.name == name)
    }

    /// The action of this name.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<&ActionSpec> {
        self.actions.iter().find(|action| action.name == name)
    }
}

/// When a run starts, with several watched resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// When all of them have what they need.
    #[default]
    All,
    /// When one of them has.
    Any,
}

/// Where records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreSpec {
    /// A SQLite database in a file.
    Sqlite {
        /// The file, absolute.
        path: PathBuf,
    },
}

impl StoreSpec {
    /// `metadata_store.kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
        }
    }

    /// Where it is, for people. Without passwords.
    #[must_use]
    pub fn location(&self) -> String {
        match self {
            Self::Sqlite { path } => path.display().to_string(),
        }
    }

    /// The files on this machine in which it lies, absolute. Files beside one of them whose names
    /// begin with its name are the store's too. Empty for a store that lies elsewhere.
    #[must_use]
    pub fn local_paths(&self) -> Vec<&Path> {
        match self {
            Self::Sqlite { path } => vec![path],
        }
    }
}

/// An input or output.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceSpec {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ResourceKind,
    /// Whether it is watched, and triggers runs.
    pub watch: bool,
    /// When it triggers; meaningful if it is watched.
    pub trigger: Trigger,
}

impl ResourceSpec {
    /// `kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.kind {
            ResourceKind::Folder(_) => "folder",
        }
    }

    /// Where it is, for people. Without passwords.
    #[must_use]
    pub fn location(&self) -> String {
        match &self.kind {
            ResourceKind::Folder(folder) => folder.path.display().to_string(),
        }
    }

    /// The key of its table in the manifest that says where it is.
    #[must_use]
    pub fn location_key(&self) -> &'static str {
        match &self.kind {
            ResourceKind::Folder(_) => "path",
        }
    }

    /// The folders on this machine in which its data lies, absolute. Empty for a resource that lies
    /// elsewhere.
    #[must_use]
    pub fn local_paths(&self) -> Vec<&Path> {
        match &self.kind {
            ResourceKind::Folder(folder) => vec![&folder.path],
        }
    }

    /// The globs of paths that count; empty: all.
    #[must_use]
    pub fn include(&self) -> &[String] {
        match &self.kind {
            ResourceKind::Folder(folder) => &folder.include,
        }
    }

    /// The globs of paths that do not count.
    #[must_use]
    pub fn exclude(&self) -> &[String] {
        match &self.kind {
            ResourceKind::Folder(folder) => &folder.exclude,
        }
    }

    /// The globs of names that are not looked at.
    #[must_use]
    pub fn ignore(&self) -> &[String] {
        match &self.kind {
            ResourceKind::Folder(folder) => &folder.ignore,
        }
    }

    /// Puts in the absolute path, for a kind that lies on this machine.
    pub(super) fn set_local_path(&mut self, path: PathBuf) {
        match &mut self.kind {
            ResourceKind::Folder(folder) => folder.path = path,
        }
    }
}

/// What a resource is.
#[derive(Debug, Clone, PartialEq)]
pub enum ResourceKind {
    /// A folder of files.
    Folder(FolderSpec),
}

/// A folder of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderSpec {
    /// The folder, absolute.
    pub path: PathBuf,
    /// Globs of paths that count; empty: all.
    pub include: Vec<String>,
    /// Globs of paths that do not count, besides the names to ignore.
    pub exclude: Vec<String>,
    /// Globs of names of files and folders that are not looked at, in any case of letters.
    pub ignore: Vec<String>,
    /// How long size and time must stand still where the system cannot tell whether a file is open
    /// for writing.
    pub settle: Duration,
    /// How often the whole folder is looked through, in case something was missed.
    pub rescan: Duration,
}

impl FolderSpec {
    /// What is ignored unless the manifest says otherwise: the temporary names of editors, browsers
    /// and uploaders.
    #[must_use]
    pub fn default_ignore() -> Vec<String> {
        DEFAULT_IGNORE.map(str::to_owned).to_vec()
    }
}

/// When a watched resource has what it needs: `min_artifacts` and `min_bytes` both reached, and
/// nothing new for `quiet_for`; or the oldest has waited for `max_wait`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// At least this many artifacts (default 1).
    pub min_artifacts: u64,
    /// A run takes at most this many, oldest first (default: 10,000, or `min_artifacts` if that is
    /// more; `None`: all).
    pub max_artifacts: Option<u64>,
    /// At least this many bytes (default 0).
    pub min_bytes: u64,
    /// No new artifact for this long (default: zero).
    pub quiet_for: Duration,
    /// Fire all the same when the oldest artifact has waited for this long.
    pub max_wait: Option<Duration>,
}

impl Default for Trigger {
    fn default() -> Self {
        let max_artifacts = Some(DEFAULT_MAX_ARTIFACTS);
        Self { min_artifacts: 1, max_artifacts, min_bytes: 0, quiet_for: Duration::ZERO, max_wait: None }
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionSpec {
    /// Its name.
    pub name: String,
    /// The component's file, absolute.
    pub component: PathBuf,
    /// What the component's digest must be.
    pub digest: Option<Digest>,
    /// How to build it.
    pub build: Option<Build>,
    /// The nodes before it: resources and actions.
    pub after: Vec<String>,
    /// Resources that it may read.
    pub reads: Vec<String>,
    /// Resources that it may write.
    pub writes: Vec<String>,
    /// Whether its outputs are `new` in watched resources.
    pub retrigger: bool,
    /// Its params, a JSON object.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// `args`: what a command is called with, after its name.
    pub args: Vec<String>,
    /// `stdin`: the input that a command's standard input reads, `RESOURCE` or `RESOURCE/GLOB`.
    pub stdin: Option<String>,
    /// Its environment; values expanded.
    pub env: BTreeMap<String, String>,
    /// Its secrets: the name that the action sees, and where the value is.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Its secrets that the host puts into a header of its requests, by name. The action does not
    /// see them.
    pub header_secrets: BTreeMap<String, HeaderSecretSpec>,
    /// Hosts that it may send requests to.
    pub http: Vec<Endpoint>,
    /// Its limits.
    pub limits: Limits,
    /// When it is tried again.
    pub retry: Retry,
    /// When it runs, given how those before it ended.
    pub run_when: RunWhen,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a variable of the host's environment, `env:NAME`.
    Env(String),
}

/// A secret that goes into one header of the requests to one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderSecretSpec {
    /// Where the value is.
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
    /// `max_attempts`: tries in all, 1 to 100 (default 1: no retry). Only errors that say they are
    /// retryable are retried.
    pub max_attempts: u32,
    /// How long to wait.
    pub backoff: Backoff,
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_attempts: 1, backoff: Backoff::default() }
    }
}

/// How long to wait before the next try: `first`, doubled each time, at most `max`, and of that a
/// random part between half and all.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
