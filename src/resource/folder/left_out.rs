//! Lists files that only `ignore` or `include` leaves out, for display.
//!
//! A user who drops `data.tmp`, or `data.txt` where only `*.csv` counts, waits for a run that never
//! starts. The scan does not note such files, because thousands may come and go.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::Folder;
use super::tree::Root;
use super::unsupported::shown;
use crate::resource::LeftOut;

/// The most entries that a search looks at.
const MAX_LOOKED_AT: usize = 10_000;

/// Returns such files, at most `most` for each reason. Looks at only a part of a large folder,
/// and leaves out what cannot be listed.
pub(super) fn find(folder: &Folder, most: usize) -> LeftOut {
    let Ok(root) = Root::open(&folder.spec.path) else { return LeftOut::default() };
    let (folders, found) = (vec![OsString::new()], LeftOut::default());
    let mut search = Search { folder, root, folders, left: MAX_LOOKED_AT, found };
    while search.left > 0
        && (search.found.by_name.len() < most || search.found.not_included.len() < most)
        && let Some(next) = search.folders.pop()
    {
        // The watch reports folders that cannot be listed.
        let _ = search.list(&next);
    }
    let mut found = search.found;
    for paths in [&mut found.by_name, &mut found.not_included] {
        paths.truncate(most);
        paths.sort();
    }
    found
}

struct Search<'a> {
    folder: &'a Folder,
    root: Root,
    /// The folders to list.
    folders: Vec<OsString>,
    /// How many more entries to look at.
    left: usize,
    found: LeftOut,
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
                FileType::RegularFile => {
                    let (names, found) = (&self.folder.names, &mut self.found);
                    if names.ignores_only(&path) {
                        found.by_name.push(shown(&path).into());
                    } else if names.misses_include(&path) {
                        found.not_included.push(shown(&path).into());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
