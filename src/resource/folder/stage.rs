//! Writing files that nobody sees yet.
//!
//! They lie in the resource itself, in `.anacostia/staging/<attempt>/<artifact>`: on the same file system, so that making them visible is one
//! rename, and under a name that is never watched or scanned. Rejected: `O_TMPFILE`, which leaves nothing to sweep, but nothing to
//! publish after a crash either.
//!
//! The folder of an attempt outlives its files: it is removed when their publishing is on record, and until then it says that what was staged was staged here.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::SystemTime;

use async_trait::async_trait;
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{Timespec, Timestamps};

use super::Folder;
use super::blocking::aside;
use super::errors::About;
use super::names::OWN;
use super::stamp::Stamp;
use crate::base::filestamp::FileStamp;
use crate::base::{ArtifactId, AttemptId, Hasher, fault};
use crate::model::StagedFile;
use crate::resource::{ResourceError, Result, Writer, check_path};

/// Where staged files lie, in the folder.
const STAGING: &str = ".anacostia/staging";

/// Where the files of an attempt lie, in the folder.
pub(super) fn staging_of(attempt: AttemptId) -> String {
    format!("{STAGING}/{attempt}")
}

/// Begins a staged file.
pub(super) fn create(
    folder: &Folder,
    attempt: AttemptId,
    artifact: ArtifactId,
    path: &str,
    overwrite: bool,
) -> Result<Box<dyn Writer>> {
    check_path(path)?;
    let about = About { resource: &folder.name, path };
    if path.split('/').next() == Some(OWN) {
        return Err(about.invalid(format!("`{OWN}` is where the host keeps what is not published yet")));
    }
    let root = folder.root_made(about)?;
    folder.hold_lock(&root, about)?;
    check_place(&root, about, overwrite)?;
    let staged = format!("{}/{artifact}", staging_of(attempt));
    let file = create_file(&root, &staged).map_err(|error| about.unavailable("stage", error))?;
    let draft = Draft {
        resource: folder.name.to_string(),
        path: path.to_owned(),
        artifact,
        overwrite,
        sync: folder.sync,
        hasher: Hasher::default(),
        size: 0,
        file,
        staged: Staged { root, path: staged, keep: false },
    };
    Ok(Box::new(FileWriter {
        resource: folder.name.to_string(),
        draft: Some(draft),
        local: folder.locality.is_local(),
    }))
}

/// Whether a file can come to lie at a path, as far as can be told now.
fn check_place(root: &Dir, about: About<'_>, overwrite: bool) -> Result<()> {
    match root.symlink_metadata(about.path) {
        Ok(there) if there.is_dir() => Err(about.invalid("a folder lies there")),
        Ok(_) if !overwrite => Err(about.exists()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(about.invalid("a part of it is a file, not a folder"))
        }
        Err(error) => Err(about.unavailable("look at", error)),
    }
}

fn create_file(root: &Dir, path: &str) -> io::Result<File> {
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    // The folder of an attempt goes when its last file is dropped: that may be just now.
    for _ in 0..8 {
        root.create_dir_all(folder)?;
        match root.open_with(path, &options) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
    }
    root.open_with(path, &options)
}

/// A staged file; dropped, it is removed, unless it is to be kept.
struct Staged {
    root: Dir,
    path: String,
    keep: bool,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.keep {
            // What fails here is swept when a host starts.
            let _ = self.root.remove_file(&self.path);
            remove_parent(&self.root, &self.path);
        }
    }
}

/// Removes the folder of an attempt if it is empty.
fn remove_parent(root: &Dir, staged: &str) {
    if let Some(folder) = Path::new(staged).parent() {
        let _ = root.remove_dir(folder);
    }
}

/// A file that is being written.
struct Draft {
    resource: String,
    path: String,
    artifact: ArtifactId,
    overwrite: bool,
    sync: bool,
    hasher: Hasher,
    size: u64,
    file: File,
    staged: Staged,
}

impl Draft {
    fn about(&self) -> About<'_> {
        About { resource: &self.resource, path: &self.path }
    }

    /// Sets the time of the file, and says what it is known by.
    ///
    /// A file system takes the time from a clock that ticks every few milliseconds; two writes within a tick leave the same. A time of full
    /// precision is one that no later write can leave, so that this stamp can be relied on from the start. The rename that publishes the
    /// file changes its change time: `publish` answers with the stamp that it has then.
    fn stamp(&self) -> io::Result<Stamp> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = Timespec {
            tv_sec: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(now.subsec_nanos()),
        };
        rustix::fs::futimens(&self.file, &Timestamps { last_access: now, last_modification: now })?;
        let stat = rustix::fs::fstat(&self.file)?;
        let precise = stat.st_mtime == now.tv_sec && i64::try_from(stat.st_mtime_nsec) == Ok(now.tv_nsec);
        Ok(Stamp { file: FileStamp::of(&stat), racy: !precise })
    }
}

impl Draft {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        fault::point("stage.write");
        if let Err(error) = self.file.write_all(bytes) {
            // The space is needed now, not when the guest lets go of it.
            let _ = self.file.set_len(0);
            return Err(self.about().unavailable("write", error));
        }
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<StagedFile> {
        let stamp = self.stamp().map_err(|error| self.about().unavailable("finish", error))?;
        if self.sync {
            self.file.sync_all().map_err(|error| self.about().unavailable("sync", error))?;
            sync_parents(&self.staged.root, &self.staged.path)
                .map_err(|error| self.about().unavailable("sync", error))?;
        }
        fault::point("stage.finished");
        self.staged.keep = true;
        Ok(StagedFile {
            artifact_id: self.artifact,
            resource: self.resource.clone(),
            path: self.path.clone(),
            digest: std::mem::take(&mut self.hasher).finish(),
            size: self.size,
            staged: self.staged.path.clone(),
            stamp: stamp.to_string(),
            overwrite: self.overwrite,
            replaces: None,
        })
    }
}

struct FileWriter {
    resource: String,
    /// Absent once a write has failed, or was given up half-way: what is there is not what was to be written.
    draft: Option<Draft>,
    /// Writing goes to the page cache of this machine.
    local: bool,
}

impl FileWriter {
    fn take(&mut self) -> Result<Draft> {
        self.draft.take().ok_or_else(|| ResourceError::Unavailable {
            resource: self.resource.clone(),
            doing: "go on with a file".to_owned(),
            why: "an earlier write to it has failed".to_owned(),
        })
    }
}

#[async_trait]
impl Writer for FileWriter {
    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut draft = self.take()?;
        let draft = if self.local {
            draft.write(bytes)?;
            draft
        } else {
            let bytes = bytes.to_vec();
            aside(&self.resource, move || draft.write(&bytes).map(|()| draft)).await?
        };
        self.draft = Some(draft);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<StagedFile> {
        let draft = self.take()?;
        if self.local && !draft.sync { draft.finish() } else { aside(&self.resource, move || draft.finish()).await }
    }
}

/// Makes the names above a file survive a power cut.
pub(super) fn sync_parents(root: &Dir, path: &str) -> io::Result<()> {
    // Not `open_dir`: that opens a folder for looking things up in it, which can not be synced.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_DIRECTORY);
    for folder in Path::new(path).ancestors().skip(1) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        root.open_with(folder, &options)?.sync_all()?;
    }
    Ok(())
}

/// Removes what is staged, but for some attempts. Returns how many files that were.
pub(super) fn sweep(folder: &Folder, keep: &[AttemptId]) -> Result<u64> {
    let about = About { resource: &folder.name, path: STAGING };
    let mut removed = 0;
    let Some(root) = folder.root_if_there(about)? else { return Ok(0) };
    let mut sweep = || -> io::Result<()> {
        for entry in root.read_dir(STAGING)? {
            let name = entry?.file_name();
            let attempt = name.to_str().and_then(|name| name.parse::<AttemptId>().ok());
            if attempt.is_some_and(|attempt| keep.contains(&attempt)) {
                continue;
            }
            removed += remove(&root, &Path::new(STAGING).join(&name))?;
        }
        Ok(())
    };
    match sweep() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(about.unavailable("sweep", error)),
        _ => {}
    }
    // Empty now, or not: then they stay.
    let _ = root.remove_dir(STAGING);
    let _ = root.remove_dir(OWN);
    Ok(removed)
}

/// Removes the folder of an attempt if there is nothing in it. Returns whether there is none any more.
pub(super) fn discard_empty(folder: &Folder, attempt: AttemptId) -> Result<bool> {
    let path = staging_of(attempt);
    let about = About { resource: &folder.name, path: &path };
    let Some(root) = folder.root_if_there(about)? else { return Ok(true) };
    match root.remove_dir(&path) {
        Ok(()) => Ok(true),
        Err(error) => Ok(error.kind() == io::ErrorKind::NotFound),
    }
}

/// Removes what one attempt has staged.
pub(super) fn discard(folder: &Folder, attempt: AttemptId) -> Result<()> {
    let path = staging_of(attempt);
    let about = About { resource: &folder.name, path: &path };
    let Some(root) = folder.root_if_there(about)? else { return Ok(()) };
    match remove(&root, Path::new(&path)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(about.unavailable("remove", error)),
    }
}

/// Removes a file or a folder with all in it; of a link, the link. Returns how many files that were.
fn remove(root: &Dir, path: &Path) -> io::Result<u64> {
    if !root.symlink_metadata(path)?.is_dir() {
        return root.remove_file(path).map(|()| 1);
    }
    let files = root.read_dir(path)?.count();
    root.remove_dir_all(path)?;
    Ok(files as u64)
}
