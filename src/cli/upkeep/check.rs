//! `anacostia store check`: whether the records are whole.

use serde_json::json;

use crate::cli::load::{PathArg, load_for_records};
use crate::cli::show::plain;
use crate::cli::{End, Failure, open, out};
use crate::store::components;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn check(args: &Args) -> Result<End, Failure> {
    let pipeline = load_for_records(&args.path)?;
    let mut wrong = open::upkeep(&pipeline, &args.path.shown())?.check()?;
    wrong.extend(components::check(&pipeline.state).map_err(anyhow::Error::from)?);
    if args.json {
        out::json(&json!({"whole": wrong.is_empty(), "wrong": wrong}))?;
    } else if wrong.is_empty() {
        out::result("The records and the kept components are whole.\n")?;
    } else {
        let lines: String = wrong.iter().map(|line| plain(line) + "\n").collect();
        out::result(&lines)?;
    }
    Ok(if wrong.is_empty() { End::Well } else { End::WorkFailed })
}
