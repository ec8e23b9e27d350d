//! Checks that the names in `uses` of actions have a limit in `concurrency` of the pipeline.

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
