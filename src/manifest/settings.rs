//! Bounds, choices and defaults of values. The reader and the schema both use them, so that an
//! editor never suggests a value that the reader refuses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::action::{Limits, RunWhen};
use super::condition::{AfterRun, Missed};
use super::http::HttpMethod;
use super::pipeline::Join;
use super::s3::{S3Credentials, S3Style};
use super::sql::SqlFormat;
use crate::model::{Durability, Influence, NotifyCause};

const DAY: Duration = Duration::from_hours(24);
const MILLISECOND: Duration = Duration::from_millis(1);

/// The version of the manifest format that this host reads.
pub(super) const MANIFEST_VERSION: &str = "1";
/// Maximum number of resources, and of actions, of a pipeline.
pub(super) const MAX_NODES: usize = 1_000;

/// `pipeline.join`.
pub(super) const JOIN: [(&str, Join); 2] = [("all", Join::All), ("any", Join::Any)];
/// `pipeline.max_concurrent_runs`.
pub(super) const CONCURRENT_RUNS: RangeInclusive<u64> = 1..=1_000;
/// `pipeline.max_concurrent_actions`. The sandbox reserves address space for each, and the host
/// open files for the connections of each.
pub(super) const CONCURRENT_ACTIONS: RangeInclusive<u64> = 1..=100;
/// Default of `pipeline.max_concurrent_actions`.
pub(super) const DEFAULT_CONCURRENT_ACTIONS: u32 = 16;
/// A limit of `pipeline.concurrency`.
pub(super) const CONCURRENCY: RangeInclusive<u64> = 1..=1_000;

/// Default of `pipeline.state`, if the store is on another machine.
pub(super) const DEFAULT_STATE: &str = "state";

/// `pipeline.logs`: at least the size of 16 of the smallest segments.
pub(super) const LOGS: RangeInclusive<u64> = 1 << 20..=1 << 50;
/// Default of `pipeline.logs`.
pub(super) const DEFAULT_LOGS: u64 = 1 << 30;

/// Default of `server.listen`.
pub(super) const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);

/// `retention.runs.keep_for`.
pub(super) const KEEP_RUNS_FOR: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(36_500 * 24);
/// `retention.runs.keep_last`: triggers and comparisons look at the newest runs.
pub(super) const KEEP_LAST: RangeInclusive<u64> = 1..=1_000_000_000;
/// Maximum number of `retention.runs.keep_tags`.
pub(super) const MAX_KEEP_TAGS: usize = 100;
/// `retention.logs.keep_for`.
pub(super) const KEEP_LOGS_FOR: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(36_500 * 24);
/// `retention.components`.
pub(super) const COMPONENTS: RangeInclusive<u64> = 0..=1 << 50;
/// `retention.compiled_code`.
pub(super) const COMPILED_CODE: RangeInclusive<u64> = 0..=1 << 50;

/// Default location of the metadata store.
pub(super) const DEFAULT_STORE: &str = "state/metadata.db";
/// Default of `metadata_store.schema`.
pub(super) const DEFAULT_SCHEMA: &str = "anacostia";
/// Default of `metadata_store.prefix`.
pub(super) const DEFAULT_PREFIX: &str = "anacostia";
/// The form of `metadata_store.url` of a Redis server. The reader is stricter.
pub(super) const REDIS_URL: &str = "^rediss?://.+";
/// The form of `metadata_store.schema`. The reader is stricter.
pub(super) const SCHEMA: &str = "^[a-z_][a-z0-9_]{0,62}$";
/// The form of `metadata_store.url`. The reader is stricter.
pub(super) const POSTGRES_URL: &str = "^postgres(ql)?://.+";
/// `metadata_store.durability`.
pub(super) const DURABILITY: [(&str, Durability); 2] = [("normal", Durability::Normal), ("full", Durability::Full)];

/// `settle` of a folder.
pub(super) const SETTLE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
/// Default of `settle`.
pub(super) const DEFAULT_SETTLE: Duration = Duration::from_secs(2);
/// `rescan` of a folder.
pub(super) const RESCAN: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY;
/// Default of `rescan`: rare enough that the cost for 100,000 files is negligible.
pub(super) const DEFAULT_RESCAN: Duration = Duration::from_mins(10);

/// The form of `url` of a database. The reader is stricter.
pub(super) const SQL_URL: &str = "^(sqlite:|postgres(ql)?://).+";
/// `overlap` of a database.
pub(super) const OVERLAP: RangeInclusive<Duration> = Duration::ZERO..=DAY;
/// Default of `overlap`: longer than most transactions that only add rows.
pub(super) const DEFAULT_OVERLAP: Duration = Duration::from_secs(30);
/// `interval` of a database.
pub(super) const SQL_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=DAY;
/// Default of `interval`.
pub(super) const DEFAULT_SQL_INTERVAL: Duration = Duration::from_secs(1);
/// `max_rows` of a database: the host must be able to tell the rows of a few batches apart.
pub(super) const MAX_ROWS: RangeInclusive<u64> = 1..=100_000;
/// Default of `max_rows`.
pub(super) const DEFAULT_MAX_ROWS: u64 = 10_000;
/// `format` of rows.
pub(super) const SQL_FORMAT: [(&str, SqlFormat); 2] = [("jsonl", SqlFormat::Jsonl), ("csv", SqlFormat::Csv)];

/// `interval` of a resource that is polled.
pub(super) const POLL: RangeInclusive<Duration> = Duration::from_millis(100)..=DAY;
/// Default of `interval`.
pub(super) const DEFAULT_POLL: Duration = Duration::from_secs(10);
/// `style` of a bucket.
pub(super) const S3_STYLE: [(&str, S3Style); 2] = [("path", S3Style::Path), ("virtual", S3Style::Virtual)];
/// `credentials` of a bucket.
pub(super) const S3_CREDENTIALS: [(&str, S3Credentials); 3] =
    [("default", S3Credentials::Default), ("profile", S3Credentials::Profile), ("none", S3Credentials::None)];
/// Default of `interval` of the kind `http`.
pub(super) const DEFAULT_HTTP_POLL: Duration = Duration::from_secs(30);
/// `paging` of the kind `http`, unless it is a table.
pub(super) const PAGING: [(&str, ()); 1] = [("link", ())];
/// `method` of the kind `http`.
pub(super) const HTTP_METHOD: [(&str, HttpMethod); 2] = [("PUT", HttpMethod::Put), ("POST", HttpMethod::Post)];
/// `max_body` of the kind `http`.
pub(super) const BODY: RangeInclusive<u64> = 1..=1 << 50;
/// Default of `max_body`.
pub(super) const DEFAULT_BODY: u64 = 1 << 30;
/// `keep` of a resource whose content the host keeps.
pub(super) const KEEP: RangeInclusive<u64> = 0..=1 << 50;
/// Default of `keep`.
pub(super) const DEFAULT_KEEP: u64 = 1 << 30;
/// `max_kept` of a resource whose content the host keeps.
pub(super) const MAX_KEPT: RangeInclusive<u64> = 1..=1 << 50;
/// Default of `max_kept`.
pub(super) const DEFAULT_MAX_KEPT: u64 = 10 << 30;
/// `timeout` of the kind `http`.
pub(super) const SILENCE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
/// Default of `timeout`.
pub(super) const DEFAULT_SILENCE: Duration = Duration::from_secs(30);

/// `trigger.min_artifacts` and `trigger.max_artifacts`.
pub(super) const ARTIFACTS: RangeInclusive<u64> = 1..=1_000_000_000;
/// `trigger.min_bytes`.
pub(super) const MIN_BYTES: RangeInclusive<u64> = 0..=1 << 50;
/// `trigger.quiet_for`.
pub(super) const QUIET_FOR: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(30 * 24);
/// `trigger.max_wait`.
pub(super) const MAX_WAIT: RangeInclusive<Duration> = MILLISECOND..=Duration::from_hours(30 * 24);

/// `every` of a trigger.
pub(super) const EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(366 * 24);
/// `cron.missed` of a trigger.
pub(super) const MISSED: [(&str, Missed); 3] = [("once", Missed::Once), ("all", Missed::All), ("none", Missed::None)];
/// `metric.no_update_for` of a trigger.
pub(super) const NO_UPDATE_FOR: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(366 * 24);
/// `after_run` of a trigger.
pub(super) const AFTER_RUN: [(&str, AfterRun); 3] =
    [("succeeded", AfterRun::Succeeded), ("failed", AfterRun::Failed), ("ended", AfterRun::Ended)];

/// `run_when` of an action.
pub(super) const RUN_WHEN: [(&str, RunWhen); 3] =
    [("all_succeeded", RunWhen::AllSucceeded), ("all_done", RunWhen::AllDone), ("any_failed", RunWhen::AnyFailed)];

/// `cache.ignore` of an action.
pub(super) const CACHE_IGNORE: [(&str, Influence); 4] = [
    ("clock", Influence::Clock),
    ("random", Influence::Random),
    ("network", Influence::Network),
    ("run", Influence::Run),
];

/// `limits.memory`.
pub(super) const MEMORY: RangeInclusive<u64> = 1 << 20..=4 << 30;
/// `limits.cpu` and `limits.wall`.
pub(super) const TIME: RangeInclusive<Duration> = MILLISECOND..=Duration::from_hours(30 * 24);
/// `limits.output`.
pub(super) const OUTPUT: RangeInclusive<u64> = 1..=1 << 50;
/// `limits.log`.
pub(super) const LOG: RangeInclusive<u64> = 1 << 10..=1 << 30;
/// `limits.handles`.
pub(super) const HANDLES: RangeInclusive<u64> = 1..=10_000;
/// `limits.metric_names`.
pub(super) const METRIC_NAMES: RangeInclusive<u64> = 1..=1_000;
/// `limits.http_body`.
pub(super) const HTTP_BODY: RangeInclusive<u64> = 1..=1 << 40;
/// `limits.http_requests`.
pub(super) const HTTP_REQUESTS: RangeInclusive<u64> = 1..=1_000_000;
/// `limits.http_wait`.
pub(super) const HTTP_WAIT: RangeInclusive<Duration> = MILLISECOND..=Duration::from_hours(1);

impl Limits {
    /// Returns the most that a manifest can set each limit to.
    #[must_use]
    pub fn most() -> Self {
        let number = |most: &u64| u32::try_from(*most).unwrap_or(u32::MAX);
        Self {
            memory_bytes: *MEMORY.end(),
            cpu: *TIME.end(),
            wall: *TIME.end(),
            output_bytes: *OUTPUT.end(),
            log_bytes: *LOG.end(),
            handles: number(HANDLES.end()),
            metric_names: number(METRIC_NAMES.end()),
            http_body_bytes: *HTTP_BODY.end(),
            http_requests: number(HTTP_REQUESTS.end()),
            http_wait: *HTTP_WAIT.end(),
        }
    }
}

/// Headers of a request that the host itself writes or that concern the connection. Secrets cannot
/// be put there.
pub(super) const HOST_HEADERS: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
/// Maximum number of hosts that one action may be granted.
pub(super) const MAX_HOSTS: usize = 100;

/// `approval.timeout`.
pub(super) const APPROVAL_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(365 * 24);

/// `retry.max_attempts`.
pub(super) const ATTEMPTS: RangeInclusive<u64> = 1..=100;
/// `retry.backoff` and `retry.max_backoff`.
pub(super) const BACKOFF: RangeInclusive<Duration> = MILLISECOND..=DAY;

/// Maximum number of `args` of a command.
pub(super) const MAX_ARGS: usize = 1_000;

/// `kind` of a notification.
#[derive(Debug, Clone, Copy)]
pub(super) enum ChannelKind {
    Webhook,
    Slack,
    Email,
}
/// Which kind of metadata store a table is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreKind {
    Sqlite,
    Postgres,
    Redis,
}
/// `on` of a notification.
pub(super) const NOTIFY_ON: [(&str, NotifyCause); 4] = [
    (NotifyCause::RunFailed.as_str(), NotifyCause::RunFailed),
    (NotifyCause::RunSucceeded.as_str(), NotifyCause::RunSucceeded),
    (NotifyCause::AwaitingApproval.as_str(), NotifyCause::AwaitingApproval),
    (NotifyCause::ResourceUnreachable.as_str(), NotifyCause::ResourceUnreachable),
];
/// `nothing_new_for` of a notification.
pub(super) const NOTHING_NEW_FOR: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(365 * 24);
/// `retry_for` of a notification.
pub(super) const RETRY_FOR: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(30 * 24);
/// Default of `retry_for`.
pub(super) const DEFAULT_RETRY_FOR: Duration = DAY;
