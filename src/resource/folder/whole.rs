//! Hashing a file whole, or not at all.

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

/// What came of looking at a file.
#[derive(Debug)]
pub(super) enum Sight {
    /// Nobody had it open for writing while it was hashed.
    Whole(Whole),
    /// Someone has it open for writing, or it changed meanwhile. It will raise an event when that ends.
    Busy,
    /// The system does not tell whether someone writes. What it was like; to be looked at again when that has stood still.
    Unleased(FileStamp),
    /// It is gone, or is no file any more.
    Gone,
    /// It can not be read.
    Failed(Errno),
}

/// A file's content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole {
    pub(super) stamp: Stamp,
    pub(super) digest: Digest,
}

/// What an open file is like now; `None` if it is not a regular file.
fn stamp_of(file: &OwnedFd) -> Result<Option<FileStamp>, Errno> {
    let stat = rustix::fs::fstat(file)?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(regular.then(|| FileStamp::of(&stat)))
}

/// When a file is taken to be whole where leases are refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    /// When nothing has changed for this long, by the file's own times.
    pub(super) span: Duration,
    /// Or when it is like this: it has been seen to stand still (its times may be those of another clock).
    pub(super) like: Option<FileStamp>,
}

impl Settled {
    fn holds(&self, file: FileStamp) -> bool {
        let newest = file.ctime_ns.max(file.mtime_ns);
        let age = u64::try_from(now_ns().saturating_sub(newest)).map_or(Duration::ZERO, Duration::from_nanos);
        age >= self.span || self.like == Some(file)
    }
}

/// Looks at the file at `path`. Blocks for as long as hashing takes, or until `stop`; a piece is as large as `buffer`.
pub(super) fn look(root: &Root, path: &OsStr, settled: Settled, buffer: &mut [u8], stop: &CancellationToken) -> Sight {
    let file = match root.open_file(path) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Sight::Gone,
        // Someone holds a write lease.
        Err(Errno::AGAIN) => return Sight::Busy,
        Err(errno) => return Sight::Failed(errno),
    };
    let lease = match Lease::take(file.as_fd()) {
        Ok(lease) => Some(lease),
        Err(Refusal::Busy) => return Sight::Busy,
        Err(Refusal::Unsupported) => None,
    };
    match hash(&file, lease.as_ref(), settled, buffer, stop) {
        Ok(sight) => sight,
        Err(errno) => Sight::Failed(errno),
    }
}

fn hash(
    file: &OwnedFd,
    lease: Option<&Lease<'_>>,
    settled: Settled,
    buffer: &mut [u8],
    stop: &CancellationToken,
) -> Result<Sight, Errno> {
    let Some(before) = stamp_of(file)? else { return Ok(Sight::Gone) };
    if lease.is_none() && !settled.holds(before) {
        return Ok(Sight::Unleased(before));
    }
    let undisturbed = || lease.is_none_or(Lease::holds) && !stop.is_cancelled();
    let Some(digest) = digest(file, buffer, undisturbed)? else { return Ok(Sight::Busy) };
    fault::point("observe.hashed");
    // The order matters: what the clock says now is not before any change that the lease has held off.
    let now = now_ns();
    let after = stamp_of(file)?;
    if after != Some(before) || !lease.is_none_or(Lease::holds) {
        return Ok(Sight::Busy);
    }
    let stamp = Stamp { file: before, racy: before.racy_at(now) };
    Ok(Sight::Whole(Whole { stamp, digest }))
}

/// The digest of what a file holds; `None` as soon as it is disturbed.
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
