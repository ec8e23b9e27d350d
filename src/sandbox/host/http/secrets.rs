//! Secrets that the host puts into requests. The guest names no secret and sees none: it asks the
//! host that the secret is for, and the header is there.
//!
//! What the server makes of it is the server's: one that sends the header back in the body of its
//! answer has told the guest.

use hyper::HeaderMap;
use hyper::http::uri::Scheme;
use hyper::http::{HeaderName, HeaderValue};

use crate::base::{Endpoint, Host};
use crate::model::ErrorInfo;
use crate::sandbox::order::AttemptOrder;

/// What stands in a header of an answer where the secret stood.
const MASK: HeaderValue = HeaderValue::from_static("***");

/// A secret, ready to be put in.
struct Secret {
    endpoint: Endpoint,
    header: HeaderName,
    /// With its prefix.
    value: HeaderValue,
    /// Without it.
    bare: String,
}

/// The secrets of an attempt that go into headers.
#[derive(Default)]
pub(in crate::sandbox) struct HeaderValues(Vec<Secret>);

/// What became of the secrets of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// There are none for this host.
    None,
    /// They are in.
    In,
    /// There are some, and they would have travelled in the open.
    InTheOpen,
}

impl HeaderValues {
    /// Reads them from the host's environment.
    ///
    /// # Errors
    /// When one is not there, or cannot be in a header.
    pub(in crate::sandbox) fn read(order: &AttemptOrder) -> Result<Self, ErrorInfo> {
        order.header_secrets.iter().map(|secret| read(order, secret)).collect::<Result<_, _>>().map(Self)
    }

    /// The values, to be masked.
    pub(in crate::sandbox) fn values(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|secret| secret.bare.as_str())
    }

    /// Puts those in that are for this host, in the place of what the guest may have put there:
    /// over TLS, or to this very machine.
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

    /// Takes the values out of the headers of an answer.
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
    let of = format!("the secret `{name}` of `{action}` is the variable `{variable}` of the host's environment");
    let bare = std::env::var(variable)
        .map_err(|_| ErrorInfo::permanent("secret_missing", format!("{of}, which is not set")))?;
    let unfit = || {
        let why = "which cannot stand in a header: it is empty, or has a line break or another control character in it";
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
