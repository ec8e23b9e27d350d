//! `[metadata_store]`.

use super::super::keys;
use super::super::problem::{Problem, quoted};
use super::super::settings::{self, DEFAULT_STORE, StoreKind};
use super::super::store::StoreSpec;
use super::super::tree::{At, Reader, Table};
use super::path::checked_path;
use super::{postgres, redis, secrets};
use crate::manifest::expand::Env;
use crate::manifest::secret::SecretSource;
use crate::manifest::sql::SqlDatabase;
use crate::model::Durability;

const URL: &str = "\"postgres://anna@db.example.com/lab\"";
const FORMS: &str = "write \"postgres://anna@db.example.com/lab\"";

/// The values of the table, with defaults filled in.
pub(super) struct Store {
    /// `path` as written.
    pub(super) path: At<String>,
    /// The store, if it is on a server.
    pub(super) server: Option<StoreSpec>,
    /// Whether the location is reliable: no key that affects it has a problem.
    pub(super) is_known: bool,
    pub(super) durability: Durability,
}

pub(super) fn read(reader: &mut Reader<'_>, root: &Table<'_>) -> Store {
    let span = root.get("metadata_store").map_or(0..0, |_| root.key_span("metadata_store"));
    let path = At { value: DEFAULT_STORE.to_owned(), span };
    let mut store = Store { path, server: None, is_known: false, durability: Durability::default() };
    fill_in(reader, root, &mut store);
    store
}

fn fill_in(reader: &mut Reader<'_>, root: &Table<'_>, store: &mut Store) {
    let example = "`[metadata_store]`";
    let Some(value) = root.get("metadata_store") else {
        store.is_known = !reader.is_meant(root, "metadata_store");
        return;
    };
    let Some(table) = reader.open_table("[metadata_store]", root.key_span("metadata_store"), value, example) else {
        return;
    };
    let kind = reader.choice(&table, "kind", &keys::STORE_KINDS, &[]);
    if kind.is_none() && table.get("kind").is_some() {
        return;
    }
    let (kind, keys) = kind.map_or((StoreKind::Sqlite, &keys::STORE), |kind| kind.value);
    let table = reader.section(&table, keys);
    match kind {
        StoreKind::Sqlite => file(reader, &table, store),
        StoreKind::Postgres => server(reader, &table, store),
        StoreKind::Redis => {
            let (spec, is_known) = redis::read(reader, &table);
            (store.server, store.is_known) = (Some(spec), is_known);
        }
    }
    if let Some(durability) = reader.choice(&table, "durability", &settings::DURABILITY, &[]) {
        store.durability = durability.value;
    }
}

fn file(reader: &mut Reader<'_>, table: &Table<'_>, store: &mut Store) {
    let path = reader.string(table, "path", "\"state/metadata.db\"");
    match checked_path(reader, path) {
        Some(path) => (store.path, store.is_known) = (path, true),
        None => store.is_known = table.get("path").is_none() && !reader.is_meant(table, "path"),
    }
}

fn server(reader: &mut Reader<'_>, table: &Table<'_>, store: &mut Store) {
    let url = reader.required_string(table, "url", URL).and_then(|url| {
        let wrong = match check_url(&url.value) {
            Ok(()) => return Some(url.value),
            Err(wrong) => wrong,
        };
        // Without the text, because there may be a password in it.
        reader.complain(Problem::new(wrong.0).at(&url.span, "here").help(wrong.1));
        None
    });
    let password = reader.string(table, "password", "\"env:PGPASSWORD\"");
    let password = password.and_then(|text| secrets::source(reader, "password", &text));
    if let (Some(url), Some(_)) = (&url, &password) {
        postgres::refuse_open_password(reader, table, url);
    }
    let schema = schema(reader, table);
    store.is_known = url.is_some() && schema.is_some();
    store.server = Some(StoreSpec::Postgres {
        url: url.unwrap_or_default(),
        password,
        schema: schema.unwrap_or_else(|| settings::DEFAULT_SCHEMA.to_owned()),
    });
}

/// Reads the store that a command names: by a file, or by a URL, with the schema or the prefix as
/// an option, and the password in `PGPASSWORD` or `REDIS_PASSWORD`. Returns what is wrong, and what
/// to do about it.
pub(in crate::manifest) fn at(text: &str, env: Env<'_>) -> Result<StoreSpec, String> {
    if !text.contains("://") {
        let path = std::path::absolute(text).map_err(|why| format!("`{text}` is no path of a file: {why}"))?;
        return Ok(StoreSpec::Sqlite { path });
    }
    if text.starts_with("redis") {
        return redis::at(text, env);
    }
    let (place, options) = text.split_once('?').unwrap_or((text, ""));
    let (schemas, rest): (Vec<&str>, Vec<&str>) =
        options.split('&').filter(|option| !option.is_empty()).partition(|option| option.starts_with("schema="));
    let schema = schemas.last().and_then(|option| option.strip_prefix("schema=")).unwrap_or(settings::DEFAULT_SCHEMA);
    let url = if rest.is_empty() { place.to_owned() } else { format!("{place}?{}", rest.join("&")) };
    // No error has the text: there may be a password in it.
    if SqlDatabase::server(&url).is_ok_and(|config| config.get_password().is_some()) {
        return Err("the URL must not have a password in it; remove it, and set the variable `PGPASSWORD`".to_owned());
    }
    let checked = check_url(&url).and_then(|()| check_schema(schema));
    checked.map_err(|(wrong, help)| format!("{wrong}; {help}"))?;
    let password = env("PGPASSWORD").map(|_| SecretSource::Env("PGPASSWORD".to_owned()));
    if let Some(help) = postgres::check_secrecy(&url).filter(|_| password.is_some()) {
        return Err(format!("the password in `PGPASSWORD` would be sent without TLS to another machine; {help}"));
    }
    Ok(StoreSpec::Postgres { url, password, schema: schema.to_owned() })
}

fn check_url(url: &str) -> Result<(), (String, String)> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return postgres::check(url, FORMS);
    }
    Err(("this is not the URL of a PostgreSQL database".to_owned(), FORMS.to_owned()))
}

/// Reads the name of the schema. Returns `None` if it is not valid.
fn schema(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<String> {
    let Some(text) = reader.string(table, "schema", "\"penguins\"") else {
        let is_absent = table.get("schema").is_none() && !reader.is_meant(table, "schema");
        return is_absent.then(|| settings::DEFAULT_SCHEMA.to_owned());
    };
    let Err((wrong, help)) = check_schema(&text.value) else { return Some(text.value) };
    reader.complain(Problem::new(wrong).at(&text.span, "here").help(help));
    None
}

fn check_schema(name: &str) -> Result<(), (String, String)> {
    let is_plain = |character: char| matches!(character, 'a'..='z' | '0'..='9' | '_');
    if name.is_empty()
        || name.len() > 63
        || !name.chars().all(is_plain)
        || name.starts_with(|first: char| first.is_ascii_digit())
    {
        let help = "it may have letters from a to z, digits and `_`, does not begin with a digit, and has at most 63 characters";
        Err((format!("{} is not a name for a schema", quoted(name)), help.to_owned()))
    } else if name.starts_with("pg_") || name == "information_schema" {
        Err((format!("the schema {} belongs to PostgreSQL itself", quoted(name)), "choose another name".to_owned()))
    } else {
        Ok(())
    }
}
