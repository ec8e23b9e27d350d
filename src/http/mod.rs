//! Floor 7: the HTTP API for inspecting and controlling a pipeline.
//!
//! [`router`] builds the routes; [`serve`] accepts connections. A handler turns a request into a
//! query to the [`View`] and the result into JSON; it makes no decisions. Common concerns have one
//! module each: `guard` and `login` (access), `query` (parameters of the address), `base_path`,
//! `problem` (errors and their status codes), `server`, `idle` and `patience` (bounds on
//! connections), `etag`, `encoding` and `request_id` (what every answer gets), `tls`, `openapi`
//! (the document of routes).
//!
//! Rejected: `axum::serve`, which bounds neither the number of connections nor the time that a
//! request's head may take; and deriving all JSON from the model's types, because a run in the form
//! that clients need (its actions with their attempts inside) is not a record of the store.

mod api;
mod base_path;
mod encoding;
mod etag;
mod events;
mod guard;
mod hosts;
mod idle;
mod login;
mod openapi;
mod patience;
mod problem;
mod query;
mod readers;
mod request_id;
mod server;
mod tls;

pub(crate) use api::bodies;
pub use api::document;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::Response;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::base::Timestamp;
use crate::manifest::Pipeline;
use crate::scheduler::View;
use problem::{Problem, nearest, shown};

pub use login::{Login, LoginForm};
pub use patience::Patience;
pub use server::{serve, serve_routers};
pub use tls::{Tls, TlsError};

/// Maximum number of clients that follow the event stream at once.
pub const MAX_EVENT_CLIENTS: usize = 1024;
/// Maximum size of a request's body, in bytes.
pub const MAX_BODY_BYTES: usize = 64 << 10;

/// Options of the server.
#[derive(Debug, Clone, Default)]
pub struct ServeOptions {
    /// Routes besides those of the API, behind the same guards: the web pages. Its fallback answers
    /// browsers that ask for a page that does not exist.
    pub pages: Router,
    /// How people log in, if the pipeline has a token. Without it only programs can.
    pub login: Option<Login>,
    /// The certificate, if clients speak TLS.
    pub tls: Option<Arc<Tls>>,
    /// Recorder of what the parts of the host count through the `metrics` facade, for `/metrics`;
    /// see [`count_metrics`].
    pub recorder: Option<PrometheusHandle>,
    /// How long it waits for clients.
    pub patience: Patience,
}

/// Exports what is counted through the `metrics` facade at `/metrics`. Call it once per process.
///
/// # Errors
/// Returns an error if a recorder is already installed.
pub fn count_metrics() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        // In seconds, from an action without work to one that takes an hour.
        .set_buckets(&[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0, 600.0, 3600.0])?
        .install_recorder()
}

/// State that handlers share.
#[derive(Clone)]
struct App {
    view: View,
    recorder: Option<PrometheusHandle>,
    event_clients: Arc<Semaphore>,
    /// The newest events, for all of them.
    recent: Arc<events::Recent>,
    started_at: Timestamp,
    patience: Patience,
    stop: CancellationToken,
}

/// Builds all routes of a server bound to `bound`. Open event streams end with `stop`.
pub fn router(view: View, options: ServeOptions, bound: SocketAddr, stop: CancellationToken) -> Router {
    let guard = guard::Guard::new(&view.pipeline(), bound, options.login);
    let recent = Arc::new(events::Recent::new(Arc::clone(&view.store)));
    let app = App {
        view,
        recorder: options.recorder,
        event_clients: Arc::new(Semaphore::new(MAX_EVENT_CLIENTS)),
        recent,
        started_at: crate::base::Clock::now(&crate::base::SystemClock),
        patience: options.patience,
        stop,
    };
    let routes = api::routes().with_state(app).merge(options.pages.clone()).fallback(async move |request: Request| {
        let problem = unknown_route(request.uri().path());
        readers::page_or(options.pages, request, problem).await
    });
    guarded(routes, guard)
}

/// Puts what applies to every request around `routes`.
fn guarded(routes: Router, guard: guard::Guard) -> Router {
    // Around a router, not each of its routes: so they see `Allow`, which it adds.
    Router::new()
        .fallback_service(routes.merge(guard.routes()))
        .layer(from_fn(etag::tag))
        .layer(encoding::layer())
        .layer(from_fn_with_state(guard, guard::guard))
}

/// Builds the routes that a server bound to `bound` has while the host starts: `/healthz` answers
/// as usual, everything else with 503; `pages` is the same for browsers. People can log in. Each
/// answer closes its connection, so that the next request reaches the router of the started host.
pub fn starting_router(pipeline: &Pipeline, bound: SocketAddr, pages: Router, login: Option<Login>) -> Router {
    let guard = guard::Guard::new(pipeline, bound, login);
    let starting = api::starting_routes()
        .merge(pages.clone())
        .fallback(async move |request: Request| readers::page_or(pages, request, api::starting()).await);
    guarded(starting, guard).layer(map_response(|mut response: Response| async move {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }))
}

fn unknown_route(path: &str) -> Problem {
    Problem::not_found(format!("there is no route `{}`", shown(path)))
        .suggest(nearest(path, api::FIXED_PATHS.iter().copied()))
}
