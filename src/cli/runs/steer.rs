//! `anacostia runs cancel` and `anacostia runs retry`.
//!
//! A running host is asked over HTTP, because it has to act at once. If none is running, the
//! request is recorded in the store, and the next host acts on it. The lock of the store tells
//! whether a host is running; it is released when the host ends, even by a crash.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::base::bounds::MAX_PAGE;
use crate::base::{Clock as _, RunId, SystemClock, WriteId};
use crate::cli::dry_run::{self, PlannedRun};
use crate::cli::load::PathArg;
use crate::cli::records::{self, Records, RunRef};
use crate::cli::remote::{Answer, Remote};
use crate::cli::runtime::runtime;
use crate::cli::show::{Cell, styles};
use crate::cli::{End, Failure, loaded, open, out};
use crate::http::bodies::RunBody;
use crate::manifest::Pipeline;
use crate::scheduler::{KeptComponents, actions_from};
use crate::store::{PageRequest, components};

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

#[derive(Debug, clap::Args)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    run: Args,
    /// Start a new run with the same inputs, and today's manifest and components
    #[arg(long)]
    current: bool,
    /// Run this action and all that come after it again, although they have succeeded
    #[arg(long, value_name = "ACTION", conflicts_with = "current")]
    from: Option<String>,
    /// With `--current`: show the inputs and the actions of the new run, and start nothing
    #[arg(long, requires = "current")]
    dry_run: bool,
}

/// The change that is requested for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What<'a> {
    Cancel,
    /// From an action on, if one is given.
    Retry(Option<&'a str>),
}

impl What<'_> {
    fn route(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Retry(_) => "retry",
        }
    }
}

pub(crate) fn steer(args: &Args, what: What<'_>) -> Result<End, Failure> {
    let (pipeline, id) = {
        let records = Records::open(&args.path)?;
        let id = records.resolve(args.run)?;
        (records.pipeline, id)
    };
    let (run, host) = match open::holder(&pipeline)? {
        Some(holder) => (through_the_host(&open::remote(&holder)?, id, what)?, true),
        None => (through_the_store(&pipeline, args.run, id, what)?, false),
    };
    if args.json {
        out::json(&run)?;
    } else {
        out::result(&summary(&run, host))?;
    }
    Ok(End::Well)
}

pub(crate) fn retry(args: &RetryArgs) -> Result<End, Failure> {
    match (args.current, args.dry_run) {
        (true, true) => would_start_again(&args.run),
        (true, false) => start_again(&args.run),
        (false, _) => steer(&args.run, What::Retry(args.from.as_deref())),
    }
}

/// Starts a new run with the inputs of another. Only a running host can, and only if it has loaded
/// today's manifest and components.
fn start_again(args: &Args) -> Result<End, Failure> {
    let (pipeline, old) = {
        let records = Records::open(&args.path)?;
        let old = records.resolve(args.run)?;
        (records.pipeline, old)
    };
    let host = open::running_host(&pipeline, &args.path, "starts runs")?;
    if let Some(why) = loaded::differs(&host, &pipeline, &args.path)? {
        return Err(Failure::work(why));
    }
    match host.start(RunId::new(), &json!({ "rerun_of": old }))? {
        Answer::Run(run) if args.json => out::json(&run)?,
        Answer::Run(run) => out::result(&summary(&run, true))?,
        Answer::Invalid(why) | Answer::Refused(why) => {
            return Err(Failure::work(format!("the host refused to start the run again: {why}")));
        }
    }
    Ok(End::Well)
}

/// Shows what [`start_again`] would start.
fn would_start_again(args: &Args) -> Result<End, Failure> {
    let records = Records::open(&args.path)?;
    let old = records.resolve(args.run)?;
    let run = records.ask(records.store.run_summary(old))?.ok_or_else(|| records::no_such_run(args.run))?;
    let (mut artifacts, mut cursor) = (Vec::new(), None);
    loop {
        let page = records.ask(records.store.run_inputs(old, PageRequest { cursor, limit: MAX_PAGE }))?;
        artifacts.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let number = run.number;
    let refusal = match artifacts.iter().find(|input| !input.present) {
        _ if !run.state.ended() => Some(format!("run #{number} has not ended: cancel it, or wait for its end")),
        Some(input) => Some(format!("`{}` in {} was replaced or removed since the run", input.path, input.resource)),
        None => dry_run::refusal(&records.pipeline, &args.path)?,
    };
    let again = PlannedRun { partition: run.partition, artifacts };
    dry_run::would_start(&records, vec![again], refusal.as_deref(), args.json)
}

fn through_the_host(host: &Remote, id: RunId, what: What<'_>) -> Result<Value, Failure> {
    let answer = match what {
        What::Retry(Some(action)) => host.post(&format!("runs/{id}/retry"), &json!({ "from": action }))?,
        _ => host.ask(id, what.route())?,
    };
    match answer {
        Answer::Run(run) => Ok(run),
        Answer::Invalid(why) | Answer::Refused(why) => {
            Err(Failure::work(format!("the host refused to {} the run: {why}", what.route())))
        }
    }
}

/// Records the request in the store. Fails if a host has opened the store meanwhile.
fn through_the_store(pipeline: &Pipeline, asked: RunRef, id: RunId, what: What<'_>) -> Result<Value, Failure> {
    let now = SystemClock.now();
    let run = runtime()?.block_on(async {
        let store = open::for_writing(pipeline, now).await?.store;
        let run = match what {
            What::Cancel => store.request_cancel(id, now).await?,
            What::Retry(from) => {
                let again = actions_from(store.as_ref(), id, from, pipeline).await?;
                let kept =
                    KeptComponents::new(Arc::clone(&store), components::open(&pipeline.state), &pipeline.retention);
                kept.request_retry(id, &again, WriteId::new(), now).await?
            }
        };
        let run = run.ok_or_else(|| records::no_such_run(asked))?;
        RunBody::read(store.as_ref(), run).await.map_err(Failure::from)
    })?;
    serde_json::to_value(run).map_err(|error| Failure::Work(error.into()))
}

/// Describes the new state of the run, and when the rest happens.
fn summary(run: &Value, host: bool) -> String {
    let state = run.get("state").and_then(Value::as_str).unwrap_or_default();
    let number = run.get("number").and_then(Value::as_u64).unwrap_or_default();
    let then = match state {
        "succeeded" | "failed" => format!("has {state} already"),
        "cancelled" => "is cancelled already".to_owned(),
        _ if host => format!("is {state}"),
        _ => format!("is {state}; no host is running, so the rest happens at the next `anacostia run`"),
    };
    format!("{} {}\n", Cell::new(format!("Run #{number}")).style(styles::STRONG), Cell::new(then))
}
