//! Making staged files visible.
//!
//! One rename within the file system, which happens whole or not at all, and does not replace what
//! it was not told to (`RENAME_NOREPLACE`). It is done again until it has happened once. How a
//! later try knows: the staged name is gone, and the folder of the attempt, which stays until the
//! publishing is on record, is still there. Where that is gone too, this is not the folder that the
//! file was staged in (a mount that is not up yet, a disk in memory after a reboot), and nothing is
//! made or taken for done: it is tried again until the folder is back.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, RenameFlags, Stat};
use rustix::io::Errno;

use super::Folder;
use super::errors::About;
use super::stage::{staging_of, sync_parents};
use super::stamp::Stamp;
use crate::base::filestamp::{FileStamp, inode};
use crate::base::{AttemptId, fault};
use crate::model::StagedFile;
use crate::resource::{Result, check_path};

/// How often what someone puts in the way is moved aside before giving up for now.
const MAX_DISPLACED: usize = 16;

/// Most outputs that [`OwnOutputs`] knows at once; then all are forgotten.
const MAX_OWN: usize = 10_000;

/// What this process published last, by path. Two attempts that write the same path at the same
/// time replace each other's output: that is not a file that someone else put there. After a
/// restart it is taken for one, and moved aside.
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

/// Notes what lies where files are to go that may overwrite; see
/// [`crate::resource::Resource::note_replaced`].
pub(super) fn note_replaced(folder: &Folder, files: &mut [StagedFile]) -> Result<()> {
    for file in files.iter_mut().filter(|file| file.overwrite) {
        check_path(&file.path)?;
        let about = About { resource: &folder.name, path: &file.path };
        let there = Place::find(&folder.root(about)?, &file.path)
            .and_then(|place| place.map_or(Ok(None), |place| place.stat()))
            .map_err(|error| about.unavailable("look at", error))?;
        file.replaces = there.map(|stat| Stamp { file: FileStamp::of(&stat), racy: false }.to_string());
    }
    Ok(())
}

/// Makes one file visible; see [`crate::resource::Resource::publish`]. Returns the stamp that it
/// has then, if it can be told.
pub(super) fn publish(folder: &Folder, attempt: AttemptId, file: &StagedFile) -> Result<Option<String>> {
    check_path(&file.path)?;
    let about = About { resource: &folder.name, path: &file.path };
    let failed = |error: io::Error| about.unavailable("publish", error);
    // Not made if it is missing: what was staged lies in the one that is to come back.
    let root = folder.root(about)?;
    let Some(staged) = Place::find(&root, &file.staged).map_err(failed)? else {
        return already_published(&root, attempt, file).map_err(failed);
    };
    // Only now: a folder without it may be the place of a disk that is not mounted yet, and nothing
    // is put into that.
    folder.hold_lock(&root, about)?;
    let target = Place::make(&root, &file.path).map_err(failed)?;
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

/// What a published file is known by: its stamp as it was staged, with the change time that the
/// rename has left. `None` if it is another file, or was written to since.
///
/// It is as reliable as the one that it was staged with, however young the file is: a later write
/// leaves another modification time.
fn visible_stamp(file: &StagedFile, now: FileStamp) -> Option<String> {
    let staged: Stamp = file.stamp.parse().ok()?;
    staged.file.is_alike(&now).then(|| Stamp { file: now, racy: staged.racy }.to_string())
}

/// The staged name is gone: it was published before, by this process or another, or it is not in
/// this folder that it was staged.
fn already_published(root: &Dir, attempt: AttemptId, file: &StagedFile) -> io::Result<Option<String>> {
    let ours = file.stamp.parse::<Stamp>().map(|stamp| stamp.file.inode()).ok();
    let there = Place::find(root, &file.path).ok().flatten().and_then(|place| place.stat().ok().flatten());
    if let Some(there) = there.filter(|there| ours == Some(inode(there))) {
        return Ok(visible_stamp(file, FileStamp::of(&there)));
    }
    let staging = staging_of(attempt);
    if Place::find(root, &staging)?.is_none() {
        let why = format!(
            "what was staged for it is not there; mount or put back the folder that has it, \
             or, if it is lost for good, make a folder `{staging}` in this one"
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    // What has happened to it since is not ours.
    tracing::warn!(
        resource = file.resource,
        path = file.path,
        "a published file was replaced or removed by someone before its publishing was on record"
    );
    Ok(None)
}

/// A name in a folder that is open: what happens to it happens there, wherever a link may point by
/// then.
struct Place<'a> {
    folder: Dir,
    name: &'a str,
}

impl<'a> Place<'a> {
    /// The place of something that lies at a path, if there is something.
    fn find(root: &Dir, path: &'a str) -> io::Result<Option<Self>> {
        let (parent, name) = split(path);
        let folder = match root.open_dir(parent) {
            Ok(folder) => folder,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let place = Self { folder, name };
        Ok(place.stat()?.is_some().then_some(place))
    }

    /// The place at a path, its folders made if they are not there.
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

fn put(staged: &Place<'_>, target: &Place<'_>, file: &StagedFile, own: &OwnOutputs) -> io::Result<()> {
    let ours = staged.stat()?.as_ref().map(inode);
    let replaces = file.replaces.as_deref().and_then(|stamp| stamp.parse::<Stamp>().ok());
    for _ in 0..MAX_DISPLACED {
        let there = target.stat()?;
        if there.is_some() && there.as_ref().map(inode) == ours {
            // A try by links was interrupted between its two steps.
            return staged.remove();
        }
        // Only what lay there at the commit point is replaced; what came since is someone's, and is
        // moved aside.
        let known = there.as_ref().map(FileStamp::of).is_some_and(|there| {
            replaces.is_some_and(|replaced| replaced.file.is_alike(&there)) || own.has(&file.path, there)
        });
        let flags = if file.overwrite && known { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        match rename_or_link(staged, target, flags) {
            Err(Errno::EXIST) if there.as_ref().is_some_and(is_folder) => return Err(Errno::ISDIR.into()),
            Err(Errno::EXIST) => displace(target, file)?,
            result => return Ok(result?),
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "someone keeps putting another file there"))
}

fn rename_or_link(from: &Place<'_>, to: &Place<'_>, flags: RenameFlags) -> std::result::Result<(), Errno> {
    if flags.is_empty() {
        return rustix::fs::renameat(&from.folder, from.name, &to.folder, to.name);
    }
    match rustix::fs::renameat_with(&from.folder, from.name, &to.folder, to.name, flags) {
        // The file system does not know how (NFS): a link refuses as well, and then the old name
        // goes.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rustix::fs::linkat(&from.folder, from.name, &to.folder, to.name, AtFlags::empty())?;
            rustix::fs::unlinkat(&from.folder, from.name, AtFlags::empty())
        }
        result => result,
    }
}

/// Moves a file that someone put at the path since the commit out of the way, to a name that is
/// ignored, and tells.
fn displace(target: &Place<'_>, file: &StagedFile) -> io::Result<()> {
    let id = format!("{:08x}", fastrand::u32(..));
    // A name has at most 255 bytes, and this one grows.
    let name = format!("{}.displaced-{id}~", crate::base::bounds::cut(target.name, 200));
    let aside = Place { folder: target.folder.try_clone()?, name: &name };
    match rename_or_link(target, &aside, RenameFlags::NOREPLACE) {
        Ok(()) => {
            tracing::warn!(
                resource = file.resource,
                path = file.path,
                aside = name,
                "a file that someone put where an output goes was moved aside"
            );
            Ok(())
        }
        // It went by itself, or this very name is taken: look again.
        Err(Errno::NOENT | Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}
