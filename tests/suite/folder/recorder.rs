//! A sink that keeps records as a store does, and a folder that is watched with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anacostia::base::Digest;
use anacostia::manifest::FolderSpec;
use anacostia::model::{ArtifactState, KnownPath, Observation, Page};
use anacostia::resource::folder::Folder;
use anacostia::resource::{
    Content, KnownPaths, ObservationSink, RecordOutcome, Resource, ResourceError, Status, Waiting,
};
use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The deadline of every wait. It is far longer than anything takes.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// The newest version at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Remains the same when the version is renamed.
    pub(crate) id: usize,
    /// Increases for each path.
    pub(crate) version: u64,
    /// `None` if it is ignored.
    pub(crate) digest: Option<Digest>,
    pub(crate) size: u64,
    pub(crate) stamp: String,
    pub(crate) reason: Option<String>,
    pub(crate) present: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) heads: BTreeMap<String, Head>,
    /// All observations, in order.
    pub(crate) told: Vec<Observation>,
    pub(crate) statuses: Vec<Status>,
    /// The files that cannot be recorded yet, as last reported.
    pub(crate) waiting: Waiting,
    /// The number of versions so far.
    pub(crate) versions: usize,
    /// The number of batches so far.
    pub(crate) batches: usize,
    next_id: usize,
    refuse: bool,
    /// The number of the next observations that are answered as outdated.
    pub(crate) outdate: usize,
}

impl Records {
    /// Returns the content at a path, if it is recorded as present.
    pub(crate) fn digest(&self, path: &str) -> Option<Digest> {
        self.heads.get(path).filter(|head| head.present).and_then(|head| head.digest)
    }

    pub(crate) fn version(&self, path: &str) -> u64 {
        self.heads.get(path).filter(|head| head.present && head.digest.is_some()).map_or(0, |head| head.version)
    }

    pub(crate) fn reason(&self, path: &str) -> Option<String> {
        self.heads.get(path).filter(|head| head.present).and_then(|head| head.reason.clone())
    }

    /// Returns everything that is present, with its content.
    pub(crate) fn contents(&self) -> BTreeMap<String, Digest> {
        let present = self.heads.iter().filter(|(_, head)| head.present);
        present.filter_map(|(path, head)| Some((path.clone(), head.digest?))).collect()
    }

    fn put(&mut self, path: String, digest: Option<Digest>, size: u64, stamp: String, reason: Option<String>) {
        let before = self.heads.get(&path);
        let mut version = before.map_or(0, |head| head.version);
        // Without a digest, the stamp identifies the content.
        let same = before.filter(|head| head.present && head.digest == digest && head.reason == reason);
        let same = same.filter(|head| digest.is_some() || head.stamp == stamp);
        let id = same.map_or(self.next_id, |head| head.id);
        if same.is_none() {
            version += 1;
            self.versions += 1;
            self.next_id += 1;
        }
        self.heads.insert(path, Head { id, version, digest, size, stamp, reason, present: true });
    }

    fn record(&mut self, observation: Observation) {
        self.told.push(observation.clone());
        match observation {
            Observation::Present { path, digest, size, stamp } => self.put(path, digest, size, stamp, None),
            Observation::Ignored { path, reason, stamp } => self.put(path, None, 0, stamp, Some(reason)),
            Observation::Gone { path } => {
                let head = self.heads.get_mut(&path).unwrap_or_else(|| panic!("`{path}` was never there"));
                assert!(head.present, "`{path}` was already gone");
                head.present = false;
            }
            Observation::Renamed { from, to, stamp } => {
                let mut head = self.heads[&from].clone();
                assert!(head.present, "`{from}` was gone before it was renamed");
                self.heads.get_mut(&from).unwrap().present = false;
                let taken = self.heads.get(&to).map_or(0, |head| head.version);
                head.version = head.version.max(taken + 1);
                head.stamp = stamp;
                self.heads.insert(to, head);
            }
        }
    }
}

/// The sink.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) records: Mutex<Records>,
    changed: tokio::sync::Notify,
    /// Has one permit: taking it blocks the sink.
    open: tokio::sync::Semaphore,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { records: Mutex::default(), changed: tokio::sync::Notify::new(), open: tokio::sync::Semaphore::new(1) }
    }
}

impl Recorder {
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Records) -> T) -> T {
        look(&self.records.lock().unwrap())
    }

    /// Waits until `holds` returns true.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Records) -> bool) {
        let end = Instant::now() + DEADLINE;
        loop {
            let changed = self.changed.notified();
            if self.read(&holds) {
                return;
            }
            if tokio::time::timeout_at(end.into(), changed).await.is_err() {
                let records = self.records.lock().unwrap();
                let last: Vec<_> = records.told.iter().rev().take(20).collect();
                panic!("timed out waiting until {what}: statuses {:?}, last reports {last:#?}", records.statuses);
            }
        }
    }

    /// Blocks the sink while the permit exists.
    pub(crate) async fn hold(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.open.acquire().await.unwrap()
    }

    /// Makes the sink fail from now on, or work again.
    pub(crate) fn refuse(&self, refuse: bool) {
        self.records.lock().unwrap().refuse = refuse;
    }

    /// Removes the change time from every stamp, as in records that are older than it.
    pub(crate) fn forget_change_times(&self) {
        for head in self.records.lock().unwrap().heads.values_mut() {
            let parts: Vec<&str> = head.stamp.trim_end_matches('~').split(':').take(4).collect();
            head.stamp = parts.join(":");
        }
    }

    /// Returns what a store would return as known.
    pub(crate) fn known(&self) -> Known {
        let known = self.read(|records| {
            let present = records.heads.iter().filter(|(_, head)| head.present);
            present
                .map(|(path, head)| KnownPath {
                    path: path.clone(),
                    digest: head.digest,
                    size: head.size,
                    state: if head.reason.is_none() { ArtifactState::New } else { ArtifactState::Ignored },
                    stamp: head.stamp.clone(),
                })
                .collect()
        });
        Known(known)
    }
}

/// The recorded artifacts, in pages of three.
pub(crate) struct Known(Vec<KnownPath>);

#[async_trait]
impl KnownPaths for Known {
    async fn page(&self, cursor: Option<String>) -> Result<Page<KnownPath>, ResourceError> {
        let rest: Vec<_> = self.0.iter().filter(|known| Some(&known.path) > cursor.as_ref()).cloned().collect();
        let items = rest[..rest.len().min(3)].to_vec();
        let next_cursor = items.last().filter(|_| rest.len() > 3).map(|known| known.path.clone());
        Ok(Page { items, next_cursor })
    }

    async fn needed(&self, _: Option<String>) -> Result<Page<Digest>, ResourceError> {
        unreachable!("a folder keeps no content")
    }
}

#[async_trait]
impl ObservationSink for Recorder {
    fn as_of(&self) -> u64 {
        0
    }

    async fn observed(&self, batch: Vec<Observation>, _: u64, _: Option<String>) -> RecordOutcome {
        let _open = self.open.acquire().await.unwrap();
        let mut records = self.records.lock().unwrap();
        assert!(!batch.is_empty() && batch.len() <= 1_000, "a batch of {}", batch.len());
        if records.refuse {
            return RecordOutcome::Refused;
        }
        records.batches += 1;
        let mut outdated = Vec::new();
        for (at, observation) in batch.into_iter().enumerate() {
            if records.outdate > 0 {
                records.outdate -= 1;
                outdated.push(at);
            } else {
                records.record(observation);
            }
        }
        drop(records);
        self.changed.notify_waiters();
        RecordOutcome::Recorded { outdated }
    }

    fn waiting(&self, waiting: Waiting) {
        self.records.lock().unwrap().waiting = waiting;
        self.changed.notify_waiters();
    }

    fn status(&self, status: Status) {
        self.records.lock().unwrap().statuses.push(status);
        self.changed.notify_waiters();
    }
}

/// A watched folder.
pub(crate) struct Watched {
    /// Removed together with this.
    parent: Option<tempfile::TempDir>,
    pub(crate) path: PathBuf,
    pub(crate) folder: Arc<Folder>,
    pub(crate) recorder: Arc<Recorder>,
    stop: CancellationToken,
    task: Option<JoinHandle<Result<(), ResourceError>>>,
}

/// Replaces the content of a file in place by content of the same size, and sets the modification
/// time back, as `cp -p` over a file does.
pub(crate) fn rewrite_with_old_time(path: &Path, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let before = file.metadata().unwrap();
    assert_eq!(before.len(), bytes.len() as u64);
    std::io::Write::write_all(&mut file, bytes).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
}

/// Sets the modification time of a file to an hour ago, so that the file does not count as recently
/// modified.
pub(crate) fn age(path: &Path) {
    let file = std::fs::File::open(path).unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_hours(1)).unwrap();
}

pub(crate) fn spec(path: &Path) -> FolderSpec {
    FolderSpec {
        path: path.to_owned(),
        include: Vec::new(),
        exclude: Vec::new(),
        ignore: FolderSpec::default_ignore(),
        settle: Duration::from_millis(300),
        rescan: Duration::from_hours(1),
    }
}

impl Watched {
    /// Creates a new, empty folder, and watches it.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, with a spec that `change` has modified.
    pub(crate) async fn with(change: impl FnOnce(&mut FolderSpec)) -> Self {
        let mut watched = Self::unwatched(change);
        watched.start().await;
        watched
    }

    /// The same, but not watched yet.
    pub(crate) fn unwatched(change: impl FnOnce(&mut FolderSpec)) -> Self {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        std::fs::create_dir(&path).unwrap();
        let mut watched = Self::at(&path, change);
        watched.parent = Some(parent);
        watched
    }

    /// Uses a path that the caller manages.
    pub(crate) fn at(path: &Path, change: impl FnOnce(&mut FolderSpec)) -> Self {
        let mut spec = spec(path);
        change(&mut spec);
        let folder = Arc::new(Folder::new("raw", &spec, false).unwrap());
        let (recorder, stop) = (Arc::default(), CancellationToken::new());
        Self { parent: None, path: path.to_owned(), folder, recorder, stop, task: None }
    }

    /// Starts watching, and waits until the watch is active.
    pub(crate) async fn start(&mut self) {
        self.begin();
        self.recorder.until("it is watched", |records| matches!(records.statuses.last(), Some(Status::Watching))).await;
    }

    /// Starts watching.
    pub(crate) fn begin(&mut self) {
        self.recorder.records.lock().unwrap().statuses.clear();
        self.stop = CancellationToken::new();
        let (folder, recorder, stop) = (Arc::clone(&self.folder), Arc::clone(&self.recorder), self.stop.clone());
        let known = Arc::new(recorder.known());
        self.task = Some(tokio::spawn(async move { folder.watch(known, None, recorder, stop).await }));
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.task.is_some()
    }

    /// Stops watching, and waits until the watch has ended.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        self.wait_ended().await.unwrap();
    }

    /// Returns a folder beside it, for files to be moved in and out.
    pub(crate) fn beside(&self) -> tempfile::TempDir {
        tempfile::tempdir_in(self.parent.as_ref().unwrap()).unwrap()
    }

    /// Waits until the watch has ended, and returns its result.
    pub(crate) async fn wait_ended(&mut self) -> Result<(), ResourceError> {
        tokio::time::timeout(DEADLINE, self.task.take().unwrap()).await.expect("the watch did not end").unwrap()
    }

    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path.join(path), bytes).unwrap();
    }

    /// Waits until a path is recorded with this content.
    pub(crate) async fn wait_recorded(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let digest = Digest::of(bytes.as_ref());
        let what = format!("`{path}` is on record with {digest}");
        self.recorder.until(&what, |records| records.digest(path) == Some(digest)).await;
    }

    /// Writes a file, and waits until it is recorded.
    pub(crate) async fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        self.write(path, &bytes);
        self.wait_recorded(path, bytes).await;
    }

    pub(crate) async fn wait_gone(&self, path: &str) {
        let what = format!("`{path}` is gone");
        self.recorder.until(&what, |records| records.heads.get(path).is_none_or(|head| !head.present)).await;
    }

    /// Waits until something at a path is recorded as ignored, and returns the reason.
    pub(crate) async fn wait_ignored(&self, path: &str) -> String {
        let what = format!("`{path}` is ignored");
        self.recorder.until(&what, |records| records.reason(path).is_some()).await;
        self.recorder.read(|records| records.reason(path).unwrap())
    }

    /// Waits until everything that happened before was processed: a file that is made now is
    /// recorded.
    pub(crate) async fn wait_caught_up(&self) {
        let name = format!("barrier-{}", fastrand::u64(..));
        self.put(&name, &name).await;
        std::fs::remove_file(self.path.join(&name)).unwrap();
        self.wait_gone(&name).await;
    }

    pub(crate) fn head(&self, path: &str) -> Head {
        self.recorder.read(|records| records.heads[path].clone())
    }

    /// Returns the version at a path, for reading.
    pub(crate) fn content(&self, path: &str) -> Content {
        let head = self.head(path);
        Content { path: path.to_owned(), size: head.size, digest: head.digest, stamp: head.stamp }
    }
}
