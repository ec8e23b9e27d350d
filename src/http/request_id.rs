//! The id of a request: each answer has it in `X-Request-Id`, and so has the line in the host's log
//! about a request that failed.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header, of requests and of answers.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken over from a request, in characters.
const MAX_LENGTH: usize = 128;

tokio::task_local! {
    static CURRENT: HeaderValue;
}

/// Returns the id that the client, or a proxy in front, has given the request; a new one if there
/// is none, or it could not be told apart in a line of the log.
pub(super) fn of(headers: &HeaderMap) -> HeaderValue {
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(byte);
    let mut given = headers.get_all(HEADER).iter();
    match (given.next(), given.next()) {
        (Some(id), None) if (1..=MAX_LENGTH).contains(&id.len()) && id.as_bytes().iter().all(known) => id.clone(),
        _ => new(),
    }
}

fn new() -> HeaderValue {
    let mut text = uuid::Uuid::encode_buffer();
    let id = uuid::Uuid::now_v7().simple().encode_lower(&mut text);
    // It consists of hexadecimal digits.
    HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static("unknown"))
}

/// Runs what answers the request with this id.
pub(super) async fn within<T>(id: HeaderValue, answering: impl Future<Output = T>) -> T {
    CURRENT.scope(id, answering).await
}

/// Returns the id of the request that the caller answers.
pub(super) fn current() -> String {
    CURRENT.try_with(|id| id.to_str().unwrap_or_default().to_owned()).unwrap_or_else(|_| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};

    use super::{HEADER, MAX_LENGTH, current, of, within};

    fn of_given(ids: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for id in ids {
            headers.append(HEADER, HeaderValue::from_str(id).unwrap());
        }
        of(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_well_formed_id_is_taken_over_and_any_other_replaced() {
        let longest = "x".repeat(MAX_LENGTH);
        for good in ["7", "01J-x_y.z", "00-4bf92f35/77:a+b=", &longest] {
            assert_eq!(of_given(&[good]), good);
        }
        let long = format!("{longest}x");
        for bad in [&[][..], &[""], &["a b"], &["a\"b"], &["a", "b"], &["a, b"], &[long.as_str()]] {
            let made = of_given(bad);
            assert!(made.len() == 32 && made.bytes().all(|c| c.is_ascii_hexdigit()), "{bad:?}: {made}");
        }
        assert_ne!(of_given(&[]), of_given(&[]));
    }

    #[tokio::test]
    async fn it_is_known_while_the_request_is_answered() {
        assert_eq!(current(), "unknown");
        assert_eq!(within(HeaderValue::from_static("r-1"), async { current() }).await, "r-1");
    }
}
