//! `anacostia runs approve` and `anacostia runs reject`.
//!
//! As with `cancel`, a running host is asked over HTTP; without one, the decision is recorded in
//! the store, and the next host acts on it.

use serde_json::{Value, json};

use crate::base::{Clock as _, RunId, SystemClock, WriteId};
use crate::cli::load::PathArg;
use crate::cli::records::{self, Records, RunRef};
use crate::cli::remote::Answer;
use crate::cli::show::{Cell, styles};
use crate::cli::{End, Failure, open, out};
use crate::http::bodies::RunBody;
use crate::manifest::Pipeline;
use crate::model::{Decision, RunDetail, Verdict};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run: its number, its id, or `latest`
    run: RunRef,
    /// The action; may be left out if only one of the run waits for approval
    #[arg(value_name = "ACTION")]
    action: Option<String>,
    #[command(flatten)]
    path: PathArg,
    /// Who decides [default: the user's name, from USER]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Print the run as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Returns the action and the PATH. What has a `.` or a `/` in it is no name of an action, so
    /// the action was left out.
    fn places(&self) -> (Option<&str>, PathArg) {
        match &self.action {
            Some(path) if path.contains(['.', '/']) => (None, PathArg::from(path)),
            action => (action.as_deref(), self.path.clone()),
        }
    }
}

pub(crate) fn decide(args: &Args, verdict: Verdict) -> Result<End, Failure> {
    let (action, path) = args.places();
    let (pipeline, id, number, action) = {
        let records = Records::open(&path)?;
        let detail = records.run(args.run)?;
        let action = find_action(&detail, action)?;
        (records.pipeline, detail.run.id, detail.run.number, action)
    };
    let user = std::env::var("USER").ok();
    let by = args.by.as_deref().or(user.as_deref());
    let decision = Decision::new(verdict, by, args.note.as_deref(), SystemClock.now());
    let (run, host) = match open::holder(&pipeline)? {
        Some(holder) => {
            let route = if verdict == Verdict::Approved { "approve" } else { "reject" };
            let path = format!("runs/{id}/actions/{action}/{route}");
            match open::remote(&holder)?.post(&path, &json!({ "by": decision.by, "note": decision.note }))? {
                Answer::Run(run) => (run, true),
                Answer::Invalid(why) | Answer::Refused(why) => {
                    return Err(Failure::work(format!("the host refused to {route} `{action}`: {why}")));
                }
            }
        }
        None => (through_the_store(&pipeline, args.run, id, &action, &decision)?, false),
    };
    if args.json {
        out::json(&run)?;
    } else {
        let run = Cell::new(format!("Run #{number}")).style(styles::STRONG);
        let then = if host { "" } else { "; no host is running, so the rest happens at the next `anacostia run`" };
        out::result(&format!("{run} {}\n", Cell::new(format!("{action} is {verdict}{then}"))))?;
    }
    Ok(End::Well)
}

/// Returns the action that is meant: this one, or the only one that waits.
fn find_action(detail: &RunDetail, named: Option<&str>) -> Result<String, Failure> {
    let number = detail.run.number;
    let names = |waiting: bool| {
        let actions = detail.actions.iter().filter(|action| !waiting || action.awaited().is_some());
        actions.map(|action| action.name.as_str()).collect::<Vec<_>>()
    };
    match (named, names(true).as_slice()) {
        (Some(name), _) if names(false).contains(&name) => Ok(name.to_owned()),
        (Some(name), _) => {
            let known = names(false).join(", ");
            Err(Failure::usage(format!("run #{number} has no action `{name}`; it has {known}")))
        }
        (None, [only]) => Ok((*only).to_owned()),
        (None, []) => {
            let state = detail.run.state;
            Err(Failure::work(format!("no action of run #{number} waits for approval; the run is {state}")))
        }
        (None, several) => {
            let names = several.join(", ");
            Err(Failure::usage(format!("several actions of run #{number} wait for approval, so name one: {names}")))
        }
    }
}

/// Records the decision in the store. Fails if a host has opened the store meanwhile.
fn through_the_store(
    pipeline: &Pipeline,
    asked: RunRef,
    id: RunId,
    action: &str,
    decision: &Decision,
) -> Result<Value, Failure> {
    let run = records::runtime()?.block_on(async {
        let store = open::for_writing(pipeline, decision.at)?.store;
        store.decide_approval(id, action, decision.clone(), WriteId::new()).await.map_err(Failure::from)
    })?;
    let run = run.ok_or_else(|| records::no_such_run(asked))?;
    serde_json::to_value(RunBody::from(run)).map_err(|error| Failure::Work(error.into()))
}
