//! `anacostia runs show`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::base::AttemptId;
use crate::base::{Clock as _, SystemClock};
use crate::cli::load::PathArg;
use crate::cli::records::{Records, RunRef};
use crate::cli::{End, Failure, open, out, show};
use crate::http::bodies::{Live, RunParts, detail_body};
use crate::model::{AttemptState, RunDetail, RunState};
use crate::resource::Outage;

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
        out::json(&detail_body(detail, parts, &Live::default()))?;
    } else {
        let (path, width) = (args.path.shown(), out::result_width());
        let outputs = records.outputs(detail.run.id)?;
        let outages = outages(&records, &detail);
        let seen = show::Seen {
            inputs: &parts.inputs.items,
            inputs_count: parts.inputs_count,
            denials: &parts.denials,
            requests: &parts.requests,
            outputs: Some(&outputs),
            outages: Some(&outages),
        };
        out::result(&show::run_detail(&detail, seen, &path, SystemClock.now(), width))?;
        records.warn_if_idle(!detail.run.state.ended(), &args.path)?;
    }
    Ok(End::Well)
}

/// Asks the host, if there is one, what attempts wait for whose outputs are committed. Only the
/// host knows it.
fn outages(records: &Records, detail: &RunDetail) -> BTreeMap<AttemptId, String> {
    let publishing = detail.attempts.iter().any(|attempt| attempt.state == AttemptState::Publishing);
    let ask = || {
        let holder = publishing.then(|| open::holder(&records.pipeline).ok().flatten())??;
        let run = open::remote(&holder).ok()?.get(&format!("runs/{}", detail.run.id)).ok()?;
        let attempts = run.get("actions")?.as_array()?.iter().filter_map(|action| action.get("attempts")?.as_array());
        let outage = |attempt: &Value| {
            let outage: Outage = serde_json::from_value(attempt.get("outage")?.clone()).ok()?;
            let then = match detail.run.state {
                RunState::Cancelling => "; the run ends once it takes them, because they are committed",
                _ => "",
            };
            Some((attempt.get("id")?.as_str()?.parse().ok()?, format!("{outage}{then}")))
        };
        Some(attempts.flatten().filter_map(outage).collect())
    };
    ask().unwrap_or_default()
}
