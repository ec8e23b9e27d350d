//! The graph on a page: the drawing, and the same as a list.

use std::sync::Arc;

use serde::Serialize;

use super::nodes::Now;
use crate::graph::layout::Layout;
use crate::graph::picture::{Link, PictureKind};
use crate::manifest::Pipeline;
use crate::ui::Pages;
use crate::ui::drawings::Drawing;
use crate::ui::svg::graph::{EdgeFace, NodeFace, draw};

/// The graph of a page.
#[derive(Debug, Serialize)]
pub(super) struct GraphView {
    /// The drawing for wide windows, and that for narrow ones.
    right: Option<String>,
    down: Option<String>,
    /// The same as a list, in the order of the manifest.
    rows: Vec<NodeRow>,
    /// Whether something works: its progress is no event, so the page has to ask for it.
    is_busy: bool,
    /// Whether edges may show that data waits.
    has_waits: bool,
}

#[derive(Debug, Serialize)]
struct NodeRow {
    name: String,
    kind: &'static str,
    href: String,
    icon: &'static str,
    tone: &'static str,
    state: String,
    note: String,
    /// The nodes from which edges lead here, and those to which they lead from here, each with its
    /// address.
    before: Vec<(String, String)>,
    after: Vec<(String, String)>,
}

/// Returns the graph of the pipeline.
pub(super) async fn whole(pages: &Pages, pipeline: &Arc<Pipeline>, now: &Now) -> Option<GraphView> {
    let drawing = pages.drawings.get(pipeline).await?;
    Some(current(pipeline, now, &drawing, None))
}

/// Returns one node with those that are connected with it.
pub(super) async fn around(pages: &Pages, pipeline: &Arc<Pipeline>, now: &Now, name: &str) -> Option<GraphView> {
    let picture = pages.drawings.get(pipeline).await?.picture.around(name);
    Some(current(pipeline, now, &Drawing::of(picture), Some(name)))
}

fn current(pipeline: &Pipeline, now: &Now, drawing: &Drawing, here: Option<&str>) -> GraphView {
    let faces: Vec<NodeFace> = drawing.picture.nodes.iter().map(|node| now.face(pipeline, node, here)).collect();
    let edges = now.edges(pipeline, &drawing.picture);
    let label =
        here.map_or_else(|| "Graph of the pipeline".to_owned(), |name| format!("{name} and what it is connected with"));
    GraphView { has_waits: true, ..view(drawing, &faces, &edges, &label) }
}

/// Returns a graph whose nodes and edges look like this, in the order of the picture. No data waits
/// in it. `label` names the drawing.
pub(super) fn view(drawing: &Drawing, faces: &[NodeFace], edges: &[EdgeFace], label: &str) -> GraphView {
    let Drawing { picture, right, down } = drawing;
    let is_busy = faces.iter().any(|face| face.tone == "run");
    let drawn = |layout: Option<&Layout>| layout.map(|layout| draw(picture, layout, faces, edges, label));
    let other = |place: usize| {
        let name = picture.nodes.get(place).map(|node| node.name.clone()).unwrap_or_default();
        (name, faces.get(place).map(|face| face.href.clone()).unwrap_or_default())
    };
    let rows = picture.nodes.iter().zip(faces).enumerate().map(|(place, (node, face))| {
        let edges = || picture.edges.iter().filter(|edge| edge.link != Link::Root);
        NodeRow {
            name: node.name.clone(),
            kind: match node.kind {
                PictureKind::Store => "metadata store",
                PictureKind::Resource => "resource",
                PictureKind::Action => "action",
            },
            href: face.href.clone(),
            icon: face.icon,
            tone: face.tone,
            state: face.state.clone(),
            note: face.note.clone(),
            before: edges().filter(|edge| edge.to == place).map(|edge| other(edge.from)).collect(),
            after: edges().filter(|edge| edge.from == place).map(|edge| other(edge.to)).collect(),
        }
    });
    let (right, down) = (drawn(right.as_ref()), drawn(down.as_ref()));
    GraphView { right, down, rows: rows.collect(), is_busy, has_waits: false }
}
