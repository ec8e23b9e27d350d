//! Scans a folder for paths that differ from the record.
//!
//! A scan does not hash files. It yields paths to check, as events do, so that only one place
//! decides what has happened.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::fs::{AtFlags, Dir, FileType, Stat};
use rustix::io::Errno;

use super::index::Index;
use super::tree::Root;
use super::unsupported::{readable_name, shown};
use super::watches::Watches;
use crate::base::filestamp::{FileStamp, inode};
use crate::resource::names::Names;

/// A scan of a folder.
pub(super) struct Scan<'a> {
    pub(super) root: &'a Root,
    pub(super) names: &'a Names,
    pub(super) index: &'a mut Index,
    pub(super) watches: &'a mut Watches,
    /// Receives the paths to check.
    pub(super) todo: &'a mut BTreeSet<OsString>,
    /// Whether to set the watches again, because an event was about the folder.
    pub(super) renew: bool,
}

/// What a scan found in addition to the paths to check.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The escaped paths of unsupported entries that are gone.
    pub(super) unsupported_gone: Vec<Box<str>>,
    /// Folders that this user may list but not search, so that the state of their content is
    /// unknown.
    pub(super) unsearchable: Vec<OsString>,
}

/// The entries of a folder cannot be examined, although the folder can be listed.
#[derive(Debug)]
struct Unsearchable;

impl Scan<'_> {
    /// Scans a folder with everything beneath it; the empty path is the whole resource. Paths on
    /// record that the scan did not find are added to `todo` too.
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
        // The state of the content of a folder that cannot be read is unknown, so do not report it
        // as gone.
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
        // Watch the folder before listing it, so that changes after the listing raise an event.
        self.watches.watch(folder, inode(&stat), self.renew);
        if self.index.unsupported(&shown(folder)).is_some() {
            // The folder could not be read before, and now it can.
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
            let visited =
                self.visit(&listing, OsStr::from_bytes(name), entry.file_type(), OsStr::from_bytes(&path), folders);
            if visited.is_err() {
                return Ok(visited);
            }
        }
        Ok(Ok(()))
    }

    fn visit(
        &mut self,
        listing: &Dir,
        name: &OsStr,
        kind: FileType,
        path: &OsStr,
        folders: &mut Vec<OsString>,
    ) -> Result<(), Unsearchable> {
        let is_folder = kind == FileType::Directory;
        // Some file systems do not give the kind in the listing; then `stat` below decides.
        let counts = if is_folder { self.names.enters(path) } else { self.names.takes(path) };
        if !counts && kind != FileType::Unknown {
            return Ok(());
        }
        let stat = match stat_in(listing, name) {
            Err(Errno::ACCESS) => return Err(Unsearchable),
            stat => stat,
        };
        if is_folder {
            self.visit_folder(path, folders);
            return Ok(());
        }
        let Ok(stat) = stat else { return Ok(()) };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if self.names.enters(path) => self.visit_folder(path, folders),
            FileType::RegularFile if self.names.takes(path) => self.visit_file(path, &stat),
            FileType::Directory | FileType::RegularFile => {}
            _ => self.visit_other(path),
        }
        Ok(())
    }

    fn visit_folder(&mut self, path: &OsStr, folders: &mut Vec<OsString>) {
        if readable_name(path).is_ok() { folders.push(path.to_owned()) } else { self.visit_other(path) }
    }

    fn visit_file(&mut self, path: &OsStr, stat: &Stat) {
        match path.to_str() {
            Some(text) if self.index.see_file(text, FileStamp::of(stat)) => {}
            _ => self.visit_other(path),
        }
    }

    /// Adds an entry that differs from the record, or that needs a closer check.
    fn visit_other(&mut self, path: &OsStr) {
        self.index.see_unsupported(&shown(path));
        self.todo.insert(OsString::from_vec(path.as_bytes().to_vec()));
    }
}

fn stat_in(listing: &Dir, name: &OsStr) -> Result<Stat, Errno> {
    rustix::fs::statat(listing.fd()?, name, AtFlags::SYMLINK_NOFOLLOW)
}
