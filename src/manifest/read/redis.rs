//! `[metadata_store]` of the kind `redis`.

use std::net::IpAddr;

use redis::{ConnectionAddr, IntoConnectionInfo as _};

use super::super::problem::{Problem, quoted};
use super::super::settings;
use super::super::store::StoreSpec;
use super::super::tree::{Reader, Table};
use super::secrets;
use crate::base::check_name;
use crate::manifest::expand::Env;
use crate::manifest::secret::SecretSource;

const URL: &str = "\"redis://cache.example.com\"";
const FORMS: &str = "write \"redis://cache.example.com\", or \"rediss://anna@cache.example.com:6380/2\" with TLS, a user, a port \
                     and the number of a database";

/// The variable with the password of a server that a command names by its URL.
const PASSWORD: &str = "REDIS_PASSWORD";

/// Reads where the records are. The second value says whether that is reliable.
pub(super) fn read(reader: &mut Reader<'_>, table: &Table<'_>) -> (StoreSpec, bool) {
    let url = reader.required_string(table, "url", URL).and_then(|url| match check(&url.value) {
        Ok(_) => Some(url.value),
        // Without the text, because there may be a password in it.
        Err((wrong, help)) => {
            reader.complain(Problem::new(wrong).at(&url.span, "here").help(help));
            None
        }
    });
    let password = reader.string(table, "password", "\"env:REDIS_PASSWORD\"");
    let password = password.and_then(|text| secrets::source(reader, "password", &text));
    let insecure = reader.boolean(table, "insecure").is_some_and(|insecure| insecure.value);
    if let (Some(url), Some(_), false) = (&url, &password, insecure) {
        refuse_open_password(reader, table, url);
    }
    let prefix = prefix(reader, table);
    let is_known = url.is_some() && prefix.is_some();
    let prefix = prefix.unwrap_or_else(|| settings::DEFAULT_PREFIX.to_owned());
    (StoreSpec::Redis { url: url.unwrap_or_default(), password, prefix }, is_known)
}

/// Checks the URL of a server, and returns the server. Or returns what is wrong, and what to do
/// about it.
fn check(url: &str) -> Result<ConnectionAddr, (String, String)> {
    let wrong = |what: &str| Err((what.to_owned(), FORMS.to_owned()));
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        return wrong("this is not the URL of a Redis server");
    }
    if url.contains(['?', '#']) {
        return wrong("the URL of a Redis server has no options here");
    }
    let Ok(info) = url.into_connection_info() else {
        return wrong("this URL of a Redis server cannot be read");
    };
    if info.redis_settings().password().is_some() {
        let help = "remove it, and name a variable of the host's environment: `password = \"env:REDIS_PASSWORD\"`";
        return Err(("a manifest must not contain a password".to_owned(), help.to_owned()));
    }
    Ok(info.addr().clone())
}

/// Reads the store that a command names by a URL, with the prefix as an option `prefix`, and the
/// password in `REDIS_PASSWORD`. Returns what is wrong, and what to do about it.
pub(super) fn at(text: &str, env: Env<'_>) -> Result<StoreSpec, String> {
    // No error has the text: there may be a password in it.
    let (url, options) = text.split_once('?').unwrap_or((text, ""));
    if url.into_connection_info().is_ok_and(|info| info.redis_settings().password().is_some()) {
        return Err(format!("the URL must not have a password in it; remove it, and set the variable `{PASSWORD}`"));
    }
    let address = check(url).map_err(|(wrong, help)| format!("{wrong}; {help}"))?;
    let mut prefix = settings::DEFAULT_PREFIX;
    for option in options.split('&').filter(|option| !option.is_empty()) {
        prefix = option.strip_prefix("prefix=").ok_or("the URL of a Redis server has no option but `prefix` here")?;
    }
    check_name(prefix).map_err(|error| format!("{} is not a prefix of keys; {error}", quoted(prefix)))?;
    let password = env(PASSWORD).map(|_| SecretSource::Env(PASSWORD.to_owned()));
    if password.is_some() && is_open(&address) {
        return Err(format!(
            "the password in `{PASSWORD}` would be sent without TLS to another machine; begin the URL with `rediss://`"
        ));
    }
    Ok(StoreSpec::Redis { url: url.to_owned(), password, prefix: prefix.to_owned() })
}

/// Whether others may read what is sent to an address.
fn is_open(address: &ConnectionAddr) -> bool {
    let ConnectionAddr::Tcp(host, _) = address else { return false };
    !host.parse::<IpAddr>().map_or(host == "localhost", |address| address.is_loopback())
}

/// Refuses a password that would be sent to another machine without TLS.
fn refuse_open_password(reader: &mut Reader<'_>, table: &Table<'_>, url: &str) {
    if !check(url).is_ok_and(|address| is_open(&address)) {
        return;
    }
    reader.complain(
        Problem::new(format!("the password of {} would be sent without TLS", table.name))
            .at(&table.key_span("url"), "to another machine")
            .help("begin the URL with `rediss://`; `insecure = true` says that the network is trusted"),
    );
}

/// Reads the prefix of the keys. Returns `None` if it is not valid.
fn prefix(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<String> {
    let Some(text) = reader.string(table, "prefix", "\"penguins\"") else {
        let is_absent = table.get("prefix").is_none() && !reader.is_meant(table, "prefix");
        return is_absent.then(|| settings::DEFAULT_PREFIX.to_owned());
    };
    match check_name(&text.value) {
        Ok(()) => Some(text.value),
        Err(error) => {
            let problem = Problem::new(format!("{} is not a prefix of keys", quoted(&text.value)));
            reader.complain(problem.at(&text.span, "here").help(error.to_string()));
            None
        }
    }
}
