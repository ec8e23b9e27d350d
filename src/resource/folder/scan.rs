//! Looking through a folder: what of it is not as it is on record?
//!
//! A scan hashes nothing. It yields paths to look at, the same as events do, so that there is one
//! place that decides what has happened.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::fs::{AtFlags, Dir, FileType, Stat};
use rustix::io::Errno;

use super::index::Index;
use super::names::Names;
use super::tree::Root;
use super::unsupported::{readable_name, shown};
use super::watches::Watches;
use crate::base::filestamp::{FileStamp, inode};

/// A look through a folder.
pub(super) struct Scan<'a> {
    pub(super) root: &'a Root,
    pub(super) names: &'a Names,
    pub(super) index: &'a mut Index,
    pub(super) watches: &'a mut Watches,
    /// Where the paths go.
    pub(super) todo: &'a mut BTreeSet<OsString>,
    /// Whether an event has told of it: then its watches are set once more.
    pub(super) told: bool,
}

/// What a scan found besides.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What was not a file and is not there any more, by escaped path.
    pub(super) unsupported_gone: Vec<Box<str>>,
    /// Folders that may be listed and not searched: what lies in them is neither there nor gone.
    pub(super) unsearchable: Vec<OsString>,
}

/// What is in a folder cannot be looked at, though it could be listed.
#[derive(Debug)]
struct Unsearchable;

impl Scan<'_> {
    /// Looks through a folder and all in it; the empty path is the resource. What is on record and
    /// was not met goes to `todo` too.
    pub(super) fn run(&mut self, start: &OsStr) -> Result<Found, Errno> {
        self.index.begin_scan();
        let mut folders = vec![start.to_owned()];
        let (mut unreadable, mut unsearchable) = (Vec::new(), Vec::new());
        while let Some(folder) = folders.pop() {
            match self.list(&folder, &mut folders) {
                Ok(Ok(())) => {}
                Ok(Err(Unsearchable)) => {
                    unsearchable.push(folder.clone());
                    unreadable.push(folder);
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !folder.is_empty() => {}
                Err(errno) if folder.is_empty() => return Err(errno),
                Err(_) => {
                    self.index.see_unsupported(&shown(&folder));
                    self.todo.insert(folder.clone());
                    unreadable.push(folder);
                }
            }
        }
        // What lies in a folder that cannot be read is neither there nor gone.
        let hidden = |path: &[u8]| {
            unreadable
                .iter()
                .any(|folder| path.strip_prefix(folder.as_bytes()).is_some_and(|rest| rest.starts_with(b"/")))
        };
        let start_text = start.to_str().unwrap_or_default();
        let gone = self.index.unseen_files(start_text).filter(|path| !hidden(path.as_bytes()));
        self.todo.extend(gone.map(OsString::from));
        let escaped: Vec<_> = unreadable.iter().map(|folder| shown(folder)).collect();
        let unsupported_hidden =
            |path: &str| escaped.iter().any(|f| path.strip_prefix(&**f).is_some_and(|rest| rest.starts_with('/')));
        let unsupported_gone = self
            .index
            .unseen_unsupported(&shown(start))
            .filter(|path| !unsupported_hidden(path))
            .map(Box::from)
            .collect();
        Ok(Found { unsupported_gone, unsearchable })
    }

    fn list(&mut self, folder: &OsStr, folders: &mut Vec<OsString>) -> Result<Result<(), Unsearchable>, Errno> {
        let mut listing = self.root.open_folder(folder)?;
        let stat = listing.stat()?;
        // Before it is listed, so that what comes after the listing raises an event.
        self.watches.watch(folder, inode(&stat), self.told);
        if self.index.unsupported(&shown(folder)).is_some() {
            // It could not be read before.
            self.todo.insert(folder.to_owned());
        }
        let mut path = folder.as_bytes().to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        let stem = path.len();
        while let Some(entry) = listing.read() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            path.truncate(stem);
            path.extend_from_slice(name);
            let met =
                self.meet(&listing, OsStr::from_bytes(name), entry.file_type(), OsStr::from_bytes(&path), folders);
            if met.is_err() {
                return Ok(met);
            }
        }
        Ok(Ok(()))
    }

    fn meet(
        &mut self,
        listing: &Dir,
        name: &OsStr,
        kind: FileType,
        path: &OsStr,
        folders: &mut Vec<OsString>,
    ) -> Result<(), Unsearchable> {
        let is_folder = kind == FileType::Directory;
        // A file system that does not say the kind in its listing leaves it to `stat`.
        let counts = if is_folder { self.names.enters(path) } else { self.names.takes(path) };
        if !counts && kind != FileType::Unknown {
            return Ok(());
        }
        let stat = match stat_in(listing, name) {
            Err(Errno::ACCESS) => return Err(Unsearchable),
            stat => stat,
        };
        if is_folder {
            self.meet_folder(path, folders);
            return Ok(());
        }
        let Ok(stat) = stat else { return Ok(()) };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if self.names.enters(path) => self.meet_folder(path, folders),
            FileType::RegularFile if self.names.takes(path) => self.meet_file(path, &stat),
            FileType::Directory | FileType::RegularFile => {}
            _ => self.meet_other(path),
        }
        Ok(())
    }

    fn meet_folder(&mut self, path: &OsStr, folders: &mut Vec<OsString>) {
        if readable_name(path).is_ok() { folders.push(path.to_owned()) } else { self.meet_other(path) }
    }

    fn meet_file(&mut self, path: &OsStr, stat: &Stat) {
        match path.to_str() {
            Some(text) if self.index.see_file(text, FileStamp::of(stat)) => {}
            _ => self.meet_other(path),
        }
    }

    /// Something that is not as it is on record, or that only a closer look can tell.
    fn meet_other(&mut self, path: &OsStr) {
        self.index.see_unsupported(&shown(path));
        self.todo.insert(OsString::from_vec(path.as_bytes().to_vec()));
    }
}

fn stat_in(listing: &Dir, name: &OsStr) -> Result<Stat, Errno> {
    rustix::fs::statat(listing.fd()?, name, AtFlags::SYMLINK_NOFOLLOW)
}
