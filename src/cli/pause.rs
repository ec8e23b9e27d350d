//! `anacostia pause` and `anacostia resume`: of the pipeline, one resource, or one action.
//!
//! A running host is asked over HTTP, because it has to act at once. If none is running, the pause
//! is recorded in the store, and the next host starts with it.

use serde_json::{Value, json};

use crate::base::{Clock as _, SystemClock};
use crate::cli::load::PathArg;
use crate::cli::records::{self, Records};
use crate::cli::show::{Cell, plain, styles};
use crate::cli::{End, Failure, open, out};
use crate::http::bodies::PauseBody;
use crate::manifest::{Pipeline, nearest};
use crate::model::{NodeKind, Pause};

#[derive(Debug, clap::Args)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    what: Args,
    /// Why, for those who see the pause
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    what: Args,
}

#[derive(Debug, clap::Args)]
struct Args {
    #[command(flatten)]
    path: PathArg,
    /// This watched resource: what arrives in it is recorded and waits
    #[arg(long, value_name = "NAME", group = "node")]
    resource: Option<String>,
    /// This action: no attempt of it starts, and other actions go on
    #[arg(long, value_name = "NAME", group = "node")]
    action: Option<String>,
    /// Print the new state as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    /// The node that is meant, if it is not the pipeline.
    fn node(&self) -> Option<(NodeKind, &str)> {
        let resource = self.resource.as_deref().map(|name| (NodeKind::Resource, name));
        resource.or(self.action.as_deref().map(|name| (NodeKind::Action, name)))
    }
}

/// What is requested.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Pause(Option<String>),
    Resume,
}

pub(crate) fn pause(args: &PauseArgs) -> Result<End, Failure> {
    if args.reason.is_some() && args.what.node().is_none() {
        return Err(Failure::usage(
            "`--reason` needs `--resource` or `--action`: a pause of the whole pipeline has no reason",
        ));
    }
    change(&args.what, &What::Pause(args.reason.clone().filter(|reason| !reason.is_empty())))
}

fn reason(text: &str) -> Result<String, String> {
    Ok(Pause::reason(text)?.unwrap_or_default())
}

pub(crate) fn resume(args: &ResumeArgs) -> Result<End, Failure> {
    change(&args.what, &What::Resume)
}

fn change(args: &Args, what: &What) -> Result<End, Failure> {
    // Also says if nothing is on record yet.
    let pipeline = Records::open(&args.path)?.pipeline;
    let (state, host) = match open::holder(&pipeline)? {
        Some(holder) => {
            let (verb, body) = match what {
                What::Pause(reason) => ("pause", reason.as_ref().map_or(json!({}), |it| json!({ "reason": it }))),
                What::Resume => ("resume", json!({})),
            };
            let place = match args.node() {
                None => "pipeline".to_owned(),
                Some((NodeKind::Resource, name)) => format!("resources/{}", segment(name)),
                Some((NodeKind::Action, name)) => format!("actions/{}", segment(name)),
            };
            (open::remote(&holder)?.change(&format!("{place}/{verb}"), &body)?, true)
        }
        None => (through_the_store(&pipeline, args.node(), what)?, false),
    };
    if args.json {
        out::json(&state)?;
    } else {
        out::result(&summary(args.node(), what, host))?;
    }
    Ok(End::Well)
}

/// Returns a name as a part of a path. Only valid names can be known to the host; all other
/// characters are escaped.
fn segment(name: &str) -> String {
    let part = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    name.bytes().map(part).collect()
}

/// Records the request in the store. Fails if a host has opened the store meanwhile.
fn through_the_store(pipeline: &Pipeline, node: Option<(NodeKind, &str)>, what: &What) -> Result<Value, Failure> {
    let now = SystemClock.now();
    records::runtime()?.block_on(async {
        let store = open::for_writing(pipeline, now)?.store;
        let Some((kind, name)) = node else {
            let paused = *what != What::Resume;
            store.set_paused(paused, now).await?;
            return Ok(json!({ "state": if paused { "paused" } else { "running" } }));
        };
        let is_paused = |known: &[Pause]| known.iter().any(|pause| pause.kind == kind && pause.name == name);
        let pause = match what {
            What::Pause(reason) => {
                check(pipeline, kind, name)?;
                Some(store.pause_node(kind, name, reason.clone(), now).await?)
            }
            What::Resume => {
                if !is_paused(&store.paused_nodes().await?) {
                    check_name(pipeline, kind, name)?;
                }
                store.resume_node(kind, name, now).await?;
                None
            }
        };
        let body = PauseBody::new(kind, name.to_owned(), pause.as_ref());
        serde_json::to_value(body).map_err(|error| Failure::Work(error.into()))
    })
}

/// Checks that a node can be paused.
fn check(pipeline: &Pipeline, kind: NodeKind, name: &str) -> Result<(), Failure> {
    check_name(pipeline, kind, name)?;
    if kind == NodeKind::Resource && pipeline.resource(name).is_some_and(|resource| !resource.watch) {
        return Err(Failure::work(format!("`{name}` is not watched, so nothing in it waits for a run")));
    }
    Ok(())
}

/// Checks that the manifest has the node.
fn check_name(pipeline: &Pipeline, kind: NodeKind, name: &str) -> Result<(), Failure> {
    let names: Vec<&str> = match kind {
        NodeKind::Resource => pipeline.resources.iter().map(|resource| resource.name.as_str()).collect(),
        NodeKind::Action => pipeline.actions.iter().map(|action| action.name.as_str()).collect(),
    };
    if names.contains(&name) {
        return Ok(());
    }
    let near = nearest(name, names.into_iter()).map(|near| format!("; did you mean `{near}`?"));
    Err(Failure::usage(format!("there is no {kind} `{}`{}", plain(name), near.unwrap_or_default())))
}

/// Describes the new state in one line.
fn summary(node: Option<(NodeKind, &str)>, what: &What, host: bool) -> String {
    let later = if host { "" } else { ", from the next `anacostia run` on" };
    let Some((kind, name)) = node else {
        return match what {
            What::Pause(_) => format!("The pipeline is paused: triggers start no run{later}\n"),
            What::Resume => format!("The pipeline goes on{later}\n"),
        };
    };
    let name = Cell::new(name).style(styles::STRONG);
    match (what, kind) {
        (What::Pause(_), NodeKind::Resource) => format!("{name} is paused: what arrives in it waits{later}\n"),
        (What::Pause(_), NodeKind::Action) => format!("{name} is paused: no attempt of it starts{later}\n"),
        (What::Resume, _) => format!("{name} goes on{later}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn a_name_cannot_leave_its_part_of_the_path() {
        assert_eq!(segment("data_store-1"), "data_store-1");
        assert_eq!(segment("../a?b ä"), "%2E%2E%2Fa%3Fb%20%C3%A4");
    }
}
