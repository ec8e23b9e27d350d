//! One request, from a checked target to an answer.
//!
//! The name is looked up once, by the host, and the connection goes to an address that was looked
//! at: a name that leads elsewhere a moment later leads nowhere. Each request has a connection of
//! its own, which ends with it: a pool would let one attempt send over what another opened, and
//! would save only what a handshake costs. The host follows no redirect: the guest sees the 3xx,
//! and what it asks for next is checked like everything else.

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
use super::book::Ticket;
use super::fault::{Fault, Faults};
use super::network::Outbound;
use super::permit::Permits;
use super::secrets::HeaderValues;

/// Largest head of an answer, in bytes: status, headers, and as much again for trailers.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Most headers of an answer.
const MAX_HEADERS: usize = 200;
/// Largest part of a body that the host holds for one connection, in bytes.
const MAX_BUFFER_BYTES: usize = 128 << 10;
/// Most addresses of a name that are tried.
const MAX_TRIED: usize = 4;

/// What drives the connection while the answer's body is read.
pub(super) type Driver = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;
/// An answer, and what drives its connection.
pub(super) type Answer = (Response<WasiBody>, Driver);

/// A request whose target is granted.
pub(super) struct Exchange {
    pub(super) outbound: Arc<Outbound>,
    pub(super) permits: Arc<Permits>,
    pub(super) secrets: Arc<HeaderValues>,
    pub(super) faults: Faults,
    pub(super) ticket: Arc<Ticket>,
    pub(super) slot: OwnedSemaphorePermit,
    pub(super) endpoint: Endpoint,
    pub(super) waits: Waits,
    /// Whether a secret is among its headers.
    pub(super) has_secret: bool,
}

/// The longest waits of a request: what the guest asks for, within `http_wait`.
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

/// Bytes both ways, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Exchange {
    /// Sends the request, and waits for the head of the answer.
    pub(super) async fn run(self, request: Request<WasiBody>) -> Result<Answer, Error> {
        let https = request.uri().scheme() == Some(&Scheme::HTTPS);
        let deadline = Instant::now() + self.waits.connect;
        let stream = match timeout_at(deadline, self.open(https)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(Stopped::Fault(fault))) => return Err(self.faults.report(&self.ticket, fault)),
            Ok(Err(Stopped::Denied)) => return Err(Error::DestinationIpProhibited),
            Err(_) => return Err(self.faults.report(&self.ticket, Fault::ConnectTimeout(self.waits.connect))),
        };
        let watch = UploadWatch::new();
        match self.converse(stream, request, &watch).await {
            Ok((response, driver)) => self.answer(response, driver),
            Err(fault) => {
                let fault = match watch.broke() {
                    Some(Broke::TooLarge) => Fault::RequestTooLarge,
                    Some(Broke::GivenUp) => Fault::GivenUp,
                    None => fault,
                };
                Err(self.faults.report(&self.ticket, fault))
            }
        }
    }

    /// A connection to an address that may be reached.
    async fn open(&self, https: bool) -> Result<Box<dyn Stream>, Stopped> {
        let stream = self.connect(&self.addresses().await?).await?;
        if !https {
            return Ok(Box::new(stream));
        }
        let connector = self.outbound.tls().await.map_err(Fault::Trust)?;
        let name = server_name(&self.endpoint.host)?;
        let stream = connector.connect(name, stream).await.map_err(Fault::Tls)?;
        Ok(Box::new(stream))
    }

    /// Where the target is. An address is what it is, and granted as such. A name is looked up, and
    /// all that it leads to must be allowed: one that leads inside as well as outside is misled, or
    /// misleading.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Stopped> {
        let Endpoint { host, port } = &self.endpoint;
        let name = match host {
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, *port)]),
            Host::Name(name) => name,
        };
        let found = self.outbound.network.resolve(name, *port).await.map_err(Fault::Lookup)?;
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
        // The port that was asked for, whatever the resolver says.
        let addresses: Vec<_> = addresses.into_iter().map(|address| SocketAddr::new(address, *port)).collect();
        if addresses.is_empty() { Err(Fault::NoAddress.into()) } else { Ok(addresses) }
    }

    /// A connection to the first that takes one. None gets all the time.
    async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Fault> {
        let tried = addresses.len().min(MAX_TRIED);
        let share = self.waits.connect / u32::try_from(tried).unwrap_or(1).max(1);
        let mut failed = Fault::NoAddress;
        for address in addresses.iter().take(tried) {
            match timeout_at(Instant::now() + share, self.outbound.network.connect(*address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(why)) => failed = Fault::Connect(why),
                Err(_) => failed = Fault::ConnectTimeout(self.waits.connect),
            }
        }
        Err(failed)
    }

    /// Hands the request to the connection, and waits for the head of the answer.
    async fn converse(
        &self,
        stream: Box<dyn Stream>,
        request: Request<WasiBody>,
        watch: &Arc<UploadWatch>,
    ) -> Result<(Response<hyper::body::Incoming>, Driver), Fault> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_BUFFER_BYTES).max_header_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(Fault::Broken)?;
        let mut connection = Box::pin(connection);
        let mut sent = pin!(sender.send_request(self.on_the_wire(request, watch)?));
        let mut open = true;
        let response = loop {
            tokio::select! {
                biased;
                response = &mut sent => break response.map_err(Fault::Broken)?,
                // One that has ended in good order may have left the answer behind.
                ended = &mut connection, if open => match ended {
                    Ok(()) => open = false,
                    Err(why) => return Err(Fault::Broken(why)),
                },
                () = watch.stands_still(self.waits.answer) => return Err(Fault::NoAnswer(self.waits.answer)),
            }
        };
        let driver: Driver = Box::pin(async move {
            // What goes wrong from here on is seen by who reads the body.
            if open {
                let _ = connection.await;
            }
            Ok(())
        });
        Ok((response, driver))
    }

    /// The request as the server gets it: the path alone, since the host is in its header.
    fn on_the_wire(&self, request: Request<WasiBody>, watch: &Arc<UploadWatch>) -> Result<Request<RequestBody>, Fault> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        parts.uri = Uri::builder().path_and_query(path).build().map_err(|_| Fault::Header("path"))?;
        let body = RequestBody {
            inner: body,
            left: self.faults.limits.http_body_bytes,
            ticket: Arc::clone(&self.ticket),
            watch: Arc::clone(watch),
        };
        Ok(Request::from_parts(parts, body))
    }

    /// The answer for the guest.
    fn answer(self, response: Response<hyper::body::Incoming>, driver: Driver) -> Result<Answer, Error> {
        let (mut parts, body) = response.into_parts();
        self.ticket.status(parts.status.as_u16());
        let most = self.faults.limits.http_body_bytes;
        if hyper::body::Body::size_hint(&body).lower() > most {
            return Err(self.faults.report(&self.ticket, Fault::AnswerTooLarge));
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
            faults: self.faults,
            _slot: self.slot,
        };
        Ok((Response::from_parts(parts, WasiBody::new(body)), driver))
    }
}

/// Why there is no connection.
enum Stopped {
    Fault(Fault),
    /// It is on record already.
    Denied,
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What must be in the server's certificate.
fn server_name(host: &Host) -> Result<ServerName<'static>, Fault> {
    match host {
        Host::Address(address) => Ok(ServerName::from(*address)),
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| Fault::ServerName(host.clone())),
    }
}
