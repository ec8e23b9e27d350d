//! `anacostia trigger`: starts a run by hand.
//!
//! Only a running host starts runs, so it is asked over HTTP. The run claims the artifacts that are
//! new, as a run that a trigger starts does; there may be none.

use serde_json::{Map, Value, json};

use crate::base::{RunId, first_large_integer};
use crate::cli::load::PathArg;
use crate::cli::records::Records;
use crate::cli::remote::{self, Answer};
use crate::cli::show::{Cell, styles};
use crate::cli::{End, Failure, open, out};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// A param for this run alone, over those of the manifest: JSON, or else a string
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = param)]
    params: Vec<(String, Value)>,
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
    let pipeline = Records::open(&args.path)?.pipeline;
    let Some(holder) = open::holder(&pipeline)? else {
        return Err(Failure::work(format!(
            "no host is running, and only a host starts runs: start one with `anacostia run {}`",
            args.path.shown()
        )));
    };
    let Some(address) = holder.listen.as_deref() else {
        return Err(Failure::work("a host is just starting or stopping; try again in a moment"));
    };
    let mut params = Map::new();
    for (key, value) in &args.params {
        if params.insert(key.clone(), value.clone()).is_some() {
            return Err(Failure::usage(format!("the param `{key}` is given twice")));
        }
    }
    let id = RunId::new();
    let mut run = match remote::start(address, id, &json!({ "params": params }))? {
        Answer::Run(run) => run,
        Answer::Refused(why) => return Err(Failure::work(format!("the host refused to start a run: {why}"))),
    };
    while args.wait && !has_ended(&run) {
        run = remote::get(address, &format!("runs/{id}?wait=20s"))?;
    }
    if args.json {
        out::json(&run)?;
    } else {
        out::result(&summary(&run))?;
    }
    let failed = args.wait && state(&run) != "succeeded";
    Ok(if failed { End::WorkFailed } else { End::Well })
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
