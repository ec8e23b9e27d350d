//! `http` of an action: the hosts that it may send requests to, by name or by address.
//!
//! Each entry is one host and one port. Patterns are not supported: `*.example.com` would grant
//! every host that someone else adds below that name, and a list of names documents better which
//! hosts an action uses.

use std::net::IpAddr;

use super::super::problem::{Problem, quoted};
use super::super::settings;
use super::super::tree::{At, Reader, Table};
use crate::base::{Endpoint, EndpointError, Host};

const EXAMPLE: &str = "[\"api.example.com:443\"]";

pub(super) fn read(reader: &mut Reader<'_>, table: &Table<'_>) -> Vec<At<Endpoint>> {
    let texts = reader.strings(table, "http", EXAMPLE);
    if let Some(first) = texts.get(settings::MAX_HOSTS) {
        let message = format!("`http` names {} hosts; the maximum is {}", texts.len(), settings::MAX_HOSTS);
        reader.complain(Problem::new(message).at(&first.span, "the first too many"));
    }
    let mut hosts: Vec<At<Endpoint>> = Vec::new();
    for text in texts.iter().take(settings::MAX_HOSTS) {
        let Some(host) = host(reader, text) else { continue };
        match hosts.iter().find(|other| other.value == host) {
            None => hosts.push(At { value: host, span: text.span.clone() }),
            Some(first) => reader.complain(
                Problem::new(format!("`{host}` appears twice in `http`"))
                    .at(&text.span, "again")
                    .at(&first.span, "first"),
            ),
        }
    }
    hosts
}

/// Reads a host with an optional port.
pub(super) fn host(reader: &mut Reader<'_>, text: &At<String>) -> Option<Endpoint> {
    let problem = match text.value.parse::<Endpoint>() {
        Ok(endpoint) => match unreachable_address(&endpoint.host) {
            None => return Some(endpoint),
            Some(why) => Problem::new(format!("no request can be sent to {}", quoted(&text.value)))
                .at(&text.span, "this address")
                .help(why),
        },
        Err(why) => Problem::new(format!("{} is not a valid host and port: {why}", quoted(&text.value)))
            .at(&text.span, "here")
            .help(advice(why, &text.value)),
    };
    reader.complain(problem);
    None
}

/// Returns advice for a text that is not a host.
fn advice(why: EndpointError, text: &str) -> String {
    let without_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    let bare = without_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    let instead = bare.parse::<Endpoint>().ok().filter(|_| bare != text);
    match (why, instead) {
        (EndpointError::Scheme | EndpointError::Path, Some(_)) if text.starts_with("http://") => {
            // Removing the scheme also removes its default port, so the port is added.
            let port = if bare.parse::<Endpoint>().is_ok() && !bare.contains(':') { ":80" } else { "" };
            format!("write \"{bare}{port}\"")
        }
        (EndpointError::Scheme | EndpointError::Path, Some(_)) => format!("write \"{bare}\""),
        (EndpointError::Pattern, _) => "name each host by itself".to_owned(),
        (EndpointError::Brackets, _) => "write \"[::1]:9000\"".to_owned(),
        (EndpointError::Mapped, _) => "write the IPv4 address, such as \"127.0.0.1:8080\"".to_owned(),
        (EndpointError::NotAscii, _) => "write the form that begins with `xn--`".to_owned(),
        (EndpointError::User, _) => {
            "what authorises requests is a secret: `secrets = { TOKEN = { from = \"env:…\", header = \"authorization\", host = \"…\" } }`".to_owned()
        }
        _ => "write a name or an address, and a port unless it is 443: \"api.example.com\", \"127.0.0.1:8080\", \"[::1]:9000\"".to_owned(),
    }
}

/// Returns why an address cannot have a server, if so.
fn unreachable_address(host: &Host) -> Option<&'static str> {
    let Host::Address(address) = host else { return None };
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    match address {
        address if address.is_unspecified() => Some("to mean this machine, write \"127.0.0.1\""),
        address if address.is_multicast() || broadcast => Some("it stands for many machines: name one"),
        _ => None,
    }
}
