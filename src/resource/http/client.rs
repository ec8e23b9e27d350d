//! Builds requests, and describes failures without secrets.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::watch;

use crate::base::{TimeSpan, innermost, proxy, tls};
use crate::manifest::{HttpForm, HttpSpec, HttpValue, SecretSource};

/// The longest time to connect, unless the timeout of the resource is shorter.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The most redirects of one request.
const MAX_REDIRECTS: usize = 5;
/// The longest wait that a server can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Why a request did not succeed.
#[derive(Debug)]
pub(super) struct Failure {
    /// For people.
    pub(super) reason: String,
    /// How long the server asks to wait.
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry_after: None }
    }
}

/// Sends the requests of one resource.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    headers: BTreeMap<String, HttpValue>,
    query: BTreeMap<String, HttpValue>,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(spec: &HttpSpec) -> Result<Self, String> {
        let redirects = match spec.form {
            // A redirected upload would become a GET.
            HttpForm::Send { .. } => Policy::none(),
            _ => same_server(),
        };
        let mut http = tls::client()
            .connect_timeout(CONNECT_TIMEOUT.min(spec.timeout))
            .redirect(redirects)
            .user_agent(concat!("anacostia/", env!("CARGO_PKG_VERSION")));
        // reqwest's timeout runs from the start of the request until the answer, so a large upload
        // would have to end within it. `send_body` measures from the last byte that the server
        // took.
        if !matches!(spec.form, HttpForm::Send { .. }) {
            http = http.read_timeout(spec.timeout);
        }
        let http = http.build().map_err(|error| format!("no client for HTTP can be made: {}", innermost(&error)))?;
        Ok(Self { http, headers: spec.headers.clone(), query: spec.query.clone(), timeout: spec.timeout })
    }

    /// Begins a request to `url`, with the headers and parameters of the resource. Reads the
    /// secrets now, so that a missing one is reported here.
    pub(super) fn request(&self, method: Method, url: &Url) -> Result<RequestBuilder, Failure> {
        let mut url = url.clone();
        if !self.query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for (name, value) in &self.query {
                pairs.append_pair(name, &read(value, "parameter", name)?);
            }
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let unfit = || Failure::new(format!("the value of the header `{name}` is not valid in a header"));
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?;
            let mut text = HeaderValue::from_str(&read(value, "header", name)?).map_err(|_| unfit())?;
            text.set_sensitive(true);
            headers.insert(header, text);
        }
        Ok(self.http.request(method, url).headers(headers))
    }

    /// Removes from a URL the parameters that this client adds, because they may be secret and the
    /// URL goes on record.
    pub(super) fn without_own_parameters(&self, mut url: Url) -> Url {
        let rest: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| !self.query.contains_key(name.as_ref()))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        if rest.len() < url.query_pairs().count() {
            url.set_query(None);
            if !rest.is_empty() {
                url.query_pairs_mut().extend_pairs(rest);
            }
        }
        url
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request.send().await.map_err(|error| self.failed(error))
    }

    /// Sends a request with a body. Fails if the server is silent for the timeout of the resource
    /// after it last took a part of the body, which `progress` reports.
    pub(super) async fn send_body(
        &self,
        request: RequestBuilder,
        mut progress: watch::Receiver<()>,
    ) -> Result<Response, Failure> {
        let mut sending = std::pin::pin!(request.send());
        loop {
            let taken = async {
                // The sender is dropped when the body ends.
                if progress.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                answer = &mut sending => return answer.map_err(|error| self.failed(error)),
                more = tokio::time::timeout(self.timeout, taken) => if more.is_err() {
                    return Err(self.silent());
                },
            }
        }
    }

    fn silent(&self) -> Failure {
        Failure::new(format!("the server was silent for {}", TimeSpan(self.timeout)))
    }

    /// Describes a failure of the network.
    pub(super) fn failed(&self, error: reqwest::Error) -> Failure {
        if error.is_timeout() {
            return self.silent();
        }
        let through = proxy::through(&error);
        // URLs may have secrets in them.
        let error = error.without_url();
        Failure::new(if error.is_redirect() {
            "the server redirects to another server, or too many times: set `url` to the new address".to_owned()
        } else if error.is_connect() {
            format!("cannot connect to the server: {}{through}", innermost(&error))
        } else if error.is_body() || error.is_decode() {
            format!("the body ended early: {}", innermost(&error))
        } else {
            format!("the request failed: {}", innermost(&error))
        })
    }
}

fn read(value: &HttpValue, what: &str, name: &str) -> Result<String, Failure> {
    match value {
        HttpValue::Plain(text) => Ok(text.clone()),
        HttpValue::Secret(SecretSource::Env(variable)) => std::env::var(variable).map_err(|_| {
            Failure::new(format!(
                "the {what} `{name}` comes from the environment variable `{variable}`, which is not set for the host"
            ))
        }),
    }
}

/// Follows redirects that stay on the server, because the headers and parameters are meant only for
/// that server.
fn same_server() -> Policy {
    Policy::custom(|attempt| {
        let stays = attempt.previous().last().is_some_and(|from| from.origin() == attempt.url().origin());
        if stays && attempt.previous().len() <= MAX_REDIRECTS {
            attempt.follow()
        } else {
            attempt.error("the redirect is not followed")
        }
    })
}

/// Returns the failure of a response with this status.
pub(super) fn refused(response: &Response) -> Failure {
    let reason = format!("the server answers {}", display(response.status()));
    Failure { reason, retry_after: retry_after(response.headers(), Timestamp::now()) }
}

/// Returns a status as it is displayed, such as `503 Service Unavailable`.
pub(super) fn display(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// Reads `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        Duration::try_from(then.duration_since(now)).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// Returns how long to wait after this many failures in a row, with jitter, so that many hosts do
/// not come back at once.
pub(super) fn back_off(failures: u32, first: Duration, most: Duration, asked: Option<Duration>) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(20))).min(most);
    let jittered = doubled.mul_f64(0.75 + 0.5 * fastrand::f64());
    asked.map_or(jittered, |asked| asked.max(jittered))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};

    use super::{back_off, retry_after};

    #[test]
    fn a_server_asks_for_a_wait_in_seconds_or_until_a_date() {
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let asked = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(asked("7"), Some(7));
        assert_eq!(asked("Sun, 01 Mar 2026 12:01:00 GMT"), Some(60));
        assert_eq!(asked("Sun, 01 Mar 2026 11:00:00 GMT"), Some(0));
        assert_eq!(asked("999999999"), Some(3600));
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn waits_grow_up_to_a_bound_and_are_never_shorter_than_the_server_asks() {
        let (first, most) = (Duration::from_secs(1), Duration::from_mins(1));
        for (failures, least, longest) in [(1, 750, 1_250), (4, 6_000, 10_000), (40, 45_000, 75_000)] {
            let wait = back_off(failures, first, most, None).as_millis();
            assert!((least..=longest).contains(&wait), "{failures}: {wait}");
        }
        assert_eq!(back_off(1, first, most, Some(most)), most);
    }
}
