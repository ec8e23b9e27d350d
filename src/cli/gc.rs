//! `anacostia gc`: frees disk space that is no longer needed.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::load::PathArg;
use super::records::Records;
use super::runtime::runtime;
use super::{End, Failure, build, open, out, show};
use crate::base::{ByteSize, Clock as _, Digest, Freed, SystemClock};
use crate::scheduler::{GivenBack, KeptComponents, Space};
use crate::store::{HostStore, components, logs};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// Only print what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Print what was removed as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn gc(args: &Args) -> Result<End, Failure> {
    // Fails if nothing is on record yet: there is nothing to free then, and no store is created.
    let pipeline = Records::open(&args.path)?.pipeline;
    let used = pipeline.components().filter_map(|used| Some(build::identity(used.file)?.1));
    let in_force: BTreeSet<Digest> = used.collect();
    let given_back = runtime()?.block_on(async {
        // A host binds runs to components at any time: none may be running, and none may start
        // meanwhile.
        let HostStore { store, lease: _lease } = open::for_host(&pipeline, SystemClock.now()).await?;
        let space = Space {
            components: KeptComponents::new(Arc::clone(&store), components::open(&pipeline.state)),
            store,
            logs: logs::open(&pipeline.state, pipeline.max_log_bytes)?,
            compiled: open::compiled_code(&pipeline).into(),
        };
        Ok::<_, Failure>(space.give_back(&in_force, args.dry_run).await)
    })?;
    let GivenBack { components, logs, compiled_code } = given_back;
    let (components, logs, compiled) = (components?, logs?, compiled_code?);
    if args.json {
        let body = |freed: Freed| json!({"files": freed.files, "bytes": freed.bytes});
        let (components, logs, compiled) = (body(components), body(logs), body(compiled));
        let dry_run = args.dry_run;
        out::json(&json!({"dry_run": dry_run, "components": components, "logs": logs, "compiled_code": compiled}))?;
    } else {
        out::result(&summary(args.dry_run, components, logs, compiled))?;
    }
    Ok(End::Well)
}

fn summary(dry_run: bool, components: Freed, logs: Freed, compiled: Freed) -> String {
    let done = if dry_run { "Would remove" } else { "Removed" };
    let part = |freed: Freed, one: &str| format!("{} ({})", show::plural(freed.files, one), ByteSize(freed.bytes));
    let (components, logs) = (part(components, "kept component"), part(logs, "log segment"));
    format!("{done} {components}, {logs} and {} of compiled code.\n", part(compiled, "file"))
}
