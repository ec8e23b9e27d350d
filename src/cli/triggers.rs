//! `anacostia triggers`: what the triggers wait for.

use serde_json::Value;

use super::load::{PathArg, load_for_records};
use super::remote::Remote;
use super::runtime::runtime;
use super::{End, Failure, open, out, show};
use crate::base::{Clock as _, SystemClock};
use crate::scheduler::{Preview, preview_triggers};
use crate::store;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show what each trigger would do now, why, and when it could fire next
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    path: PathArg,
    /// Print the triggers as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn triggers(args: Args) -> Result<End, Failure> {
    let args = args.verb.map_or(args.list, |Verb::List(args)| args);
    let pipeline = load_for_records(&args.path)?;
    let holder = open::holder(&pipeline)?;
    let triggers = if let Some(holder) = &holder {
        // The manifest in force may be another one than the file.
        of_host(&open::remote(holder)?)?
    } else {
        let now = SystemClock.both();
        // Before the first start nothing is on record, and a host would begin with an empty store.
        let folder;
        let runtime = runtime()?;
        let store = if let Some(store) = runtime.block_on(store::open_read_only(&pipeline.store))? {
            store
        } else {
            folder = tempfile::tempdir()?;
            store::empty(folder.path(), now.time)?
        };
        runtime.block_on(preview_triggers(store.as_ref(), &pipeline, None, now))?
    };
    if args.json {
        out::json(&serde_json::json!({ "items": triggers, "next_cursor": null }))?;
    } else if triggers.is_empty() {
        out::error("There is no trigger: no resource is watched, and there is no `[triggers.NAME]`.\n");
    } else {
        out::result(&show::trigger_list(&triggers, SystemClock.now(), out::result_width()))?;
    }
    if holder.is_none() {
        let run = format!("anacostia run {}", args.path.shown());
        out::error(&format!("No host is running: this is what one would do if it started now (`{run}`).\n"));
    }
    Ok(End::Well)
}

fn of_host(host: &Remote) -> Result<Vec<Preview>, Failure> {
    let mut answer = host.get("triggers/preview")?;
    let items = answer.get_mut("items").map(Value::take).unwrap_or_default();
    serde_json::from_value(items)
        .map_err(|error| Failure::work(format!("the host at {} is of another version: {error}", host.address)))
}
