//! The login of people: a form takes the token once, and the browser keeps a cookie in place of it.
//!
//! The cookie is `HttpOnly` and `SameSite=Strict`, and the guard checks `Origin`, so that neither a
//! script nor a page of another site can use it. Programs send the token with each request.

mod attempts;
mod session;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures_util::StreamExt as _;

use self::attempts::Attempts;
use self::session::Sessions;
use crate::base::{Clock as _, Digest, SystemClock, Timestamp, read_form};

/// The address of the form.
pub(super) const LOGIN: &str = "/login";
/// The address that ends a session.
pub(super) const LOGOUT: &str = "/logout";

/// The address of the client of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// What the page with the form shows.
#[derive(Debug, Clone, Copy)]
pub struct LoginForm<'a> {
    /// The address to which a login leads.
    pub next: &'a str,
    /// Why the last attempt failed.
    pub refusal: Option<&'a str>,
    /// Whether the page loads itself again at once. A browser that follows a link of another site
    /// leaves out the cookie; from our own page it sends it.
    pub reload: bool,
}

/// Makes the page with the form.
type Page = dyn Fn(&LoginForm<'_>) -> String + Send + Sync;

/// The login of a server with a token. Clones share their sessions.
#[derive(Clone)]
pub struct Login(Arc<Inner>);

struct Inner {
    token: Digest,
    sessions: Sessions,
    attempts: Attempts,
    page: Box<Page>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl Login {
    /// Creates the login for a token with this digest. `page` makes the page with the form.
    ///
    /// # Errors
    /// Returns an error if the system gives no random numbers.
    pub fn new(
        token: Digest,
        page: impl Fn(&LoginForm<'_>) -> String + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let sessions = Sessions::new(&token)?;
        Ok(Self(Arc::new(Inner { token, sessions, attempts: Attempts::default(), page: Box::new(page) })))
    }

    /// Returns the session whose cookie the request has.
    pub(super) fn session(&self, headers: &HeaderMap, port: u16) -> Option<Session> {
        let now = seconds(SystemClock.now());
        let name = cookie_name(port);
        let value = cookies(headers, &name).find(|value| self.0.sessions.is_valid(value, now))?;
        Some(Session { login: self.clone(), value: value.to_owned() })
    }

    /// Ends the sessions whose cookies a request has.
    fn end_session(&self, headers: &HeaderMap, port: u16) {
        let now = seconds(SystemClock.now());
        cookies(headers, &cookie_name(port)).for_each(|value| self.0.sessions.end(value, now));
    }

    /// Answers a browser that has not logged in.
    pub(super) fn ask(&self, request: &Request) -> Response {
        let from_elsewhere = request.headers().get("sec-fetch-site").is_some_and(|site| site == "cross-site");
        // A form that was sent is lost: its address may have no page.
        let next = if request.method() == Method::GET { target(request.uri()) } else { "/" };
        self.show(StatusCode::UNAUTHORIZED, &LoginForm { next, refusal: None, reload: from_elsewhere })
    }

    fn show(&self, status: StatusCode, form: &LoginForm<'_>) -> Response {
        let mut response = (status, Html((self.0.page)(form))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"anacostia\""));
        }
        response
    }

    /// Checks a token that somebody has typed, and answers.
    fn try_token(&self, sent: &Sent, from: IpAddr, cookie: impl FnOnce(&str) -> String) -> Response {
        let next = own_path(&sent.next);
        let form = |refusal| LoginForm { next, refusal: Some(refusal), reload: false };
        if let Err(wait) = self.0.attempts.take(from, Instant::now()) {
            let wait = wait.as_secs() + 1;
            let refusal = format!("Too many wrong tokens came from your address. Try again in {wait} s.");
            let mut response = self.show(StatusCode::TOO_MANY_REQUESTS, &form(&refusal));
            response.headers_mut().insert(header::RETRY_AFTER, wait.into());
            return response;
        }
        if !is_same(&Digest::of(sent.token.trim().as_bytes()), &self.0.token) {
            tracing::warn!("a login from {from} failed: the token is wrong");
            let refusal = "This is not the token of this pipeline. The manifest has its digest, so nobody can read it there: ask who runs the pipeline.";
            return self.show(StatusCode::UNAUTHORIZED, &form(refusal));
        }
        self.0.attempts.give_back(from);
        let value = self.0.sessions.issue(seconds(SystemClock.now()));
        lead_to(next, &cookie(&value))
    }
}

/// A session that had not ended when a request came.
pub(super) struct Session {
    login: Login,
    value: String,
}

impl Session {
    /// Ends an event stream with the session: an open page is not told any more what happens.
    pub(super) fn bind(self, response: Response) -> Response {
        if response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind != "text/event-stream") {
            return response;
        }
        let end = async move {
            self.login.0.sessions.wait_for_end(&self.value, || seconds(SystemClock.now())).await;
        };
        response.map(|body| Body::from_stream(body.into_data_stream().take_until(end)))
    }
}

/// Returns the values of the cookies of this name.
fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let sent = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = sent.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter_map(move |(other, value)| (other == name).then_some(value))
}

/// Where browsers reach the server.
#[derive(Debug, Clone)]
struct Site {
    /// The port of the server: a browser sends the cookies of a host to all its ports.
    port: u16,
    /// The path below which it is.
    base_path: String,
    /// Whether the server itself speaks TLS.
    tls: bool,
}

impl Site {
    /// Returns a cookie for the browser that has sent these headers.
    fn cookie(&self, headers: &HeaderMap, value: &str, max_age: u64) -> String {
        // A browser sends it with each form, so it tells whether a proxy in front speaks TLS.
        let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        let tls = self.tls || origin.is_some_and(|origin| origin.starts_with("https://"));
        let secure = if tls { "; Secure" } else { "" };
        let (name, path) = (cookie_name(self.port), &self.base_path);
        // Without a slash at the end it holds for the path itself too.
        let path = if path.is_empty() { "/" } else { path };
        format!("{name}={value}; Path={path}; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}")
    }
}

/// Returns the routes of the login, for a server at `port` and below `base_path`, which may speak
/// TLS itself.
pub(super) fn routes(login: Login, port: u16, base_path: &str, tls: bool) -> Router {
    Router::new()
        .route(LOGIN, get(show).post(enter))
        .route(LOGOUT, post(leave))
        .with_state((login, Site { port, base_path: base_path.to_owned(), tls }))
}

type Shared = State<(Login, Site)>;

async fn show(State((login, _)): Shared) -> Response {
    login.show(StatusCode::OK, &LoginForm { next: "/", refusal: None, reload: false })
}

async fn enter(
    State((login, site)): Shared,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let from = peer.map_or(IpAddr::from([0, 0, 0, 0]), |Extension(Peer(address))| address);
    let Some(sent) = read_form::<Sent>(body).await else {
        let form = LoginForm { next: "/", refusal: Some("The form could not be read."), reload: false };
        return login.show(StatusCode::BAD_REQUEST, &form);
    };
    login.try_token(&sent, from, |value| site.cookie(&headers, value, session::LIFETIME_SECS))
}

async fn leave(State((login, site)): Shared, headers: HeaderMap) -> Response {
    login.end_session(&headers, site.port);
    lead_to(LOGIN, &site.cookie(&headers, "", 0))
}

/// What the form sends.
#[derive(Debug, serde::Deserialize)]
struct Sent {
    token: String,
    #[serde(default)]
    next: String,
}

fn lead_to(path: &str, cookie: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path), (header::SET_COOKIE, cookie)]).into_response()
}

fn cookie_name(port: u16) -> String {
    format!("anacostia_{port}")
}

fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_micros() / 1_000_000).unwrap_or_default()
}

fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", axum::http::uri::PathAndQuery::as_str)
}

/// Returns `path` if it leads to this server, or else the first page. A browser takes `//host` and
/// `/\host` for another server.
fn own_path(path: &str) -> &str {
    let second = path.as_bytes().get(1);
    let visible = path.bytes().all(|byte| byte.is_ascii_graphic());
    if path.starts_with('/') && !matches!(second, Some(b'/' | b'\\')) && visible { path } else { "/" }
}

/// Compares in constant time.
pub(super) fn is_same(one: &Digest, other: &Digest) -> bool {
    one.hex().bytes().zip(other.hex().bytes()).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn a_login_leads_to_this_server_only() {
        for good in ["/", "/runs/3?attempt=1", "/runs?q=//x"] {
            assert_eq!(own_path(good), good);
        }
        for bad in ["", "runs", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "/\t/evil"] {
            assert_eq!(own_path(bad), "/", "{bad:?}");
        }
    }
}
