//! The outgoing part of `wasi:http`. It is linked only for components that import it, which is
//! permitted only for actions with `http` in the manifest.
//!
//! wasmtime provides the types. Every request goes through [`Hooks::send_request`], which counts
//! it, checks its target against the grants, adds secrets, and passes it to an
//! [exchange](exchange). The exchange runs next to the guest, on the same thread. Waiting for the
//! network counts as wall time, not as CPU time. Everything that a request holds (connection,
//! buffers, its place among the concurrent requests) belongs to handles in the guest's store, and
//! is freed with the store.
//!
//! Rejected: reqwest or another client with redirects, proxies, cookies and pools. All of these
//! would have to be switched off, and kept off.

mod address;
mod body;
mod exchange;
mod network;
mod permit;
mod request_error;
mod request_log;
mod secrets;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use hyper::Request;
use hyper::http::request::Parts;
use hyper::http::uri::Scheme;
use hyper::http::{HeaderName, HeaderValue, header};
use tokio::sync::Semaphore;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks,
};

use crate::base::Endpoint;
use crate::model::LogLevel;
use crate::sandbox::logs::AttemptLog;
use crate::sandbox::mask::Masker;
use crate::sandbox::order::AttemptOrder;

use exchange::{Answer, Exchange, Waits};
use permit::Permits;
use request_error::{ErrorReporter, RequestError};
use request_log::{MAX_CONCURRENT, RequestLog};
use secrets::Put;

pub(in crate::sandbox) use network::Outbound;
pub(in crate::sandbox) use request_log::Requests;
pub(in crate::sandbox) use secrets::HeaderValues;
pub(in crate::sandbox) use view::link;

/// Maximum size of a request's headers, and of the memory of one `fields`, in bytes. A guest may
/// have about a thousand of them.
const MAX_FIELDS_BYTES: usize = 32 << 10;
/// Maximum size of a part of a request's body, in bytes. The host holds two parts of each body that
/// is not sent yet, and a guest may have about a thousand bodies.
const MAX_PART_BYTES: usize = 32 << 10;
/// Headers that a guest may not set, in addition to those that wasmtime forbids (`host` and the
/// headers about the connection).
const FORBIDDEN: [HeaderName; 3] = [header::EXPECT, header::TE, header::TRAILER];

/// The prefix of the interface names of `wasi:http`.
pub(in crate::sandbox) const PACKAGE: &str = "wasi:http/";

/// The network access of an attempt.
pub(in crate::sandbox) struct Http {
    context: WasiHttpCtx,
    hooks: Hooks,
}

/// Sends requests. Empty if no host is granted; such a guest cannot reach it.
struct Hooks(Option<Granted>);

/// The data for sending requests.
struct Granted {
    outbound: Arc<Outbound>,
    permits: Arc<Permits>,
    secrets: Arc<HeaderValues>,
    request_log: Arc<RequestLog>,
    reporter: ErrorReporter,
    slots: Arc<Semaphore>,
    /// Whether the attempt was warned that a secret is not sent in plain text. It is warned once.
    warned: AtomicBool,
}

impl Http {
    /// Creates the network access of an attempt.
    pub(in crate::sandbox) fn new(
        order: &AttemptOrder,
        outbound: &Arc<Outbound>,
        secrets: &Arc<HeaderValues>,
        log: &Arc<AttemptLog>,
        masker: &Arc<Masker>,
    ) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(MAX_FIELDS_BYTES);
        let granted = (!order.http.is_empty()).then(|| Granted {
            outbound: Arc::clone(outbound),
            permits: Arc::new(Permits { action: order.action.clone(), hosts: order.http.clone() }),
            secrets: Arc::clone(secrets),
            request_log: RequestLog::new(Arc::clone(masker)),
            reporter: ErrorReporter {
                action: order.action.as_str().into(),
                limits: Arc::new(order.limits.clone()),
                log: Arc::clone(log),
            },
            slots: Arc::new(Semaphore::new(MAX_CONCURRENT)),
            warned: AtomicBool::new(false),
        });
        Self { context, hooks: Hooks(granted) }
    }

    /// Returns the record of the requests, when the attempt is over.
    pub(in crate::sandbox) fn close(&self) -> Requests {
        self.hooks.0.as_ref().map(|granted| granted.request_log.close()).unwrap_or_default()
    }
}

/// The return type of wasmtime's hook.
type Sending = Box<
    dyn Future<Output = Result<(hyper::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>>
        + Send,
>;

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(is_forbidden)
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        MAX_PART_BYTES
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Sending {
        let Some(granted) = &self.0 else { return Box::new(async { Err(Error::HttpRequestDenied) }) };
        let (mut parts, body) = request.into_parts();
        match granted.begin(&mut parts, options) {
            Ok(exchange) => Box::new(async move {
                let (response, driver): Answer = exchange.run(Request::from_parts(parts, body)).await?;
                Ok((response, Box::new(driver) as Box<dyn Future<Output = _> + Send>))
            }),
            Err(error) => Box::new(async move { Err(error) }),
        }
    }
}

fn is_forbidden(name: &HeaderName) -> bool {
    DEFAULT_FORBIDDEN_HEADERS.contains(name) || FORBIDDEN.contains(name)
}

impl Granted {
    /// Checks a request against the grants and the limits, and sets its headers. Sends nothing yet.
    fn begin(&self, parts: &mut Parts, options: Option<RequestOptions>) -> Result<Exchange, Error> {
        let (ticket, count) = self.request_log.begin(parts);
        let fail = |error| Err(self.reporter.report(&ticket, error));
        if count > u64::from(self.reporter.limits.http_requests) {
            return fail(RequestError::TooMany);
        }
        // `CONNECT` opens a tunnel. `TRACE` asks the server to return everything that it received,
        // including secrets.
        if ["CONNECT", "TRACE"].iter().any(|method| parts.method.as_str().eq_ignore_ascii_case(method)) {
            return fail(RequestError::Method);
        }
        let endpoint = match target(parts) {
            Ok(endpoint) => endpoint,
            Err(why) => return fail(RequestError::Authority(why)),
        };
        if !self.permits.allows(&endpoint) {
            let scheme = parts.uri.scheme_str().unwrap_or_default();
            self.permits.deny_host(&ticket, &format!("{scheme}://{endpoint}"), &endpoint);
            return Err(Error::HttpRequestDenied);
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return fail(RequestError::TooManyAtOnce) };
        let has_secret = match self.headers(parts, &endpoint) {
            Ok(has_secret) => has_secret,
            Err(error) => return fail(error),
        };
        Ok(Exchange {
            outbound: Arc::clone(&self.outbound),
            permits: Arc::clone(&self.permits),
            secrets: Arc::clone(&self.secrets),
            reporter: self.reporter.clone(),
            ticket: Arc::new(ticket),
            slot,
            endpoint,
            waits: Waits::new(options, self.reporter.limits.http_wait),
            has_secret,
        })
    }

    /// Sets the headers: `host` names the target, and headers about the connection are removed.
    /// Returns whether they contain a secret.
    fn headers(&self, parts: &mut Parts, endpoint: &Endpoint) -> Result<bool, RequestError> {
        // wasmtime already calls `is_forbidden`, so the guest cannot have set these. This code does
        // not rely on that.
        let found: Vec<HeaderName> = parts.headers.keys().filter(|name| is_forbidden(name)).cloned().collect();
        for name in found {
            parts.headers.remove(name);
        }
        let scheme = parts.uri.scheme().cloned().unwrap_or(Scheme::HTTPS);
        let usual = default_port(&scheme) == endpoint.port;
        let host = if usual { endpoint.host.to_string() } else { endpoint.to_string() };
        parts.headers.insert(header::HOST, HeaderValue::from_str(&host).map_err(|_| RequestError::Header("host"))?);
        match self.secrets.put_in(&mut parts.headers, &scheme, endpoint) {
            Put::None => Ok(false),
            Put::In => Ok(true),
            Put::InTheOpen => {
                if !self.warned.swap(true, Relaxed) {
                    let why =
                        format!("the secret for `{endpoint}` is not put into a request over plain http: use https");
                    self.reporter.log.host(LogLevel::Warn, &why);
                }
                Ok(false)
            }
        }
    }
}

/// Returns the target of a request.
fn target(parts: &Parts) -> Result<Endpoint, crate::base::EndpointError> {
    let authority = parts.uri.authority().map_or("", |authority| authority.as_str());
    Endpoint::parse(authority, default_port(parts.uri.scheme().unwrap_or(&Scheme::HTTPS)))
}

fn default_port(scheme: &Scheme) -> u16 {
    if *scheme == Scheme::HTTP { 80 } else { 443 }
}
