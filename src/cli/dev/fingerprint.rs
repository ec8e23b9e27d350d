//! The state of the sources of a build, so that two moments can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::Digest;
use crate::base::filestamp::FileStamp;
use crate::cli::sources::{Products, walk};

/// A file beyond this is compared by size and time alone: it is data, and hashing it would make the
/// user wait for its digest at each save.
const MAX_HASHED_BYTES: u64 = 64 << 20;

/// Files that people and package managers write: a source before a build, and a product of it when
/// the build changes them.
const LOCKS: [&str; 3] = ["Cargo.lock", "package-lock.json", "go.sum"];

/// The state of the sources of a build at some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    files: BTreeMap<PathBuf, File>,
    /// Why some of it could not be read.
    pub(super) trouble: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    stamp: FileStamp,
    digest: Digest,
}

impl Fingerprint {
    /// Reads what is at and below `roots`. What `before` knows already is not read again.
    /// `enter` is called for each folder before it is read.
    pub(super) fn take(roots: &[PathBuf], products: &Products, before: &Self, enter: &mut dyn FnMut(&Path)) -> Self {
        let mut fingerprint = Self::default();
        for root in roots {
            let looked = walk(root, products, enter, &mut |found| {
                if !found.about.is_dir() {
                    fingerprint.add(found.path, before)?;
                }
                Ok(true)
            });
            if let Err(why) = looked {
                fingerprint.trouble.get_or_insert_with(|| format!("{} cannot be read: {why}", root.display()));
            }
        }
        fingerprint
    }

    fn add(&mut self, path: &Path, before: &Self) -> io::Result<()> {
        // Follows links: the build uses their targets.
        let about = match fs::metadata(path) {
            Ok(about) if about.is_file() => about,
            // A linked folder, a pipe or a broken link is not a source.
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let stamp = FileStamp::of_metadata(&about);
        let known = before.files.get(path).filter(|file| file.stamp == stamp);
        let digest = match known {
            Some(file) => file.digest,
            None if about.len() > MAX_HASHED_BYTES => Digest::of(format!("{stamp:?}").as_bytes()),
            None => match fs::read(path) {
                Ok(bytes) => Digest::of(&bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            },
        };
        self.files.insert(path.to_owned(), File { stamp, digest });
        Ok(())
    }

    /// Takes over what `now` knows of files that package managers write while they build.
    pub(super) fn take_over_locks(&mut self, now: &Self) {
        let is_lock = |path: &Path| path.file_name().is_some_and(|name| LOCKS.iter().any(|lock| name == *lock));
        self.files.retain(|path, _| !is_lock(path));
        self.files.extend(
            now.files.iter().filter(|(path, _)| is_lock(path)).map(|(path, file)| (path.clone(), file.clone())),
        );
    }

    /// Returns the files that were added, removed or changed since `before`, by content.
    pub(super) fn differences(&self, before: &Self) -> Vec<PathBuf> {
        let digest = |fingerprint: &Self, path: &PathBuf| fingerprint.files.get(path).map(|file| file.digest);
        let gone = before.files.keys().filter(|path| !self.files.contains_key(*path));
        let mut all: Vec<PathBuf> =
            self.files.keys().filter(|path| digest(self, path) != digest(before, path)).chain(gone).cloned().collect();
        all.sort();
        all
    }

    /// Returns the files that were written since `before`, even with the same bytes.
    pub(super) fn written(&self, before: &Self) -> Vec<PathBuf> {
        let written = self.files.iter().filter(|(path, file)| before.files.get(*path) != Some(*file));
        written.map(|(path, _)| path.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};

    use super::{Fingerprint, Products};

    #[test]
    fn changed_files_are_distinguished_from_touched_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let roots = [folder.path().to_owned()];
        let take = |before: &Fingerprint| {
            let mut entered = Vec::new();
            let fingerprint =
                Fingerprint::take(&roots, &Products::default(), before, &mut |path| entered.push(path.to_owned()));
            assert!(entered.contains(&roots[0]));
            fingerprint
        };
        fs::create_dir(at("sub")).unwrap();
        for name in ["a", "b", "sub/c"] {
            fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink("nowhere", at("link")).unwrap();
        let first = take(&Fingerprint::default());
        assert_eq!(take(&first), first);
        fs::write(at("b"), "other").unwrap();
        fs::remove_file(at("sub/c")).unwrap();
        fs::write(at("new"), "").unwrap();
        let second = take(&first);
        assert_eq!(second.differences(&first), [at("b"), at("new"), at("sub/c")]);
        File::open(at("a")).unwrap().set_modified(SystemTime::now() - Duration::from_secs(9)).unwrap();
        let third = take(&second);
        assert!(third.differences(&second).is_empty());
        assert_eq!(third.written(&second), [at("a")]);
    }

    #[test]
    fn a_lockfile_written_by_a_build_is_not_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let roots = [folder.path().to_owned()];
        let take = || Fingerprint::take(&roots, &Products::default(), &Fingerprint::default(), &mut |_| {});
        fs::write(folder.path().join("lib.rs"), "").unwrap();
        let mut before = take();
        fs::write(folder.path().join("Cargo.lock"), "").unwrap();
        fs::write(folder.path().join("lib.rs"), "saved meanwhile").unwrap();
        let after = take();
        before.take_over_locks(&after);
        assert_eq!(after.differences(&before), [folder.path().join("lib.rs")]);
        fs::remove_file(folder.path().join("Cargo.lock")).unwrap();
        before.take_over_locks(&take());
        assert!(!before.files.contains_key(&folder.path().join("Cargo.lock")));
    }

    #[test]
    fn unreadable_paths_are_named() {
        let fingerprint = Fingerprint::take(
            &[PathBuf::from("/nowhere/at/all")],
            &Products::default(),
            &Fingerprint::default(),
            &mut |_| {},
        );
        assert!(fingerprint.trouble.unwrap().starts_with("/nowhere/at/all cannot be read: "));
    }
}
