//! `/runs/{run}/graph`: the graph of the manifest that the run began with, and what became of each
//! node in this run.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;

use super::top::{self, Tab, Top};
use crate::base::{ArtifactId, AttemptId, Clock as _, SystemClock, Timestamp};
use crate::graph::picture::{PictureKind, PictureNode};
use crate::manifest::{Pipeline, ResourceSpec};
use crate::model::{AccessKind, ActionState, RunAction, RunDetail};
use crate::sandbox::Progress;
use crate::scheduler::{View, pipeline_of_run};
use crate::store::{PageRequest, StoreError};
use crate::ui::drawings::Drawing;
use crate::ui::page::{self, Result};
use crate::ui::pages::graph::{self, GraphView};
use crate::ui::pages::nodes::{self, NodeState};
use crate::ui::svg::graph::NodeFace;
use crate::ui::{Pages, look, text};

/// Reads and writes that are counted. If there are more, the graph says what was used, and not how
/// much.
const USES: u32 = 500;

#[derive(Debug, Serialize)]
struct Content {
    top: Top,
    graph: Option<GraphView>,
    /// Why there is no graph.
    missing: Option<String>,
}

/// The artifacts that a run has read and written in one resource.
#[derive(Debug, Default)]
struct Used {
    read: BTreeSet<ArtifactId>,
    wrote: BTreeSet<ArtifactId>,
}

/// What is on record about a run.
struct Scene<'a> {
    pipeline: &'a Pipeline,
    detail: &'a RunDetail,
    progress: BTreeMap<AttemptId, Progress>,
    used: BTreeMap<String, Used>,
    /// Whether `used` has all of it.
    is_counted: bool,
    at: Timestamp,
}

/// `GET /runs/{run}/graph`
pub(in crate::ui) async fn show(State(pages): State<Pages>, Path(name): Path<String>) -> Response {
    let gathered = gather(&pages, &name).await;
    page::answer(&pages, gathered.map(|(detail, content)| (top::head(&detail, "run_graph.html"), content))).await
}

async fn gather(pages: &Pages, name: &str) -> Result<(RunDetail, Content)> {
    let view = &pages.view;
    let detail = top::find(view, name).await?;
    let top = Top::gather(view, &detail, Tab::Graph).await?;
    let in_force = view.pipeline();
    let read = pipeline_of_run(view.store.as_ref(), &detail.run, &in_force);
    let (graph, missing) = match pages.drawings.of_revision(detail.run.revision, read).await {
        Ok(Some((pipeline, drawing))) => (Some(draw(view, &detail, &pipeline, &drawing).await?), None),
        Ok(None) => (None, None),
        Err(StoreError::Conflict(why)) => (None, Some(why)),
        Err(error) => return Err(error.into()),
    };
    Ok((detail, Content { top, graph, missing }))
}

async fn draw(view: &View, detail: &RunDetail, pipeline: &Pipeline, drawing: &Drawing) -> Result<GraphView> {
    let run = &detail.run;
    let uses = view.store.lineage(run.id, PageRequest { cursor: None, limit: USES }).await?;
    let mut used: BTreeMap<String, Used> = BTreeMap::new();
    for edge in uses.items {
        let of_resource = used.entry(edge.artifact.resource).or_default();
        match edge.kind {
            AccessKind::Read => of_resource.read.insert(edge.artifact.id),
            AccessKind::Wrote => of_resource.wrote.insert(edge.artifact.id),
        };
    }
    let (progress, is_counted, at) = (view.control.progress(), uses.next_cursor.is_none(), SystemClock.now());
    let scene = Scene { pipeline, detail, progress, used, is_counted, at };
    let faces: Vec<NodeFace> = drawing.picture.nodes.iter().map(|node| scene.face(node)).collect();
    let is_running = |name: &str| scene.action(name).is_some_and(|it| it.state == ActionState::Running);
    let edges = nodes::edges(&drawing.picture, is_running, |_, _| 0);
    Ok(graph::view(drawing, &faces, &edges, &format!("Graph of run {}", run.number)))
}

impl Scene<'_> {
    fn action(&self, name: &str) -> Option<&RunAction> {
        self.detail.actions.iter().find(|action| action.name == name)
    }

    /// Returns how a node looks. It leads to what is on record about it in this run.
    fn face(&self, node: &PictureNode) -> NodeFace {
        let (name, run) = (&node.name, format!("/runs/{}", self.detail.run.number));
        let (kind, icon, href, state, (progress, note)) = match node.kind {
            PictureKind::Store => {
                let state = NodeState { tone: "ok", text: "has the events".to_owned(), reason: None };
                ("metadata store", "database", format!("{run}/events"), state, (None, String::new()))
            }
            PictureKind::Resource => {
                let icon = self.pipeline.resource(name).map_or("idle", ResourceSpec::icon);
                ("resource", icon, format!("{run}/artifacts"), self.resource(name), (None, String::new()))
            }
            PictureKind::Action => {
                let last = self.detail.attempts.iter().rfind(|attempt| attempt.action == *name);
                let state = self.action(name).map_or_else(nodes::unknown, action_state);
                let href = format!("{run}#action-{}", text::encoded(name));
                ("action", "gear", href, state, nodes::doing(last, &self.progress, self.at))
            }
        };
        let title = nodes::title(kind, name, &state, &note);
        NodeFace { href, icon, tone: state.tone, state: state.text, note, title, progress, is_here: false }
    }

    /// Says what the run has used of a resource. What an attempt uses is on record when it ends.
    fn resource(&self, name: &str) -> NodeState {
        let active = !self.detail.run.state.ended();
        let parts = self.used.get(name).map(|used| {
            let part = |artifacts: &BTreeSet<ArtifactId>, word: &str| match artifacts.len() {
                0 => None,
                count if self.is_counted => Some(format!("{count} {word}")),
                _ => Some(word.to_owned()),
            };
            [part(&used.read, "read"), part(&used.wrote, "written")].into_iter().flatten().collect::<Vec<_>>()
        });
        let (tone, text) = match parts {
            Some(parts) => ("ok", parts.join(", ")),
            None if active || !self.is_counted => ("idle", "nothing on record".to_owned()),
            None => ("idle", "not used".to_owned()),
        };
        NodeState { tone, text, reason: None }
    }
}

fn action_state(action: &RunAction) -> NodeState {
    // That it is skipped every time has no reason that a person should look for.
    if action.not_triggered() {
        return NodeState { tone: "skip", text: "not triggered".to_owned(), reason: None };
    }
    let (tone, text) = look::action(action);
    NodeState { tone, text: text.to_owned(), reason: action.reason.clone() }
}
