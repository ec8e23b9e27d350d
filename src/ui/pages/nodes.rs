//! The nodes of the graph in their current state, for all pages that show them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::base::bounds::cut;
use crate::base::{AttemptId, Timestamp, escape};
use crate::graph::picture::{Link, Picture, PictureEdge, PictureKind, PictureNode};
use crate::manifest::{ActionSpec, Pipeline, ResourceSpec};
use crate::model::{ActionState, Attempt, NodeKind, Pause, Pending, RunAction, RunDetail, RunState};
use crate::resource::{Outage, Status, Waiting};
use crate::sandbox::Progress;
use crate::scheduler::View;
use crate::store::{PageRequest, RunQuery, StoreError};
use crate::ui::page::Refusal;
use crate::ui::svg::graph::{EdgeFace, NodeFace};
use crate::ui::{text, tone};

/// Most runs that work now that are looked at, the newest.
const ACTIVE: u32 = 25;

/// The current state of all nodes.
#[derive(Debug)]
pub(super) struct Now {
    /// The newest run, then the others that have started and not ended, newest first, with their
    /// actions and attempts.
    runs: Vec<RunDetail>,
    pub(super) pending: BTreeMap<String, Pending>,
    pub(super) pauses: Vec<Pause>,
    pub(super) waiting: BTreeMap<String, Waiting>,
    watches: BTreeMap<String, Status>,
    /// What keeps outputs from being published.
    outages: Vec<Outage>,
    /// The progress of running attempts.
    progress: BTreeMap<AttemptId, Progress>,
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

/// An action in the run that says most about what it does now.
pub(super) struct Seen<'a> {
    pub(super) run: &'a RunDetail,
    pub(super) action: &'a RunAction,
    /// In how many runs it is in this state, and in how many others it waits for something, if it
    /// is active at all.
    count: usize,
    waits: usize,
}

/// How active a state is; 0 if nothing happens in it.
fn activity(state: ActionState) -> u8 {
    match state {
        ActionState::Running => 4,
        ActionState::AwaitingApproval => 3,
        ActionState::Retrying => 2,
        ActionState::Ready => 1,
        _ => 0,
    }
}

impl Now {
    pub(super) async fn look(view: &View, pipeline: &Pipeline, at: Timestamp) -> Result<Self, StoreError> {
        let newest = view.store.runs(RunQuery::default(), PageRequest { cursor: None, limit: 1 }).await?.items;
        let states = vec![RunState::Running, RunState::Cancelling];
        let started = RunQuery { states, ..RunQuery::default() };
        let active = view.store.runs(started, PageRequest { cursor: None, limit: ACTIVE }).await?.items;
        let mut runs: Vec<RunDetail> = Vec::new();
        for run in newest.iter().chain(&active) {
            if !runs.iter().any(|known| known.run.id == run.id) {
                runs.extend(view.store.run_progress(run.id).await?);
            }
        }
        let mut pending = BTreeMap::new();
        for resource in pipeline.resources.iter().filter(|resource| resource.watch) {
            pending.insert(resource.name.clone(), view.store.pending(&resource.name).await?);
        }
        Ok(Self {
            runs,
            pending,
            pauses: view.store.paused_nodes().await?,
            waiting: view.control.waiting(),
            watches: view.control.watches(),
            outages: view.control.outages().into_values().collect(),
            progress: view.control.progress(),
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

    /// Returns the action in the run in which it is most active, or else in the newest run.
    pub(super) fn seen(&self, action: &str) -> Option<Seen<'_>> {
        let of_run = |run| -> Option<(&RunDetail, &RunAction)> { Some((run, find(run, action)?)) };
        let active: Vec<_> = self.runs.iter().filter_map(of_run).filter(|(_, it)| activity(it.state) > 0).collect();
        // Of equals, the first one: that is the newest.
        let most = active.iter().rev().max_by_key(|(_, it)| activity(it.state)).copied();
        let (run, action) = most.or_else(|| of_run(self.runs.first()?))?;
        let count = active.iter().filter(|(_, it)| it.state == action.state).count();
        Some(Seen { run, action, count, waits: active.len() - count })
    }

    pub(super) fn action(&self, action: &ActionSpec) -> NodeState {
        let seen = self.seen(&action.name);
        if let Some(pause) = self.pause(NodeKind::Action, &action.name)
            && seen.as_ref().is_none_or(|seen| seen.action.state != ActionState::Running)
        {
            return NodeState { tone: "pause", text: "paused".to_owned(), reason: pause.reason.clone() };
        }
        let Some(seen) = seen else {
            return NodeState { tone: "idle", text: "not run yet".to_owned(), reason: None };
        };
        let Seen { action, count, waits, .. } = seen;
        let mut text = match action.state {
            // That it is skipped every time has no reason that a person should look for.
            ActionState::Skipped if action.not_triggered() => "not triggered".to_owned(),
            state => state.as_str().replace('_', " "),
        };
        if count + waits > 1 {
            let _ = write!(text, " in {count}");
        }
        if waits > 0 {
            let _ = write!(text, ", waits in {waits}");
        }
        NodeState { tone: tone::of_action(action.state), text, reason: action.reason.clone() }
    }

    /// Returns the last attempt of an action in the run that says most about it.
    fn last_attempt(&self, action: &str) -> Option<&Attempt> {
        let attempts = self.seen(action)?.run.attempts.iter();
        attempts.filter(|attempt| attempt.action == action).max_by_key(|attempt| attempt.number)
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
                let (progress, note) = doing(self.last_attempt(name), &self.progress, self.at);
                ("action", "gear", format!("/actions/{}", text::encoded(name)), state, note, progress)
            }
        };
        let title = title(kind, name, &state, &note);
        let is_here = node.kind != PictureKind::Store && here == Some(name.as_str());
        NodeFace { href, icon, tone: state.tone, state: state.text, note, title, progress, is_here }
    }

    /// Returns how each edge looks.
    pub(super) fn edges(&self, pipeline: &Pipeline, picture: &Picture) -> Vec<EdgeFace> {
        let is_running = |action: &str| self.seen(action).is_some_and(|seen| seen.action.state == ActionState::Running);
        let waiting = |from: &str, to: &str| {
            let is_trigger = pipeline.action(to).is_some_and(|action| action.after.iter().any(|it| it == from));
            if is_trigger { self.pending.get(from).map_or(0, |pending| pending.count) } else { 0 }
        };
        edges(picture, is_running, waiting)
    }
}

/// Returns how each edge looks, by which actions run, and how much waits between two nodes.
pub(super) fn edges(
    picture: &Picture,
    is_running: impl Fn(&str) -> bool,
    waiting: impl Fn(&str, &str) -> u64,
) -> Vec<EdgeFace> {
    let name = |place: usize| picture.nodes.get(place).map_or("", |node| node.name.as_str());
    let face = |edge: &PictureEdge| {
        let (from, to) = (name(edge.from), name(edge.to));
        let is_busy = match edge.link {
            Link::Reads | Link::After => is_running(to),
            Link::Writes => is_running(from),
            Link::Root => false,
        };
        EdgeFace { waiting: waiting(from, to), is_busy }
    };
    picture.edges.iter().map(face).collect()
}

/// Returns how far an action has come, and in a few words what else is worth knowing about it, by
/// its last attempt.
pub(super) fn doing(
    last: Option<&Attempt>,
    progress: &BTreeMap<AttemptId, Progress>,
    at: Timestamp,
) -> (Option<f64>, String) {
    let Some(last) = last else { return (None, String::new()) };
    let fraction = progress.get(&last.id).map(|progress| progress.fraction);
    let note = match (fraction.filter(|it| it.is_finite()), last.ended_at) {
        (Some(fraction), _) => format!("{:.0} %", fraction.clamp(0.0, 1.0) * 100.0),
        (None, None) if last.number > 1 => format!("attempt {}", last.number),
        (None, None) => text::span(at.since(last.started_at)),
        (None, Some(_)) => text::span(Duration::from_micros(last.usage.wall_time_us)),
    };
    (fraction, note)
}

/// Returns everything about a node in one line: its kind, name and state, and what else is known.
pub(super) fn title(kind: &str, name: &str, state: &NodeState, note: &str) -> String {
    let mut title = format!("{kind} {name}: {}", state.text);
    for more in [Some(note), state.reason.as_deref()].into_iter().flatten().filter(|it| !it.is_empty()) {
        title.push_str(", ");
        title.push_str(more);
    }
    title
}

fn find<'a>(run: &'a RunDetail, action: &str) -> Option<&'a RunAction> {
    run.actions.iter().find(|seen| seen.name == action)
}

/// Returns the state of a node of which nothing is known.
pub(super) fn unknown() -> NodeState {
    NodeState { tone: "idle", text: "unknown".to_owned(), reason: None }
}

/// Says that the manifest has no such node.
pub(super) fn missing(kind: NodeKind, name: &str) -> Refusal {
    let name = escape(cut(name, 100).as_bytes());
    Refusal::Missing(format!("The manifest has no {kind} {name}."))
}
