//! Tests of internals: the kernel's queue of events, and which folders are watched.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use notify::event::{Event, EventKind, ModifyKind, RenameMode};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Folder;
use super::check::PASSING;
use super::dirty::Dirty;
use super::index::Index;
use super::observer::Observer;
use super::scan::Scan;
use super::tree::Root;
use super::watches::Watches;
use crate::base::{ArtifactId, AttemptId, Digest, Hasher};
use crate::manifest::FolderSpec;
use crate::model::{ArtifactState, KnownPath, Observation, Page};
use crate::resource::names::Names;
use crate::resource::{KnownPaths, ObservationSink, RecordOutcome, Resource as _, Result, Status, Waiting};

#[derive(Debug, Default)]
struct Sink(Mutex<(Vec<Observation>, Vec<Status>)>, AtomicUsize);

#[async_trait]
impl ObservationSink for Sink {
    /// The observer asks once in each round of its loop, before it looks at anything.
    fn as_of(&self) -> u64 {
        self.1.fetch_add(1, Relaxed);
        0
    }

    async fn observed(&self, batch: Vec<Observation>, _: u64, _: Option<String>) -> RecordOutcome {
        self.0.lock().unwrap().0.extend(batch);
        RecordOutcome::Recorded { outdated: Vec::new() }
    }

    fn waiting(&self, _: Waiting) {}

    fn status(&self, status: Status) {
        self.0.lock().unwrap().1.push(status);
    }
}

impl Sink {
    async fn until(&self, what: &str, holds: impl Fn(&[Observation], &[Status]) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let state = {
                let seen = self.0.lock().unwrap();
                if holds(&seen.0, &seen.1) {
                    return;
                }
                format!("{} seen, {:?}", seen.0.len(), seen.1)
            };
            assert!(Instant::now() < deadline, "timed out waiting until {what}: {state}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn spec(path: &std::path::Path) -> FolderSpec {
    let (settle, rescan) = (Duration::from_secs(2), Duration::from_hours(1));
    let ignore = FolderSpec::default_ignore();
    FolderSpec { path: path.to_owned(), include: Vec::new(), exclude: Vec::new(), ignore, settle, rescan }
}

/// A running observer.
struct Watch {
    sink: Arc<Sink>,
    dirty: Arc<Dirty>,
    stop: CancellationToken,
    thread: std::thread::JoinHandle<()>,
}

async fn watch(spec: &FolderSpec) -> Watch {
    let (sink, stop) = (Arc::new(Sink::default()), CancellationToken::new());
    let names = Arc::new(Names::new(&spec.include, &spec.exclude, &spec.ignore).unwrap());
    let observer = Observer::new(spec, names, Index::default(), Arc::clone(&sink) as _, Arc::default(), stop.clone());
    let dirty = Arc::clone(&observer.dirty);
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::spawn(move || runtime.block_on(observer.run()).unwrap());
    sink.until("it is watched", |_, statuses| statuses.last() == Some(&Status::Watching)).await;
    Watch { sink, dirty, stop, thread }
}

/// Waits until the observer has made a whole round that began after the call.
async fn next_round(sink: &Sink, dirty: &Dirty) {
    let before = sink.1.load(Relaxed);
    // When a second round begins, the first one that began after the call is over.
    let is_over = |_: &[Observation], _: &[Status]| {
        dirty.wake.notify_one();
        sink.1.load(Relaxed) >= before + 2
    };
    sink.until("the observer has made another round", is_over).await;
}

/// Waits until the observer has handled all events, and has then checked twice more each path that
/// it checks again after [`PASSING`].
async fn checked_again(sink: &Sink, dirty: &Dirty) {
    next_round(sink, dirty).await;
    for _ in 0..2 {
        tokio::time::sleep(PASSING).await;
        next_round(sink, dirty).await;
    }
}

/// Handles the events that the kernel raises for a rename.
fn renamed(dirty: &Dirty, from: &std::path::Path, to: &std::path::Path, cookie: usize) {
    for (mode, path) in [(RenameMode::From, from), (RenameMode::To, to)] {
        let event = Event::new(EventKind::Modify(ModifyKind::Name(mode)));
        dirty.accept(Ok(event.set_tracker(cookie).add_path(path.to_owned())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_renamed_faster_than_its_events_arrive_is_not_gone() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..5).map(|at| folder.path().join(at.to_string())).collect();
    let Watch { sink, dirty, stop, thread } = watch(&spec(folder.path())).await;
    std::fs::write(&paths[0], b"content").unwrap();
    sink.until("it is seen", |seen, _| !seen.is_empty()).await;

    let stalled = dirty.stall();
    for pair in paths.windows(2) {
        std::fs::rename(&pair[0], &pair[1]).unwrap();
    }
    for (cookie, pair) in paths.windows(2).take(3).enumerate() {
        // The observer checks the path on record once more after `PASSING`. It would then report
        // the file as gone if it did not know that events of renames are missing.
        renamed(&dirty, &pair[0], &pair[1], cookie);
        checked_again(&sink, &dirty).await;
    }
    drop(stalled);
    sink.until("the rename is seen", |seen, _| {
        seen.iter().any(|seen| matches!(seen, Observation::Renamed { to, .. } if to == "4"))
    })
    .await;
    // A file that was really removed is not waited for.
    std::fs::remove_file(&paths[4]).unwrap();
    sink.until("it is gone", |seen, _| matches!(seen.last(), Some(Observation::Gone { .. }))).await;
    stop.cancel();
    thread.join().unwrap();
    let seen = sink.0.lock().unwrap();
    let gone = seen.0.iter().filter(|seen| matches!(seen, Observation::Gone { .. })).count();
    assert_eq!(gone, 1, "{:?}", seen.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_at_a_renamed_files_old_path_is_reported_after_the_rename() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..3).map(|at| folder.path().join(at.to_string())).collect();
    let Watch { sink, dirty, stop, thread } = watch(&spec(folder.path())).await;
    std::fs::write(&paths[0], b"content").unwrap();
    sink.until("it is seen", |seen, _| !seen.is_empty()).await;

    let stalled = dirty.stall();
    std::fs::rename(&paths[0], &paths[1]).unwrap();
    std::fs::rename(&paths[1], &paths[2]).unwrap();
    std::os::unix::fs::symlink("2", &paths[0]).unwrap();
    // The observer checks the link several times while it does not know where the file is.
    renamed(&dirty, &paths[0], &paths[1], 0);
    checked_again(&sink, &dirty).await;
    drop(stalled);
    let is = |kind: fn(&Observation) -> bool| move |seen: &[Observation]| seen.iter().position(kind);
    let left = is(|seen| matches!(seen, Observation::Renamed { from, to, .. } if (&**from, &**to) == ("0", "2")));
    let link = is(|seen| matches!(seen, Observation::Ignored { path, .. } if path == "0"));
    sink.until("both are seen", |seen, _| left(seen).is_some() && link(seen).is_some()).await;
    stop.cancel();
    thread.join().unwrap();
    let seen = sink.0.lock().unwrap();
    assert!(left(&seen.0) < link(&seen.0), "{:?}", seen.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inotify_queue_overflow_loses_and_repeats_nothing_and_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path());
    let Watch { sink, dirty, stop, thread } = watch(&spec).await;

    let queue: usize =
        std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    // Each file raises three events at least: made, opened, closed.
    let files = 20_000.max(queue / 3 + 1000);
    let path = folder.path().to_owned();
    // On a thread of its own, because the guard of the lock is not `Send`.
    std::thread::spawn(move || {
        let stalled = dirty.stall();
        for file in 0..files {
            std::fs::write(path.join(file.to_string()), file.to_string()).unwrap();
        }
        drop(stalled);
    })
    .join()
    .unwrap();
    sink.until("all is seen", |seen, statuses| seen.len() >= files && statuses.last() == Some(&Status::Watching)).await;
    std::fs::write(folder.path().join("last"), b"last").unwrap();
    sink.until("it is watched as before", |seen, _| {
        seen.iter().any(|seen| matches!(seen, Observation::Present { path, .. } if path == "last"))
    })
    .await;
    stop.cancel();
    thread.join().unwrap();

    let seen = sink.0.lock().unwrap();
    let overflowed = |status: &Status| matches!(status, Status::Scanning(why) if why.contains("max_queued_events"));
    assert!(seen.1.iter().any(overflowed), "{:?}", seen.1);
    let paths: BTreeSet<_> =
        seen.0.iter().map(|seen| format!("{seen:?}").split('"').nth(1).map(str::to_owned)).collect();
    assert_eq!(paths.len(), files + 1);
    // A file with a racy stamp may be reported again by the scan, with the same content. Nothing
    // else is reported about it.
    let digests: BTreeSet<_> = seen
        .0
        .iter()
        .map(|seen| match seen {
            Observation::Present { path, digest, .. } => (path.clone(), digest.unwrap().hex()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(digests.len(), files + 1, "each file has one content");
}

#[test]
fn temporary_excluded_and_linked_folders_are_not_watched() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = spec(folder.path());
    spec.exclude = vec!["old".to_owned()];
    for path in [".anacostia/staging/x", "a/b", "a/.git/c", "old/a", "x.tmp/a"] {
        std::fs::create_dir_all(folder.path().join(path)).unwrap();
    }
    std::os::unix::fs::symlink("a", folder.path().join("link")).unwrap();
    let names = Arc::new(Names::new(&spec.include, &spec.exclude, &spec.ignore).unwrap());
    let dirty = Arc::new(Dirty::new(spec.path.clone(), Arc::clone(&names)));
    let mut watches = Watches::new(spec.path.clone(), dirty);
    let root = Root::open(&spec.path).unwrap();
    let (mut index, mut todo) = (Index::default(), BTreeSet::new());
    let scan =
        Scan { root: &root, names: &names, index: &mut index, watches: &mut watches, todo: &mut todo, renew: false };
    { scan }.run(OsStr::new("")).unwrap();
    assert_eq!(watches.folders().collect::<Vec<_>>(), ["", "a", "a/b"]);
    assert_eq!(todo.iter().collect::<Vec<_>>(), ["link"]);
    watches.forget(OsStr::new("a"));
    assert_eq!(watches.folders().collect::<Vec<_>>(), [""]);
}

/// A record that is read once `begin` has a permit.
struct Record(Vec<KnownPath>, Semaphore);

#[async_trait]
impl KnownPaths for Record {
    async fn page(&self, _: Option<String>) -> Result<Page<KnownPath>> {
        self.1.acquire().await.unwrap().forget();
        Ok(Page { items: self.0.clone(), next_cursor: None })
    }

    async fn needed(&self, _: Option<String>) -> Result<Page<Digest>> {
        Ok(Page { items: Vec::new(), next_cursor: None })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_folder_is_created_by_a_writer_only_if_no_file_of_it_is_on_record() {
    for is_on_record in [false, true] {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("raw");
        let folder = Arc::new(Folder::new("raw", &spec(&path), false).unwrap());
        let (digest, state) = (Some(Hasher::default().finish()), ArtifactState::New);
        let known = KnownPath { path: "a".to_owned(), digest, size: 0, state, stamp: String::new() };
        let known = if is_on_record { vec![known] } else { Vec::new() };
        let (record, sink, stop) =
            (Arc::new(Record(known, Semaphore::new(0))), Arc::new(Sink::default()), CancellationToken::new());
        let mut watch = Arc::clone(&folder).watch(Arc::clone(&record) as _, None, sink, stop.clone());
        // It begins, and waits for the record.
        assert!(tokio::time::timeout(PASSING, &mut watch).await.is_err());
        let create = folder.create(AttemptId::new(), ArtifactId::new(), "b", false);
        let write = async {
            tokio::pin!(create);
            assert!(tokio::time::timeout(PASSING, &mut create).await.is_err(), "nobody knows the record yet");
            assert!(!path.exists(), "it was created before that");
            record.1.add_permits(1);
            let created = create.await.map(drop).map_err(|error| error.to_string());
            stop.cancel();
            created
        };
        let (watched, created) = tokio::join!(watch, write);
        watched.unwrap();
        assert_eq!(path.exists(), !is_on_record);
        assert_eq!(created.is_err(), is_on_record, "{created:?}");
    }
}
