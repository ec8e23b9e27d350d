//! `anacostia store stats`: what the records take on disk.

use serde_json::json;

use crate::base::ByteSize;
use crate::cli::load::{PathArg, load_for_records};
use crate::cli::show::{Cell, Column, Table};
use crate::cli::{End, Failure, open, out};
use crate::store::StorePart;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// Print the parts as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn stats(args: &Args) -> Result<End, Failure> {
    let pipeline = load_for_records(&args.path)?;
    let parts = open::upkeep(&pipeline, &args.path.shown())?.parts()?;
    if args.json {
        let body = |part: &StorePart| json!({"name": part.name, "count": part.count, "bytes": part.bytes});
        out::json(&json!({"items": parts.iter().map(body).collect::<Vec<_>>()}))?;
    } else {
        out::result(&table(&parts))?;
    }
    Ok(End::Well)
}

fn table(parts: &[StorePart]) -> String {
    let mut table = Table::new(&[("PART", Column::Word), ("COUNT", Column::Number), ("SIZE", Column::Number)]);
    for part in parts {
        let count = if part.count == 0 { "–".to_owned() } else { part.count.to_string() };
        table.row(vec![Cell::new(part.name), Cell::new(count), Cell::new(ByteSize(part.bytes).to_string())]);
    }
    let all = parts.iter().map(|part| part.bytes).sum();
    table.row(vec![Cell::new("all"), Cell::new(""), Cell::new(ByteSize(all).to_string())]);
    table.render(out::result_width())
}
