//! `anacostia gc`: gives back disk space that nothing needs any more.

use std::collections::BTreeSet;

use serde_json::json;

use super::load::PathArg;
use super::records::{self, Records};
use super::{End, Failure, build, open, out, show};
use crate::base::{ByteSize, Clock as _, Digest, SystemClock};
use crate::sandbox::{Trimmed, default_cache_folder, trim_compiled_code};
use crate::scheduler::remove_unneeded_components;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Print what was removed as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn gc(args: &Args) -> Result<End, Failure> {
    // Fails if nothing is on record yet: there is nothing to give back then, and no store to be made.
    let pipeline = Records::open(&args.path)?.pipeline;
    let used = pipeline.actions.iter().filter_map(|action| Some(build::identity(&action.component)?.1));
    let in_force: BTreeSet<Digest> = used.collect();
    let folder = pipeline.state.join("components");
    let components = records::runtime()?.block_on(async {
        // A host binds runs to components at any time: it must not be at work, and none may start meanwhile.
        let host = open::for_writing(&pipeline, SystemClock.now())?;
        let removed = remove_unneeded_components(host.store.as_ref(), &folder, &in_force, args.dry_run).await;
        removed.map_err(Failure::from)
    })?;
    let failed = |why: std::io::Error| Failure::work(format!("the folder of compiled code can not be read: {why}"));
    let mut compiled = trim_compiled_code(&default_cache_folder(), args.dry_run).map_err(failed)?;
    let here = trim_compiled_code(&pipeline.state.join("compiled"), args.dry_run).map_err(failed)?;
    compiled.files += here.files;
    compiled.bytes += here.bytes;
    if args.json {
        out::json(&json!({"dry_run": args.dry_run, "components": body(components), "compiled_code": body(compiled)}))?;
    } else {
        out::result(&told(args.dry_run, components, compiled))?;
    }
    Ok(End::Well)
}

fn body(trimmed: Trimmed) -> serde_json::Value {
    json!({"files": trimmed.files, "bytes": trimmed.bytes})
}

fn told(dry_run: bool, components: Trimmed, compiled: Trimmed) -> String {
    let done = if dry_run { "Would remove" } else { "Removed" };
    let part =
        |trimmed: Trimmed, one: &str| format!("{} ({})", show::plural(trimmed.files, one), ByteSize(trimmed.bytes));
    format!("{done} {} and {} of compiled code.\n", part(components, "kept component"), part(compiled, "file"))
}
