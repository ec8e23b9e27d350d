//! `secrets` of an action. The value of a secret is in a variable of the host's environment. Either
//! the action gets it as a variable of its own, or the host puts it into a header of the action's
//! requests to one host, so that the action never has it.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::super::action::HeaderSecretSpec;
use super::super::expand::is_variable;
use super::super::keys;
use super::super::problem::{Problem, quoted};
use super::super::secret::SecretSource;
use super::super::settings;
use super::super::tree::{At, Reader, Table};
use super::http;
use super::variables::named_values;
use crate::base::Endpoint;

const EXAMPLE: &str = "{ TOKEN = \"env:API_TOKEN\" }";

/// Both kinds of secrets of an action.
#[derive(Default)]
pub(super) struct Secrets {
    /// Secrets that the action gets, with their sources.
    pub(super) plain: BTreeMap<String, SecretSource>,
    /// Secrets that the host puts into headers.
    pub(super) headers: BTreeMap<String, HeaderSecretSpec>,
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    env: &BTreeMap<String, At<String>>,
    granted: &[At<Endpoint>],
) -> Secrets {
    let mut secrets = Secrets::default();
    let mut taken: BTreeMap<(Endpoint, String), At<String>> = BTreeMap::new();
    for (name, value) in named_values(reader, table, "secrets", EXAMPLE) {
        if let Some(other) = env.get(&name.value) {
            reader.complain(
                Problem::new(format!("{} is both in `env` and in `secrets`", quoted(&name.value)))
                    .at(&name.span, "a secret")
                    .at(&other.span, "and plain")
                    .help("keep one of them"),
            );
        }
        if matches!(value.get_ref(), DeValue::Table(_)) {
            let Some(secret) = header_secret(reader, table, &name, value, granted) else { continue };
            let place = (secret.host.clone(), secret.header.clone());
            if let Some(first) = taken.insert(place, name.clone()) {
                reader.complain(
                    Problem::new(format!("two secrets are for the header `{}` of `{}`", secret.header, secret.host))
                        .at(&name.span, "this one")
                        .at(&first.span, "and this one")
                        .help("a request has one of them: remove the other, or give it another header"),
                );
            }
            secrets.headers.insert(name.value, secret);
        } else if let Some(text) = reader.string_value(&quoted(&name.value), value, EXAMPLE)
            && let Some(source) = source(reader, &name.value, &text)
        {
            secrets.plain.insert(name.value, source);
        }
    }
    secrets
}

/// Reads the source of a secret.
pub(super) fn source(reader: &mut Reader<'_>, name: &str, text: &At<String>) -> Option<SecretSource> {
    // Messages do not contain the text, because it may be the secret itself.
    if let Some(variable) = text.value.strip_prefix("env:").filter(|variable| is_variable(variable)) {
        reader.check_secret(variable, &text.span);
        return Some(SecretSource::Env(variable.to_owned()));
    }
    reader.complain(
        Problem::new(format!("the secret {} does not say where its value is", quoted(name)))
            .at(&text.span, "here")
            .help("name a variable of the host's environment, such as \"env:API_TOKEN\"; a manifest must not contain its value"),
    );
    None
}

/// What the names of headers and parameters end with that hold secrets: `X-Api-Key`,
/// `access_token`.
const SECRET_NAMES: [&str; 20] = [
    "authorization",
    "auth",
    "cookie",
    "token",
    "accesstoken",
    "authtoken",
    "secret",
    "clientsecret",
    "password",
    "passwd",
    "pwd",
    "credential",
    "signature",
    "sig",
    "apikey",
    "api-key",
    "access-key",
    "auth-key",
    "secret-key",
    "subscription-key",
];
/// Such names that hold none: the place in a list.
const PLACE_NAMES: [&str; 5] = ["page-token", "next-token", "continuation-token", "start-token", "sync-token"];

/// Returns whether a header or parameter of this name holds a secret, as far as its name says so.
pub(super) fn names_secret(name: &str) -> bool {
    let name = format!("-{}", name.to_ascii_lowercase().replace('_', "-"));
    let ends = |end: &&str| name.strip_suffix(*end).is_some_and(|start| start.ends_with('-'));
    SECRET_NAMES.iter().any(ends) && !PLACE_NAMES.iter().any(ends)
}

/// Returns the name of a parameter of a URL that holds a secret.
pub(super) fn secret_parameter(url: &reqwest::Url) -> Option<String> {
    url.query_pairs().map(|(name, _)| name.into_owned()).find(|name| names_secret(name))
}

fn header_secret(
    reader: &mut Reader<'_>,
    parent: &Table<'_>,
    name: &At<String>,
    value: &Spanned<DeValue<'_>>,
    granted: &[At<Endpoint>],
) -> Option<HeaderSecretSpec> {
    let title = format!("the secret {} of {}", quoted(&name.value), parent.name);
    let table = reader.open_table(title, name.span.clone(), value, EXAMPLE)?;
    let table = reader.section(&table, &keys::SECRET);
    let from = reader.required_string(&table, "from", "\"env:API_TOKEN\"");
    let header = reader.required_string(&table, "header", "\"authorization\"");
    let host = reader.required_string(&table, "host", "\"api.example.com:443\"");
    let prefix = reader.string(&table, "prefix", "\"Bearer \"");
    let source = from.and_then(|text| source(reader, &name.value, &text));
    let header = header.and_then(|text| header_name(reader, &text));
    let host = host.and_then(|text| granted_host(reader, &name.value, &text, granted));
    let prefix = match prefix {
        Some(prefix) => header_text(reader, &prefix)?,
        None => String::new(),
    };
    Some(HeaderSecretSpec { source: source?, header: header?, host: host?, prefix })
}

pub(super) fn header_name(reader: &mut Reader<'_>, text: &At<String>) -> Option<String> {
    let name = text.value.to_ascii_lowercase();
    let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    let problem = if name.is_empty() || name.len() > 100 || !name.bytes().all(token) {
        Problem::new(format!("{} is not a valid header name", quoted(&text.value))).at(&text.span, "here")
    } else if settings::HOST_HEADERS.contains(&name.as_str()) {
        Problem::new(format!("a secret cannot be in the header {}, which the host sets itself", quoted(&text.value)))
            .at(&text.span, "here")
    } else {
        return Some(name);
    };
    reader.complain(problem.help("name one such as \"authorization\" or \"x-api-key\""));
    None
}

fn header_text(reader: &mut Reader<'_>, text: &At<String>) -> Option<String> {
    if text.value.len() <= 100 && text.value.bytes().all(|c| (b' '..=b'~').contains(&c)) {
        return Some(text.value.clone());
    }
    reader.complain(
        Problem::new("`prefix` is not valid in a header")
            .at(&text.span, "here")
            .help("write at most 100 ASCII letters, digits, punctuation marks and spaces, such as \"Bearer \""),
    );
    None
}

/// Reads the host that a secret is for, which the action must be granted.
fn granted_host(reader: &mut Reader<'_>, name: &str, text: &At<String>, granted: &[At<Endpoint>]) -> Option<Endpoint> {
    let host = http::host(reader, text)?;
    if !granted.iter().any(|grant| grant.value == host) && !reader.is_incomplete() {
        let list: Vec<String> =
            granted.iter().map(|grant| &grant.value).chain([&host]).map(|it| format!("\"{it}\"")).collect();
        reader.complain(
            Problem::new(format!("the secret {} is for `{host}`, which is not granted", quoted(name)))
                .at(&text.span, "not in `http`")
                .help(format!("add it to the action: `http = [{}]`", list.join(", "))),
        );
        return None;
    }
    Some(host)
}
