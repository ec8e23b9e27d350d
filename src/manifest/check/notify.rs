//! Checks that notifications refer to what is there.

use std::ops::Range;

use super::super::problem::{Problem, quoted};
use super::super::read::{UncheckedAction, UncheckedManifest, UncheckedNotify, UncheckedResource};
use super::super::tree::Reader;
use crate::model::NotifyCause;

/// Checks each `[notify.NAME]` against the actions and resources.
pub(in super::super) fn notify(reader: &mut Reader<'_>, draft: &UncheckedManifest) {
    if reader.is_incomplete() {
        return;
    }
    let is_watched = draft
        .resources
        .iter()
        .any(|resource| resource.perhaps_watched || resource.spec.as_ref().is_none_or(|spec| spec.watch));
    let is_written = draft.actions.iter().any(|action| action.perhaps_more || !action.writes.is_empty());
    for it in &draft.notify {
        if let Some(action) = &it.action
            && !draft.actions.iter().any(|known| known.name.value == action.value)
        {
            reader.complain(
                Problem::new(format!("there is no action {}", quoted(&action.value)))
                    .at(&action.span, "not an action")
                    .help("`action` names one of `[actions.NAME]`"),
            );
        }
        unasked(reader, draft, it);
        resources(reader, draft, it);
        if is_watched || !it.resources.is_empty() {
            continue;
        }
        // Outputs that cannot be published make a resource unreachable too.
        let unreachable = it.on.iter().find(|cause| cause.value == NotifyCause::ResourceUnreachable && !is_written);
        if let Some(cause) = unreachable {
            reader.complain(never_sent("no resource is watched or written", &cause.span));
        }
        if let Some(silence) = &it.silence {
            reader.complain(never_sent("no resource is watched", silence));
        }
    }
}

/// Checks that the resources of a notification are there, and watched if it is told of silence.
fn resources(reader: &mut Reader<'_>, draft: &UncheckedManifest, it: &UncheckedNotify) {
    for name in &it.resources {
        let shown = quoted(&name.value);
        let problem = match draft.resources.iter().find(|resource| resource.name.value == name.value) {
            None => Problem::new(format!("there is no resource {shown}"))
                .at(&name.span, "not a resource")
                .help("`resources` names some of `[resources.NAME]`"),
            Some(resource) if it.silence.is_some() && is_unwatched(resource) => {
                Problem::new(format!("{shown} is not watched, so nothing in it is ever new"))
                    .at(&name.span, "not watched")
                    .help(format!("remove it, or add `watch = true` to `[resources.{}]`", name.value))
            }
            Some(resource)
                if it.on.iter().any(|cause| cause.value == NotifyCause::ResourceUnreachable)
                    && is_unwatched(resource)
                    && !is_written(draft, &name.value) =>
            {
                Problem::new(format!("{shown} is neither watched nor written, so it is never unreachable"))
                    .at(&name.span, "never used")
                    .help(format!("remove it, or add `watch = true` to `[resources.{}]`", name.value))
            }
            Some(_) => continue,
        };
        reader.complain(problem);
    }
}

/// Returns whether the resource is certainly not watched.
fn is_unwatched(resource: &UncheckedResource) -> bool {
    !resource.perhaps_watched && resource.spec.as_ref().is_some_and(|spec| !spec.watch)
}

/// Returns whether an action writes to the resource, or perhaps does.
fn is_written(draft: &UncheckedManifest, resource: &str) -> bool {
    draft.actions.iter().any(|action| action.perhaps_more || action.writes.iter().any(|it| it.value == resource))
}

fn never_sent(why: &str, at: &Range<usize>) -> Problem {
    Problem::new(format!("{why}, so this notification would never be sent"))
        .at(at, "here")
        .help("remove it, or add `watch = true` to a resource")
}

/// Checks that an action asks for approval if somebody is to be told of it.
fn unasked(reader: &mut Reader<'_>, draft: &UncheckedManifest, it: &UncheckedNotify) {
    let Some(cause) = it.on.iter().find(|cause| cause.value == NotifyCause::AwaitingApproval) else { return };
    let named = |action: &&UncheckedAction| it.action.as_ref().is_none_or(|name| name.value == action.name.value);
    let mut actions = draft.actions.iter().filter(named).peekable();
    if actions.peek().is_some() && !actions.any(|action| action.asks) {
        let which =
            it.action.as_ref().map_or("no action needs".to_owned(), |name| format!("{} needs no", quoted(&name.value)));
        reader.complain(
            Problem::new(format!("{which} approval, so nobody would ever be told of one"))
                .at(&cause.span, "here")
                .help("remove it, or add `approval = { who = \"data team\" }` to the action"),
        );
    }
}
