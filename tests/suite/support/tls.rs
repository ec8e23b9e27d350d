//! TLS: a certificate, and a door that speaks TLS in front of a server that does not.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto::ring};

/// Returns a new certificate for `name`, which may be an address: for a server, and as PEM for
/// clients to trust. It is signed by itself, so `name` is also the name of its authority.
pub(crate) fn certificate(name: &str) -> (Arc<ServerConfig>, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let made = params.self_signed(&key).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.der().clone()], key)
        .unwrap();
    (Arc::new(config), made.pem())
}

/// What the host says about a certificate that it does not trust.
pub(crate) const UNTRUSTED: &str = "the server's certificate is from an authority that this machine does not trust; \
                                    install that authority's certificate, or set SSL_CERT_FILE to a file that contains it";

/// What a client has to say before TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    Nothing,
    /// `CONNECT host:port`, as to a proxy.
    Connect,
    /// `STARTTLS`, as to a mail server.
    StartTls,
}

/// A door on loopback; it accepts no connection after it is dropped.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    /// The certificate, as PEM.
    pub(crate) certificate: String,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

struct Shared {
    upstream: SocketAddr,
    before: Before,
    acceptor: TlsAcceptor,
    /// What clients have said first on each connection.
    said: Mutex<Vec<String>>,
}

impl Door {
    /// Opens a door with a certificate for `name` in front of a server.
    pub(crate) fn open(name: &str, upstream: SocketAddr, before: Before) -> Self {
        let (config, certificate) = certificate(name);
        let shared = Shared { upstream, before, acceptor: TlsAcceptor::from(config), said: Mutex::default() };
        let shared = Arc::new(shared);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let accept = async {
                    while let Ok((client, _)) = listener.accept().await {
                        let shared = Arc::clone(&accepting);
                        tokio::spawn(async move { shared.serve(client).await });
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, certificate, shared, _stop: stop }
    }

    /// Returns the first line of each connection, which is empty if none was needed.
    pub(crate) fn said(&self) -> Vec<String> {
        self.shared.said.lock().unwrap().clone()
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut server = TcpStream::connect(self.upstream).await?;
        let mut first = String::new();
        match self.before {
            Before::Nothing => {}
            Before::Connect => {
                first = line(&mut client).await?;
                while !line(&mut client).await?.is_empty() {}
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            }
            Before::StartTls => {
                let greeting = line(&mut server).await?;
                client.write_all(format!("{greeting}\r\n").as_bytes()).await?;
                first = line(&mut client).await?;
                client.write_all(b"250-mail.test\r\n250 STARTTLS\r\n").await?;
                while line(&mut client).await? != "STARTTLS" {
                    client.write_all(b"530 STARTTLS first\r\n").await?;
                }
                client.write_all(b"220 go on\r\n").await?;
            }
        }
        self.said.lock().unwrap().push(first);
        let mut client = self.acceptor.accept(client).await?;
        copy_bidirectional(&mut client, &mut server).await.map(|_| ())
    }
}

/// Reads a line byte by byte, because what follows it may be TLS.
async fn line(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<String> {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
            byte => line.push(byte),
        }
    }
}
