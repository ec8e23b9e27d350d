//! Addresses that the server may listen on. `--listen` follows the same rules as the manifest.

use std::net::SocketAddr;

/// Parses an address of `server.listen` or `--listen`: an IP address or `localhost`, and a port.
#[must_use]
pub fn parse_listen(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port))),
        None => text.parse().ok(),
    }
}

/// Why the server must not listen on an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// Not loopback, and no token is required.
    #[error("listening on {0}, which other machines can reach, needs a token")]
    NoToken(SocketAddr),
    /// Not loopback, and the token would be sent unencrypted.
    #[error("listening on {0}, which other machines can reach, would send the token over plain HTTP")]
    Plain(SocketAddr),
}

impl ListenError {
    /// Returns advice on how to fix it. `insecure` says whether plain HTTP is already allowed, or
    /// the server speaks TLS.
    #[must_use]
    pub fn advice(self, insecure: bool) -> &'static str {
        match self {
            Self::NoToken(_) if insecure => {
                "listen on 127.0.0.1, or add\n[server]\ntoken_sha256 = \"sha256:…\"   # printf %s \"$TOKEN\" | sha256sum"
            }
            Self::NoToken(_) => {
                "listen on 127.0.0.1, or add\n[server]\ntoken_sha256 = \"sha256:…\"   # printf %s \"$TOKEN\" | sha256sum\ntls = { cert = \"cert.pem\", key = \"key.pem\" }   # or, behind a proxy that speaks TLS: insecure = true"
            }
            Self::Plain(_) => {
                "listen on 127.0.0.1, or add\n[server]\ntls = { cert = \"cert.pem\", key = \"key.pem\" }   # or, behind a proxy that speaks TLS: insecure = true"
            }
        }
    }
}

/// Checks whether the server may listen on an address, from the manifest or from `--listen`.
///
/// # Errors
/// Returns an error for an address other than loopback without a token, or without
/// `insecure`: plain HTTP is allowed, or the server speaks TLS.
pub fn check_listen(address: SocketAddr, token: bool, insecure: bool) -> Result<(), ListenError> {
    match (address.ip().to_canonical().is_loopback(), token, insecure) {
        (true, ..) | (false, true, true) => Ok(()),
        (false, false, _) => Err(ListenError::NoToken(address)),
        (false, true, false) => Err(ListenError::Plain(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::{ListenError, check_listen, parse_listen};

    #[test]
    fn listening_off_loopback_needs_a_token_and_insecure_true() {
        for inside in ["127.0.0.1:1", "127.8.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1"] {
            assert_eq!(check_listen(parse_listen(inside).unwrap(), false, false), Ok(()), "{inside}");
        }
        for outside in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
            let address = parse_listen(outside).unwrap();
            assert_eq!(check_listen(address, false, true), Err(ListenError::NoToken(address)), "{outside}");
            assert!(
                !ListenError::NoToken(address).advice(true).contains("insecure"),
                "the advice does not repeat a key that is set"
            );
            assert!(ListenError::NoToken(address).advice(false).contains("insecure = true"));
            assert_eq!(check_listen(address, true, false), Err(ListenError::Plain(address)), "{outside}");
            assert_eq!(check_listen(address, true, true), Ok(()), "{outside}");
        }
        for bad in ["", "8000", "127.0.0.1", "example.com:80", "127.0.0.1:99999", "localhost:"] {
            assert_eq!(parse_listen(bad), None, "{bad}");
        }
    }
}
