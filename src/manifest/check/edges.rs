//! Checks of names and edges: whether `after`, `reads` and `writes` fit together.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::action::RunWhen;
use super::super::keys::nearest;
use super::super::pipeline::{Join, ResourceSpec};
use super::super::problem::{Problem, listed, quoted};
use super::super::read::{UncheckedAction, UncheckedManifest, UncheckedResource};
use super::super::tree::{At, Reader};

/// Maximum number of cycles that are drawn.
const MAX_CYCLES: usize = 10;
/// Maximum number of actions of a cycle that are named.
const MAX_DRAWN: usize = 12;

/// The nodes by name, and the direct predecessors of each action, by index.
struct Nodes<'d> {
    draft: &'d UncheckedManifest,
    resources: BTreeMap<&'d str, &'d UncheckedResource>,
    actions: BTreeMap<&'d str, usize>,
    before: Vec<Vec<usize>>,
}

/// Checks names and edges.
pub(in super::super) fn check(reader: &mut Reader<'_>, draft: &UncheckedManifest) {
    let complete = !reader.is_incomplete();
    if draft.actions.is_empty() && complete {
        reader.complain(
            Problem::new("there is nothing to do: the manifest has no action")
                .at(&(0..0), "")
                .help("add\n[actions.train]\ncomponent = \"train.wasm\""),
        );
    }
    let nodes = Nodes::of(draft);
    // Problems that follow from a reported mistake are left out: for a user who wrote `afer`, a
    // message that the action is after nothing is not useful.
    let sure = complete && !draft.actions.iter().any(|action| nodes.is_in_doubt(action));
    nodes.names(reader);
    for action in &draft.actions {
        if reader.is_full() {
            return;
        }
        if complete {
            nodes.after(reader, action);
            nodes.data(reader, action, "reads", &action.reads);
            nodes.data(reader, action, "writes", &action.writes);
            nodes.readable(reader, action);
            nodes.writable(reader, action);
        }
        if !nodes.is_in_doubt(action) {
            nodes.retrigger(reader, action);
            nodes.run_when(reader, action);
        }
    }
    let has_cycles = nodes.cycles(reader);
    if !has_cycles && sure {
        // The order of actions is not defined while there are cycles.
        let upstream: Vec<BTreeSet<usize>> = (0..draft.actions.len()).map(|place| nodes.upstream(place)).collect();
        nodes.reads_of_writes(reader, &upstream);
        nodes.join_any(reader, &upstream);
        nodes.group_by(reader);
    }
    if !draft.actions.is_empty() && sure {
        nodes.watched(reader, has_cycles);
    }
}

/// Returns the lines that put `action` after one more node.
fn be_after(action: &UncheckedAction, node: &str) -> String {
    let names = action.after.iter().map(|name| name.value.as_str()).chain([node]);
    let list: Vec<String> = names.map(|name| format!("\"{}\"", quoted(name).trim_matches('`'))).collect();
    format!("write\n[actions.{}]\nafter = [{}]", action.name.value, list.join(", "))
}

impl<'d> Nodes<'d> {
    fn of(draft: &'d UncheckedManifest) -> Self {
        let actions: BTreeMap<&str, usize> =
            draft.actions.iter().enumerate().map(|(place, action)| (action.name.value.as_str(), place)).collect();
        let resources: BTreeMap<&str, &UncheckedResource> =
            draft.resources.iter().map(|resource| (resource.name.value.as_str(), resource)).collect();
        // If both kinds have the name, it may mean the resource, and a cycle through it may not
        // exist.
        let place = |name: &str| actions.get(name).copied().filter(|_| !resources.contains_key(name));
        let before = draft
            .actions
            .iter()
            .map(|action| action.after.iter().filter_map(|name| place(&name.value)).collect())
            .collect();
        Self { draft, resources, actions, before }
    }

    fn action(&self, place: usize) -> Option<&'d UncheckedAction> {
        self.draft.actions.get(place)
    }

    fn before(&self, place: usize) -> &[usize] {
        self.before.get(place).map_or(&[], Vec::as_slice)
    }

    /// Returns whether a resource is watched; `None` if it does not exist or this is unknown.
    fn is_watched(&self, name: &str) -> Option<bool> {
        let resource = self.resources.get(name)?;
        let watch = resource.spec.as_ref()?.watch;
        (watch || !resource.perhaps_watched).then_some(watch)
    }

    /// Returns whether an action may have other edges than those that were read: it names a missing
    /// node, or has an unknown key.
    fn is_in_doubt(&self, action: &UncheckedAction) -> bool {
        let is_resource = |name: &At<String>| self.resources.contains_key(name.value.as_str());
        let is_node = |name: &At<String>| is_resource(name) || self.actions.contains_key(name.value.as_str());
        let mut data = action.reads.iter().chain(&action.writes);
        action.perhaps_more || !action.after.iter().all(is_node) || !data.all(is_resource)
    }

    /// Checks that names are unique among resources and actions, and among resources and triggers.
    fn names(&self, reader: &mut Reader<'_>) {
        for action in &self.draft.actions {
            if let Some(resource) = self.resources.get(action.name.value.as_str()) {
                reader.complain(
                    Problem::new(format!("{} names both a resource and an action", quoted(&action.name.value)))
                        .at(&action.name.span, "an action")
                        .at(&resource.name.span, "a resource")
                        .help("`after` could mean either: rename one"),
                );
            }
        }
        for trigger in &self.draft.triggers {
            if let Some(resource) = self.resources.get(trigger.name.value.as_str()) {
                reader.complain(
                    Problem::new(format!("{} names both a resource and a trigger", quoted(&trigger.name.value)))
                        .at(&trigger.name.span, "a trigger")
                        .at(&resource.name.span, "a resource")
                        .help("the trigger of a resource has the name of the resource: rename one"),
                );
            }
        }
    }

    /// Checks that the nodes in `after` exist and can start the action.
    fn after(&self, reader: &mut Reader<'_>, action: &UncheckedAction) {
        for name in &action.after {
            if reader.is_full() {
                return;
            }
            let known =
                self.actions.contains_key(name.value.as_str()) || self.resources.contains_key(name.value.as_str());
            if !known {
                let all = self.resources.keys().chain(self.actions.keys()).copied();
                let help = match nearest(&name.value, all.clone()) {
                    Some(near) => Some(format!("did you mean `{near}`?")),
                    None => Some(all.collect::<Vec<_>>())
                        .filter(|all| !all.is_empty() && all.len() <= 20)
                        .map(|all| format!("the nodes are {}", listed(all, "and"))),
                };
                reader.complain(
                    Problem::new(format!("there is no node {}", quoted(&name.value)))
                        .at(&name.span, "not declared")
                        .maybe_help(help),
                );
            } else if !self.actions.contains_key(name.value.as_str()) && self.is_watched(&name.value) == Some(false) {
                reader.complain(self.after_unwatched(name));
            }
        }
    }

    fn after_unwatched(&self, name: &At<String>) -> Problem {
        let writes = |action: &&UncheckedAction| action.writes.iter().any(|write| write.value == name.value);
        let help = match self.draft.actions.iter().find(writes) {
            Some(writer) => format!("be after the action that writes it: `{}`", writer.name.value),
            None => format!("add\n[resources.{}]\nwatch = true", name.value),
        };
        Problem::new(format!("`{}` is not watched, so nothing can be after it", name.value))
            .at(&name.span, "an unwatched resource")
            .help(help)
    }

    /// Checks that the names in `reads` or `writes` are resources.
    fn data(&self, reader: &mut Reader<'_>, action: &UncheckedAction, key: &str, names: &[At<String>]) {
        for name in names {
            if self.resources.contains_key(name.value.as_str()) || reader.is_full() {
                continue;
            }
            let problem = if self.actions.contains_key(name.value.as_str()) {
                Problem::new(format!("`{}` is an action, and `{key}` takes resources", name.value))
                    .at(&name.span, "an action")
                    .help(format!("to come after it, write `after = [\"{}\"]`", name.value))
            } else {
                let help = match nearest(&name.value, self.resources.keys().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "declare it, such as\n[resources.NAME]\nkind = \"folder\"\npath = \"data/NAME\"".to_owned(),
                };
                Problem::new(format!(
                    "`{}` {key} the resource {}, which is not declared",
                    action.name.value,
                    quoted(&name.value)
                ))
                .at(&name.span, "not declared")
                .help(help)
            };
            reader.complain(problem);
        }
    }

    /// Checks that something can be in the resources in `reads`.
    fn readable(&self, reader: &mut Reader<'_>, action: &UncheckedAction) {
        for name in &action.reads {
            let resource = self.resources.get(name.value.as_str()).and_then(|resource| resource.spec.as_ref());
            if resource.is_some_and(ResourceSpec::is_filled_by_its_watch) && self.is_watched(&name.value) == Some(false)
            {
                let (action, name_of) = (&action.name.value, &name.value);
                reader.complain(
                    Problem::new(format!(
                        "`{action}` reads `{name_of}`, which is not watched, so nothing ever arrives in it"
                    ))
                    .at(&name.span, "never has a new artifact")
                    .help(format!(
                        "add\n[resources.{name_of}]\nwatch = true\nand to stop it for a while, use `anacostia pause --resource {name_of}`"
                    )),
                );
            }
        }
    }

    /// Checks that the resources in `writes` take outputs.
    fn writable(&self, reader: &mut Reader<'_>, action: &UncheckedAction) {
        for name in &action.writes {
            let resource = self.resources.get(name.value.as_str()).and_then(|resource| resource.spec.as_ref());
            let Some(help) = resource.and_then(ResourceSpec::takes_no_outputs) else { continue };
            reader.complain(
                Problem::new(format!("`{}` takes no outputs, and `{}` writes it", name.value, action.name.value))
                    .at(&name.span, "takes no outputs")
                    .help(help),
            );
        }
        self.databases(reader, action);
    }

    /// Checks that an action writes at most one database: its commit is the commit point of an
    /// attempt, and two databases cannot commit as one.
    fn databases(&self, reader: &mut Reader<'_>, action: &UncheckedAction) {
        let is_database = |name: &&At<String>| {
            let resource = self.resources.get(name.value.as_str()).and_then(|resource| resource.spec.as_ref());
            resource.is_some_and(|spec| spec.database().is_some())
        };
        let mut databases = action.writes.iter().filter(is_database);
        let (Some(first), Some(second)) = (databases.next(), databases.next()) else { return };
        reader.complain(
            Problem::new(format!("`{}` writes two databases, which cannot commit as one", action.name.value))
                .at(&second.span, "another database")
                .at(&first.span, "one database")
                .help("use a separate action for each"),
        );
    }

    fn retrigger(&self, reader: &mut Reader<'_>, action: &UncheckedAction) {
        let Some(retrigger) = action.retrigger.as_ref().filter(|retrigger| retrigger.value) else { return };
        if action.writes.iter().all(|write| self.is_watched(&write.value) == Some(false)) {
            reader.complain(
                Problem::new(format!("`{}` writes no watched resource, so it cannot trigger a run", action.name.value))
                    .at(&retrigger.span, "has no effect")
                    .help("remove `retrigger`, or watch a resource that it writes"),
            );
        }
    }

    fn run_when(&self, reader: &mut Reader<'_>, action: &UncheckedAction) {
        let Some(when) = action.run_when.as_ref().filter(|when| when.value != RunWhen::AllSucceeded) else { return };
        if action.after.iter().all(|name| self.resources.contains_key(name.value.as_str())) {
            reader.complain(
                Problem::new(format!("`{}` has no action before it that could fail", action.name.value))
                    .at(&when.span, "has no effect")
                    .help("remove `run_when`, or name an action in `after`"),
            );
        }
    }

    /// Returns all direct and indirect predecessors of an action.
    fn upstream(&self, place: usize) -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        let mut todo = self.before(place).to_vec();
        while let Some(next) = todo.pop() {
            if seen.insert(next) {
                todo.extend(self.before(next));
            }
        }
        seen
    }

    /// Checks the order of two actions of which one reads what the other writes: one must be after
    /// the other. A reader after the writer sees its output; a reader before it sees the state at
    /// the start of the run. Without an order, the result would depend on timing.
    fn reads_of_writes(&self, reader: &mut Reader<'_>, upstream: &[BTreeSet<usize>]) {
        let is_before = |earlier: usize, later: usize| upstream.get(later).is_some_and(|all| all.contains(&earlier));
        for (place, action) in self.draft.actions.iter().enumerate() {
            for read in &action.reads {
                for (other, writer) in self.draft.actions.iter().enumerate() {
                    let Some(write) = writer.writes.iter().find(|write| write.value == read.value) else { continue };
                    if other == place || is_before(other, place) || is_before(place, other) {
                        continue;
                    }
                    let (reads, writes) = (&action.name.value, &writer.name.value);
                    reader.complain(
                        Problem::new(format!(
                            "`{reads}` reads `{}`, which `{writes}` writes, and neither is after the other",
                            read.value
                        ))
                        .at(&read.span, "read here")
                        .at(&write.span, "written here")
                        .help(be_after(action, writes)),
                    );
                }
            }
        }
    }

    /// With `join = "all"`, a run takes artifacts of several resources, which have no common group.
    fn group_by(&self, reader: &mut Reader<'_>) {
        let watched = self.draft.resources.iter().filter(|it| it.spec.as_ref().is_some_and(|spec| spec.watch));
        if self.draft.top.join.value == Join::Any || watched.clone().count() < 2 {
            return;
        }
        for resource in watched {
            if resource.spec.as_ref().is_some_and(|spec| spec.trigger.group_by.is_some()) {
                reader.complain(
                    Problem::new(format!("`{}` has a `group_by`, and a run waits for other resources too", resource.name.value))
                        .at(&resource.name.span, "groups its artifacts")
                        .help("the groups of several resources do not belong together: write `join = \"any\"` in [pipeline], or watch this one alone"),
                );
            }
        }
    }

    /// With `join = "any"`, an action runs if a resource before it has triggered. Refuses actions
    /// without one, because they can never run.
    fn join_any(&self, reader: &mut Reader<'_>, upstream: &[BTreeSet<usize>]) {
        if self.draft.top.join.value != Join::Any {
            return;
        }
        let starts = |place: usize| {
            self.action(place)
                .is_some_and(|action| action.after.iter().any(|name| !self.actions.contains_key(name.value.as_str())))
        };
        for (place, action) in self.draft.actions.iter().enumerate() {
            let all = upstream.get(place).into_iter().flatten().copied().chain([place]);
            if !all.into_iter().any(starts) {
                reader.complain(
                    Problem::new(format!("`{}` would never run: no resource is before it", action.name.value))
                        .at(&action.name.span, "after no resource")
                        .at(&self.draft.top.join.span, "runs only what is after a resource that has fired")
                        .help("name a watched resource in `after`, here or in an action before it"),
                );
            }
        }
    }

    /// Checks that watched resources are read and start an action. With cycles, the actions after a
    /// resource are not defined.
    fn watched(&self, reader: &mut Reader<'_>, has_cycles: bool) {
        for resource in &self.draft.resources {
            let name = resource.name.value.as_str();
            if self.is_watched(name) != Some(true) {
                continue;
            }
            let names = |list: &[At<String>]| list.iter().any(|item| item.value == name);
            let Some(first) = self.draft.actions.iter().find(|action| names(&action.reads)) else {
                reader.complain(
                    Problem::new(format!("`{name}` is watched, and no action reads it"))
                        .at(&resource.name.span, "watched")
                        .help(format!("add `reads = [\"{name}\"]` to an action, or remove `watch`")),
                );
                continue;
            };
            if !has_cycles && !self.draft.actions.iter().any(|action| names(&action.after)) {
                reader.complain(
                    Problem::new(format!("`{name}` is watched, and no action is after it, so it would start nothing"))
                        .at(&resource.name.span, "watched")
                        .help(be_after(first, name)),
                );
            }
        }
    }

    /// Draws the cycles. Returns whether there are any.
    fn cycles(&self, reader: &mut Reader<'_>) -> bool {
        let mut left = self.on_cycles();
        let found = !left.is_empty();
        let mut drawn = 0;
        while let Some(start) = left.iter().next().copied() {
            // A remaining action may not be on a cycle itself, but between two cycles.
            let Some(cycle) = self.shortest_cycle(start, &left) else {
                left.remove(&start);
                continue;
            };
            for place in &cycle {
                left.remove(place);
            }
            if drawn < MAX_CYCLES {
                self.draw(reader, &cycle);
            }
            drawn += 1;
        }
        found
    }

    /// Returns the actions that remain after repeatedly removing those without predecessors or
    /// successors.
    fn on_cycles(&self) -> BTreeSet<usize> {
        let mut left: BTreeSet<usize> = (0..self.draft.actions.len()).collect();
        loop {
            let inner: BTreeSet<usize> = left
                .iter()
                .copied()
                .filter(|place| self.before(*place).iter().any(|other| left.contains(other)))
                .collect();
            let followed: BTreeSet<usize> = inner.iter().flat_map(|place| self.before(*place)).copied().collect();
            let inner: BTreeSet<usize> = inner.intersection(&followed).copied().collect();
            if inner.len() == left.len() {
                return left;
            }
            left = inner;
        }
    }

    /// Returns the shortest path from `start` back to itself, against the edges: each action is
    /// after the next.
    fn shortest_cycle(&self, start: usize, among: &BTreeSet<usize>) -> Option<Vec<usize>> {
        let mut came_from = BTreeMap::new();
        let mut todo = VecDeque::from([start]);
        while let Some(place) = todo.pop_front() {
            for next in self.before(place).iter().copied().filter(|next| among.contains(next)) {
                if next == start {
                    let mut way = vec![place];
                    while let Some(earlier) = way.last().and_then(|last| came_from.get(last)) {
                        way.push(*earlier);
                    }
                    way.reverse();
                    return Some(way);
                }
                if let Entry::Vacant(unseen) = came_from.entry(next) {
                    unseen.insert(place);
                    todo.push_back(next);
                }
            }
        }
        None
    }

    /// Draws a cycle as a path in the direction of the data.
    fn draw(&self, reader: &mut Reader<'_>, cycle: &[usize]) {
        let actions: Vec<&UncheckedAction> = cycle.iter().filter_map(|place| self.action(*place)).collect();
        let Some(first) = actions.first() else { return };
        let mut path = vec![first.name.value.as_str()];
        let back = actions.iter().rev().map(|action| action.name.value.as_str());
        if actions.len() > MAX_DRAWN {
            path.extend(back.clone().take(MAX_DRAWN - 2).chain(["…"]).chain(back.skip(actions.len() - 1)));
        } else {
            path.extend(back);
        }
        let mut problem = Problem::new(format!("the actions wait for each other in a cycle: {}", path.join(" -> ")));
        let befores = actions.iter().cycle().skip(1);
        for (action, before) in actions.iter().zip(befores).take(MAX_DRAWN) {
            if let Some(edge) = action.after.iter().find(|name| name.value == before.name.value) {
                problem = problem.at(&edge.span, format!("`{}` waits for `{}`", action.name.value, before.name.value));
            }
        }
        reader.complain(problem.help("remove one of these from its `after`"));
    }
}
