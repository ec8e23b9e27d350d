//! Entity tags: a client that has an answer already gets 304 in place of it.
//!
//! Handlers set the tag of what has a version: assets, and the content of artifacts. JSON gets its
//! digest as a tag, which saves the transfer, not the work.

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::base::Digest;

/// Largest JSON that gets a tag, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Adds the tag of JSON, and answers with 304 if the client has named the tag of the answer.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    let reads = *request.method() == Method::GET;
    let mut known = HeaderMap::new();
    for value in request.headers().get_all(header::IF_NONE_MATCH) {
        known.append(header::IF_NONE_MATCH, value.clone());
    }
    let response = next.run(request).await;
    if !reads || response.status() != StatusCode::OK {
        return response;
    }
    let response = match with_tag(response).await {
        Ok(response) => response,
        Err(problem) => return problem.into_response(),
    };
    let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
    if tag.is_some_and(|tag| matches(&known, tag)) { not_modified(response) } else { response }
}

/// Returns whether `If-None-Match` names `tag`, or anything. The comparison is weak: a compressed
/// answer has the tag of the same answer that is not.
pub(super) fn matches(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}

async fn with_tag(mut response: Response) -> Result<Response, Problem> {
    let headers = response.headers();
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let size = response.body().size_hint().exact();
    let fits = size.is_some_and(|size| size <= MAX_BYTES as u64);
    if headers.contains_key(header::ETAG) || !is_json || !fits {
        return Ok(response);
    }
    let body = std::mem::take(response.body_mut());
    let bytes = to_bytes(body, MAX_BYTES).await.map_err(Problem::internal)?;
    let digest: String = Digest::of(&bytes).hex().chars().take(32).collect();
    *response.body_mut() = Body::from(bytes);
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::try_from(format!("W/\"{digest}\"")) {
        headers.insert(header::ETAG, tag);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    Ok(response)
}

fn not_modified(response: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::NOT_MODIFIED;
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        parts.headers.remove(name);
    }
    Response::from_parts(parts, Body::empty())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::matches;

    #[test]
    fn tags_are_compared_weakly() {
        let named = |text: &str, tag: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(text).unwrap());
            matches(&headers, tag)
        };
        assert!(named("W/\"a\"", "\"a\"") && named("\"a\"", "W/\"a\"") && named("*", "\"a\""));
        assert!(named("\"b\", W/\"a\"", "W/\"a\"") && !named("\"b\"", "\"a\"") && !named("a", "\"a\""));
        assert!(!matches(&HeaderMap::new(), "\"a\""));
    }
}
