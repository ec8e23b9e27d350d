//! Decides what to report about a set of paths.
//!
//! It compares what is there with what is on record, and nothing else: which events came plays no
//! part. So the report is right after any sequence of events, also if some were lost, and nothing
//! is reported twice.

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
use super::unsupported::{Here, Unsupported, shown, what_lies};
use crate::base::filestamp::{FileStamp, Inode, now_ns};

/// How old an empty file must be. Between the creation of a file and the moment from which it
/// counts as open for writing, it is empty and seems to have no writer.
const YOUNG: Duration = Duration::from_millis(100);
/// How long a renamed file may take to appear at its new path.
const PASSING: Duration = Duration::from_millis(50);
const YOUNG_NS: i64 = 100_000_000;

/// What lies at some paths.
#[derive(Debug, Default)]
struct Sorted {
    /// On record as a file, and none any more; and whether that was so a moment ago, too.
    gone: BTreeMap<Box<str>, bool>,
    /// Something was there that was not on record, and is not there either: it may have moved on.
    passing: bool,
    /// Something new that cannot be an artifact.
    unsupported: Vec<Change>,
    files: Vec<Seen>,
    /// Inodes that may be on record at other paths, too: hard links (a write to one raises no
    /// events at the others), and files that have moved on from where they are on record, faster
    /// than events tell.
    linked: BTreeSet<Inode>,
}

/// A file that is not as it is on record.
#[derive(Debug)]
struct Seen {
    path: Box<str>,
    file: FileStamp,
    /// Empty, and just made.
    young: bool,
}

impl Observer {
    /// Looks at some paths, and tells what is different.
    pub(super) async fn check(&mut self, root: &Arc<Root>, todo: BTreeSet<OsString>) -> Result<(), End> {
        let mut sorted = self.sort(root, todo).await?;
        if !sorted.gone.is_empty() {
            // Perhaps it is the folder that is gone.
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
        let unsure = sorted.passing || self.dirty.rings();
        let mut held = HashSet::new();
        for (path, waited) in sorted.gone {
            // If more is under way, it may be found where it went: then it was renamed, and keeps
            // its version. Unless an event says that it was removed, the event of its rename, or of
            // that of a folder above it, may not have been read yet.
            let path_os = OsStr::new(&*path);
            let unsure = unsure || !self.dirty.was_removed(path_os);
            let wait = unsure && !waited || self.is_ahead(root, path_os);
            if wait && self.waiting.for_span(path_os, PASSING, Instant::now()) {
                held.insert(shown(path_os));
            } else {
                self.push(Change::Gone(path)).await?;
            }
        }
        // After the report that the file which was there has left: otherwise that would be taken
        // for theirs.
        for unsupported in sorted.unsupported {
            if !matches!(&unsupported, Change::Unsupported(path, ..) if held.contains(path)) {
                self.push(unsupported).await?;
            }
        }
        for seen in rest {
            self.look_at(root, &seen).await?;
        }
        self.flush().await
    }

    /// Whether what lay at a path was renamed, and is not where it came to either, or has not been
    /// looked at there yet.
    fn is_ahead(&self, root: &Root, path: &OsStr) -> bool {
        let end = self.dirty.end_of(path, Instant::now());
        end.is_some_and(|end| root.stat(&end).is_err_and(|errno| errno == Errno::NOENT) || self.dirty.rings())
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
        let same = |file: FileStamp| stat.as_ref().is_some_and(|stat| FileStamp::of(stat) == file);
        match (path.to_str(), outcome) {
            (Some(_), ReadOutcome::Stable(whole)) if !same(whole.stamp.file) => self.dirty.put_back([path.clone()]),
            (Some(text), outcome) => self.conclude(root, text, outcome).await?,
            (None, _) => {}
        }
        self.flush().await
    }

    async fn sort(&mut self, root: &Root, todo: BTreeSet<OsString>) -> Result<Sorted, End> {
        let mut sorted = Sorted::default();
        for path in &todo {
            self.sort_one(root, path, &mut sorted).await?;
        }
        // Each file that is found elsewhere than on record may have taken the place of another: a
        // chain of renames is followed to its end.
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
        // Oldest first: that is the order in which they came, as far as anyone can tell.
        sorted.files.sort_by(|a, b| (a.file.mtime_ns, &a.path).cmp(&(b.file.mtime_ns, &b.path)));
        Ok(sorted)
    }

    async fn sort_one(&mut self, root: &Root, path: &OsStr, sorted: &mut Sorted) -> Result<(), End> {
        #[cfg(test)]
        self.dirty.looked_at(path);
        // What has left while it is being hashed is looked at all the same: it may have been
        // renamed.
        if self.hashing.touch(path) && root.stat(path).is_ok() {
            return Ok(());
        }
        let here = match what_lies(root, &self.folder, &self.names, path) {
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
                    // It may have been written to under this name before it went.
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

    /// The change that reports something unsupported at a path, or its end; `None` if that is on
    /// record already.
    fn unsupported_change(&self, path: &OsStr, here: Here) -> Option<Change> {
        let key = shown(path);
        let known = self.unsupported(&key);
        match here {
            Here::Unsupported(unsupported) if known == Some(&*unsupported.stamp) => None,
            Here::Unsupported(Unsupported { stamp, reason }) => Some(Change::Unsupported(key, stamp, reason)),
            _ => known.is_some().then_some(Change::UnsupportedGone(key)),
        }
    }

    /// Splits the files into known ones that were renamed, and the rest.
    fn find_moves(&mut self, root: &Root, sorted: &mut Sorted) -> (Moves<Box<str>, Entry>, Vec<Seen>) {
        let files = std::mem::take(&mut sorted.files);
        // Where files lay that do not lie there any more, by what they are.
        let mut left: HashMap<Inode, Box<str>> = HashMap::new();
        for path in sorted.gone.keys().chain(files.iter().map(|seen| &seen.path)) {
            if let Some(entry) = self.index.file(path) {
                left.insert(entry.file().inode(), path.clone());
            }
        }
        for seen in &files {
            // Still there, if perhaps written to.
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
        let ends: HashMap<Box<str>, Seen> =
            moves.iter().map(|(_, seen, _)| (seen.path.clone(), seen.again())).collect();
        let moves = moves.into_iter().map(|(from, seen, entry)| (from, seen.path, entry)).collect();
        let (ordered, circle) = in_order::<Box<str>, Entry>(moves);
        // Files that changed places cannot be reported as a sequence of renames: each becomes a new
        // version at its path.
        let mut ends = ends;
        rest.extend(circle.into_iter().filter_map(|(_, to, _)| ends.remove(&to)));
        for (from, _, _) in &ordered {
            sorted.gone.remove(from);
        }
        (ordered, rest)
    }

    /// The new entry of a file that was renamed from `from`, if its content is the same.
    fn moved(&mut self, root: &Root, from: &str, seen: &Seen) -> Option<Entry> {
        let entry = *self.index.file(from)?;
        if entry.vouches_for(seen.file) {
            return Some(Entry::new(entry.digest, Stamp { file: seen.file, racy: false }));
        }
        if entry.file().size != seen.file.size {
            return None;
        }
        if seen.file.size > SMALL as u64 && entry.file().is_alike(&seen.file) {
            // Hashing it here would hold up all other files. It keeps its id and its claim at once;
            // its new stamp is marked as one that vouches for nothing, so that readers hash it, and
            // so does `check` once the rename is on record.
            return Some(Entry::new(entry.digest, Stamp { file: seen.file, racy: true }));
        }
        let settled = self.settled(OsStr::new(&*seen.path));
        match read_stable(root, OsStr::new(&*seen.path), settled, &mut self.buffer, &self.stop) {
            ReadOutcome::Stable(whole) if whole.digest == entry.digest => Some(Entry::new(whole.digest, whole.stamp)),
            _ => None,
        }
    }

    async fn look_at(&mut self, root: &Arc<Root>, seen: &Seen) -> Result<(), End> {
        let path = OsStr::new(&*seen.path);
        if seen.young {
            let room = self.waiting.for_span(path, YOUNG, Instant::now());
            self.or_scan(room);
            return Ok(());
        }
        let settled = self.settled(path);
        if seen.file.size > SMALL as u64 {
            let room = self.hashing.push(path, settled);
            self.or_scan(room);
            return Ok(());
        }
        let outcome = read_stable(root, path, settled, &mut self.buffer, &self.stop);
        self.conclude(root, &seen.path, outcome).await
    }

    /// Reports the result of reading a file.
    async fn conclude(&mut self, root: &Root, text: &str, outcome: ReadOutcome) -> Result<(), End> {
        let (path, now) = (OsStr::new(text), Instant::now());
        let room = match outcome {
            ReadOutcome::Stable(whole) => {
                self.waiting.done(path);
                self.held.remove(path);
                return self.found(text, Entry::new(whole.digest, whole.stamp)).await;
            }
            ReadOutcome::Busy => {
                self.held.put(path, Why::Open);
                self.waiting.busy(path, now)
            }
            ReadOutcome::Gone => self.waiting.busy(path, now),
            ReadOutcome::Unleased(like) => {
                self.held.put(path, Why::Moving(self.settle));
                self.waiting.settle(path, like, self.settle, now)
            }
            ReadOutcome::Failed(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR) => {
                tracing::warn!(path = %shown(path), "too little memory or too many open files to look at a file");
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
        // What was there may be about to be told as moved.
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
        // Without access to a folder above it, nothing is known of it; the folder itself is
        // reported.
        if errno != Errno::ACCESS {
            tracing::warn!(path = %shown(path), error = %std::io::Error::from(errno), "a path could not be looked at");
            let room = self.waiting.busy(path, Instant::now());
            self.or_scan(room);
        }
    }

    fn settled(&self, path: &OsStr) -> Settled {
        Settled { span: self.settle, like: self.waiting.settled(path, Instant::now()) }
    }

    /// Has a scan find what had no room in a queue.
    pub(super) fn or_scan(&mut self, room: bool) {
        if !room {
            self.scan_soon();
        }
    }
}

impl Seen {
    fn again(&self) -> Self {
        Self { path: self.path.clone(), file: self.file, young: self.young }
    }
}
