//! `anacostia artifacts list`.

use crate::base::{Clock as _, SystemClock};
use crate::cli::load::PathArg;
use crate::cli::records::{Records, RunRef};
use crate::cli::{End, Failure, out, show};
use crate::model::ArtifactState;
use crate::store::{ArtifactQuery, PageRequest};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    manifest: PathArg,
    /// Only of this resource
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// Only in this state: new, current, old, superseded, deleted, ignored, published
    #[arg(long)]
    state: Option<ArtifactState>,
    /// Only versions at this path in a resource
    #[arg(long = "path", value_name = "PATH")]
    at: Option<String>,
    /// Only what this run claimed: its number, its id, or `latest`
    #[arg(long)]
    run: Option<RunRef>,
    /// Only with this tag
    #[arg(long)]
    tag: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on where the page before ended
    #[arg(long)]
    cursor: Option<String>,
    /// Print the page as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn list(args: Args) -> Result<End, Failure> {
    let records = Records::open(&args.manifest)?;
    let query = ArtifactQuery {
        resource: args.resource,
        path: args.at,
        state: args.state,
        run: args.run.map(|run| records.resolve(run)).transpose()?,
        tag: args.tag,
    };
    let page = PageRequest { cursor: args.cursor, limit: args.limit };
    let page = records.ask(records.store.artifacts(query.clone(), page))?;
    if args.json {
        out::json(&page)?;
    } else if page.items.is_empty() {
        out::error(&nothing(&records, &query, &args.manifest)?);
    } else {
        out::result(&show::artifact_list(&page.items, SystemClock.now(), out::result_width()))?;
        if let Some(cursor) = page.next_cursor {
            out::error(&format!("There are more: add `--cursor {cursor}`.\n"));
        }
    }
    Ok(End::Well)
}

/// Why there may be nothing to list.
fn nothing(records: &Records, query: &ArtifactQuery, path: &PathArg) -> Result<String, Failure> {
    if *query == ArtifactQuery::default() {
        return records.nothing_yet("artifacts", path);
    }
    let resources = &records.pipeline.resources;
    match &query.resource {
        Some(name) if records.pipeline.resource(name).is_none() => {
            let known: Vec<&str> = resources.iter().map(|resource| resource.name.as_str()).collect();
            let name = show::plain(name);
            Ok(format!("no artifacts of `{name}`, which the manifest does not have; it has {}\n", known.join(", ")))
        }
        _ => Ok("no artifacts like that; leave out a filter to see more\n".to_owned()),
    }
}
