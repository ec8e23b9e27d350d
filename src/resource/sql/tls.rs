//! TLS to a PostgreSQL server.

use std::sync::{Arc, OnceLock};

use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// Returns a connector that trusts the certificates that this machine trusts: those of the system,
/// or of `SSL_CERT_FILE` and `SSL_CERT_DIR`. They are read once, at the first connection that needs
/// them.
pub(super) async fn connector() -> Result<MakeRustlsConnect, String> {
    static CONFIG: OnceLock<Result<ClientConfig, String>> = OnceLock::new();
    let made = tokio::task::spawn_blocking(|| CONFIG.get_or_init(config).clone()).await;
    let config = made.unwrap_or_else(|_| Err("the trusted certificates could not be read".to_owned()))?;
    Ok(MakeRustlsConnect::new(config))
}

fn config() -> Result<ClientConfig, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        return Err("this machine trusts no certificates: install `ca-certificates`, or set SSL_CERT_FILE".to_owned());
    }
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
        .map_err(|why| format!("TLS cannot be set up: {why}"))
}
