//! Performs one request, from a checked target to the response.
//!
//! The host resolves the name once and connects to an address that it has checked, so a name that
//! resolves differently a moment later has no effect. Each request uses its own connection, which
//! closes with it: a pool would let one attempt send over a connection that another opened, and
//! would save only the cost of a handshake. The host follows no redirects: the guest sees the 3xx
//! response, and its next request is checked like any other.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper::{Request, Response, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls::pki_types::ServerName;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use crate::base::{Endpoint, Host};

use super::address::not_public;
use super::body::{AnswerBody, Broke, RequestBody, UploadWatch};
use super::network::Outbound;
use super::permit::Permits;
use super::request_error::{ErrorReporter, RequestError};
use super::request_log::Ticket;
use super::secrets::HeaderValues;

/// Maximum size of a response's head, in bytes: status and headers. The same bound applies again to
/// trailers.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// The maximum number of headers in a response.
const MAX_HEADERS: usize = 200;
/// Maximum size of the part of a body that the host buffers for one connection, in bytes.
const MAX_BUFFER_BYTES: usize = 128 << 10;
/// The maximum number of addresses of a name that are tried.
const MAX_TRIED: usize = 4;

/// The future that drives the connection while the response's body is read.
pub(super) type Driver = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;
/// A response, and the future that drives its connection.
pub(super) type Answer = (Response<WasiBody>, Driver);

/// A request to a granted target.
pub(super) struct Exchange {
    pub(super) outbound: Arc<Outbound>,
    pub(super) permits: Arc<Permits>,
    pub(super) secrets: Arc<HeaderValues>,
    pub(super) reporter: ErrorReporter,
    pub(super) ticket: Arc<Ticket>,
    pub(super) slot: OwnedSemaphorePermit,
    pub(super) endpoint: Endpoint,
    pub(super) waits: Waits,
    /// Whether its headers contain a secret.
    pub(super) has_secret: bool,
}

/// The timeouts of a request: those that the guest asks for, bounded by `http_wait`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    connect: Duration,
    answer: Duration,
    between: Duration,
}

impl Waits {
    pub(super) fn new(options: Option<RequestOptions>, most: Duration) -> Self {
        let options = options.unwrap_or_default();
        let within = |asked: Option<Duration>| asked.map_or(most, |asked| asked.min(most));
        Self {
            connect: within(options.connect_timeout),
            answer: within(options.first_byte_timeout),
            between: within(options.between_bytes_timeout),
        }
    }
}

/// A connection, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Exchange {
    /// Sends the request and waits for the head of the response.
    pub(super) async fn run(self, request: Request<WasiBody>) -> Result<Answer, Error> {
        let https = request.uri().scheme() == Some(&Scheme::HTTPS);
        let deadline = Instant::now() + self.waits.connect;
        let stream = match timeout_at(deadline, self.open(https)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(Stopped::RequestError(error))) => return Err(self.reporter.report(&self.ticket, error)),
            Ok(Err(Stopped::Denied)) => return Err(Error::DestinationIpProhibited),
            Err(_) => return Err(self.reporter.report(&self.ticket, RequestError::ConnectTimeout(self.waits.connect))),
        };
        let watch = UploadWatch::new();
        match self.converse(stream, request, &watch).await {
            Ok((response, driver)) => self.answer(response, driver),
            Err(error) => {
                let error = match watch.broke() {
                    Some(Broke::TooLarge) => RequestError::RequestTooLarge,
                    Some(Broke::GivenUp) => RequestError::GivenUp,
                    None => error,
                };
                Err(self.reporter.report(&self.ticket, error))
            }
        }
    }

    /// Opens a connection to a permitted address.
    async fn open(&self, https: bool) -> Result<Box<dyn Stream>, Stopped> {
        let stream = self.connect(&self.addresses().await?).await?;
        if !https {
            return Ok(Box::new(stream));
        }
        let connector = self.outbound.tls().await.map_err(RequestError::Trust)?;
        let name = server_name(&self.endpoint.host)?;
        let stream = connector.connect(name, stream).await.map_err(RequestError::Tls)?;
        Ok(Box::new(stream))
    }

    /// Resolves the target. A granted address is used as it is. A name is resolved, and every
    /// address that it resolves to must be permitted: a name with public and non-public addresses
    /// is misconfigured or malicious.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Stopped> {
        let Endpoint { host, port } = &self.endpoint;
        let name = match host {
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, *port)]),
            Host::Name(name) => name,
        };
        let found = self.outbound.network.resolve(name, *port).await.map_err(RequestError::Lookup)?;
        let mut addresses: Vec<IpAddr> = found.iter().map(|found| found.ip().to_canonical()).collect();
        addresses.dedup();
        for address in &addresses {
            let listed = Endpoint { host: Host::Address(*address), port: *port };
            if let Some(what) = not_public(*address)
                && !self.permits.allows(&listed)
            {
                self.permits.deny_address(&self.ticket, &self.endpoint, &listed, what);
                return Err(Stopped::Denied);
            }
        }
        // Always uses the requested port, whatever the resolver returns.
        let addresses: Vec<_> = addresses.into_iter().map(|address| SocketAddr::new(address, *port)).collect();
        if addresses.is_empty() { Err(RequestError::NoAddress.into()) } else { Ok(addresses) }
    }

    /// Connects to the first address that accepts. No single address may use the whole timeout.
    async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, RequestError> {
        let tried = addresses.len().min(MAX_TRIED);
        let share = self.waits.connect / u32::try_from(tried).unwrap_or(1).max(1);
        let mut failed = RequestError::NoAddress;
        for address in addresses.iter().take(tried) {
            match timeout_at(Instant::now() + share, self.outbound.network.connect(*address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(why)) => failed = RequestError::Connect(why),
                Err(_) => failed = RequestError::ConnectTimeout(self.waits.connect),
            }
        }
        Err(failed)
    }

    /// Sends the request over the connection and waits for the head of the response.
    async fn converse(
        &self,
        stream: Box<dyn Stream>,
        request: Request<WasiBody>,
        watch: &Arc<UploadWatch>,
    ) -> Result<(Response<hyper::body::Incoming>, Driver), RequestError> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_BUFFER_BYTES).max_header_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(RequestError::Broken)?;
        let mut connection = Box::pin(connection);
        let mut sent = pin!(sender.send_request(self.on_the_wire(request, watch)?));
        let mut open = true;
        let response = loop {
            tokio::select! {
                biased;
                response = &mut sent => break response.map_err(RequestError::Broken)?,
                // A connection that closed without an error may still have delivered the response.
                ended = &mut connection, if open => match ended {
                    Ok(()) => open = false,
                    Err(why) => return Err(RequestError::Broken(why)),
                },
                () = watch.stands_still(self.waits.answer) => return Err(RequestError::NoAnswer(self.waits.answer)),
            }
        };
        let driver: Driver = Box::pin(async move {
            // Later errors are reported to the reader of the body.
            if open {
                let _ = connection.await;
            }
            Ok(())
        });
        Ok((response, driver))
    }

    /// Returns the request in the form for the wire: only the path, because the host is in the
    /// `host` header.
    fn on_the_wire(
        &self,
        request: Request<WasiBody>,
        watch: &Arc<UploadWatch>,
    ) -> Result<Request<RequestBody>, RequestError> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        parts.uri = Uri::builder().path_and_query(path).build().map_err(|_| RequestError::Header("path"))?;
        let body = RequestBody {
            inner: body,
            left: self.reporter.limits.http_body_bytes,
            ticket: Arc::clone(&self.ticket),
            watch: Arc::clone(watch),
        };
        Ok(Request::from_parts(parts, body))
    }

    /// Builds the response for the guest.
    fn answer(self, response: Response<hyper::body::Incoming>, driver: Driver) -> Result<Answer, Error> {
        let (mut parts, body) = response.into_parts();
        self.ticket.status(parts.status.as_u16());
        let most = self.reporter.limits.http_body_bytes;
        if hyper::body::Body::size_hint(&body).lower() > most {
            return Err(self.reporter.report(&self.ticket, RequestError::AnswerTooLarge));
        }
        if self.has_secret {
            self.secrets.take_out_of(&mut parts.headers);
        }
        let body = AnswerBody {
            inner: body,
            left: most,
            wait: self.waits.between,
            waiting: None,
            ticket: self.ticket,
            reporter: self.reporter,
            _slot: self.slot,
        };
        Ok((Response::from_parts(parts, WasiBody::new(body)), driver))
    }
}

/// Why no connection was made.
enum Stopped {
    RequestError(RequestError),
    /// The denial is already recorded.
    Denied,
}

impl From<RequestError> for Stopped {
    fn from(error: RequestError) -> Self {
        Self::RequestError(error)
    }
}

/// Returns the name that the server's certificate must contain.
fn server_name(host: &Host) -> Result<ServerName<'static>, RequestError> {
    match host {
        Host::Address(address) => Ok(ServerName::from(*address)),
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| RequestError::ServerName(host.clone())),
    }
}
