//! The kernel's watches: one for each folder that is looked into, and for no other.
//!
//! Not `notify`'s recursive mode: that would also watch what is temporary or excluded, our own
//! staging first of all, and each write there would cost events. The price is that new folders are
//! ours to watch, which the scan does before it lists them, so that nothing falls between.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::ops::Bound;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::dirty::Dirty;
use crate::base::filestamp::Inode;

/// The watches of one folder. Dropped, they end.
#[derive(Debug)]
pub(super) struct Watches {
    watcher: Option<RecommendedWatcher>,
    root: PathBuf,
    /// The folders that are watched, and the inode that each had.
    folders: BTreeMap<OsString, Inode>,
    /// Why some folder is not watched.
    limited: Option<String>,
}

impl Watches {
    pub(super) fn new(root: PathBuf, dirty: Arc<Dirty>) -> Self {
        let config = Config::default().with_follow_symlinks(false);
        let (watcher, limited) = match RecommendedWatcher::new(move |event| dirty.handle(event), config) {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (
                None,
                Some(format!(
                    "the system allows no more inotify instances ({error}): raise fs.inotify.max_user_instances"
                )),
            ),
        };
        Self { watcher, root, folders: BTreeMap::new(), limited }
    }

    /// Watches a folder (the empty path: the resource itself), once more if an event has told of
    /// it, for then the watch may be gone. What fails shows in [`Watches::limited`].
    pub(super) fn watch(&mut self, folder: &OsStr, inode: Inode, told: bool) {
        if !told && self.folders.get(folder) == Some(&inode) {
            return;
        }
        let Some(watcher) = &mut self.watcher else { return };
        let path = if folder.is_empty() { self.root.clone() } else { self.root.join(folder) };
        match watcher.watch(&path, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.folders.insert(folder.to_owned(), inode);
            }
            Err(error) => {
                self.folders.remove(folder);
                match error.kind {
                    // Gone already: its removal raises an event above it.
                    ErrorKind::PathNotFound => {}
                    ErrorKind::MaxFilesWatch => {
                        let why =
                            "there are more folders than the system allows watches: raise fs.inotify.max_user_watches";
                        self.limited = Some(why.to_owned());
                    }
                    _ => self.limited = Some(format!("a folder cannot be watched: {error}")),
                }
            }
        }
    }

    /// A folder is gone, and all in it. (The watcher has noticed by itself.)
    pub(super) fn forget(&mut self, folder: &OsStr) {
        self.folders.remove(folder);
        let mut prefix = folder.as_bytes().to_vec();
        prefix.push(b'/');
        let prefix = OsString::from_vec(prefix);
        let beneath = (Bound::Included(prefix.as_os_str()), Bound::Unbounded);
        let gone: Vec<_> = self
            .folders
            .range::<OsStr, _>(beneath)
            .map(|(folder, _)| folder)
            .take_while(|folder| folder.as_bytes().starts_with(prefix.as_bytes()))
            .cloned()
            .collect();
        for folder in gone {
            self.folders.remove(&folder);
        }
    }

    /// Forgets what failed, so that the next scan tries again.
    pub(super) fn retry(&mut self) {
        if self.watcher.is_some() {
            self.limited = None;
        }
    }

    /// Why some folder is not watched, if so.
    pub(super) fn limited(&self) -> Option<&str> {
        self.limited.as_deref()
    }

    /// The folders that are watched.
    #[cfg(test)]
    pub(super) fn folders(&self) -> impl Iterator<Item = &OsStr> {
        self.folders.keys().map(OsString::as_os_str)
    }
}
