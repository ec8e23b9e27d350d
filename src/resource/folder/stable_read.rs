//! Hashes a file only if nobody writes to it meanwhile.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::FileType;
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::lease::{Lease, Refusal};
use super::stamp::Stamp;
use super::tree::Root;
use crate::base::filestamp::{FileStamp, now_ns};
use crate::base::{Digest, Hasher, fault};

/// The result of reading a file.
#[derive(Debug)]
pub(super) enum ReadOutcome {
    /// Nobody had it open for writing while it was hashed.
    Stable(StableContent),
    /// Someone has it open for writing, or it changed while it was read. An event follows when the
    /// writer closes it.
    Busy,
    /// The file system grants no leases, so that writers cannot be detected. Holds the stamp of the
    /// file; it is read once that stays the same.
    Unleased(FileStamp),
    /// It is gone, or is not a regular file any more.
    Gone,
    /// This user cannot read it.
    Failed(Errno),
}

/// The content of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct StableContent {
    pub(super) stamp: Stamp,
    pub(super) digest: Digest,
}

/// Returns the current stamp of an open file; `None` if it is not a regular file.
fn stamp_of(file: &OwnedFd) -> Result<Option<FileStamp>, Errno> {
    let stat = rustix::fs::fstat(file)?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(regular.then(|| FileStamp::of(&stat)))
}

/// When a file counts as complete on file systems without leases.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    /// Complete if it has not changed for this long, by its own times.
    pub(super) span: Duration,
    /// Complete too if it still has this stamp, because the observer saw it unchanged for that long
    /// (its times may come from another machine's clock).
    pub(super) like: Option<FileStamp>,
}

impl Settled {
    fn holds(&self, file: FileStamp) -> bool {
        let newest = file.ctime_ns.max(file.mtime_ns);
        let age = u64::try_from(now_ns().saturating_sub(newest)).map_or(Duration::ZERO, Duration::from_nanos);
        age >= self.span || self.like == Some(file)
    }
}

/// Hashes the file at `path`, in pieces of the size of `buffer`. Blocks until it is done, or until
/// `stop`.
pub(super) fn read_stable(
    root: &Root,
    path: &OsStr,
    settled: Settled,
    buffer: &mut [u8],
    stop: &CancellationToken,
) -> ReadOutcome {
    let file = match root.open_file(path) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return ReadOutcome::Gone,
        // Someone holds a write lease.
        Err(Errno::AGAIN) => return ReadOutcome::Busy,
        Err(errno) => return ReadOutcome::Failed(errno),
    };
    let lease = match Lease::take(file.as_fd()) {
        Ok(lease) => Some(lease),
        Err(Refusal::Busy) => return ReadOutcome::Busy,
        Err(Refusal::Unsupported) => None,
    };
    match hash(&file, lease.as_ref(), settled, buffer, stop) {
        Ok(outcome) => outcome,
        Err(errno) => ReadOutcome::Failed(errno),
    }
}

fn hash(
    file: &OwnedFd,
    lease: Option<&Lease<'_>>,
    settled: Settled,
    buffer: &mut [u8],
    stop: &CancellationToken,
) -> Result<ReadOutcome, Errno> {
    let Some(before) = stamp_of(file)? else { return Ok(ReadOutcome::Gone) };
    if lease.is_none() && !settled.holds(before) {
        return Ok(ReadOutcome::Unleased(before));
    }
    let undisturbed = || lease.is_none_or(Lease::holds) && !stop.is_cancelled();
    let Some(digest) = digest(file, buffer, undisturbed)? else { return Ok(ReadOutcome::Busy) };
    fault::point("observe.hashed");
    // The clock is read before the second `stat`, while the lease still keeps writers out.
    let now = now_ns();
    let after = stamp_of(file)?;
    if after != Some(before) || !lease.is_none_or(Lease::holds) {
        return Ok(ReadOutcome::Busy);
    }
    let stamp = Stamp { file: before, racy: before.racy_at(now) };
    Ok(ReadOutcome::Stable(StableContent { stamp, digest }))
}

/// Returns the digest of a file's content; `None` as soon as `undisturbed` returns `false`.
pub(super) fn digest(
    file: &OwnedFd,
    buffer: &mut [u8],
    undisturbed: impl Fn() -> bool,
) -> Result<Option<Digest>, Errno> {
    let mut hasher = Hasher::default();
    let mut at = 0;
    loop {
        let count = match rustix::io::pread(file, &mut *buffer, at) {
            Ok(0) => return Ok(Some(hasher.finish())),
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        hasher.update(buffer.get(..count).unwrap_or_default());
        at += count as u64;
        if !undisturbed() {
            return Ok(None);
        }
    }
}
