//! The observer's copy of what the store has on record about the folder.
//!
//! It holds the newest state at each path. The observer changes it only after the sink has taken
//! the change, so that it finds again what was not recorded.
//!
//! With many files the index dominates memory use: 72 bytes for each file, plus its path. The maps
//! are trees, because a folder that appears or disappears needs all entries beneath its path. For
//! inodes, the index only keeps a count for each 32-bit hash. That is enough to rule out a rename
//! for most new files; for the few others, a walk through the index is acceptable.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::ops::Bound;

use super::stamp::Stamp;
use crate::base::Digest;
use crate::base::filestamp::{FileStamp, Inode};
use crate::model::{ArtifactState, KnownPath, Observation};
use crate::resource::names::Names;
use crate::resource::{KnownPaths, Result};

/// A file on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) digest: Digest,
    ino: u64,
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
    dev: u32,
    /// The number of the last scan that saw it; the lowest bit says whether the stamp is racy.
    mark: u32,
}

impl Entry {
    pub(super) fn new(digest: Digest, stamp: Stamp) -> Self {
        let FileStamp { dev, ino, size, mtime_ns, ctime_ns } = stamp.file;
        Self { digest, ino, size, mtime_ns, ctime_ns, dev, mark: u32::from(stamp.racy) }
    }

    pub(super) fn file(&self) -> FileStamp {
        let Self { dev, ino, size, mtime_ns, ctime_ns, .. } = *self;
        FileStamp { dev, ino, size, mtime_ns, ctime_ns }
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp { file: self.file(), racy: self.mark & 1 == 1 }
    }

    /// Returns whether a file with this stamp is certain to have the content on record.
    pub(super) fn vouches_for(&self, file: FileStamp) -> bool {
        let stamp = self.stamp();
        stamp.file == file && !stamp.racy
    }

    fn see(&mut self, scan: u32) {
        self.mark = scan << 1 | self.mark & 1;
    }

    fn seen(&self) -> u32 {
        self.mark >> 1
    }
}

/// Something on record that is not a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnsupportedEntry {
    /// Its kind and identity; see [`super::unsupported`].
    pub(super) stamp: Box<str>,
    seen: u32,
}

/// A change: first reported to the sink, then applied to the index.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A file has new content or a new stamp.
    File(Box<str>, Entry),
    /// A file is gone.
    Gone(Box<str>),
    /// A file has moved from the first path to the second.
    Moved(Box<str>, Box<str>, Entry),
    /// Something unsupported is at a path (escaped): stamp and reason.
    Unsupported(Box<str>, Box<str>, String),
    /// Something unsupported is no longer at a path (escaped).
    UnsupportedGone(Box<str>),
}

impl Change {
    /// Returns the paths that the change is about.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::Moved(from, to, _) => (from, Some(to)),
            Self::File(path, _) | Self::Gone(path) | Self::Unsupported(path, ..) | Self::UnsupportedGone(path) => {
                (path, None)
            }
        };
        std::iter::once(&**first).chain(second.map(|path| &**path))
    }

    /// Returns the observation that reports the change.
    pub(super) fn observation(&self) -> Observation {
        match self {
            Self::File(path, entry) => Observation::Present {
                path: path.to_string(),
                digest: Some(entry.digest),
                size: entry.size,
                stamp: entry.stamp().to_string(),
            },
            Self::Gone(path) | Self::UnsupportedGone(path) => Observation::Gone { path: path.to_string() },
            Self::Moved(from, to, entry) => {
                Observation::Renamed { from: from.to_string(), to: to.to_string(), stamp: entry.stamp().to_string() }
            }
            Self::Unsupported(path, stamp, reason) => {
                Observation::Ignored { path: path.to_string(), reason: reason.clone(), stamp: stamp.to_string() }
            }
        }
    }
}

/// What is on record about the folder.
#[derive(Debug, Default)]
pub(super) struct Index {
    files: BTreeMap<Box<str>, Entry>,
    /// By escaped path.
    unsupported: BTreeMap<Box<str>, UnsupportedEntry>,
    /// The number of files with each hash of an inode.
    inode_counts: HashMap<u32, u8>,
    scan: u32,
}

impl Index {
    /// Reads what is on record. An entry with a stamp that cannot be parsed matches no file, so the
    /// observer checks that file again.
    ///
    /// Outputs whose names do not count here are never scanned, so they are left out. Those that
    /// are still unclaimed stay: they have to be reported as gone, so that no run claims them.
    ///
    /// # Errors
    /// Those of [`KnownPaths::page`].
    pub(super) async fn read(known: &dyn KnownPaths, names: &Names) -> Result<Self> {
        let (mut index, mut files, mut cursor) = (Self::default(), Vec::new(), None);
        loop {
            let page = known.page(cursor).await?;
            let counts = |known: &KnownPath| known.state == ArtifactState::New || names.counts(OsStr::new(&known.path));
            for known in page.items.into_iter().filter(counts) {
                if let Some(file) = known_file(&known) {
                    index.count(file.1);
                    files.push(file);
                } else if known.state == ArtifactState::Ignored {
                    let entry = UnsupportedEntry { stamp: known.stamp.into(), seen: 0 };
                    index.unsupported.insert(known.path.into(), entry);
                }
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        // Collected, not inserted one by one: a tree that is built at once from sorted entries has
        // full nodes.
        index.files = files.into_iter().collect();
        Ok(index)
    }

    pub(super) fn file(&self, path: &str) -> Option<&Entry> {
        self.files.get(path)
    }

    pub(super) fn unsupported(&self, escaped: &str) -> Option<&UnsupportedEntry> {
        self.unsupported.get(escaped)
    }

    /// Returns the number of files on record.
    pub(super) fn count_files(&self) -> usize {
        self.files.len()
    }

    /// Returns whether files are on record, and all of them were on other devices than this one.
    pub(super) fn is_elsewhere(&self, dev: u32) -> bool {
        // A stamp that could not be read has no device.
        !self.files.is_empty() && self.files.values().all(|entry| entry.dev != dev && entry.dev != 0)
    }

    /// Returns whether a file with this inode may be on record; `false` is certain.
    pub(super) fn may_hold(&self, inode: Inode) -> bool {
        self.inode_counts.contains_key(&hash(inode))
    }

    /// Returns whether several files with this inode may be on record; `false` is certain.
    pub(super) fn may_hold_more(&self, inode: Inode) -> bool {
        self.inode_counts.get(&hash(inode)).is_some_and(|count| *count > 1)
    }

    /// Returns the files beneath a folder (the empty path: all), in path order.
    pub(super) fn files_beneath(&self, folder: &str) -> impl Iterator<Item = (&str, &Entry)> {
        beneath(&self.files, folder)
    }

    /// Returns the escaped paths of the unsupported entries beneath a folder.
    pub(super) fn unsupported_beneath(&self, folder: &str) -> impl Iterator<Item = &str> {
        beneath(&self.unsupported, folder).map(|(path, _)| path)
    }

    /// Begins a scan: no entry counts as seen.
    pub(super) fn begin_scan(&mut self) {
        // The number has 31 bits and wraps around. No entry stays unseen for that many scans.
        self.scan = (self.scan + 1) & (u32::MAX >> 1);
    }

    /// Marks a file as seen by the scan. Returns whether it is unchanged from the record.
    pub(super) fn see_file(&mut self, path: &str, file: FileStamp) -> bool {
        let scan = self.scan;
        self.files.get_mut(path).is_some_and(|entry| {
            entry.see(scan);
            entry.vouches_for(file)
        })
    }

    /// Marks something unsupported as seen by the scan.
    pub(super) fn see_unsupported(&mut self, escaped: &str) {
        let scan = self.scan;
        if let Some(entry) = self.unsupported.get_mut(escaped) {
            entry.seen = scan;
        }
    }

    /// Returns the files beneath a folder that the scan has not seen.
    pub(super) fn unseen_files(&self, folder: &str) -> impl Iterator<Item = &str> {
        self.files_beneath(folder).filter(|(_, entry)| entry.seen() != self.scan).map(|(path, _)| path)
    }

    /// Returns the escaped paths of the unsupported entries beneath a folder that the scan has not
    /// seen.
    pub(super) fn unseen_unsupported(&self, folder: &str) -> impl Iterator<Item = &str> {
        beneath(&self.unsupported, folder).filter(|(_, entry)| entry.seen != self.scan).map(|(path, _)| path)
    }

    /// Applies a change that is on record now.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::File(path, entry) => self.put(path, entry),
            Change::Gone(path) => self.remove(&path),
            Change::Moved(from, to, entry) => {
                self.remove(&from);
                self.put(to, entry);
            }
            Change::Unsupported(path, stamp, _) => {
                self.unsupported.insert(path, UnsupportedEntry { stamp, seen: self.scan });
            }
            Change::UnsupportedGone(path) => {
                self.unsupported.remove(&path);
            }
        }
    }

    fn put(&mut self, path: Box<str>, mut entry: Entry) {
        entry.see(self.scan);
        self.count(entry);
        if let Some(before) = self.files.insert(path, entry) {
            self.discount(before);
        }
    }

    fn remove(&mut self, path: &str) {
        if let Some(before) = self.files.remove(path) {
            self.discount(before);
        }
    }

    fn count(&mut self, entry: Entry) {
        let count = self.inode_counts.entry(hash(entry.file().inode())).or_default();
        *count = count.saturating_add(1);
    }

    fn discount(&mut self, entry: Entry) {
        let key = hash(entry.file().inode());
        match self.inode_counts.get_mut(&key) {
            Some(1) => {
                self.inode_counts.remove(&key);
            }
            // A saturated count is not exact, so it stays. That only costs unnecessary lookups.
            Some(count) if *count < u8::MAX => *count -= 1,
            _ => {}
        }
    }
}

/// Finds files on record by their inodes. Valid only while the index does not change.
///
/// Most callers need one lookup, which is a walk through the index and takes no memory. A caller
/// that follows a chain of renames needs a lookup for each link, so the second lookup builds a list
/// sorted by inode. The list is dropped with the finder, because it is about as large as the index.
#[derive(Debug, Default)]
pub(super) struct Finder {
    asked: bool,
    by_inode: Option<Vec<(Inode, Box<str>)>>,
}

impl Finder {
    /// Returns the paths of the files with these inodes.
    pub(super) fn find(&mut self, index: &Index, inodes: &BTreeSet<Inode>) -> Vec<Box<str>> {
        let files = || index.files_beneath("").map(|(path, entry)| (entry.file().inode(), path));
        if !std::mem::replace(&mut self.asked, true) {
            return files().filter(|(inode, _)| inodes.contains(inode)).map(|(_, path)| path.into()).collect();
        }
        let by_inode = self.by_inode.get_or_insert_with(|| {
            let mut list: Vec<_> = files().map(|(inode, path)| (inode, path.into())).collect();
            list.sort_unstable();
            list
        });
        inodes.iter().flat_map(|inode| at(by_inode, inode)).map(|(_, path)| path.clone()).collect()
    }
}

/// Returns the entries of a sorted list that have this key.
fn at<'a, K: Ord, V>(list: &'a [(K, V)], key: &K) -> &'a [(K, V)] {
    let (from, to) = (list.partition_point(|(k, _)| k < key), list.partition_point(|(k, _)| k <= key));
    list.get(from..to).unwrap_or_default()
}

/// Hashes an inode. Multiplying by an odd number spreads consecutive inodes.
fn hash((dev, ino): Inode) -> u32 {
    ((ino ^ u64::from(dev).rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

fn known_file(known: &KnownPath) -> Option<(Box<str>, Entry)> {
    // Never equal to a result of `fstat`: file sizes are below 2^63.
    let unknown = FileStamp { dev: 0, ino: 0, size: u64::MAX, mtime_ns: 0, ctime_ns: 0 };
    let unknown = Stamp { file: unknown, racy: true };
    let digest = known.digest.filter(|_| known.state != ArtifactState::Ignored)?;
    Some((known.path.as_str().into(), Entry::new(digest, known.stamp.parse().unwrap_or(unknown))))
}

fn beneath<'a, V>(tree: &'a BTreeMap<Box<str>, V>, folder: &str) -> impl Iterator<Item = (&'a str, &'a V)> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    tree.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
        .take_while(move |(path, _)| path.starts_with(&prefix))
        .map(|(path, value)| (&**path, value))
}

#[cfg(test)]
mod tests {
    use super::super::stamp::Stamp;
    use super::{Change, Entry, FileStamp, Finder, Index};
    use crate::base::Digest;

    fn entry(ino: u64, racy: bool) -> Entry {
        let file = FileStamp { dev: 7, ino, size: 1, mtime_ns: 9, ctime_ns: 9 };
        Entry::new(Digest::of(b""), Stamp { file, racy })
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 72);
        assert!(size_of::<Box<str>>() + size_of::<Entry>() <= 88);
    }

    #[test]
    fn beneath_returns_only_entries_inside_the_folder() {
        let mut index = Index::default();
        for path in ["a", "a/b", "a/c/d", "a.b", "a0", "b/a/c"] {
            index.apply(Change::File(path.into(), entry(1, false)));
        }
        let beneath = |folder| index.files_beneath(folder).map(|(path, _)| path).collect::<Vec<_>>();
        assert_eq!(beneath("a"), ["a/b", "a/c/d"]);
        assert_eq!(beneath("").len(), 6);
        assert_eq!(beneath("c"), [""; 0]);
    }

    #[test]
    fn a_scan_reports_unseen_files_and_keeps_stamps() {
        let mut index = Index::default();
        index.apply(Change::File("a".into(), entry(1, true)));
        index.apply(Change::File("b".into(), entry(2, false)));
        index.begin_scan();
        assert!(index.see_file("b", entry(2, false).file()));
        assert_eq!(index.unseen_files("").collect::<Vec<_>>(), ["a"]);
        assert!(!index.see_file("a", entry(1, true).file()), "a racy stamp does not prove that a file is unchanged");
        assert_eq!(index.unseen_files("").count(), 0);
        assert_eq!(index.file("a").map(Entry::stamp), Some(entry(1, true).stamp()));
    }

    #[test]
    fn an_inode_is_indexed_as_long_as_a_file_has_it() {
        let mut index = Index::default();
        let held = |index: &Index| [1, 2, 3].map(|ino| index.may_hold((7, ino)));
        index.apply(Change::File("a".into(), entry(1, false)));
        index.apply(Change::File("b".into(), entry(1, false)));
        index.apply(Change::File("c".into(), entry(2, false)));
        assert_eq!(held(&index), [true, true, false]);
        index.apply(Change::File("c".into(), entry(3, false)));
        assert_eq!([1, 2, 3].map(|ino| index.may_hold_more((7, ino))), [true, false, false]);
        index.apply(Change::Moved("a".into(), "d".into(), entry(1, false)));
        assert_eq!(held(&index), [true, false, true]);
        index.apply(Change::Gone("b".into()));
        index.apply(Change::Gone("d".into()));
        assert_eq!(held(&index), [false, false, true]);
    }

    #[test]
    fn a_finder_returns_the_same_result_every_time() {
        let mut index = Index::default();
        for (path, ino) in [("a", 3), ("b", 1), ("c", 3), ("d", 2), ("e", 9)] {
            index.apply(Change::File(path.into(), entry(ino, false)));
        }
        let mut finder = Finder::default();
        for _ in 0..3 {
            for (inos, paths) in [(vec![3, 1], "abc"), (vec![2], "d"), (vec![4, 10], ""), (vec![0, 9], "e")] {
                let mut found = finder.find(&index, &inos.into_iter().map(|ino| (7, ino)).collect());
                found.sort();
                assert_eq!(found.concat(), paths);
            }
        }
    }
}
