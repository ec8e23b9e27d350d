//! Accepts connections, and bounds the cost of each.
//!
//! At the maximum number of connections, the one that has been idle for longest makes room for the
//! next client. If none is idle, further clients wait in the system's queue. A connection is closed
//! if the client does not send a request, or does not read its answer, for as long as [`Patience`]
//! says.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::idle::{IdleConnections, Seat};
use super::login::Peer;
use super::tls::Tls;
use super::{MAX_EVENT_CLIENTS, Patience, ServeOptions, router};
use crate::base::fault;
use crate::scheduler::View;

/// Maximum number of connections at once.
const MAX_CONNECTIONS: usize = MAX_EVENT_CLIENTS + 256;
/// Maximum size of a request's head, in bytes.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// Maximum number of bytes that are read ahead, and that wait to be sent, for each connection.
const BUFFER_BYTES: usize = 64 << 10;
/// How long open requests may take to end when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// How long a connection may take to close when another one needs its place.
const LEAVE_WITHIN: Duration = Duration::from_millis(100);
/// How long to wait when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then waits for open requests to end, for a few seconds at most.
///
/// # Errors
/// Returns an error if the address of the listener cannot be read.
pub async fn serve(
    listener: TcpListener,
    view: View,
    options: ServeOptions,
    stop: CancellationToken,
) -> io::Result<()> {
    let (tls, patience) = (options.tls.clone(), options.patience);
    let router = router(view, options, listener.local_addr()?, stop.clone());
    serve_routers(listener, tls, patience, watch::Sender::new(router).subscribe(), stop).await;
    Ok(())
}

/// Same as [`serve`], with TLS if given, and with a router that may change. A connection keeps the
/// router that it began with.
pub async fn serve_routers(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    patience: Patience,
    routers: watch::Receiver<Router>,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (idle, mut number) = (IdleConnections::default(), 0);
    let mut connections = JoinSet::new();
    while let Some((stream, place)) = next(&listener, &places, &idle, &stop).await {
        fault::panic_point("http.accept");
        let seat = idle.add(number);
        number += 1;
        let serving = Serving { router: routers.borrow().clone(), patience, stop: stop.clone(), seat };
        connections.spawn(connection(stream, tls.clone(), serving, place));
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let all_end = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, all_end).await.is_err() {
        connections.shutdown().await;
    }
}

/// Waits for the next connection and a free place. Returns `None` when the server stops.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    idle: &IdleConnections,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, place(places, idle).await?)),
                // The client has disconnected; the next one may be waiting.
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

/// Waits for a free place, and closes idle connections to get one.
async fn place(places: &Arc<Semaphore>, idle: &IdleConnections) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        return Some(place);
    }
    loop {
        idle.close_longest(Instant::now());
        if let Ok(place) = tokio::time::timeout(LEAVE_WITHIN, Arc::clone(places).acquire_owned()).await {
            return place.ok();
        }
    }
}

/// What a connection needs to be served.
struct Serving {
    router: Router,
    patience: Patience,
    stop: CancellationToken,
    seat: Arc<Seat>,
}

async fn connection(stream: TcpStream, tls: Option<Arc<Tls>>, serving: Serving, _place: OwnedSemaphorePermit) {
    // Both improve the connection, but it works without them.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, in_millis(serving.patience.stall));
    let peer = stream.peer_addr().ok().map(|peer| Peer(peer.ip().to_canonical()));
    let Some(tls) = tls else { return serving.serve(stream, peer).await };
    let handshake = async { tls.acceptor().await.accept(stream).await };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(serving.patience.head, handshake) => shaken,
        () = serving.stop.cancelled() => return,
        () = serving.seat.asked_to_leave() => return,
    };
    match shaken {
        Ok(Ok(stream)) => serving.serve(stream, peer).await,
        Ok(Err(error)) => tracing::debug!("a client failed to begin TLS: {error}"),
        Err(_) => tracing::debug!("a client did not begin TLS in time"),
    }
}

/// Returns the time as the system takes it, which counts from 1: 0 would be its own default.
#[cfg(target_os = "linux")]
fn in_millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
}

impl Serving {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: Option<Peer>) {
        let Self { router, patience, stop, seat } = self;
        let router = TowerToHyperService::new(router);
        let service = service_fn(|mut request: Request<Incoming>| {
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            let (busy, answer) = (seat.begin(), router.call(request));
            async move { answer.await.map(|answer| answer.map(|body| busy.until_sent(body))) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience.head)
            .max_header_size(MAX_HEAD_BYTES)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = seat.asked_to_leave() => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(LEAVE_WITHIN, connection.as_mut()).await {
                    Ok(ended) => ended,
                    // A request has just come in.
                    Err(_) if !seat.is_idle() => connection.await,
                    // It has sent no request at all, or a part of one.
                    Err(_) => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!("a connection ended early: {error}");
        }
    }
}
