//! `anacostia pause` and `anacostia resume`: of the pipeline, one resource, or one action.
//!
//! A running host is asked over HTTP, because it has to act at once. If none is running, the pause
//! is recorded in the store, and the next host starts with it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::base::{Clock as _, SystemClock};
use crate::cli::load::PathArg;
use crate::cli::records::Records;
use crate::cli::remote::segment;
use crate::cli::runtime::runtime;
use crate::cli::show::{Cell, plain, resume_command, styles};
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
    /// This action: no attempt of it starts, and other actions continue
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

/// What is paused before the request.
struct Paused {
    pipeline: bool,
    nodes: Vec<Pause>,
}

impl Paused {
    fn read(records: &Records) -> Result<Self, Failure> {
        let pipeline = records.ask(records.store.paused())?;
        Ok(Self { pipeline, nodes: records.ask(records.store.paused_nodes())? })
    }

    fn has(&self, node: Option<(NodeKind, &str)>) -> bool {
        node.map_or(self.pipeline, |(kind, name)| self.nodes.iter().any(|it| it.kind == kind && it.name == name))
    }
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
    let (pipeline, before) = {
        // Also says if nothing is on record yet.
        let records = Records::open(&args.path)?;
        let before = Paused::read(&records)?;
        (records.pipeline, before)
    };
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
        out::result(&summary(args, what, &before, host))?;
    }
    Ok(End::Well)
}

/// Records the request in the store. Fails if a host has opened the store meanwhile.
fn through_the_store(pipeline: &Pipeline, node: Option<(NodeKind, &str)>, what: &What) -> Result<Value, Failure> {
    let now = SystemClock.now();
    runtime()?.block_on(async {
        let store = open::for_writing(pipeline, now).await?.store;
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

/// Describes the new state, and what else is paused.
fn summary(args: &Args, what: &What, before: &Paused, host: bool) -> String {
    let (node, path) = (args.node(), args.path.shown());
    let later = if host { "" } else { ", from the next `anacostia run` on" };
    let (who, means) = match node {
        None => ("The pipeline".to_owned(), "triggers start no run"),
        Some((NodeKind::Resource, name)) => (strong(name), "what arrives in it waits"),
        Some((NodeKind::Action, name)) => (strong(name), "no attempt of it starts"),
    };
    let ends = |node| format!("`{}` ends that", resume_command(&plain(&path), node));
    if let What::Pause(_) = what {
        return format!("{who} is paused: {means}{later}; {}\n", ends(node));
    }
    let mut text =
        if before.has(node) { format!("{who} is resumed{later}\n") } else { format!("{who} was not paused\n") };
    if node.is_some() && before.pipeline {
        let _ = writeln!(text, "The pipeline stays paused; {}", ends(None));
    }
    for pause in before.nodes.iter().filter(|_| node.is_none()) {
        let why = plain(&pause.describe());
        let _ = writeln!(text, "{} stays {why}; {}", strong(&pause.name), ends(Some((pause.kind, &pause.name))));
    }
    text
}

fn strong(name: &str) -> String {
    Cell::new(name).style(styles::STRONG).to_string()
}
