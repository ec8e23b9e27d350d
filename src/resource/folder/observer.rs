//! The observer compares a watched folder with what is on record, and reports the differences. Each
//! watched folder has an observer on a thread of its own.
//!
//! Events, scans and delays all yield paths to check; [`super::check`] compares each with the
//! record, and reports the difference. The observer has its own thread because it mostly makes
//! blocking calls, and because each avoided wake-up saves a significant part of the time from
//! closing a file to recording it. Rejected: trusting events (they get lost, come late, and only
//! contain names), and a task on the runtime with `spawn_blocking` for each check (two more
//! wake-ups per file).

use std::collections::{BTreeSet, HashSet};
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::dirty::{Dirty, Lost, Taken};
use super::hashing::{Hashed, Hashing};
use super::held::{Held, Why};
use super::index::{Change, Index};
use super::scan::Scan;
use super::sight::{Sight, make_folder};
use super::tree::Root;
use super::unsupported::shown;
use super::waiting::Waiting;
use super::watches::Watches;
use crate::base::fault;
use crate::base::filestamp::Inode;
use crate::manifest::FolderSpec;
use crate::resource::names::Names;
use crate::resource::{ObservationSink, RecordOutcome, Status};

/// The most changes that are reported at once.
const MAX_BATCH: usize = 1_000;
/// How often to try again to open a folder that cannot be reached.
const RETRY: Duration = Duration::from_millis(250);
/// How often to check the folder itself (not its content), because no event reports that something
/// above it was moved or mounted.
const PULSE: Duration = Duration::from_secs(1);
/// How soon a scan follows when a queue was full.
const SOON: Duration = Duration::from_secs(1);
/// If some folder cannot be watched, scans take at most 1/`SCAN_SHARE` of the time.
const SCAN_SHARE: u32 = 20;
/// The size in bytes up to which the observer hashes a file itself.
pub(super) const SMALL: usize = 256 << 10;

/// Why the observer stops observing.
#[derive(Debug)]
pub(super) enum End {
    /// It was asked to stop.
    Stopped,
    /// The sink does not accept observations any more.
    Refused,
    /// The folder cannot be reached, for this reason.
    Lost(String),
}

/// The sink does not accept observations any more, and the observer was not asked to stop.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SinkRefused;

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Lost(match error.kind() {
            io::ErrorKind::NotFound => {
                format!("the folder is not there ({error}): it is watched again when it is back")
            }
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
    /// When the next scan is due.
    scan_at: Instant,
    batch: Vec<Change>,
    /// The number of the newest event on record before anything in `batch` was checked.
    as_of: u64,
    /// The paths of `UnsupportedGone` in `batch`. Both a path and a folder above it may lead to the
    /// same change, which is reported once.
    leaving: HashSet<Box<str>>,
    sink: Arc<dyn ObservationSink>,
    /// What writers may know; see [`Sight`].
    sight: Arc<watch::Sender<Sight>>,
    status: Option<Status>,
    /// The status to report once everything that a scan found is on record, and the paths of it
    /// that are still being checked.
    scan_result: Option<(Status, BTreeSet<OsString>)>,
}

impl Observer {
    pub(super) fn new(
        spec: &FolderSpec,
        names: Arc<Names>,
        index: Index,
        sink: Arc<dyn ObservationSink>,
        sight: Arc<watch::Sender<Sight>>,
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
            sight,
            status: None,
            scan_result: None,
        }
    }

    /// Observes until it is stopped. Blocks its thread.
    ///
    /// # Errors
    /// [`SinkRefused`] if the sink does not accept observations any more.
    pub(super) async fn run(mut self) -> Result<(), SinkRefused> {
        fault::panic_point("observe.panic");
        // The observer creates the folder only here, not if someone removes it later. If the folder
        // had files, it is not created either: its disk is not mounted, or someone has moved it.
        if self.index.count_files() == 0
            && let Err(error) = make_folder(&self.folder)
        {
            tracing::warn!(folder = %self.folder.display(), %error, "the watched folder could not be made");
        }
        loop {
            match self.session().await {
                End::Stopped => return Ok(()),
                End::Refused => return Err(SinkRefused),
                End::Lost(why) => {
                    let files = self.index.count_files();
                    self.sight.send_replace(if files > 0 { Sight::Away } else { Sight::Empty });
                    self.report_status(Status::Unreachable(why));
                }
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
        self.scan_result = None;
        match self.observe().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn observe(&mut self) -> Result<Infallible, End> {
        let inode = {
            // Opened before anything is taken from `dirty`, and closed again at once; see `reach`.
            let root = Root::open(&self.folder).map_err(|error| self.not_open(error))?;
            self.check_mounted(&root)?;
            self.sight.send_replace(Sight::Unclear);
            self.dirty.clear();
            root.inode()
        };
        if matches!(self.status, Some(Status::Unreachable(_))) {
            self.report_status(Status::Reconciling);
        }
        let mut watches = self.watches();
        self.scan(&self.reach(inode)?, &mut watches, false).await?;
        let mut hashed = None;
        loop {
            let root = self.reach(inode)?;
            self.begin_check();
            if let Some(hashed) = hashed {
                self.on_hashed(&root, hashed).await?;
            }
            let taken = self.dirty.take(Instant::now());
            let next = taken.next;
            if let Some(lost) = taken.lost {
                self.report_status(Status::Scanning(why_lost(&lost)));
                if lost == Lost::Queue {
                    // The watches may be at the wrong paths now.
                    watches = self.watches();
                }
                // The scan finds the paths that were taken.
                self.scan(&root, &mut watches, true).await?;
            } else {
                let todo = self.expand(&root, taken, &mut watches).await?;
                self.check(&root, todo).await?;
            }
            if self.scan_at <= Instant::now() {
                self.scan(&root, &mut watches, false).await?;
            }
            self.hashing.pump(&root, &self.stop);
            self.report_finished_scan(&root);
            self.report_waiting(&root, false);
            drop(root);
            hashed = self.wait(next).await?;
        }
    }

    /// Returns the error of a folder that cannot be opened. If files of it are on record, the error
    /// says what to do, because nobody creates the folder then.
    fn not_open(&self, error: io::Error) -> End {
        match (error.kind(), self.index.count_files()) {
            (io::ErrorKind::NotFound, files @ 1..) => End::Lost(format!(
                "the folder is not there ({error}), and {files} of its files are on record: mount it or put it back; \
                 if they are gone for good, create an empty folder"
            )),
            _ => error.into(),
        }
    }

    /// Checks that the folder is not the empty mount point of a disk that is not mounted: its files
    /// would count as deleted.
    fn check_mounted(&self, root: &Root) -> Result<(), End> {
        if !self.index.is_elsewhere(root.inode().0) || !root.is_empty()? {
            return Ok(());
        }
        let files = self.index.count_files();
        Err(End::Lost(format!(
            "the folder is empty, but {files} of its files are on record from another disk: mount that disk; if they \
             are gone for good, put any file into the folder"
        )))
    }

    /// Opens the folder, and checks that it is the one that is watched.
    ///
    /// The observer never keeps the folder open while it waits, because the kernel reports the
    /// removal of a folder only once no process has it open.
    fn reach(&self, inode: Inode) -> Result<Arc<Root>, End> {
        let root = Root::open(&self.folder)?;
        if root.inode() == inode {
            Ok(Arc::new(root))
        } else {
            Err(End::Lost("another folder is there now".to_owned()))
        }
    }

    fn watches(&self) -> Watches {
        Watches::new(self.folder.clone(), Arc::clone(&self.dirty))
    }

    /// Waits until there is something to do. Returns the result of a hash job if one has ended.
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

    /// Scans the whole folder. For `renew`, see [`Scan::renew`].
    async fn scan(&mut self, root: &Arc<Root>, watches: &mut Watches, renew: bool) -> Result<(), End> {
        let start = Instant::now();
        self.begin_check();
        root.check(&self.folder)?;
        // Set this first, because what the scan finds may require the next scan soon.
        self.scan_at = start + self.rescan;
        watches.retry();
        let mut todo = BTreeSet::new();
        self.scan_beneath(root, OsStr::new(""), watches, &mut todo, renew).await?;
        self.check(root, todo).await?;
        let limited = watches.limited().map(str::to_owned);
        let pause = match &limited {
            Some(_) => (start.elapsed() * SCAN_SHARE).clamp(SOON.min(self.rescan), self.rescan),
            None => self.rescan,
        };
        let cut_short = self.scan_at < start + self.rescan;
        self.scan_at = self.scan_at.min(Instant::now() + pause);
        // If this scan found more than the queues can hold, the next one reports the status.
        self.scan_result = (!cut_short).then(|| {
            let pending = self.hashing.paths().chain(self.waiting.ending()).cloned().collect();
            (limited.map_or(Status::Watching, Status::Scanning), pending)
        });
        Ok(())
    }

    /// Reports the status after the last scan once everything that it found is on record. At the
    /// end of a scan, large files are still being hashed, and other files must stop changing first.
    fn report_finished_scan(&mut self, root: &Root) {
        let Some((_, pending)) = &mut self.scan_result else { return };
        pending.retain(|path| self.hashing.has(path) || self.waiting.ends(path));
        if pending.is_empty()
            && let Some((status, _)) = self.scan_result.take()
        {
            // This comes first, so that callers who wait for the status know everything then.
            self.report_waiting(root, true);
            self.report_status(status);
        }
    }

    fn report_waiting(&mut self, root: &Root, all: bool) {
        if let Some(waiting) = self.held.changed(root, all) {
            self.sink.waiting(waiting);
        }
    }

    /// Expands the paths from events and delays to the paths to check: for a folder, all paths in
    /// it that differ from the record.
    async fn expand(
        &mut self,
        root: &Arc<Root>,
        taken: Taken,
        watches: &mut Watches,
    ) -> Result<BTreeSet<OsString>, End> {
        let now = Instant::now();
        for path in &taken.now {
            // The event that the path waited for has come.
            self.waiting.done(path);
        }
        let late: Vec<_> =
            taken.late.into_iter().filter(|path| !self.waiting.has(path) || root.stat(path).is_err()).collect();
        let paths: HashSet<OsString> = taken.now.into_iter().chain(late).chain(self.waiting.take(now)).collect();
        let mut todo = BTreeSet::new();
        for path in paths {
            let is_folder = root.stat(&path).is_ok_and(|stat| is_folder(&stat));
            if is_folder && self.names.reaches(&path) && self.names.enters(&path) {
                self.scan_beneath(root, &path, watches, &mut todo, true).await?;
            } else {
                self.add_beneath(&path, &mut todo).await?;
                self.held.drop_stale(root, &path);
                watches.forget(&path);
            }
            todo.insert(path);
        }
        Ok(todo)
    }

    async fn scan_beneath(
        &mut self,
        root: &Arc<Root>,
        start: &OsStr,
        watches: &mut Watches,
        todo: &mut BTreeSet<OsString>,
        renew: bool,
    ) -> Result<(), End> {
        let mut scan = Scan { root, names: &self.names, index: &mut self.index, watches, todo, renew };
        let found = scan.run(start)?;
        self.held.drop_stale(root, start);
        for folder in &found.unsearchable {
            self.held.put(folder, Why::Unsearchable);
        }
        for path in found.unsupported_gone {
            self.push(Change::UnsupportedGone(path)).await?;
        }
        Ok(())
    }

    /// Adds the files on record beneath a path that is not a folder any more, and reports the
    /// unsupported entries beneath it as gone.
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

    /// Returns the stamp of the unsupported entry on record at a path (escaped), unless it is about
    /// to be reported as gone.
    pub(super) fn unsupported(&self, path: &str) -> Option<&str> {
        self.index.unsupported(path).filter(|_| !self.leaving.contains(path)).map(|entry| &*entry.stamp)
    }

    /// Schedules a scan soon, which finds what had no room in a queue.
    pub(super) fn scan_soon(&mut self) {
        self.scan_at = self.scan_at.min(Instant::now() + SOON);
    }

    /// Stores the number of the newest event on record, before anything is checked.
    fn begin_check(&mut self) {
        if self.batch.is_empty() {
            self.as_of = self.sink.as_of();
        }
    }

    /// Adds a change to the batch, and flushes the batch if it is full.
    pub(super) async fn push(&mut self, change: Change) -> Result<(), End> {
        if let Change::UnsupportedGone(path) = &change
            && !self.leaving.insert(path.clone())
        {
            return Ok(());
        }
        self.batch.push(change);
        if self.batch.len() >= MAX_BATCH { self.flush().await } else { Ok(()) }
    }

    /// Reports the batch to the sink. The changes that the sink took are then on record and in the
    /// index.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        while !self.batch.is_empty() {
            let rest = self.batch.split_off(self.batch.len().min(MAX_BATCH));
            let batch = std::mem::replace(&mut self.batch, rest);
            let observations = batch.iter().map(Change::observation).collect();
            let taken = tokio::select! {
                biased;
                taken = self.sink.observed(observations, self.as_of, None) => taken,
                () = self.stop.cancelled() => return Err(End::Stopped),
            };
            let RecordOutcome::Recorded { outdated } = taken else {
                return Err(if self.stop.is_cancelled() { End::Stopped } else { End::Refused });
            };
            fault::point("observe.told");
            for (at, change) in batch.into_iter().enumerate() {
                if outdated.contains(&at) {
                    self.check_again(&change);
                } else {
                    self.index.apply(change);
                }
            }
        }
        self.leaving.clear();
        Ok(())
    }

    /// Checks the paths of a change again later, because an output was published there after the
    /// observer looked.
    fn check_again(&mut self, change: &Change) {
        for path in change.paths() {
            let room = self.waiting.publishing(OsStr::new(path), Instant::now());
            self.or_scan(room);
        }
    }

    fn report_status(&mut self, status: Status) {
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
        Lost::Set => "too many files changed at once to follow each change".to_owned(),
        Lost::Queue => "the system's queue of events has overflowed (fs.inotify.max_queued_events)".to_owned(),
        Lost::Limit => {
            "there are more folders than the system allows watches: raise fs.inotify.max_user_watches".to_owned()
        }
        Lost::Failed(why) => format!("events could not be read: {why}"),
    }
}
