//! Access to the network: name resolution, connections, TLS. It is behind a trait, so that tests
//! can make names resolve to arbitrary addresses.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// The maximum number of concurrent name lookups of all guests together. Others wait. A lookup
/// cannot be stopped once it has started.
const MAX_LOOKUPS: usize = 16;

/// Resolves names and opens connections.
#[async_trait]
pub(super) trait Network: Send + Sync {
    /// Returns the addresses of a name.
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
    /// Connects to an address.
    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream>;
}

/// The data that requests of all guests share: the network and the trusted certificates.
pub(in crate::sandbox) struct Outbound {
    pub(super) network: Arc<dyn Network>,
    trusted: OnceLock<Result<TlsConnector, String>>,
}

impl Outbound {
    /// The network of this machine.
    pub(in crate::sandbox) fn new() -> Self {
        Self::over(Arc::new(System { lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)) }))
    }

    /// Uses another network.
    pub(super) fn over(network: Arc<dyn Network>) -> Self {
        Self { network, trusted: OnceLock::new() }
    }

    /// Returns a TLS connector with the certificates that this machine trusts: those of the system,
    /// or of `SSL_CERT_FILE` and `SSL_CERT_DIR`. They are read once, at the first request that
    /// needs them, because most pipelines never do.
    pub(super) async fn tls(self: &Arc<Self>) -> Result<TlsConnector, String> {
        if let Some(made) = self.trusted.get() {
            return made.clone();
        }
        let shared = Arc::clone(self);
        let made = tokio::task::spawn_blocking(move || shared.trusted.get_or_init(connector).clone());
        made.await.unwrap_or_else(|_| Err("the trusted certificates could not be read".to_owned()))
    }
}

fn connector() -> Result<TlsConnector, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!(
            "this machine trusts no certificates{why}: install the package ca-certificates, or name a file of them in SSL_CERT_FILE"
        ));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| format!("TLS cannot be set up: {why}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The network of this machine.
struct System {
    lookups: Arc<Semaphore>,
}

#[async_trait]
impl Network for System {
    /// Runs on a separate thread, because the system's resolver blocks without a bound. Rejected:
    /// `spawn_blocking`. A runtime waits for such threads when it is dropped, so a silent name
    /// server would keep the host from exiting.
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let turn = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
        let (done, wait) = oneshot::channel();
        let name = name.to_owned();
        std::thread::Builder::new().name("lookup".to_owned()).spawn(move || {
            let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
            // Released only when the lookup ends, even if the caller has gone.
            drop(turn);
            let _ = done.send(found);
        })?;
        wait.await.map_err(io::Error::other)?
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
