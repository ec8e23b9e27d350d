//! `anacostia runs list`.

use std::collections::BTreeMap;

use crate::base::{Clock as _, SystemClock};
use crate::cli::load::PathArg;
use crate::cli::records::Records;
use crate::cli::{End, Failure, out, show};
use crate::http::bodies::{List, RunBody};
use crate::model::{Run, RunState};
use crate::store::{PageRequest, RunQuery};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// Only runs in these states: queued, running, succeeded, failed, cancelling, cancelled
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<RunState>,
    /// At most this many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Continue where the previous page ended
    #[arg(long)]
    cursor: Option<String>,
    /// Print the page as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn list(args: Args) -> Result<End, Failure> {
    let records = Records::open(&args.path)?;
    let page = PageRequest { cursor: args.cursor, limit: args.limit };
    let query = RunQuery { states: args.state, before_run: None };
    let page = records.ask(records.store.runs(query.clone(), page))?;
    if args.json {
        out::json(&List::<RunBody>::from(page))?;
    } else if page.items.is_empty() {
        let states: Vec<&str> = query.states.iter().map(|state| state.as_str()).collect();
        out::error(&match states.as_slice() {
            [] => records.nothing_yet("runs", &args.path)?,
            states => format!("no run is {}; leave out `--state` to see all\n", states.join(" or ")),
        });
    } else {
        let mut actions = BTreeMap::new();
        for run in page.items.iter().filter(|run| !run.state.ended()) {
            let detail = records.ask(records.store.run_progress(run.id))?;
            actions.extend(detail.map(|detail| (run.id, detail.actions)));
        }
        out::result(&show::run_list(&page.items, &actions, SystemClock.now(), out::result_width()))?;
        records.warn_if_idle(page.items.iter().any(|run| !run.state.ended()), &args.path)?;
        if let Some(failed) = page.items.iter().find(|run| run.state == RunState::Failed) {
            let next = Run::what_next(failed.number, &show::beside(&show::plain(&args.path.shown())));
            out::error(&format!("Run #{} failed; {next}.\n", failed.number));
        }
        if let Some(cursor) = page.next_cursor {
            out::error(&format!("There are more: add `--cursor {cursor}`.\n"));
        }
    }
    Ok(End::Well)
}
