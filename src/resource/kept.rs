//! Keeps content in the state folder, for kinds of resources that cannot provide it again: an API
//! may not give the same answer twice.
//!
//! Content is in `resources/<name>/` under its digest, so storing it again changes nothing. It is
//! stored before its artifact is put on record: a host that dies in between leaves content that no
//! record names, which is removed like other content that no run needs.
//!
//! Content that runs need is not removed, so it has a bound of its own: while [`Kept::full`]
//! returns a reason, the watch takes nothing more until runs have ended.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::{RwLock, RwLockReadGuard};

use super::{Content, KnownPaths, Reader, ResourceError, Result, WaitingPath};
use crate::base::bounds::MAX_CHUNK_BYTES;
use crate::base::{ByteSize, Digest, Hasher, escape};

/// How soon a watch checks again whether runs have ended, while there is no room for more content.
pub(super) const FULL_WAIT: Duration = Duration::from_secs(1);
/// The content was not counted yet.
const UNCOUNTED: u64 = u64::MAX;
/// What the names of unfinished content begin with.
const DRAFT: &str = "draft-";

/// The content that one resource keeps.
#[derive(Debug)]
pub(super) struct Kept {
    resource: String,
    folder: PathBuf,
    /// How many bytes of content are kept that no run needs.
    limit: u64,
    /// The number of bytes of content at which nothing more is taken.
    most: u64,
    /// The bytes of content: those that [`Kept::trim`] counted, and those stored since.
    /// [`UNCOUNTED`] before the first count.
    bytes: AtomicU64,
    /// Read-locked from storing content until its artifact is on record; write-locked while content
    /// is removed.
    recording: RwLock<()>,
}

impl Kept {
    /// Returns the content of the resource of this name, below the state folder.
    pub(super) fn new(resource: &str, state: &Path, limit: u64, most: u64) -> Self {
        let folder = state.join("resources").join(resource);
        let (resource, bytes) = (resource.to_owned(), AtomicU64::new(UNCOUNTED));
        Self { resource, folder, limit, most, bytes, recording: RwLock::default() }
    }

    /// Returns whether no more content is taken. Does not look at the disk: until [`Self::trim`]
    /// has counted the content, returns `true`.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.most
    }

    /// Returns what to show if nothing more can be taken, after removing what no run needs.
    ///
    /// # Errors
    /// As [`Self::trim`].
    pub(super) async fn full(&self, known: &dyn KnownPaths) -> Result<Option<WaitingPath>> {
        if self.is_full() {
            self.trim(known).await?;
        }
        Ok(self.is_full().then(|| {
            let why = format!(
                "waiting, because runs need {} of kept content, the most that `max_kept` allows: they have not claimed it \
                 or have not ended",
                ByteSize(self.most)
            );
            WaitingPath::of_data("new content".to_owned(), why)
        }))
    }

    fn place(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// Begins to store content.
    ///
    /// # Errors
    /// [`ResourceError::Unavailable`] or [`ResourceError::Full`] if the folder cannot be written.
    pub(super) fn draft(&self) -> Result<Draft> {
        let create = || {
            fs::create_dir_all(&self.folder)?;
            let path = self.folder.join(format!("{DRAFT}{:016x}", fastrand::u64(..)));
            Ok((File::options().read(true).write(true).create_new(true).open(&path)?, path))
        };
        let (file, path) = create().map_err(|error| self.failed("store content", &error))?;
        Ok(Draft {
            resource: self.resource.clone(),
            file: Arc::new(file),
            path,
            hasher: Some(Hasher::default()),
            size: 0,
        })
    }

    /// Stores content that is complete. It is then either there as a whole, or not at all.
    ///
    /// Always syncs it, whichever durability is set: it cannot be fetched again once it is on
    /// record, so a power cut must not leave a record without it.
    ///
    /// # Errors
    /// As [`Self::draft`].
    pub(super) async fn store(&self, draft: Draft) -> Result<Stored> {
        let stored = Stored { digest: draft.digest(), size: draft.size };
        let (place, folder) = (self.place(stored.digest), self.folder.clone());
        let store = blocking(move || {
            draft.file.set_permissions(Permissions::from_mode(0o440))?;
            draft.file.sync_all()?;
            let more = if place.try_exists()? { 0 } else { stored.size };
            fs::rename(&draft.path, &place)?;
            File::open(&folder)?.sync_all()?;
            Ok(more)
        });
        let more = store.await.map_err(|error| self.failed("store content", &error))?;
        self.add(more);
        Ok(stored)
    }

    /// Stores the content of a file on the same file system, as a hard link. The file must be
    /// synced, and must not be written to again.
    pub(super) async fn link(&self, file: PathBuf, digest: Digest) -> Result<()> {
        let (place, folder) = (self.place(digest), self.folder.clone());
        let link = blocking(move || {
            fs::create_dir_all(&folder)?;
            match fs::hard_link(&file, &place) {
                Ok(()) => {
                    File::open(&folder)?.sync_all()?;
                    Ok(fs::metadata(&place)?.len())
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(0),
                Err(error) => Err(error),
            }
        });
        let more = link.await.map_err(|error| self.failed("store content", &error))?;
        self.add(more);
        Ok(())
    }

    /// Content that is stored while this is held is not removed. Hold it until the artifact is on
    /// record.
    pub(super) async fn recording(&self) -> RwLockReadGuard<'_, ()> {
        self.recording.read().await
    }

    /// Opens the content of an artifact.
    ///
    /// # Errors
    /// [`ResourceError::Gone`] if it is not kept any more, [`ResourceError::Changed`] if someone
    /// changed what is kept.
    pub(super) async fn open(&self, content: &Content) -> Result<Box<dyn Reader>> {
        let path = escape(content.path.as_bytes());
        let gone = || self.gone(content);
        let place = self.place(content.digest.ok_or_else(gone)?);
        let opened = blocking(move || {
            let file = File::open(place)?;
            let size = file.metadata()?.len();
            Ok((file, size))
        });
        let (file, size) = match opened.await {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(gone()),
            Err(error) => return Err(self.failed(&format!("open what is kept of `{path}`"), &error)),
        };
        if size != content.size {
            let why = format!("what is kept of it has {size} bytes, not {}", content.size);
            return Err(ResourceError::Changed { resource: self.resource.clone(), path, why });
        }
        Ok(Box::new(KeptReader { resource: self.resource.clone(), path, file: Arc::new(file) }))
    }

    fn gone(&self, content: &Content) -> ResourceError {
        ResourceError::Gone {
            resource: self.resource.clone(),
            path: escape(content.path.as_bytes()),
            why: format!(
                "the host keeps only {} of content that no run needs, and removed this because it was older",
                ByteSize(self.limit)
            ),
        }
    }

    /// Checks that the content of an artifact is there, without reading it.
    ///
    /// # Errors
    /// [`ResourceError::Gone`] if it is not kept any more.
    pub(super) async fn check(&self, content: &Content) -> Result<()> {
        let place = self.place(content.digest.ok_or_else(|| self.gone(content))?);
        // If the file cannot be examined now, it may still be there: the run finds out.
        let there = blocking(move || place.try_exists()).await.unwrap_or(true);
        if there { Ok(()) } else { Err(self.gone(content)) }
    }

    /// Removes what a host left behind if it died while it stored content. Call it before the first
    /// [`Self::draft`].
    ///
    /// # Errors
    /// As [`Self::draft`].
    pub(super) async fn remove_drafts(&self) -> Result<()> {
        let folder = self.folder.clone();
        let remove = blocking(move || {
            for entry in entries(&folder)? {
                if entry.file_name().to_string_lossy().starts_with(DRAFT) {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        });
        remove.await.map_err(|error| self.failed("remove unfinished content", &error))
    }

    /// Removes the oldest content that no run needs, until the rest of it fits into the limit. If
    /// there is no room for more content, that rest may take at most half of the space that runs do
    /// not need. `known` says what runs need.
    ///
    /// # Errors
    /// As [`Self::draft`], and those of `known`.
    pub(super) async fn trim(&self, known: &dyn KnownPaths) -> Result<()> {
        let _none_is_stored = self.recording.write().await;
        let folder = self.folder.clone();
        let mut files =
            blocking(move || files(&folder)).await.map_err(|error| self.failed("look at content", &error))?;
        let total = files.values().map(|file| file.size).sum::<u64>();
        self.bytes.store(total, Ordering::Relaxed);
        if total <= self.limit && total < self.most {
            return Ok(());
        }
        let mut cursor = None;
        loop {
            let needed = known.needed(cursor).await?;
            for digest in &needed.items {
                files.remove(digest);
            }
            cursor = needed.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort_by_key(|(digest, file)| (file.stored, *digest));
        let mut bytes = files.iter().map(|(_, file)| file.size).sum::<u64>();
        let kept = total.saturating_sub(bytes);
        let room = if total < self.most { u64::MAX } else { self.most.saturating_sub(kept) / 2 };
        let limit = self.limit.min(room);
        let remove = blocking(move || {
            for (_, file) in files {
                if bytes <= limit {
                    break;
                }
                fs::remove_file(&file.path)?;
                bytes = bytes.saturating_sub(file.size);
            }
            Ok(bytes)
        });
        let rest = remove.await.map_err(|error| self.failed("remove content", &error))?;
        self.bytes.store(kept.saturating_add(rest), Ordering::Relaxed);
        Ok(())
    }

    fn add(&self, more: u64) {
        let add = |bytes: u64| (bytes != UNCOUNTED).then(|| bytes.saturating_add(more));
        // Before the first count, there is no number to add to.
        let _ = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    fn failed(&self, doing: &str, error: &io::Error) -> ResourceError {
        let (resource, doing) = (self.resource.clone(), format!("{doing} in {}", self.folder.display()));
        let why = error.to_string();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ResourceError::Full { resource, doing, why },
            _ => ResourceError::Unavailable { resource, doing, why },
        }
    }
}

/// Content that is being stored. Removed when it is dropped.
#[derive(Debug)]
pub(super) struct Draft {
    resource: String,
    file: Arc<File>,
    path: PathBuf,
    /// Absent after a write that has failed or was dropped: the content is then incomplete.
    hasher: Option<Hasher>,
    size: u64,
}

impl Draft {
    /// Appends bytes and hashes them, on a blocking thread.
    ///
    /// # Errors
    /// [`ResourceError::Unavailable`] or [`ResourceError::Full`]. After an error every later call
    /// fails.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let (file, hasher, bytes) = (Arc::clone(&self.file), self.hasher.take(), bytes.to_owned());
        let size = bytes.len() as u64;
        let write = blocking(move || {
            let mut hasher = hasher.ok_or_else(|| io::Error::other("an earlier write failed"))?;
            (&*file).write_all(&bytes)?;
            hasher.update(&bytes);
            Ok(hasher)
        });
        let hasher = write.await.map_err(|error| {
            let (resource, doing) = (self.resource.clone(), format!("write {}", self.path.display()));
            let why = error.to_string();
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    ResourceError::Full { resource, doing, why }
                }
                _ => ResourceError::Unavailable { resource, doing, why },
            }
        })?;
        self.hasher = Some(hasher);
        self.size += size;
        Ok(())
    }

    /// Returns the number of bytes so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the digest of the bytes so far.
    pub(super) fn digest(&self) -> Digest {
        self.hasher.clone().unwrap_or_default().finish()
    }

    /// Returns the file, to read it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once the content is stored, there is no file of this name.
        let _ = fs::remove_file(&self.path);
    }
}

/// Content that is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

struct KeptFile {
    path: PathBuf,
    size: u64,
    stored: SystemTime,
}

fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Returns the files of content. Other names are left alone.
fn files(folder: &Path) -> io::Result<HashMap<Digest, KeptFile>> {
    let mut files = HashMap::new();
    for entry in entries(folder)? {
        let Ok(digest) = format!("sha256:{}", entry.file_name().to_string_lossy()).parse() else { continue };
        let found = entry.metadata()?;
        files.insert(digest, KeptFile { path: entry.path(), size: found.len(), stored: found.modified()? });
    }
    Ok(files)
}

struct KeptReader {
    resource: String,
    path: String,
    file: Arc<File>,
}

#[async_trait]
impl Reader for KeptReader {
    async fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let file = Arc::clone(&self.file);
        let read = blocking(move || {
            let mut bytes = vec![0; length.min(MAX_CHUNK_BYTES)];
            let mut filled = 0;
            while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match file.read_at(rest, offset + filled as u64) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            bytes.truncate(filled);
            Ok(bytes)
        });
        read.await.map_err(|error| ResourceError::Unavailable {
            resource: self.resource.clone(),
            doing: format!("read what is kept of `{}`", self.path),
            why: error.to_string(),
        })
    }
}

/// Runs calls that wait for the disk on a blocking thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(io::Error::other("the host is stopping")))
}

#[cfg(test)]
mod tests {

    use async_trait::async_trait;

    use super::{Kept, Stored};
    use crate::base::Digest;
    use crate::model::{KnownPath, Page};
    use crate::resource::{Content, KnownPaths, ResourceError, Result};

    struct Needed(Vec<Digest>);

    #[async_trait]
    impl KnownPaths for Needed {
        async fn page(&self, _: Option<String>) -> Result<Page<KnownPath>> {
            Ok(Page { items: Vec::new(), next_cursor: None })
        }

        async fn needed(&self, cursor: Option<String>) -> Result<Page<Digest>> {
            let at = cursor.map_or(0, |cursor| cursor.parse().unwrap());
            let next_cursor = (at + 1 < self.0.len()).then(|| (at + 1).to_string());
            Ok(Page { items: self.0.get(at).copied().into_iter().collect(), next_cursor })
        }
    }

    async fn store(kept: &Kept, bytes: &[u8]) -> Stored {
        let mut draft = kept.draft().unwrap();
        draft.write(bytes).await.unwrap();
        kept.store(draft).await.unwrap()
    }

    fn content(stored: Stored) -> Content {
        Content { path: "a.json".to_owned(), size: stored.size, digest: Some(stored.digest), stamp: String::new() }
    }

    #[tokio::test]
    async fn content_is_read_as_it_was_stored_and_damage_is_noticed() {
        let state = tempfile::tempdir().unwrap();
        let kept = Kept::new("api", state.path(), 0, u64::MAX);
        let stored = store(&kept, b"0123456789").await;
        assert_eq!(store(&kept, b"0123456789").await.digest, stored.digest);
        drop(kept.draft().unwrap());
        assert_eq!(std::fs::read_dir(state.path().join("resources/api")).unwrap().count(), 1, "a draft was left");
        let mut reader = kept.open(&content(stored)).await.unwrap();
        assert_eq!(reader.read(2, 3).await.unwrap(), b"234");
        assert_eq!(reader.read(8, 100).await.unwrap(), b"89");
        assert_eq!(reader.read(10, 100).await.unwrap(), b"");

        let other = Stored { size: 9, ..stored };
        let changed = kept.open(&content(other)).await.err().unwrap();
        assert!(matches!(changed, ResourceError::Changed { .. }), "{changed}");
    }

    #[tokio::test]
    async fn nothing_more_is_taken_at_the_bound_until_runs_need_less() {
        let state = tempfile::tempdir().unwrap();
        let kept = Kept::new("api", state.path(), 1_000, 12);
        let (first, second) = (store(&kept, b"aaaaaa").await, store(&kept, b"bbbbbb").await);
        let both = Needed(vec![first.digest, second.digest]);
        let full = kept.full(&both).await.unwrap().unwrap();
        assert_eq!(
            full.reason,
            "waiting, because runs need 12 B of kept content, the most that `max_kept` allows: they have not claimed it \
             or have not ended"
        );
        assert!(kept.full(&Needed(vec![second.digest])).await.unwrap().is_none());
        assert!(kept.open(&content(first)).await.is_err(), "what no run needs makes room");
        assert!(kept.open(&content(second)).await.is_ok());
        // The next host counts what is there.
        let next = Kept::new("api", state.path(), 1_000, 6);
        next.trim(&both).await.unwrap();
        assert!(next.is_full());
    }

    #[tokio::test]
    async fn the_oldest_content_that_no_run_needs_is_removed_first() {
        let state = tempfile::tempdir().unwrap();
        let kept = Kept::new("api", state.path(), 10, u64::MAX);
        let mut stored = Vec::new();
        for (age, bytes) in [b"aaaaa", b"bbbbb", b"ccccc", b"ddddd"].iter().enumerate() {
            let one = store(&kept, *bytes).await;
            let file = std::fs::File::open(kept.place(one.digest)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(age as u64)).unwrap();
            stored.push(one);
        }
        kept.trim(&Needed(vec![stored[0].digest])).await.unwrap();
        let mut there = Vec::new();
        for one in &stored {
            there.push(kept.open(&content(*one)).await.is_ok());
        }
        assert_eq!(there, [true, false, true, true]);
        let gone = kept.open(&content(stored[1])).await.err().unwrap();
        assert_eq!(
            gone.to_string(),
            "`a.json` in api is not kept any more: the host keeps only 10 B of content that no run needs, and removed \
             this because it was older"
        );
    }
}
