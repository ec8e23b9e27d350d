//! Connections to a PostgreSQL server, with or without TLS.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::tls::explained;

/// How long to wait for a connection, unless the URL says otherwise.
const CONNECT: Duration = Duration::from_secs(10);
/// After this time without an answer of its machine, the server counts as gone.
const SILENCE: Duration = Duration::from_secs(30);

/// Makes connections. A request to cancel a statement is a connection too, of the same kind.
#[derive(Clone)]
pub enum Connector {
    /// Without TLS.
    Plain,
    /// With TLS.
    Tls(MakeRustlsConnect),
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Plain) { "Plain" } else { "Tls" })
    }
}

impl Connector {
    /// Returns the connector for the TLS mode of `config`.
    ///
    /// # Errors
    /// If this machine trusts no certificates.
    pub async fn of(config: &Config) -> Result<Self, String> {
        match config.get_ssl_mode() {
            SslMode::Require => tls().await.map(Self::Tls),
            _ => Ok(Self::Plain),
        }
    }

    /// Connects to the server. `news` is notified when a notification has come, or the connection
    /// has ended. Also returns the task that moves the bytes of the connection.
    ///
    /// # Errors
    /// If the server cannot be reached, or refuses the connection.
    pub async fn connect(
        &self,
        config: &Config,
        news: Arc<Notify>,
    ) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        match self.clone() {
            Self::Plain => config.connect(NoTls).await.map(|(client, connection)| (client, drive(connection, news))),
            Self::Tls(tls) => config.connect(tls).await.map(|(client, connection)| (client, drive(connection, news))),
        }
    }

    /// Asks the server to cancel the statement of a connection that this connector has made.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn cancel(self, token: CancelToken) -> Result<(), tokio_postgres::Error> {
        match self {
            Self::Plain => token.cancel_query(NoTls).await,
            Self::Tls(tls) => token.cancel_query(tls).await,
        }
    }
}

impl deadpool_postgres::Connect for Connector {
    fn connect(&self, config: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        let config = config.clone();
        Box::pin(async move { Self::connect(self, &config, Arc::default()).await })
    }
}

/// Sets what holds for every connection, unless the URL says otherwise.
pub fn set_defaults(config: &mut Config) {
    if config.get_application_name().is_none() {
        config.application_name("anacostia");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT);
    }
    config.keepalives_idle(SILENCE).tcp_user_timeout(SILENCE);
}

/// Says why a request failed: what the server said, or what happened to the connection.
#[must_use]
pub fn reason(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        let more = [said.detail(), said.hint()].into_iter().flatten();
        return more.fold(said.message().to_owned(), |text, more| format!("{text}; {more}"));
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    explained(&text)
}

/// Moves the bytes of a connection until it ends.
fn drive<S, T>(mut connection: Connection<S, T>, news: Arc<Notify>) -> JoinHandle<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if matches!(message, AsyncMessage::Notification(_)) {
                news.notify_one();
            }
        }
        // Calls in progress report the reason.
        drop(connection);
        news.notify_one();
    })
}

/// Returns a connector that trusts the certificates that this machine trusts: those of the system,
/// or of `SSL_CERT_FILE` and `SSL_CERT_DIR`. They are read once, at the first connection that needs
/// them.
async fn tls() -> Result<MakeRustlsConnect, String> {
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
