//! `anacostia artifacts lineage`.

use super::find::{ArtifactRef, find};
use crate::cli::load::PathArg;
use crate::cli::records::Records;
use crate::cli::show::lineage_trees;
use crate::cli::{End, Failure, out};
use crate::store::{LineageSide, MAX_LINEAGE_DEPTH, walk_lineage};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The artifact: RESOURCE/PATH (its newest version), RESOURCE/PATH@VERSION, or its id
    artifact: ArtifactRef,
    #[command(flatten)]
    path: PathArg,
    /// How many attempts in a row are followed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LINEAGE_DEPTH)))]
    depth: u32,
    /// Only what it was made from
    #[arg(long, conflicts_with = "down")]
    up: bool,
    /// Only what was made from it
    #[arg(long)]
    down: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn lineage(args: &Args) -> Result<End, Failure> {
    let records = Records::open(&args.path)?;
    let artifact = find(&records, &args.artifact)?;
    let mut sides = Vec::new();
    if !args.down {
        sides.push(LineageSide::Before);
    }
    if !args.up {
        sides.push(LineageSide::After);
    }
    let walked = records.ask(walk_lineage(records.store.as_ref(), artifact.id, &sides, args.depth))?;
    // The record was there just now, and records of artifacts are not removed.
    let Some(lineage) = walked else { return Ok(End::Well) };
    if args.json {
        out::json(&lineage)?;
    } else {
        out::result(&lineage_trees(&lineage, !args.down, !args.up))?;
    }
    Ok(End::Well)
}
