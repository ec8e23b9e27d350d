//! `anacostia trigger`: starts a run by hand.
//!
//! Only a running host starts runs, so it is asked over HTTP. The run claims the artifacts that are
//! new, as a run that a trigger starts does; there may be none. With `--inputs` it claims nothing,
//! and works on artifacts that are on record, again.

mod plan;
mod select;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use plan::plan;

use crate::base::{Clock as _, RunId, SystemClock, first_beyond_64_bits};
use crate::cli::dry_run::{self, PlannedRun};
use crate::cli::load::PathArg;
use crate::cli::records::Records;
use crate::cli::remote::{Answer, Remote, segment};
use crate::cli::show::{Cell, styles};
use crate::cli::{End, Failure, loaded, open, out, show};
use crate::model::{ActionState, Artifact, ArtifactState, NodeKind};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// A param for this run alone, over those of the manifest: JSON, or else a string
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = param)]
    params: Vec<(String, Value)>,
    /// Claim what is new in this resource alone, whatever its trigger waits for
    #[arg(long, value_name = "NAME", conflicts_with = "inputs")]
    resource: Option<String>,
    /// Work on recorded artifacts again, whichever run claimed them: RESOURCE, or RESOURCE/GLOB
    #[arg(long, value_name = "PATTERN", value_parser = select::pattern)]
    inputs: Vec<select::Pattern>,
    /// With `--inputs`: only those in this state, such as new, current, old, published
    #[arg(long, requires = "inputs")]
    state: Option<ArtifactState>,
    /// With `--inputs`: only those recorded since a date, a time, or a span such as 7d
    #[arg(long, value_name = "DATE", requires = "inputs")]
    since: Option<String>,
    /// With `--inputs`: list the artifacts and the runs, and start nothing
    #[arg(long, requires = "inputs")]
    dry_run: bool,
    /// Wait until the run has ended; exit with 1 unless it succeeded
    #[arg(long)]
    wait: bool,
    /// Print the run as JSON, and with `--dry-run` the artifacts and the runs
    #[arg(long)]
    json: bool,
}

/// How long the host waits for the end of a run before it answers. Short, so that a host that does
/// not answer at all is noticed soon.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Parses `KEY=VALUE`. A value that is not JSON is a string, so that words need no quotes.
fn param(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as `-p learning_rate=0.01`")?;
    if key.is_empty() {
        return Err("the name before `=` is empty".to_owned());
    }
    // A raw value accepts each number: one that is too large is refused below, and is not a string.
    if serde_json::from_str::<&RawValue>(value).is_err() {
        return Ok((key.to_owned(), value.into()));
    }
    match first_beyond_64_bits(value) {
        None => Ok((key.to_owned(), serde_json::from_str(value).map_err(|why| why.to_string())?)),
        Some(number) => {
            Err(format!("{number} does not fit into 64 bits: write it as a string, `-p '{key}=\"{number}\"'`"))
        }
    }
}

pub(crate) fn trigger(args: &Args) -> Result<End, Failure> {
    let params = params(args)?;
    let records = Records::open(&args.path)?;
    let starts = if args.inputs.is_empty() {
        vec![json!({ "params": params })]
    } else {
        let planned = plan(&records.pipeline, selected(args, &records)?);
        if args.dry_run {
            let refusal = dry_run::refusal(&records.pipeline, &args.path)?;
            return dry_run::would_start(&records, planned, refusal.as_deref(), args.json);
        }
        let ids = |run: &PlannedRun| run.artifacts.iter().map(|artifact| artifact.id).collect::<Vec<_>>();
        planned.iter().map(|run| json!({ "params": params, "inputs": ids(run) })).collect()
    };
    let host = open::running_host(&records.pipeline, &args.path, "starts runs")?;
    if let Some(why) = loaded::differs(&host, &records.pipeline, &args.path)? {
        if !args.inputs.is_empty() {
            // Work is done again because something was mended, so it must be done with that.
            return Err(Failure::work(why));
        }
        let mark = Cell::new("warning:").style(styles::WARN);
        out::error(&format!("{mark} {why}\n"));
    }
    let mut end = End::Well;
    for how in starts {
        let run = start(&host, &how, args)?;
        if args.json {
            out::json(&run)?;
        } else {
            out::result(&summary(&run))?;
        }
        if args.wait && state(&run) != "succeeded" {
            end = End::WorkFailed;
        }
    }
    Ok(end)
}

fn params(args: &Args) -> Result<Map<String, Value>, Failure> {
    let mut params = Map::new();
    for (key, value) in &args.params {
        if params.insert(key.clone(), value.clone()).is_some() {
            return Err(Failure::usage(format!("the param `{key}` is given twice")));
        }
    }
    Ok(params)
}

/// Returns the artifacts to work on, at least one.
fn selected(args: &Args, records: &Records) -> Result<Vec<Artifact>, Failure> {
    let since = args.since.as_deref().map(|text| {
        select::since(text, SystemClock.now())
            .map_err(|why| Failure::usage(format!("`--since {text}` is not a time: {why}")))
    });
    let selected = select::select(records, &args.inputs, args.state, since.transpose()?)?;
    if selected.is_empty() {
        return Err(Failure::work("no recorded artifact that is still in its resource matches"));
    }
    Ok(selected)
}

/// Starts one run, and waits for its end if that is asked for.
fn start(host: &Remote, how: &Value, args: &Args) -> Result<Value, Failure> {
    let started = match &args.resource {
        Some(name) => host.post(&format!("resources/{}/trigger", segment(name)), how)?,
        None => host.start(RunId::new(), how)?,
    };
    let mut run = match started {
        Answer::Run(run) => run,
        Answer::Invalid(why) => return Err(Failure::usage(why)),
        Answer::Refused(why) => return Err(Failure::work(format!("the host refused to start a run: {why}"))),
    };
    let id = run.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut told = BTreeSet::new();
    while args.wait && !has_ended(&run) {
        run = host.get_within(&format!("runs/{id}?wait={}s", ASK_EVERY.as_secs()), ASK_EVERY)?;
        for (what, line) in holds(&run, &args.path.shown()) {
            if told.insert(what) {
                out::error(&line);
            }
        }
    }
    Ok(run)
}

/// Returns what holds the run back until a person acts, which may take days: what that is, to tell
/// each once, and the line for the user.
fn holds(run: &Value, path: &str) -> Vec<(String, String)> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(show::plain).unwrap_or_default();
    let number = run.get("number").and_then(Value::as_u64).unwrap_or_default();
    let place = &show::plain(path);
    let path = show::beside(place);
    let hold = |action: &Value| {
        let [name, state, reason] = ["name", "state", "reason"].map(|key| text(action, key));
        if state == ActionState::AwaitingApproval.as_str() {
            let since = action.get("approval").map(|approval| text(approval, "since")).unwrap_or_default();
            let approve = format!("`anacostia runs approve {number} {name}{path}`, or `reject`");
            return Some((format!("{name} {since}"), format!("Run #{number}: {name} {reason}; {approve}.\n")));
        }
        let resume = show::resume_command(place, Some((NodeKind::Action, &name)));
        show::is_paused(&state, &reason)
            .then(|| (format!("{name} {reason}"), format!("Run #{number}: {name} is {reason}; `{resume}`.\n")))
    };
    run.get("actions").and_then(Value::as_array).into_iter().flatten().filter_map(hold).collect()
}

fn state(run: &Value) -> &str {
    run.get("state").and_then(Value::as_str).unwrap_or_default()
}

fn has_ended(run: &Value) -> bool {
    matches!(state(run), "succeeded" | "failed" | "cancelled")
}

/// Describes the run in one line.
fn summary(run: &Value) -> String {
    let number = run.get("number").and_then(Value::as_u64).unwrap_or_default();
    let then = match state(run) {
        ended @ ("succeeded" | "failed") => format!("has {ended}"),
        other => format!("is {other}"),
    };
    let why = run.get("reason").and_then(Value::as_str).map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} {}\n", Cell::new(format!("Run #{number}")).style(styles::STRONG), Cell::new(then + &why))
}

#[cfg(test)]
mod tests {
    use super::{holds, json, param, summary};

    #[test]
    fn a_param_is_json_or_else_a_string() {
        for (text, value) in [
            ("rate=0.1", json!(0.1)),
            ("deep=true", json!(true)),
            ("layers=[64,32]", json!([64, 32])),
            ("name=ada lovelace", json!("ada lovelace")),
            ("name=\"7\"", json!("7")),
            ("equation=a=b", json!("a=b")),
            ("empty=", json!("")),
            ("until=1e400 or so", json!("1e400 or so")),
        ] {
            let name = text.split('=').next().unwrap().to_owned();
            assert_eq!(param(text), Ok((name, value)), "{text}");
        }
    }

    #[test]
    fn an_invalid_param_is_refused_with_the_expected_form() {
        assert_eq!(param("rate").unwrap_err(), "write KEY=VALUE, such as `-p learning_rate=0.01`");
        assert_eq!(param("=1").unwrap_err(), "the name before `=` is empty");
        assert_eq!(
            param("id=18446744073709551616").unwrap_err(),
            "18446744073709551616 does not fit into 64 bits: write it as a string, `-p 'id=\"18446744073709551616\"'`"
        );
        for text in ["seed=1e400", "seed=[0, 1e400]", "seed={\"of\": 1e400}"] {
            let said = "1e400 does not fit into 64 bits: write it as a string, `-p 'seed=\"1e400\"'`";
            assert_eq!(param(text).unwrap_err(), said, "{text}");
        }
    }

    #[test]
    fn what_holds_a_run_back_is_told_with_the_command_that_ends_it() {
        let asks = |name: &str, since: &str| {
            let approval = json!({ "who": "data team", "since": since });
            json!({ "name": name, "state": "awaiting_approval", "reason": "waits for approval: data team", "approval": approval })
        };
        let ready = |name: &str, reason: &str| json!({ "name": name, "state": "ready", "reason": reason });
        let run = |actions: &[serde_json::Value]| json!({ "number": 3, "state": "running", "actions": actions });
        let lines = |run, path| holds(&run, path).into_iter().map(|(_, line)| line).collect::<Vec<_>>();
        let both = run(&[asks("publish", "1"), ready("train", "paused since 2026-03-01 12:00 UTC: no GPU")]);
        assert_eq!(
            lines(both.clone(), "."),
            [
                "Run #3: publish waits for approval: data team; `anacostia runs approve 3 publish`, or `reject`.\n",
                "Run #3: train is paused since 2026-03-01 12:00 UTC: no GPU; `anacostia resume --action train`.\n",
            ]
        );
        let elsewhere = lines(both, "a/b").concat();
        assert!(elsewhere.contains("approve 3 publish a/b`") && elsewhere.contains("resume a/b --action train`"));
        let goes_on = [ready("a", "waits for gpu (1 of 1 in use)"), ready("b", "approved by ann")];
        assert!(lines(run(&goes_on), ".").is_empty());
        let failed = json!({ "name": "a", "state": "failed", "reason": "paused since then" });
        assert!(lines(run(&[failed]), ".").is_empty());

        let what = |action| holds(&run(&[action]), ".").remove(0).0;
        assert_eq!(what(asks("publish", "1")), what(asks("publish", "1")));
        assert_ne!(what(asks("publish", "1")), what(asks("publish", "2")), "a retry asks anew");
        assert_ne!(what(asks("publish", "1")), what(asks("tell", "1")));
        let paused = |since: u32| ready("train", &format!("paused since {since}"));
        assert_ne!(what(paused(1)), what(paused(2)));
    }

    #[test]
    fn the_run_state_is_shown_on_one_line() {
        let line = |run| anstream::adapter::strip_str(&summary(&run)).to_string();
        assert_eq!(line(json!({ "number": 3, "state": "queued" })), "Run #3 is queued\n");
        assert_eq!(line(json!({ "number": 3, "state": "succeeded" })), "Run #3 has succeeded\n");
        assert_eq!(
            line(json!({ "number": 3, "state": "failed", "reason": "train failed: no data" })),
            "Run #3 has failed: train failed: no data\n"
        );
    }
}
