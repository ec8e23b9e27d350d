//! The keys of the kind `folder`.

use std::path::PathBuf;

use super::{checked_globs, globs, matches_nothing};
use crate::manifest::pipeline::FolderSpec;
use crate::manifest::read::path::checked_path;
use crate::manifest::tree::{At, Reader, Table};

/// Reads a folder, and its path as written.
pub(super) fn read(reader: &mut Reader<'_>, table: &Table<'_>) -> (FolderSpec, Option<At<String>>) {
    let path = reader.required_string(table, "path", "\"data/raw\"");
    let folder = path.as_ref().map(|path| path.value.clone());
    let path = checked_path(reader, path);
    let include = globs(reader, table, "include", folder.as_deref());
    let exclude = globs(reader, table, "exclude", folder.as_deref());
    let ignore = ignored_names(reader, table);
    let settle = reader.duration_or_default(table, "settle");
    let rescan = reader.duration_or_default(table, "rescan");
    let folder = FolderSpec { path: PathBuf::new(), include, exclude, ignore, settle, rescan };
    (folder, path)
}

/// Reads globs of names at any depth of the resource.
fn ignored_names(reader: &mut Reader<'_>, table: &Table<'_>) -> Vec<String> {
    if table.get("ignore").is_none() {
        return FolderSpec::default_ignore();
    }
    checked_globs(reader, table, ("ignore", "[\"*.tmp\"]"), |glob| {
        let (wrong, help) = if glob.contains('/') {
            ("it has a `/` in it, and a name never does".to_owned(), "put globs of paths into `exclude`")
        } else {
            (matches_nothing(glob, None)?.0, "such as `*.tmp`, `.*` or `*.{part,partial}`")
        };
        Some((format!("name: {wrong}"), help.to_owned()))
    })
}
