//! Errors as clients see them: RFC 9457 problem details. Only this module assigns status codes to
//! errors.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::request_id;
use crate::base::{bounds::cut, escape, innermost};
use crate::resource::ResourceError;
use crate::store::StoreError;

/// The result of a handler.
pub(super) type Result<T> = std::result::Result<T, Problem>;

/// Media type of problem details.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// What is wrong with a request, and advice on how to fix it.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    extras: Box<Extras>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What is wrong with a request (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// What kind of problem it is, for programs: `urn:anacostia:problem:` and a word.
    #[serde(rename = "type")]
    kind: String,
    /// The kind, for people.
    title: &'static str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong with this request, and what to do about it.
    detail: String,
    #[serde(flatten)]
    extras: Extras,
}

/// What some problems say besides.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ProblemAdvice)]
struct Extras {
    /// The parameter whose value is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// What was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    did_you_mean: Option<String>,
    /// What is allowed instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<Vec<String>>,
    /// Why the host is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<String>>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, title, detail: detail.into(), extras: Box::default(), headers: Vec::new() }
    }

    /// Adds what was probably meant.
    pub(super) fn suggest(mut self, near: Option<&str>) -> Self {
        self.extras.did_you_mean = near.map(str::to_owned);
        self
    }

    fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// Adds the invalid value of the request, the allowed values, and the most similar of them.
    pub(super) fn choices<'a>(mut self, word: &str, allowed: impl IntoIterator<Item = &'a str>) -> Self {
        let allowed: Vec<&str> = allowed.into_iter().collect();
        self.extras.allowed = Some(allowed.iter().map(|word| (*word).to_owned()).collect());
        self.suggest(nearest(word, allowed))
    }

    /// The request is invalid as HTTP or as a query.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "the request is not valid", detail)
    }

    /// A query parameter that this route does not have.
    pub(super) fn unknown_parameter(name: &str, allowed: &[&str]) -> Self {
        let detail = format!("this route has no parameter `{}`", shown(name));
        Self::new(StatusCode::BAD_REQUEST, "unknown-parameter", "unknown query parameter", detail)
            .choices(name, allowed.iter().copied())
    }

    /// A parameter with an invalid value.
    pub(super) fn bad_parameter(name: &str, why: impl std::fmt::Display) -> Self {
        let detail = format!("`{name}` is not valid: {why}");
        let mut problem =
            Self::new(StatusCode::BAD_REQUEST, "bad-parameter", "a parameter has an invalid value", detail);
        problem.extras.parameter = Some(name.to_owned());
        problem
    }

    /// No token, or the wrong one.
    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "a bearer token is needed", detail)
            .header(header::WWW_AUTHENTICATE, "Bearer realm=\"anacostia\"")
    }

    /// A page of another site tries to change something.
    pub(super) fn foreign_origin(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "foreign-origin", "only pages of this server may change something", detail)
    }

    /// The request is for another host.
    pub(super) fn misdirected(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host", "the request is for another host", detail)
    }

    /// The requested item does not exist.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "not found", detail)
    }

    /// The content existed and is permanently removed.
    pub(super) fn gone(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "gone", "the content is gone", detail)
    }

    /// The route has no such method. The router adds `Allow`.
    pub(super) fn method_not_allowed() -> Self {
        let detail = "the header `Allow` of this response lists the methods of this route";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "this route does not support the method",
            detail,
        )
    }

    /// The recorded state does not allow the request.
    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "the recorded state does not allow it", detail)
    }

    /// The body is larger than the limit.
    pub(super) fn body_too_large(limit: impl std::fmt::Display) -> Self {
        let detail = format!("the body has more than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "the body is too large", detail)
    }

    /// The connection ended, or was not HTTP any more, before all of the body had arrived.
    pub(super) fn body_incomplete(error: &(dyn std::error::Error + 'static)) -> Self {
        let detail = format!("the body ended early: {}; send it again", innermost(error));
        Self::new(StatusCode::BAD_REQUEST, "body-incomplete", "the body did not arrive whole", detail)
            .header(header::CONNECTION, "close")
    }

    /// The body did not arrive in time.
    pub(super) fn body_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "the body did not arrive in time", "send it again")
            .header(header::CONNECTION, "close")
    }

    /// The body is not what its digest in the header announces.
    pub(super) fn digest_mismatch(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "digest-mismatch", "the body does not have the announced digest", detail)
    }

    /// The body is not declared as JSON.
    pub(super) fn not_json() -> Self {
        let detail = "send a JSON object with `Content-Type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "the body is not JSON", detail)
    }

    /// Path and query are longer than the limit.
    pub(super) fn target_too_long(limit: usize) -> Self {
        let detail = format!("path and query together have more than {limit} bytes");
        Self::new(StatusCode::URI_TOO_LONG, "target-too-long", "the URL is too long", detail)
    }

    /// The range lies outside of the content.
    pub(super) fn range_not_satisfiable(size: u64) -> Self {
        let detail = format!("the content has {size} bytes, and none of them is in the range");
        let mut problem =
            Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "range-not-satisfiable", "no such range", detail);
        if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
            problem.headers.push((header::CONTENT_RANGE, value));
        }
        problem
    }

    /// The service is temporarily unavailable.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "not available at the moment", detail)
            .header(header::RETRY_AFTER, "1")
    }

    /// The host is not ready yet.
    pub(super) fn not_ready(reasons: Vec<String>) -> Self {
        let detail = reasons.join("; ");
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "the host is not ready", detail);
        let extras = Box::new(Extras { reasons: Some(reasons), ..Extras::default() });
        Self { extras, ..problem }.header(header::RETRY_AFTER, "1")
    }

    /// An internal error of the host, which the client cannot fix. The details may name files of
    /// the host, so they go to the host's log, under a number that the answer contains.
    pub(super) fn internal(what: impl std::fmt::Display) -> Self {
        let number = format!("{:08x}", fastrand::u32(..));
        let request = request_id::current();
        tracing::error!("failed to answer a request (fault {number}, request {request}): {what}");
        let detail = format!("the host's log says what happened: look for `fault {number}`");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the host failed", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: format!("urn:anacostia:problem:{}", self.kind),
            title: self.title,
            status: self.status.as_u16(),
            detail: self.detail,
            extras: *self.extras,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.extend(self.headers);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let detail = error.to_string();
        match error {
            StoreError::Conflict(_) | StoreError::PathTaken { .. } | StoreError::Fenced { .. } => {
                Self::conflict(detail)
            }
            StoreError::Invalid(_) => Self::bad_request(detail),
            StoreError::Unavailable { .. }
            | StoreError::InUse { .. }
            | StoreError::StateInUse { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::Lost { .. }
            | StoreError::TakenOver { .. }
            | StoreError::Forgotten { .. } => Self::unavailable(detail),
            StoreError::Corrupt(_) => Self::internal(detail),
        }
    }
}

impl From<ResourceError> for Problem {
    fn from(error: ResourceError) -> Self {
        let detail = error.to_string();
        match error {
            ResourceError::NotFound { .. } | ResourceError::Changed { .. } | ResourceError::Gone { .. } => {
                Self::gone(detail)
            }
            ResourceError::Refused { .. } => Self::conflict(detail),
            ResourceError::Unavailable { .. } | ResourceError::Full { .. } | ResourceError::Unusable { .. } => {
                Self::unavailable(detail)
            }
            ResourceError::InvalidPath { .. }
            | ResourceError::AlreadyExists { .. }
            | ResourceError::Statement { .. }
            | ResourceError::Table { .. } => Self::internal(detail),
        }
    }
}

/// Shortens and escapes `text` from a request, so that an answer can contain it.
pub(super) fn shown(text: &str) -> String {
    escape(cut(text, 100).as_bytes())
}

/// Returns the candidate that `word` most likely means.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Computing the distance takes time proportional to the product of the lengths, and a client
    // chooses the text.
    let word = cut(word, 100);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 1.max(candidate.len() / 4))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::{Problem, nearest};

    #[test]
    fn internal_errors_are_logged_and_not_sent() {
        let Problem { detail, .. } = Problem::internal("/home/me/state/metadata.db is malformed");
        let number = detail.strip_prefix("the host's log says what happened: look for `fault ").unwrap();
        assert_eq!(number.trim_end_matches('`').len(), 8, "{detail}");
    }

    #[test]
    fn typos_are_recognised_and_unrelated_words_are_not() {
        assert_eq!(nearest("limt", ["state", "limit", "cursor"]), Some("limit"));
        assert_eq!(nearest("/api/v1/run", ["/api/v1/runs", "/api/v1/tags"]), Some("/api/v1/runs"));
        assert_eq!(nearest("colour", ["state", "limit"]), None);
        assert_eq!(nearest(&"x".repeat(100_000), ["state"]), None);
    }
}
