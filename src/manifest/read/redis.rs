//! `[metadata_store]` of the kind `redis`.

use std::net::IpAddr;

use redis::{ConnectionAddr, IntoConnectionInfo as _};

use super::super::problem::{Problem, quoted};
use super::super::settings;
use super::super::store::StoreSpec;
use super::super::tree::{Reader, Table};
use super::secrets;
use crate::base::check_name;

const URL: &str = "\"redis://cache.example.com\"";
const FORMS: &str = "write \"redis://cache.example.com\", or \"rediss://anna@cache.example.com:6380/2\" with TLS, a user, a port \
                     and the number of a database";

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

/// Refuses a password that would be sent to another machine without TLS.
fn refuse_open_password(reader: &mut Reader<'_>, table: &Table<'_>, url: &str) {
    let Ok(ConnectionAddr::Tcp(host, _)) = check(url) else { return };
    if host.parse::<IpAddr>().map_or(host == "localhost", |address| address.is_loopback()) {
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
