//! The errors of a request. The attempt's record and log show them in full; the guest gets one of
//! the error codes of `wasi:http`, which carry no text.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use crate::base::{Host, TimeSpan, tls};
use crate::manifest::Limits;
use crate::model::LogLevel;
use crate::sandbox::limits;
use crate::sandbox::logs::AttemptLog;

use super::request_log::{MAX_CONCURRENT, Ticket};

/// An error of a request.
#[derive(Debug)]
pub(super) enum RequestError {
    /// The attempt has made too many requests.
    TooMany,
    /// Too many concurrent requests.
    TooManyAtOnce,
    /// A method that would open a tunnel, or make the server return headers that the host added.
    Method,
    /// The authority is not a host with a port.
    Authority(crate::base::EndpointError),
    /// A header that the host cannot send.
    Header(&'static str),
    /// The name cannot be resolved.
    Lookup(io::Error),
    /// The name has no address.
    NoAddress,
    /// Connecting timed out.
    ConnectTimeout(Duration),
    /// Connecting failed.
    Connect(io::Error),
    /// No trusted certificates could be loaded.
    Trust(String),
    /// The name is not valid in a certificate.
    ServerName(Host),
    /// TLS failed.
    Tls(io::Error),
    /// The response timed out.
    NoAnswer(Duration),
    /// The response stalled.
    Silent(Duration),
    /// The request's body is too large.
    RequestTooLarge,
    /// The guest dropped the request's body before its end.
    GivenUp,
    /// The response's body is too large.
    AnswerTooLarge,
    /// The connection failed, or the server violated the protocol.
    Broken(hyper::Error),
}

/// Records the errors of requests, and converts them for the guest.
#[derive(Clone)]
pub(super) struct ErrorReporter {
    pub(super) action: Arc<str>,
    pub(super) limits: Arc<Limits>,
    pub(super) log: Arc<AttemptLog>,
}

impl ErrorReporter {
    /// Records an error, and converts it to an error for the guest.
    pub(super) fn report(&self, ticket: &Ticket, error: RequestError) -> Error {
        let text = self.text(&error);
        if ticket.failed(&text) {
            self.log.host(LogLevel::Warn, &format!("a request failed: {text}"));
        }
        self.code(error)
    }

    /// Returns the text of an error, for the record and the log.
    fn text(&self, error: &RequestError) -> String {
        let span = |span: &Duration| TimeSpan(*span).to_string();
        match error {
            RequestError::TooMany => limits::http_requests(&self.action, &self.limits).message,
            RequestError::RequestTooLarge => {
                limits::http_body(&self.action, &self.limits, "in the body of a request").message
            }
            RequestError::AnswerTooLarge => {
                limits::http_body(&self.action, &self.limits, "in the body of an answer").message
            }
            RequestError::TooManyAtOnce => {
                limits::fixed("limit", &format!("{MAX_CONCURRENT} requests at once")).message
            }
            RequestError::Method => {
                "the methods CONNECT and TRACE are not allowed: CONNECT opens a tunnel, and TRACE returns what was sent"
                    .to_owned()
            }
            RequestError::Authority(why) => format!("the authority of the request is not a host with a port: {why}"),
            RequestError::Header(which) => format!("the header {which} cannot be sent"),
            RequestError::Lookup(why) => format!("the name cannot be looked up: {why}"),
            RequestError::NoAddress => "the name has no address".to_owned(),
            RequestError::ConnectTimeout(wait) => {
                format!("there was no connection within {} (`http_wait`)", span(wait))
            }
            RequestError::Connect(why) => format!("there is no connection: {why}"),
            RequestError::Trust(why) => why.clone(),
            RequestError::ServerName(host) => format!("`{host}` cannot be the name in a certificate"),
            RequestError::Tls(why) => format!("TLS failed: {}", tls::explained(&why.to_string())),
            RequestError::NoAnswer(wait) => format!("the server did not answer within {} (`http_wait`)", span(wait)),
            RequestError::Silent(wait) => format!("the response stalled for {} (`http_wait`)", span(wait)),
            RequestError::GivenUp => "the action dropped the body of the request before its end".to_owned(),
            RequestError::Broken(why) => broken(why),
        }
    }

    /// Returns the error for the guest.
    fn code(&self, error: RequestError) -> Error {
        let most = Some(self.limits.http_body_bytes);
        match error {
            RequestError::TooMany | RequestError::TooManyAtOnce => Error::ConnectionLimitReached,
            RequestError::Method => Error::HttpRequestMethodInvalid,
            RequestError::Authority(_) => Error::HttpRequestUriInvalid,
            RequestError::Header(_) | RequestError::GivenUp => Error::HttpProtocolError,
            RequestError::Lookup(_) => {
                Error::DnsError { rcode: Some("the name cannot be looked up".to_owned()), info_code: None }
            }
            RequestError::NoAddress => Error::DestinationNotFound,
            RequestError::ConnectTimeout(_) => Error::ConnectionTimeout,
            RequestError::Connect(why) if why.kind() == io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
            RequestError::Connect(_) => Error::DestinationUnavailable,
            RequestError::Trust(_) => Error::ConfigurationError,
            RequestError::Tls(why) if is_certificate(&why) => Error::TlsCertificateError,
            RequestError::ServerName(_) => Error::TlsCertificateError,
            RequestError::Tls(_) => Error::TlsProtocolError,
            RequestError::NoAnswer(_) | RequestError::Silent(_) => Error::ConnectionReadTimeout,
            RequestError::RequestTooLarge => Error::HttpRequestBodySize(most),
            RequestError::AnswerTooLarge => Error::HttpResponseBodySize(most),
            RequestError::Broken(why) if why.is_parse_too_large() => Error::HttpResponseHeaderSectionSize(None),
            RequestError::Broken(why) if why.is_incomplete_message() => Error::HttpResponseIncomplete,
            RequestError::Broken(why) if why.is_closed() || why.is_canceled() => Error::ConnectionTerminated,
            RequestError::Broken(why) if why.is_parse() => Error::HttpProtocolError,
            RequestError::Broken(_) => Error::ConnectionTerminated,
        }
    }
}

/// Returns the code of an error of a response's body: one of the codes that [`ErrorReporter::code`]
/// returns for such errors.
pub(super) fn code_of(error: &Error) -> Option<ErrorCode> {
    Some(match error {
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        Error::ConnectionTerminated => ErrorCode::ConnectionTerminated,
        Error::HttpResponseBodySize(most) => ErrorCode::HttpResponseBodySize(*most),
        Error::HttpResponseHeaderSectionSize(most) => ErrorCode::HttpResponseHeaderSectionSize(*most),
        Error::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        Error::HttpProtocolError => ErrorCode::HttpProtocolError,
        _ => return None,
    })
}

fn is_certificate(why: &io::Error) -> bool {
    let cause = why.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}

/// Describes the failure without text from the server, which must not reach the log.
fn broken(why: &hyper::Error) -> String {
    let cause = std::error::Error::source(why).and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause {
        Some(cause) => format!("the connection broke: {cause}"),
        None if why.is_parse_too_large() => "the head of the answer is too large".to_owned(),
        None if why.is_incomplete_message() => {
            "the server closed the connection before the answer was complete".to_owned()
        }
        None => format!("the connection broke: {why}"),
    }
}
