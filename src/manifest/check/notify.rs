//! Checks that notifications refer to what is there.

use super::super::problem::{Problem, quoted};
use super::super::read::UncheckedManifest;
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
        if is_watched {
            continue;
        }
        let unreachable = it.on.iter().find(|cause| cause.value == NotifyCause::ResourceUnreachable);
        for at in unreachable.map(|cause| &cause.span).into_iter().chain(&it.silence) {
            reader.complain(
                Problem::new("no resource is watched, so this notification would never be sent")
                    .at(at, "here")
                    .help("remove it, or add `watch = true` to a resource"),
            );
        }
    }
}
