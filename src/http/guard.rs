//! Checks that apply to every request before a handler sees it, and headers that apply to every
//! answer.
//!
//! One middleware covers all routes, including unknown ones and pages, so that no route can be
//! forgotten. It checks the length of the address, `Host`, `Origin` (for requests that change
//! something), and the bearer token or the cookie of a login, and then adds the security headers.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::hosts::{AllowedHosts, Authority};
use super::login::{self, Login, Session};
use super::problem::{Problem, Result, shown};
use super::{base_path, readers, request_id};
use crate::base::Digest;
use crate::manifest::Pipeline;

/// Longest path and query together, in bytes.
pub(super) const MAX_TARGET_BYTES: usize = 8 << 10;

/// The path that is answered without a token, so that a process supervisor needs none. The answer
/// only says that the process is alive.
const OPEN_PATH: &str = "/healthz";

/// What the guard checks.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    hosts: AllowedHosts,
    /// Digest of the bearer token, if one is required.
    token: Option<Digest>,
    /// How people log in, if a token is required.
    login: Option<Login>,
    port: u16,
    /// The path below which people reach the server.
    base_path: String,
    /// Whether the server speaks TLS.
    tls: bool,
}

/// What the guard lets a request have.
enum Access {
    /// What it asks for.
    Open,
    /// What it asks for, as long as the session lasts.
    Session(Session),
    /// The page with the form: a person must log in first.
    Form(Response),
}

/// Runs the checks of the guard, and adds the security headers and the id of the request.
///
/// A request with `HEAD` is answered as one with `GET`, so that its headers are the same; the
/// router around leaves out the body.
pub(super) async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let (method, id) = (request.method().clone(), request_id::of(request.headers()));
    base_path::take_off(&guard.base_path, request.uri_mut());
    let checked = guard.check(&request);
    if method == Method::HEAD {
        *request.method_mut() = Method::GET;
    }
    let answering = async {
        match checked {
            Ok(Access::Open) => next.run(request).await,
            Ok(Access::Session(session)) => session.bind(next.run(request).await),
            Ok(Access::Form(form)) => form,
            Err(problem) => problem.into_response(),
        }
    };
    let mut response = request_id::within(id.clone(), answering).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = other_method(&method, response.headers());
    }
    base_path::put_before(&guard.base_path, response.headers_mut());
    secure(response.headers_mut());
    response.headers_mut().insert(request_id::HEADER, id);
    let status = response.status().as_u16().to_string();
    metrics::counter!("anacostia_http_requests_total", "method" => known(&method), "status" => status).increment(1);
    response
}

/// Answers a request with a method that the route does not have. `headers` say which it has.
fn other_method(method: &Method, headers: &HeaderMap) -> Response {
    let mut response = if *method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        Problem::method_not_allowed().into_response()
    };
    let has = headers.get(header::ALLOW).and_then(|methods| methods.to_str().ok()).unwrap_or_default();
    if let Ok(methods) = HeaderValue::try_from(format!("{has},OPTIONS")) {
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}

/// Returns the method as a label with few values, because a client can send any text as method.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "POST" => "POST",
        _ => "other",
    }
}

impl Guard {
    /// Creates the guard of a server that is bound to `bound`.
    pub(super) fn new(pipeline: &Pipeline, bound: SocketAddr, login: Option<Login>) -> Self {
        let hosts = AllowedHosts::new(bound, &pipeline.hosts, pipeline.tls.is_some());
        let (base_path, tls) = (pipeline.base_path.clone(), pipeline.tls.is_some());
        Self { hosts, token: pipeline.token, login, port: bound.port(), base_path, tls }
    }

    /// Returns the routes for people who log in.
    pub(super) fn routes(&self) -> Router {
        let login = self.login.clone();
        login.map_or_else(Router::new, |login| login::routes(login, self.port, &self.base_path, self.tls))
    }

    /// Checks a request.
    fn check(&self, request: &Request) -> Result<Access> {
        self.well_formed(request)?;
        let Some(expected) = self.token.filter(|_| !self.is_open(request.uri().path())) else {
            return Ok(Access::Open);
        };
        let headers = request.headers();
        let given = single(headers, &header::AUTHORIZATION)?;
        if let (Some(login), None) = (&self.login, given) {
            if let Some(session) = login.session(headers, self.port) {
                return Ok(Access::Session(session));
            }
            if readers::shows_pages(request) {
                return Ok(Access::Form(login.ask(request)));
            }
        }
        bearer(given, &expected).map(|()| Access::Open)
    }

    /// Returns whether a path is answered without a token. The assets show nothing of the pipeline,
    /// and the page with the form needs them.
    fn is_open(&self, path: &str) -> bool {
        let for_login = matches!(path, login::LOGIN | login::LOGOUT) || path.starts_with("/assets/");
        path == OPEN_PATH || (self.login.is_some() && for_login)
    }

    /// Checks what does not depend on who sends the request.
    fn well_formed(&self, request: &Request) -> Result<()> {
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        if target > MAX_TARGET_BYTES {
            return Err(Problem::target_too_long(MAX_TARGET_BYTES));
        }
        let host = self.host(request)?;
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if changes {
            origin(request.headers(), &self.hosts, &host)?;
        }
        Ok(())
    }

    /// Checks the requested host, in the header and, if present, in the request line.
    fn host(&self, request: &Request) -> Result<Authority> {
        let text = single(request.headers(), &header::HOST)?
            .ok_or_else(|| Problem::bad_request("the request has no `Host` header"))?;
        let in_line = request.uri().authority().map(axum::http::uri::Authority::as_str);
        let mut host = None;
        for text in [text].into_iter().chain(in_line) {
            let asked = Authority::parse(text)
                .ok_or_else(|| Problem::bad_request(format!("`{}` is not a host", shown(text))))?;
            if !self.hosts.allow(&asked) {
                return Err(Problem::misdirected(format!(
                    "this server does not answer for `{}`; use the address that it is bound to, or add the name to `hosts` in `[server]`",
                    shown(text)
                )));
            }
            host = host.or(Some(asked));
        }
        host.ok_or_else(|| Problem::bad_request("the request has no `Host` header"))
    }
}

/// Checks the bearer token.
///
/// Wrong tokens are not bounded. A bound that lets the right one pass would stop no guessing; one
/// that does not would let a program with an old token shut out all others at its address.
fn bearer(given: Option<&str>, expected: &Digest) -> Result<()> {
    let wrong = || Problem::unauthorized("send `Authorization: Bearer <token>`");
    let (scheme, token) = given.and_then(|given| given.split_once(' ')).ok_or_else(wrong)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(wrong());
    }
    if login::is_same(&Digest::of(token.trim().as_bytes()), expected) {
        Ok(())
    } else {
        Err(Problem::unauthorized("this is not the token of this pipeline"))
    }
}

/// Returns the only value of a header; an error if the header occurs twice or is not text.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Problem::bad_request(format!("the header `{name}` appears twice")));
    }
    first
        .map(|value| value.to_str().map_err(|_| Problem::bad_request(format!("the header `{name}` is not text"))))
        .transpose()
}

/// Refuses requests from pages of another site. Other clients send neither header.
fn origin(headers: &HeaderMap, hosts: &AllowedHosts, host: &Authority) -> Result<()> {
    // `same-site` is refused too, because another port of this machine counts as the same site but
    // is another server.
    if let Some(site) = headers.get("sec-fetch-site")
        && site != "same-origin"
        && site != "none"
    {
        return Err(Problem::foreign_origin("the browser says that another site sends this request"));
    }
    let Some(origin) = single(headers, &header::ORIGIN)? else { return Ok(()) };
    if hosts.is_own_origin(origin, host) {
        Ok(())
    } else {
        Err(Problem::foreign_origin(format!("`{}` is not the origin of this server", shown(origin))))
    }
}

/// Adds the security headers to an answer, unless a handler has set them itself.
fn secure(headers: &mut HeaderMap) {
    const ALWAYS: [(HeaderName, &str); 7] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`, because with it browsers send `Origin: null` with the forms of our own
        // pages.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}
