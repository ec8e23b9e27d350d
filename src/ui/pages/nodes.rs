//! The nodes of the graph in their current state, for all pages that show them.

use std::collections::BTreeMap;

use crate::base::bounds::cut;
use crate::base::{Timestamp, escape};
use crate::graph::picture::{Link, Picture, PictureEdge, PictureKind, PictureNode};
use crate::manifest::{ActionSpec, Pipeline, ResourceSpec};
use crate::model::{ActionState, NodeKind, Pause, Pending, RunAction, RunDetail};
use crate::resource::{Outage, Status, Waiting};
use crate::sandbox::Progress;
use crate::scheduler::View;
use crate::store::{PageRequest, RunQuery, StoreError};
use crate::ui::page::Refusal;
use crate::ui::svg::graph::{EdgeFace, NodeFace};
use crate::ui::{text, tone};

/// The current state of all nodes.
#[derive(Debug)]
pub(super) struct Now {
    /// The newest run, with its actions and attempts.
    pub(super) newest: Option<RunDetail>,
    pub(super) pending: BTreeMap<String, Pending>,
    pub(super) pauses: Vec<Pause>,
    pub(super) waiting: BTreeMap<String, Waiting>,
    watches: BTreeMap<String, Status>,
    /// What keeps outputs from being published.
    outages: Vec<Outage>,
    /// The progress of running actions of the newest run.
    progress: BTreeMap<String, Progress>,
    store_kind: &'static str,
    at: Timestamp,
}

/// A state: colour and icon, text, and why it is in that state.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct NodeState {
    pub(super) tone: &'static str,
    pub(super) text: String,
    pub(super) reason: Option<String>,
}

impl Now {
    pub(super) async fn look(view: &View, pipeline: &Pipeline, at: Timestamp) -> Result<Self, StoreError> {
        let first = PageRequest { cursor: None, limit: 1 };
        let newest = match view.store.runs(RunQuery::default(), first).await?.items.first() {
            Some(run) => view.store.run_progress(run.id).await?,
            None => None,
        };
        let mut pending = BTreeMap::new();
        for resource in pipeline.resources.iter().filter(|resource| resource.watch) {
            pending.insert(resource.name.clone(), view.store.pending(&resource.name).await?);
        }
        let mut reported = view.control.progress();
        let attempts = newest.iter().flat_map(|run| &run.attempts);
        let progress = attempts.filter_map(|it| Some((it.action.clone(), reported.remove(&it.id)?))).collect();
        Ok(Self {
            newest,
            pending,
            pauses: view.store.paused_nodes().await?,
            waiting: view.control.waiting(),
            watches: view.control.watches(),
            outages: view.control.outages().into_values().collect(),
            progress,
            store_kind: pipeline.store.kind(),
            at,
        })
    }

    pub(super) fn pause(&self, kind: NodeKind, name: &str) -> Option<&Pause> {
        self.pauses.iter().find(|pause| pause.kind == kind && pause.name == name)
    }

    pub(super) fn resource(&self, resource: &ResourceSpec) -> NodeState {
        let outage = self.outages.iter().find(|outage| outage.resource == resource.name);
        let (tone, text, reason) = match (resource.watch, self.watches.get(&resource.name)) {
            (true, Some(Status::Unreachable(why))) => ("bad", "unreachable", Some(why.clone())),
            _ if let Some(outage) = outage => ("bad", "unreachable", Some(outage.to_string())),
            _ if let Some(pause) = self.pause(NodeKind::Resource, &resource.name) => {
                ("pause", "paused", pause.reason.clone())
            }
            (false, _) => ("idle", "not watched", None),
            (true, None) => ("wait", "starting", None),
            (true, Some(Status::Reconciling)) => ("wait", "reconciling", None),
            (true, Some(Status::Watching)) => ("ok", "watching", None),
            (true, Some(Status::Scanning(why))) => ("wait", "scanning", Some(why.clone())),
        };
        NodeState { tone, text: text.to_owned(), reason }
    }

    /// Returns the action in the newest run.
    pub(super) fn in_newest(&self, action: &str) -> Option<&RunAction> {
        self.newest.as_ref()?.actions.iter().find(|seen| seen.name == action)
    }

    pub(super) fn action(&self, action: &ActionSpec) -> NodeState {
        let seen = self.in_newest(&action.name);
        if let Some(pause) = self.pause(NodeKind::Action, &action.name)
            && seen.is_none_or(|seen| seen.state != ActionState::Running)
        {
            return NodeState { tone: "pause", text: "paused".to_owned(), reason: pause.reason.clone() };
        }
        let Some(seen) = seen else {
            return NodeState { tone: "idle", text: "not run yet".to_owned(), reason: None };
        };
        let text = match seen.state {
            // That it is skipped every time has no reason that a person should look for.
            ActionState::Skipped if seen.not_triggered() => "not triggered".to_owned(),
            state => state.as_str().replace('_', " "),
        };
        NodeState { tone: tone::of_action(seen.state), text, reason: seen.reason.clone() }
    }

    /// Says in a few words what else is worth knowing about an action.
    fn note(&self, action: &str) -> String {
        if let Some(progress) = self.progress.get(action).filter(|it| it.fraction.is_finite()) {
            return format!("{:.0} %", progress.fraction.clamp(0.0, 1.0) * 100.0);
        }
        let attempts = self.newest.iter().flat_map(|run| &run.attempts);
        let Some(last) = attempts.filter(|attempt| attempt.action == action).max_by_key(|attempt| attempt.number)
        else {
            return String::new();
        };
        match last.ended_at {
            None if last.number > 1 => format!("attempt {}", last.number),
            None => text::span(self.at.since(last.started_at)),
            Some(_) => text::span(std::time::Duration::from_micros(last.usage.wall_time_us)),
        }
    }

    /// Returns how a node looks. `here` is the node that the page is about.
    pub(super) fn face(&self, pipeline: &Pipeline, node: &PictureNode, here: Option<&str>) -> NodeFace {
        let name = &node.name;
        let (kind, icon, href, state, note, progress) = match node.kind {
            PictureKind::Store => {
                let state = NodeState { tone: "ok", text: "ready".to_owned(), reason: None };
                ("metadata store", "database", "/settings".to_owned(), state, self.store_kind.to_owned(), None)
            }
            PictureKind::Resource => {
                let resource = pipeline.resource(name);
                let icon = resource.map_or("idle", ResourceSpec::icon);
                let count = self.pending.get(name).map_or(0, |pending| pending.count);
                let note = if count > 0 { format!("{count} waiting") } else { String::new() };
                let state = resource.map_or_else(unknown, |it| self.resource(it));
                ("resource", icon, format!("/resources/{}", text::encoded(name)), state, note, None)
            }
            PictureKind::Action => {
                let state = pipeline.action(name).map_or_else(unknown, |it| self.action(it));
                let progress = self.progress.get(name).map(|it| it.fraction);
                ("action", "gear", format!("/actions/{}", text::encoded(name)), state, self.note(name), progress)
            }
        };
        let mut title = format!("{kind} {name}: {}", state.text);
        for more in [Some(note.as_str()), state.reason.as_deref()].into_iter().flatten().filter(|it| !it.is_empty()) {
            title.push_str(", ");
            title.push_str(more);
        }
        let is_here = node.kind != PictureKind::Store && here == Some(name.as_str());
        NodeFace { href, icon, tone: state.tone, state: state.text, note, title, progress, is_here }
    }

    /// Returns how each edge looks.
    pub(super) fn edges(&self, pipeline: &Pipeline, picture: &Picture) -> Vec<EdgeFace> {
        let name = |place: usize| picture.nodes.get(place).map_or("", |node| node.name.as_str());
        let is_running = |action: &str| self.in_newest(action).is_some_and(|seen| seen.state == ActionState::Running);
        let face = |edge: &PictureEdge| {
            let (from, to) = (name(edge.from), name(edge.to));
            let is_trigger = pipeline.action(to).is_some_and(|action| action.after.iter().any(|it| it == from));
            let waiting = if is_trigger { self.pending.get(from).map_or(0, |pending| pending.count) } else { 0 };
            let is_busy = match edge.link {
                Link::Reads | Link::After => is_running(to),
                Link::Writes => is_running(from),
                Link::Root => false,
            };
            EdgeFace { waiting, is_busy }
        };
        picture.edges.iter().map(face).collect()
    }
}

fn unknown() -> NodeState {
    NodeState { tone: "idle", text: "unknown".to_owned(), reason: None }
}

/// Says that the manifest has no such node.
pub(super) fn missing(kind: NodeKind, name: &str) -> Refusal {
    let name = escape(cut(name, 100).as_bytes());
    Refusal::Missing(format!("The manifest has no {kind} {name}."))
}
