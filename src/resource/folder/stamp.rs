//! What a file is known by, as text for the record.
//!
//! Device, inode, size and time of the last change. That fails in one case: a file that is written again, to the same size,
//! within the granularity of the clock that the file system uses. So a stamp that was taken that soon after the
//! change is marked as [`Stamp::racy`], and whoever relies on it looks at the content once more.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use rustix::fs::Stat;

/// How long after a change a second one may leave the time as it is: twice the coarsest tick of Linux (100 Hz).
const TICK_NS: i64 = 20_000_000;
/// The same for a file system that keeps whole seconds (FAT: two).
const SECONDS_NS: i64 = 2_100_000_000;

/// An inode: its device and its number.
pub(super) type Inode = (u32, u64);

/// Which file, and in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ident {
    /// The device. The kernel's numbers have 32 bits.
    pub(super) dev: u32,
    pub(super) ino: u64,
    /// Bytes.
    pub(super) size: u64,
    /// Last change of the content, nanoseconds since 1970.
    pub(super) mtime_ns: i64,
}

impl Ident {
    pub(super) fn of(stat: &Stat) -> Self {
        let (dev, ino) = place(stat);
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Self { dev, ino, size, mtime_ns: nanos(stat.st_mtime, stat.st_mtime_nsec) }
    }

    /// The inode.
    pub(super) fn place(&self) -> Inode {
        (self.dev, self.ino)
    }

    /// Whether a change that came right after `now` could leave this as it is.
    pub(super) fn racy_at(&self, now_ns: i64) -> bool {
        let window = if self.mtime_ns % 1_000_000_000 == 0 { SECONDS_NS } else { TICK_NS };
        now_ns.saturating_sub(self.mtime_ns).saturating_abs() < window
    }

    /// How long until it is no longer racy; zero if it is not.
    pub(super) fn racy_for(&self, now_ns: i64) -> std::time::Duration {
        if !self.racy_at(now_ns) {
            return std::time::Duration::ZERO;
        }
        let window = if self.mtime_ns % 1_000_000_000 == 0 { SECONDS_NS } else { TICK_NS };
        let left = self.mtime_ns.saturating_add(window).saturating_sub(now_ns);
        std::time::Duration::from_nanos(u64::try_from(left).unwrap_or(0))
    }
}

/// The device and inode of a file: what stays as it is written and moved.
#[expect(clippy::cast_possible_truncation, reason = "the kernel hands out 32 bits")]
pub(super) fn place(stat: &Stat) -> Inode {
    (stat.st_dev as u32, stat.st_ino)
}

/// Last change of the content or of what the system keeps about the file, nanoseconds since 1970. No one can set it.
pub(super) fn ctime_ns(stat: &Stat) -> i64 {
    nanos(stat.st_ctime, stat.st_ctime_nsec)
}

fn nanos(seconds: i64, rest: u64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(i64::try_from(rest).unwrap_or(0))
}

/// The clock that file systems go by, nanoseconds since 1970.
pub(super) fn now_ns() -> i64 {
    let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

/// An [`Ident`], and how far it can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) ident: Ident,
    /// The content may have changed since, and this not: see the module.
    pub(super) racy: bool,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ident { dev, ino, size, mtime_ns } = self.ident;
        write!(f, "{dev}:{ino}:{size}:{mtime_ns}{}", if self.racy { "~" } else { "" })
    }
}

/// A text that is no stamp of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoStamp;

impl FromStr for Stamp {
    type Err = NoStamp;

    fn from_str(text: &str) -> Result<Self, NoStamp> {
        let (body, racy) = text.strip_suffix('~').map_or((text, false), |body| (body, true));
        let mut parts = body.split(':');
        let mut next = || parts.next().ok_or(NoStamp);
        let ident = Ident {
            dev: next()?.parse().map_err(|_| NoStamp)?,
            ino: next()?.parse().map_err(|_| NoStamp)?,
            size: next()?.parse().map_err(|_| NoStamp)?,
            mtime_ns: next()?.parse().map_err(|_| NoStamp)?,
        };
        if parts.next().is_some() { Err(NoStamp) } else { Ok(Self { ident, racy }) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ident, Stamp};

    #[test]
    fn a_stamp_reads_back_and_other_text_does_not() {
        let ident = Ident { dev: 66_305, ino: u64::MAX, size: 0, mtime_ns: -1 };
        for racy in [false, true] {
            let stamp = Stamp { ident, racy };
            assert_eq!(stamp.to_string().parse(), Ok(stamp));
        }
        for bad in ["", "1:2:3", "1:2:3:4:5", "a:2:3:4", "1:2:3:4~~", "f1:2:3:4"] {
            assert!(bad.parse::<Stamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stamp_is_racy_as_long_as_the_clock_may_not_have_ticked() {
        let at = |mtime_ns| Ident { dev: 1, ino: 1, size: 1, mtime_ns };
        let now = 1_700_000_000_123_456_789;
        assert!(at(now).racy_at(now));
        assert!(at(now - 10_000_000).racy_at(now));
        assert!(!at(now - 20_000_000).racy_at(now));
        // Whole seconds: the file system keeps no more.
        assert!(at(1_700_000_000_000_000_000).racy_at(now));
        assert!(!at(1_699_999_990_000_000_000).racy_at(now));
        // From the far future: the next change will not have this time.
        assert!(!at(now + 3_000_000_000).racy_at(now));
        assert_eq!(at(now - 10_000_000).racy_for(now).as_millis(), 10);
    }
}
