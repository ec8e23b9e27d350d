//! Checks the files to which OpenLineage events are written.

use std::path::Path;

use super::super::pipeline::{LocalData, ResourceSpec};
use super::super::place::absolute;
use super::super::problem::{Problem, quoted};
use super::super::read::UncheckedManifest;
use super::super::tree::Reader;
use super::paths::real;

/// Checks that no file of events is a folder, or lies in a resource, whose watch would take it for
/// an artifact.
pub(in super::super) fn openlineage(reader: &mut Reader<'_>, folder: &Path, draft: &UncheckedManifest) {
    for it in &draft.openlineage {
        let Some(text) = &it.path else { continue };
        let path = absolute(folder, &text.value);
        let shown = quoted(&text.value);
        if path.is_dir() || text.value.ends_with('/') || text.value.is_empty() {
            let problem = Problem::new(format!("{shown} is a folder, not a file")).at(&text.span, "here");
            reader.complain(problem.help("name a file, such as `path = \"lineage.jsonl\"`"));
            continue;
        }
        let Some(file) = real(&path) else { continue };
        let inside = draft.resources.iter().find(|resource| {
            let data = resource.spec.as_ref().and_then(ResourceSpec::local_data);
            data.is_some_and(|data| match data {
                LocalData::Folder(path) => real(path).is_some_and(|folder| file.starts_with(folder)),
                LocalData::File(path) => real(path).is_some_and(|other| file == other),
            })
        });
        if let Some(resource) = inside {
            let message = format!("the file {shown} would lie inside the resource `{}`", resource.name.value);
            let problem = Problem::new(message).at(&text.span, "events are written here");
            reader.complain(problem.help("put it elsewhere, such as `path = \"lineage.jsonl\"` beside the manifest"));
        }
    }
}
