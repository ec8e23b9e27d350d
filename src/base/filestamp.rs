//! Identity of a file's version: [`FileStamp`].
//!
//! The change time (`st_ctime`) is part of it. The kernel sets it on each change of the content or
//! the metadata of a file, and no program can set it: `cp -p` over a file and `touch -r` keep size
//! and modification time, but not the change time. The price is that a rename, a `chmod` and a hard
//! link change it too, so that the content must be hashed again to find that it is unchanged.
//!
//! Clocks of file systems tick every few milliseconds. A stamp that is taken right after a change
//! may therefore be the same after a second change: [`FileStamp::racy_for`] returns for how long.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use rustix::fs::Stat;

/// How long after a change a second change may leave the change time the same: twice the coarsest
/// tick of Linux (100 Hz).
const TICK_NS: i64 = 20_000_000;
/// The same for a file system that stores whole seconds (FAT: two).
const SECONDS_NS: i64 = 2_100_000_000;

/// An inode: its device and its number.
pub type Inode = (u32, u64);

/// The identity and version of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    /// The device. The kernel's device numbers have 32 bits.
    pub dev: u32,
    /// The inode's number on that device.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Last change of the content, nanoseconds since 1970. Programs can set it.
    pub mtime_ns: i64,
    /// Last change of the content or the metadata, nanoseconds since 1970. Only the kernel sets it.
    pub ctime_ns: i64,
}

impl FileStamp {
    /// Creates a stamp from the result of `stat`.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        let (dev, ino) = inode(stat);
        Self {
            dev,
            ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime_ns: nanos(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            ctime_ns: nanos(stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0)),
        }
    }

    /// Creates a stamp from the standard library's metadata.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the kernel hands out 32 bits")]
    pub fn of_metadata(file: &Metadata) -> Self {
        Self {
            dev: file.dev() as u32,
            ino: file.ino(),
            size: file.size(),
            mtime_ns: nanos(file.mtime(), file.mtime_nsec()),
            ctime_ns: nanos(file.ctime(), file.ctime_nsec()),
        }
    }

    /// Returns the inode.
    #[must_use]
    pub fn inode(&self) -> Inode {
        (self.dev, self.ino)
    }

    /// Returns whether `other` is the same file with the same size and modification time. Ignores
    /// the change time, because a rename changes it.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        Self { ctime_ns: 0, ..*self } == Self { ctime_ns: 0, ..*other }
    }

    /// Returns whether a change right after `now_ns` could leave this stamp the same.
    #[must_use]
    pub fn racy_at(&self, now_ns: i64) -> bool {
        now_ns.saturating_sub(self.ctime_ns).saturating_abs() < self.window_ns()
    }

    /// Returns how long the stamp stays racy; zero if it is not.
    #[must_use]
    pub fn racy_for(&self, now_ns: i64) -> Duration {
        if !self.racy_at(now_ns) {
            return Duration::ZERO;
        }
        let left = self.ctime_ns.saturating_add(self.window_ns()).saturating_sub(now_ns);
        Duration::from_nanos(u64::try_from(left).unwrap_or(0))
    }

    fn window_ns(&self) -> i64 {
        if self.ctime_ns % 1_000_000_000 == 0 { SECONDS_NS } else { TICK_NS }
    }
}

/// Returns the inode of a file, which stays the same when the file is written or moved.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the kernel hands out 32 bits")]
pub fn inode(stat: &Stat) -> Inode {
    (stat.st_dev as u32, stat.st_ino)
}

/// Returns the time of the clock that file systems use, in nanoseconds since 1970.
#[must_use]
pub fn now_ns() -> i64 {
    let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

fn nanos(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use super::FileStamp;

    #[test]
    fn a_stamp_is_racy_as_long_as_the_clock_may_not_have_ticked() {
        let at = |ctime_ns| FileStamp { dev: 1, ino: 1, size: 1, mtime_ns: 0, ctime_ns };
        let now = 1_700_000_000_123_456_789;
        assert!(at(now).racy_at(now));
        assert!(at(now - 10_000_000).racy_at(now));
        assert!(!at(now - 20_000_000).racy_at(now));
        // Whole seconds: the file system stores no more.
        assert!(at(1_700_000_000_000_000_000).racy_at(now));
        assert!(!at(1_699_999_990_000_000_000).racy_at(now));
        // Far in the future: the next change cannot have this time.
        assert!(!at(now + 3_000_000_000).racy_at(now));
        assert_eq!(at(now - 10_000_000).racy_for(now).as_millis(), 10);
    }

    #[test]
    fn the_standard_library_and_stat_give_the_same_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"some").unwrap();
        let stamp = FileStamp::of(&rustix::fs::stat(&path).unwrap());
        assert_eq!(stamp, FileStamp::of_metadata(&std::fs::metadata(&path).unwrap()));
        // A rename changes only the change time.
        let other = folder.path().join("b");
        while std::fs::metadata(&path).is_ok_and(|file| FileStamp::of_metadata(&file) == stamp) {
            std::fs::rename(&path, &other).unwrap();
            std::fs::rename(&other, &path).unwrap();
        }
        assert!(FileStamp::of(&rustix::fs::stat(&path).unwrap()).is_alike(&stamp));
    }
}
