//! The observer: one thread for each watched folder, which knows what is on record and tells what
//! is different.
//!
//! Events, scans and waits all yield paths to check; [`super::check`] compares each with the
//! record, and reports the difference. It is a thread of its own, not a task, because it does
//! nothing but blocking calls, and because a wake-up less is a good part of the time from a closed
//! file to its record. Rejected: to trust events (they are lost, late and about names), and a task
//! on the runtime with `spawn_blocking` for each look (two more wake-ups a file).

use std::collections::{BTreeSet, HashSet};
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::dirty::{Dirty, Lost, Taken};
use super::hashing::{Hashed, Hashing};
use super::held::{Held, Why};
use super::index::{Change, Index};
use super::names::Names;
use super::scan::Scan;
use super::tree::Root;
use super::unsupported::shown;
use super::waiting::Waiting;
use super::watches::Watches;
use crate::base::fault;
use crate::base::filestamp::Inode;
use crate::manifest::FolderSpec;
use crate::resource::{ObservationSink, RecordOutcome, Status};

/// Most changes that are told at once.
const MAX_BATCH: usize = 1_000;
/// How often a folder that cannot be reached is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// How often the folder is looked at itself (not into): when something above it is moved, or
/// mounted, no event tells.
const PULSE: Duration = Duration::from_secs(1);
/// How soon a scan follows if a queue had no room.
const SOON: Duration = Duration::from_secs(1);
/// Where not every folder can be watched, a scan takes at most one part in this many of the time.
const SCAN_SHARE: u32 = 20;
/// Bytes up to which a file is hashed by the observer itself.
pub(super) const SMALL: usize = 256 << 10;

/// Why the observer stops looking.
#[derive(Debug)]
pub(super) enum End {
    /// It is not wanted any more.
    Stopped,
    /// The sink takes nothing any more.
    Refused,
    /// The folder cannot be reached, for this reason.
    Lost(String),
}

/// The sink takes nothing any more, and the observer was not asked to stop.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SinkRefused;

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Lost(match error.kind() {
            io::ErrorKind::NotFound => format!("the folder is not there ({error}): it is watched again when it is"),
            io::ErrorKind::PermissionDenied => {
                format!("the folder cannot be read ({error}): give this user access to it")
            }
            _ => format!("the folder cannot be read: {error}"),
        })
    }
}

impl From<rustix::io::Errno> for End {
    fn from(errno: rustix::io::Errno) -> Self {
        io::Error::from(errno).into()
    }
}

/// See the module.
pub(super) struct Observer {
    pub(super) folder: PathBuf,
    pub(super) names: Arc<Names>,
    pub(super) settle: Duration,
    rescan: Duration,
    pub(super) index: Index,
    pub(super) dirty: Arc<Dirty>,
    pub(super) waiting: Waiting,
    pub(super) hashing: Hashing,
    pub(super) held: Held,
    pub(super) stop: CancellationToken,
    pub(super) buffer: Vec<u8>,
    /// A scan is due at this moment.
    scan_at: Instant,
    batch: Vec<Change>,
    /// The newest event on record before anything in `batch` was looked at.
    as_of: u64,
    /// The paths of `UnsupportedGone` in `batch`: a path and a folder above it may both tell of it.
    leaving: HashSet<Box<str>>,
    sink: Arc<dyn ObservationSink>,
    status: Option<Status>,
    /// What is told once everything that a scan found is on record, and what of it is still being
    /// looked at.
    through: Option<(Status, BTreeSet<OsString>)>,
}

impl Observer {
    pub(super) fn new(
        spec: &FolderSpec,
        names: Arc<Names>,
        index: Index,
        sink: Arc<dyn ObservationSink>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            dirty: Arc::new(Dirty::new(spec.path.clone(), Arc::clone(&names))),
            folder: spec.path.clone(),
            names,
            settle: spec.settle,
            rescan: spec.rescan.max(SOON),
            index,
            waiting: Waiting::default(),
            hashing: Hashing::default(),
            held: Held::default(),
            stop,
            buffer: vec![0; SMALL],
            scan_at: Instant::now(),
            batch: Vec::new(),
            as_of: 0,
            leaving: HashSet::new(),
            sink,
            status: None,
            through: None,
        }
    }

    /// Observes until it is stopped, or the sink takes nothing any more: then it says so. To be run
    /// on a thread that it may block.
    pub(super) async fn run(mut self) -> Result<(), SinkRefused> {
        fault::panic_point("observe.panic");
        // Only now: a folder that is removed later is not ours to make again.
        if let Err(error) = std::fs::create_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "the watched folder could not be made");
        }
        loop {
            match self.session().await {
                End::Stopped => return Ok(()),
                End::Refused => return Err(SinkRefused),
                End::Lost(why) => self.tell(Status::Unreachable(why)),
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    /// Observes for as long as the folder can be reached.
    async fn session(&mut self) -> End {
        self.waiting = Waiting::default();
        self.hashing = Hashing::default();
        self.batch.clear();
        self.leaving.clear();
        self.through = None;
        match self.observe().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn observe(&mut self) -> Result<Infallible, End> {
        let inode = {
            // Before anything is taken from `dirty`, and not held on to: see `reach`.
            let root = Root::open(&self.folder)?;
            self.dirty.clear();
            root.inode()
        };
        let mut watches = self.watches();
        self.scan(&self.reach(inode)?, &mut watches, false).await?;
        let mut hashed = None;
        loop {
            let root = self.reach(inode)?;
            self.begin_look();
            if let Some(hashed) = hashed {
                self.on_hashed(&root, hashed).await?;
            }
            let taken = self.dirty.take(Instant::now());
            let next = taken.next;
            if let Some(lost) = taken.lost {
                self.tell(Status::Scanning(why_lost(&lost)));
                if lost == Lost::Queue {
                    // Where the watches are is not known for certain any more.
                    watches = self.watches();
                }
                // What was taken is met by the scan.
                self.scan(&root, &mut watches, true).await?;
            } else {
                let todo = self.expand(&root, taken, &mut watches).await?;
                self.check(&root, todo).await?;
            }
            if self.scan_at <= Instant::now() {
                self.scan(&root, &mut watches, false).await?;
            }
            self.hashing.pump(&root, &self.stop);
            self.tell_if_through(&root);
            self.tell_waiting(&root, false);
            drop(root);
            hashed = self.wait(next).await?;
        }
    }

    /// Opens the folder, if it is the one that is watched.
    ///
    /// It is never open while the observer waits: the kernel tells of the removal of a folder only
    /// once no process has it open.
    fn reach(&self, inode: Inode) -> Result<Arc<Root>, End> {
        let root = Root::open(&self.folder)?;
        if root.inode() == inode {
            Ok(Arc::new(root))
        } else {
            Err(End::Lost("another folder lies there now".to_owned()))
        }
    }

    fn watches(&self) -> Watches {
        Watches::new(self.folder.clone(), Arc::clone(&self.dirty))
    }

    /// Waits until there is something to do; returns what has been hashed, if that is it.
    async fn wait(&mut self, next: Option<Instant>) -> Result<Option<Hashed>, End> {
        let pulse = Instant::now() + PULSE;
        let until = [next, self.waiting.next(), Some(pulse)].into_iter().flatten().fold(self.scan_at, Instant::min);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(End::Stopped),
            () = self.dirty.wake.notified() => Ok(None),
            hashed = self.hashing.next() => Ok(Some(hashed)),
            () = tokio::time::sleep_until(until.into()) => Ok(None),
        }
    }

    /// Looks through the whole folder; see [`Scan::told`].
    async fn scan(&mut self, root: &Arc<Root>, watches: &mut Watches, told: bool) -> Result<(), End> {
        let start = Instant::now();
        self.begin_look();
        root.check(&self.folder)?;
        // First, because what is found may ask for the next scan soon.
        self.scan_at = start + self.rescan;
        watches.retry();
        let mut todo = BTreeSet::new();
        self.look_through(root, OsStr::new(""), watches, &mut todo, told).await?;
        self.check(root, todo).await?;
        let limited = watches.limited().map(str::to_owned);
        let pause = match &limited {
            Some(_) => (start.elapsed() * SCAN_SHARE).clamp(SOON.min(self.rescan), self.rescan),
            None => self.rescan,
        };
        let cut_short = self.scan_at < start + self.rescan;
        self.scan_at = self.scan_at.min(Instant::now() + pause);
        // The next scan tells, if this one found more than there is room for.
        self.through = (!cut_short).then(|| {
            let unsure = self.hashing.paths().chain(self.waiting.ending()).cloned().collect();
            (limited.map_or(Status::Watching, Status::Scanning), unsure)
        });
        Ok(())
    }

    /// Tells that the last scan is through, once what it found is: large files are still being
    /// hashed then, and others must stand still first.
    fn tell_if_through(&mut self, root: &Root) {
        let Some((_, unsure)) = &mut self.through else { return };
        unsure.retain(|path| self.hashing.has(path) || self.waiting.ends(path));
        if unsure.is_empty()
            && let Some((status, _)) = self.through.take()
        {
            // First, so that everything is known to those who wait for the status.
            self.tell_waiting(root, true);
            self.tell(status);
        }
    }

    fn tell_waiting(&mut self, root: &Root, all: bool) {
        if let Some(waiting) = self.held.news(root, all) {
            self.sink.waiting(waiting);
        }
    }

    /// From what events and waits tell of to the paths to look at: of a folder, all that is in it
    /// and is different.
    async fn expand(
        &mut self,
        root: &Arc<Root>,
        taken: Taken,
        watches: &mut Watches,
    ) -> Result<BTreeSet<OsString>, End> {
        let now = Instant::now();
        for path in &taken.now {
            // Whatever it waited for has happened.
            self.waiting.done(path);
        }
        let late: Vec<_> =
            taken.late.into_iter().filter(|path| !self.waiting.has(path) || root.stat(path).is_err()).collect();
        let told: HashSet<OsString> = taken.now.into_iter().chain(late).chain(self.waiting.take(now)).collect();
        let mut todo = BTreeSet::new();
        for path in told {
            let is_folder = root.stat(&path).is_ok_and(|stat| is_folder(&stat));
            if is_folder && self.names.reaches(&path) && self.names.enters(&path) {
                self.look_through(root, &path, watches, &mut todo, true).await?;
            } else {
                self.add_beneath(&path, &mut todo).await?;
                self.held.looked_through(root, &path);
                watches.forget(&path);
            }
            todo.insert(path);
        }
        Ok(todo)
    }

    async fn look_through(
        &mut self,
        root: &Arc<Root>,
        start: &OsStr,
        watches: &mut Watches,
        todo: &mut BTreeSet<OsString>,
        told: bool,
    ) -> Result<(), End> {
        let mut scan = Scan { root, names: &self.names, index: &mut self.index, watches, todo, told };
        let found = scan.run(start)?;
        self.held.looked_through(root, start);
        for folder in &found.unsearchable {
            self.held.put(folder, Why::Unsearchable);
        }
        for path in found.unsupported_gone {
            self.push(Change::UnsupportedGone(path)).await?;
        }
        Ok(())
    }

    /// What is on record beneath a path that is not a folder any more.
    async fn add_beneath(&mut self, path: &OsStr, todo: &mut BTreeSet<OsString>) -> Result<(), End> {
        if let Some(text) = path.to_str() {
            todo.extend(self.index.files_beneath(text).map(|(path, _)| OsString::from(path)));
        }
        let unsupported: Vec<Box<str>> = self.index.unsupported_beneath(&shown(path)).map(Box::from).collect();
        for path in unsupported {
            self.push(Change::UnsupportedGone(path)).await?;
        }
        Ok(())
    }

    /// What is on record as no file at a path (escaped), and not about to be told as gone: its
    /// stamp.
    pub(super) fn unsupported(&self, path: &str) -> Option<&str> {
        self.index.unsupported(path).filter(|_| !self.leaving.contains(path)).map(|entry| &*entry.stamp)
    }

    /// What had no room in a queue is found by a scan, soon.
    pub(super) fn scan_soon(&mut self) {
        self.scan_at = self.scan_at.min(Instant::now() + SOON);
    }

    /// Notes how far the records are, before anything is looked at.
    fn begin_look(&mut self) {
        if self.batch.is_empty() {
            self.as_of = self.sink.as_of();
        }
    }

    /// Has a change told, with others.
    pub(super) async fn push(&mut self, change: Change) -> Result<(), End> {
        if let Change::UnsupportedGone(path) = &change
            && !self.leaving.insert(path.clone())
        {
            return Ok(());
        }
        self.batch.push(change);
        if self.batch.len() >= MAX_BATCH { self.flush().await } else { Ok(()) }
    }

    /// Tells what there is to tell. What was taken is on record then, and known.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        while !self.batch.is_empty() {
            let rest = self.batch.split_off(self.batch.len().min(MAX_BATCH));
            let batch = std::mem::replace(&mut self.batch, rest);
            let told = batch.iter().map(Change::observation).collect();
            let taken = tokio::select! {
                biased;
                taken = self.sink.observed(told, self.as_of, None) => taken,
                () = self.stop.cancelled() => return Err(End::Stopped),
            };
            let RecordOutcome::Recorded { outdated } = taken else {
                return Err(if self.stop.is_cancelled() { End::Stopped } else { End::Refused });
            };
            fault::point("observe.told");
            for (at, change) in batch.into_iter().enumerate() {
                if outdated.contains(&at) {
                    self.look_again(&change);
                } else {
                    self.index.apply(change);
                }
            }
        }
        self.leaving.clear();
        Ok(())
    }

    /// An output came to where a change was seen: the look says nothing about it, and another does.
    fn look_again(&mut self, change: &Change) {
        for path in change.paths() {
            let room = self.waiting.publishing(OsStr::new(path), Instant::now());
            self.or_scan(room);
        }
    }

    fn tell(&mut self, status: Status) {
        if self.status.as_ref() != Some(&status) {
            self.sink.status(status.clone());
            self.status = Some(status);
        }
    }
}

fn is_folder(stat: &rustix::fs::Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
}

fn why_lost(lost: &Lost) -> String {
    match lost {
        Lost::Set => "more changed at once than is watched one by one".to_owned(),
        Lost::Queue => "the system's queue of events has overflowed (fs.inotify.max_queued_events)".to_owned(),
        Lost::Limit => {
            "there are more folders than the system allows watches: raise fs.inotify.max_user_watches".to_owned()
        }
        Lost::Failed(why) => format!("events could not be read: {why}"),
    }
}
