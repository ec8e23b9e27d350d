//! Identifies a version of a file in the record, as text: a [`FileStamp`], and whether it is
//! reliable.
//!
//! A stamp that was taken within the granularity of the file system's clock after a change is
//! marked as [`Stamp::racy`], because the file may have been written again without changing the
//! stamp. Code that needs to rely on such a stamp hashes the content again.

use std::fmt;
use std::str::FromStr;

use crate::base::filestamp::FileStamp;

/// The change time of stamps that were recorded without one. No file has it, so the content is
/// hashed again.
const NO_CTIME: i64 = i64::MIN;

/// A [`FileStamp`], and whether it is reliable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) file: FileStamp,
    /// Whether the content may have changed without changing the stamp; see the module.
    pub(super) racy: bool,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FileStamp { dev, ino, size, mtime_ns, ctime_ns } = self.file;
        write!(f, "{dev}:{ino}:{size}:{mtime_ns}")?;
        if ctime_ns != NO_CTIME {
            write!(f, ":{ctime_ns}")?;
        }
        if self.racy { f.write_str("~") } else { Ok(()) }
    }
}

/// The text is not the stamp of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotAStamp;

impl FromStr for Stamp {
    type Err = NotAStamp;

    /// Reads the text of [`Stamp`]'s `Display`. Releases up to 0.1.0 wrote no change time.
    fn from_str(text: &str) -> Result<Self, NotAStamp> {
        let (body, racy) = text.strip_suffix('~').map_or((text, false), |body| (body, true));
        let mut parts = body.split(':');
        let mut next = || parts.next().ok_or(NotAStamp);
        let mut file = FileStamp {
            dev: next()?.parse().map_err(|_| NotAStamp)?,
            ino: next()?.parse().map_err(|_| NotAStamp)?,
            size: next()?.parse().map_err(|_| NotAStamp)?,
            mtime_ns: next()?.parse().map_err(|_| NotAStamp)?,
            ctime_ns: NO_CTIME,
        };
        if let Some(ctime) = parts.next() {
            file.ctime_ns = ctime.parse().map_err(|_| NotAStamp)?;
        }
        if parts.next().is_some() { Err(NotAStamp) } else { Ok(Self { file, racy }) }
    }
}

#[cfg(test)]
mod tests {
    use super::{FileStamp, NO_CTIME, Stamp};

    #[test]
    fn a_stamp_round_trips_and_other_text_is_refused() {
        for ctime_ns in [1_700_000_000_123_456_789, -1, NO_CTIME] {
            let file = FileStamp { dev: 66_305, ino: u64::MAX, size: 0, mtime_ns: -1, ctime_ns };
            for racy in [false, true] {
                let stamp = Stamp { file, racy };
                assert_eq!(stamp.to_string().parse(), Ok(stamp));
            }
        }
        for bad in ["", "1:2:3", "1:2:3:4:5:6", "a:2:3:4", "1:2:3:4~~", "f1:2:3:4", "1:2:3:4:"] {
            assert!(bad.parse::<Stamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stamp_of_an_earlier_release_names_the_inode_and_matches_no_file() {
        let stamp: Stamp = "7:8:9:10".parse().unwrap();
        assert_eq!(stamp.file.inode(), (7, 8));
        assert_eq!(stamp.to_string(), "7:8:9:10");
        let now = FileStamp { dev: 7, ino: 8, size: 9, mtime_ns: 10, ctime_ns: 11 };
        assert!(stamp.file != now && stamp.file.is_alike(&now));
    }
}
