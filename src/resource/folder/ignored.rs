//! Lists, for display, files that are skipped only because of their names.
//!
//! A user who drops `data.tmp` waits for a run that never starts. The scan does not note such
//! files, because the names are temporary, and thousands may come and go.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::Folder;
use super::tree::Root;
use super::unsupported::shown;

/// The most entries that a search looks at.
const MAX_LOOKED_AT: usize = 10_000;

/// Returns the escaped paths of such files, at most `most`. Looks at only a part of a large folder,
/// and leaves out what cannot be listed.
pub(super) fn find(folder: &Folder, most: usize) -> Vec<String> {
    let Ok(root) = Root::open(&folder.spec.path) else { return Vec::new() };
    let mut search = Search { folder, root, folders: vec![OsString::new()], left: MAX_LOOKED_AT, found: Vec::new() };
    while search.left > 0
        && search.found.len() < most
        && let Some(next) = search.folders.pop()
    {
        // The watch reports folders that cannot be listed.
        let _ = search.list(&next);
    }
    search.found.truncate(most);
    search.found.sort();
    search.found
}

struct Search<'a> {
    folder: &'a Folder,
    root: Root,
    /// The folders to list.
    folders: Vec<OsString>,
    /// How many more entries to look at.
    left: usize,
    found: Vec<String>,
}

impl Search<'_> {
    fn list(&mut self, folder: &OsStr) -> Result<(), Errno> {
        for entry in self.root.open_folder(folder)?.take(self.left) {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            self.left = self.left.saturating_sub(1);
            if matches!(name, b"." | b"..") {
                continue;
            }
            let mut path = folder.as_bytes().to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            let path = OsString::from_vec(path);
            match entry.file_type() {
                FileType::Directory if self.folder.names.enters(&path) => self.folders.push(path),
                FileType::RegularFile if self.folder.names.ignores_only(&path) => self.found.push(shown(&path).into()),
                _ => {}
            }
        }
        Ok(())
    }
}
