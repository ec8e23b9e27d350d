//! The HTTP side of a host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::Failure;
use crate::http::{self, Login, LoginForm, Patience, ServeOptions, Tls};
use crate::manifest::Pipeline;
use crate::scheduler::View;
use crate::ui;

/// Starts recording the host's metrics.
pub(crate) fn count_metrics() -> Result<PrometheusHandle, Failure> {
    http::count_metrics().map_err(|error| Failure::Work(error.into()))
}

/// Binds the address, and returns the URL for a client on this machine.
pub(crate) async fn bind(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        let what_next = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; something else listens there: choose another address with `--listen`, or 127.0.0.1:0 for a free one"
            }
            _ => "",
        };
        Failure::usage(format!("failed to listen at {listen}: {error}{what_next}"))
    })?;
    let address = reachable(listener.local_addr()?);
    Ok((listener, address))
}

/// Returns an address that a client on this machine can connect to. The unspecified address ("all
/// addresses") becomes the loopback address.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

/// Returns the certificate, if the pipeline has one.
fn tls(pipeline: &Pipeline) -> Result<Option<Arc<Tls>>, Failure> {
    let Some(spec) = pipeline.tls.clone() else { return Ok(None) };
    let tls = Tls::open(spec).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Some(Arc::new(tls)))
}

/// Returns how people log in, if the pipeline has a token.
fn login(pipeline: &Pipeline) -> Result<Option<Login>, Failure> {
    let Some(token) = pipeline.token else { return Ok(None) };
    let page = ui::login_page(pipeline).map_err(|error| Failure::Work(error.into()))?;
    let page = move |form: &LoginForm<'_>| page(form.next, form.refusal, form.reload);
    Ok(Some(Login::new(token, page)?))
}

/// Number of threads that answer requests. They do not wait for the store, which reads on threads
/// of its own.
const THREADS: usize = 2;

/// A server that answers requests in the background, on threads of its own: a thousand clients that
/// are sent an event do not delay the scheduler.
#[derive(Debug)]
pub(crate) struct Server {
    bound: SocketAddr,
    login: Option<Login>,
    routers: watch::Sender<Router>,
    stop: CancellationToken,
    ended: CancellationToken,
    task: JoinHandle<()>,
    _threads: Threads,
}

impl Server {
    /// Starts to answer requests: that the process is alive, and that the host is starting.
    pub(crate) fn start(listener: TcpListener, pipeline: &Pipeline) -> Result<Self, Failure> {
        let (bound, stop) = (listener.local_addr()?, CancellationToken::new());
        let pages = ui::starting_router(pipeline).map_err(|error| Failure::Work(error.into()))?;
        let (login, tls) = (login(pipeline)?, tls(pipeline)?);
        let (routers, router) = watch::channel(http::starting_router(pipeline, bound, pages, login.clone()));
        let ended = CancellationToken::new();
        let (guard, stopped, listener) = (ended.clone().drop_guard(), stop.clone(), listener.into_std()?);
        let (threads, handle) = Threads::start()?;
        let task = handle.spawn(async move {
            let _guard = guard;
            // Readiness is reported to the threads of the runtime that a listener belongs to.
            match TcpListener::from_std(listener) {
                Ok(listener) => http::serve_routers(listener, tls, Patience::default(), router, stopped).await,
                Err(error) => tracing::error!("failed to listen: {error}"),
            }
        });
        Ok(Self { bound, login, routers, stop, ended, task, _threads: threads })
    }

    /// Answers all requests for this host from now on.
    pub(crate) fn serve(&self, view: View, recorder: PrometheusHandle) -> Result<(), Failure> {
        let pages = ui::router(view.clone(), http::document()).map_err(|error| Failure::Work(error.into()))?;
        let options =
            ServeOptions { recorder: Some(recorder), pages, login: self.login.clone(), ..ServeOptions::default() };
        let _starting = self.routers.send_replace(http::router(view, options, self.bound, self.stop.clone()));
        Ok(())
    }

    /// Waits until the server has ended without being asked to, which is a bug in Anacostia.
    pub(crate) async fn broke_off(&self) {
        // How it ended is in the log: it panicked.
        self.ended.cancelled().await;
    }

    /// Waits until open requests have ended.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        if !self.task.is_finished() {
            let _ = self.task.await;
        }
    }
}

/// The threads of a server. Dropping them ends what they do, and does not wait for it as dropping a
/// runtime would, which panics inside another one.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> std::io::Result<(Self, Handle)> {
        let runtime =
            Builder::new_multi_thread().worker_threads(THREADS).enable_all().thread_name("anacostia-http").build()?;
        let handle = runtime.handle().clone();
        Ok((Self(Some(runtime)), handle))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{bind, reachable};

    #[test]
    fn an_unspecified_address_is_shown_as_loopback() {
        let shown = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(["0.0.0.0:80", "[::]:80", "10.1.2.3:80"].map(shown), ["127.0.0.1:80", "[::1]:80", "10.1.2.3:80"]);
    }

    #[tokio::test]
    async fn an_address_in_use_is_reported_with_advice() {
        let (_taken, address) = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let failure = bind(address).await.unwrap_err();
        assert!(format!("{failure:?}").contains("choose another address with `--listen`"), "{failure:?}");
    }
}
