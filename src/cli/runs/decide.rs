//! `anacostia runs approve` and `anacostia runs reject`.
//!
//! As with `cancel`, a running host is asked over HTTP; without one, the decision is recorded in
//! the store, and the next host acts on it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::base::{Clock as _, RunId, SystemClock, WriteId};
use crate::cli::load::PathArg;
use crate::cli::records::{self, Records, RunRef};
use crate::cli::remote::Answer;
use crate::cli::runtime::runtime;
use crate::cli::show::{Cell, plain, styles};
use crate::cli::{End, Failure, open, out};
use crate::http::bodies::RunBody;
use crate::manifest::Pipeline;
use crate::model::{Approval, Decision, RunAction, RunDetail, Verdict};
use crate::store::{AwaitingApproval, PageRequest};

/// Most actions of other runs that a message names.
const MAX_NAMED: u32 = 5;

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
    /// Returns the action and the PATH. What has a `.` or a `/` in it is not the name of an action,
    /// so the action was left out.
    fn places(&self) -> (Option<&str>, PathArg) {
        match &self.action {
            Some(path) if path.contains(['.', '/']) => (None, PathArg::from(path)),
            action => (action.as_deref(), self.path.clone()),
        }
    }
}

pub(crate) fn decide(args: &Args, verdict: Verdict) -> Result<End, Failure> {
    let (action, path) = args.places();
    let user = std::env::var("USER").ok();
    let by = args.by.as_deref().or(user.as_deref());
    let decision = Decision::new(verdict, by, args.note.as_deref(), SystemClock.now());
    let (pipeline, id, number, action) = {
        let records = Records::open(&path)?;
        let detail = records.run(args.run)?;
        // One more than are named tells whether there are more.
        let first = PageRequest { cursor: None, limit: MAX_NAMED + 1 };
        let waiting = records.ask(records.store.awaiting_approval(first))?.items;
        let action = find_action(&detail, action, &decision, &waiting)?;
        (records.pipeline, detail.run.id, detail.run.number, action)
    };
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

/// Returns the action that is meant: this one, or the only one that waits, or else the last one
/// about which exactly this was decided, so that the same command may be given twice. `waiting` are
/// actions that wait, of all runs, for the message.
fn find_action(
    detail: &RunDetail,
    named: Option<&str>,
    decision: &Decision,
    waiting: &[AwaitingApproval],
) -> Result<String, Failure> {
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
        (None, []) => match decided_before(detail, decision) {
            Some(action) => Ok(action.name.clone()),
            None => Err(Failure::work(none_waits(detail, waiting))),
        },
        (None, several) => {
            let names = several.join(", ");
            Err(Failure::usage(format!("several actions of run #{number} wait for approval, so name one: {names}")))
        }
    }
}

/// Returns the action about which exactly this was decided, the last one if there are several.
fn decided_before<'a>(detail: &'a RunDetail, decision: &Decision) -> Option<&'a RunAction> {
    let decided = detail.actions.iter().filter_map(|action| {
        let before = action.approvals.last()?.decision.as_ref().filter(|it| it.says_the_same(decision))?;
        Some((before.at, action))
    });
    decided.max_by_key(|(at, _)| *at).map(|(_, action)| action)
}

/// Describes that no action of the run waits for approval: what was decided, and what does wait.
fn none_waits(detail: &RunDetail, waiting: &[AwaitingApproval]) -> String {
    let (number, state) = (detail.run.number, detail.run.state);
    let mut text = format!("no action of run #{number} waits for approval; the run is {state}");
    for action in &detail.actions {
        if let Some(outcome) = action.approvals.last().and_then(Approval::outcome) {
            let _ = write!(text, "; {}: {}", action.name, plain(&outcome));
        }
    }
    let mut named: Vec<String> =
        waiting.iter().take(MAX_NAMED as usize).map(|it| format!("{} of run #{}", it.action, it.run_number)).collect();
    if waiting.len() > named.len() {
        named.push("others (see `anacostia runs list`)".to_owned());
    }
    if named.is_empty() { text } else { format!("{text}. Waiting for approval: {}", named.join(", ")) }
}

/// Records the decision in the store. Fails if a host has opened the store meanwhile.
fn through_the_store(
    pipeline: &Pipeline,
    asked: RunRef,
    id: RunId,
    action: &str,
    decision: &Decision,
) -> Result<Value, Failure> {
    let run = runtime()?.block_on(async {
        let store = open::for_writing(pipeline, decision.at).await?.store;
        let run = store.decide_approval(id, action, decision.clone(), WriteId::new()).await?;
        let run = run.ok_or_else(|| records::no_such_run(asked))?;
        RunBody::read(store.as_ref(), run).await.map_err(Failure::from)
    })?;
    serde_json::to_value(run).map_err(|error| Failure::Work(error.into()))
}

#[cfg(test)]
mod tests {
    use super::find_action;
    use crate::base::{Digest, RunId, Timestamp};
    use crate::cli::Failure;
    use crate::model::{ActionState, Approval, Decision, Run, RunAction, RunDetail, RunState, Verdict};
    use crate::store::AwaitingApproval;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn approval(decision: Option<Decision>) -> Approval {
        Approval { who: "data team".to_owned(), since: at(0), until: None, decision }
    }

    fn decision(verdict: Verdict, by: &str, note: Option<&str>) -> Decision {
        Decision::new(verdict, Some(by), note, at(1))
    }

    /// Returns a run with actions about which this was decided.
    fn run(decisions: &[(&str, Option<Decision>)]) -> RunDetail {
        let actions = decisions.iter().map(|(name, decision)| RunAction {
            state: if decision.is_some() { ActionState::Succeeded } else { ActionState::Pending },
            approvals: decision.iter().map(|it| approval(Some(it.clone()))).collect(),
            ..RunAction::pending(name)
        });
        let run = Run {
            id: RunId::new(),
            number: 2,
            state: RunState::Succeeded,
            trigger: String::new(),
            params: serde_json::json!({}),
            revision: Digest::of(b""),
            snapshot: 0,
            created_at: at(0),
            started_at: None,
            ended_at: None,
            reason: None,
            rerun_of: None,
            fired_by: Vec::new(),
            partition: None,
            trimmed_at: None,
        };
        RunDetail { run, actions: actions.collect(), attempts: Vec::new() }
    }

    fn message(found: Result<String, Failure>) -> String {
        match found {
            Err(Failure::Work(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn waits(run_number: u64, action: &str) -> AwaitingApproval {
        AwaitingApproval { run_id: RunId::new(), run_number, action: action.to_owned(), approval: approval(None) }
    }

    #[test]
    fn the_same_decision_again_is_about_the_same_action() {
        let (fine, later) = (decision(Verdict::Approved, "ann", Some("fine")), at(9));
        let again = Decision { at: later, ..fine.clone() };
        let once = run(&[("train", None), ("publish", Some(fine.clone())), ("tell", None)]);
        assert_eq!(find_action(&once, None, &again, &[]).unwrap(), "publish");
        let twice = run(&[("train", Some(fine.clone())), ("publish", Some(Decision { at: at(2), ..fine }))]);
        assert_eq!(find_action(&twice, None, &again, &[]).unwrap(), "publish", "the last one");
        for other in [
            decision(Verdict::Rejected, "ann", Some("fine")),
            decision(Verdict::Approved, "bob", Some("fine")),
            decision(Verdict::Approved, "ann", None),
        ] {
            let error = message(find_action(&once, None, &other, &[]));
            let wanted = "no action of run #2 waits for approval; the run is succeeded; publish: approved by ann: fine";
            assert_eq!(error, wanted);
        }
        let mut asked_anew = once;
        asked_anew.actions[0].state = ActionState::AwaitingApproval;
        asked_anew.actions[0].approvals.push(approval(None));
        assert_eq!(find_action(&asked_anew, None, &again, &[]).unwrap(), "train", "what waits comes first");
    }

    #[test]
    fn without_a_waiting_action_those_of_other_runs_are_named() {
        let run = run(&[("train", None)]);
        let error = |waiting: &[AwaitingApproval]| {
            message(find_action(&run, None, &decision(Verdict::Approved, "ann", None), waiting))
        };
        let none = "no action of run #2 waits for approval; the run is succeeded";
        assert_eq!(error(&[]), none);
        assert_eq!(error(&[waits(1, "publish")]), format!("{none}. Waiting for approval: publish of run #1"));
        let several = [waits(1, "publish"), waits(1, "tell"), waits(3, "publish")];
        let named = "publish of run #1, tell of run #1, publish of run #3";
        assert_eq!(error(&several), format!("{none}. Waiting for approval: {named}"));
        let many: Vec<_> = (3..9).map(|number| waits(number, "a")).collect();
        let end = "a of run #6, a of run #7, others (see `anacostia runs list`)";
        assert!(error(&many).ends_with(end), "{}", error(&many));
    }
}
