//! The URL of a PostgreSQL server.

use std::net::IpAddr;

use tokio_postgres::config::{Host, SslMode};

use super::super::problem::Problem;
use super::super::sql::SqlDatabase;
use super::super::tree::{Reader, Table};

const TLS: &str = "end the URL with `?sslmode=require`: the host uses TLS, and verifies the certificate as `verify-full` \
                   does elsewhere; `?sslmode=disable` says that the network is trusted";

/// Checks the URL of a server. Returns what is wrong, and what to do about it; `forms`
/// says which forms it may have.
pub(super) fn check(url: &str, forms: &str) -> Result<(), (String, String)> {
    let config = SqlDatabase::server(url).map_err(|why| {
        let why = std::error::Error::source(&why).map_or_else(|| why.to_string(), ToString::to_string);
        let help = if why.contains("`sslmode`") { TLS } else { forms };
        (format!("this URL of a database cannot be read: {why}"), help.to_owned())
    })?;
    if prefers_tls(url) {
        let wrong = "`sslmode=prefer` is not supported: the host would not use TLS, even if the server offers it";
        return Err((wrong.to_owned(), TLS.to_owned()));
    }
    let missing = |what: &str| (format!("this URL of a database names no {what}"), forms.to_owned());
    if config.get_password().is_some() {
        let help = "remove it, and name a variable of the host's environment: `password = \"env:PGPASSWORD\"`";
        return Err(("a manifest must not contain a password".to_owned(), help.to_owned()));
    }
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(missing("host"));
    }
    if config.get_user().is_none() {
        return Err(missing("user"));
    }
    config.get_dbname().map(drop).ok_or_else(|| missing("database"))
}

/// Returns whether a URL asks for TLS if the server has it. The library says so too of a URL
/// without `sslmode`.
fn prefers_tls(url: &str) -> bool {
    let options = url.split_once('?').map(|(_, options)| reqwest::Url::parse(&format!("options:?{options}")));
    options.is_some_and(|url| {
        url.is_ok_and(|url| url.query_pairs().any(|pair| pair == ("sslmode".into(), "prefer".into())))
    })
}

/// Refuses a password that would be sent to another machine without TLS, unless the URL says so.
/// The server chooses how it asks for the password, and may ask for the text itself.
pub(super) fn refuse_open_password(reader: &mut Reader<'_>, table: &Table<'_>, url: &str) {
    let Some(help) = check_secrecy(url) else { return };
    reader.complain(
        Problem::new(format!("the password of {} would be sent without TLS", table.name))
            .at(&table.key_span("url"), "to another machine")
            .help(help),
    );
}

/// Returns what to do about a URL that would send a password to another machine without TLS. `None`
/// for one that would not, or says that it may.
pub(super) fn check_secrecy(url: &str) -> Option<String> {
    let config = SqlDatabase::server(url).ok()?;
    let is_here = |host: &Host| match host {
        Host::Tcp(name) => name.parse::<IpAddr>().map_or(name == "localhost", |address| address.is_loopback()),
        Host::Unix(_) => true,
    };
    let addresses = config.get_hostaddrs();
    let all_here = if addresses.is_empty() {
        config.get_hosts().iter().all(is_here)
    } else {
        addresses.iter().all(IpAddr::is_loopback)
    };
    (!all_here && config.get_ssl_mode() == SslMode::Prefer).then(|| TLS.to_owned())
}
