//! Reads the tree of a TOML text into an unchecked manifest, and checks each value by itself.
//!
//! [`check`](super::check) then checks relations between values (names, edges, files). It works on
//! the unchecked manifest, which still has the place of each value, and which exists even if many
//! values are invalid.

mod action;
mod approval;
mod cache;
mod command;
mod component;
mod concurrency;
mod decider;
mod http;
mod late;
mod notify;
mod openlineage;
mod params;
mod path;
mod postgres;
mod redis;
mod resource;
mod retention;
mod secrets;
mod store;
pub(super) mod tables;
mod top;
mod trigger;
mod variables;

use std::path::PathBuf;

use toml::de::DeTable;

use super::action::{ActionSpec, RunWhen};
use super::condition::TriggerSpec;
use super::keys::{self, Keys};
use super::openlineage::OpenLineageSpec;
use super::pipeline::{NotifySpec, ResourceSpec};
use super::problem::{Problem, quoted};
use super::retention::Retention;
use super::settings::MAX_NODES;
use super::tree::{At, Reader, Table};
use crate::base::{Digest, bounds, check_name};
use crate::model::NotifyCause;
pub(super) use late::Depends;
use late::LateProblem;
pub(super) use store::at as store_at;
use top::Top;

/// The name of the node that every pipeline has.
const STORE_NODE: &str = "metadata_store";

/// A manifest that has been read, with the places of the values that are checked later.
pub(super) struct UncheckedManifest {
    pub(super) top: Top,
    pub(super) resources: Vec<UncheckedResource>,
    pub(super) actions: Vec<UncheckedAction>,
    pub(super) triggers: Vec<UncheckedTrigger>,
    pub(super) notify: Vec<UncheckedNotify>,
    pub(super) openlineage: Vec<UncheckedOpenLineage>,
    pub(super) retention: Retention,
}

impl UncheckedManifest {
    /// Returns the components of its triggers.
    pub(super) fn deciders(&self) -> impl Iterator<Item = &UncheckedDecider> {
        let of_resources = self.resources.iter().flat_map(|resource| &resource.deciders);
        of_resources.chain(self.triggers.iter().flat_map(|trigger| &trigger.deciders))
    }
}

/// A resource that has been read.
pub(super) struct UncheckedResource {
    pub(super) name: At<String>,
    /// `None` if its kind is unknown, because its other keys are then unknown too.
    pub(super) spec: Option<ResourceSpec>,
    /// `path` as written.
    pub(super) path: Option<At<String>>,
    /// The place of `prefix` or `bucket`, or of its name.
    pub(super) place: std::ops::Range<usize>,
    /// The components of its trigger.
    pub(super) deciders: Vec<UncheckedDecider>,
    /// Whether a key that could not be read may mean that the resource is watched.
    pub(super) perhaps_watched: bool,
    /// `model` as written.
    pub(super) model: Option<At<String>>,
    /// What has no effect in it.
    pub(super) late: Vec<LateProblem>,
}

/// An action that has been read.
pub(super) struct UncheckedAction {
    pub(super) name: At<String>,
    pub(super) spec: ActionSpec,
    /// `component` as written.
    pub(super) component: Option<At<String>>,
    pub(super) digest: Option<At<Digest>>,
    /// `build.watch` as written.
    pub(super) sources: Vec<At<String>>,
    pub(super) after: Vec<At<String>>,
    pub(super) reads: Vec<At<String>>,
    pub(super) writes: Vec<At<String>>,
    pub(super) tables: Vec<tables::UncheckedTables>,
    pub(super) uses: Vec<At<String>>,
    /// Whether an unknown key may mean `uses`.
    pub(super) perhaps_uses: bool,
    pub(super) retrigger: Option<At<bool>>,
    /// The keys of the action that only commands may have.
    pub(super) for_commands: Vec<At<&'static str>>,
    pub(super) run_when: Option<At<RunWhen>>,
    /// Whether it has `approval`, or an unknown key may mean that.
    pub(super) asks: bool,
    /// Whether an unknown key may mean `after`, `reads` or `writes`.
    pub(super) perhaps_more: bool,
}

/// A component of a trigger that has been read.
pub(super) struct UncheckedDecider {
    /// The name of its trigger.
    pub(super) trigger: String,
    /// The file as written.
    pub(super) text: At<String>,
    /// The file, absolute once the paths are filled in.
    pub(super) file: PathBuf,
    pub(super) digest: Option<At<Digest>>,
    pub(super) is_built: bool,
    /// `build.watch` as written.
    pub(super) sources: Vec<At<String>>,
    /// The size of its own params as JSON.
    pub(super) params_bytes: usize,
}

/// A trigger that has been read.
pub(super) struct UncheckedTrigger {
    pub(super) name: At<String>,
    pub(super) spec: TriggerSpec,
    pub(super) deciders: Vec<UncheckedDecider>,
}

/// A notification that has been read.
pub(super) struct UncheckedNotify {
    /// `None` if it cannot be sent as it is written.
    pub(super) spec: Option<NotifySpec>,
    pub(super) on: Vec<At<NotifyCause>>,
    pub(super) action: Option<At<String>>,
    pub(super) resources: Vec<At<String>>,
    /// The place of `nothing_new_for`.
    pub(super) silence: Option<std::ops::Range<usize>>,
}

/// A receiver of OpenLineage events that has been read.
pub(super) struct UncheckedOpenLineage {
    /// `None` if nothing can be sent as it is written.
    pub(super) spec: Option<OpenLineageSpec>,
    /// `path` as written.
    pub(super) path: Option<At<String>>,
}

/// Reads a manifest.
pub(super) fn draft(reader: &mut Reader<'_>, tree: &DeTable<'_>) -> UncheckedManifest {
    let root = reader.section(&Table::root(tree), &keys::ROOT);
    if root.in_order().iter().any(|(key, value)| !keys::ROOT.knows(key.value) && value.get_ref().is_table()) {
        reader.mark_incomplete();
    }
    let top = top::read(reader, &root);
    let resources = nodes(reader, &root, "resources", "[resources.raw]", resource::read);
    let actions = nodes(reader, &root, "actions", "[actions.train]", action::read);
    let triggers = nodes(reader, &root, "triggers", "[triggers.nightly]", trigger::read);
    let notify = nodes(reader, &root, "notify", "[notify.ops]", notify::read);
    let openlineage = nodes(reader, &root, "openlineage", "[openlineage.marquez]", openlineage::read);
    let retention = retention::read(reader, &root);
    let draft = UncheckedManifest { top, resources, actions, triggers, notify, openlineage, retention };
    check_params(reader, &draft);
    check_schema(reader, &root, &draft);
    draft
}

/// Reads each table in `[resources]`, `[actions]`, `[triggers]`, `[notify]` or `[openlineage]`.
fn nodes<T>(
    reader: &mut Reader<'_>,
    root: &Table<'_>,
    key: &str,
    example: &str,
    read: impl Fn(&mut Reader<'_>, At<String>, &Table<'_>) -> T,
) -> Vec<T> {
    let Some(value) = root.get(key) else { return Vec::new() };
    let Some(tables) = reader.open_table(format!("[{key}]"), root.key_span(key), value, &format!("`{example}`")) else {
        reader.mark_incomplete();
        return Vec::new();
    };
    let mut entries = tables.in_order();
    let all = match key {
        "notify" => "notifications",
        "openlineage" => "receivers of lineage",
        _ => key,
    };
    if let Some((first, _)) = entries.get(MAX_NODES) {
        reader.complain(
            Problem::new(format!("there are {} {all}; the maximum is {MAX_NODES}", entries.len()))
                .at(&first.span, "the first too many"),
        );
        entries.truncate(MAX_NODES);
        reader.mark_incomplete();
    }
    let mut nodes = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let refused = match check_name(name.value) {
            Err(error) => Some(error.to_string()),
            Ok(()) => (name.value == STORE_NODE).then(|| "the metadata store has this name".to_owned()),
        };
        if let Some(why) = refused {
            reader.complain(
                Problem::new(format!("{} cannot name one of the {all}", quoted(name.value)))
                    .at(&name.span, "this name")
                    .help(why),
            );
        }
        let title = format!("[{key}.{}]", quoted(name.value).trim_matches('`'));
        match reader.open_table(title, name.span.clone(), value, &format!("`{example}`")) {
            Some(table) => nodes.push(read(reader, At { value: name.value.to_owned(), span: name.span }, &table)),
            None => reader.mark_incomplete(),
        }
    }
    nodes
}

/// Checks that the params of each action, merged over those of the pipeline, fit into the limit for
/// an action.
fn check_params(reader: &mut Reader<'_>, draft: &UncheckedManifest) {
    let size = |params: &serde_json::Map<_, _>| serde_json::to_vec(params).map_or(0, |json| json.len());
    let shared = size(&draft.top.params);
    for action in &draft.actions {
        let own = size(&action.spec.params);
        if shared.saturating_add(own) > bounds::MAX_PARAMS_BYTES {
            let most = crate::base::ByteSize(bounds::MAX_PARAMS_BYTES as u64);
            reader.complain(
                Problem::new(format!("the params of `{}` are larger than {most} as JSON", action.name.value))
                    .at(&action.name.span, "with those of the pipeline")
                    .help("put large values into a file in a resource"),
            );
        }
    }
    for decider in draft.deciders() {
        if shared.saturating_add(decider.params_bytes) > bounds::MAX_PARAMS_BYTES {
            let most = crate::base::ByteSize(bounds::MAX_PARAMS_BYTES as u64);
            reader.complain(
                Problem::new(format!("the params of {} are larger than {most} as JSON", quoted(&decider.text.value)))
                    .at(&decider.text.span, "with those of the pipeline"),
            );
        }
    }
}

/// Checks that the params of the pipeline fit `params_schema`. A missing param is a problem only if
/// runs start by themselves, because a person can give it.
fn check_schema(reader: &mut Reader<'_>, root: &Table<'_>, draft: &UncheckedManifest) {
    let (Some(schema), Some(value)) = (&draft.top.params_schema, root.get("pipeline")) else { return };
    let Some(table) = reader.open_table("[pipeline]", root.key_span("pipeline"), value, "`[pipeline]`") else { return };
    let watches = |resource: &UncheckedResource| resource.spec.as_ref().is_some_and(|spec| spec.watch);
    let by_themselves = !draft.triggers.is_empty() || draft.resources.iter().any(watches);
    let mut errors = schema.errors(&draft.top.params);
    errors.retain(|error| by_themselves || !error.is_missing);
    params::report(reader, &table, &errors);
}

/// Reads a nested table with known keys: `trigger`, `cron`, `limits`, `retry`, `build`.
fn inner<'t>(
    reader: &mut Reader<'_>,
    parent: &Table<'t>,
    key: &str,
    keys: &'static Keys,
    example: &str,
) -> Option<Table<'t>> {
    reader.table(parent, key, format!("`{key}` of {}", parent.name), keys, &format!("`{key} = {example}`"))
}

/// Refuses duplicates in a list.
fn refuse_twice(reader: &mut Reader<'_>, key: &str, items: &[At<String>]) {
    let mut seen = std::collections::BTreeMap::new();
    for item in items {
        if let Some(first) = seen.insert(item.value.as_str(), item) {
            reader.complain(
                Problem::new(format!("{} appears twice in `{key}`", quoted(&item.value)))
                    .at(&item.span, "again")
                    .at(&first.span, "first"),
            );
        }
    }
}
