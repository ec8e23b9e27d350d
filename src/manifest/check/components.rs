//! Checks of components: each exists, is complete, has the pinned digest, and imports only what is
//! granted.

use std::path::Path;

use super::super::component::{self, ComponentInfo, Grant, Need};
use super::super::component_cache;
use super::super::component_file::ComponentError;
use super::super::problem::{Problem, quoted};
use super::super::read::{UncheckedAction, UncheckedManifest};
use super::super::tree::{At, Reader};
use crate::base::Digest;

/// A component that the manifest names.
struct Used<'d> {
    text: &'d At<String>,
    file: &'d Path,
    digest: Option<&'d At<Digest>>,
    is_built: bool,
    user: User<'d>,
}

/// Who uses a component.
#[derive(Clone, Copy)]
enum User<'d> {
    Action(&'d UncheckedAction),
    /// A trigger, by its name.
    Trigger(&'d str),
}

/// Returns the components of actions and triggers.
fn used(draft: &UncheckedManifest) -> Vec<Used<'_>> {
    let actions = draft.actions.iter().filter_map(|action| {
        Some(Used {
            text: action.component.as_ref()?,
            file: &action.spec.component,
            digest: action.digest.as_ref(),
            is_built: action.spec.build.is_some(),
            user: User::Action(action),
        })
    });
    let deciders = draft.deciders().map(|decider| Used {
        text: &decider.text,
        file: &decider.file,
        digest: decider.digest.as_ref(),
        is_built: decider.is_built,
        user: User::Trigger(&decider.trigger),
    });
    actions.chain(deciders).collect()
}

/// Checks each component. Inspects a component that is used several times once.
pub(in super::super) fn check(reader: &mut Reader<'_>, draft: &UncheckedManifest) {
    let all = used(draft);
    let mut looked_at = component_cache::inspect_all(&all.iter().map(|used| used.file).collect());
    for used in &all {
        match looked_at.entry(used.file).or_insert_with(|| component_cache::inspect_known(used.file)) {
            Ok(info) => check_one(reader, draft, used, info),
            // The problem is reported where the component is built.
            Err(error) if !used.is_built && is_absent(error) && is_built_elsewhere(&all, used.file) => {}
            Err(error) => reader.complain(no_component(used, error)),
        }
    }
}

fn is_absent(error: &ComponentError) -> bool {
    matches!(error, ComponentError::Unreadable(cause) if cause.kind() == std::io::ErrorKind::NotFound)
}

fn is_built_elsewhere(all: &[Used<'_>], file: &Path) -> bool {
    all.iter().any(|used| used.is_built && used.file == file)
}

/// Returns the problem for a file that is missing or not a component.
fn no_component(used: &Used<'_>, error: &ComponentError) -> Problem {
    let (file, text) = (quoted(&used.text.value), used.text);
    match error {
        error if is_absent(error) && used.is_built => Problem::new(format!("the component {file} is not built yet"))
            .at(&text.span, "not there")
            .help("run with `--build`, or build it first: `anacostia build`"),
        error if is_absent(error) => {
            let build = "build = { command = \"./build.sh\" }";
            let help = match used.user {
                User::Action(action) => {
                    format!("compile it, or say how:\n[actions.{}]\n{build}", action.name.value)
                }
                User::Trigger(_) => {
                    let file = text.value.replace('\\', "\\\\").replace('"', "\\\"");
                    format!("compile it, or say how:\ncomponent = {{ file = \"{file}\", {build} }}")
                }
            };
            Problem::new(format!("there is no file {file}")).at(&text.span, "not there").help(help)
        }
        error => Problem::new(format!("{file} {error}"))
            .at(&text.span, "no component")
            .maybe_help(error.advice().map(str::to_owned)),
    }
}

/// Checks one component against the manifest.
fn check_one(reader: &mut Reader<'_>, draft: &UncheckedManifest, used: &Used<'_>, info: &ComponentInfo) {
    let text = used.text;
    if let Some(pin) = used.digest.filter(|pin| pin.value != info.digest) {
        reader.complain(
            Problem::new(format!("{} is not the component that `digest` pins", quoted(&text.value)))
                .at(&pin.span, "pinned")
                .at(&text.span, "another")
                .help(format!("pinned: {}\nfound:  {}", pin.value, info.digest)),
        );
    }
    match used.user {
        User::Action(action) => check_action(reader, draft, action, text, info),
        User::Trigger(trigger) => check_trigger(reader, trigger, text, info),
    }
}

/// Checks the component of a trigger.
fn check_trigger(reader: &mut Reader<'_>, trigger: &str, text: &At<String>, info: &ComponentInfo) {
    if let Some(why) = info.not_a_trigger() {
        reader.complain(
            Problem::new(format!("{} {why}", quoted(&text.value)))
                .at(&text.span, format!("cannot decide for `{trigger}`"))
                .help("a trigger asks a component of the world `trigger` in `wit/trigger.wit`"),
        );
        return;
    }
    for (import, need) in info.needs() {
        if let Need::Refused(why) = need {
            reader.complain(Problem::new(component::refusal(import, &why)).at(&text.span, "imports it"));
        }
    }
}

/// Checks the component of one action.
fn check_action(
    reader: &mut Reader<'_>,
    draft: &UncheckedManifest,
    action: &UncheckedAction,
    text: &At<String>,
    info: &ComponentInfo,
) {
    if let Some(why) = info.not_an_action() {
        reader.complain(
            Problem::new(format!("{} {why}", quoted(&text.value)))
                .at(&text.span, "no action")
                .help("an action is a component of the world `guest` in `wit/pipeline.wit`, or a command of WASI 0.2"),
        );
    }
    if info.not_an_action().is_none() && !info.is_command() {
        for key in &action.for_commands {
            let name = key.value;
            reader.complain(
                Problem::new(format!("`{name}` is for commands, and {} is not one", quoted(&text.value)))
                    .at(&key.span, "has no effect")
                    .at(&text.span, "exports `run` of the contract")
                    .help("an action of the contract reads its `params`, and opens its inputs itself"),
            );
        }
    }
    let mut asked = std::collections::BTreeSet::new();
    for (import, need) in info.needs() {
        // Request each grant only once.
        if let Need::Grant(grant) = need
            && !asked.insert(grant)
        {
            continue;
        }
        let problem = match need {
            Need::Refused(why) => Problem::new(component::refusal(import, &why)),
            // The host denies the actual calls one by one.
            Need::Grant(Grant::Resources) if info.imports_whole_world() => continue,
            Need::Grant(Grant::Resources) if action.reads.is_empty() && action.writes.is_empty() => {
                Problem::new(component::refusal(import, &format!("`{}` is granted no resource", action.name.value)))
                    .help(format!("add\n{}", Grant::Resources.lines(&action.name.value, example(draft, action))))
            }
            Need::Grant(Grant::Http) if action.spec.http.is_empty() => {
                Problem::new(component::refusal(import, &format!("`{}` is granted no host", action.name.value)))
                    .help(format!("add\n{}", Grant::Http.lines(&action.name.value, "")))
            }
            Need::Grant(Grant::Resources | Grant::Http) | Need::Nothing => continue,
        };
        reader.complain(problem.at(&text.span, "imports it"));
    }
}

/// Returns a resource for the example: one that the action is after, or the first.
fn example<'d>(draft: &'d UncheckedManifest, action: &UncheckedAction) -> &'d str {
    let is_before = |name: &str| action.after.iter().any(|after| after.value == name);
    let mut names = draft.resources.iter().map(|resource| resource.name.value.as_str());
    names.clone().find(|name| is_before(name)).or_else(|| names.next()).unwrap_or("raw")
}
