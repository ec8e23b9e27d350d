//! Hosts with a port, in grants of the manifest and in requests of guests. One parser reads both,
//! so that they are compared as values: `Example.COM` and `example.com:443` are equal. `127.1`,
//! which some systems read as `127.0.0.1`, is refused.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Longest host name, in bytes: the limit of the domain name system.
const MAX_NAME_BYTES: usize = 253;
/// Longest part of such a name, in bytes.
const MAX_LABEL_BYTES: usize = 63;
/// The port of an endpoint without one: that of `https`.
pub const DEFAULT_PORT: u16 = 443;

/// A host: by name, or by address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name, in lower case.
    Name(String),
    /// An address; never an IPv4-mapped IPv6 address.
    Address(IpAddr),
}

/// A host and a port. Its text and serialized form is `api.example.com:443`, `127.0.0.1:8080` or
/// `[::1]:9000`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The host.
    pub host: Host,
    /// The port; never 0.
    pub port: u16,
}

/// The error for a text that is not a valid host and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The host is missing.
    #[error("the host is missing")]
    Empty,
    /// A scheme precedes the host.
    #[error("a scheme does not belong here")]
    Scheme,
    /// A user precedes the host.
    #[error("a user does not belong here")]
    User,
    /// A path, a query or a fragment follows the host.
    #[error("a path does not belong here")]
    Path,
    /// It is a pattern.
    #[error("patterns are not supported")]
    Pattern,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// An IPv6 address without brackets.
    #[error("an IPv6 address must be in brackets")]
    Brackets,
    /// An IPv4-mapped IPv6 address.
    #[error("an IPv4 address must not be written as an IPv6 address")]
    Mapped,
    /// An IPv6 address with a zone.
    #[error("an address with a zone is not supported")]
    Zone,
    /// A text that ends in a number but is not an IPv4 address: systems read it differently.
    #[error("a host that ends in a number must be an IPv4 address: four numbers from 0 to 255")]
    Number,
    /// A name with characters other than ASCII.
    #[error("a name must be ASCII")]
    NotAscii,
    /// A name that is not a valid host name.
    #[error("a name is made of letters, digits, `-` and `_`, with single dots between")]
    Name,
}

impl Endpoint {
    /// Parses a host with an optional port. The default is `default_port`.
    ///
    /// # Errors
    /// Returns an error for any other text.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, EndpointError> {
        refuse_more(text)?;
        let (host, port) = split(text)?;
        let port = match port {
            None => default_port,
            Some(digits) if digits.bytes().all(|c| c.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0).ok_or(EndpointError::Port)?
            }
            Some(_) => return Err(EndpointError::Port),
        };
        Ok(Self { host, port })
    }
}

/// Refuses the parts of a URL other than the host and port.
fn refuse_more(text: &str) -> Result<(), EndpointError> {
    match text {
        "" => Err(EndpointError::Empty),
        _ if text.contains("://") => Err(EndpointError::Scheme),
        _ if text.contains('@') => Err(EndpointError::User),
        _ if text.contains(['/', '?', '#', '\\']) => Err(EndpointError::Path),
        _ if text.contains('*') => Err(EndpointError::Pattern),
        _ if !text.is_ascii() => Err(EndpointError::NotAscii),
        _ => Ok(()),
    }
}

/// Splits into the host and the text of the port, if there is one.
fn split(text: &str) -> Result<(Host, Option<&str>), EndpointError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or(EndpointError::Brackets)?;
        if inside.contains('%') {
            return Err(EndpointError::Zone);
        }
        let address: Ipv6Addr = inside.parse().map_err(|_| EndpointError::Brackets)?;
        if address.to_ipv4_mapped().is_some() {
            return Err(EndpointError::Mapped);
        }
        let port = match after {
            "" => None,
            after => Some(after.strip_prefix(':').ok_or(EndpointError::Port)?),
        };
        return Ok((Host::Address(address.into()), port));
    }
    if text.matches(':').count() > 1 {
        return Err(EndpointError::Brackets);
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    Ok((named(host)?, port))
}

/// Parses an IPv4 address or a name.
fn named(text: &str) -> Result<Host, EndpointError> {
    if text.is_empty() {
        return Err(EndpointError::Empty);
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Address(address.into()));
    }
    let label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > MAX_NAME_BYTES || !text.split('.').all(label) {
        return Err(EndpointError::Name);
    }
    let last = text.rsplit('.').next().unwrap_or(text).to_ascii_lowercase();
    let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    let hexadecimal = |text: &str| text.bytes().all(|c| c.is_ascii_hexdigit());
    if digits(&last) || last.strip_prefix("0x").is_some_and(hexadecimal) {
        return Err(EndpointError::Number);
    }
    Ok(Host::Name(text.to_ascii_lowercase()))
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text, DEFAULT_PORT)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl ToSchema for Endpoint {}

impl PartialSchema for Endpoint {
    fn schema() -> RefOr<Schema> {
        let about = "A host and a port, such as `api.example.com:443`, `127.0.0.1:8080` or `[::1]:9000`.";
        ObjectBuilder::new().schema_type(Type::String).description(Some(about)).examples(["api.example.com:443"]).into()
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Endpoint, EndpointError};

    fn shown(text: &str) -> Result<String, EndpointError> {
        text.parse::<Endpoint>().map(|endpoint| endpoint.to_string())
    }

    #[test]
    fn names_and_addresses_parse_with_and_without_a_port() {
        for (text, expected) in [
            ("api.example.com", "api.example.com:443"),
            ("API.Example.com:8443", "api.example.com:8443"),
            ("localhost:80", "localhost:80"),
            ("my_service:1", "my_service:1"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example:443"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:9000", "[::1]:9000"),
            ("[2001:DB8:0::1]", "[2001:db8::1]:443"),
            ("example.com:0080", "example.com:80"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(Endpoint::parse("a.b", 80).unwrap().port, 80);
    }

    #[test]
    fn text_that_is_not_a_host_is_refused_with_the_reason() {
        use EndpointError as E;
        for (text, why) in [
            ("", E::Empty),
            (":80", E::Empty),
            ("https://example.com", E::Scheme),
            ("me:secret@example.com", E::User),
            ("example.com/v1", E::Path),
            ("example.com?x", E::Path),
            ("example.com\\@evil", E::User),
            ("*.example.com", E::Pattern),
            ("example.com:", E::Port),
            ("example.com:0", E::Port),
            ("example.com:65536", E::Port),
            ("example.com:+80", E::Port),
            ("[::1]80", E::Port),
            ("::1", E::Brackets),
            ("[::1", E::Brackets),
            ("[127.0.0.1]:80", E::Brackets),
            ("[::ffff:127.0.0.1]:80", E::Mapped),
            ("[fe80::1%25eth0]:80", E::Zone),
            ("127.1", E::Number),
            ("2130706433:80", E::Number),
            ("0x7f000001", E::Number),
            ("127.0.0.01", E::Number),
            ("256.0.0.1", E::Number),
            ("1.2.3.4.5", E::Number),
            ("bücher.example", E::NotAscii),
            ("example.com.", E::Name),
            ("example..com", E::Name),
            ("-a.com", E::Name),
            ("a b", E::Name),
            ("a\r\nb", E::Name),
            ("a%2eb", E::Name),
        ] {
            assert_eq!(shown(text), Err(why), "{text}");
        }
        assert_eq!(shown(&format!("{}.com", "a".repeat(64))), Err(E::Name));
        assert_eq!(shown(&vec!["abc"; 64].join(".")), Err(E::Name));
    }

    proptest! {
        #[test]
        fn display_round_trips(text in "\\PC{0,40}|[a-f0-9:.\\[\\]%x]{0,24}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
            }
        }
    }
}
