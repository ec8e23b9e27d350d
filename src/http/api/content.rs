//! `/api/v1/artifacts/{id}/content`: the bytes of an artifact, whole or in part.
//!
//! The answer contains the recorded version or nothing: the resource compares every chunk with the
//! record. If the content has changed before the first byte, the answer is 410. If it changes
//! later, the connection is closed before the announced length is reached, so that no client takes
//! the part for the whole. Content that is still being published is answered with 503.
//!
//! The answer is always a download in a sandbox, so that no browser executes the data on our
//! origin, whatever its type.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use super::artifacts::find;
use crate::http::App;
use crate::http::etag;
use crate::http::problem::{Problem, Result};
use crate::http::query::{Query, Segment};
use crate::model::{Artifact, ArtifactState};
use crate::resource::{Reader, Resource, ResourceError};
use crate::sandbox::open_version;

/// Number of bytes that are read at once, and held for one client.
const CHUNK_BYTES: u64 = 256 << 10;
/// A browser may keep the content, but asks each time.
const CACHING: &str = "private, no-cache";

/// `GET /api/v1/artifacts/{id}/content`
pub(super) async fn show(
    State(app): State<App>,
    Segment(id): Segment,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response> {
    Query::parse(&uri, &[])?;
    let artifact = find(&app.view, &id).await?;
    if artifact.state == ArtifactState::Ignored {
        let why = artifact.reason.as_deref().unwrap_or("it was ignored");
        return Err(Problem::not_found(format!("`{}` has no content: {why}", artifact.path)));
    }
    // A version never changes, so its id can be the entity tag too.
    let etag = artifact.digest.map_or_else(|| format!("\"{}\"", artifact.id), |digest| format!("\"{digest}\""));
    // Before anything is opened.
    if etag::matches(&headers, &etag) {
        let headers = [(header::ETAG, etag.as_str()), (header::CACHE_CONTROL, CACHING)];
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let resource = present_in(&app, &artifact)?;
    let requested =
        if resource.capabilities().ranges { range(&headers, &etag, artifact.size) } else { Requested::Whole };
    let (from, to) = match requested {
        Requested::Whole => (0, artifact.size),
        Requested::Part(from, to) => (from, to),
        Requested::Nothing => return Err(Problem::range_not_satisfiable(artifact.size)),
    };
    let body = open(&app, resource, &artifact, (from, to)).await?;
    let mut response = Response::new(body);
    let length = to - from;
    describe(&mut response, &artifact, &etag, length);
    if let Requested::Part(from, to) = requested {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let text = format!("bytes {from}-{}/{}", to - 1, artifact.size);
        insert(&mut response, header::CONTENT_RANGE, &text);
    }
    Ok(response)
}

fn present_in(app: &App, artifact: &Artifact) -> Result<Arc<dyn Resource>> {
    let Artifact { path, version, resource, .. } = artifact;
    if !artifact.is_readable() {
        return Err(Problem::gone(format!("version {version} of `{path}` was overwritten or deleted")));
    }
    let found = app.view.resources.get(resource).cloned();
    found.ok_or_else(|| Problem::gone(format!("the manifest has no resource `{resource}` any more")))
}

fn describe(response: &mut Response, artifact: &Artifact, etag: &str, length: u64) {
    insert(response, header::CONTENT_TYPE, "application/octet-stream");
    insert(response, header::CONTENT_LENGTH, &length.to_string());
    insert(response, header::CONTENT_DISPOSITION, &disposition(&artifact.path));
    insert(response, header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'; frame-ancestors 'none'");
    insert(response, header::ACCEPT_RANGES, "bytes");
    insert(response, header::ETAG, etag);
    insert(response, header::CACHE_CONTROL, CACHING);
}

fn insert(response: &mut Response, name: header::HeaderName, value: &str) {
    // All values consist of visible ASCII here.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Returns `Content-Disposition` with the last part of the path as file name, also in ASCII for
/// clients that support no more (RFC 6266, RFC 8187).
fn disposition(path: &str) -> String {
    let name = path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("artifact");
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ') { c } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            use std::fmt::Write as _;
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

/// The requested bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requested {
    Whole,
    /// From the first number up to, but not including, the second; at least one byte.
    Part(u64, u64),
    /// No byte of the range exists.
    Nothing,
}

/// Parses `Range`. Several ranges, other units and invalid values are answered with the whole
/// content, as RFC 9110 allows.
fn range(headers: &HeaderMap, etag: &str, size: u64) -> Requested {
    let Some(range) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else { return Requested::Whole };
    // A part of another version cannot complete the part that the client has.
    if headers.get(header::IF_RANGE).is_some_and(|condition| condition != etag) {
        return Requested::Whole;
    }
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Requested::Whole;
    };
    let number = |text: &str| {
        // A number that overflows is larger than any size.
        let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let (from, to) = match (first, number(first), last, number(last)) {
        (_, Some(first), "", _) => (first, size),
        (_, Some(first), _, Some(last)) if first <= last => (first, last.saturating_add(1).min(size)),
        ("", _, _, Some(last)) => (size.saturating_sub(last), size),
        _ => return Requested::Whole,
    };
    if from < to { Requested::Part(from, to) } else { Requested::Nothing }
}

/// The rest of an answer that is still to be read.
struct Piece {
    reader: Box<dyn Reader>,
    at: u64,
    to: u64,
}

impl Piece {
    /// Reads the next chunk, and returns it with the rest; `None` at the end.
    async fn next(mut self) -> std::result::Result<Option<(Bytes, Self)>, ResourceError> {
        if self.at >= self.to {
            return Ok(None);
        }
        let length = usize::try_from(CHUNK_BYTES.min(self.to - self.at)).unwrap_or(usize::MAX);
        let mut chunk = self.reader.read(self.at, length).await?;
        chunk.truncate(length);
        self.at += chunk.len() as u64;
        Ok(Some((Bytes::from(chunk), self)))
    }
}

/// Opens the content and reads the first chunk, so that missing content is found while the status
/// can still be set.
async fn open(app: &App, resource: Arc<dyn Resource>, artifact: &Artifact, (from, to): (u64, u64)) -> Result<Body> {
    let reader = open_version(&*app.view.store, &*resource, artifact).await?;
    let first = Piece { reader, at: from, to }.next().await?;
    let Some((chunk, piece)) = first else { return Ok(Body::empty()) };
    let start = (Some(chunk), Some(piece));
    let chunks = stream::try_unfold(start, |(ready, piece)| async move {
        if let Some(chunk) = ready {
            // A read that ends before the recorded size: the content has changed.
            return if chunk.is_empty() { Err(short()) } else { Ok(Some((chunk, (None, piece)))) };
        }
        let Some(piece) = piece else { return Ok(None) };
        match piece.next().await {
            Ok(None) => Ok(None),
            Ok(Some((chunk, _))) if chunk.is_empty() => Err(short()),
            Ok(Some((chunk, piece))) => Ok(Some((chunk, (None, Some(piece))))),
            Err(error) => {
                tracing::warn!("a download is cut off: {error}");
                Err(io::Error::other(error))
            }
        }
    });
    Ok(Body::from_stream(chunks))
}

fn short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the content is shorter than what was recorded")
}

#[cfg(test)]
mod tests {
    use super::{Requested, disposition, range};
    use axum::http::{HeaderMap, HeaderValue, header};

    fn requested(value: &str, size: u64) -> Requested {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(value).unwrap());
        range(&headers, "\"x\"", size)
    }

    #[test]
    fn ranges() {
        for (value, wanted) in [
            ("bytes=0-0", Requested::Part(0, 1)),
            ("bytes=2-5", Requested::Part(2, 6)),
            ("bytes=2-", Requested::Part(2, 10)),
            ("bytes=-3", Requested::Part(7, 10)),
            ("bytes=-30", Requested::Part(0, 10)),
            ("bytes=5-99999999999999999999999", Requested::Part(5, 10)),
            ("bytes=10-", Requested::Nothing),
            ("bytes=10-20", Requested::Nothing),
            ("bytes=99999999999999999999999-", Requested::Nothing),
            ("bytes=-0", Requested::Nothing),
            ("bytes=5-2", Requested::Whole),
            ("bytes=-", Requested::Whole),
            ("bytes=0-1,3-4", Requested::Whole),
            ("bytes=+1-2", Requested::Whole),
            ("rows=0-1", Requested::Whole),
        ] {
            assert_eq!(requested(value, 10), wanted, "{value}");
        }
        assert_eq!(requested("bytes=0-", 0), Requested::Nothing);
    }

    #[test]
    fn if_range_with_another_version_returns_the_full_content() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"x\""));
        assert_eq!(range(&headers, "\"x\"", 10), Requested::Part(0, 2));
        assert_eq!(range(&headers, "\"y\"", 10), Requested::Whole);
    }

    #[test]
    fn file_names_cannot_break_out_of_their_quotes() {
        assert_eq!(
            disposition("a/b\"; x=<ä>.csv"),
            "attachment; filename=\"b__ x__ä_.csv\"; filename*=UTF-8''b%22%3B%20x%3D%3C%C3%A4%3E.csv".replace('ä', "_")
        );
        assert_eq!(disposition(""), "attachment; filename=\"artifact\"; filename*=UTF-8''artifact");
    }
}
