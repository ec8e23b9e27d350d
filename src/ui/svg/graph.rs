//! The graph of a pipeline.
//!
//! A node is a link with an icon for its kind, its name, and its state as icon, text and colour.
//! Readers of the screen get its title; the edges are hidden from them, because the list beside the
//! drawing names what is before and after each node.

use std::fmt::Write as _;

use super::shortened;
use crate::graph::layout::{Direction, Layout, Point, Shape};
use crate::graph::picture::{Link, Picture, PictureKind};
use crate::ui::html::shown;

/// Width of a letter of a name, and of the second line, of average text.
const NAME_LETTER: f64 = 7.6;
const LINE_LETTER: f64 = 6.5;
/// Width of a box without its name.
const AROUND: f64 = 52.0;
/// Bounds of a box's width.
const WIDTH: (f64, f64) = (176.0, 240.0);
const HEIGHT: i32 = 62;
/// Size of an arrow head.
const HEAD: i32 = 8;

/// How a node looks.
#[derive(Debug, Clone, Default)]
pub(in crate::ui) struct NodeFace {
    /// Its address.
    pub(in crate::ui) href: String,
    /// The icon of its kind.
    pub(in crate::ui) icon: &'static str,
    /// Its state: colour and icon, then text.
    pub(in crate::ui) tone: &'static str,
    /// The text of its state.
    pub(in crate::ui) state: String,
    /// More about it, in a few words; may be empty.
    pub(in crate::ui) note: String,
    /// Everything about it, for people who point at it and for readers of the screen.
    pub(in crate::ui) title: String,
    /// How far it has come, from 0 to 1.
    pub(in crate::ui) progress: Option<f64>,
    /// Whether the page is about this node.
    pub(in crate::ui) is_here: bool,
}

/// How an edge looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::ui) struct EdgeFace {
    /// How many artifacts wait at its begin for what is at its end.
    pub(in crate::ui) waiting: u64,
    /// Whether what is at its end works now.
    pub(in crate::ui) is_busy: bool,
}

/// Returns the shape of boxes in which the names of these nodes fit.
pub(in crate::ui) fn shape(picture: &Picture, direction: Direction) -> Shape {
    let longest = picture.nodes.iter().map(|node| node.name.chars().count()).max().unwrap_or_default();
    let longest = f64::from(u16::try_from(longest).unwrap_or(u16::MAX));
    let width = (AROUND + NAME_LETTER * longest).clamp(WIDTH.0, WIDTH.1);
    // An even number, so that the middle is a whole one.
    let width = i32::from(rounded(width / 2.0)) * 2;
    Shape { direction, width, height: HEIGHT }
}

/// Draws a graph. `nodes` and `edges` have the order of the picture; `label` names the drawing.
pub(in crate::ui) fn draw(
    picture: &Picture,
    layout: &Layout,
    nodes: &[NodeFace],
    edges: &[EdgeFace],
    label: &str,
) -> String {
    let (width, height) = (layout.width, layout.height);
    let mut svg = String::with_capacity(256 + nodes.len() * 900 + edges.len() * 300);
    let _ = write!(
        svg,
        r#"<svg class="graph" role="group" aria-label="{}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" data-width="{width}">"#,
        shown(label)
    );
    svg.push_str(r#"<g class="edges" aria-hidden="true">"#);
    for (index, (edge, route)) in picture.edges.iter().zip(&layout.routes).enumerate() {
        let face = edges.get(index).copied().unwrap_or_default();
        let mut class = match edge.link {
            Link::After => "edge after",
            Link::Reads => "edge reads",
            Link::Writes => "edge writes",
            Link::Root => "edge root",
        }
        .to_owned();
        for (is, word) in [(route.is_back, " back"), (face.waiting > 0, " waiting"), (face.is_busy, " busy")] {
            if is {
                class.push_str(word);
            }
        }
        draw_edge(&mut svg, layout, &route.curves, &class, (edge.from, edge.to));
        if face.waiting > 0 {
            draw_badge(&mut svg, &route.curves, face.waiting);
        }
    }
    svg.push_str("</g>");
    for (index, corner) in in_order(layout) {
        if let (Some(node), Some(face)) = (picture.nodes.get(index), nodes.get(index)) {
            draw_node(&mut svg, layout.shape, corner, &node.name, node.kind, face, index);
        }
    }
    svg.push_str("</svg>");
    svg
}

/// Returns the places of the nodes along the graph: the order in which Tab and screen readers come
/// to them.
fn in_order(layout: &Layout) -> Vec<(usize, Point)> {
    let mut places: Vec<(usize, Point)> = layout.boxes.iter().copied().enumerate().collect();
    places.sort_by_key(|(_, Point { x, y })| match layout.shape.direction {
        Direction::Right => (*x, *y),
        Direction::Down => (*y, *x),
    });
    places
}

fn draw_edge(svg: &mut String, layout: &Layout, curves: &[(Point, Point)], class: &str, ends: (usize, usize)) {
    let (Some((first, _)), Some((last_from, tip))) = (curves.first(), curves.last()) else { return };
    let right = layout.shape.direction == Direction::Right;
    // The way to the tip: against the direction if the edge leads back.
    let forward = if right { tip.x > last_from.x } else { tip.y > last_from.y };
    let sign = if forward { 1 } else { -1 };
    let _ = write!(svg, r#"<path class="{class}" data-ends="{} {}" d="M{} {}"#, ends.0, ends.1, first.x, first.y);
    for (index, (from, to)) in curves.iter().enumerate() {
        if index > 0 {
            let _ = write!(svg, "L{} {}", from.x, from.y);
        }
        // The stroke ends inside of the arrow head, which is as wide as a point at its tip.
        let short = if index + 1 == curves.len() { sign * (HEAD - 2) } else { 0 };
        if right {
            let (end, middle) = (to.x - short, i32::midpoint(from.x, to.x));
            let _ = write!(svg, "C{middle} {},{middle} {},{end} {}", from.y, to.y, to.y);
        } else {
            let (end, middle) = (to.y - short, i32::midpoint(from.y, to.y));
            let _ = write!(svg, "C{} {middle},{} {middle},{} {end}", from.x, to.x, to.x);
        }
    }
    svg.push_str("\"/>");
    let (long, half) = (sign * HEAD, HEAD / 2);
    let _ = if right {
        write!(svg, r#"<path class="head {class}" d="M{} {}l{} {}v{}z"/>"#, tip.x, tip.y, -long, -half, 2 * half)
    } else {
        write!(svg, r#"<path class="head {class}" d="M{} {}l{} {}h{}z"/>"#, tip.x, tip.y, -half, -long, 2 * half)
    };
}

/// Says on an edge how much waits.
fn draw_badge(svg: &mut String, curves: &[(Point, Point)], waiting: u64) {
    let Some((from, to)) = curves.last() else { return };
    let text = if waiting > 999 { "999+".to_owned() } else { waiting.to_string() };
    let width = 14 + 7 * i32::try_from(text.len()).unwrap_or(4);
    let (x, y) = (i32::midpoint(from.x, to.x), i32::midpoint(from.y, to.y));
    let _ = write!(
        svg,
        r#"<rect class="waits" x="{}" y="{}" width="{width}" height="20" rx="10"/><text class="waits-text" x="{x}" y="{}" text-anchor="middle">{text}</text>"#,
        x - width / 2,
        y - 10,
        y + 4
    );
}

fn draw_node(
    svg: &mut String,
    shape: Shape,
    corner: Point,
    name: &str,
    kind: PictureKind,
    face: &NodeFace,
    index: usize,
) {
    let Point { x, y } = corner;
    let (class, radius) = match kind {
        PictureKind::Store => ("store", shape.height / 2),
        PictureKind::Resource => ("resource", 18),
        PictureKind::Action => ("action", 8),
    };
    // Round ends leave less room.
    let inset = if kind == PictureKind::Store { 20 } else { 14 };
    let here = if face.is_here { " here" } else { "" };
    let current = if face.is_here { r#" aria-current="page""# } else { "" };
    let title = shown(&face.title);
    let _ = write!(
        svg,
        r#"<a class="node {class} {}{here}" href="{}" data-node="{index}"{current}><title>{title}</title>"#,
        face.tone,
        shown(&face.href),
    );
    let (width, height) = (shape.width, shape.height);
    let _ = write!(svg, r#"<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"/>"#);
    let room = f64::from(width - inset - 36);
    let (at, text) = (x + inset, x + inset + 24);
    let _ = write!(
        svg,
        r##"<use class="kind" href="#i-{}" x="{at}" y="{}" width="16" height="16"/><text class="name" x="{text}" y="{}">{}</text>"##,
        face.icon,
        y + 12,
        y + 25,
        shown(&shortened(name, letters(room / NAME_LETTER))),
    );
    let state = shortened(&face.state, letters(room / LINE_LETTER));
    let left = letters(room / LINE_LETTER).saturating_sub(state.chars().count() + 3);
    let _ = write!(
        svg,
        r##"<use class="sign" href="#i-{}" x="{}" y="{}" width="14" height="14"/><text class="line" x="{text}" y="{}"><tspan class="word">{}</tspan>"##,
        face.tone,
        at + 1,
        y + 34,
        y + 45,
        shown(&state),
    );
    if !face.note.is_empty() && left > 2 {
        let _ = write!(svg, r#"<tspan class="more"> · {}</tspan>"#, shown(&shortened(&face.note, left)));
    }
    svg.push_str("</text>");
    if let Some(progress) = face.progress {
        let (start, whole) = (x + inset, f64::from(width - 2 * inset));
        let done = whole * if progress.is_finite() { progress.clamp(0.0, 1.0) } else { 0.0 };
        let _ = write!(
            svg,
            r#"<rect class="track" x="{start}" y="{0}" width="{whole}" height="4" rx="2"/><rect class="done" x="{start}" y="{0}" width="{done:.1}" height="4" rx="2"/>"#,
            y + height - 9,
        );
    }
    svg.push_str("</a>");
}

fn letters(room: f64) -> usize {
    usize::try_from(rounded(room)).unwrap_or_default()
}

#[expect(clippy::cast_possible_truncation, reason = "the widths of boxes are bounded")]
fn rounded(number: f64) -> i16 {
    number as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::picture::{PictureEdge, PictureNode};

    fn picture() -> Picture {
        let node = |kind, name: &str| PictureNode { kind, name: name.to_owned() };
        let edge = |from, to, link| PictureEdge { from, to, link };
        Picture {
            nodes: vec![
                node(PictureKind::Store, "metadata_store"),
                node(PictureKind::Resource, "raw"),
                node(PictureKind::Action, "train"),
                node(PictureKind::Resource, "models"),
            ],
            edges: vec![
                edge(0, 1, Link::Root),
                edge(1, 2, Link::Reads),
                edge(2, 3, Link::Writes),
                edge(3, 2, Link::Reads),
            ],
            order: Vec::new(),
        }
    }

    fn faces() -> Vec<NodeFace> {
        let face = |state: &str, tone, note: &str| NodeFace {
            href: "/x".to_owned(),
            icon: "gear",
            tone,
            state: state.to_owned(),
            note: note.to_owned(),
            title: format!("something, {state}"),
            ..NodeFace::default()
        };
        vec![
            face("ready", "ok", ""),
            face("watching", "ok", "3 waiting"),
            NodeFace { progress: Some(0.25), is_here: true, ..face("running", "run", "25 %") },
            face("not watched", "stop", ""),
        ]
    }

    fn drawn(nodes: &[NodeFace], direction: Direction) -> String {
        let picture = picture();
        let layout = picture.lay_out(shape(&picture, direction)).unwrap();
        let edges = [
            EdgeFace::default(),
            EdgeFace { waiting: 3, is_busy: true },
            EdgeFace::default(),
            EdgeFace { waiting: 5_000, is_busy: false },
        ];
        draw(&picture, &layout, nodes, &edges, "Graph of \"penguins\"")
    }

    #[test]
    fn nodes_are_links_with_state_as_icon_text_and_colour() {
        for direction in [Direction::Right, Direction::Down] {
            let svg = drawn(&faces(), direction);
            for text in [
                r#"aria-label="Graph of &quot;penguins&quot;""#,
                r#"<a class="node action run here" href="/x" data-node="2" aria-current="page"><title>something, running</title>"#,
                r##"<use class="sign" href="#i-run""##,
                r#"<tspan class="word">running</tspan><tspan class="more"> · 25 %</tspan>"#,
                r#"<path class="edge reads waiting busy" data-ends="1 2""#,
                r#"<path class="edge reads back waiting" data-ends="3 2""#,
                ">3</text>",
                ">999+</text>",
                r#"<rect class="done""#,
            ] {
                assert!(svg.contains(text), "{text} is not in {svg}");
            }
            assert_eq!(svg.matches("<a ").count(), 4);
            assert_eq!(svg.matches(r#"class="head "#).count(), 4);
        }
    }

    #[test]
    fn nodes_are_in_the_order_in_which_the_graph_leads_to_them() {
        let mut picture = picture();
        picture.nodes.swap(2, 3);
        let ends = [(0, 1), (1, 3), (3, 2)];
        picture.edges = ends.map(|(from, to)| PictureEdge { from, to, link: Link::After }).into();
        for direction in [Direction::Right, Direction::Down] {
            let layout = picture.lay_out(shape(&picture, direction)).unwrap();
            let svg = draw(&picture, &layout, &faces(), &[], "Graph");
            let order: Vec<&str> = svg.split("data-node=\"").skip(1).map(|rest| &rest[..1]).collect();
            assert_eq!(order, ["0", "1", "3", "2"], "{svg}");
        }
    }

    #[test]
    fn nothing_that_people_write_is_markup() {
        let mut nodes = faces();
        let evil = "\"><script>alert(1)</script>";
        nodes[1] = NodeFace {
            href: format!("/resources/{evil}"),
            state: evil.to_owned(),
            note: evil.to_owned(),
            title: evil.to_owned(),
            ..nodes[1].clone()
        };
        nodes[2].progress = Some(f64::NAN);
        let svg = drawn(&nodes, Direction::Right);
        for forbidden in ["<script", "\"><s", "style=", "NaN"] {
            assert!(!svg.contains(forbidden), "{forbidden} is in {svg}");
        }
    }

    #[test]
    fn boxes_fit_the_names_within_bounds() {
        let mut picture = picture();
        assert_eq!(shape(&picture, Direction::Right).width, 176);
        picture.nodes[2].name = "a".repeat(20);
        assert_eq!(shape(&picture, Direction::Right).width, 204);
        picture.nodes[2].name = "a".repeat(63);
        assert_eq!(shape(&picture, Direction::Down), Shape { direction: Direction::Down, width: 240, height: 62 });
    }
}
