//! `anacostia runs show`.

use std::collections::BTreeMap;

use crate::base::{Clock as _, SystemClock};
use crate::cli::load::PathArg;
use crate::cli::records::{Records, RunRef};
use crate::cli::{End, Failure, out, show};
use crate::http::bodies::{RunParts, detail_body};

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
    let parts = records.ask(RunParts::read(records.store.as_ref(), detail.run.id))?;
    if args.json {
        // The progress of an attempt is known only to its host.
        out::json(&detail_body(detail, parts, &BTreeMap::new()))?;
    } else {
        let (path, width) = (args.path.shown(), out::result_width());
        let outputs = records.outputs(detail.run.id)?;
        let seen = show::Seen {
            inputs: &parts.inputs.items,
            inputs_count: parts.inputs_count,
            denials: &parts.denials,
            requests: &parts.requests,
            outputs: Some(&outputs),
        };
        out::result(&show::run_detail(&detail, seen, &path, SystemClock.now(), width))?;
        records.warn_if_idle(!detail.run.state.ended(), &args.path)?;
    }
    Ok(End::Well)
}
