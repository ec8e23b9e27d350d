//! Checks of components: each exists, is complete, has the pinned digest, and imports only what is
//! granted.

use std::path::Path;

use super::super::component::{self, ComponentInfo, Grant, Need};
use super::super::component_cache;
use super::super::component_file::ComponentError;
use super::super::problem::{Problem, quoted};
use super::super::read::{UncheckedAction, UncheckedManifest};
use super::super::tree::{At, Reader};

/// Checks the component of each action. Inspects a component that several actions share once.
pub(in super::super) fn check(reader: &mut Reader<'_>, draft: &UncheckedManifest) {
    let with_component = draft.actions.iter().filter(|action| action.component.is_some());
    let mut looked_at =
        component_cache::inspect_all(&with_component.map(|action| action.spec.component.as_path()).collect());
    for action in &draft.actions {
        let Some(text) = &action.component else { continue };
        let path = action.spec.component.as_path();
        match looked_at.entry(path).or_insert_with(|| component_cache::inspect_known(path)) {
            Ok(info) => check_one(reader, draft, action, text, info),
            Err(error) if action.spec.build.is_none() && is_absent(error) && is_built_elsewhere(draft, path) => {}
            Err(error) => reader.complain(no_component(action, text, error)),
        }
    }
}

fn is_absent(error: &ComponentError) -> bool {
    matches!(error, ComponentError::Unreadable(cause) if cause.kind() == std::io::ErrorKind::NotFound)
}

/// Returns whether another action with the same component has a build command. The problem is then
/// reported for that action.
fn is_built_elsewhere(draft: &UncheckedManifest, path: &Path) -> bool {
    draft.actions.iter().any(|action| action.spec.build.is_some() && action.spec.component == path)
}

/// Returns the problem for a file that is missing or not a component.
fn no_component(action: &UncheckedAction, text: &At<String>, error: &ComponentError) -> Problem {
    let file = quoted(&text.value);
    match error {
        error if is_absent(error) => {
            let help = if action.spec.build.is_some() {
                "run with `--build`, or build it first: `anacostia build`".to_owned()
            } else {
                format!(
                    "compile it, or say how:\n[actions.{}]\nbuild = {{ command = \"./build.sh\" }}",
                    action.name.value
                )
            };
            let message = match action.spec.build {
                Some(_) => format!("the component {file} is not built yet"),
                None => format!("there is no file {file}"),
            };
            Problem::new(message).at(&text.span, "not there").help(help)
        }
        error => Problem::new(format!("{file} {error}"))
            .at(&text.span, "no component")
            .maybe_help(error.advice().map(str::to_owned)),
    }
}

/// Checks the component of one action against the manifest.
fn check_one(
    reader: &mut Reader<'_>,
    draft: &UncheckedManifest,
    action: &UncheckedAction,
    text: &At<String>,
    info: &ComponentInfo,
) {
    if let Some(pin) = action.digest.as_ref().filter(|pin| pin.value != info.digest) {
        reader.complain(
            Problem::new(format!("{} is not the component that `digest` pins", quoted(&text.value)))
                .at(&pin.span, "pinned")
                .at(&text.span, "another")
                .help(format!("pinned: {}\nfound:  {}", pin.value, info.digest)),
        );
    }
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
                    .at(&key.span, "says nothing to it")
                    .at(&text.span, "has `run` of the contract")
                    .help("an action of the contract is told what to do by `params`, and opens its inputs itself"),
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
