//! `anacostia artifacts list`.

use crate::base::{Clock as _, RunId, SystemClock};
use crate::cli::load::PathArg;
use crate::cli::records::{Records, RunRef};
use crate::cli::show::RunOutputs;
use crate::cli::{End, Failure, out, show};
use crate::model::{Artifact, ArtifactState};
use crate::store::{ArtifactQuery, PageRequest};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    manifest: PathArg,
    /// Only of this resource
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// Only in this state: new, current, old, superseded, deleted, ignored, published, not_taken
    #[arg(long)]
    state: Option<ArtifactState>,
    /// Only versions at this path in a resource
    #[arg(long = "path", value_name = "PATH")]
    at: Option<String>,
    /// Only the inputs and outputs of this run (as JSON its inputs): its number, its id, or
    /// `latest`
    #[arg(long)]
    run: Option<RunRef>,
    /// Only with this tag
    #[arg(long)]
    tag: Option<String>,
    /// What was found and cannot be recorded yet, such as files that are still open for writing: a
    /// running host is asked
    #[arg(long, conflicts_with_all = ["state", "at", "run", "tag", "cursor"])]
    waiting: bool,
    /// At most this many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Continue where the previous page ended
    #[arg(long)]
    cursor: Option<String>,
    /// Print the page as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn list(args: Args) -> Result<End, Failure> {
    if args.waiting {
        return super::waiting::list(&args.manifest, args.resource.as_deref(), args.json);
    }
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
        return Ok(End::Well);
    }
    let outputs = match query.run {
        // Outputs come after the last of the inputs.
        Some(run) if page.next_cursor.is_none() => Some(records.outputs(run)?),
        _ => None,
    };
    let outputs =
        outputs.iter().flat_map(RunOutputs::published).map(|edge| &edge.artifact).filter(|it| is_asked_for(it, &query));
    let outputs: Vec<&Artifact> = outputs.collect();
    if page.items.is_empty() && outputs.is_empty() {
        out::error(&nothing(&records, &query, &args.manifest)?);
    } else {
        show_all(&page.items, &outputs, query.run, args.limit)?;
        if let Some(cursor) = page.next_cursor {
            out::error(&format!("There are more: add `--cursor {cursor}`.\n"));
        }
    }
    Ok(End::Well)
}

/// Whether an output of the run matches the other filters of the query.
fn is_asked_for(artifact: &Artifact, query: &ArtifactQuery) -> bool {
    query.resource.as_ref().is_none_or(|name| *name == artifact.resource)
        && query.path.as_ref().is_none_or(|path| *path == artifact.path)
        && query.state.is_none_or(|state| state == artifact.state)
        && query.tag.as_ref().is_none_or(|tag| artifact.tags.contains(tag))
}

/// Prints the table. For a run it marks inputs, those that the run was given, and outputs, and
/// shows at most `limit` outputs.
fn show_all(inputs: &[Artifact], outputs: &[&Artifact], run: Option<RunId>, limit: u32) -> Result<(), Failure> {
    let (now, width) = (SystemClock.now(), out::result_width());
    let Some(run) = run else {
        return out::result(&show::artifact_list(inputs, now, width)).map_err(Failure::from);
    };
    let limit = limit as usize;
    let inputs = inputs.iter().map(|input| (if input.is_given_to(run) { "given" } else { "input" }, input));
    let all: Vec<_> = inputs.chain(outputs.iter().take(limit).map(|output| ("output", *output))).collect();
    out::result(&show::artifacts_of_run(&all, now, width))?;
    if let Some(more) = outputs.len().checked_sub(limit).filter(|more| *more > 0) {
        out::error(&format!("There are {more} more outputs: raise `--limit`, or name a `--resource`.\n"));
    }
    Ok(())
}

/// Returns the message for an empty list, with a likely reason.
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
