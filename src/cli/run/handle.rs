//! A running host: started and stopped in the order that the parent module explains.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use super::parts;
use super::report::{self, Reporter};
use super::serve::{self, Server};
use super::stop::{Stop, Stops};
use crate::cli::progress::Progress;
use crate::cli::{Failure, out, show};
use crate::manifest::Pipeline;
use crate::notify::{self, Notifier};
use crate::scheduler::{Host, Options, Tally};
use crate::store::HostLease;

/// How long a second signal waits until the first one is on record.
const NOTED_WITHIN: Duration = Duration::from_secs(1);

/// How a host is started.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// Stop once nothing is left to do.
    pub(crate) once: bool,
    /// Report what happens as JSON lines.
    pub(crate) json: bool,
    /// The PATH that leads to the pipeline, for the proposed commands.
    pub(crate) path: String,
}

/// A running host, with its HTTP server and its reporter.
pub(crate) struct HostHandle {
    /// The host itself.
    pub(crate) host: Host,
    server: Server,
    notifier: Notifier,
    reporter: Reporter,
}

impl HostHandle {
    /// Starts a host, and prints its address. Returns `None` if a signal asks it to stop before it
    /// has begun to work; an unfinished start loses nothing.
    pub(crate) async fn start(
        pipeline: Pipeline,
        how: Start,
        recorder: PrometheusHandle,
        stops: &mut Stops,
    ) -> Result<Option<Self>, Failure> {
        let started = tokio::select! {
            started = Started::start(pipeline, how.once) => started?,
            stop = stops.next() => {
                out::error(&format!("{stop} while it started\n"));
                return Ok(None);
            }
        };
        // The host may have begun attempts. A signal that comes now waits for the caller, who lets
        // them finish: without that, they would count as crashed.
        started.serve(how, recorder).await.map(Some)
    }

    /// Waits until the host ends by itself (because it is drained, or after an error, which
    /// [`HostHandle::end`] returns).
    ///
    /// # Errors
    /// When its HTTP server has broken off.
    pub(crate) async fn ended(&self) -> Result<(), Failure> {
        tokio::select! {
            () = self.host.ended() => Ok(()),
            () = self.server.broke_off() => {
                Err(Failure::work("the HTTP server has stopped, which is a bug in Anacostia; see the message above"))
            }
        }
    }

    /// Waits until the host ends by itself, or a signal asks it to stop. Returns that signal beside
    /// the tally.
    ///
    /// # Errors
    /// When the host ends because of an error, or its HTTP server has broken off.
    pub(crate) async fn until_ended(self, stops: &mut Stops) -> Result<(Tally, Option<Stop>), Failure> {
        let (ended, asked) = tokio::select! {
            ended = self.ended() => (ended, None),
            stop = stops.next() => (Ok(()), Some(stop)),
        };
        let tally = self.end(asked, stops).await?;
        ended.map(|()| (tally, asked))
    }

    /// Shuts the host down gracefully. `asked` is the signal that asked for it, if there was one.
    pub(crate) async fn end(self, asked: Option<Stop>, stops: &mut Stops) -> Result<Tally, Failure> {
        if let Some(stop) = asked {
            out::error(&format!("{stop}: finishing running actions; ask again to stop at once\n"));
        }
        let Self { host, server, notifier, reporter } = self;
        let noted = asked.map(|_| host.note_stop());
        let end = async {
            let tally = host.stop().await?;
            server.close().await;
            notifier.close().await;
            reporter.close().await;
            Ok(tally)
        };
        tokio::select! {
            tally = end => tally,
            stop = stops.next() => {
                if let Some(noted) = noted {
                    let _ = tokio::time::timeout(NOTED_WITHIN, noted).await;
                }
                Err(at_once(stop))
            }
        }
    }
}

/// A host that has begun to work, and what is needed to serve it.
struct Started {
    host: Host,
    server: Server,
    address: SocketAddr,
    lease: Arc<dyn HostLease>,
    /// The newest event before it began.
    seen: u64,
}

impl Started {
    /// Safe to drop before it is ready: the host begins to work at the end of its start.
    async fn start(pipeline: Pipeline, once: bool) -> Result<Self, Failure> {
        // Opening a store recovers what a crash left in its log, which can take seconds.
        let parts = tokio::task::spawn_blocking(|| parts::open(pipeline)).await.map_err(io::Error::other)??;
        let lease = Arc::clone(&parts.lease);
        let seen = *parts.store.newest_event().borrow();
        notify::begin(parts.store.as_ref(), &parts.pipeline).await?;
        let (listener, address) = serve::bind(parts.pipeline.listen).await?;
        let server = Server::start(listener, &parts.pipeline)?;
        // A component that was never run here is compiled first, which may take a while.
        let wait = Progress::wait("preparing the components");
        let host = Host::start(parts, Options { drain: once, ..Options::default() }).await;
        drop(wait);
        Ok(Self { host: host?, server, address, lease, seen })
    }

    /// Serves the host over HTTP, and says where, and what is paused.
    async fn serve(self, how: Start, recorder: PrometheusHandle) -> Result<HostHandle, Failure> {
        let Self { host, server, address, lease, seen } = self;
        let view = host.view();
        server.serve(host.view(), recorder)?;
        let url = url(&view.pipeline(), address);
        let notifier = Notifier::start(host.view(), &url);
        let listens = if view.pipeline().tls.is_some() { format!("https://{address}") } else { address.to_string() };
        lease.announce(&listens).await?;
        announce(how.json, &view.pipeline(), &url)?;
        if view.store.paused().await? {
            let resume = show::resume_command(&how.path, None);
            out::error(&format!("The pipeline is paused: triggers start no run; `{resume}` ends that\n"));
        }
        for pause in view.store.paused_nodes().await? {
            let (name, why) = (show::plain(&pause.name), show::plain(&pause.describe()));
            let resume = show::resume_command(&how.path, Some((pause.kind, &name)));
            out::error(&format!("{name} is {why}; `{resume}` ends that\n"));
        }
        let reporter = report::follow(Arc::clone(&view.store), seen, how.json, &how.path);
        Ok(HostHandle { host, server, notifier, reporter })
    }
}

/// Returns the URL by which a client on this machine reaches the server.
fn url(pipeline: &Pipeline, address: SocketAddr) -> String {
    let scheme = if pipeline.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{address}{}", pipeline.base_path)
}

fn announce(json: bool, pipeline: &Pipeline, url: &str) -> io::Result<()> {
    if json {
        return out::json(&json!({"type": "ready", "pipeline": pipeline.name, "url": url, "pid": std::process::id()}));
    }
    out::result(&show::banner(pipeline, url))
}

/// The failure after a second signal. The next start resumes interrupted work.
fn at_once(stop: Stop) -> Failure {
    Failure::work(format!("{stop} again: stopped at once; interrupted actions resume at the next start"))
}
