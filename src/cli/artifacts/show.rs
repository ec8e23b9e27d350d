//! `anacostia artifacts show`.

use serde_json::Value;

use super::find::{ArtifactRef, find};
use crate::base::{Clock as _, SystemClock};
use crate::cli::load::PathArg;
use crate::cli::records::Records;
use crate::cli::show::{ArtifactAbout, artifact_detail};
use crate::cli::{End, Failure, out};
use crate::model::{Artifact, Page};
use crate::store::{ArtifactUse, PageRequest};

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
    let limit = if args.json { crate::base::bounds::MAX_PAGE } else { MAX_USES };
    let uses = records.ask(records.store.uses(artifact.id, PageRequest { cursor: None, limit }))?;
    if args.json {
        out::json(&json(&artifact, &uses)?)?;
        return Ok(End::Well);
    }
    let claimed_by = match artifact.run_id {
        Some(id) => records.ask(records.store.run(id))?.map(|detail| detail.run.number),
        None => None,
    };
    let about =
        ArtifactAbout { artifact: &artifact, claimed_by, uses: &uses.items, more_uses: uses.next_cursor.is_some() };
    out::result(&artifact_detail(&about, &args.path.shown(), SystemClock.now(), out::result_width()))?;
    Ok(End::Well)
}

/// The record as the HTTP interface has it, with who used it, newest first.
fn json(artifact: &Artifact, uses: &Page<ArtifactUse>) -> Result<Value, Failure> {
    let value = |value: Result<Value, serde_json::Error>| value.map_err(|error| Failure::Work(error.into()));
    let mut record = value(serde_json::to_value(artifact))?;
    if let Some(fields) = record.as_object_mut() {
        fields.insert("uses".to_owned(), value(serde_json::to_value(&uses.items))?);
    }
    Ok(record)
}
