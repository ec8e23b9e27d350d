//! Floor 3: the graph of a pipeline.
//!
//! Only `after` defines edges. The manifest is already checked, so there are no cycles and no
//! unknown names. [`layout`] and [`picture`] say how a graph is drawn.

pub mod layout;
pub mod picture;

use std::collections::BTreeSet;

use crate::manifest::{Join, Pipeline};

/// The actions of a pipeline as indices (in the order of the manifest), with the nodes before and
/// after each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    names: Vec<String>,
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
    resources: Vec<BTreeSet<String>>,
    order: Vec<usize>,
}

impl Graph {
    /// Builds the graph of a checked pipeline.
    #[must_use]
    pub fn of(pipeline: &Pipeline) -> Self {
        let names: Vec<String> = pipeline.actions.iter().map(|action| action.name.clone()).collect();
        let place = |name: &str| names.iter().position(|other| other == name);
        let before: Vec<Vec<usize>> = pipeline
            .actions
            .iter()
            .map(|action| action.after.iter().filter_map(|name| place(name)).collect())
            .collect();
        let resources = pipeline
            .actions
            .iter()
            .map(|action| action.after.iter().filter(|name| pipeline.resource(name).is_some()).cloned().collect())
            .collect();
        Self::build(names, before, resources)
    }

    /// Builds a graph from the actions before each action, for tests and simulations. Drops edges
    /// to indices that do not exist.
    #[must_use]
    pub fn from_edges(names: Vec<String>, before: Vec<Vec<usize>>) -> Self {
        let resources = vec![BTreeSet::new(); names.len()];
        Self::build(names, before, resources)
    }

    fn build(names: Vec<String>, before: Vec<Vec<usize>>, resources: Vec<BTreeSet<String>>) -> Self {
        let mut after = vec![Vec::new(); names.len()];
        for (action, predecessors) in before.iter().enumerate() {
            for predecessor in predecessors {
                if let Some(list) = after.get_mut(*predecessor) {
                    list.push(action);
                }
            }
        }
        let order = topological(&before, &after);
        Self { names, before, after, resources, order }
    }

    /// Returns the number of actions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns whether there are no actions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns the name of an action; empty if the index does not exist.
    #[must_use]
    pub fn name(&self, action: usize) -> &str {
        self.names.get(action).map_or("", String::as_str)
    }

    /// Returns the index of an action.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|other| other == name)
    }

    /// Returns the actions directly before an action.
    #[must_use]
    pub fn before(&self, action: usize) -> &[usize] {
        self.before.get(action).map_or(&[], Vec::as_slice)
    }

    /// Returns the actions directly after an action.
    #[must_use]
    pub fn after(&self, action: usize) -> &[usize] {
        self.after.get(action).map_or(&[], Vec::as_slice)
    }

    /// Returns all actions in topological order. Omits actions on a cycle (a checked manifest has
    /// none).
    #[must_use]
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Returns the names of all direct and indirect predecessors of an action, sorted.
    #[must_use]
    pub fn ancestors(&self, action: usize) -> Vec<String> {
        let seen = self.upstream(action);
        let mut names: Vec<String> = seen.into_iter().map(|place| self.name(place).to_owned()).collect();
        names.sort();
        names
    }

    /// Returns all resources that an action depends on, directly or indirectly.
    #[must_use]
    pub fn resources_before(&self, action: usize) -> BTreeSet<&str> {
        self.upstream(action)
            .into_iter()
            .chain([action])
            .filter_map(|place| self.resources.get(place))
            .flat_map(|names| names.iter().map(String::as_str))
            .collect()
    }

    /// Returns whether an action has something to do in a run on these resources. With
    /// `join = "any"`, an action does not if none of the resources before it is among them.
    #[must_use]
    pub fn is_triggered(&self, action: usize, join: Join, by: &[&str]) -> bool {
        let before = self.resources_before(action);
        join == Join::All || before.is_empty() || by.iter().any(|name| before.contains(name))
    }

    /// Returns the names of an action and of all its direct and indirect successors, in topological
    /// order.
    #[must_use]
    pub fn and_after(&self, action: usize) -> Vec<String> {
        let found = reached(action, |place| self.after(place));
        let is_found = |place: &&usize| **place == action || found.contains(place);
        self.order.iter().filter(is_found).map(|place| self.name(*place).to_owned()).collect()
    }

    fn upstream(&self, action: usize) -> BTreeSet<usize> {
        reached(action, |place| self.before(place))
    }
}

/// Returns all actions that `next` leads to from an action, directly or indirectly.
fn reached<'a>(action: usize, next: impl Fn(usize) -> &'a [usize]) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut todo = next(action).to_vec();
    while let Some(place) = todo.pop() {
        if seen.insert(place) {
            todo.extend(next(place));
        }
    }
    seen
}

/// Kahn's algorithm. Among several possible next actions, takes the first one in the manifest.
fn topological(before: &[Vec<usize>], after: &[Vec<usize>]) -> Vec<usize> {
    let mut missing: Vec<usize> = before.iter().map(Vec::len).collect();
    let mut ready: BTreeSet<usize> =
        (0..before.len()).filter(|place| before.get(*place).is_some_and(Vec::is_empty)).collect();
    let mut order = Vec::with_capacity(before.len());
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for follower in after.get(next).into_iter().flatten() {
            if let Some(count) = missing.get_mut(*follower) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(*follower);
                }
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::Graph;

    fn diamond() -> Graph {
        // d waits for b and c, which wait for a. The order here differs on purpose.
        let names = ["d", "b", "c", "a"].map(String::from).to_vec();
        Graph::from_edges(names, vec![vec![1, 2], vec![3], vec![3], vec![]])
    }

    #[test]
    fn the_order_is_topological() {
        let graph = diamond();
        let names: Vec<&str> = graph.order().iter().map(|place| graph.name(*place)).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
    }

    #[test]
    fn ancestors_are_direct_and_indirect() {
        let graph = diamond();
        assert_eq!(graph.ancestors(0), ["a", "b", "c"]);
        assert_eq!(graph.ancestors(3), Vec::<String>::new());
    }

    #[test]
    fn an_action_and_those_after_it_are_in_their_order() {
        let graph = diamond();
        assert_eq!(graph.and_after(3), ["a", "b", "c", "d"]);
        assert_eq!(graph.and_after(1), ["b", "d"]);
        assert_eq!(graph.and_after(0), ["d"]);
    }
}
