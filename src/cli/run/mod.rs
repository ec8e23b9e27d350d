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
use std::sync::Arc;

use serde_json::json;

use super::load::{PathArg, load, load_unbuilt};
use super::note::Note;
use super::{End, Failure, build, out, show};
use crate::base::{Clock, SystemClock};
use crate::manifest::Pipeline;
use parts::{Parts, Started};
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
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Print what happens as JSON lines; the first one says where the host is
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<End, Failure> {
    if args.build {
        build::build_all(&load_unbuilt(&args.path)?, false)?;
    }
    let mut pipeline = load(&args.path)?;
    if let Some(listen) = args.listen {
        pipeline.listen = listen;
    }
    check_doors(&pipeline)?;
    report::start_logging()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("anacostia-host").build()?;
    runtime.block_on(host(args, pipeline))
}

/// Off loopback nobody gets in without a token, and a token does not travel in the clear unless someone said that it may.
fn check_doors(pipeline: &Pipeline) -> Result<(), Failure> {
    let listen = pipeline.listen;
    if listen.ip().is_loopback() {
        return Ok(());
    }
    let missing = match (pipeline.token.is_some(), pipeline.insecure) {
        (true, true) => return Ok(()),
        (false, _) => "`token_sha256` in [server]: the digest of the token that is asked for",
        (true, false) => "`insecure = true` in [server]: HTTP is not encrypted, so the token can be read on the way",
    };
    Err(Failure::usage(format!("{listen} can be reached from other machines; to listen there, set {missing}")))
}

async fn host(args: &Args, pipeline: Pipeline) -> Result<End, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut stops = Stops::listen()?;
    let parts = Parts::prepare(pipeline, Arc::clone(&clock)).await?;
    let (listener, url) = serve::bind(parts.pipeline.listen).await?;
    let state = parts.pipeline.state_folder();
    let pipeline = Arc::clone(&parts.pipeline);
    let started = parts.start().await?;
    let server = serve::serve(listener, &started)?;
    let note = Note { url: url.clone(), pid: std::process::id(), started_at: clock.now() };
    let left = note.leave(&state)?;
    let reporter = report::follow(&started, args.json);
    if args.json {
        out::json(&json!({"type": "ready", "pipeline": pipeline.name, "url": url, "pid": note.pid}))?;
    } else {
        out::result(&show::banner(&pipeline, &url))?;
    }
    let end = work(args, &started, &mut stops).await;
    // From here on nobody should look for us.
    drop(left);
    server.close().await;
    reporter.close().await;
    end
}

/// Until it is drained (`--once`), or someone asks for an end.
async fn work(args: &Args, started: &Started, stops: &mut Stops) -> Result<End, Failure> {
    let stop = if args.once {
        tokio::select! {
            drained = started.drained() => {
                started.stop().await?;
                return Ok(if drained? == 0 { End::Well } else { End::WorkFailed });
            }
            stop = stops.next() => stop,
        }
    } else {
        stops.next().await
    };
    out::error(&format!("{stop}: finishing what is at work; once more stops at once\n"));
    tokio::select! {
        stopped = started.stop() => stopped.map(|()| End::Well),
        stop = stops.next() => Err(at_once(stop)),
    }
}

/// What is cut short now is taken up at the next start, as after a crash.
fn at_once(stop: Stop) -> Failure {
    Failure::work(format!("{stop} again: stopped at once; what was at work is taken up at the next start"))
}
