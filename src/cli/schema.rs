//! `anacostia schema`: the JSON Schema by which editors complete `anacostia.toml`.

use super::{End, Failure, out};
use crate::manifest;

/// The hint that follows the schema on a terminal.
const HINT: &str = "Keep it beside the manifest, so that editors can complete its keys: `anacostia schema > anacostia.schema.json`,\n\
                    and `#:schema ./anacostia.schema.json` as the first line of the manifest.\n";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Changes nothing: a schema is JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn schema(args: &Args) -> Result<End, Failure> {
    let mut text = serde_json::to_string_pretty(&manifest::schema()).map_err(anyhow::Error::from)?;
    text.push('\n');
    out::result(&text)?;
    if out::person_reads() && !args.json {
        out::error(HINT);
    }
    Ok(End::Well)
}
