//! Reports what has no effect in a resource.

use std::path::Path;

use super::super::place::absolute;
use super::super::read::{Depends, UncheckedManifest};
use super::super::tree::Reader;

/// Reports the problems that were found while the resources were read. `folder` is that of the
/// manifest.
pub(in super::super) fn idle(reader: &mut Reader<'_>, folder: &Path, draft: &mut UncheckedManifest) {
    for resource in &mut draft.resources {
        let data = resource.path.as_ref().map(|path| absolute(folder, &path.value));
        for late in resource.late.drain(..) {
            let inside = |path: &String| data.as_ref().map(|data| data.join(path));
            let is_one = match &late.depends {
                Depends::Nothing => true,
                Depends::IsAbsent(path) => !inside(path).is_some_and(|inside| inside.exists()),
                Depends::IsFolder(path) => inside(path).is_some_and(|inside| inside.is_dir()),
            };
            if is_one {
                reader.complain(late.problem);
            }
        }
    }
}
