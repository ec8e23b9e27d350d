//! The forms of pages, as browsers send them, and the queries of addresses, which are written
//! alike.
//!
//! It is here because the API, the login and the pages, which do not import each other, read them.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Query;
use axum::http::Uri;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

/// Largest form, in bytes. A note of the longest characters fits, each byte written with three.
const MAX_BYTES: usize = 48 << 10;
/// How long a form may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Reads the query of an address.
///
/// # Errors
/// Returns why it cannot be read, such as that it is not UTF-8: replaced characters would name
/// something else.
pub fn read_query<T: DeserializeOwned>(uri: &Uri) -> Result<T, String> {
    if percent_decode_str(uri.query().unwrap_or_default()).decode_utf8().is_err() {
        return Err("the query is not UTF-8 after its %-codes are decoded".to_owned());
    }
    Query::<T>::try_from_uri(uri).map(|Query(read)| read).map_err(|error| error.to_string())
}

/// Reads a form. It is written like the query of an address. `None` if it is none, is too large, or
/// does not arrive whole and in time.
pub async fn read_form<T: DeserializeOwned>(body: Body) -> Option<T> {
    read_within(TIMEOUT, body).await
}

async fn read_within<T: DeserializeOwned>(time: Duration, body: Body) -> Option<T> {
    let bytes = tokio::time::timeout(time, to_bytes(body, MAX_BYTES)).await.ok()?.ok()?;
    let uri = Uri::builder().path_and_query(format!("/?{}", std::str::from_utf8(&bytes).ok()?)).build().ok()?;
    read_query(&uri).ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;

    use axum::body::Bytes;
    use futures_util::StreamExt as _;
    use futures_util::stream::{once, pending};

    use super::*;

    type Pairs = Vec<(String, String)>;

    #[tokio::test]
    async fn a_form_is_read_within_its_bound() {
        let pairs = read_form::<Pairs>(Body::from("p.a+b=1%262&x=")).await.unwrap();
        assert_eq!(pairs, [("p.a b".to_owned(), "1&2".to_owned()), ("x".to_owned(), String::new())]);
        let large = format!("a={}", "x".repeat(MAX_BYTES));
        assert!(read_form::<Pairs>(Body::from(large)).await.is_none());
        assert!(read_form::<Pairs>(Body::from(vec![0xff])).await.is_none());
        assert!(read_form::<Pairs>(Body::from("a=%ff")).await.is_none());
    }

    #[tokio::test]
    async fn a_form_that_does_not_arrive_whole_is_none() {
        let silent = Body::from_stream(pending::<Result<Bytes, Infallible>>());
        assert!(read_within::<Pairs>(Duration::from_millis(1), silent).await.is_none());
        let begin = async { Ok(Bytes::from("token=t")) };
        let cut = once(begin).chain(once(async { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }));
        assert!(read_form::<Pairs>(Body::from_stream(cut)).await.is_none());
    }
}
