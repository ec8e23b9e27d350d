//! `anacostia replay`: does the work of a run again, and compares the outputs.

use std::sync::Arc;

use serde_json::json;

use super::load::PathArg;
use super::progress::Progress;
use super::records::{Records, RunRef};
use super::show::{Cell, Column, Table, plural, styles};
use super::{End, Failure, open, out};
use crate::base::SystemClock;
use crate::scheduler::{Replayed, Replays, Verdict};
use crate::store::{components, logs};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run: its number, its id, or `latest`
    run: RunRef,
    #[command(flatten)]
    path: PathArg,
    /// Replay only this action
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn replay(args: &Args) -> Result<End, Failure> {
    let records = Records::open(&args.path)?;
    let run = records.run(args.run)?;
    let number = run.run.number;
    if !run.run.state.ended() {
        return Err(Failure::usage(format!("run #{number} has not ended: it is `{}`", run.run.state)));
    }
    let scratch = tempfile::Builder::new().prefix("anacostia-replay-").tempdir()?;
    let replays = Replays {
        pipeline: &records.pipeline,
        store: Arc::clone(&records.store),
        logs: logs::open(scratch.path(), records.pipeline.max_log_bytes)?,
        components: components::open(&records.pipeline.state),
        executor: Arc::new(open::sandbox(&records.pipeline)?),
        clock: Arc::new(SystemClock),
        scratch: scratch.path(),
    };
    let progress = Progress::wait(&format!("replaying run #{number}"));
    let replayed = records.wait(async {
        tokio::select! {
            replayed = replays.run(&run, args.action.as_deref()) => replayed.map_err(|error| Failure::Work(error.into())),
            // So that the scratch folder is removed.
            _ = tokio::signal::ctrl_c() => Err(Failure::work("interrupted")),
        }
    });
    drop(progress);
    let replayed = replayed?;
    if replayed.is_empty() {
        let what = args.action.as_ref().map_or("no action".to_owned(), |name| format!("no attempt of `{name}`"));
        return Err(Failure::usage(format!("run #{number} has {what} to replay; see `anacostia runs show {number}`")));
    }
    if args.json {
        out::json(&json!({ "run": number, "actions": replayed }))?;
    } else {
        out::result(&render(&replayed, out::result_width()))?;
    }
    let is_identical = |it: &Replayed| matches!(it.verdict, Verdict::Identical { .. });
    Ok(if replayed.iter().all(is_identical) { End::Well } else { End::WorkFailed })
}

fn render(replayed: &[Replayed], width: usize) -> String {
    let mut table = Table::new(&[("action", Column::Word), ("replay", Column::Word), ("", Column::Prose)]);
    for Replayed { action, verdict, .. } in replayed {
        let (word, text, hints) = match verdict {
            Verdict::Identical { outputs } => {
                (Cell::new("identical").style(styles::GOOD), plural(*outputs, "output"), &[][..])
            }
            Verdict::Different { difference, hints } => {
                (Cell::new("different").style(styles::BAD), difference.to_string(), &**hints)
            }
            Verdict::Failed { reason, hints } => (Cell::new("failed").style(styles::BAD), reason.clone(), &**hints),
            Verdict::Impossible { reason } => (Cell::new("impossible").style(styles::BAD), reason.clone(), &[][..]),
        };
        table.row(vec![Cell::new(action), word, Cell::new(text)]);
        for hint in hints {
            table.row(vec![Cell::new(""), Cell::new(""), Cell::new(hint).style(styles::FAINT)]);
        }
    }
    table.render(width)
}
