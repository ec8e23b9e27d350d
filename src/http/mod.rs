//! Floor 7: inspecting and steering a pipeline over HTTP.
//!
//! [`router`] is everything that answers; [`serve`] puts it on a socket. A handler turns a request
//! into a question to the [`View`], and the answer into JSON: it decides nothing. What all have in
//! common stands in one place each: `guard` (who may ask), `query` (what may stand in an address),
//! `problem` (errors, with their status codes), `server` (bounds on connections).
//!
//! Rejected: `axum::serve`, which bounds neither the number of connections nor the time that a
//! request's head may take; and deriving the JSON from the model's types throughout, because a run
//! as a client wants it (its actions with their attempts inside) is not a record of the store.

mod api;
mod events;
mod guard;
mod hosts;
mod problem;
mod query;
mod server;

pub(crate) use api::bodies;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, Uri, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::base::Timestamp;
use crate::manifest::Pipeline;
use crate::scheduler::View;
use problem::{Problem, nearest, shown};

pub use server::{serve, serve_routers};

/// Most clients that follow the event stream at once.
pub const MAX_EVENT_CLIENTS: usize = 64;
/// Most bytes of a request's body.
pub const MAX_BODY_BYTES: usize = 64 << 10;

/// How to serve.
#[derive(Debug, Clone, Default)]
pub struct ServeOptions {
    /// Routes beside those of the API, behind the same guards: the pages.
    pub pages: Router,
    /// What the parts of the host count through the `metrics` facade, for `/metrics`; see
    /// [`count_metrics`].
    pub recorder: Option<PrometheusHandle>,
}

/// Makes what is counted through the `metrics` facade visible at `/metrics`. Once per process.
///
/// # Errors
/// When a recorder is installed already.
pub fn count_metrics() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        // Seconds, from an action without work to one that takes an hour.
        .set_buckets(&[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0, 600.0, 3600.0])?
        .install_recorder()
}

/// What handlers share.
#[derive(Clone)]
struct App {
    view: View,
    recorder: Option<PrometheusHandle>,
    event_clients: Arc<Semaphore>,
    started_at: Timestamp,
    stop: CancellationToken,
}

/// Everything that answers on a server bound to `bound`. Open event streams end with `stop`.
pub fn router(view: View, options: ServeOptions, bound: SocketAddr, stop: CancellationToken) -> Router {
    let guard = guard::Guard::new(&view.pipeline(), bound);
    let app = App {
        view,
        recorder: options.recorder,
        event_clients: Arc::new(Semaphore::new(MAX_EVENT_CLIENTS)),
        started_at: crate::base::Clock::now(&crate::base::SystemClock),
        stop,
    };
    api::routes()
        .with_state(app)
        .merge(options.pages)
        .fallback(unknown_route)
        .layer(from_fn_with_state(guard, guard::guard))
}

/// What answers on a server bound to `bound` while the host starts: `/healthz` as ever, everything
/// else with 503. Each answer ends its connection, so that the next request meets the router of the
/// host.
pub fn starting_router(pipeline: &Pipeline, bound: SocketAddr) -> Router {
    let guard = guard::Guard::new(pipeline, bound);
    api::starting_routes().layer(from_fn_with_state(guard, guard::guard)).layer(map_response(
        |mut response: Response| async move {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        },
    ))
}

async fn unknown_route(uri: Uri) -> Problem {
    let path = uri.path();
    let problem = Problem::not_found(format!("there is no route `{}`", shown(path)));
    match nearest(path, api::FIXED_PATHS.iter().copied()) {
        Some(near) => problem.with("did_you_mean", near),
        None => problem,
    }
}
