//! `anacostia trigger`: starts a run by hand.
//!
//! Only a running host starts runs, so it is asked over HTTP. The run claims the artifacts that are
//! new, as a run that a trigger starts does; there may be none. With `--inputs` it claims nothing,
//! and works on artifacts that are on record, again.

mod select;

use serde_json::{Map, Value, json};

use crate::base::{Clock as _, RunId, SystemClock, first_large_integer};
use crate::cli::load::PathArg;
use crate::cli::records::Records;
use crate::cli::remote::{self, Answer};
use crate::cli::show::{Cell, styles};
use crate::cli::{End, Failure, open, out, show};
use crate::model::{Artifact, ArtifactState};

/// Most artifacts of one run: beyond that, several runs are started.
const MAX_INPUTS: usize = 1_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// A param for this run alone, over those of the manifest: JSON, or else a string
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = param)]
    params: Vec<(String, Value)>,
    /// Work on recorded artifacts again, whoever claimed them: RESOURCE, or RESOURCE/GLOB
    #[arg(long, value_name = "PATTERN", value_parser = select::pattern)]
    inputs: Vec<select::Pattern>,
    /// With `--inputs`: only those in this state, such as new, current, old, published
    #[arg(long, requires = "inputs")]
    state: Option<ArtifactState>,
    /// With `--inputs`: only those recorded since a date, a time, or a span such as 7d
    #[arg(long, value_name = "DATE", requires = "inputs")]
    since: Option<String>,
    /// With `--inputs`: list the artifacts, and start nothing
    #[arg(long, requires = "inputs")]
    dry_run: bool,
    /// Wait until the run has ended; exit with 1 unless it succeeded
    #[arg(long)]
    wait: bool,
    /// Print the run as JSON
    #[arg(long)]
    json: bool,
}

/// Parses `KEY=VALUE`. A value that is not JSON is a string, so that words need no quotes.
fn param(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as `-p learning_rate=0.01`")?;
    if key.is_empty() {
        return Err("the name before `=` is empty".to_owned());
    }
    let Ok(json) = serde_json::from_str(value) else { return Ok((key.to_owned(), value.into())) };
    match first_large_integer(value) {
        None => Ok((key.to_owned(), json)),
        Some(number) => {
            Err(format!("{number} does not fit into 64 bits: write it as a string, `-p '{key}=\"{number}\"'`"))
        }
    }
}

pub(crate) fn trigger(args: &Args) -> Result<End, Failure> {
    let mut params = Map::new();
    for (key, value) in &args.params {
        if params.insert(key.clone(), value.clone()).is_some() {
            return Err(Failure::usage(format!("the param `{key}` is given twice")));
        }
    }
    let records = Records::open(&args.path)?;
    let starts = match args.inputs.as_slice() {
        [] => vec![json!({ "params": params })],
        patterns => {
            let since = match &args.since {
                Some(text) => {
                    let since = select::since(text, SystemClock.now());
                    Some(since.map_err(|why| Failure::usage(format!("`--since {text}` is not a time: {why}")))?)
                }
                None => None,
            };
            let selected = select::select(&records, patterns, args.state, since)?;
            if selected.is_empty() {
                return Err(Failure::work("no artifact on record that still lies in its resource matches"));
            }
            if args.dry_run {
                return would_start(&selected);
            }
            let ids: Vec<_> = selected.iter().map(|artifact| artifact.id).collect();
            ids.chunks(MAX_INPUTS).map(|ids| json!({ "params": params, "inputs": ids })).collect()
        }
    };
    let pipeline = records.pipeline;
    let Some(holder) = open::holder(&pipeline)? else {
        return Err(Failure::work(format!(
            "no host is running, and only a host starts runs: start one with `anacostia run {}`",
            args.path.shown()
        )));
    };
    let Some(address) = holder.listen.as_deref() else {
        return Err(Failure::work("a host is just starting or stopping; try again in a moment"));
    };
    let mut end = End::Well;
    for how in starts {
        let run = start(address, &how, args.wait)?;
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

/// Starts one run, and waits for its end if that is asked for.
fn start(address: &str, how: &Value, wait: bool) -> Result<Value, Failure> {
    let id = RunId::new();
    let mut run = match remote::start(address, id, how)? {
        Answer::Run(run) => run,
        Answer::Refused(why) => return Err(Failure::work(format!("the host refused to start a run: {why}"))),
    };
    while wait && !has_ended(&run) {
        run = remote::get(address, &format!("runs/{id}?wait=20s"))?;
    }
    Ok(run)
}

/// Lists the artifacts that runs would be started on.
fn would_start(selected: &[Artifact]) -> Result<End, Failure> {
    out::result(&show::artifact_list(selected, SystemClock.now(), out::result_width()))?;
    let runs = selected.len().div_ceil(MAX_INPUTS);
    out::error(&format!(
        "Without `--dry-run`: {} on {}.\n",
        show::plural(runs as u64, "run"),
        show::plural(selected.len() as u64, "artifact")
    ));
    Ok(End::Well)
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
    use super::{json, param, summary};

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
        ] {
            let name = text.split('=').next().unwrap().to_owned();
            assert_eq!(param(text), Ok((name, value)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_param_is_refused_with_the_form_to_write() {
        assert_eq!(param("rate").unwrap_err(), "write KEY=VALUE, such as `-p learning_rate=0.01`");
        assert_eq!(param("=1").unwrap_err(), "the name before `=` is empty");
        assert_eq!(
            param("id=18446744073709551616").unwrap_err(),
            "18446744073709551616 does not fit into 64 bits: write it as a string, `-p 'id=\"18446744073709551616\"'`"
        );
    }

    #[test]
    fn the_state_of_the_run_is_one_line() {
        let line = |run| anstream::adapter::strip_str(&summary(&run)).to_string();
        assert_eq!(line(json!({ "number": 3, "state": "queued" })), "Run #3 is queued\n");
        assert_eq!(line(json!({ "number": 3, "state": "succeeded" })), "Run #3 has succeeded\n");
        assert_eq!(
            line(json!({ "number": 3, "state": "failed", "reason": "train failed: no data" })),
            "Run #3 has failed: train failed: no data\n"
        );
    }
}
