//! `anacostia runs diff`.

use crate::cli::load::PathArg;
use crate::cli::records::{Records, RunRef, no_such_run};
use crate::cli::{End, Failure, out, show};
use crate::scheduler::diff_runs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The first run: its number, its id, or `latest`
    a: RunRef,
    /// The second run
    b: RunRef,
    #[command(flatten)]
    path: PathArg,
    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn diff(args: &Args) -> Result<End, Failure> {
    let records = Records::open(&args.path)?;
    let (a, b) = (records.resolve(args.a)?, records.resolve(args.b)?);
    // An id may name no run.
    for (id, named) in [(a, args.a), (b, args.b)] {
        records.ask(records.store.run_summary(id))?.ok_or_else(|| no_such_run(named))?;
    }
    let diff = records.ask(diff_runs(records.store.as_ref(), a, b))?.ok_or_else(|| no_such_run(args.a))?;
    if args.json {
        out::json(&diff)?;
    } else {
        out::result(&show::run_diff(&diff, out::result_width()))?;
        records.warn_if_idle(!diff.a.state.ended() || !diff.b.state.ended(), &args.path)?;
    }
    Ok(End::Well)
}
