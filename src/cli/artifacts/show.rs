//! `anacostia artifacts show`.

use super::find::{ArtifactRef, find};
use crate::base::{Clock as _, SystemClock};
use crate::cli::load::PathArg;
use crate::cli::records::Records;
use crate::cli::show::{ArtifactAbout, artifact_detail};
use crate::cli::{End, Failure, out};
use crate::store::PageRequest;

/// Most uses that are shown; most artifacts have a few.
const MAX_USES: u32 = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The artifact: RESOURCE/PATH (its newest version), RESOURCE/PATH@VERSION, or its id
    artifact: ArtifactRef,
    #[command(flatten)]
    path: PathArg,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn show(args: &Args) -> Result<End, Failure> {
    let records = Records::open(&args.path)?;
    let artifact = find(&records, &args.artifact)?;
    if args.json {
        // The JSON leaves uses out: the lineage of runs has them, also over HTTP.
        out::json(&artifact)?;
        return Ok(End::Well);
    }
    let uses = records.ask(records.store.uses(artifact.id, PageRequest { cursor: None, limit: MAX_USES }))?;
    let claimed_by = match artifact.run_id {
        Some(id) => records.ask(records.store.run_summary(id))?.map(|run| run.number),
        None => None,
    };
    let about =
        ArtifactAbout { artifact: &artifact, claimed_by, uses: &uses.items, more_uses: uses.next_cursor.is_some() };
    out::result(&artifact_detail(&about, &args.path.shown(), SystemClock.now(), out::result_width()))?;
    Ok(End::Well)
}
