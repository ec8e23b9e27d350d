//! One request, sent with the functions of `wasi:http`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use wasip2::io::streams::StreamError;

/// The maximum number of bytes in one call.
const CHUNK: u64 = 1 << 20;
/// The maximum number of bytes of a response to log.
const SHOWN: usize = 2_000;

/// A request to send.
#[derive(Clone, Deserialize)]
pub struct Ask {
    /// `http` (if absent) or `https`.
    scheme: Option<String>,
    /// The host, with a port or without.
    host: String,
    /// `/`, if absent.
    path: Option<String>,
    /// `GET`, if absent.
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The text of the body.
    body: Option<String>,
    /// Or the number of bytes of the body.
    body_bytes: Option<u64>,
    /// How often the request is sent. The default is once.
    pub times: Option<usize>,
    /// How long to wait for the first byte of the response, in milliseconds.
    first_byte_ms: Option<u64>,
    /// Whether to follow a redirect, once.
    #[serde(default)]
    pub follow: bool,
    /// Whether to leave the response body unread.
    #[serde(default)]
    unread: bool,
}

/// The result of a request.
#[derive(Default, Serialize)]
pub struct Seen {
    pub status: Option<u16>,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub bytes: u64,
    pub redirect: Option<String>,
    pub error: Option<String>,
}

impl Seen {
    pub fn failed(error: String) -> Self {
        Self { error: Some(error), ..Self::default() }
    }
}

impl Ask {
    /// Returns the same request to another location: `http://HOST/PATH`.
    pub fn at(&self, location: &str) -> Self {
        let (scheme, rest) = location.split_once("://").unwrap_or(("http", location));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        Self {
            scheme: Some(scheme.to_owned()),
            host: host.to_owned(),
            path: Some(format!("/{path}")),
            ..self.clone()
        }
    }
}

/// A request that was sent.
pub struct Exchange {
    future: FutureIncomingResponse,
    unread: bool,
}

impl Exchange {
    /// Sends the request with its body.
    pub fn begin(ask: &Ask) -> Result<Self, String> {
        let fields = Fields::new();
        for (name, value) in &ask.headers {
            fields.append(name, value.as_bytes()).map_err(|error| format!("header {name}: {error:?}"))?;
        }
        let request = OutgoingRequest::new(fields);
        let refused = |what: &'static str| move |()| format!("{what} is refused");
        request.set_method(&method(ask)).map_err(refused("the method"))?;
        let scheme = match ask.scheme.as_deref() {
            None | Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some(other) => Scheme::Other(other.to_owned()),
        };
        request.set_scheme(Some(&scheme)).map_err(refused("the scheme"))?;
        request.set_authority(Some(&ask.host)).map_err(refused("the authority"))?;
        request.set_path_with_query(Some(ask.path.as_deref().unwrap_or("/"))).map_err(refused("the path"))?;
        let options = RequestOptions::new();
        if let Some(ms) = ask.first_byte_ms {
            options.set_first_byte_timeout(Some(ms * 1_000_000)).map_err(refused("the option"))?;
        }
        let wanted = ask.body_bytes.or_else(|| ask.body.as_ref().map(|text| text.len() as u64));
        let body = wanted.map(|bytes| (request.body(), bytes));
        let future = outgoing_handler::handle(request, Some(options)).map_err(code)?;
        if let Some((body, bytes)) = body {
            let body = body.map_err(|()| "the body is refused".to_owned())?;
            // The response says why the body was not accepted.
            let _ = send(body, ask.body.as_deref(), bytes);
        }
        Ok(Self { future, unread: ask.unread })
    }

    /// Waits for the response, and reads it.
    pub fn finish(self) -> Seen {
        let response = loop {
            match self.future.get() {
                Some(Ok(Ok(response))) => break response,
                Some(Ok(Err(error))) => return Seen::failed(code(error)),
                Some(Err(())) => return Seen::failed("taken twice".to_owned()),
                None => self.future.subscribe().block(),
            }
        };
        let mut seen = Seen { status: Some(response.status()), ..Seen::default() };
        for (name, value) in response.headers().entries() {
            seen.headers.insert(name, String::from_utf8_lossy(&value).into_owned());
        }
        seen.redirect = seen.headers.get("location").filter(|_| (300..400).contains(&response.status())).cloned();
        if !self.unread {
            read(response, &mut seen);
        }
        seen
    }
}

fn method(ask: &Ask) -> Method {
    match ask.method.as_deref() {
        None | Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("POST") => Method::Post,
        Some("PUT") => Method::Put,
        Some("CONNECT") => Method::Connect,
        Some("TRACE") => Method::Trace,
        Some(other) => Method::Other(other.to_owned()),
    }
}

fn send(body: OutgoingBody, text: Option<&str>, bytes: u64) -> Result<(), String> {
    let stream = body.write().map_err(|()| "no stream".to_owned())?;
    let mut left = bytes;
    let mut text = text.map(str::as_bytes);
    while left > 0 {
        let room = stream.check_write().map_err(stream_error)?;
        if room == 0 {
            stream.subscribe().block();
            continue;
        }
        let length = left.min(room).min(CHUNK);
        let chunk = match &mut text {
            Some(text) => {
                let (now, later) = text.split_at(length as usize);
                *text = later;
                now.to_vec()
            }
            None => vec![b'x'; length as usize],
        };
        stream.write(&chunk).map_err(stream_error)?;
        left -= length;
    }
    drop(stream);
    OutgoingBody::finish(body, None).map_err(code)
}

fn read(response: IncomingResponse, seen: &mut Seen) {
    let Ok(body): Result<IncomingBody, ()> = response.consume() else { return };
    let Ok(stream) = body.stream() else { return };
    let mut text = Vec::new();
    loop {
        match stream.blocking_read(CHUNK) {
            Ok(chunk) => {
                seen.bytes += chunk.len() as u64;
                let room = SHOWN.saturating_sub(text.len()).min(chunk.len());
                text.extend_from_slice(&chunk[..room]);
            }
            Err(StreamError::Closed) => break,
            Err(error) => {
                seen.error = Some(stream_error(error));
                break;
            }
        }
    }
    seen.body = String::from_utf8_lossy(&text).into_owned();
}

fn stream_error(error: StreamError) -> String {
    match error {
        StreamError::Closed => "closed".to_owned(),
        StreamError::LastOperationFailed(error) => {
            wasip2::http::types::http_error_code(&error).map_or_else(|| error.to_debug_string(), code)
        }
    }
}

fn code(error: ErrorCode) -> String {
    format!("{error:?}")
}
