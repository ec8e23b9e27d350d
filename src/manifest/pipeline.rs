//! A checked pipeline: the values of a manifest with defaults filled in and paths resolved.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::action::{ActionSpec, Build};
use super::condition::{Condition, TriggerSpec};
use super::decider::Decider;
use super::group_by::GroupBy;
use super::http::{HttpForm, HttpSpec};
use super::openlineage::OpenLineageSpec;
use super::params_schema::ParamsSchema;
use super::retention::Retention;
use super::s3::S3Spec;
use super::secret::{SecretSource, UrlSource};
use super::sql::{SqlDatabase, SqlSpec};
use super::store::StoreSpec;
use crate::base::Digest;
use crate::model::{Durability, NotifyCause};

/// Default of a folder's `ignore`: names that editors, browsers and uploaders give to unfinished
/// files.
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

/// Default of `trigger.max_artifacts`, if `min_artifacts` is not larger: as many artifacts as one
/// run can hold in memory, in the host and in a guest.
pub(super) const DEFAULT_MAX_ARTIFACTS: u64 = 10_000;

/// The checked content of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// `pipeline.name`.
    pub name: String,
    /// The folder of the manifest, absolute. Relative paths are resolved against it.
    pub folder: PathBuf,
    /// The manifest's file.
    pub file: PathBuf,
    /// The manifest's text as it is recorded, with `${…}` unexpanded.
    pub text: String,
    /// The same text, parsed. Pages show what is written there.
    pub tables: Arc<toml::Table>,
    /// `pipeline.join`.
    pub join: Join,
    /// `pipeline.max_concurrent_runs`, 1 to 1,000.
    pub max_concurrent_runs: u32,
    /// `pipeline.max_concurrent_actions`: how many attempts are active at once over all runs, 1 to
    /// 100.
    pub max_concurrent_actions: u32,
    /// `pipeline.concurrency`: how many attempts at once may use each name, 1 to 1,000.
    pub concurrency: BTreeMap<String, u32>,
    /// `pipeline.params`, a JSON object.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// `pipeline.params_schema`: what the params of a run must fit.
    pub params_schema: Option<ParamsSchema>,
    /// `server.listen`.
    pub listen: SocketAddr,
    /// `server.hosts`: names besides its address under which the server is reached, in lower case.
    /// A name without a port is valid for any port.
    pub hosts: Vec<String>,
    /// `server.base_path`: the path below which people reach the server, such as `/anacostia`;
    /// empty if they reach it at `/`.
    pub base_path: String,
    /// `server.tls`: the files of a certificate, with which the server speaks TLS.
    pub tls: Option<TlsSpec>,
    /// `server.insecure`: allows plain HTTP on addresses other than loopback.
    pub insecure: bool,
    /// `server.token_sha256`: digest of the required bearer token. Mandatory on addresses other
    /// than loopback.
    pub token: Option<Digest>,
    /// `server.public_url`, without a slash at the end: where people reach the server, for links.
    pub public_url: Option<String>,
    /// `metadata_store`, without `durability`.
    pub store: StoreSpec,
    /// `metadata_store.durability`: applies to the store and to outputs that are published to local
    /// resources.
    pub durability: Durability,
    /// `pipeline.state`, absolute: the folder in which the host keeps logs and components.
    pub state: PathBuf,
    /// `pipeline.logs`: bytes of log lines that are retained, besides those of active runs (default
    /// 1 GiB).
    pub max_log_bytes: u64,
    /// `retention`.
    pub retention: Retention,
    /// `resources`, in the order of the file.
    pub resources: Vec<ResourceSpec>,
    /// `actions`, in the order of the file.
    pub actions: Vec<ActionSpec>,
    /// `triggers`, in the order of the file.
    pub triggers: Vec<TriggerSpec>,
    /// `notify`, in the order of the file.
    pub notify: Vec<NotifySpec>,
    /// `openlineage`, in the order of the file.
    pub openlineage: Vec<OpenLineageSpec>,
}

impl Pipeline {
    /// Returns the resource of this name.
    #[must_use]
    pub fn resource(&self, name: &str) -> Option<&ResourceSpec> {
        self.resources.iter().find(|resource| resource.name == name)
    }

    /// Returns its params, overridden by these.
    #[must_use]
    pub fn params_with(
        &self,
        own: &serde_json::Map<String, serde_json::Value>,
    ) -> serde_json::Map<String, serde_json::Value> {
        let mut merged = self.params.clone();
        merged.extend(own.clone());
        merged
    }

    /// Returns the components that its triggers ask, those of resources first.
    pub fn deciders(&self) -> impl Iterator<Item = &Decider> {
        let of_resources = self.resources.iter().flat_map(|resource| &resource.trigger.when);
        let all = of_resources.chain(self.triggers.iter().flat_map(|trigger| &trigger.when));
        all.flat_map(Condition::flat).filter_map(Condition::decider)
    }

    /// Returns all components that it uses: those of its actions, then those of its triggers.
    pub fn components(&self) -> impl Iterator<Item = ComponentUse<'_>> {
        let actions = self.actions.iter().map(|action| ComponentUse {
            name: &action.name,
            file: &action.component,
            build: action.build.as_ref(),
        });
        let deciders = self.deciders().map(|decider| ComponentUse {
            name: &decider.name,
            file: &decider.file,
            build: decider.build.as_ref(),
        });
        actions.chain(deciders)
    }

    /// Returns the action of this name.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<&ActionSpec> {
        self.actions.iter().find(|action| action.name == name)
    }
}

/// The files of a certificate, absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSpec {
    /// The certificate and those between it and its authority, as PEM.
    pub cert: PathBuf,
    /// Its key, as PEM.
    pub key: PathBuf,
}

/// A component that a pipeline uses.
#[derive(Debug, Clone, Copy)]
pub struct ComponentUse<'p> {
    /// The name of its action, or of its trigger: see [`Decider::name`].
    pub name: &'p str,
    /// Its file, absolute.
    pub file: &'p Path,
    /// How to build it.
    pub build: Option<&'p Build>,
}

impl ComponentUse<'_> {
    /// Returns what uses it, for display: `action train`, or `trigger raw`.
    #[must_use]
    pub fn title(&self) -> String {
        let is_trigger = self.name.contains(' ');
        if is_trigger { self.name.to_owned() } else { format!("action {}", self.name) }
    }
}

/// When a run starts, if several resources are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// When the triggers of all of them are satisfied.
    #[default]
    All,
    /// When the trigger of one of them is satisfied.
    Any,
}

/// An input or output.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceSpec {
    /// Its name.
    pub name: String,
    /// Its kind, with the settings of that kind.
    pub kind: ResourceKind,
    /// Whether it is watched and triggers runs.
    pub watch: bool,
    /// When it triggers; only meaningful if it is watched.
    pub trigger: Trigger,
    /// The model of which outputs in it become versions.
    pub model: Option<String>,
}

impl ResourceSpec {
    /// Returns `kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.kind {
            ResourceKind::Folder(_) => "folder",
            ResourceKind::S3(_) => "s3",
            ResourceKind::Sql(_) => "sql",
            ResourceKind::Http(_) => "http",
        }
    }

    /// Returns the name of the icon of the kind, which is one of `ui/templates/sprite.html`.
    #[must_use]
    pub fn icon(&self) -> &'static str {
        match &self.kind {
            ResourceKind::Folder(_) => "folder",
            ResourceKind::S3(_) => "cloud",
            ResourceKind::Sql(_) => "database",
            ResourceKind::Http(_) => "web",
        }
    }

    /// Describes the location for display, without passwords.
    #[must_use]
    pub fn location(&self) -> String {
        match &self.kind {
            ResourceKind::Folder(folder) => folder.path.display().to_string(),
            ResourceKind::S3(s3) => s3.location(),
            ResourceKind::Sql(sql) => sql.database.location(),
            ResourceKind::Http(http) => http.location(),
        }
    }

    /// Says what to do so that something new is there, before its location.
    #[must_use]
    pub fn how_to_add(&self) -> &'static str {
        if matches!(self.kind, ResourceKind::Sql(_)) { "add a row to" } else { "put a file into" }
    }

    /// Returns the keys of its table in the manifest that give its location, the most important one
    /// first.
    #[must_use]
    pub fn location_keys(&self) -> &'static [&'static str] {
        match &self.kind {
            ResourceKind::Folder(_) => &["path"],
            ResourceKind::S3(_) => &["bucket", "prefix", "endpoint"],
            ResourceKind::Http(_) | ResourceKind::Sql(_) => &["url"],
        }
    }

    /// Returns a text of [`Self::location_keys`], as it is written in the manifest, for display:
    /// that of an endpoint without its query, in which a secret may be.
    #[must_use]
    pub fn shown(&self, mut written: String) -> String {
        if let (ResourceKind::Http(_), Some(end)) = (&self.kind, written.find('?')) {
            written.truncate(end);
        }
        written
    }

    /// Returns what holds its data on this machine; `None` for a resource on another machine.
    #[must_use]
    pub fn local_data(&self) -> Option<LocalData<'_>> {
        match &self.kind {
            ResourceKind::Folder(folder) => Some(LocalData::Folder(&folder.path)),
            ResourceKind::Sql(SqlSpec { database: SqlDatabase::Sqlite { path }, .. }) => Some(LocalData::File(path)),
            ResourceKind::S3(_) | ResourceKind::Http(_) | ResourceKind::Sql(_) => None,
        }
    }

    /// Returns the globs of included paths; empty means all.
    #[must_use]
    pub fn include(&self) -> &[String] {
        match &self.kind {
            ResourceKind::Folder(folder) => &folder.include,
            ResourceKind::S3(s3) => &s3.include,
            ResourceKind::Http(_) | ResourceKind::Sql(_) => &[],
        }
    }

    /// Returns the globs of excluded paths.
    #[must_use]
    pub fn exclude(&self) -> &[String] {
        match &self.kind {
            ResourceKind::Folder(folder) => &folder.exclude,
            ResourceKind::S3(s3) => &s3.exclude,
            ResourceKind::Http(_) | ResourceKind::Sql(_) => &[],
        }
    }

    /// Returns the globs of ignored names; `None` if the kind ignores none.
    #[must_use]
    pub fn ignore(&self) -> Option<&[String]> {
        match &self.kind {
            ResourceKind::Folder(folder) => Some(&folder.ignore),
            ResourceKind::S3(_) | ResourceKind::Http(_) | ResourceKind::Sql(_) => None,
        }
    }

    /// Returns the bucket that it is in.
    pub(super) fn bucket(&self) -> Option<&S3Spec> {
        if let ResourceKind::S3(s3) = &self.kind { Some(s3) } else { None }
    }

    /// Returns its settings, if it is a database or rows of one.
    pub(super) fn sql(&self) -> Option<&SqlSpec> {
        if let ResourceKind::Sql(sql) = &self.kind { Some(sql) } else { None }
    }

    /// Returns the database that it is.
    pub(super) fn database(&self) -> Option<&SqlDatabase> {
        self.sql().map(|sql| &sql.database)
    }

    /// Returns what to do if no action can write to it; `None` if actions can.
    pub(super) fn takes_no_outputs(&self) -> Option<&'static str> {
        match &self.kind {
            ResourceKind::Http(http) => http.takes_no_outputs(),
            ResourceKind::Sql(_) if self.watch => {
                Some("its own rows would come back: name the database in a second resource, without `watch`")
            }
            ResourceKind::Folder(_) | ResourceKind::S3(_) | ResourceKind::Sql(_) => None,
        }
    }

    /// Returns whether it can only have what its watch has found, because no action writes to it.
    pub(super) fn is_filled_by_its_watch(&self) -> bool {
        matches!(&self.kind, ResourceKind::Http(http) if http.takes_no_outputs().is_some())
    }

    /// Returns whether other programs upload its artifacts to this host.
    #[must_use]
    pub fn takes_uploads(&self) -> bool {
        matches!(&self.kind, ResourceKind::Http(http) if http.form == HttpForm::Push)
    }

    /// Sets the absolute path, for a kind that is on this machine.
    pub(super) fn set_local_path(&mut self, path: PathBuf) {
        match &mut self.kind {
            ResourceKind::Folder(folder) => folder.path = path,
            ResourceKind::Sql(sql) => {
                if matches!(sql.database, SqlDatabase::Sqlite { .. }) {
                    sql.database = SqlDatabase::Sqlite { path };
                }
            }
            ResourceKind::S3(_) | ResourceKind::Http(_) => {}
        }
    }
}

/// What holds the data of a resource on this machine. Paths are absolute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalData<'a> {
    /// A folder, with everything in it.
    Folder(&'a Path),
    /// One file, of which several resources may use different parts. Files beside it whose names
    /// begin with its name belong to it too.
    File(&'a Path),
}

impl<'a> LocalData<'a> {
    /// Returns the path.
    #[must_use]
    pub fn path(self) -> &'a Path {
        let (Self::Folder(path) | Self::File(path)) = self;
        path
    }
}

/// The kind of a resource, with its settings.
#[derive(Debug, Clone, PartialEq)]
pub enum ResourceKind {
    /// A folder of files.
    Folder(FolderSpec),
    /// A bucket of an S3-compatible service.
    S3(S3Spec),
    /// The rows of a database.
    Sql(SqlSpec),
    /// An endpoint of a server, or uploads to this host.
    Http(HttpSpec),
}

impl ResourceKind {
    /// Returns how many bytes of content the host keeps in all; `None` if it keeps no content of
    /// the kind.
    pub(super) fn max_kept(&self) -> Option<u64> {
        match self {
            Self::Http(http) => Some(http.max_kept),
            Self::Sql(sql) => Some(sql.max_kept),
            Self::Folder(_) | Self::S3(_) => None,
        }
    }
}

/// A folder of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderSpec {
    /// The folder, absolute.
    pub path: PathBuf,
    /// Globs of included paths; empty means all.
    pub include: Vec<String>,
    /// Globs of excluded paths, besides the ignored names.
    pub exclude: Vec<String>,
    /// Globs of ignored file and folder names, case-insensitive.
    pub ignore: Vec<String>,
    /// How long size and time must stay unchanged before a file counts as complete, if the system
    /// cannot tell whether it is open for writing.
    pub settle: Duration,
    /// How often the whole folder is scanned, in case a change was missed.
    pub rescan: Duration,
}

impl FolderSpec {
    /// Returns the default of `ignore`: the temporary names of editors, browsers and uploaders.
    #[must_use]
    pub fn default_ignore() -> Vec<String> {
        DEFAULT_IGNORE.map(str::to_owned).to_vec()
    }
}

/// When a watched resource triggers: `min_artifacts` and `min_bytes` are both reached, nothing new
/// has arrived for `quiet_for`, and each further condition is met; or the oldest artifact has
/// waited for `max_wait`.
#[derive(Debug, Clone, PartialEq)]
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
    /// Trigger anyway when the oldest artifact has waited for this long.
    pub max_wait: Option<Duration>,
    /// Puts artifacts into groups by their paths. A run takes artifacts of one group, and the
    /// conditions on artifacts are about that group.
    pub group_by: Option<GroupBy>,
    /// Further conditions (default: none).
    pub when: Vec<Condition>,
    /// See [`TriggerSpec::retrigger`].
    pub retrigger: bool,
}

impl Default for Trigger {
    fn default() -> Self {
        let max_artifacts = Some(DEFAULT_MAX_ARTIFACTS);
        Self {
            min_artifacts: 1,
            max_artifacts,
            min_bytes: 0,
            quiet_for: Duration::ZERO,
            max_wait: None,
            group_by: None,
            when: Vec::new(),
            retrigger: false,
        }
    }
}

/// A receiver of notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifySpec {
    /// Its name.
    pub name: String,
    /// `on`: what it is told about.
    pub on: Vec<NotifyCause>,
    /// It is told when nothing new has arrived for this long: in all watched resources together, or
    /// in each of `resources` by itself.
    pub nothing_new_for: Option<Duration>,
    /// The resources that it is told about; all if there are none.
    pub resources: Vec<String>,
    /// Only runs in which this action ended as the run did: succeeded or failed.
    pub action: Option<String>,
    /// For how long a delivery is tried again.
    pub retry_for: Duration,
    /// How it is reached.
    pub channel: ChannelSpec,
}

impl NotifySpec {
    /// Returns whether it is told about this resource.
    #[must_use]
    pub fn is_about(&self, resource: &str) -> bool {
        self.resources.is_empty() || self.resources.iter().any(|name| name == resource)
    }
}

/// How a receiver of notifications is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelSpec {
    /// A signed POST of JSON.
    Webhook {
        /// The address.
        url: UrlSource,
        /// The key of the signature.
        secret: SecretSource,
    },
    /// A POST of `{"text": …}`.
    Slack {
        /// The address.
        url: UrlSource,
    },
    /// An e-mail.
    Email(MailSpec),
}

impl ChannelSpec {
    /// Returns `kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::Email(_) => "email",
        }
    }
}

/// How e-mail is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailSpec {
    /// The sender.
    pub from: String,
    /// The recipients; at least one.
    pub to: Vec<String>,
    /// The URL of the mail server, without a password.
    pub smtp: String,
    /// User and password at the mail server.
    pub login: Option<(SecretSource, SecretSource)>,
}
