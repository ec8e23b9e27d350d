//! Checks that the names in `uses` of actions have a limit in `concurrency` of the pipeline, and
//! that each limit is used.

use super::super::keys::nearest;
use super::super::problem::{Problem, quoted};
use super::super::read::UncheckedManifest;
use super::super::tree::Reader;
use crate::base::check_name;

/// Checks the names. Leaves them alone if the limits could not be read in full.
pub(in super::super) fn concurrency(reader: &mut Reader<'_>, draft: &UncheckedManifest) {
    if draft.top.perhaps_more_concurrency {
        return;
    }
    let limits = &draft.top.concurrency;
    for action in &draft.actions {
        for name in action.uses.iter().filter(|name| !limits.contains_key(&name.value)) {
            if reader.is_full() {
                return;
            }
            let help = match nearest(&name.value, limits.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None if check_name(&name.value).is_ok() => {
                    format!(
                        "say how many attempts may use it at once, such as\n[pipeline.concurrency]\n{} = 1",
                        name.value
                    )
                }
                None => "a name in [pipeline.concurrency] is expected, such as `gpu`".to_owned(),
            };
            reader.complain(
                Problem::new(format!("`{}` uses {}, which has no limit", action.name.value, quoted(&name.value)))
                    .at(&name.span, "not declared")
                    .help(help),
            );
        }
    }
}

/// Checks that each limit is used.
pub(in super::super) fn unused_limits(reader: &mut Reader<'_>, draft: &UncheckedManifest) {
    let perhaps_more = draft.actions.iter().any(|action| action.perhaps_uses);
    if draft.top.perhaps_more_concurrency || perhaps_more || reader.is_incomplete() {
        return;
    }
    let is_known = |name: &str| draft.top.concurrency.contains_key(name);
    for limit in draft.top.concurrency_names.iter().filter(|limit| is_known(&limit.value)) {
        // An unknown name that is like this one was reported already.
        let means = |name: &str| {
            name == limit.value || !is_known(name) && nearest(name, [limit.value.as_str()].into_iter()).is_some()
        };
        if draft.actions.iter().flat_map(|action| &action.uses).any(|name| means(&name.value)) {
            continue;
        }
        let name = &limit.value;
        reader.complain(
            Problem::new(format!("no action uses `{name}`"))
                .at(&limit.span, "limits nothing")
                .help(format!("remove it, or add `uses = [\"{name}\"]` to the actions that share it")),
        );
    }
}
