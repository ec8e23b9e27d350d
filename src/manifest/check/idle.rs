//! Reports what has no effect in a resource.

use std::path::Path;

use super::super::place::absolute;
use super::super::read::UncheckedManifest;
use super::super::tree::Reader;

/// Reports the problems that were found while the resources were read. `folder` is that of the
/// manifest.
pub(in super::super) fn idle(reader: &mut Reader<'_>, folder: &Path, draft: &mut UncheckedManifest) {
    for resource in &mut draft.resources {
        let data = resource.path.as_ref().map(|path| absolute(folder, &path.value));
        for late in resource.late.drain(..) {
            let inside = late.unless.as_ref().zip(data.as_ref()).map(|(name, data)| data.join(name));
            if !inside.is_some_and(|inside| inside.exists()) {
                reader.complain(late.problem);
            }
        }
    }
}
