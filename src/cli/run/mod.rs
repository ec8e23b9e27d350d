//! `anacostia run`: everything put together.
//!
//! The order matters. The manifest is checked and the components are built before anything is opened; the store is opened (and so
//! locked against a second host) before the address is bound; the address is bound before anything starts, so that a host which can not be
//! reached does no work either; and the ready line comes when a request would be answered.

mod parts;
mod report;
mod serve;
mod stop;

use std::net::SocketAddr;

use serde_json::json;

use super::load::{PathArg, load, load_unbuilt};
use super::progress::Progress;
use super::{End, Failure, build, out, show};
use crate::manifest::{Pipeline, check_listen, parse_listen};
use crate::scheduler::{Host, Options, StartError, Tally};
use crate::store::MetadataStore as _;
use stop::{Stop, Stops};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// Build the components whose sources have changed first
    #[arg(long)]
    build: bool,
    /// Work on what is there, then exit: 0 if every run succeeded, 1 if not
    #[arg(long)]
    once: bool,
    /// Serve HTTP at this address instead of the manifest's; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// Print what happens as JSON lines; the first one says where the host is
    #[arg(long)]
    json: bool,
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    parse_listen(text).ok_or_else(|| "an address is an IP address and a port, such as 127.0.0.1:8000".to_owned())
}

pub(crate) fn run(args: &Args) -> Result<End, Failure> {
    if args.build {
        build::build_all(&load_unbuilt(&args.path)?, false)?;
    }
    let mut pipeline = load(&args.path)?;
    if let Some(listen) = args.listen {
        pipeline.listen = listen;
    }
    check_listen(pipeline.listen, pipeline.token.is_some(), pipeline.insecure)
        .map_err(|error| Failure::usage(format!("{error}; {}", error.advice())))?;
    report::start_logging()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("anacostia-host").build()?;
    let end = runtime.block_on(host(args, pipeline));
    // Whoever asked twice does not wait for what blocks; after a good end there is nothing left to wait for.
    runtime.shutdown_background();
    end
}

async fn host(args: &Args, pipeline: Pipeline) -> Result<End, Failure> {
    let mut stops = Stops::listen()?;
    let recorder = serve::count_metrics()?;
    let (parts, store) = parts::open(pipeline)?;
    let seen = *parts.store.newest_event().borrow();
    let (listener, address) = serve::bind(parts.pipeline.listen).await?;
    // A component that was never run here is compiled first, which may take a while.
    let wait = Progress::wait("preparing the components");
    let host = Host::start(parts, Options { drain: args.once, ..Options::default() }).await;
    drop(wait);
    let host = host?;
    let server = serve::serve(listener, host.view(), recorder)?;
    store.set_listen(&address.to_string())?;
    announce(args, &host.view().pipeline, address)?;
    if store.paused().await? {
        let resume = format!("resume it with `curl -X POST http://{address}/api/v1/pipeline/resume`");
        out::error(&format!("The pipeline is paused: triggers start no run; {resume}\n"));
    }
    let reporter = report::follow(store, seen, args.json);
    let tally = until_ended(host, &mut stops).await?;
    server.close().await;
    reporter.close().await;
    Ok(if args.once && tally.failed + tally.stuck > 0 { End::WorkFailed } else { End::Well })
}

fn announce(args: &Args, pipeline: &Pipeline, address: SocketAddr) -> Result<(), Failure> {
    let url = format!("http://{address}");
    if args.json {
        return out::json(&json!({"type": "ready", "pipeline": pipeline.name, "url": url, "pid": std::process::id()}));
    }
    out::result(&show::banner(pipeline, &url))
}

/// Until the host has ended by itself (drained, or in trouble), or someone asks for its end.
async fn until_ended(host: Host, stops: &mut Stops) -> Result<Tally, Failure> {
    let asked = tokio::select! {
        () = host.ended() => None,
        stop = stops.next() => Some(stop),
    };
    if let Some(stop) = asked {
        out::error(&format!("{stop}: finishing what is at work; ask again to stop at once\n"));
    }
    tokio::select! {
        tally = host.stop() => Ok(tally?),
        stop = stops.next() => Err(at_once(stop)),
    }
}

/// What is cut short now is taken up at the next start, as after a crash.
fn at_once(stop: Stop) -> Failure {
    Failure::work(format!("{stop} again: stopped at once; what was at work is taken up at the next start"))
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(error) => error.into(),
            StartError::Component { .. } => Self::Usage(error.into()),
            _ => Self::Work(error.into()),
        }
    }
}
