//! `anacostia run`: starts a host and serves it.
//!
//! The order matters. The manifest is checked and the components are built before anything is
//! opened. The store is opened, and so locked against a second host, before the address is bound.
//! The address is bound before anything starts, so that a host which cannot be reached does no
//! work either; from then on `/healthz` answers, and everything else with 503. The ready line comes
//! when every request is answered.
//!
//! A signal ends each of these steps at once: no action is running yet, and an unfinished start
//! leaves nothing behind.

mod handle;
mod left;
mod parts;
mod report;
mod serve;
mod stop;

use std::net::SocketAddr;

use super::load::{PathArg, load, load_unbuilt};
use super::{End, Failure, build, out, show};
use crate::base::proxy;
use crate::manifest::{Pipeline, check_listen, parse_listen};
use crate::scheduler::{StartError, Tally};

pub(crate) use handle::{HostHandle, Start};
pub(crate) use serve::count_metrics;
pub(crate) use stop::{Stop, Stops};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// First build the components whose sources have changed
    #[arg(long)]
    build: bool,
    /// Process what is there, then exit: 0 if every run succeeded, 1 if not, also if one waits for
    /// approval
    #[arg(long)]
    once: bool,
    /// Serve HTTP at this address instead of the manifest's; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// Print what happens as JSON lines; the first one says where the host is
    #[arg(long)]
    json: bool,
}

pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    parse_listen(text).ok_or_else(|| "an address is an IP address and a port, such as 127.0.0.1:8000".to_owned())
}

/// The address at which a host listens, if not the manifest's.
pub(crate) type Listen = Option<SocketAddr>;

pub(crate) fn run(args: &Args) -> Result<End, Failure> {
    if args.build {
        let unbuilt = load_unbuilt(&args.path)?;
        return blocking_on(args.json, build_and_host(args, unbuilt));
    }
    let pipeline = load(&args.path)?;
    build::warn(&pipeline, "`--build` builds it");
    let pipeline = listening(pipeline, args.listen)?;
    blocking_on(args.json, async { host(args, pipeline, &mut Stops::listen()?).await })
}

async fn build_and_host(args: &Args, unbuilt: Pipeline) -> Result<End, Failure> {
    let mut stops = Stops::listen()?;
    let mut builds = tokio::task::spawn_blocking(move || build::build_needed(&unbuilt));
    tokio::select! {
        built = &mut builds => built.map_err(std::io::Error::other)??,
        stop = stops.next() => {
            out::error(&format!("{stop} while it built\n"));
            build::end_all();
            return Ok(before_any_work(args));
        }
    }
    let pipeline = listening(load(&args.path)?, args.listen)?;
    host(args, pipeline, &mut stops).await
}

/// Sets the address at which the pipeline is served. Fails if the manifest does not allow it.
pub(crate) fn listening(mut pipeline: Pipeline, listen: Listen) -> Result<Pipeline, Failure> {
    pipeline.listen = listen.unwrap_or(pipeline.listen);
    check_listen(pipeline.listen, pipeline.token.is_some(), pipeline.insecure)
        .map_err(|error| Failure::usage(format!("{error}; {}", error.advice(pipeline.insecure))))?;
    Ok(pipeline)
}

/// Runs the work of a host in its own runtime. With `json`, its reports are for programs.
pub(crate) fn blocking_on<T>(json: bool, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    out::never_wait(json);
    report::start_logging()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("anacostia-host").build()?;
    let end = runtime.block_on(work);
    // Do not wait for blocking tasks: after a second signal the user wants out, and after a good
    // end there are none.
    runtime.shutdown_background();
    end
}

async fn host(args: &Args, pipeline: Pipeline, stops: &mut Stops) -> Result<End, Failure> {
    for name in proxy::misread() {
        let mark = show::Cell::new("warning:").style(show::styles::WARN);
        out::error(&format!(
            "{mark} the variable {name} does not name a proxy, so none is used: write http://HOST:PORT, or unset it\n"
        ));
    }
    let how = Start { once: args.once, json: args.json, path: args.path.shown() };
    let Some(handle) = HostHandle::start(pipeline, how, count_metrics()?, stops).await? else {
        return Ok(before_any_work(args));
    };
    let view = handle.host.view();
    let (tally, stopped) = handle.until_ended(stops).await?;
    if args.once && !args.json {
        let idle = tally == Tally::default();
        let rest = if stopped.is_some() {
            STOPPED.to_owned()
        } else {
            left::describe(&view, idle, &args.path.shown()).await?
        };
        out::result(&summary(tally, &rest))?;
    }
    let failed = stopped.is_some() || tally.failed + tally.stuck + tally.unfinished > 0;
    Ok(if args.once && failed { End::WorkFailed } else { End::Well })
}

/// The result of a stop before any action ran. With `--once` that is a failure, because the work
/// was not done.
fn before_any_work(args: &Args) -> End {
    if args.once { End::WorkFailed } else { End::Well }
}

/// What `run --once` adds when a signal stopped it: it does not know what was left.
const STOPPED: &str = "stopped before all work was done; the next start does the rest\n";

/// Summarizes how the runs ended, followed by the lines about what was not done.
fn summary(tally: Tally, rest: &str) -> String {
    let Tally { succeeded, failed, cancelled, unfinished, stuck } = tally;
    let all = [
        (succeeded, "succeeded"),
        (failed, "failed"),
        (cancelled, "cancelled"),
        (unfinished, "not finished"),
        (stuck, "could not continue"),
    ];
    let parts: Vec<String> =
        all.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    match parts.as_slice() {
        [] if rest.is_empty() => "0 runs: nothing was new\n".to_owned(),
        [] => format!("0 runs: {rest}"),
        parts => {
            let runs = show::plural(succeeded + failed + cancelled + unfinished + stuck, "run");
            format!("{runs}: {}\n{rest}", parts.join(", "))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::{STOPPED, summary};
    use crate::scheduler::Tally;

    #[test]
    fn the_tally_names_each_outcome() {
        let tally = Tally { succeeded: 49, failed: 1, ..Tally::default() };
        assert_eq!(summary(tally, ""), "50 runs: 49 succeeded, 1 failed\n");
        assert_eq!(summary(Tally { cancelled: 1, ..Tally::default() }, ""), "1 run: 1 cancelled\n");
        assert_eq!(summary(Tally::default(), ""), "0 runs: nothing was new\n");
        let stopped = "0 runs: stopped before all work was done; the next start does the rest\n";
        assert_eq!(summary(Tally::default(), STOPPED), stopped);
        let left = "1 file is not taken: raw/a: it cannot be read\n";
        assert_eq!(summary(Tally::default(), left), format!("0 runs: {left}"));
        let unfinished = Tally { succeeded: 1, unfinished: 2, ..Tally::default() };
        assert_eq!(summary(unfinished, ""), "3 runs: 1 succeeded, 2 not finished\n");
        let two = Tally { succeeded: 2, ..Tally::default() };
        assert_eq!(summary(two, left), format!("2 runs: 2 succeeded\n{left}"));
    }
}
