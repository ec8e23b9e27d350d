//! Decides what changes to report about a set of paths.
//!
//! It only compares the folder with the record, and does not depend on which events came. So the
//! report is correct after any sequence of events, even if some were lost, and nothing is reported
//! twice.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::Stat;
use rustix::io::Errno;

use super::hashing::Hashed;
use super::held::Why;
use super::index::{Change, Entry, Finder};
use super::moves::{Moves, in_order};
use super::observer::{End, Observer, SMALL};
use super::stable_read::{ReadOutcome, Settled, read_stable};
use super::stamp::Stamp;
use super::tree::Root;
use super::unsupported::{Here, Unsupported, entry_at, shown};
use crate::base::filestamp::{FileStamp, Inode, now_ns};

/// The minimum age of an empty file. Between its creation and the moment at which it begins to
/// count as open for writing, a file is empty and appears to have no writer.
const YOUNG: Duration = Duration::from_millis(100);
/// How long a renamed file may take to appear at its new path.
pub(super) const PASSING: Duration = Duration::from_millis(50);
const YOUNG_NS: i64 = 100_000_000;

/// What was found at a set of paths.
#[derive(Debug, Default)]
struct Sorted {
    /// Files on record that are gone, and whether each was already gone at an earlier check.
    gone: BTreeMap<Box<str>, bool>,
    /// Whether some path is neither on record nor present: a file may have been renamed from there.
    passing: bool,
    /// New entries that cannot become artifacts.
    unsupported: Vec<Change>,
    files: Vec<Seen>,
    /// Inodes that may be on record at other paths too: hard links (a write to one raises no events
    /// at the others), and files that were renamed faster than the events report.
    linked: BTreeSet<Inode>,
}

/// A file that differs from the record.
#[derive(Debug)]
struct Seen {
    path: Box<str>,
    file: FileStamp,
    /// Whether it is empty and was just created.
    young: bool,
}

impl Observer {
    /// Checks some paths, and reports the differences.
    pub(super) async fn check(&mut self, root: &Arc<Root>, todo: BTreeSet<OsString>) -> Result<(), End> {
        let mut sorted = self.sort(root, todo).await?;
        if !sorted.gone.is_empty() {
            // Perhaps the folder itself is gone.
            root.check(&self.folder)?;
        }
        let (moves, rest) = self.find_moves(root, &mut sorted);
        for (from, to, entry) in moves {
            self.waiting.done(OsStr::new(&*to));
            self.held.remove(OsStr::new(&*to));
            let key = shown(OsStr::new(&*to));
            if self.unsupported(&key).is_some() {
                self.push(Change::UnsupportedGone(key)).await?;
            }
            let hash = entry.stamp().racy && entry.file().size > SMALL as u64;
            self.push(Change::Moved(from, to.clone(), entry)).await?;
            if hash {
                let room = self.hashing.push(OsStr::new(&*to), self.settled(OsStr::new(&*to)));
                self.or_scan(room);
            }
        }
        let unsure = sorted.passing || self.dirty.is_due();
        let mut held = HashSet::new();
        for (path, waited) in sorted.gone {
            // If more events are pending, the file may appear at another path: then it was renamed,
            // and keeps its version. Unless an event says that it was removed, the event of its
            // rename, or of the rename of a folder above it, may not have been read yet.
            let path_os = OsStr::new(&*path);
            let unsure = unsure || !self.dirty.was_removed(path_os);
            let wait = unsure && !waited || self.is_ahead(root, path_os);
            if wait && self.waiting.for_span(path_os, PASSING, Instant::now()) {
                held.insert(shown(path_os));
            } else {
                self.push(Change::Gone(path)).await?;
            }
        }
        // These come after the reports that the files which were at these paths are gone or
        // renamed. Otherwise the store would apply those reports to the new entries.
        for unsupported in sorted.unsupported {
            if !matches!(&unsupported, Change::Unsupported(path, ..) if held.contains(path)) {
                self.push(unsupported).await?;
            }
        }
        for seen in rest {
            self.check_file(root, &seen).await?;
        }
        self.flush().await
    }

    /// Returns whether the file at a path was renamed, and at its new path either is not present or
    /// has not been checked yet.
    fn is_ahead(&self, root: &Root, path: &OsStr) -> bool {
        let end = self.dirty.end_of(path, Instant::now());
        end.is_some_and(|end| root.stat(&end).is_err_and(|errno| errno == Errno::NOENT) || self.dirty.is_due())
    }

    /// Handles the result of a hash job.
    pub(super) async fn on_hashed(&mut self, root: &Arc<Root>, hashed: Hashed) -> Result<(), End> {
        let Hashed { path, outcome, touched } = hashed;
        if touched {
            // The result may be outdated.
            self.dirty.put_back([path]);
            return Ok(());
        }
        let stat = root.stat(&path).ok();
        let is_current = |file: FileStamp| stat.as_ref().is_some_and(|stat| FileStamp::of(stat) == file);
        match (path.to_str(), outcome) {
            (Some(_), ReadOutcome::Stable(content)) if !is_current(content.stamp.file) => {
                self.dirty.put_back([path.clone()]);
            }
            (Some(text), outcome) => self.on_read(root, text, outcome).await?,
            (None, _) => {}
        }
        self.flush().await
    }

    async fn sort(&mut self, root: &Root, todo: BTreeSet<OsString>) -> Result<Sorted, End> {
        let mut sorted = Sorted::default();
        for path in &todo {
            self.sort_one(root, path, &mut sorted).await?;
        }
        // A file that is found at another path than on record may have replaced another file there.
        // So this follows a chain of renames to its end.
        let (mut looked_at, mut finder) = (todo, Finder::default());
        while !sorted.linked.is_empty() {
            let linked = std::mem::take(&mut sorted.linked);
            for path in finder.find(&self.index, &linked) {
                let path = OsString::from(String::from(path));
                if !looked_at.contains(&path) {
                    self.sort_one(root, &path, &mut sorted).await?;
                    looked_at.insert(path);
                }
            }
        }
        // Oldest first, which is most likely the order in which they arrived.
        sorted.files.sort_by(|a, b| (a.file.mtime_ns, &a.path).cmp(&(b.file.mtime_ns, &b.path)));
        Ok(sorted)
    }

    async fn sort_one(&mut self, root: &Root, path: &OsStr, sorted: &mut Sorted) -> Result<(), End> {
        // A file that disappears while it is being hashed is checked anyway: it may have been
        // renamed.
        if self.hashing.touch(path) && root.stat(path).is_ok() {
            return Ok(());
        }
        let here = match entry_at(root, &self.folder, &self.names, path) {
            Here::File(text, stat) => {
                self.sort_file(path, text, &stat, sorted);
                return Ok(());
            }
            Here::Unclear(errno) => {
                self.unclear(path, errno);
                return Ok(());
            }
            here => here,
        };
        let waited = self.waiting.has(path);
        self.waiting.done(path);
        if !matches!(here, Here::Folder) {
            self.held.remove(path);
        }
        match path.to_str().and_then(|text| Some((text, self.index.file(text)?.file().inode()))) {
            Some((text, inode)) => {
                if self.index.may_hold_more(inode) {
                    // A process may have written to the inode under this name before the name was
                    // removed.
                    sorted.linked.insert(inode);
                }
                sorted.gone.insert(text.into(), waited);
            }
            None => sorted.passing |= matches!(here, Here::Nothing),
        }
        match self.unsupported_change(path, here) {
            Some(gone @ Change::UnsupportedGone(_)) => self.push(gone).await,
            unsupported => {
                sorted.unsupported.extend(unsupported);
                Ok(())
            }
        }
    }

    fn sort_file(&mut self, path: &OsStr, text: Box<str>, stat: &Stat, sorted: &mut Sorted) {
        let file = FileStamp::of(stat);
        if self.index.file(&text).is_some_and(|entry| entry.vouches_for(file)) {
            self.waiting.done(path);
            self.held.remove(path);
            return;
        }
        let came = self.index.file(&text).is_none_or(|entry| entry.file().inode() != file.inode());
        if stat.st_nlink > 1 || came && self.index.may_hold(file.inode()) {
            sorted.linked.insert(file.inode());
        }
        let age = now_ns().saturating_sub(file.ctime_ns);
        let young = file.size == 0 && (0..YOUNG_NS).contains(&age);
        sorted.files.push(Seen { path: text, file, young });
    }

    /// Returns the change that reports an unsupported entry at a path, or that it is gone; `None`
    /// if that is on record already.
    fn unsupported_change(&self, path: &OsStr, here: Here) -> Option<Change> {
        let key = shown(path);
        let known = self.unsupported(&key);
        match here {
            Here::Unsupported(unsupported) if known == Some(&*unsupported.stamp) => None,
            Here::Unsupported(Unsupported { stamp, reason }) => Some(Change::Unsupported(key, stamp, reason)),
            _ => known.is_some().then_some(Change::UnsupportedGone(key)),
        }
    }

    /// Splits the files into files on record that were renamed, and the rest.
    fn find_moves(&mut self, root: &Root, sorted: &mut Sorted) -> (Moves<Box<str>, Entry>, Vec<Seen>) {
        let files = std::mem::take(&mut sorted.files);
        // The paths on record from which files have gone, by inode.
        let mut left: HashMap<Inode, Box<str>> = HashMap::new();
        for path in sorted.gone.keys().chain(files.iter().map(|seen| &seen.path)) {
            if let Some(entry) = self.index.file(path) {
                left.insert(entry.file().inode(), path.clone());
            }
        }
        for seen in &files {
            // The file is still there, although its content may have changed.
            if left.get(&seen.file.inode()).is_some_and(|from| *from == seen.path) {
                left.remove(&seen.file.inode());
            }
        }
        let (mut moves, mut rest) = (Vec::new(), Vec::new());
        for seen in files {
            let from = left.get(&seen.file.inode()).cloned();
            match from.and_then(|from| Some((self.moved(root, &from, &seen)?, from))) {
                Some((entry, from)) => {
                    left.remove(&seen.file.inode());
                    moves.push((from, seen, entry));
                }
                None => rest.push(seen),
            }
        }
        let ends: HashMap<Box<str>, Seen> = moves.iter().map(|(_, seen, _)| (seen.path.clone(), seen.copy())).collect();
        let moves = moves.into_iter().map(|(from, seen, entry)| (from, seen.path, entry)).collect();
        let (ordered, circle) = in_order::<Box<str>, Entry>(moves);
        // Files that exchanged their paths cannot be reported as a sequence of renames. Each
        // becomes a new version at its path.
        let mut ends = ends;
        rest.extend(circle.into_iter().filter_map(|(_, to, _)| ends.remove(&to)));
        for (from, _, _) in &ordered {
            sorted.gone.remove(from);
        }
        (ordered, rest)
    }

    /// Returns the new entry of a file that was renamed from `from`, if its content is unchanged.
    fn moved(&mut self, root: &Root, from: &str, seen: &Seen) -> Option<Entry> {
        let entry = *self.index.file(from)?;
        if entry.vouches_for(seen.file) {
            return Some(Entry::new(entry.digest, Stamp { file: seen.file, racy: false }));
        }
        if entry.file().size != seen.file.size {
            return None;
        }
        if seen.file.size > SMALL as u64 && entry.file().is_alike(&seen.file) {
            // Hashing it here would delay all other files. The artifact keeps its id and its claim
            // at once. Its new stamp is marked as racy, so that readers hash the file, and `check`
            // hashes it too once the rename is on record.
            return Some(Entry::new(entry.digest, Stamp { file: seen.file, racy: true }));
        }
        let settled = self.settled(OsStr::new(&*seen.path));
        match read_stable(root, OsStr::new(&*seen.path), settled, &mut self.buffer, &self.stop) {
            ReadOutcome::Stable(content) if content.digest == entry.digest => {
                Some(Entry::new(content.digest, content.stamp))
            }
            _ => None,
        }
    }

    async fn check_file(&mut self, root: &Arc<Root>, seen: &Seen) -> Result<(), End> {
        let path = OsStr::new(&*seen.path);
        if seen.young {
            let room = self.waiting.for_span(path, YOUNG, Instant::now());
            self.or_scan(room);
            return Ok(());
        }
        let settled = self.settled(path);
        if seen.file.size > SMALL as u64 {
            self.held.put(path, Why::Hashing);
            let room = self.hashing.push(path, settled);
            self.or_scan(room);
            return Ok(());
        }
        let outcome = read_stable(root, path, settled, &mut self.buffer, &self.stop);
        self.on_read(root, &seen.path, outcome).await
    }

    /// Reports the result of reading a file.
    async fn on_read(&mut self, root: &Root, text: &str, outcome: ReadOutcome) -> Result<(), End> {
        let (path, now) = (OsStr::new(text), Instant::now());
        let room = match outcome {
            ReadOutcome::Stable(content) => {
                self.waiting.done(path);
                self.held.remove(path);
                return self.found(text, Entry::new(content.digest, content.stamp)).await;
            }
            ReadOutcome::Busy => {
                self.held.put(path, Why::Open);
                self.waiting.busy(path, now)
            }
            ReadOutcome::Gone => self.waiting.busy(path, now),
            ReadOutcome::Unleased(like) => {
                self.held.put(path, Why::Changing(self.settle));
                self.waiting.settle(path, like, self.settle, now)
            }
            ReadOutcome::Failed(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR) => {
                tracing::warn!(path = %shown(path), "too little memory or too many open files to read a file");
                self.waiting.busy(path, now)
            }
            ReadOutcome::Failed(errno) => return self.unreadable(root, text, errno).await,
        };
        self.or_scan(room);
        Ok(())
    }

    async fn found(&mut self, path: &str, entry: Entry) -> Result<(), End> {
        let key = shown(OsStr::new(path));
        if self.unsupported(&key).is_some() {
            self.push(Change::UnsupportedGone(key)).await?;
        }
        let known = self.index.file(path);
        if known.is_some_and(|known| known.digest == entry.digest && known.stamp() == entry.stamp()) {
            return Ok(());
        }
        self.push(Change::File(path.into(), entry)).await
    }

    async fn unreadable(&mut self, root: &Root, text: &str, errno: Errno) -> Result<(), End> {
        let path = OsStr::new(text);
        let Ok(stat) = root.stat(path) else {
            self.waiting.busy(path, Instant::now());
            return Ok(());
        };
        self.waiting.done(path);
        self.held.remove(path);
        // The batch may contain a rename of the file that was there, which must be reported first.
        self.flush().await?;
        if self.index.file(text).is_some() {
            self.push(Change::Gone(text.into())).await?;
        }
        match self.unsupported_change(path, Here::Unsupported(Unsupported::unreadable(&stat, errno))) {
            Some(change) => self.push(change).await,
            None => Ok(()),
        }
    }

    /// Checks a path again later, if `stat` failed.
    fn unclear(&mut self, path: &OsStr, errno: Errno) {
        // Without access to a folder above the path, nothing is known about it. The folder itself
        // is reported.
        if errno != Errno::ACCESS {
            tracing::warn!(path = %shown(path), error = %std::io::Error::from(errno), "a path could not be read");
            let room = self.waiting.busy(path, Instant::now());
            self.or_scan(room);
        }
    }

    fn settled(&self, path: &OsStr) -> Settled {
        Settled { span: self.settle, like: self.waiting.settled(path, Instant::now()) }
    }

    /// Schedules a scan if a queue had no room.
    pub(super) fn or_scan(&mut self, room: bool) {
        if !room {
            self.scan_soon();
        }
    }
}

impl Seen {
    fn copy(&self) -> Self {
        Self { path: self.path.clone(), file: self.file, young: self.young }
    }
}
