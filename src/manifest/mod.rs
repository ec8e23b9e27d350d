//! Floor 2: turns `anacostia.toml` into a checked pipeline, or into diagnostics with places.
//!
//! [`load`] reads, checks and resolves a manifest; a pipeline that it returns can be run. It finds
//! every mistake that can be found without running the pipeline, and reports all of them at once:
//! [`Problems`] has each mistake with its place in the text and advice on how to fix it.
//!
//! Steps: the `toml` crate parses the text to a tree with places, `read` turns the tree into an
//! unchecked manifest (through the typed getters of `tree`), and `check` compares its parts with
//! each other and with the disk. If no step reports a problem, it becomes a [`Pipeline`].
//! `serde` is not used: it stops at the first error, has no place for a missing key, and its
//! message for an unknown key does not help the user.

mod action;
mod approval;
mod check;
mod component;
mod component_cache;
mod component_file;
mod component_wit;
mod condition;
mod dataset;
mod decider;
mod expand;
mod group_by;
mod http;
mod keys;
mod listen;
mod openlineage;
mod origin;
mod params_schema;
mod pipeline;
mod place;
mod problem;
mod read;
mod retention;
mod s3;
mod schema;
mod secret;
mod settings;
mod sql;
mod store;
mod tree;
mod trigger_keys;
mod written;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

pub use action::{ActionSpec, Backoff, Build, CacheSpec, HeaderSecretSpec, Limits, Retry, RunWhen};
pub use approval::ApprovalSpec;
pub use component::{ComponentInfo, Grant, Need, World, need};
pub use component_cache::inspect_known;
pub use component_file::{ComponentError, inspect, inspect_file, read_component};
pub use component_wit::{WitError, wit, wit_known};
pub use condition::{AfterRun, Condition, MetricTest, Missed, TriggerSpec};
pub use dataset::DatasetName;
pub use decider::Decider;
pub use expand::Env;
pub use group_by::GroupBy;
pub use http::{HttpForm, HttpMethod, HttpSpec, HttpValue, Paging};
pub(crate) use keys::nearest;
pub use keys::schema;
pub use listen::{ListenError, check_listen, parse_listen};
pub use openlineage::{DEFAULT_NAMESPACE, LineageTarget, OpenLineageSpec};
pub use origin::{Origin, origin};
pub use params_schema::{ParamError, ParamsSchema};
pub use pipeline::{
    ChannelSpec, ComponentUse, FolderSpec, Join, LocalData, MailSpec, NotifySpec, Pipeline, ResourceKind, ResourceSpec,
    TlsSpec, Trigger,
};
pub use problem::{Location, MAX_PROBLEMS, Problem, Problems};
pub use retention::{Retention, RunRetention};
pub use s3::{S3Credentials, S3Spec, S3Style};
pub use secret::{SecretSource, UrlSource};
pub use sql::{SqlDatabase, SqlFormat, SqlFrom, SqlRows, SqlSpec, TableNames};
pub use store::StoreSpec;

use crate::base::{ByteSize, bounds};
use read::UncheckedManifest;
use tree::Reader;

/// The name of a manifest in its folder.
pub const MANIFEST_FILE: &str = "anacostia.toml";

/// Maximum number of syntax errors that are reported. Later ones are mostly caused by the first.
const MAX_SYNTAX_ERRORS: usize = 3;

/// What [`load`] checks besides the manifest itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadOptions {
    /// Whether to check the components.
    pub components: Components,
}

/// Whether to check the components.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Components {
    /// Checks that each component exists, is an action, and is granted what it imports, and that
    /// secrets are set. Used before a run; the sources of builds need not exist.
    #[default]
    Check,
    /// Does not read the components, and secrets need not be set, but the sources of builds must
    /// exist. Used before a build.
    Skip,
}

/// Reads and checks a manifest. `path` is its file, or a folder with [`MANIFEST_FILE`] in it; `env`
/// looks up variables of the environment.
///
/// # Errors
/// Returns all problems of the manifest.
pub fn load(path: &Path, env: Env<'_>, options: LoadOptions) -> Result<Pipeline, Problems> {
    let Written { name, text, file, folder } = Written::read(path)?;
    parse(&name, &text, env, options.components == Components::Check, |reader, draft| {
        check::paths::fill_in(&folder, draft);
        check::paths::check(reader, &folder, &file, draft);
        check::openlineage(reader, &folder, draft);
        check::rows(reader, draft);
        check::unused_limits(reader, draft);
        check::models(reader, draft);
        check::idle(reader, &folder, draft);
        match options.components {
            Components::Check => check::components::check(reader, draft),
            Components::Skip => check::paths::check_sources(reader, &folder, draft),
        }
    })
    .map(|draft| finish(draft, &folder, &file, &text))
}

/// Loads as much of a manifest as is needed to read the records of its pipeline, above all the
/// location of the metadata store, and returns its problems, if there are any. Invalid values are
/// left out or replaced by defaults. The disk, the components and the edges are not checked.
///
/// # Errors
/// Returns an error if there is no manifest, or if the location of the metadata store cannot be
/// determined from it.
pub fn load_for_records(path: &Path, env: Env<'_>) -> Result<(Pipeline, Option<Problems>), Problems> {
    let Written { name, text, file, folder } = Written::read(path)?;
    let (tree, errors) = DeTable::parse_recoverable(&text);
    let mut reader = Reader::new(&text, env, false);
    let mut draft = read::draft(&mut reader, tree.get_ref());
    let mut problems = syntax(&text, &errors);
    problems.extend(reader.into_problems());
    let faults = (!problems.is_empty()).then(|| Problems::new(&name, &text, problems));
    // Text that does not parse is missing from the tree, so the store's own table must be there.
    let sure = draft.top.store_is_known && (errors.is_empty() || tree.get_ref().contains_key("metadata_store"));
    match faults {
        Some(faults) if !sure => Err(faults),
        faults => {
            check::paths::fill_in(&folder, &mut draft);
            // A path that could not be read is empty.
            let is_whole =
                |spec: &ResourceSpec| spec.local_data().is_none_or(|data| !data.path().as_os_str().is_empty());
            draft.resources.retain(|resource| resource.spec.as_ref().is_some_and(is_whole));
            Ok((finish(draft, &folder, &file, &text), faults))
        }
    }
}

/// Returns the store that a command names: by the file of a database, or by a URL such as
/// `postgres://anna@db.example.com/lab?schema=penguins`, whose password is in `PGPASSWORD`, or
/// `redis://cache.example.com?prefix=penguins`, whose password is in `REDIS_PASSWORD`.
///
/// # Errors
/// Returns what is wrong with it, and what to do about it.
pub fn store_at(text: &str, env: Env<'_>) -> Result<StoreSpec, String> {
    read::store_at(text, env)
}

/// Parses the recorded text of a manifest again, for a run that continues after a restart. The text
/// was checked when it was recorded. The disk is not checked, because the files there may belong to
/// a later manifest.
///
/// # Errors
/// Returns an error if a variable is no longer set, or if the text is invalid.
pub fn parse_pinned(text: &str, folder: &Path, file: &Path, env: Env<'_>) -> Result<Pipeline, Problems> {
    let name = file.to_string_lossy();
    parse(&name, text, env, false, |_, draft| check::paths::fill_in(folder, draft))
        .map(|draft| finish(draft, folder, file, text))
}

/// The text of a manifest and its location.
struct Written {
    /// The file name as the caller gave it.
    name: String,
    text: String,
    file: PathBuf,
    folder: PathBuf,
}

impl Written {
    /// `path` is the file, or a folder with [`MANIFEST_FILE`] in it.
    fn read(path: &Path) -> Result<Self, Problems> {
        let file = match path {
            path if path == Path::new(".") => PathBuf::from(MANIFEST_FILE),
            path if path.is_dir() => path.join(MANIFEST_FILE),
            path => path.to_owned(),
        };
        let name = file.to_string_lossy().into_owned();
        let text = read_text(&file, &name)?;
        let unresolved =
            |error| Problems::unread(&name, Problem::new(format!("the manifest's folder is unknown: {error}")));
        let file: PathBuf = std::path::absolute(&file).map_err(unresolved)?;
        let folder = file.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
        Ok(Self { name, text, file, folder })
    }
}

/// Parses a text to a manifest without problems. `look` checks what lies outside of the text.
fn parse(
    name: &str,
    text: &str,
    env: Env<'_>,
    secrets_needed: bool,
    look: impl FnOnce(&mut Reader<'_>, &mut UncheckedManifest),
) -> Result<UncheckedManifest, Problems> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(Problems::new(name, text, syntax(text, &errors)));
    }
    let mut reader = Reader::new(text, env, secrets_needed);
    let mut draft = read::draft(&mut reader, tree.get_ref());
    check::edges(&mut reader, &draft);
    check::tables(&mut reader, &draft);
    check::concurrency(&mut reader, &draft);
    check::notify(&mut reader, &draft);
    look(&mut reader, &mut draft);
    match reader.into_problems() {
        problems if problems.is_empty() => Ok(draft),
        problems => Err(Problems::new(name, text, problems)),
    }
}

/// Reads the text of a manifest, after checking its size.
fn read_text(file: &Path, name: &str) -> Result<String, Problems> {
    let refuse = |problem: Problem| Problems::unread(name, problem);
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => refuse(
            Problem::new(format!("there is no manifest {}", problem::quoted(name)))
                .help(format!("name a manifest, or a folder with `{MANIFEST_FILE}` in it")),
        ),
        _ => refuse(Problem::new(format!("the manifest {} cannot be read: {error}", problem::quoted(name)))),
    };
    if !std::fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err(refuse(Problem::new(format!("the manifest {} is not a file", problem::quoted(name)))));
    }
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    opened.take(bounds::MAX_MANIFEST_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bounds::MAX_MANIFEST_BYTES {
        let most = ByteSize(bounds::MAX_MANIFEST_BYTES);
        return Err(refuse(Problem::new(format!("the manifest {} is larger than {most}", problem::quoted(name)))));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let problem = Problem::new("a manifest is UTF-8 text, and this is not").at(&(at..at + 3), "here");
        Problems::new(name, &text, vec![problem])
    })
}

/// Converts TOML's own errors: the first of each line, and the first duplicate key. The others are
/// mostly about the same mistake.
fn syntax(text: &str, errors: &[toml::de::Error]) -> Vec<Problem> {
    let mut by_line = std::collections::BTreeMap::new();
    let twice = |error: &&toml::de::Error| error.message() == "duplicate key";
    let first_twice = errors.iter().filter(twice).min_by_key(|error| error.span().map(|span| span.start));
    for error in errors.iter().filter(|error| !twice(error)).chain(first_twice) {
        let span = error.span().unwrap_or(0..0);
        let line = text.get(..span.start).unwrap_or(text).matches('\n').count();
        let first = by_line.entry(line).or_insert((span.clone(), error));
        if span.start < first.0.start {
            *first = (span, error);
        }
    }
    by_line
        .into_values()
        .take(MAX_SYNTAX_ERRORS)
        .map(|(span, error)| match text.get(span.clone()) {
            Some(key) if error.message() == "duplicate key" => {
                Problem::new(format!("{} appears twice in the same table", problem::quoted(key)))
                    .at(&span, "again")
                    .help("put both together, or rename one")
            }
            _ => Problem::new(crate::base::escape(error.message().as_bytes())).at(&span, "here"),
        })
        .collect()
}

/// Turns a manifest without problems into a pipeline.
fn finish(draft: UncheckedManifest, folder: &Path, file: &Path, text: &str) -> Pipeline {
    let top = draft.top;
    let (store, state, tls) = (top.store_spec(folder), top.state_folder(folder), top.tls(folder));
    Pipeline {
        name: top.name,
        folder: folder.to_owned(),
        file: file.to_owned(),
        text: text.to_owned(),
        tables: Arc::new(text.parse().unwrap_or_default()),
        join: top.join.value,
        max_concurrent_runs: top.max_concurrent_runs,
        max_concurrent_actions: top.max_concurrent_actions,
        concurrency: top.concurrency,
        params: top.params,
        params_schema: top.params_schema,
        listen: top.listen,
        hosts: top.hosts,
        base_path: top.base_path,
        tls,
        insecure: top.insecure,
        token: top.token,
        public_url: top.public_url,
        store,
        durability: top.durability,
        state,
        max_log_bytes: top.max_log_bytes,
        retention: draft.retention,
        resources: draft.resources.into_iter().filter_map(|resource| resource.spec).collect(),
        actions: draft.actions.into_iter().map(|action| action.spec).collect(),
        triggers: draft.triggers.into_iter().map(|trigger| trigger.spec).collect(),
        notify: draft.notify.into_iter().filter_map(|it| it.spec).collect(),
        openlineage: draft.openlineage.into_iter().filter_map(|it| it.spec).collect(),
    }
}
