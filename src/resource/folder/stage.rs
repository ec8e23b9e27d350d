//! Writes staged files, which are not visible yet.
//!
//! Staged files are in the resource itself, in `.anacostia/staging/<attempt>/<artifact>`. That is
//! on the same file system, so that one rename makes a file visible, and under a name that is never
//! watched or scanned. Rejected: `O_TMPFILE`, which leaves nothing to sweep, but also nothing to
//! publish after a crash.
//!
//! The folder of an attempt stays after its files were published, until their publishing is on
//! record. Until then its presence proves that the files were staged in this resource.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use async_trait::async_trait;
use cap_std::fs::{Dir, File, FileExt as _, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{Timespec, Timestamps};

use super::Folder;
use super::blocking::aside;
use super::stamp::Stamp;
use crate::base::filestamp::FileStamp;
use crate::base::{ArtifactId, AttemptId, Digest, Hasher, bounds, fault};
use crate::model::StagedFile;
use crate::resource::about::About;
use crate::resource::names::OWN;
use crate::resource::{ResourceError, Result, Writer, check_path};

/// The number of bytes that are hashed at a time.
const PIECE_BYTES: usize = 1 << 20;

/// The directory of all staged files, relative to the folder.
const STAGING: &str = ".anacostia/staging";

/// Returns the directory of an attempt's staged files, relative to the folder.
pub(super) fn staging_of(attempt: AttemptId) -> String {
    format!("{STAGING}/{attempt}")
}

/// Creates a staged file; see [`crate::resource::Resource::create`].
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
        return Err(about.invalid(format!("`{OWN}` is reserved for the host's staged files")));
    }
    let root = folder.root_or_create(about)?;
    folder.hold_lock(&root, about)?;
    check_target(&root, about, overwrite)?;
    let staged = format!("{}/{artifact}", staging_of(attempt));
    let file = create_file(&root, &staged).map_err(|error| about.unavailable("stage", error))?;
    let draft = StagingWriter {
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

/// Reopens a finished staged file to read and change it. If it cannot be opened, it stays finished.
pub(super) fn reopen(folder: &Folder, finished: &StagedFile) -> Result<Box<dyn Writer>> {
    let about = About { resource: &folder.name, path: &finished.path };
    let root = folder.root(about)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOFOLLOW);
    let file = root.open_with(&finished.staged, &options).map_err(|error| about.unavailable("reopen", error))?;
    let draft = StagingWriter {
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

fn writer(folder: &Folder, draft: StagingWriter) -> Box<dyn Writer> {
    let (resource, local) = (folder.name.to_string(), folder.locality.is_local());
    Box::new(FileWriter { resource, draft: Some(draft), local })
}

/// Checks whether a file can be published at a path, as far as that is known now.
fn check_target(root: &Dir, about: About<'_>, overwrite: bool) -> Result<()> {
    match root.symlink_metadata(about.path) {
        Ok(there) if there.is_dir() => Err(about.invalid("a folder is there")),
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
    // The folder of an attempt is removed when its last file is dropped, which may happen at this
    // moment.
    for _ in 0..8 {
        root.create_dir_all(folder)?;
        match root.open_with(path, &options) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
    }
    root.open_with(path, &options)
}

/// Removes a staged file when it is dropped, unless `keep` is set.
struct Staged {
    root: Dir,
    path: String,
    keep: bool,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.keep {
            // A file that cannot be removed here is swept when a host starts.
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

/// A staged file that is being written.
struct StagingWriter {
    resource: String,
    path: String,
    artifact: ArtifactId,
    overwrite: bool,
    sync: bool,
    /// Has hashed every byte so far. `None` once the file was written anywhere but at its end; it
    /// is then hashed when it is finished.
    hasher: Option<Hasher>,
    /// The result of finishing it before it was reopened; cleared by the first change.
    finished: Option<StagedFile>,
    size: u64,
    file: File,
    staged: Staged,
}

impl StagingWriter {
    fn about(&self) -> About<'_> {
        About { resource: &self.resource, path: &self.path }
    }

    /// Sets the times of the file, and returns its stamp.
    ///
    /// A file system takes times from a clock that ticks every few milliseconds, so two writes
    /// within a tick leave the same time. No later write can leave a time with full precision, so
    /// this stamp is reliable from the start. The rename that publishes the file changes its change
    /// time; `publish` returns the stamp after the rename.
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

impl StagingWriter {
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

    /// Handles a failed change of the file: truncates the file, and returns the error.
    fn failed(&self, doing: &str, error: io::Error) -> ResourceError {
        // If the disk is full, other writers need the space now, not when the guest closes the
        // file.
        let _ = self.file.set_len(0);
        self.about().unavailable(doing, error)
    }

    /// Returns up to `length` bytes from `offset`; fewer only at the end.
    fn piece(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(left)];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Reads the file and returns its digest.
    fn hash(&self) -> io::Result<Digest> {
        let (mut hasher, mut at) = (Hasher::default(), 0);
        while at < self.size {
            let piece = self.piece(at, PIECE_BYTES)?;
            hasher.update(&piece);
            at = at.saturating_add(piece.len() as u64);
        }
        Ok(hasher.finish())
    }

    /// Returns whether `finish` takes long, because it syncs or reads the file.
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
    /// Absent once a write has failed or was cancelled halfway, because the file is then
    /// incomplete.
    draft: Option<StagingWriter>,
    /// Whether the file system is local, so that writes go to the page cache of this machine.
    local: bool,
}

impl FileWriter {
    fn take(&mut self) -> Result<StagingWriter> {
        self.draft.take().ok_or_else(|| ResourceError::Unavailable {
            resource: self.resource.clone(),
            doing: "continue a file".to_owned(),
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

/// Syncs the folders above a file, so that its name survives a power cut.
pub(super) fn sync_parents(root: &Dir, path: &str) -> io::Result<()> {
    // Not `open_dir`: it opens a folder with `O_PATH`, which cannot be synced.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_DIRECTORY);
    for folder in Path::new(path).ancestors().skip(1) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        root.open_with(folder, &options)?.sync_all()?;
    }
    Ok(())
}

/// Syncs a finished file and its name, staged or visible; see [`crate::resource::Resource::sync`].
pub(super) fn sync(folder: &Folder, file: &StagedFile) -> Result<()> {
    let about = About { resource: &folder.name, path: &file.path };
    let root = folder.root(about)?;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW);
    let synced = match root.open_with(&file.staged, &options) {
        Ok(staged) => staged.sync_all().and_then(|()| sync_parents(&root, &file.staged)),
        // It is visible: its content was synced before, while it was staged.
        Err(error) if error.kind() == io::ErrorKind::NotFound => match sync_parents(&root, &file.path) {
            // Someone has removed its folder since, so there is no name to lose.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        },
        Err(error) => Err(error),
    };
    synced.map_err(|error| about.unavailable("sync", error))
}

/// Removes all staged files except those of the attempts in `keep`. Returns how many files it
/// removed.
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
    // These fail if the folders are not empty, and then the folders stay.
    remove_empty(&root);
    let _ = root.remove_dir(OWN);
    Ok(removed)
}

/// Removes the folder of staged files if it is empty. Called when the host stops and not after each
/// attempt, because the next attempt would make it again.
pub(super) fn remove_empty(root: &Dir) {
    let _ = root.remove_dir(STAGING);
}

/// Removes the folder of an attempt if it is empty. Returns whether the folder is gone.
pub(super) fn discard_empty(folder: &Folder, attempt: AttemptId) -> Result<bool> {
    let path = staging_of(attempt);
    let about = About { resource: &folder.name, path: &path };
    let Some(root) = folder.root_if_there(about)? else { return Ok(true) };
    match root.remove_dir(&path) {
        Ok(()) => Ok(true),
        Err(error) => Ok(error.kind() == io::ErrorKind::NotFound),
    }
}

/// Removes the staged files and the folder of an attempt.
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

/// Removes a file, or a folder with its content; does not follow links. Returns the number of
/// entries at the top level.
fn remove(root: &Dir, path: &Path) -> io::Result<u64> {
    if !root.symlink_metadata(path)?.is_dir() {
        return root.remove_file(path).map(|()| 1);
    }
    let files = root.read_dir(path)?.count();
    root.remove_dir_all(path)?;
    Ok(files as u64)
}
