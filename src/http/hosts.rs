//! The host names that this server answers for.
//!
//! A page of any site can make a browser send requests to a loopback address by pointing its own
//! name there (DNS rebinding). Such a request still has that name in `Host`, so a server that
//! answers only for its own names is safe from it. IP addresses need no list, because a request
//! with an address in `Host` does not depend on DNS.

use std::net::{IpAddr, SocketAddr};

/// A host with an optional port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    /// Lower case, without brackets.
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// Reads `host`, `host:port` or `[address]:port`; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']')?;
                address.parse::<std::net::Ipv6Addr>().ok()?;
                (address, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""))?)
            }
            None => text.split_once(':').unwrap_or((text, "")),
        };
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(known) || (host.contains(':') && !text.starts_with('[')) {
            return None;
        }
        let port = match port {
            "" if text.ends_with(':') => return None,
            "" => None,
            digits if digits.bytes().all(|c| c.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        Some(Self { host: host.to_ascii_lowercase(), port })
    }

    /// Returns it with the default port of the scheme, if it has none.
    pub(super) fn port_or(mut self, default: u16) -> Self {
        self.port.get_or_insert(default);
        self
    }
}

/// The allowed values of `Host`.
#[derive(Debug, Clone)]
pub(super) struct AllowedHosts {
    bound: SocketAddr,
    /// The port of a name without one: that of the scheme.
    default_port: u16,
    extra: Vec<Authority>,
}

impl AllowedHosts {
    /// Creates the list for a server bound to `bound`. `extra` are additional names, each with a
    /// port or for any port. The manifest's check refuses invalid names; here they are skipped.
    pub(super) fn new(bound: SocketAddr, extra: &[String], tls: bool) -> Self {
        let default_port = if tls { 443 } else { 80 };
        Self { bound, default_port, extra: extra.iter().filter_map(|name| Authority::parse(name)).collect() }
    }

    /// Returns whether this server answers for `asked`.
    pub(super) fn allow(&self, asked: &Authority) -> bool {
        let port = asked.port.unwrap_or(self.default_port);
        self.list(&asked.host, port) || (port == self.bound.port() && self.own(&asked.host))
    }

    /// Returns whether a name at a port is one of the additional ones.
    fn list(&self, host: &str, port: u16) -> bool {
        self.extra.iter().any(|known| known.host == host && known.port.is_none_or(|known| known == port))
    }

    /// Returns whether a page whose address begins with `origin` is from this server, for a request
    /// to `host`. Some proxies do not pass on the name that the browser has used, so each of the
    /// additional names is good too.
    pub(super) fn is_own_origin(&self, origin: &str, host: &Authority) -> bool {
        let Some((scheme @ ("http" | "https"), rest)) = origin.split_once("://") else { return false };
        // Behind a TLS proxy the scheme differs from ours, so only the authority is compared.
        let port = if scheme == "http" { 80 } else { 443 };
        Authority::parse(rest).map(|origin| origin.port_or(port)).is_some_and(|origin| {
            origin == host.clone().port_or(port) || self.list(&origin.host, origin.port.unwrap_or(port))
        })
    }

    fn own(&self, host: &str) -> bool {
        let bound = self.bound.ip().to_canonical();
        let reached_by_loopback = bound.is_loopback() || bound.is_unspecified();
        match host.parse::<IpAddr>() {
            Ok(address) => {
                let address = address.to_canonical();
                bound.is_unspecified() || address == bound || (bound.is_loopback() && address.is_loopback())
            }
            Err(_) => reached_by_loopback && host == "localhost",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AllowedHosts, Authority};

    fn allowed(bound: &str, extra: &[&str], asked: &str) -> bool {
        let extra: Vec<String> = extra.iter().map(|name| (*name).to_owned()).collect();
        let hosts = AllowedHosts::new(bound.parse().unwrap(), &extra, false);
        Authority::parse(asked).is_some_and(|asked| hosts.allow(&asked))
    }

    #[test]
    fn on_loopback_only_loopback_names_with_the_right_port_are_allowed() {
        for good in ["127.0.0.1:8000", "localhost:8000", "LocalHost:8000", "[::1]:8000", "127.0.0.2:8000"] {
            assert!(allowed("127.0.0.1:8000", &[], good), "{good}");
        }
        for bad in [
            "evil.example:8000",
            "localhost.evil.example:8000",
            "127.0.0.1",
            "localhost:8001",
            "192.168.1.2:8000",
            "0.0.0.0:8000",
            "localhost:8000:8000",
            "localhost:",
            "localhost:+8000",
            "a@localhost:8000",
            "localhost:8000/x",
            "::1:8000",
            "[localhost]:8000",
            "",
        ] {
            assert!(!allowed("127.0.0.1:8000", &[], bad), "{bad}");
        }
        assert!(allowed("127.0.0.1:80", &[], "localhost"));
        let with_tls = AllowedHosts::new("127.0.0.1:443".parse().unwrap(), &[], true);
        assert!(with_tls.allow(&Authority::parse("localhost").unwrap()));
    }

    #[test]
    fn off_loopback_the_bound_address_and_extra_names_are_allowed() {
        assert!(allowed("192.168.1.2:8000", &[], "192.168.1.2:8000"));
        assert!(!allowed("192.168.1.2:8000", &[], "192.168.1.3:8000"));
        assert!(!allowed("192.168.1.2:8000", &[], "localhost:8000"));
        assert!(allowed("0.0.0.0:8000", &[], "192.168.1.3:8000"));
        assert!(allowed("0.0.0.0:8000", &[], "localhost:8000"));
        assert!(!allowed("0.0.0.0:8000", &[], "evil.example:8000"));
        assert!(allowed("0.0.0.0:8000", &["ml.example"], "ml.example"));
        assert!(allowed("0.0.0.0:8000", &["ml.example"], "ml.example:9000"));
        assert!(!allowed("0.0.0.0:8000", &["ml.example:443"], "ml.example:9000"));
    }
}
