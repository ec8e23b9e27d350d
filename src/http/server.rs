//! Connections: accepting them, and bounding what each may cost.
//!
//! At the bound on connections no more are accepted, so that further clients wait in the system's
//! queue. One that says nothing is dropped after [`HEAD_TIMEOUT`], one that takes nothing of its
//! answer after [`STALL_TIMEOUT_MS`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{ServeOptions, router};
use crate::scheduler::View;

/// Most connections at once.
const MAX_CONNECTIONS: usize = 256;
/// How long a request's head may take to arrive, and how long a connection may stay open between
/// requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// Most bytes that are read ahead, and that wait to be sent.
const BUFFER_BYTES: usize = 64 << 10;
/// How long a client may take nothing of what is sent to it, in milliseconds.
const STALL_TIMEOUT_MS: u32 = 60_000;
/// How long open requests have to end when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// How long to wait when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then lets open requests end, for a few seconds at most.
///
/// # Errors
/// When the address of the listener cannot be read.
pub async fn serve(
    listener: TcpListener,
    view: View,
    options: ServeOptions,
    stop: CancellationToken,
) -> io::Result<()> {
    let router = router(view, options, listener.local_addr()?, stop.clone());
    serve_routers(listener, watch::Sender::new(router).subscribe(), stop).await;
    Ok(())
}

/// The same with a router that may change: a connection keeps the one that it began with.
pub async fn serve_routers(listener: TcpListener, routers: watch::Receiver<Router>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Some((stream, place)) = next(&listener, &places, &stop).await {
        connections.spawn(connection(stream, routers.borrow().clone(), stop.clone(), place));
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let all_end = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, all_end).await.is_err() {
        connections.shutdown().await;
    }
}

/// The next connection, once there is a place for it; `None` when the server stops.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accept = async {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, place)),
                // The client has gone again; the next one may be there.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!("failed to accept a connection, trying again: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        accepted = accept => accepted,
    }
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken, _place: OwnedSemaphorePermit) {
    // Both make the connection better, and neither is needed for it.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, STALL_TIMEOUT_MS);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended early: {error}");
    }
}
