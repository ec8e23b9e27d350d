//! The forms of pages.
//!
//! A form is sent by the page of the same origin only: the guard of the server refuses requests
//! that change something and come from another origin.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Query;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

/// Largest form, in bytes. A note of the longest characters fits, each byte written with three.
const MAX_FORM_BYTES: usize = 48 << 10;
/// How long a form may take to arrive.
const FORM_TIMEOUT: Duration = Duration::from_secs(15);

/// What a form that cannot be read is answered with.
pub(super) const UNREADABLE: &str = "the form could not be read";

/// Reads a form. It is written like the query of an address.
pub(super) async fn read<T: DeserializeOwned>(body: Body) -> Option<T> {
    read_within(FORM_TIMEOUT, body).await
}

async fn read_within<T: DeserializeOwned>(time: Duration, body: Body) -> Option<T> {
    let bytes = tokio::time::timeout(time, to_bytes(body, MAX_FORM_BYTES)).await.ok()?.ok()?;
    let uri = Uri::builder().path_and_query(format!("/?{}", std::str::from_utf8(&bytes).ok()?)).build().ok()?;
    Some(Query::<T>::try_from_uri(&uri).ok()?.0)
}

/// Leads the browser to a page, which it gets.
pub(super) fn lead_to(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Bytes;
    use futures_util::stream::pending;

    use super::*;

    #[tokio::test]
    async fn a_form_is_read_within_its_bound() {
        let pairs = read::<Vec<(String, String)>>(Body::from("p.a+b=1%262&x=")).await.unwrap();
        assert_eq!(pairs, [("p.a b".to_owned(), "1&2".to_owned()), ("x".to_owned(), String::new())]);
        let large = format!("a={}", "x".repeat(MAX_FORM_BYTES));
        assert!(read::<Vec<(String, String)>>(Body::from(large)).await.is_none());
        assert!(read::<Vec<(String, String)>>(Body::from(vec![0xff])).await.is_none());
        let silent = Body::from_stream(pending::<Result<Bytes, Infallible>>());
        assert!(read_within::<Vec<(String, String)>>(Duration::from_millis(1), silent).await.is_none());
    }
}
