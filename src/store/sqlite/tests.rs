//! Tests of what only the SQLite store does, and the suite that every kind of store passes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;

use super::queue::Queue;
use super::sql::{Fail, Work, execute};
use super::writer::{Call, Counters, Job, Tx, Writer};
use super::{FAULT_POINTS, SqliteStore, migrations, read_holder, wal};
use crate::base::{Digest, Timestamp};
use crate::model::{AttemptState, Durability, Observation};
use crate::store::conformance::cache::{ends, memory};
use crate::store::conformance::fixtures::{end, intent, new_run, started};
use crate::store::conformance::{LossyStoreFactory, StoreFactory, World, conformance};
use crate::store::{
    Batch, GuestRecords as _, HostLease as _, MAX_MEMORIES, MetadataStore, PageRequest, RunStep, StoreError, TickQuery,
    Visible, steps,
};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("metadata.db")
    }

    fn host(&self) -> Arc<SqliteStore> {
        open(&self.database()).unwrap()
    }
}

#[async_trait]
impl StoreFactory for Folder {
    async fn open(&self) -> Arc<dyn MetadataStore> {
        self.host()
    }
}

fn open(path: &Path) -> Result<Arc<SqliteStore>, StoreError> {
    SqliteStore::open(path, Durability::Normal, now())
}

fn now() -> Timestamp {
    Timestamp::from_micros(1_772_366_400_000_000)
}

pub(super) async fn world() -> World {
    World::new(Box::new(Folder::new())).await
}

mod suite {
    use super::conformance;

    conformance!(super::super::world);
}

async fn lossy_world() -> World {
    World::new(Box::new(LossyStoreFactory(Folder::new()))).await
}

mod suite_with_lost_answers {
    use super::conformance;

    conformance!(super::super::lossy_world);
}

fn files(count: usize, from: usize) -> Vec<Observation> {
    let file = |n: usize| Observation::Present {
        path: format!("{n:06}"),
        digest: Some(Digest::of(&n.to_le_bytes())),
        size: 1,
        stamp: "s".repeat(200),
    };
    (from..from + count).map(file).collect()
}

fn log(folder: &Folder) -> wal::Log {
    wal::Log::new(folder.database(), folder.0.path().join("metadata.db-wal"))
}

#[tokio::test]
async fn a_job_or_a_read_that_panics_is_rolled_back_and_the_threads_go_on() {
    let folder = Folder::new();
    let store = folder.host();
    let insert = "INSERT INTO ticks (trigger_name, time, outcome, reason) VALUES ('a', 1, 'held', 'x')";
    for _ in 0..3 {
        let write = move |tx: &mut Tx<'_>| -> Work<()> {
            tx.at.event += 1;
            execute(tx.db, insert, [])?;
            panic!("no luck")
        };
        let read = |_: &Connection| -> Work<()> { panic!("no luck") };
        let failed = [store.write(steps::TICK, write).await, store.read("read a tick", read).await];
        let [written, read] = failed.map(|result| result.unwrap_err().to_string());
        let why = "it panicked, which is a bug in Anacostia: no luck";
        assert_eq!(written, format!("the metadata store failed to record a tick: {why}"));
        assert_eq!(read, format!("the metadata store failed to read a tick: {why}"));
    }
    let before = *store.newest_event().borrow();
    store.record("raw", Batch::new(files(10, 0), u64::MAX), now()).await.unwrap();
    assert_eq!(store.pending("raw").await.unwrap().count, 10, "a reader sees what was recorded since");
    assert_eq!(store.events(before, None, 100).await.unwrap()[0].seq, before + 1, "no number is missing");
    let ticks = store.ticks(TickQuery::default(), PageRequest { cursor: None, limit: 1 }).await.unwrap();
    assert!(ticks.items.is_empty());
}

/// Jobs that wait together are one transaction; those that fail or panic are undone alone; all are
/// answered after the commit.
/// Makes a database of an older version with a row.
fn older(path: &Path) {
    let db = Connection::open(path).unwrap();
    migrations::migrate_to(&db, 2).unwrap();
    db.execute("INSERT INTO waiting VALUES ('raw', 3, 30)", []).unwrap();
}

#[test]
fn records_are_copied_before_they_are_migrated() {
    let folder = Folder::new();
    older(&folder.database());
    let copy = folder.0.path().join("metadata.db.version-2");
    // What an earlier try has left, and one that was cut off.
    std::fs::write(&copy, "an earlier copy").unwrap();
    std::fs::write(folder.0.path().join("metadata.db.part"), "half").unwrap();
    drop(folder.host());
    let version = |path: &Path| {
        let db = Connection::open(path).unwrap();
        let count: u64 =
            db.query_row("SELECT count FROM waiting WHERE resource = 'raw'", [], |row| row.get(0)).unwrap();
        let version: usize = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        (version, count)
    };
    assert_eq!(version(&copy), (2, 3));
    assert_eq!(version(&folder.database()), (migrations::SCRIPTS.len(), 3));
    assert!(!folder.0.path().join("metadata.db.part").exists());
    std::fs::remove_file(&copy).unwrap();
    drop(folder.host());
    assert!(!copy.exists(), "nothing is copied unless it is migrated");
}

#[test]
fn records_that_cannot_be_copied_are_not_migrated() {
    let folder = Folder::new();
    older(&folder.database());
    let in_the_way = folder.0.path().join("metadata.db.part");
    std::fs::create_dir(&in_the_way).unwrap();
    let text = open(&folder.database()).unwrap_err().to_string();
    let (path, newest) = (folder.0.path().display(), migrations::SCRIPTS.len());
    assert_eq!(
        text,
        format!(
            "the metadata store failed to copy the records to {path}/metadata.db.version-2 before they are migrated from version 2 to {newest}: \
             unable to open database: {path}/metadata.db.part"
        )
    );
    std::fs::remove_dir(&in_the_way).unwrap();
    drop(folder.host());
    assert!(folder.0.path().join("metadata.db.version-2").exists());
}

#[test]
fn queued_jobs_share_a_commit_and_fail_independently() {
    let folder = Folder::new();
    drop(folder.host());
    let db = Connection::open(folder.database()).unwrap();
    let beside = Connection::open(folder.database()).unwrap();
    let ticks = |db: &Connection| db.query_row("SELECT count(*) FROM ticks", [], |row| row.get::<_, i64>(0)).unwrap();
    let queue: Arc<Queue<Box<dyn Job>>> = Arc::new(Queue::new(10));
    let (newest, told) = tokio::sync::watch::channel(1);
    let insert = "INSERT INTO ticks (trigger_name, time, outcome, reason) VALUES ('a', 1, 'held', 'x')";
    let (first, first_answer) = Call::new(steps::TICK, move |tx: &mut Tx<'_>| {
        tx.at.event += 1;
        Ok(execute(tx.db, insert, [])?)
    });
    let (second, second_answer) = Call::new(steps::TICK, move |tx: &mut Tx<'_>| {
        tx.at.event += 1;
        execute(tx.db, insert, [])?;
        Err::<(), _>(Fail::conflict("no"))
    });
    let (panicking, no_answer) = Call::new(steps::TICK, move |tx: &mut Tx<'_>| -> Work<()> {
        tx.at.event += 1;
        execute(tx.db, insert, [])?;
        panic!("no luck")
    });
    let (third, third_answer) = Call::new(steps::TICK, move |tx: &mut Tx<'_>| {
        tx.at.event += 1;
        execute(tx.db, insert, [])?;
        Ok((tx.at.event, ticks(tx.db), ticks(&beside)))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let jobs: [Box<dyn Job>; 4] = [Box::new(first), Box::new(second), Box::new(panicking), Box::new(third)];
        for job in jobs {
            queue.push(job).await.unwrap();
        }
    });
    queue.close();
    let counters = Counters { event: 1, ..Counters::default() };
    let log = log(&folder);
    Writer { db, syncs_all: false, log, counters, epoch: 1, queue, newest }.run();
    assert_eq!(first_answer.blocking_recv().unwrap().unwrap(), 1);
    assert!(matches!(second_answer.blocking_recv().unwrap(), Err(StoreError::Conflict(_))));
    assert_eq!(
        no_answer.blocking_recv().unwrap().unwrap_err().to_string(),
        "the metadata store failed to record a tick: it panicked, which is a bug in Anacostia: no luck"
    );
    let (event, inside, outside) = third_answer.blocking_recv().unwrap().unwrap();
    assert_eq!(event, 3, "the numbers of the failed jobs were reused");
    assert_eq!((inside, outside), (2, 0), "it sees the first job's changes before others do");
    assert_eq!(*told.borrow(), 3);
    let after = Connection::open(folder.database()).unwrap();
    assert_eq!(ticks(&after), 2);
}

async fn at_work(store: &SqliteStore) -> u64 {
    store.write(steps::PAUSE, |tx: &mut Tx<'_>| Ok(tx.at.at_work())).await.unwrap()
}

/// While attempts are active, the writer waits for more jobs to commit together. So it must count
/// each attempt that ends exactly once, in whichever state it ends.
#[tokio::test]
async fn the_writer_counts_running_attempts() {
    let folder = Folder::new();
    let store = folder.host();
    let (_, published) = started(&*store, new_run()).await;
    let (_, failed) = started(&*store, new_run()).await;
    assert_eq!(at_work(&store).await, 2);
    store.finish_attempt(failed, end(AttemptState::Failed), RunStep::default(), now()).await.unwrap();
    store.finish_attempt(failed, end(AttemptState::Failed), RunStep::default(), now()).await.unwrap();
    assert!(store.finish_attempt(failed, end(AttemptState::Crashed), RunStep::default(), now()).await.is_err());
    assert_eq!(at_work(&store).await, 1);
    store.publish_intent(published, intent(Vec::new()), now()).await.unwrap();
    assert_eq!(at_work(&store).await, 1, "its publication is not recorded yet");
    store.published(published, Visible::default(), RunStep::default(), now()).await.unwrap();
    store.published(published, Visible::default(), RunStep::default(), now()).await.unwrap();
    assert_eq!(at_work(&store).await, 0);
    let (_, left) = started(&*store, new_run()).await;
    drop(store);
    let store = folder.host();
    let unfinished = store.take_over(now()).await.unwrap();
    let fences = unfinished.iter().flat_map(|run| &run.attempts).map(|attempt| attempt.fence);
    assert_ne!(left.epoch, store.epoch());
    assert_eq!(fences.count(), 1);
    assert_eq!(at_work(&store).await, 1, "an attempt of a crashed host counts as running until it is closed");
}

#[tokio::test]
async fn a_full_disk_fails_only_the_write_that_does_not_fit() {
    let folder = Folder::new();
    let store = folder.host();
    store.record("raw", Batch::new(files(10, 0), u64::MAX), now()).await.unwrap();
    let most = |pages: u32| {
        let store = Arc::clone(&store);
        async move {
            let set = move |tx: &mut Tx<'_>| {
                Ok(tx.db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, u32>(0))?)
            };
            store.write(steps::PAUSE, set).await.unwrap()
        }
    };
    let pages = most(1).await;
    most(pages + 20).await;
    let before = store.events(0, None, 1_000).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                store.record("raw", Batch::new(files(2_000, 10_000 * (n + 1)), u64::MAX), now()).await
            })
        })
        .collect();
    for task in tasks {
        let error = task.await.unwrap().unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("full"), "{error}");
    }
    assert_eq!(store.events(0, None, 1_000).await.unwrap(), before, "no step is partially recorded");
    assert_eq!(store.pending("raw").await.unwrap().count, 10);
    most(1_000_000).await;
    let recorded = store.record("raw", Batch::new(files(2_000, 10_000), u64::MAX), now()).await.unwrap();
    assert_eq!((recorded.new, recorded.pending.count), (2_000, 2_010));
    let after = store.events(before.len() as u64, None, 1).await.unwrap();
    assert_eq!(after[0].seq, before.len() as u64 + 1, "no number is missing");
}

/// Another program that stays in a read transaction keeps SQLite from restarting the log.
#[tokio::test]
async fn the_write_ahead_log_is_truncated_once_a_foreign_reader_ends() {
    let folder = Folder::new();
    let store = folder.host();
    let foreign = Connection::open(folder.database()).unwrap();
    foreign.execute_batch("BEGIN; SELECT count(*) FROM runs").unwrap();
    for _ in 0..20 {
        let sql = "INSERT INTO revisions (digest, manifest, components, registered_at)
            VALUES (randomblob(32), printf('%.*c', 4000000, 'x'), '[]', 1)";
        store.write(steps::REVISION, move |tx: &mut Tx<'_>| Ok(execute(tx.db, sql, [])?)).await.unwrap();
    }
    let log = folder.0.path().join("metadata.db-wal");
    let length = || std::fs::metadata(&log).unwrap().len();
    assert!(length() > wal::KEPT_BYTES, "{}", length());
    foreign.execute_batch("ROLLBACK").unwrap();
    // No write follows: an idle host frees the space, too.
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while length() > wal::KEPT_BYTES {
        assert!(std::time::Instant::now() < deadline, "the log still has {} bytes", length());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_second_host_is_refused_and_told_about_the_first() {
    let folder = Folder::new();
    let store = folder.host();
    store.announce("127.0.0.1:8123").await.unwrap();
    let Err(StoreError::InUse { store: which, holder }) = open(&folder.database()) else {
        panic!("two hosts opened the same store")
    };
    assert!(which.ends_with("metadata.db"));
    assert!(holder.contains(&format!("process {}", std::process::id())) && holder.contains(":8123"), "{holder}");
    let holder = read_holder(&folder.database()).unwrap().unwrap();
    assert_eq!(holder.listen.as_deref(), Some("127.0.0.1:8123"));
    assert_eq!(store.epoch(), 1, "the refused host changed nothing");
    drop(store);
    assert_eq!(read_holder(&folder.database()).unwrap(), None);
    assert_eq!(folder.host().epoch(), 2);
}

/// A crash leaves the files as they are at some moment: the database with its write-ahead log.
#[tokio::test]
async fn acknowledged_writes_survive_a_crash() {
    let (folder, copy) = (Folder::new(), Folder::new());
    let store = folder.host();
    for n in 0..20 {
        store.record("raw", Batch::new(files(10, 10 * n), u64::MAX), now()).await.unwrap();
    }
    for entry in std::fs::read_dir(folder.0.path()).unwrap() {
        let name = entry.unwrap().file_name();
        // The file for shared memory is created again by the process that opens the database first.
        if !name.to_str().unwrap().ends_with("-shm") {
            std::fs::copy(folder.0.path().join(&name), copy.0.path().join(&name)).unwrap();
        }
    }
    let again = copy.host();
    assert_eq!(again.epoch(), 2);
    assert_eq!(again.pending("raw").await.unwrap().count, 200);
    assert_eq!(*again.newest_event().borrow(), 202);
    let db = Connection::open(copy.database()).unwrap();
    let verdict: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[tokio::test]
async fn a_read_only_store_sees_commits_of_the_host_and_cannot_write() {
    let folder = Folder::new();
    let missing = SqliteStore::open_read_only(&folder.database()).unwrap_err();
    assert!(matches!(missing, StoreError::Unavailable { .. }), "{missing}");
    let store = folder.host();
    let beside = SqliteStore::open_read_only(&folder.database()).unwrap();
    store.record("raw", Batch::new(files(3, 0), u64::MAX), now()).await.unwrap();
    assert_eq!(beside.pending("raw").await.unwrap().count, 3);
    assert_eq!(beside.epoch(), store.epoch());
    let error = beside.record("raw", Batch::new(files(1, 9), u64::MAX), now()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Conflict(text) if text.contains("reading only")), "{error}");
    drop(store);
    assert_eq!(beside.pending("raw").await.unwrap().count, 3);
    drop(beside);
    let alone = SqliteStore::open_read_only(&folder.database()).unwrap();
    assert_eq!(
        alone.known("raw", PageRequest { cursor: None, limit: 10 }).await.unwrap().items.len(),
        3,
        "also without a host"
    );
}

#[test]
fn foreign_files_are_refused_and_not_changed() {
    let folder = Folder::new();
    drop(folder.host());
    let db = Connection::open(folder.database()).unwrap();
    db.pragma_update(None, "user_version", 999).unwrap();
    drop(db);
    for error in [open(&folder.database()).unwrap_err(), SqliteStore::open_read_only(&folder.database()).unwrap_err()] {
        let text = error.to_string();
        assert!(matches!(error, StoreError::Corrupt(_)), "{text}");
        assert!(text.contains("metadata.db") && text.contains("version 999") && text.contains("newer"), "{text}");
    }
    let text_file = folder.0.path().join("notes.txt");
    let content = "these are notes, and no database; ".repeat(100);
    std::fs::write(&text_file, &content).unwrap();
    for error in [open(&text_file).unwrap_err(), SqliteStore::open_read_only(&text_file).unwrap_err()] {
        assert!(matches!(&error, StoreError::Corrupt(text) if text.contains("notes.txt")), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&text_file).unwrap(), content);
    let empty = folder.0.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    let error = SqliteStore::open_read_only(&empty).unwrap_err();
    assert!(error.to_string().contains("nothing is in it yet"), "{error}");
    let nowhere = folder.0.path().join("no/such/folder/metadata.db");
    assert!(matches!(open(&nowhere), Err(StoreError::Unavailable { .. })));
}

#[test]
fn every_step_has_two_fault_points() {
    assert!(FAULT_POINTS.contains(&"claim.in_transaction") && FAULT_POINTS.contains(&"finish.committed"));
    assert_eq!(FAULT_POINTS.len() % 2, 0);
}

#[tokio::test]
async fn full_durability_syncs_every_commit() {
    let folder = Folder::new();
    for (durability, expected) in [(Durability::Normal, 1), (Durability::Full, 2)] {
        let store = SqliteStore::open(&folder.database(), durability, now()).unwrap();
        let set = |tx: &mut Tx<'_>| Ok(tx.db.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0))?);
        assert_eq!(store.write(steps::PAUSE, set).await.unwrap(), expected);
    }
}

/// A job that asks for a synced commit gets one, with all jobs of its batch; others do not.
#[test]
fn a_commit_that_has_to_survive_a_power_cut_is_synced_with_every_durability() {
    let level = |tx: &mut Tx<'_>| Ok(tx.db.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0))?);
    // The jobs of each batch: whether each asks for it, and what each sees.
    let cases = [(false, [false, false], 1), (false, [false, true], 2), (true, [false, false], 2)];
    let folder = Folder::new();
    drop(folder.host());
    for (syncs_all, asks, expected) in cases {
        let db = Connection::open(folder.database()).unwrap();
        db.execute_batch(if syncs_all { "PRAGMA synchronous = 2" } else { "PRAGMA synchronous = 1" }).unwrap();
        let queue: Arc<Queue<Box<dyn Job>>> = Arc::new(Queue::new(10));
        let (newest, _) = tokio::sync::watch::channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answers = asks.map(|asks| {
            let (call, answer) = Call::new(steps::PAUSE, level);
            runtime.block_on(queue.push(Box::new(call.synced(asks)))).ok().unwrap();
            answer
        });
        // A single job is a transaction of its own.
        let (alone, seen_alone) = Call::new(steps::PAUSE, level);
        let (log, counters) = (log(&folder), Counters::default());
        let writer = Writer { db, syncs_all, log, counters, epoch: 1, queue: Arc::clone(&queue), newest };
        let thread = std::thread::spawn(move || writer.run());
        let seen = answers.map(|answer| answer.blocking_recv().unwrap().unwrap());
        assert_eq!(seen, [expected; 2], "{syncs_all} {asks:?}");
        runtime.block_on(queue.push(Box::new(alone))).ok().unwrap();
        let after = if syncs_all { 2 } else { 1 };
        assert_eq!(seen_alone.blocking_recv().unwrap().unwrap(), after, "after {asks:?}");
        queue.close();
        thread.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_remembered_attempts_is_bounded() {
    let folder = Folder::new();
    let store = folder.host();
    let count = usize::try_from(MAX_MEMORIES).unwrap();
    let mut oldest = None;
    for number in 0..=count {
        let attempt = ends(store.as_ref(), AttemptState::Succeeded, memory("f", &number.to_string())).await;
        oldest.get_or_insert(attempt);
    }
    let newest = ends(store.as_ref(), AttemptState::Succeeded, memory("g", "g")).await;
    let left = store.remembered("first", Digest::of(b"f"), Digest::of(b"0"), 5_000).await.unwrap();
    assert_eq!((left.len(), left[0].attempt_id), (count, newest));
    assert!(left.iter().all(|it| Some(it.attempt_id) != oldest));
}
