//! Decides on which thread calls that may block run.
//!
//! A call on a local file system takes microseconds if its answer is in the kernel's caches, which
//! is as long as handing it to another thread and back. So such calls run on the calling thread:
//! names, `stat`, and bytes in the page cache. Calls that may take long run on the runtime's
//! threads for blocking work: everything on a network file system, hashing, reading bytes that are
//! not cached, syncing, and sweeping. Rejected: handing over every call, which doubles the time of
//! a small run.

use std::io::IoSliceMut;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use cap_std::fs::{Dir, File};
use rustix::io::ReadWriteFlags;

use crate::resource::{ResourceError, Result};

/// Kinds of file system (`f_type`) whose calls may wait for another machine or process.
const REMOTE: &[i64] = &[
    0x6969,      // NFS
    0x517b,      // SMB
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x6573_5546, // FUSE
    0x0102_1997, // 9P
    0x00c3_6400, // Ceph
    0x0bd0_0bd0, // Lustre
    0x5346_414f, // AFS
];

/// Whether a folder is on a local file system, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Locality(AtomicU8);

const LOCAL: u8 = 1;
const ELSEWHERE: u8 = 2;

impl Locality {
    /// Returns whether the folder is known to be local.
    pub(super) fn is_local(&self) -> bool {
        self.0.load(Relaxed) == LOCAL
    }

    /// Determines the locality from an opened folder, once.
    pub(super) fn note(&self, root: &Dir) {
        if self.0.load(Relaxed) == 0
            && let Ok(about) = rustix::fs::fstatfs(root)
        {
            let remote = REMOTE.contains(&(about.f_type & 0xffff_ffff));
            self.0.store(if remote { ELSEWHERE } else { LOCAL }, Relaxed);
        }
    }
}

/// Runs blocking work on another thread. The work completes even if the caller is dropped.
pub(super) async fn aside<T: Send + 'static>(
    resource: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(ResourceError::Unavailable {
                resource: resource.to_owned(),
                doing: "answer".to_owned(),
                why: "the host is stopping".to_owned(),
            }),
        },
    }
}

/// Returns whether bytes of a file are in the page cache, judged by the first and the last, so that
/// a read of them returns at once. `false` on file systems that cannot tell.
pub(super) fn is_cached(file: &File, offset: u64, length: usize) -> bool {
    let is_there = |at: u64| {
        let mut byte = [0];
        rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT).is_ok()
    };
    length == 0 || is_there(offset) && is_there(offset + length as u64 - 1)
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;
    use cap_std::fs::Dir;

    use super::{Locality, aside, is_cached};

    #[tokio::test]
    async fn cached_ranges_are_detected_and_aside_returns_its_result() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), vec![1; 100_000]).unwrap();
        let root = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        let locality = Locality::default();
        assert!(!locality.is_local());
        locality.note(&root);
        assert!(locality.is_local());
        let file = root.open("a").unwrap();
        // A file system that cannot tell answers `false`. Either answer is right here; the call
        // must not fail.
        let _ = is_cached(&file, 0, 100_000);
        assert!(is_cached(&file, 5, 0));
        assert_eq!(aside("raw", || Ok(7)).await.unwrap(), 7);
    }
}
