//! Manages the inotify watches: one for each folder that is scanned, and for no other.
//!
//! Rejected: the recursive mode of `notify`. It would also watch temporary and excluded folders,
//! above all the staging folder, and each write there would raise events. In exchange, new folders
//! must be watched explicitly. The scan does that before it lists them, so that no change is missed
//! in between.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::ops::Bound;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::dirty::Dirty;
use crate::base::filestamp::Inode;

/// The watches of one resource. Dropping this removes them.
#[derive(Debug)]
pub(super) struct Watches {
    watcher: Option<RecommendedWatcher>,
    root: PathBuf,
    /// The watched folders, and the inode of each when it was watched.
    folders: BTreeMap<OsString, Inode>,
    /// Why some folder is not watched, if so.
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

    /// Watches a folder (the empty path: the resource itself). With `renew`, sets the watch again
    /// even if the folder is watched already, because the watch may be gone after an event about
    /// the folder. [`Watches::limited`] reports failures.
    pub(super) fn watch(&mut self, folder: &OsStr, inode: Inode, renew: bool) {
        if !renew && self.folders.get(folder) == Some(&inode) {
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
                    // The folder is gone already; its removal raises an event at its parent.
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

    /// Forgets a folder and everything beneath it. (The watcher removes the watches itself.)
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

    /// Forgets earlier failures, so that the next scan tries again.
    pub(super) fn retry(&mut self) {
        if self.watcher.is_some() {
            self.limited = None;
        }
    }

    /// Returns why some folder is not watched, if so.
    pub(super) fn limited(&self) -> Option<&str> {
        self.limited.as_deref()
    }

    /// Returns the folders that are watched.
    #[cfg(test)]
    pub(super) fn folders(&self) -> impl Iterator<Item = &OsStr> {
        self.folders.keys().map(OsString::as_os_str)
    }
}
