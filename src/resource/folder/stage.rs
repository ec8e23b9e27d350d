//! Writes files that are not visible yet.
//!
//! They lie in the resource itself, in `.anacostia/staging/<attempt>/<artifact>`: on the same file
//! system, so that making them visible is one rename, and under a name that is never watched or
//! scanned. Rejected: `O_TMPFILE`, which leaves nothing to sweep, but nothing to publish after a
//! crash either.
//!
//! The folder of an attempt outlives its files: it is removed when their publishing is on record,
//! and until then it says that what was staged was staged here.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use async_trait::async_trait;
use cap_std::fs::{Dir, File, FileExt as _, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{Timespec, Timestamps};

use super::Folder;
use super::blocking::aside;
use super::errors::About;
use super::names::OWN;
use super::stamp::Stamp;
use crate::base::filestamp::FileStamp;
use crate::base::{ArtifactId, AttemptId, Digest, Hasher, bounds, fault};
use crate::model::StagedFile;
use crate::resource::{ResourceError, Result, Writer, check_path};

/// How much of a file is hashed at a time, in bytes.
const PIECE_BYTES: usize = 1 << 20;

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
    let root = folder.root_or_create(about)?;
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
        hasher: Some(Hasher::default()),
        finished: None,
        size: 0,
        file,
        staged: Staged { root, path: staged, keep: false },
    };
    Ok(writer(folder, draft))
}

/// Takes a finished staged file back, to be read and changed. If it cannot be opened, it stays
/// finished.
pub(super) fn reopen(folder: &Folder, finished: &StagedFile) -> Result<Box<dyn Writer>> {
    let about = About { resource: &folder.name, path: &finished.path };
    let root = folder.root(about)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOFOLLOW);
    let file = root.open_with(&finished.staged, &options).map_err(|error| about.unavailable("reopen", error))?;
    let draft = Draft {
        resource: folder.name.to_string(),
        path: finished.path.clone(),
        artifact: finished.artifact_id,
        overwrite: finished.overwrite,
        sync: folder.sync,
        hasher: None,
        finished: Some(finished.clone()),
        size: finished.size,
        file,
        staged: Staged { root, path: finished.staged.clone(), keep: false },
    };
    Ok(writer(folder, draft))
}

fn writer(folder: &Folder, draft: Draft) -> Box<dyn Writer> {
    let (resource, local) = (folder.name.to_string(), folder.locality.is_local());
    Box::new(FileWriter { resource, draft: Some(draft), local })
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
    options.read(true).write(true).create_new(true);
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
    /// Has taken every byte so far. `None` once the file was written elsewhere than at its end:
    /// then it is hashed when it is finished.
    hasher: Option<Hasher>,
    /// What it was finished as before it was reopened, until it is changed.
    finished: Option<StagedFile>,
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
    /// A file system takes the time from a clock that ticks every few milliseconds; two writes
    /// within a tick leave the same. A time of full precision is one that no later write can leave,
    /// so that this stamp can be relied on from the start. The rename that publishes the file
    /// changes its change time: `publish` answers with the stamp that it has then.
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
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        fault::point("stage.write");
        self.finished = None;
        if let Err(error) = self.file.write_all_at(bytes, offset) {
            return Err(self.failed("write", error));
        }
        match &mut self.hasher {
            Some(hasher) if offset == self.size => hasher.update(bytes),
            _ => self.hasher = None,
        }
        self.size = self.size.max(offset.saturating_add(bytes.len() as u64));
        Ok(())
    }

    fn set_size(&mut self, size: u64) -> Result<()> {
        if size == self.size {
            return Ok(());
        }
        self.finished = None;
        if let Err(error) = self.file.set_len(size) {
            return Err(self.failed("resize", error));
        }
        self.hasher = (size == 0).then(Hasher::default);
        self.size = size;
        Ok(())
    }

    /// A change of the file has failed halfway.
    fn failed(&self, doing: &str, error: io::Error) -> ResourceError {
        // If the disk is full, others need the space now, and not only when the guest closes the
        // file.
        let _ = self.file.set_len(0);
        self.about().unavailable(doing, error)
    }

    /// Up to `length` bytes from `offset`: fewer only at the end.
    fn piece(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(left)];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// The digest of what the file holds.
    fn hash(&self) -> io::Result<Digest> {
        let (mut hasher, mut at) = (Hasher::default(), 0);
        while at < self.size {
            let piece = self.piece(at, PIECE_BYTES)?;
            hasher.update(&piece);
            at = at.saturating_add(piece.len() as u64);
        }
        Ok(hasher.finish())
    }

    /// Whether finishing it takes long: the disk must answer, or the file must be read.
    fn is_slow_to_finish(&self) -> bool {
        self.finished.is_none() && (self.sync || self.hasher.is_none())
    }

    fn finish(mut self) -> Result<StagedFile> {
        if let Some(finished) = self.finished.take() {
            self.staged.keep = true;
            return Ok(finished);
        }
        let digest = match self.hasher.take() {
            Some(hasher) => hasher.finish(),
            None => self.hash().map_err(|error| self.about().unavailable("hash", error))?,
        };
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
            digest,
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
    /// Absent once a write has failed, or was given up half-way: what is there is not what was to
    /// be written.
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
        let end = self.draft.as_ref().map_or(0, |draft| draft.size);
        self.write_at(end, bytes).await
    }

    async fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut draft = self.take()?;
        let draft = if self.local {
            draft.write_at(offset, bytes)?;
            draft
        } else {
            let bytes = bytes.to_vec();
            aside(&self.resource, move || draft.write_at(offset, &bytes).map(|()| draft)).await?
        };
        self.draft = Some(draft);
        Ok(())
    }

    async fn set_size(&mut self, size: u64) -> Result<()> {
        let mut draft = self.take()?;
        let draft = if self.local {
            draft.set_size(size)?;
            draft
        } else {
            aside(&self.resource, move || draft.set_size(size).map(|()| draft)).await?
        };
        self.draft = Some(draft);
        Ok(())
    }

    async fn read_at(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let draft = self.take()?;
        let length = length.min(bounds::MAX_CHUNK_BYTES);
        let read = move || {
            let read = draft.piece(offset, length).map_err(|error| draft.about().unavailable("read", error));
            Ok((draft, read))
        };
        let (draft, read) = if self.local { read()? } else { aside(&self.resource, read).await? };
        self.draft = Some(draft);
        read
    }

    async fn finish(mut self: Box<Self>) -> Result<StagedFile> {
        let draft = self.take()?;
        if self.local && !draft.is_slow_to_finish() {
            draft.finish()
        } else {
            aside(&self.resource, move || draft.finish()).await
        }
    }
}

/// Makes the names above a file survive a power cut.
pub(super) fn sync_parents(root: &Dir, path: &str) -> io::Result<()> {
    // Not `open_dir`: that opens a folder for looking things up in it, which cannot be synced.
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

/// Removes the folder of an attempt if there is nothing in it. Returns whether there is none any
/// more.
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

/// Removes a file or a folder with all in it; of a link, the link. Returns how many files that
/// were.
fn remove(root: &Dir, path: &Path) -> io::Result<u64> {
    if !root.symlink_metadata(path)?.is_dir() {
        return root.remove_file(path).map(|()| 1);
    }
    let files = root.read_dir(path)?.count();
    root.remove_dir_all(path)?;
    Ok(files as u64)
}
