//! `anacostia models register`.

use serde_json::{Value, json};

use super::target::By;
use crate::base::{Clock as _, SystemClock, check_name};
use crate::cli::artifacts::{ArtifactRef, find};
use crate::cli::load::PathArg;
use crate::cli::records::Records;
use crate::cli::remote::segment;
use crate::cli::runtime::runtime;
use crate::cli::show::{Cell, styles};
use crate::cli::{End, Failure, open, out};
use crate::http::bodies::one_version;
use crate::manifest::Pipeline;
use crate::model::Artifact;
use crate::store::NewModelVersion;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model, which is created if there is none of this name
    #[arg(value_parser = model_name)]
    model: String,
    /// The artifact: RESOURCE/PATH (its newest version), RESOURCE/PATH@VERSION, or its id
    artifact: ArtifactRef,
    #[command(flatten)]
    path: PathArg,
    #[command(flatten)]
    by: By,
    /// Print the version as JSON
    #[arg(long)]
    json: bool,
}

/// Checks that a model can have this name.
pub(super) fn model_name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

pub(crate) fn register(args: &Args) -> Result<End, Failure> {
    let (pipeline, artifact) = {
        let records = Records::open(&args.path)?;
        let artifact = find(&records, &args.artifact)?;
        (records.pipeline, artifact)
    };
    let (by, note) = args.by.texts();
    let new = NewModelVersion { model: args.model.clone(), artifact: artifact.id, by, note };
    let version = match open::holder(&pipeline)? {
        Some(holder) => {
            let body = json!({ "artifact_id": new.artifact, "by": new.by, "note": new.note });
            open::remote(&holder)?.change(&format!("models/{}/versions", segment(&new.model)), &body)?
        }
        None => through_the_store(&pipeline, &new)?,
    };
    if args.json {
        out::json(&version)?;
    } else {
        out::result(&summary(&args.model, &version, &artifact))?;
    }
    Ok(End::Well)
}

/// Registers the version in the store. Fails if a host has opened the store meanwhile.
fn through_the_store(pipeline: &Pipeline, new: &NewModelVersion) -> Result<Value, Failure> {
    let now = SystemClock.now();
    let version = runtime()?.block_on(async {
        let store = open::for_writing(pipeline, now).await?.store;
        let version = store.register_version(new.clone(), now).await?;
        one_version(store.as_ref(), &new.model, version).await.map_err(Failure::from)
    })?;
    serde_json::to_value(version).map_err(|error| Failure::Work(error.into()))
}

fn summary(model: &str, version: &Value, artifact: &Artifact) -> String {
    let number = version.get("version").and_then(Value::as_u64).unwrap_or_default();
    let Artifact { resource, path, version, .. } = artifact;
    let name = Cell::new(format!("{model} version {number}")).style(styles::STRONG);
    format!("{name} {}\n", Cell::new(format!("is {resource}/{path} v{version}")))
}
