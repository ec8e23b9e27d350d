//! Decides which names count as artifacts, by the globs of the manifest.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

/// The resource's own folder inside the resource. It is never watched, whatever the manifest has
/// under `ignore`.
pub(super) const OWN: &str = ".anacostia";

/// Matches paths against the globs of the manifest.
#[derive(Debug)]
pub(super) struct Names {
    /// `None` includes all files.
    include: Option<GlobSet>,
    exclude: GlobSet,
    /// Names that are skipped everywhere.
    ignore: GlobSet,
}

impl Names {
    /// Compiles the globs of the manifest. The error names the invalid glob.
    pub(super) fn new(include: &[String], exclude: &[String], ignore: &[String]) -> Result<Self, globset::Error> {
        let include = if include.is_empty() { None } else { Some(globs(include, false)?) };
        Ok(Self { include, exclude: globs(exclude, false)?, ignore: globs(ignore, true)? })
    }

    /// Returns whether a folder at this path, relative to the resource, is scanned. Does not check
    /// the folders above it.
    pub(super) fn enters(&self, path: &OsStr) -> bool {
        !self.ignores(path) && !self.exclude.is_match(path)
    }

    /// Returns whether a file at this path, relative to the resource, counts, assuming that its
    /// folder is scanned.
    pub(super) fn takes(&self, path: &OsStr) -> bool {
        !self.ignores(path) && self.selects(path)
    }

    /// Returns whether a file at this path, relative to the resource, would count if its name were
    /// not ignored, assuming that its folder is scanned.
    pub(super) fn ignores_only(&self, path: &OsStr) -> bool {
        path != OWN && self.ignores(path) && self.selects(path)
    }

    /// Returns whether a file at this path, relative to the resource, would count if `include`
    /// matched it, assuming that its folder is scanned.
    pub(super) fn misses_include(&self, path: &OsStr) -> bool {
        let is_included = self.include.as_ref().is_none_or(|globs| globs.is_match(path));
        !is_included && !self.ignores(path) && !self.exclude.is_match(path)
    }

    /// Returns whether a file at this path, relative to the resource, counts.
    pub(super) fn counts(&self, path: &OsStr) -> bool {
        self.reaches(path) && self.takes(path)
    }

    /// Returns whether every folder above this path is scanned, and the name of the path itself is
    /// not ignored.
    pub(super) fn reaches(&self, path: &OsStr) -> bool {
        let bytes = path.as_bytes();
        let mut folders = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        !self.ignores(path) && folders.all(|at| self.enters(OsStr::from_bytes(bytes.get(..at).unwrap_or_default())))
    }

    /// Returns whether `include` and `exclude` select a file.
    fn selects(&self, path: &OsStr) -> bool {
        let candidate = Candidate::new(path);
        self.include.as_ref().is_none_or(|globs| globs.is_match_candidate(&candidate))
            && !self.exclude.is_match_candidate(&candidate)
    }

    /// Returns whether the last part of a path is an ignored name.
    fn ignores(&self, path: &OsStr) -> bool {
        let bytes = path.as_bytes();
        let name = bytes.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        bytes == OWN.as_bytes() || self.ignore.is_match(OsStr::from_bytes(name))
    }
}

fn globs(patterns: &[String], any_case: bool) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(GlobBuilder::new(pattern).literal_separator(true).case_insensitive(any_case).build()?);
    }
    set.build()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::Names;
    use crate::manifest::FolderSpec;

    fn own(globs: &[&str]) -> Vec<String> {
        globs.iter().map(|glob| (*glob).to_owned()).collect()
    }

    fn names(include: &[&str], exclude: &[&str]) -> Names {
        ignoring(include, exclude, &FolderSpec::default_ignore())
    }

    fn ignoring(include: &[&str], exclude: &[&str], ignore: &[String]) -> Names {
        Names::new(&own(include), &own(exclude), ignore).unwrap()
    }

    fn counts(names: &Names, path: &str) -> bool {
        names.counts(OsStr::new(path))
    }

    #[test]
    fn temporary_names_are_ignored_anywhere_in_a_path() {
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
    fn an_ignore_list_replaces_the_default_but_never_exposes_the_hosts_folder() {
        let none = ignoring(&[], &["old"], &[]);
        for (path, expected) in [
            (".a", true),
            ("a.tmp", true),
            ("sub/.b/c~", true),
            ("sub/.anacostia/a", true),
            ("old/a", false),
            (".anacostia", false),
            (".anacostia/staging/x/y", false),
        ] {
            assert_eq!(counts(&none, path), expected, "{path}");
        }
        let some = ignoring(&[], &[], &own(&["*.{bak,old}", "_*"]));
        for (path, expected) in
            [("a.tmp", true), (".a", true), ("a.BAK", false), ("x/a.old", false), ("_x/a", false), ("x/a_", true)]
        {
            assert_eq!(counts(&some, path), expected, "{path}");
        }
    }

    #[test]
    fn a_star_does_not_cross_folders_and_excluding_a_folder_excludes_its_contents() {
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
