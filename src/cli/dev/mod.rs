//! `anacostia dev`: runs a pipeline while its author changes the actions.
//!
//! The loop is: wait for a save, compare, build the one component whose sources differ, check
//! everything as a start would, and give it to the host, which binds new runs to it
//! ([`Host::reload`]). Whatever fails on the way is shown, and leaves the host as it was.
//!
//! A build is never stopped because something was saved meanwhile: it is followed by another.
//! Killing it would save time, but would loop forever if a build writes among its sources.

mod build_target;
mod builder;
mod event;
mod fingerprint;
mod session;
mod watcher;

use super::load::{PathArg, load_unbuilt};
use super::run::{HostHandle, Listen, Start, Stop, Stops, blocking_on, count_metrics, listen_address};
use super::show::{Cell, styles};
use super::{End, Failure, out};
use crate::manifest::Pipeline;
use session::{Session, SessionOptions};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// Serve HTTP at this address instead of the manifest's; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    listen: Option<std::net::SocketAddr>,
    /// Print what happens as JSON lines; the one of type `ready` says where the host is
    #[arg(long)]
    json: bool,
}

pub(crate) fn dev(args: &Args) -> Result<End, Failure> {
    let pipeline = load_unbuilt(&args.path)?;
    let listen: Listen = args.listen;
    blocking_on(args.json, develop(SessionOptions { path: args.path.clone(), listen, json: args.json }, pipeline))
}

async fn develop(options: SessionOptions, pipeline: Pipeline) -> Result<End, Failure> {
    let mut stops = Stops::listen()?;
    let recorder = count_metrics()?;
    let how = Start { once: false, json: options.json, path: options.path.shown() };
    let mut session = Session::new(options, pipeline)?;
    let mut handle: Option<HostHandle> = None;
    let asked: Result<Option<Stop>, Failure> = loop {
        let host = handle.as_ref().map(|handle| &handle.host);
        let start = tokio::select! {
            start = session.round(host) => start,
            stop = stops.next() => break Ok(Some(stop)),
            ended = ended(handle.as_ref()) => break ended.map(|()| None),
        };
        match start {
            Ok(None) => {}
            Ok(Some(pipeline)) => {
                match HostHandle::start(pipeline, how.clone(), recorder.clone(), &mut stops).await {
                    Ok(Some(started)) => handle = Some(started),
                    Ok(None) => break Ok(None),
                    Err(failure) => break Err(failure),
                }
                if !how.json {
                    out::error(&watched(&session));
                }
                // What was saved while it started.
                continue;
            }
            Err(failure) => break Err(failure),
        }
        tokio::select! {
            () = session.watcher.changed() => {}
            stop = stops.next() => break Ok(Some(stop)),
            ended = ended(handle.as_ref()) => break ended.map(|()| None),
        }
    };
    session.builder.stop().await;
    let (asked, failure) = match asked {
        Ok(asked) => (asked, None),
        Err(failure) => (None, Some(failure)),
    };
    if let Some(handle) = handle {
        handle.end(asked, &mut stops).await?;
    }
    failure.map_or(Ok(End::Well), Err)
}

/// Waits until the host has ended by itself, or fails; forever, as long as there is none.
async fn ended(handle: Option<&HostHandle>) -> Result<(), Failure> {
    match handle {
        Some(handle) => handle.ended().await,
        None => std::future::pending().await,
    }
}

/// The lines below the banner that say which files are watched for changes.
fn watched(session: &Session) -> String {
    let line = |(actions, sources): (String, String)| {
        format!("  {}  {} from {}\n", Cell::new("build").style(styles::FAINT), Cell::new(actions), Cell::new(sources))
    };
    session.sources().into_iter().map(line).chain(["\n".to_owned()]).collect()
}
