//! The implementation of cryptography for TLS.

use tokio_rustls::rustls::crypto::ring;

/// Makes *ring* the implementation of cryptography of this process. Clients that libraries create
/// (`reqwest`, `object_store`) need one, and have no default of their own. Call this before the
/// first of them is created; further calls have no effect.
pub fn use_ring() {
    // An error says that one is installed already, which is this one.
    let _ = ring::default_provider().install_default();
}
