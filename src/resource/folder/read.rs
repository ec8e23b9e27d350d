//! Reads a version of a file, and detects when the file is not that version any more.
//!
//! A reader reads from one descriptor, opened once. It compares the file's [`FileStamp`] with the
//! one that the file had when its content was known to be the recorded one: when it opens the file,
//! and after each chunk. If only the change time differs, the file may have been renamed, or
//! written to with its modification time set back, so the reader hashes the content again.
//! Rejected: to hold a read lease for as long as the file is open, which would block a process that
//! wants to write to it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cap_std::fs::{File, OpenOptions, OpenOptionsExt as _};
use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use std::os::fd::AsFd as _;

use super::Folder;
use super::blocking::{aside, is_cached};
use super::lease::{Lease, Refusal};
use super::stamp::Stamp;
use crate::base::filestamp::{FileStamp, now_ns};
use crate::base::{Digest, Hasher, bounds};
use crate::resource::about::About;
use crate::resource::{Content, Reader, Result, check_path};

/// The size in bytes up to which a file with a racy stamp is read at once and served from memory. A
/// later change that leaves the stamp equal then has no effect.
const IN_MEMORY: u64 = 256 << 10;
const PIECE: usize = 1 << 20;

/// Opens a version; see [`crate::resource::Resource::open`].
pub(super) async fn open(folder: &Folder, content: &Content) -> Result<Box<dyn Reader>> {
    let wanted = content.clone();
    let version = folder.work(false, move |folder| open_file(folder, wanted)).await?;
    let local = folder.locality.is_local();
    let mut reader = FileReader { version: Arc::new(version), local, verified: None, memory: None };
    reader.begin(content.stamp.parse().ok()).await?;
    Ok(Box::new(reader))
}

fn open_file(folder: &Folder, content: Content) -> Result<Version> {
    check_path(&content.path)?;
    let about = About { resource: &folder.name, path: &content.path };
    let mut options = OpenOptions::new();
    // Opening a FIFO that someone put there must not block, and a link is not a version of a file.
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
    let root = folder.root(about)?;
    let file = match root.open_with(&content.path, &options) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Err(about.not_found());
        }
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(about.changed("it is a link now")),
        Err(error) => return Err(about.unavailable("open", error)),
    };
    let Content { path, size, digest, .. } = content;
    Ok(Version { resource: folder.name.to_string(), path, digest, size, file })
}

/// An open file, and the version that it should contain.
struct Version {
    resource: String,
    path: String,
    digest: Option<Digest>,
    size: u64,
    file: File,
}

impl Version {
    fn about(&self) -> About<'_> {
        About { resource: &self.resource, path: &self.path }
    }

    fn stat(&self) -> Result<Stat> {
        rustix::fs::fstat(&self.file).map_err(|errno| self.about().unavailable("look at", errno))
    }

    /// Returns the stamp of the file, if its kind and size match the recorded version.
    fn check_size(&self) -> Result<FileStamp> {
        let stat = self.stat()?;
        let file = FileStamp::of(&stat);
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.about().changed("it is no longer a file"));
        }
        if file.size != self.size {
            return Err(self.about().changed(format!("it has {} bytes, not {}", file.size, self.size)));
        }
        Ok(file)
    }

    /// Hashes the file. Returns its stamp, if its content is the recorded version.
    fn verify(&self) -> Result<FileStamp> {
        let about = self.about();
        let lease = match Lease::take(self.file.as_fd()) {
            Ok(lease) => Some(lease),
            Err(Refusal::Busy) => return Err(about.changed("someone has it open for writing")),
            Err(Refusal::Unsupported) => None,
        };
        let before = FileStamp::of(&self.stat()?);
        let (mut hasher, mut buffer, mut at) = (Hasher::default(), Vec::new(), 0);
        while at < self.size {
            buffer.clear();
            self.pread_into(&mut buffer, at, PIECE)?;
            if buffer.is_empty() || !lease.as_ref().is_none_or(Lease::holds) {
                return Err(about.changed("someone writes to it"));
            }
            hasher.update(&buffer);
            at += buffer.len() as u64;
        }
        let after = FileStamp::of(&self.stat()?);
        if Some(hasher.finish()) != self.digest {
            return Err(about.changed("its content has changed"));
        }
        if before != after || !lease.as_ref().is_none_or(Lease::holds) {
            return Err(about.changed("someone writes to it"));
        }
        Ok(after)
    }

    /// Returns the whole content, if it is the recorded one.
    fn whole(&self) -> Result<Vec<u8>> {
        let bytes = self.pread(0, usize::try_from(self.size).unwrap_or(usize::MAX))?;
        if Some(Digest::of(&bytes)) == self.digest {
            Ok(bytes)
        } else {
            Err(self.about().changed("its content has changed"))
        }
    }

    /// Returns a chunk, and the stamp of the file after it was read, which shows every change
    /// before that.
    fn chunk(&self, offset: u64, length: usize) -> Result<(Vec<u8>, FileStamp)> {
        Ok((self.pread(offset, length)?, FileStamp::of(&self.stat()?)))
    }

    fn pread(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        self.pread_into(&mut bytes, offset, length)?;
        Ok(bytes)
    }

    /// Appends up to `length` bytes from `offset`; fewer only at the end.
    fn pread_into(&self, bytes: &mut Vec<u8>, offset: u64, length: usize) -> Result<()> {
        bytes.reserve_exact(length);
        let start = bytes.len();
        while bytes.len() - start < length {
            let done = bytes.len() - start;
            // `pread` fills the reserved capacity, which may be more than `length`.
            match rustix::io::pread(&self.file, spare_capacity(bytes), offset + done as u64) {
                Ok(0) => break,
                Ok(_) => bytes.truncate(start + length),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.about().unavailable("read", errno)),
            }
        }
        Ok(())
    }
}

struct FileReader {
    version: Arc<Version>,
    /// Whether the file system is local, so that bytes in the page cache are read at once.
    local: bool,
    /// The stamp of the file when its content was known to be the recorded one.
    verified: Option<FileStamp>,
    /// The whole content, if it was read at once.
    memory: Option<Vec<u8>>,
}

impl FileReader {
    /// Runs `work`: on this thread if `quick`, otherwise on a blocking thread, because guests share
    /// this one.
    async fn work<T: Send + 'static>(
        &self,
        quick: bool,
        work: impl FnOnce(&Version) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.local && quick {
            return work(&self.version);
        }
        let version = Arc::clone(&self.version);
        aside(&self.version.resource, move || work(&version)).await
    }

    /// Checks that the file is the recorded version.
    async fn begin(&mut self, recorded: Option<Stamp>) -> Result<()> {
        let file = self.work(true, Version::check_size).await?;
        self.verified = Some(file);
        if recorded == Some(Stamp { file, racy: false }) {
            return Ok(());
        }
        let (wait, size) = (file.racy_for(now_ns()), self.version.size);
        if wait.is_zero() || size > IN_MEMORY {
            // Until the clock has ticked, a change could leave the times equal.
            if wait > Duration::ZERO {
                tokio::time::sleep(wait).await;
            }
            return self.verify().await;
        }
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        let cached = self.local && is_cached(&self.version.file, 0, length);
        self.memory = Some(self.work(cached, Version::whole).await?);
        Ok(())
    }

    async fn verify(&mut self) -> Result<()> {
        let size = self.version.size;
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        let quick = self.local && size <= IN_MEMORY && is_cached(&self.version.file, 0, length);
        self.verified = Some(self.work(quick, Version::verify).await?);
        Ok(())
    }

    /// Checks that the file with the stamp `now` is still the recorded version.
    async fn check(&mut self, now: FileStamp) -> Result<()> {
        let Some(before) = self.verified else { return Ok(()) };
        if !now.is_alike(&before) {
            let why = if now.size == before.size { "it was written to" } else { "its size has changed" };
            return Err(self.version.about().changed(why));
        }
        // The file was renamed or linked, or its owner changed; or it was written to and its
        // modification time was set back. Hashing the content decides.
        if now == before { Ok(()) } else { self.verify().await }
    }
}

#[async_trait]
impl Reader for FileReader {
    async fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let left = usize::try_from(self.version.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(bounds::MAX_CHUNK_BYTES).min(left);
        if self.memory.is_some() {
            let now = self.work(true, |version| Ok(FileStamp::of(&version.stat()?))).await?;
            self.check(now).await?;
        }
        if let Some(memory) = &self.memory {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(memory.len());
            return Ok(memory.get(start..start + length).unwrap_or_default().to_vec());
        }
        let cached = self.local && is_cached(&self.version.file, offset, length);
        let (bytes, now) = self.work(cached, move |version| version.chunk(offset, length)).await?;
        self.check(now).await?;
        if bytes.len() < length {
            return Err(self.version.about().changed("it is shorter than it was"));
        }
        Ok(bytes)
    }
}
