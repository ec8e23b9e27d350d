//! Tests of a watch without a host.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::recent::Recent;
use super::watch::Watcher;
use crate::base::Digest;
use crate::manifest::{SqlDatabase, SqlFormat, SqlFrom, SqlRows, SqlSpec};
use crate::model::{KnownPath, Observation, Page};
use crate::resource::kept::Kept;
use crate::resource::{KnownPaths, ObservationSink, RecordOutcome, Result, Status, Waiting};

/// What is on record, and whether a run still needs it.
#[derive(Default)]
struct Record {
    digests: Mutex<Vec<Digest>>,
    is_done: AtomicBool,
    /// How often a watch has asked what is needed, each time before it removes content.
    asked: AtomicUsize,
}

#[async_trait]
impl ObservationSink for Record {
    fn as_of(&self) -> u64 {
        0
    }

    async fn observed(&self, batch: Vec<Observation>, _: u64, _: Option<String>) -> RecordOutcome {
        let digests = batch.into_iter().filter_map(|it| match it {
            Observation::Present { digest, .. } => digest,
            _ => None,
        });
        self.digests.lock().unwrap().extend(digests);
        RecordOutcome::Recorded { outdated: Vec::new() }
    }

    fn waiting(&self, _: Waiting) {}

    fn status(&self, _: Status) {}
}

#[async_trait]
impl KnownPaths for Record {
    async fn page(&self, _: Option<String>) -> Result<Page<KnownPath>> {
        Ok(Page { items: Vec::new(), next_cursor: None })
    }

    async fn needed(&self, _: Option<String>) -> Result<Page<Digest>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let is_done = self.is_done.load(Ordering::Relaxed);
        let items = if is_done { Vec::new() } else { self.digests.lock().unwrap().clone() };
        Ok(Page { items, next_cursor: None })
    }
}

fn spec(path: &Path) -> (SqlSpec, SqlRows) {
    let rows = SqlRows {
        from: SqlFrom::Table("t".to_owned()),
        high_water: "id".to_owned(),
        key: Vec::new(),
        overlap: Duration::ZERO,
        interval: Duration::from_millis(10),
        notify: None,
        max_rows: 10,
        format: SqlFormat::Jsonl,
    };
    let database = SqlDatabase::Sqlite { path: path.to_owned() };
    (SqlSpec { database, password: None, rows: Some(rows.clone()), keep: 0, max_kept: u64::MAX }, rows)
}

/// Returns the files of kept content.
fn kept(state: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(state.join("resources/rows")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < deadline, "timed out waiting until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn kept_rows_that_no_run_needs_are_removed_also_while_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (state, path) = (folder.path().join("state"), folder.path().join("app.db"));
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("create table t (id integer); insert into t values (1)").unwrap();
    let (database, rows) = spec(&path);
    let (record, stop) = (Arc::new(Record::default()), CancellationToken::new());
    let watcher = Watcher {
        name: "rows".to_owned(),
        of: Digest::of(b"rows"),
        rows,
        kept: Arc::new(Kept::new("rows", &state, 0, u64::MAX)),
        recent: Arc::new(Recent::new("rows", &state)),
        trim_every: Duration::from_millis(20),
        sink: record.clone(),
        stop: stop.clone(),
    };
    let test = async {
        until("the row is on record", || !record.digests.lock().unwrap().is_empty()).await;
        // The watch asks a second time only after it has acted on the first answer.
        let before = record.asked.load(Ordering::Relaxed);
        until("content was looked through", || record.asked.load(Ordering::Relaxed) >= before + 2).await;
        assert_eq!(kept(&state).len(), 1, "a run needs it");
        record.is_done.store(true, Ordering::Relaxed);
        until("it is removed", || kept(&state).is_empty()).await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(watcher.run(&database, record.as_ref(), None), test);
    ended.unwrap();
}
