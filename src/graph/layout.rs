//! Where to draw the nodes and edges of a graph, in layers.
//!
//! Nodes are placed in columns, each after all nodes that lead to it. An edge crosses the gaps
//! between columns as a curve, and passes a column on a straight line that is kept free for it, so
//! no edge runs through a box. The crate `rust_sugiyama` orders each column so that few edges
//! cross, and aligns connected nodes. It returns no bends, so each edge that passes columns gets a
//! small node in each of them, and the positions of these are the bends. Where the crate places
//! things too close together, this module moves them apart, so the promises above do not depend on
//! the crate.
//!
//! The layout depends only on its arguments, and its time is bounded by [`MAX_PLACES`].

use std::collections::BTreeMap;

use rust_sugiyama::configure::{Config, RankingType};

/// The most nodes and bends of a layout. A larger drawing would be unreadable anyway.
pub const MAX_PLACES: usize = 6_000;
/// Up to this many nodes and bends, the crate takes the time to swap neighbours.
const MAX_SWAPPED: usize = 1_500;
/// Free space around the drawing.
const MARGIN: i32 = 16;
/// Least distance between two ends of edges at one side of a box, if there is room.
const PORT_GAP: i32 = 12;
/// Least distance between an end of an edge and a corner of its box.
const PORT_INSET: i32 = 12;
/// Bounds of the gap between two columns: the longer the curves in it, the wider.
const GAP: (i32, i32) = (40, 132);
/// Free space around each box and each bend in a column, in addition to that of the other.
const APART: i32 = 8;
/// From this size across, a window shows a part of the drawing only.
const LARGE: i32 = 2_000;
/// Room that a bend takes.
const BEND: i32 = 4;

/// Where the edges lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the right: the columns are side by side.
    Right,
    /// Down: what is called a column here is a row.
    Down,
}

/// The size of the boxes, and the direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Where the edges lead.
    pub direction: Direction,
    /// Width of each box.
    pub width: i32,
    /// Height of each box.
    pub height: i32,
}

/// A point; `y` grows downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// Distance from the left.
    pub x: i32,
    /// Distance from the top.
    pub y: i32,
}

/// The box of a node, by its upper left corner. All boxes have the size of [`Shape`].
pub type Corner = Point;

/// The path of an edge: curves across gaps, connected by straight lines past columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where each curve begins and ends, from the edge's source to its target. A straight line
    /// leads from the end of a curve to the beginning of the next. Curves leave and arrive in the
    /// direction of the layout.
    pub curves: Vec<(Point, Point)>,
    /// Whether it leads against the direction, because it closes a cycle.
    pub is_back: bool,
}

/// A layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Its shape.
    pub shape: Shape,
    /// Width of the whole drawing.
    pub width: i32,
    /// Height of the whole drawing.
    pub height: i32,
    /// The box of each node.
    pub boxes: Vec<Corner>,
    /// The path of each edge.
    pub routes: Vec<Route>,
}

/// Lays out a graph with nodes `0..nodes` and edges from node to node. Edges may close cycles: of
/// the edges of a cycle, the last one in `edges` leads back. The pairs of `order` are not drawn,
/// but the second node of each is placed after the first; they come before all edges. Edges of a
/// node to itself, or of nodes that do not exist, get an empty route. Returns `None` for a graph
/// that is too large.
#[must_use]
pub fn lay_out(nodes: usize, edges: &[(usize, usize)], order: &[(usize, usize)], shape: Shape) -> Option<Layout> {
    if nodes > MAX_PLACES || edges.len() > MAX_PLACES || order.len() > MAX_PLACES {
        return None;
    }
    let all = orient(nodes, &[order, edges].concat());
    let layers = layers(nodes, &all);
    let forward = all.get(order.len()..).unwrap_or_default();
    let columns = Columns::new(nodes, forward, layers)?;
    let flow = Flow::new(shape);
    let across = columns.across(flow.across);
    Some(draw(&columns, &across, &flow, nodes, forward))
}

/// An edge in the direction of the layout, and whether it was turned around.
#[derive(Debug, Clone, Copy)]
struct Forward {
    from: usize,
    to: usize,
    is_back: bool,
}

/// Turns around the edges that close a cycle. `None` for an edge from a node to itself, or of a
/// node that does not exist.
fn orient(nodes: usize, edges: &[(usize, usize)]) -> Vec<Option<Forward>> {
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    let mut oriented = Vec::with_capacity(edges.len());
    for &(from, to) in edges {
        if from == to || from >= nodes || to >= nodes {
            oriented.push(None);
        } else if reaches(&next, to, from) {
            oriented.push(Some(Forward { from: to, to: from, is_back: true }));
        } else {
            if let Some(list) = next.get_mut(from) {
                list.push(to);
            }
            oriented.push(Some(Forward { from, to, is_back: false }));
        }
    }
    oriented
}

fn reaches(next: &[Vec<usize>], from: usize, to: usize) -> bool {
    let mut seen = vec![false; next.len()];
    let mut todo = vec![from];
    while let Some(node) = todo.pop() {
        if node == to {
            return true;
        }
        let Some(mark) = seen.get_mut(node) else { continue };
        if !std::mem::replace(mark, true) {
            todo.extend(next.get(node).into_iter().flatten());
        }
    }
    false
}

/// Returns the column of each node: the first one after all nodes that lead to it. A node without
/// predecessors is placed directly before its first successor.
fn layers(nodes: usize, edges: &[Option<Forward>]) -> Vec<usize> {
    let (mut before, mut after) = (vec![0_usize; nodes], vec![Vec::new(); nodes]);
    for edge in edges.iter().flatten() {
        if let (Some(count), Some(list)) = (before.get_mut(edge.to), after.get_mut(edge.from)) {
            *count += 1;
            list.push(edge.to);
        }
    }
    let sources: Vec<usize> = (0..nodes).filter(|node| before.get(*node) == Some(&0)).collect();
    let mut layers = vec![0_usize; nodes];
    let mut ready = sources.clone();
    while let Some(node) = ready.pop() {
        let next = layers.get(node).copied().unwrap_or_default() + 1;
        for follower in after.get(node).into_iter().flatten() {
            if let (Some(layer), Some(count)) = (layers.get_mut(*follower), before.get_mut(*follower)) {
                *layer = next.max(*layer);
                *count -= 1;
                if *count == 0 {
                    ready.push(*follower);
                }
            }
        }
    }
    for source in sources {
        let followers = after.get(source).into_iter().flatten();
        let nearest = followers.filter_map(|follower| layers.get(*follower)).min().copied();
        if let (Some(nearest), Some(layer)) = (nearest, layers.get_mut(source)) {
            *layer = nearest.saturating_sub(1);
        }
    }
    layers
}

/// The columns with everything that has a place in them: nodes, then bends.
struct Columns {
    nodes: usize,
    /// The column of each place.
    layers: Vec<usize>,
    /// For each edge, the places on its path: its nodes, with its bends between them.
    chains: Vec<Vec<usize>>,
    /// All steps from place to place.
    steps: Vec<(u32, u32)>,
}

impl Columns {
    fn new(nodes: usize, edges: &[Option<Forward>], layers: Vec<usize>) -> Option<Self> {
        let mut columns = Self { nodes, layers, chains: Vec::with_capacity(edges.len()), steps: Vec::new() };
        let mut has_before = vec![false; nodes];
        for edge in edges {
            let mut chain = Vec::new();
            if let Some(edge) = edge {
                chain = columns.chain(edge.from, edge.to, columns.layer(edge.from) + 1)?;
                if let Some(mark) = has_before.get_mut(edge.to) {
                    *mark = true;
                }
            }
            columns.chains.push(chain);
        }
        // The crate lays out connected parts separately, and moves each as far to the left as
        // possible. An additional place before all others connects them, which keeps the given
        // columns.
        let sources: Vec<usize> = (0..nodes).filter(|node| has_before.get(*node) == Some(&false)).collect();
        if sources.len() > 1 {
            let root = columns.add(usize::MAX)?;
            for source in sources {
                columns.chain(root, source, 0)?;
            }
        }
        columns.steps.sort_unstable();
        columns.steps.dedup();
        Some(columns)
    }

    fn layer(&self, place: usize) -> usize {
        self.layers.get(place).copied().unwrap_or_default()
    }

    /// Adds a place in a column.
    fn add(&mut self, layer: usize) -> Option<usize> {
        self.layers.push(layer);
        (self.layers.len() <= MAX_PLACES).then_some(self.layers.len() - 1)
    }

    /// Connects two places, with a bend in each column from `first` to the one before the last.
    fn chain(&mut self, from: usize, to: usize, first: usize) -> Option<Vec<usize>> {
        let mut chain = vec![from];
        for layer in first..self.layer(to) {
            chain.push(self.add(layer)?);
        }
        chain.push(to);
        for (one, next) in chain.iter().zip(chain.iter().skip(1)) {
            self.steps.push((u32::try_from(*one).ok()?, u32::try_from(*next).ok()?));
        }
        Some(chain)
    }

    /// Returns how much room a place needs in its column, with half of the free space around it.
    fn room(&self, place: usize, of_box: i32) -> i32 {
        if place < self.nodes { of_box + 2 * APART } else { BEND + APART }
    }

    /// Returns the middle of each place in its column.
    fn across(&self, of_box: i32) -> Vec<i32> {
        let places: Vec<(u32, (f64, f64))> = (0_u32..)
            .zip(0..self.layers.len())
            .map(|(id, place)| (id, (f64::from(self.room(place, of_box)), 1.0)))
            .collect();
        let config = Config {
            vertex_spacing: f64::from(APART),
            // The bends are nodes of ours already.
            dummy_vertices: false,
            ranking_type: RankingType::Up,
            transpose: places.len() <= MAX_SWAPPED,
            ..Config::default()
        };
        let parts = rust_sugiyama::from_vertices_and_edges(&places, &self.steps, &config);
        let mut across = vec![0; self.layers.len()];
        for (place, (x, _)) in parts.into_iter().flat_map(|(part, _, _)| part) {
            if let Some(middle) = across.get_mut(place) {
                *middle = whole(x);
            }
        }
        self.mirror_to_given_order(&mut across);
        self.move_apart(&mut across, of_box);
        self.move_beside_followers(&mut across);
        across
    }

    /// Mirrors the drawing if most neighbours in the given order are then in that order. The mirror
    /// image has the same crossings.
    fn mirror_to_given_order(&self, across: &mut [i32]) {
        let nodes = || across.iter().zip(&self.layers).take(self.nodes);
        let in_order = |((one, layer), (next, same)): ((&i32, &usize), (&i32, &usize))| {
            if layer == same { next.cmp(one) as i32 } else { 0 }
        };
        if nodes().zip(nodes().skip(1)).map(in_order).sum::<i32>() >= 0 {
            return;
        }
        let ends = across.iter().max().copied().unwrap_or_default() + across.iter().min().copied().unwrap_or_default();
        for middle in across {
            *middle = ends - *middle;
        }
    }

    /// Moves a node that is alone in its column beside the first node after it, if the drawing is
    /// so large across that it would else be far from what a window shows of it.
    fn move_beside_followers(&self, across: &mut [i32]) {
        let drawn = || across.iter().zip(&self.layers).filter(|(_, layer)| **layer != usize::MAX).map(|(at, _)| *at);
        let size = drawn().max().unwrap_or_default().saturating_sub(drawn().min().unwrap_or_default());
        if size < LARGE {
            return;
        }
        let mut in_column: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, layer) in self.layers.iter().enumerate() {
            in_column.entry(*layer).or_default().push(place);
        }
        for places in in_column.values() {
            let [alone] = places.as_slice() else { continue };
            let first = self.steps.iter().find(|(from, _)| usize::try_from(*from).is_ok_and(|from| from == *alone));
            let beside = first.and_then(|(_, to)| across.get(usize::try_from(*to).ok()?)).copied();
            if let (Some(beside), Some(middle), true) = (beside, across.get_mut(*alone), *alone < self.nodes) {
                *middle = beside;
            }
        }
    }

    /// Makes sure that nothing in a column overlaps, and keeps the order.
    fn move_apart(&self, across: &mut [i32], of_box: i32) {
        let mut columns: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, layer) in self.layers.iter().enumerate() {
            columns.entry(*layer).or_default().push(place);
        }
        for mut places in columns.into_values() {
            places.sort_by_key(|place| (across.get(*place).copied(), *place));
            let mut least = i32::MIN;
            for place in places {
                let half = self.room(place, of_box) / 2;
                if let Some(middle) = across.get_mut(place) {
                    *middle = least.saturating_add(half).max(*middle);
                    least = *middle + half;
                }
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a position that is too large is too large as a whole number, too")]
fn whole(x: f64) -> i32 {
    x.round() as i32
}

/// The shape, seen in the direction of the layout.
struct Flow {
    shape: Shape,
    /// Size of a box in the direction.
    along: i32,
    /// Size of a box across it.
    across: i32,
}

impl Flow {
    fn new(shape: Shape) -> Self {
        let (along, across) = match shape.direction {
            Direction::Right => (shape.width, shape.height),
            Direction::Down => (shape.height, shape.width),
        };
        Self { shape, along, across }
    }

    fn point(&self, along: i32, across: i32) -> Point {
        match self.shape.direction {
            Direction::Right => Point { x: along, y: across },
            Direction::Down => Point { x: across, y: along },
        }
    }
}

/// Turns places into boxes and routes.
fn draw(columns: &Columns, across: &[i32], flow: &Flow, nodes: usize, edges: &[Option<Forward>]) -> Layout {
    // The place that only connects the others is not drawn, and needs no room at the border.
    let drawn = || (0..nodes).chain(columns.chains.iter().flatten().copied());
    let half = |place: usize| if place < nodes { flow.across / 2 } else { BEND };
    let middle = |place: usize| across.get(place).copied().unwrap_or_default();
    let first = drawn().map(|place| middle(place) - half(place)).min().unwrap_or_default();
    let last = drawn().map(|place| middle(place) + half(place)).max().unwrap_or_default();
    let middle = |place: usize| middle(place) - first + MARGIN;
    let starts = starts(columns, &middle, flow.along);
    let start = |place: usize| starts.get(columns.layer(place)).copied().unwrap_or_default();
    let ports = ports(&columns.chains, &middle, flow.across);

    let boxes = (0..nodes).map(|node| flow.point(start(node), middle(node) - flow.across / 2)).collect();
    let route = |edge: usize, chain: &[usize], is_back: bool| {
        let mut curves: Vec<(Point, Point)> = Vec::new();
        for (index, (one, next)) in chain.iter().zip(chain.iter().skip(1)).enumerate() {
            let from = if index == 0 { ports.get(&(edge, true)).copied() } else { None };
            let to = if index + 2 == chain.len() { ports.get(&(edge, false)).copied() } else { None };
            curves.push((
                flow.point(start(*one) + flow.along, from.unwrap_or_else(|| middle(*one))),
                flow.point(start(*next), to.unwrap_or_else(|| middle(*next))),
            ));
        }
        if is_back {
            curves.reverse();
            curves = curves.into_iter().map(|(from, to)| (to, from)).collect();
        }
        Route { curves, is_back }
    };
    let chains = columns.chains.iter().zip(edges).enumerate();
    let routes =
        chains.map(|(edge, (chain, forward))| route(edge, chain, forward.is_some_and(|edge| edge.is_back))).collect();
    let end = flow.point(
        starts.last().map_or(2 * MARGIN, |start| start + flow.along + MARGIN),
        if nodes == 0 { 2 * MARGIN } else { last - first + 2 * MARGIN },
    );
    Layout { shape: flow.shape, width: end.x, height: end.y, boxes, routes }
}

/// Returns where each column starts. The gap before it is the wider the longer the curves in it.
fn starts(columns: &Columns, middle: &impl Fn(usize) -> i32, along: i32) -> Vec<i32> {
    let count = columns.layers.iter().take(columns.nodes).max().map_or(0, |last| last + 1);
    let mut longest = vec![0; count];
    for (one, next) in columns.chains.iter().flat_map(|chain| chain.iter().zip(chain.iter().skip(1))) {
        if let Some(longest) = longest.get_mut(columns.layer(*next)) {
            *longest = (middle(*one) - middle(*next)).abs().max(*longest);
        }
    }
    let mut starts = Vec::with_capacity(count);
    let mut next = MARGIN;
    for (column, longest) in longest.into_iter().enumerate() {
        if column > 0 {
            next += (GAP.0 + longest / 8).min(GAP.1);
        }
        starts.push(next);
        next += along;
    }
    starts
}

/// Returns where each edge begins (`true`) and ends, across the direction. The ends at one side of
/// a box have the order of the places that they come from, so they do not cross.
fn ports(chains: &[Vec<usize>], middle: &impl Fn(usize) -> i32, of_box: i32) -> BTreeMap<(usize, bool), i32> {
    let mut sides: BTreeMap<(usize, bool), Vec<(i32, usize)>> = BTreeMap::new();
    for (edge, chain) in chains.iter().enumerate() {
        if let [from, next, ..] = chain.as_slice() {
            sides.entry((*from, true)).or_default().push((middle(*next), edge));
        }
        if let [.., next, to] = chain.as_slice() {
            sides.entry((*to, false)).or_default().push((middle(*next), edge));
        }
    }
    let mut ports = BTreeMap::new();
    for ((node, begins), mut ends) in sides {
        ends.sort_unstable();
        let gaps = i32::try_from(ends.len()).unwrap_or(i32::MAX) - 1;
        let spread = PORT_GAP.saturating_mul(gaps).min(of_box - 2 * PORT_INSET).max(0);
        for (index, (_, edge)) in (0..).zip(ends) {
            let offset = if gaps > 0 { spread.saturating_mul(index) / gaps } else { 0 };
            ports.insert((edge, begins), middle(node) - spread / 2 + offset);
        }
    }
    ports
}

#[cfg(test)]
mod tests;
