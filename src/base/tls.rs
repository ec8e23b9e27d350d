//! TLS: the implementation of cryptography, and the certificates that this machine trusts: those of
//! the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.

use std::sync::OnceLock;

use tokio_rustls::rustls::crypto::ring;

/// What libraries say about a certificate whose issuer is not trusted, or only has the name of a
/// trusted one.
const UNKNOWN: [&str; 2] = ["invalid peer certificate: UnknownIssuer", "invalid peer certificate: BadSignature"];
/// What this program says about it.
const UNTRUSTED: &str = "the server's certificate is from an authority that this machine does not trust; install that \
                         authority's certificate, or set SSL_CERT_FILE to a file that contains it";

/// Makes *ring* the implementation of cryptography of this process. Clients that libraries create
/// (`reqwest`, `object_store`) need one, and have no default of their own. Call this before the
/// first of them is created; further calls have no effect.
pub fn use_ring() {
    // This fails only if a provider is installed already, which is *ring* too.
    let _ = ring::default_provider().install_default();
}

/// Returns whether this machine trusts any certificates. If it does not, libraries create no client
/// that could use TLS, even if it never would.
#[must_use]
pub fn trusts_any() -> bool {
    static ANY: OnceLock<bool> = OnceLock::new();
    *ANY.get_or_init(|| !rustls_native_certs::load_native_certs().certs.is_empty())
}

/// Returns the builder of an HTTP client that trusts what this machine trusts. If that is nothing,
/// the client works only without TLS.
pub fn client() -> reqwest::ClientBuilder {
    use_ring();
    let builder = reqwest::Client::builder();
    if trusts_any() { builder } else { builder.tls_certs_only([]) }
}

/// Says in the text of an error what an untrusted certificate is, and what to do about it.
#[must_use]
pub fn explained(error: &str) -> String {
    UNKNOWN.iter().fold(error.to_owned(), |text, unknown| text.replace(unknown, UNTRUSTED))
}
