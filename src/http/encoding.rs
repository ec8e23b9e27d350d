//! Which answers are compressed: text that the host has made, if it is large enough to be worth it.
//!
//! The event stream is not, because a message must leave at once; and the content of artifacts is
//! not, because a client asks for ranges of it and compares its digest.

use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use tower_http::compression::predicate::{And, Predicate as _, SizeAbove};
use tower_http::compression::{CompressionLayer, CompressionLevel};

/// Smaller answers fit into one packet, so that compressing them saves nothing.
const MIN_BYTES: u16 = 1024;

const TEXTS: [&str; 7] = [
    "application/json",
    "application/problem+json",
    "image/svg+xml",
    "text/css",
    "text/html",
    "text/javascript",
    "text/plain",
];

type IsText = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// Returns the layer that compresses answers, for clients that accept it.
pub(super) fn layer() -> CompressionLayer<And<SizeAbove, IsText>> {
    let is_text: IsText = |_, _, headers, _| {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        // The policy of pages is added later: who has one already is the picture of an artifact.
        TEXTS.contains(&kind) && !headers.contains_key(header::CONTENT_SECURITY_POLICY)
    };
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(SizeAbove::new(MIN_BYTES).and(is_text))
}
