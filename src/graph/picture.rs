//! Which nodes and edges of a pipeline are drawn, and where.
//!
//! Two nodes that share data are connected through the resource that holds it, so the edge of
//! `after` between them is left out, because it would repeat that. So is the edge between two
//! actions that are also connected through a third. What is left out still says which node comes
//! first: otherwise a read that leads back could turn the data around that repeats it.

use std::collections::BTreeSet;

use super::Graph;
use super::layout::{Layout, Shape, lay_out};
use crate::manifest::{ActionSpec, Pipeline};

/// The kind of a drawn node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureKind {
    /// The metadata store: the root of the graph.
    Store,
    /// A resource.
    Resource,
    /// An action.
    Action,
}

/// A drawn node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureNode {
    /// Its kind.
    pub kind: PictureKind,
    /// Its name; `metadata_store` for the store.
    pub name: String,
}

/// What an edge means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// The action at its end runs after the node at its beginning, and reads nothing from it.
    After,
    /// The action reads the resource.
    Reads,
    /// The action writes the resource.
    Writes,
    /// The store records what arrives in the resource, or the action has no other node before it.
    Root,
}

/// A drawn edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureEdge {
    /// The index of the node at which it begins.
    pub from: usize,
    /// The index of the node at which it ends.
    pub to: usize,
    /// What it means.
    pub link: Link,
}

/// The graph of a pipeline as it is drawn: the store, then resources, then actions, each in the
/// order of the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// The nodes.
    pub nodes: Vec<PictureNode>,
    /// The edges.
    pub edges: Vec<PictureEdge>,
    /// The edges of `after` that data repeats: the second node comes after the first.
    pub order: Vec<(usize, usize)>,
}

/// The name of the metadata store among the nodes.
pub const STORE_NODE: &str = "metadata_store";

impl Picture {
    /// Returns the picture of a checked pipeline.
    #[must_use]
    pub fn of(pipeline: &Pipeline) -> Self {
        let node = |kind, name: &str| PictureNode { kind, name: name.to_owned() };
        let resources = pipeline.resources.iter().map(|resource| node(PictureKind::Resource, &resource.name));
        let actions = pipeline.actions.iter().map(|action| node(PictureKind::Action, &action.name));
        let nodes = [node(PictureKind::Store, STORE_NODE)].into_iter().chain(resources).chain(actions).collect();
        let mut picture = Self { nodes, ..Self::default() };
        picture.add_edges(pipeline);
        picture
    }

    /// Returns the index of the resource or action of this name. The two have no names in common.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.kind != PictureKind::Store && node.name == name)
    }

    /// Lays it out. `None` if it is too large to be drawn.
    #[must_use]
    pub fn lay_out(&self, shape: Shape) -> Option<Layout> {
        let edges: Vec<_> = self.edges.iter().map(|edge| (edge.from, edge.to)).collect();
        lay_out(self.nodes.len(), &edges, &self.order, shape)
    }

    /// Returns the node, with the nodes that are connected with it.
    #[must_use]
    pub fn around(&self, name: &str) -> Self {
        let Some(center) = self.place(name) else { return Self::default() };
        let near = |edge: &&PictureEdge| edge.link != Link::Root && (edge.from == center || edge.to == center);
        let kept: BTreeSet<usize> =
            self.edges.iter().filter(near).flat_map(|edge| [edge.from, edge.to]).chain([center]).collect();
        let place = |node: usize| kept.iter().position(|kept| *kept == node);
        let edges = self
            .edges
            .iter()
            .filter(near)
            .filter_map(|edge| Some(PictureEdge { from: place(edge.from)?, to: place(edge.to)?, link: edge.link }));
        let order = self.order.iter().filter_map(|(from, to)| Some((place(*from)?, place(*to)?)));
        Self {
            edges: edges.collect(),
            order: order.collect(),
            nodes: kept.iter().filter_map(|node| self.nodes.get(*node)).cloned().collect(),
        }
    }

    fn add_edges(&mut self, pipeline: &Pipeline) {
        // The order matters if edges close a cycle, because then the last one leads back. That
        // should be the read of a resource that is only written later.
        let mut edges = Vec::new();
        let mut add = |from: Option<usize>, to: Option<usize>, link| {
            if let (Some(from), Some(to)) = (from, to) {
                edges.push(PictureEdge { from, to, link });
            }
        };
        let (order, mut left_out) = (Order::of(pipeline), Vec::new());
        for action in &pipeline.actions {
            let to = self.place(&action.name);
            for name in &action.after {
                if action.reads.contains(name) {
                    add(self.place(name), to, Link::Reads);
                } else if order.is_in_data(pipeline, name, action) {
                    left_out.extend(self.place(name).zip(to));
                } else if !order.is_indirect(name, action) {
                    add(self.place(name), to, Link::After);
                }
            }
        }
        for action in &pipeline.actions {
            for name in &action.writes {
                add(self.place(&action.name), self.place(name), Link::Writes);
            }
        }
        for action in &pipeline.actions {
            for name in action.reads.iter().filter(|name| !action.after.contains(name)) {
                add(self.place(name), self.place(&action.name), Link::Reads);
            }
        }
        let begins: BTreeSet<usize> = edges.iter().map(|edge| edge.from).collect();
        let ends: BTreeSet<usize> = edges.iter().map(|edge| edge.to).collect();
        let is_root = |place: usize, node: &PictureNode| match node.kind {
            PictureKind::Store => false,
            PictureKind::Resource => {
                pipeline.resource(&node.name).is_some_and(|resource| resource.watch)
                    || !(begins.contains(&place) || ends.contains(&place))
            }
            PictureKind::Action => !ends.contains(&place),
        };
        let roots = self.nodes.iter().enumerate().filter(|(place, node)| is_root(*place, node));
        self.edges = roots.map(|(to, _)| PictureEdge { from: 0, to, link: Link::Root }).collect();
        self.edges.append(&mut edges);
        self.order = left_out;
    }
}

/// Which actions come before which.
struct Order {
    graph: Graph,
    /// For each action the set of those before it, as bits.
    before: Vec<Vec<u64>>,
    /// The same, but only those before it through another action.
    not_only_directly: Vec<Vec<u64>>,
}

impl Order {
    fn of(pipeline: &Pipeline) -> Self {
        let graph = Graph::of(pipeline);
        let none = vec![0_u64; graph.len().div_ceil(64)];
        let (mut before, mut not_only_directly) = (vec![none.clone(); graph.len()], vec![none.clone(); graph.len()]);
        for action in graph.order() {
            let mut indirect = none.clone();
            for one in graph.before(*action) {
                for (word, more) in indirect.iter_mut().zip(before.get(*one).into_iter().flatten()) {
                    *word |= more;
                }
            }
            let mut all = indirect.clone();
            for one in graph.before(*action) {
                if let Some(word) = all.get_mut(one / 64) {
                    *word |= 1 << (one % 64);
                }
            }
            if let (Some(before), Some(rest)) = (before.get_mut(*action), not_only_directly.get_mut(*action)) {
                (*before, *rest) = (all, indirect);
            }
        }
        Self { graph, before, not_only_directly }
    }

    fn has(sets: &[Vec<u64>], action: Option<usize>, one: Option<usize>) -> bool {
        let (Some(action), Some(one)) = (action, one) else { return false };
        sets.get(action).and_then(|set| set.get(one / 64)).is_some_and(|word| word & (1 << (one % 64)) != 0)
    }

    /// Returns whether `action` is after the action `name` through a third one, too.
    fn is_indirect(&self, name: &str, action: &ActionSpec) -> bool {
        Self::has(&self.not_only_directly, self.graph.place(&action.name), self.graph.place(name))
    }

    /// Returns whether `action` reads what the action `name` writes.
    fn is_in_data(&self, pipeline: &Pipeline, name: &str, action: &ActionSpec) -> bool {
        let place = self.graph.place(&action.name);
        let is_later = |writer: &ActionSpec| Self::has(&self.before, self.graph.place(&writer.name), place);
        // If a later action writes the resource too, the edge from the resource leads back.
        let leads_on = |resource: &String| {
            let mut writers = pipeline.actions.iter().filter(|other| other.writes.contains(resource));
            !writers.any(is_later)
        };
        let shared = pipeline.action(name).into_iter().flat_map(|before| &before.writes);
        shared.filter(|resource| action.reads.contains(resource)).any(leads_on)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::layout::{Direction, Shape};
    use super::{Link, Picture, PictureKind};
    use crate::manifest::parse_pinned;

    const SHAPE: Shape = Shape { direction: Direction::Right, width: 200, height: 60 };

    fn picture(nodes: &str) -> Picture {
        let text = format!("manifest_version = 1\n[pipeline]\nname = \"p\"\n{nodes}");
        let folder = Path::new("/nowhere");
        Picture::of(&parse_pinned(&text, folder, &folder.join("anacostia.toml"), &|_| None).unwrap())
    }

    fn resource(name: &str, watch: bool) -> String {
        format!("[resources.{name}]\nkind = \"folder\"\npath = \"{name}\"\nwatch = {watch}\n")
    }

    fn action(name: &str, after: &str, reads: &str, writes: &str) -> String {
        let list = |names: &str| {
            let names: Vec<String> = names.split_whitespace().map(|name| format!("\"{name}\"")).collect();
            names.join(", ")
        };
        let (after, reads, writes) = (list(after), list(reads), list(writes));
        format!("[actions.{name}]\ncomponent = \"a.wasm\"\nafter = [{after}]\nreads = [{reads}]\nwrites = [{writes}]\n")
    }

    fn edges(picture: &Picture) -> Vec<String> {
        let name = |place: usize| picture.nodes[place].name.as_str();
        let edge = |edge: &super::PictureEdge| format!("{} {:?} {}", name(edge.from), edge.link, name(edge.to));
        picture.edges.iter().map(edge).collect()
    }

    #[test]
    fn data_says_what_comes_after_what() {
        let text = resource("raw", true)
            + &resource("clean", false)
            + &resource("unused", false)
            + &action("wash", "raw", "raw", "clean")
            + &action("train", "wash", "clean", "")
            + &action("tell", "train", "", "")
            + &action("end", "wash tell", "", "")
            + &action("alone", "", "", "");
        let picture = picture(&text);
        assert_eq!(
            edges(&picture),
            [
                "metadata_store Root raw",
                "metadata_store Root unused",
                "metadata_store Root alone",
                "raw Reads wash",
                "train After tell",
                "tell After end",
                "wash Writes clean",
                "clean Reads train",
            ]
        );
        assert_eq!(picture.nodes[0].kind, PictureKind::Store);
        let around = picture.around("clean");
        assert_eq!(edges(&around), ["wash Writes clean", "clean Reads train"]);
        assert!(picture.around("nobody").nodes.is_empty());
    }

    #[test]
    fn what_is_read_before_it_is_written_leads_back() {
        let text = resource("raw", true)
            + &resource("models", false)
            + &action("train", "raw", "raw", "models")
            + &action("evaluate", "train", "models", "")
            + &action("promote", "evaluate", "", "models");
        let picture = picture(&text);
        let layout = picture.lay_out(SHAPE).unwrap();
        let back: Vec<String> = (edges(&picture).into_iter().zip(&layout.routes))
            .filter(|(_, route)| route.is_back)
            .map(|(edge, _)| edge)
            .collect();
        assert_eq!(back, ["models Reads evaluate"]);
        // So the order of `train` and `evaluate` has an edge of its own.
        assert!(edges(&picture).contains(&"train After evaluate".to_owned()));
        assert_eq!(picture.edges.iter().filter(|edge| edge.link == Link::Reads).count(), 2);
    }

    #[test]
    fn a_read_that_leads_back_turns_nothing_else_around() {
        // The example `penguins`: data tells already that `promote` is after `evaluate`, which
        // reads what `promote` writes.
        let text = resource("raw", true)
            + &["cleaned", "candidates", "evaluations", "models"].map(|name| resource(name, false)).concat()
            + &action("clean", "raw", "raw", "cleaned")
            + &action("train", "clean", "cleaned", "candidates")
            + &action("evaluate", "train", "cleaned candidates models", "evaluations")
            + &action("promote", "evaluate", "candidates evaluations", "models");
        let picture = picture(&text);
        for whole in [picture.clone(), picture.around("evaluations")] {
            let layout = whole.lay_out(SHAPE).unwrap();
            let x = |name: &str| layout.boxes[whole.place(name).unwrap()].x;
            assert!(x("evaluate") < x("evaluations") && x("evaluations") < x("promote"), "{layout:?}");
        }
        let layout = picture.lay_out(SHAPE).unwrap();
        let edges = edges(&picture);
        let back: Vec<_> = edges.iter().zip(&layout.routes).filter(|(_, route)| route.is_back).collect();
        assert!(matches!(back.as_slice(), [(edge, _)] if *edge == "models Reads evaluate"), "{back:?}");
    }
}
