//! `anacostia runs show`.

use crate::base::{Clock as _, SystemClock};
use crate::cli::load::PathArg;
use crate::cli::records::{self, Records, RunRef};
use crate::cli::{End, Failure, out, show};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run: its number, its id, or `latest`
    run: RunRef,
    #[command(flatten)]
    path: PathArg,
    /// Print the run as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn show(args: &Args) -> Result<End, Failure> {
    let records = Records::open(&args.path)?;
    let detail = records.run(args.run)?;
    let denials = records.ask(records.store.denials(detail.run.id))?;
    if args.json {
        out::json(&records::run_json(&detail, &denials)?)?;
    } else {
        out::result(&show::run_detail(&detail, &denials, &args.path.shown(), SystemClock.now(), out::result_width()))?;
        records.warn_if_idle(!detail.run.state.ended(), &args.path)?;
    }
    Ok(End::Well)
}
