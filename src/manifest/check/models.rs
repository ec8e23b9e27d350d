//! Checks that an action writes to each resource whose outputs are versions of a model.

use super::super::problem::Problem;
use super::super::read::UncheckedManifest;
use super::super::tree::Reader;

/// Checks `model` of each resource. Leaves it alone if the actions could not be read in full.
pub(in super::super) fn models(reader: &mut Reader<'_>, draft: &UncheckedManifest) {
    if reader.is_incomplete() {
        return;
    }
    for resource in &draft.resources {
        let (Some(model), name) = (&resource.model, &resource.name.value) else { continue };
        if !draft.actions.iter().flat_map(|action| &action.writes).any(|written| written.value == *name) {
            reader.complain(
                Problem::new(format!("no action writes `{name}`, so it gets no versions of `{}`", model.value))
                    .at(&model.span, "has no effect")
                    .help(format!(
                        "remove it, or add `writes = [\"{name}\"]` to the action that makes the model; \
                         `anacostia models register` registers other artifacts"
                    )),
            );
        }
    }
}
