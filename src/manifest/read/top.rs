//! `manifest_version`, `[pipeline]`, `[server]` and `[metadata_store]`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::super::keys;
use super::super::listen::{check_listen, parse_listen};
use super::super::params_schema::ParamsSchema;
use super::super::pipeline::{Join, TlsSpec};
use super::super::place::absolute;
use super::super::problem::{Problem, quoted};
use super::super::settings::{self, DEFAULT_STATE, MANIFEST_VERSION};
use super::super::store::StoreSpec;
use super::super::tree::{At, Reader, Table};
use super::path::checked_path;
use super::{concurrency, params, store};
use crate::base::{Digest, Endpoint, Host, check_name};
use crate::model::Durability;

/// The values outside of resources and actions, with defaults filled in.
pub(in super::super) struct Top {
    pub(in super::super) name: String,
    pub(in super::super) join: At<Join>,
    pub(in super::super) max_concurrent_runs: u32,
    pub(in super::super) max_concurrent_actions: u32,
    pub(in super::super) concurrency: BTreeMap<String, u32>,
    /// The names in `concurrency`, with their places.
    pub(in super::super) concurrency_names: Vec<At<String>>,
    /// Whether `concurrency` may have other names than those that were read.
    pub(in super::super) perhaps_more_concurrency: bool,
    pub(in super::super) params: serde_json::Map<String, serde_json::Value>,
    pub(in super::super) params_schema: Option<ParamsSchema>,
    pub(in super::super) listen: SocketAddr,
    pub(in super::super) hosts: Vec<String>,
    pub(in super::super) base_path: String,
    /// `server.tls` as written: the certificate and the key.
    pub(in super::super) tls: Option<(String, String)>,
    pub(in super::super) insecure: bool,
    pub(in super::super) token: Option<Digest>,
    pub(in super::super) public_url: Option<String>,
    /// `metadata_store.path` as written.
    pub(in super::super) store: At<String>,
    /// The store, if it is on a server.
    pub(in super::super) server_store: Option<StoreSpec>,
    /// Whether `store` is reliable: no key that affects it has a problem.
    pub(in super::super) store_is_known: bool,
    pub(in super::super) durability: Durability,
    /// `pipeline.state` as written.
    pub(in super::super) state: Option<At<String>>,
    pub(in super::super) max_log_bytes: u64,
}

impl Top {
    /// Returns the location of the store. Relative paths are resolved against `folder`.
    pub(in super::super) fn store_spec(&self, folder: &Path) -> StoreSpec {
        let file = || StoreSpec::Sqlite { path: absolute(folder, &self.store.value) };
        self.server_store.clone().unwrap_or_else(file)
    }

    /// Returns the files of the certificate.
    pub(in super::super) fn tls(&self, folder: &Path) -> Option<TlsSpec> {
        let (cert, key) = self.tls.as_ref()?;
        Some(TlsSpec { cert: absolute(folder, cert), key: absolute(folder, key) })
    }

    /// Returns the folder for logs and components. If the manifest does not set it, this is the
    /// folder of the store's file, or [`DEFAULT_STATE`] for a store on another machine. With the
    /// default of `metadata_store.path` both are the same folder.
    pub(in super::super) fn state_folder(&self, folder: &Path) -> PathBuf {
        if let Some(state) = &self.state {
            return absolute(folder, &state.value);
        }
        let store = self.store_spec(folder);
        let beside = store.local_paths().first().and_then(|file| file.parent());
        beside.map_or_else(|| absolute(folder, DEFAULT_STATE), Path::to_owned)
    }
}

pub(super) fn read(reader: &mut Reader<'_>, root: &Table<'_>) -> Top {
    version(reader, root);
    let store = store::read(reader, root);
    let mut top = Top {
        name: String::new(),
        join: At { value: Join::All, span: 0..0 },
        max_concurrent_runs: 1,
        max_concurrent_actions: settings::DEFAULT_CONCURRENT_ACTIONS,
        concurrency: BTreeMap::new(),
        concurrency_names: Vec::new(),
        perhaps_more_concurrency: false,
        params: serde_json::Map::new(),
        params_schema: None,
        listen: settings::DEFAULT_LISTEN,
        hosts: Vec::new(),
        base_path: String::new(),
        tls: None,
        insecure: false,
        token: None,
        public_url: None,
        store: store.path,
        server_store: store.server,
        store_is_known: store.is_known,
        durability: store.durability,
        state: None,
        max_log_bytes: settings::DEFAULT_LOGS,
    };
    pipeline(reader, root, &mut top);
    server(reader, root, &mut top);
    top
}

fn version(reader: &mut Reader<'_>, root: &Table<'_>) {
    let help = format!("this version of anacostia reads `manifest_version = {MANIFEST_VERSION}`");
    let problem = match root.get("manifest_version").map(|value| (value.get_ref(), value.span())) {
        Some((DeValue::Integer(number), _)) if number.as_str() == MANIFEST_VERSION => return,
        Some((DeValue::Integer(number), span)) => {
            Problem::new(format!("manifest version {number} is not known")).at(&span, "not known").help(help)
        }
        Some((_, span)) => Problem::new("`manifest_version` must be a whole number").at(&span, "here").help(help),
        None if reader.is_meant(root, "manifest_version") => return,
        None => Problem::new("`manifest_version` is missing")
            .at(&(0..0), "before everything else")
            .help(format!("add `manifest_version = {MANIFEST_VERSION}` as the first line")),
    };
    reader.complain(problem);
}

fn pipeline(reader: &mut Reader<'_>, root: &Table<'_>, top: &mut Top) {
    if root.get("pipeline").is_none() && !reader.is_meant(root, "pipeline") {
        let help = "add\n[pipeline]\nname = \"my-pipeline\"";
        reader.complain(Problem::new("the table `[pipeline]` is missing").at(&root.at, "").help(help));
    }
    let Some(table) = reader.table(root, "pipeline", "[pipeline]", &keys::PIPELINE, "`[pipeline]`") else { return };
    if let Some(name) = reader.required_string(&table, "name", "\"my-pipeline\"") {
        if let Err(error) = check_name(&name.value) {
            reader.complain(
                Problem::new(format!("{} cannot name a pipeline", quoted(&name.value)))
                    .at(&name.span, "this name")
                    .help(error.to_string()),
            );
        }
        top.name = name.value;
    }
    if let Some(join) = reader.choice(&table, "join", &settings::JOIN, &[]) {
        top.join = join;
    }
    let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    top.max_concurrent_runs = count(reader.integer_or_default(&table, "max_concurrent_runs"));
    top.max_concurrent_actions = count(reader.integer_or_default(&table, "max_concurrent_actions"));
    let concurrency = concurrency::read(reader, &table);
    top.perhaps_more_concurrency = concurrency.is_none();
    top.concurrency = concurrency.unwrap_or_default();
    top.concurrency_names = concurrency::names(&table);
    let state = reader.string(&table, "state", "\"state\"");
    top.state = checked_path(reader, state);
    top.max_log_bytes = reader.size_or_default(&table, "logs");
    top.params = params::read(reader, &table, "params", "{ seed = 7 }");
    if table.get("params_schema").is_some() {
        top.params_schema = params::schema(reader, &table);
    }
}

fn server(reader: &mut Reader<'_>, root: &Table<'_>, top: &mut Top) {
    let Some(table) = reader.table(root, "server", "[server]", &keys::SERVER, "`[server]`") else { return };
    top.hosts = hosts(reader, &table);
    top.public_url = public_url(reader, &table);
    top.base_path = base_path(reader, &table);
    let insecure = reader.boolean(&table, "insecure");
    top.insecure = insecure.is_some_and(|insecure| insecure.value);
    let has_tls = table.get("tls").is_some();
    top.tls = tls(reader, &table);
    let token = reader.string(&table, "token_sha256", "\"sha256:…\"");
    top.token = token.as_ref().and_then(|token| digest_of_token(reader, token));
    let Some(listen) = reader.string(&table, "listen", "\"127.0.0.1:8000\"") else { return };
    let Some(address) = parse_listen(&listen.value) else {
        reader.complain(
            Problem::new(format!("{} is not an address to listen on", quoted(&listen.value)))
                .at(&listen.span, "here")
                .help("write an IP address and a port, such as `listen = \"127.0.0.1:8000\"`"),
        );
        return;
    };
    top.listen = address;
    if let Err(why) = check_listen(address, token.is_some(), top.insecure || has_tls) {
        reader.complain(Problem::new(why.to_string()).at(&listen.span, "not loopback").help(why.advice(top.insecure)));
    }
}

/// Reads the names besides its address under which the server is reached.
fn hosts(reader: &mut Reader<'_>, table: &Table<'_>) -> Vec<String> {
    let texts = reader.strings(table, "hosts", "[\"ml.example.com\"]");
    let mut hosts = Vec::new();
    for text in &texts {
        let problem = match text.value.parse::<Endpoint>().map(|endpoint| endpoint.host) {
            Ok(Host::Name(_)) => {
                hosts.push(text.value.to_ascii_lowercase());
                continue;
            }
            Ok(Host::Address(_)) => Problem::new(format!("{} is an address, not a name", quoted(&text.value)))
                .at(&text.span, "here")
                .help("the server answers for the address that it listens on; leave this out"),
            Err(why) => Problem::new(format!("{} is not a valid host name: {why}", quoted(&text.value)))
                .at(&text.span, "here")
                .help("write the name by which people reach the server: \"ml.example.com\" for any port, or \"ml.example.com:8443\""),
        };
        reader.complain(problem);
    }
    hosts
}

/// Reads the URL by which people reach the server.
fn public_url(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<String> {
    let text = reader.string(table, "public_url", "\"https://ml.example.com\"")?;
    let plain = |url: &reqwest::Url| {
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.query().is_none()
    };
    if reqwest::Url::parse(&text.value).is_ok_and(|url| plain(&url) && url.fragment().is_none()) {
        return Some(text.value.trim_end_matches('/').to_owned());
    }
    reader.complain(
        Problem::new(format!("{} is not a URL of a server", quoted(&text.value)))
            .at(&text.span, "here")
            .help("write `public_url = \"https://ml.example.com\"`"),
    );
    None
}

/// Reads the path below which people reach the server.
fn base_path(reader: &mut Reader<'_>, table: &Table<'_>) -> String {
    let Some(text) = reader.string(table, "base_path", "\"/anacostia\"") else { return String::new() };
    let known = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(known);
    let path = text.value.strip_suffix('/').unwrap_or(&text.value);
    match path.strip_prefix('/') {
        Some(parts) if parts.split('/').all(is_part) => return path.to_owned(),
        // The same as without it.
        None if text.value == "/" => return String::new(),
        _ => {}
    }
    reader.complain(
        Problem::new(format!("{} is not a path below which a server can be", quoted(&text.value)))
            .at(&text.span, "here")
            .help("write `base_path = \"/anacostia\"`: a slash, then letters, digits, `-`, `.`, `_` and `~`"),
    );
    String::new()
}

/// Reads the files of the certificate.
fn tls(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<(String, String)> {
    let example = "`tls = { cert = \"cert.pem\", key = \"key.pem\" }`";
    let table = reader.table(table, "tls", "`tls` of [server]", &keys::TLS, example)?;
    let cert = reader.required_string(&table, "cert", "\"cert.pem\"");
    let key = reader.required_string(&table, "key", "\"key.pem\"");
    let (cert, key) = (checked_path(reader, cert), checked_path(reader, key));
    Some((cert?.value, key?.value))
}

/// Reads the digest of the bearer token. Messages do not contain the text, because it may be the
/// token itself.
fn digest_of_token(reader: &mut Reader<'_>, text: &At<String>) -> Option<Digest> {
    let digest: Option<Digest> = text.value.parse().ok();
    if digest.is_some_and(|digest| digest == Digest::of(b"") || digest == Digest::of(b"\n")) {
        reader.complain(
            Problem::new("`token_sha256` is the digest of an empty token")
                .at(&text.span, "here")
                .help("the variable that held the token was not set"),
        );
    } else if digest.is_none() {
        reader.complain(
            Problem::new("`token_sha256` is not a digest: it must be `sha256:` and 64 hexadecimal digits")
                .at(&text.span, "here")
                .help("the digest of a token: echo \"sha256:$(printf %s \"$TOKEN\" | sha256sum | cut -c -64)\""),
        );
    }
    digest
}
