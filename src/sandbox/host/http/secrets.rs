//! Secrets that the host adds to requests. The guest neither names nor sees them: it sends a
//! request to the secret's host, and the host adds the header.
//!
//! The server decides what happens next: a server that returns the header in the body of its
//! response discloses the secret to the guest.

use hyper::HeaderMap;
use hyper::http::uri::Scheme;
use hyper::http::{HeaderName, HeaderValue};

use crate::base::{Endpoint, Host};
use crate::model::ErrorInfo;
use crate::sandbox::order::AttemptOrder;

/// The replacement for a secret in a header of a response.
const MASK: HeaderValue = HeaderValue::from_static("***");

/// A secret with its header value.
struct Secret {
    endpoint: Endpoint,
    header: HeaderName,
    /// The value with its prefix.
    value: HeaderValue,
    /// The value without its prefix.
    bare: String,
}

/// The secrets of an attempt that are added to headers.
#[derive(Default)]
pub(in crate::sandbox) struct HeaderValues(Vec<Secret>);

/// The result of adding secrets to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// No secret is for this host.
    None,
    /// The secrets were added.
    In,
    /// Secrets exist, but were not added because the request is in plain text.
    InTheOpen,
}

impl HeaderValues {
    /// Returns no secrets.
    pub(in crate::sandbox) fn none() -> Self {
        Self(Vec::new())
    }

    /// Reads the secrets from the host's environment.
    ///
    /// # Errors
    /// If a secret is missing, or is not a valid header value.
    pub(in crate::sandbox) fn read(order: &AttemptOrder) -> Result<Self, ErrorInfo> {
        order.header_secrets.iter().map(|secret| read(order, secret)).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the values, so that they can be masked.
    pub(in crate::sandbox) fn values(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|secret| secret.bare.as_str())
    }

    /// Adds the secrets for this host, and replaces headers of the same name that the guest set.
    /// Only over TLS, or to this machine.
    pub(super) fn put_in(&self, headers: &mut HeaderMap, scheme: &Scheme, endpoint: &Endpoint) -> Put {
        let safe =
            *scheme == Scheme::HTTPS || matches!(&endpoint.host, Host::Address(address) if address.is_loopback());
        let mut put = Put::None;
        for secret in self.0.iter().filter(|secret| secret.endpoint == *endpoint) {
            if !safe {
                return Put::InTheOpen;
            }
            headers.insert(secret.header.clone(), secret.value.clone());
            put = Put::In;
        }
        put
    }

    /// Masks the values in the headers of a response.
    pub(super) fn take_out_of(&self, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            let holds = |secret: &Secret| {
                let (value, bare) = (value.as_bytes(), secret.bare.as_bytes());
                !bare.is_empty() && value.windows(bare.len()).any(|window| window == bare)
            };
            if self.0.iter().any(holds) {
                *value = MASK;
            }
        }
    }
}

fn read(order: &AttemptOrder, secret: &crate::sandbox::order::HeaderSecret) -> Result<Secret, ErrorInfo> {
    let (name, variable, action) = (&secret.name, &secret.variable, &order.action);
    let of = format!("the secret `{name}` of `{action}` comes from the environment variable `{variable}`");
    let bare = std::env::var(variable)
        .map_err(|_| ErrorInfo::permanent("secret_missing", format!("{of}, which is not set for the host")))?;
    let unfit = || {
        let why = "which is not valid in a header: it is empty, or has a line break or another control character in it";
        ErrorInfo::permanent("secret_invalid", format!("{of}, {why}"))
    };
    let mut value = HeaderValue::from_str(&format!("{}{bare}", secret.prefix)).map_err(|_| unfit())?;
    if bare.is_empty() {
        return Err(unfit());
    }
    value.set_sensitive(true);
    let header = HeaderName::from_bytes(secret.header.as_bytes()).map_err(|_| unfit())?;
    Ok(Secret { endpoint: secret.endpoint.clone(), header, value, bare })
}
