//! `anacostia store backup`: copies all that a pipeline remembers.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;
use tempfile::TempDir;

use crate::base::ByteSize;
use crate::cli::load::{PathArg, load_for_records};
use crate::cli::{End, Failure, open, out, show};
use crate::manifest::Pipeline;
use crate::store::{Copied, StoreError, Upkeep, components, logs};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder to make
    folder: PathBuf,
    #[command(flatten)]
    path: PathArg,
    /// Print what was copied as JSON
    #[arg(long)]
    json: bool,
}

/// What was copied.
struct Backup {
    records: u64,
    logs: Copied,
    components: Copied,
}

pub(crate) fn backup(args: &Args) -> Result<End, Failure> {
    let pipeline = load_for_records(&args.path)?;
    let upkeep = open::upkeep(&pipeline, &args.path.shown())?;
    let to = std::path::absolute(&args.folder).map_err(anyhow::Error::from)?;
    if fs::symlink_metadata(&to).is_ok() {
        return Err(Failure::usage(format!("{} exists already; name a folder that does not", args.folder.display())));
    }
    let copied = copy(&pipeline, upkeep.as_ref(), &to).map_err(|error| match error.downcast() {
        // It is not possible, or not this way.
        Ok(why @ StoreError::Invalid(_)) => Failure::from(why),
        Ok(why) => failed(args, why.into()),
        Err(error) => failed(args, error),
    })?;
    report(args, &pipeline, &copied)?;
    Ok(End::Well)
}

fn failed(args: &Args, error: anyhow::Error) -> Failure {
    error.context(format!("failed to back up to {}; nothing is left there", args.folder.display())).into()
}

/// Copies everything into a folder beside `to`, and gives it its name when it is whole.
fn copy(pipeline: &Pipeline, upkeep: &dyn Upkeep, to: &Path) -> anyhow::Result<Backup> {
    let parent = to.parent().context("it has no parent folder")?;
    let half = tempfile::Builder::new().prefix(".anacostia-backup-").tempdir_in(parent)?;
    let records = half.path().join(file_of(pipeline));
    // Records first: the lines and components that they name are there already.
    upkeep.back_up(&records)?;
    let copied = Backup {
        records: fs::metadata(&records)?.len(),
        logs: logs::copy(&pipeline.state, half.path()).context("logs")?,
        components: components::copy(&pipeline.state, half.path()).context("components")?,
    };
    name(half, to, parent)?;
    Ok(copied)
}

/// The file of the records in the state folder, as far as they have one.
fn file_of(pipeline: &Pipeline) -> PathBuf {
    let file = pipeline.store.local_paths().first().and_then(|path| path.file_name()).map(PathBuf::from);
    file.unwrap_or_else(|| PathBuf::from("metadata.db"))
}

fn name(half: TempDir, to: &Path, parent: &Path) -> io::Result<()> {
    File::open(half.path())?.sync_all()?;
    fs::rename(half.path(), to)?;
    // Its name has changed: there is nothing to remove.
    let _ = half.keep();
    File::open(parent)?.sync_all()
}

fn report(args: &Args, pipeline: &Pipeline, Backup { records, logs, components }: &Backup) -> io::Result<()> {
    if args.json {
        let body = |copied: &Copied| json!({"files": copied.files, "bytes": copied.bytes});
        return out::json(&json!({
            "folder": args.folder.display().to_string(), "records": {"bytes": records},
            "logs": body(logs), "components": body(components),
        }));
    }
    let part = |copied: &Copied, one: &str| format!("{} ({})", show::plural(copied.files, one), ByteSize(copied.bytes));
    let folder = show::plain(&args.folder.display().to_string());
    out::result(&format!(
        "Backed up to {folder}: the records ({}), {} and {}.\n",
        ByteSize(*records),
        part(logs, "log segment"),
        part(components, "kept component")
    ))?;
    let state = show::plain(&pipeline.state.display().to_string());
    out::error(&format!("To go back to it: stop the host, move {state} away, and copy {folder} to its place.\n"));
    Ok(())
}
