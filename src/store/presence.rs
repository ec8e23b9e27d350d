//! Checks whether the files that a host writes are still where it opened them.
//!
//! A removed file stays writable for a process that has it open, so no write fails. But its content
//! is lost when the process ends, and another host finds neither lock nor records at the path, and
//! starts beside this one. So a timer checks the paths. `inotify` was rejected: a watch on a file
//! does not see a rename of a folder above it, and some file systems do not support it.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the paths are checked, with two `stat` calls for each file.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Files by path, each with its device and inode.
#[derive(Debug)]
pub(super) struct Presence {
    files: Vec<(PathBuf, (u64, u64))>,
}

impl Presence {
    /// Notes which files are at these paths now. A path without a file is not checked later.
    ///
    /// # Errors
    /// When a path cannot be examined.
    pub(super) fn of(paths: impl IntoIterator<Item = PathBuf>) -> io::Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            match std::fs::metadata(&path) {
                Ok(about) => files.push((path, identity(&about))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { files })
    }

    /// Describes what happened to the first file that is missing or replaced; `None` if none is.
    pub(super) fn lost(&self) -> Option<String> {
        self.files.iter().find_map(|(path, before)| lost(path, *before))
    }
}

/// Describes what happened to the file at `path`; `None` if it is still there, or if that cannot
/// be determined at the moment.
pub(super) fn lost(path: &Path, before: (u64, u64)) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(about) if identity(&about) == before => None,
        Ok(_) => Some(format!("{} was replaced by another file", path.display())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Some(format!("{} was removed or moved", path.display()))
        }
        Err(_) => None,
    }
}

/// Device and inode: while the file is open, no other file has them.
pub(super) fn identity(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Presence;

    #[test]
    fn a_file_that_is_removed_moved_or_replaced_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("state")).unwrap();
        fs::write(at("state/a"), "a").unwrap();
        fs::write(at("other"), "b").unwrap();
        let presence = Presence::of([at("state/a"), at("absent")]).unwrap();
        fs::write(at("state/a"), "longer").unwrap();
        assert_eq!(presence.lost(), None, "the content does not matter");
        fs::rename(at("state"), at("away")).unwrap();
        assert_eq!(presence.lost(), Some(format!("{} was removed or moved", at("state/a").display())));
        fs::rename(at("away"), at("state")).unwrap();
        assert_eq!(presence.lost(), None);
        fs::rename(at("other"), at("state/a")).unwrap();
        assert_eq!(presence.lost(), Some(format!("{} was replaced by another file", at("state/a").display())));
        fs::remove_dir_all(at("state")).unwrap();
        fs::write(at("state"), "a file").unwrap();
        assert_eq!(presence.lost(), Some(format!("{} was removed or moved", at("state/a").display())));
    }
}
