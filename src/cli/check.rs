//! `anacostia check`: checks a manifest, and shows what it means.

use serde_json::json;

use super::load::{PathArg, load};
use super::{End, Failure, out, show};
use crate::graph::Graph;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn check(args: &Args) -> Result<End, Failure> {
    let loaded = load(&args.path);
    if args.json {
        return check_for_programs(loaded);
    }
    out::result(&show::pipeline_summary(&loaded?, out::result_width()))?;
    Ok(End::Well)
}

/// Prints the result as JSON. Problems are the result here, so they go to standard output too; the
/// exit code is the same as without `--json`.
fn check_for_programs(loaded: Result<crate::manifest::Pipeline, Failure>) -> Result<End, Failure> {
    match loaded {
        Ok(pipeline) => {
            let graph = Graph::of(&pipeline);
            let order: Vec<&str> = graph.order().iter().map(|place| graph.name(*place)).collect();
            let resources: Vec<&str> = pipeline.resources.iter().map(|resource| resource.name.as_str()).collect();
            out::json(&json!({"ok": true, "pipeline": pipeline.name, "resources": resources, "actions": order}))?;
            Ok(End::Well)
        }
        Err(Failure::Manifest(problems)) => {
            let list: Vec<_> = problems
                .list()
                .iter()
                .map(|problem| {
                    let place = problem.location().map(|place| json!({"line": place.line, "column": place.column}));
                    json!({"message": problem.message(), "advice": problem.advice(), "place": place})
                })
                .collect();
            out::json(&json!({"ok": false, "file": problems.file(), "problems": list}))?;
            Err(Failure::Manifest(problems))
        }
        Err(other) => Err(other),
    }
}
