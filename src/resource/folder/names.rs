//! Which names count.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::manifest::FolderSpec;

/// The resource's own folder inside the resource. As it begins with a dot it is never watched.
pub(super) const OWN: &str = ".anacostia";

/// Tells the names that count from those that do not.
#[derive(Debug)]
pub(super) struct Names {
    /// `None`: all.
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Names {
    /// From the globs of the manifest. The error names the glob.
    pub(super) fn new(spec: &FolderSpec) -> Result<Self, globset::Error> {
        let include = if spec.include.is_empty() { None } else { Some(globs(&spec.include)?) };
        Ok(Self { include, exclude: globs(&spec.exclude)? })
    }

    /// Whether a folder at this path, relative to the resource, is looked into. Its parents are not looked at.
    pub(super) fn enters(&self, path: &OsStr) -> bool {
        !last_part_is_temporary(path.as_bytes()) && !self.exclude.is_match(path)
    }

    /// Whether a file at this path, relative to the resource, counts, given that its folder is looked into.
    pub(super) fn takes(&self, path: &OsStr) -> bool {
        if last_part_is_temporary(path.as_bytes()) {
            return false;
        }
        let candidate = Candidate::new(path);
        self.include.as_ref().is_none_or(|globs| globs.is_match_candidate(&candidate))
            && !self.exclude.is_match_candidate(&candidate)
    }

    /// Whether a file at this path, relative to the resource, counts.
    pub(super) fn counts(&self, path: &OsStr) -> bool {
        self.reaches(path) && self.takes(path)
    }

    /// Whether every folder above this path is looked into, and the path itself is not temporary.
    pub(super) fn reaches(&self, path: &OsStr) -> bool {
        let bytes = path.as_bytes();
        let mut folders = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        !last_part_is_temporary(bytes)
            && folders.all(|at| self.enters(OsStr::from_bytes(bytes.get(..at).unwrap_or_default())))
    }
}

fn globs(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(GlobBuilder::new(pattern).literal_separator(true).build()?);
    }
    set.build()
}

/// Names that programs give to what is not finished: `.*`, `*.tmp`, `*.part`, `*~`.
fn last_part_is_temporary(path: &[u8]) -> bool {
    let part = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    part.starts_with(b".") || part.ends_with(b".tmp") || part.ends_with(b".part") || part.ends_with(b"~")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::time::Duration;

    use super::Names;
    use crate::manifest::FolderSpec;

    fn names(include: &[&str], exclude: &[&str]) -> Names {
        let own = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
        let path = "/nowhere".into();
        let (settle, rescan) = (Duration::ZERO, Duration::ZERO);
        Names::new(&FolderSpec { path, include: own(include), exclude: own(exclude), settle, rescan }).unwrap()
    }

    fn counts(names: &Names, path: &str) -> bool {
        names.counts(OsStr::new(path))
    }

    #[test]
    fn temporary_names_do_not_count_anywhere_in_a_path() {
        let all = names(&[], &[]);
        for good in ["a", "a/b.csv", "tmp", "a.tmp.csv", "part"] {
            assert!(counts(&all, good), "{good}");
        }
        for bad in [".a", "a.tmp", "a.part", "a~", ".git/a", "a.tmp/b", "a/.b/c/d", ".anacostia/staging/x/y"] {
            assert!(!counts(&all, bad), "{bad}");
        }
    }

    #[test]
    fn a_star_does_not_cross_folders_and_an_excluded_folder_takes_all_in_it_along() {
        let some = names(&["*.csv", "deep/**/*.csv"], &["old", "deep/b*"]);
        for (path, expected) in [
            ("a.csv", true),
            ("a.txt", false),
            ("b/a.csv", false),
            ("deep/a.csv", true),
            ("deep/x/y/a.csv", true),
            ("old/a.csv", false),
            ("deep/bad/a.csv", false),
            ("deep/b.csv", false),
        ] {
            assert_eq!(counts(&some, path), expected, "{path}");
        }
    }
}
