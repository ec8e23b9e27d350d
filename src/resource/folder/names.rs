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

/// Ends of names that editors, browsers and uploaders give to files that are not finished, in lower case.
const TEMPORARY_ENDS: [&[u8]; 10] =
    [b".tmp", b".part", b".partial", b".filepart", b".crdownload", b".download", b".aria2", b".!qb", b".swp", b"~"];

/// Whether the last part of a path is a temporary name, in any case of letters: hidden (`.x`), a lock of an office program (`~$x`), an
/// autosave of Emacs (`#x#`), or one that ends as in [`TEMPORARY_ENDS`].
fn last_part_is_temporary(path: &[u8]) -> bool {
    let part = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let ends_with = |end: &[u8]| {
        part.len()
            .checked_sub(end.len())
            .and_then(|at| part.get(at..))
            .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    };
    let autosave = part.len() > 1 && part.starts_with(b"#") && part.ends_with(b"#");
    part.starts_with(b".") || part.starts_with(b"~$") || autosave || TEMPORARY_ENDS.iter().any(|end| ends_with(end))
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
        for good in ["a", "a/b.csv", "tmp", "a.tmp.csv", "part", "#", "#1", "a#", "~a", "a.download.csv", "swp"] {
            assert!(counts(&all, good), "{good}");
        }
        for bad in [".a", "a.tmp", "a.part", "a~", ".git/a", "a.tmp/b", "a/.b/c/d", ".anacostia/staging/x/y"] {
            assert!(!counts(&all, bad), "{bad}");
        }
        let more =
            ["a.partial", "a.filepart", "a.crdownload", "a.download", "a.aria2", "a.!qB", "a.swp", "~$a.xlsx", "#a#"];
        for bad in more.iter().flat_map(|bad| [(*bad).to_owned(), bad.to_uppercase(), format!("sub/{bad}")]) {
            assert!(!counts(&all, &bad), "{bad}");
        }
        assert!(!counts(&all, "A.TMP") && !counts(&all, "a.Part"));
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
