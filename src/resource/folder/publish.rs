//! Makes staged files visible.
//!
//! Publishing a file is one rename within the file system. The rename is atomic, and never replaces
//! a file unintentionally (`RENAME_NOREPLACE`). The host repeats it until it has happened once.
//!
//! A later try recognises that the rename has happened: the staged name is gone, and the folder of
//! the attempt still exists, because it stays until the publishing is on record. If that folder is
//! gone too, this is not the folder that the file was staged in (a mount that is not up yet, a disk
//! in memory after a reboot). Then publishing creates nothing and does not count as done; the host
//! tries again until the folder is back.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, RenameFlags, Stat};
use rustix::io::Errno;

use super::Folder;
use super::stage::{staging_of, sync_parents};
use super::stamp::Stamp;
use crate::base::filestamp::{FileStamp, inode};
use crate::base::{AttemptId, fault};
use crate::model::StagedFile;
use crate::resource::about::About;
use crate::resource::{Result, check_path};

/// How many times to move aside a file that someone puts at the target before giving up for now.
const MAX_DISPLACED: usize = 16;

/// The most outputs that [`OwnOutputs`] holds; it is cleared when it is full.
const MAX_OWN: usize = 10_000;

/// The files that this process published last, by path.
///
/// Two attempts that write the same path at the same time replace each other's output. Such an
/// output must not be mistaken for a file that someone else put there. After a restart this is not
/// known any more, and the output is moved aside.
#[derive(Debug, Default)]
pub(super) struct OwnOutputs(Mutex<HashMap<String, FileStamp>>);

impl OwnOutputs {
    fn put(&self, path: &str, file: FileStamp) {
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if own.len() >= MAX_OWN {
            own.clear();
        }
        own.insert(path.to_owned(), file);
    }

    fn has(&self, path: &str, file: FileStamp) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path) == Some(&file)
    }
}

/// Records what the files that may overwrite are to replace, and checks what others may replace;
/// see [`crate::resource::Resource::note_replaced`].
pub(super) fn note_replaced(folder: &Folder, files: &mut [StagedFile]) -> Result<()> {
    for file in files.iter_mut().filter(|file| file.may_replace()) {
        check_path(&file.path)?;
        let about = About { resource: &folder.name, path: &file.path };
        let there = DirEntry::find(&folder.root(about)?, &file.path)
            .and_then(|entry| entry.map_or(Ok(None), |entry| entry.stat()))
            .map_err(|error| about.unavailable("look at", error))?;
        let there = there.map(|stat| FileStamp::of(&stat));
        if file.overwrite {
            file.replaces = there.map(|file| Stamp { file, racy: false }.to_string());
        } else if there.is_some_and(|there| !replaces(file, &there)) {
            return Err(about.exists());
        }
    }
    Ok(())
}

/// Returns whether a file is what a staged file replaces.
fn replaces(file: &StagedFile, there: &FileStamp) -> bool {
    let replaced = file.replaces.as_deref().and_then(|stamp| stamp.parse::<Stamp>().ok());
    replaced.is_some_and(|replaced| replaced.file.is_alike(there))
}

/// Makes one file visible; see [`crate::resource::Resource::publish`]. Returns its stamp after
/// that, if it is known.
pub(super) fn publish(folder: &Folder, attempt: AttemptId, file: &StagedFile) -> Result<Option<String>> {
    check_path(&file.path)?;
    let about = About { resource: &folder.name, path: &file.path };
    let failed = |error: io::Error| about.unavailable("publish", error);
    // A missing folder is not created: the staged files are in the one that must come back.
    let root = folder.root(about)?;
    let Some(staged) = DirEntry::find(&root, &file.staged).map_err(failed)? else {
        return already_published(&root, attempt, file).map_err(failed);
    };
    // Only now, because a folder without the staged file may be the mount point of a disk that is
    // not mounted yet, and nothing must be created there.
    folder.hold_lock(&root, about)?;
    let target = DirEntry::make(&root, &file.path).map_err(failed)?;
    fault::point("publish.before_rename");
    put(&staged, &target, file, &folder.own_outputs).map_err(failed)?;
    fault::point("publish.renamed");
    if folder.sync {
        sync_parents(&root, &file.path).map_err(|error| about.unavailable("sync", error))?;
    }
    fault::point("publish.done");
    let now = target.stat().map_err(failed)?.map(|stat| FileStamp::of(&stat));
    if let Some(now) = now {
        folder.own_outputs.put(&file.path, now);
    }
    Ok(now.and_then(|now| visible_stamp(file, now)))
}

/// Returns the stamp of a published file: the stamp of the staged file with the change time that
/// the rename has set. `None` if `now` is another file, or the file was written to since.
///
/// It is as reliable as the stamp of the staged file, even if the file is young, because a later
/// write leaves another modification time.
fn visible_stamp(file: &StagedFile, now: FileStamp) -> Option<String> {
    let staged: Stamp = file.stamp.parse().ok()?;
    staged.file.is_alike(&now).then(|| Stamp { file: now, racy: staged.racy }.to_string())
}

/// Handles a missing staged file: either it was published before, by this process or another, or it
/// was staged in another folder.
fn already_published(root: &Dir, attempt: AttemptId, file: &StagedFile) -> io::Result<Option<String>> {
    let ours = file.stamp.parse::<Stamp>().map(|stamp| stamp.file.inode()).ok();
    let there = DirEntry::find(root, &file.path).ok().flatten().and_then(|entry| entry.stat().ok().flatten());
    if let Some(there) = there.filter(|there| ours == Some(inode(there))) {
        return Ok(visible_stamp(file, FileStamp::of(&there)));
    }
    let staging = staging_of(attempt);
    if DirEntry::find(root, &staging)?.is_none() {
        let why = format!(
            "its staged file is missing; mount or restore the folder that holds it, \
             or, if it is lost, create a folder `{staging}` in this one"
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    // The file was published. What someone did to it since does not matter here.
    tracing::warn!(
        resource = file.resource,
        path = file.path,
        "a published file was replaced or removed by someone before its publishing was on record"
    );
    Ok(None)
}

/// A name in an open folder. Operations on it use the open folder, so a link that someone puts into
/// the path cannot redirect them.
struct DirEntry<'a> {
    folder: Dir,
    name: &'a str,
}

impl<'a> DirEntry<'a> {
    /// Finds the entry at a path, if it exists.
    fn find(root: &Dir, path: &'a str) -> io::Result<Option<Self>> {
        let (parent, name) = split(path);
        let folder = match root.open_dir(parent) {
            Ok(folder) => folder,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let entry = Self { folder, name };
        Ok(entry.stat()?.is_some().then_some(entry))
    }

    /// Returns the entry for a path, which need not exist; creates the folders above it.
    fn make(root: &Dir, path: &'a str) -> io::Result<Self> {
        let (parent, name) = split(path);
        if parent != "." {
            root.create_dir_all(parent).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
                _ => error,
            })?;
        }
        Ok(Self { folder: root.open_dir(parent)?, name })
    }

    fn stat(&self) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.folder, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn remove(&self) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.folder, self.name, AtFlags::empty())?)
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((".", path))
}

fn put(staged: &DirEntry<'_>, target: &DirEntry<'_>, file: &StagedFile, own: &OwnOutputs) -> io::Result<()> {
    let found = staged.stat()?;
    let ours = found.as_ref().map(inode);
    for _ in 0..MAX_DISPLACED {
        let there = target.stat()?;
        if there.is_some() && there.as_ref().map(inode) == ours {
            // An earlier try with `linkat` was interrupted before it removed the staged name.
            return staged.remove();
        }
        check_size(found.as_ref(), file)?;
        // Replace only the file that was there at the commit point. A file that came since belongs
        // to someone else, and is moved aside.
        let known = there
            .as_ref()
            .map(FileStamp::of)
            .is_some_and(|there| replaces(file, &there) || (file.overwrite && own.has(&file.path, there)));
        let flags = if known { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        match rename_or_link(staged, target, flags) {
            Err(Errno::EXIST) if there.as_ref().is_some_and(is_folder) => return Err(Errno::ISDIR.into()),
            Err(Errno::EXIST) => displace(target, file)?,
            result => return Ok(result?),
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "someone keeps putting another file there"))
}

/// Checks that a staged file has the size on record. A power cut can leave it empty or cut off if
/// it was not synced, and it must not become visible under a digest that it does not have.
fn check_size(found: Option<&Stat>, file: &StagedFile) -> io::Result<()> {
    match found.map(|stat| stat.st_size) {
        Some(size) if u64::try_from(size) != Ok(file.size) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "its staged file `{}` has {size} bytes instead of {}, probably because of a power cut; restore the \
                 file, or, if it is lost, remove the rest of it",
                file.staged, file.size
            ),
        )),
        _ => Ok(()),
    }
}

fn rename_or_link(from: &DirEntry<'_>, to: &DirEntry<'_>, flags: RenameFlags) -> std::result::Result<(), Errno> {
    if flags.is_empty() {
        return rustix::fs::renameat(&from.folder, from.name, &to.folder, to.name);
    }
    match rustix::fs::renameat_with(&from.folder, from.name, &to.folder, to.name, flags) {
        // The file system does not support the flag (NFS). `linkat` does not replace a file either,
        // so link the new name, then remove the old one.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rustix::fs::linkat(&from.folder, from.name, &to.folder, to.name, AtFlags::empty())?;
            rustix::fs::unlinkat(&from.folder, from.name, AtFlags::empty())
        }
        result => result,
    }
}

/// Moves aside a file that someone put at the path since the commit, to a name that is ignored, and
/// logs a warning.
fn displace(target: &DirEntry<'_>, file: &StagedFile) -> io::Result<()> {
    let id = format!("{:08x}", fastrand::u32(..));
    // A name has at most 255 bytes, and the suffix makes this one longer.
    let name = format!("{}.displaced-{id}~", crate::base::bounds::cut(target.name, 200));
    let aside = DirEntry { folder: target.folder.try_clone()?, name: &name };
    match rename_or_link(target, &aside, RenameFlags::NOREPLACE) {
        Ok(()) => {
            tracing::warn!(
                resource = file.resource,
                path = file.path,
                aside = name,
                "a file at the path of an output was moved aside"
            );
            Ok(())
        }
        // The file is gone already, or the new name is taken: look again.
        Err(Errno::NOENT | Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}
