//! Looks for new rows, and reports them as batches.
//!
//! A *sweep* brings everything new on record. It consists of looks; each look is one query, and
//! ends with at most one batch. A sweep is *full* if it begins where rows may still be missing
//! ([`Cursor::from`]), and *quick* if it begins at the greatest value that was delivered. While few
//! rows may be missing, every sweep is full. Otherwise a quick one follows each change, and a full
//! one comes a few times in each overlap, because it reads all rows of the overlap again.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::batch::{self, Batch};
use super::csv;
use super::cursor::Cursor;
use super::open::open;
use super::recent::Recent;
use super::source::{Failure, Look, Mark, Row, Source};
use super::window::{Identity, MANY_ROWS, MAX_ROWS, RowId, Window};
use crate::base::{Clock as _, Digest, SystemClock, fault};
use crate::manifest::{SqlFormat, SqlRows, SqlSpec};
use crate::model::Observation;
use crate::resource::kept::{FULL_WAIT, Kept, Stored};
use crate::resource::{
    KnownPaths, ObservationSink, RecordOutcome, ResourceError, Result, Status, Waiting, WaitingPath,
};

/// How soon to open a database again that does not answer; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest time between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Up to this many rows, the cost of reading them again does not matter.
const FEW_ROWS: usize = 1_000;
/// A limit that no table reaches.
const ALL: u64 = i64::MAX.unsigned_abs();
/// How often to remove kept rows that no run needs.
pub(super) const TRIM_EVERY: Duration = Duration::from_mins(1);
/// Full sweeps in each overlap, if there are more than [`FEW_ROWS`] rows.
const FULL_PER_OVERLAP: u32 = 4;

/// Watches one database.
pub(super) struct Watcher {
    pub(super) name: String,
    /// Which rows it watches; see [`super::place`].
    pub(super) of: Digest,
    pub(super) rows: SqlRows,
    pub(super) kept: Arc<Kept>,
    pub(super) recent: Arc<Recent>,
    /// [`TRIM_EVERY`], except in a test.
    pub(super) trim_every: Duration,
    pub(super) sink: Arc<dyn ObservationSink>,
    pub(super) stop: CancellationToken,
}

/// The state of the watch.
struct Progress {
    cursor: Cursor,
    window: Window,
    identity: Identity,
    /// The greatest value that a look has read.
    last: Option<Mark>,
    /// Whether the window may have rows below `from`, which no look reads.
    is_restored: bool,
    /// When the last full sweep began.
    full: Option<Instant>,
    /// Why delivering waits for rows to settle, if it does.
    held: Option<WaitingPath>,
    /// What is known about the rows below `from`.
    below: Option<Below>,
    /// What was last shown as waiting.
    shown: Vec<WaitingPath>,
    status: Option<Status>,
}

/// The rows below the value where looks begin.
struct Below {
    from: Mark,
    /// The greatest of them.
    greatest: Option<Mark>,
    /// Set if some came too late to be delivered.
    late: Option<WaitingPath>,
}

/// Why a session with the database ends.
enum End {
    Failed(String),
    /// Nothing more can be recorded.
    Refused,
}

impl From<Failure> for End {
    fn from(Failure(why): Failure) -> Self {
        Self::Failed(why)
    }
}

/// What a look has found.
#[derive(Default)]
struct Found {
    batch: Batch,
    /// How often each row at or above `from` was read.
    read: HashMap<RowId, u32>,
    /// Rows below `from`, which no later look reads.
    settled: Vec<RowId>,
    /// Where the next full sweep may begin, if that has moved.
    from: Option<Mark>,
    /// The value of the last row.
    last: Option<Mark>,
    rows: u64,
    stopped: Option<Stopped>,
}

/// Why a look has not read all rows.
enum Stopped {
    BatchFull,
    WindowFull,
    Failed(Failure),
}

impl Watcher {
    /// Watches until `stop`.
    ///
    /// # Errors
    /// [`ResourceError::Unusable`] if nothing more can be recorded.
    pub(super) async fn run(self, database: &SqlSpec, known: &dyn KnownPaths, cursor: Option<&str>) -> Result<()> {
        let mut progress = self.restore(known, cursor).await?;
        let mut pause = FIRST_PAUSE;
        loop {
            let end = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                end = self.session(database, known, &mut progress) => end,
            };
            match end {
                End::Refused => return Err(self.unusable("the host cannot record its changes")),
                End::Failed(why) => {
                    // After a session that has worked, the pauses are short again.
                    let worked = matches!(progress.status, Some(Status::Watching | Status::Reconciling));
                    pause = if worked { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
                    self.report(&mut progress, Status::Unreachable(why));
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
            }
        }
    }

    /// Restores the progress of earlier watches.
    async fn restore(&self, known: &dyn KnownPaths, cursor: Option<&str>) -> Result<Progress> {
        let cursor = self.begin(known, cursor).await?;
        let identity = Identity::new(&self.rows.key, &self.rows.high_water);
        let mut window = Window::default();
        window.add_carried(&cursor.carried);
        self.recent.retain(&(cursor.oldest_batch..cursor.next_batch));
        for number in cursor.oldest_batch..cursor.next_batch {
            match self.recent.read(number) {
                Ok((file, lines)) => {
                    // Older versions did not sync the name of the content.
                    self.store(file, &lines).await?;
                    for id in lines.lines().filter_map(|line| identity.of(line).ok()) {
                        window.add(id, number);
                    }
                }
                Err(why) => tracing::warn!(
                    "batch {number} of {} cannot be read ({why}): its rows may be delivered again",
                    self.name
                ),
            }
        }
        let is_restored = window.len() > 0;
        let (held, below, shown) = (None, None, Vec::new());
        Ok(Progress { cursor, window, identity, last: None, is_restored, full: None, held, below, shown, status: None })
    }

    /// Returns the cursor on record, or a new one if that belongs to other rows.
    async fn begin(&self, known: &dyn KnownPaths, cursor: Option<&str>) -> Result<Cursor> {
        let read = cursor.and_then(|text| Cursor::read(text, self.of));
        let begun = match read {
            Some(cursor) => cursor,
            // Earlier batches of a resource of this name keep their numbers.
            None => Cursor::new(self.of, last_number(known).await? + 1),
        };
        if cursor.is_some() && begun.is_new() {
            tracing::warn!(
                "the database, table, query or `high_water` of {} changed, or its kind did: all its rows are \
                 delivered, from the first on",
                self.name
            );
        }
        Ok(begun)
    }

    /// Watches for as long as the database answers.
    async fn session(&self, database: &SqlSpec, known: &dyn KnownPaths, progress: &mut Progress) -> End {
        match self.observe(database, known, progress).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn observe(
        &self,
        database: &SqlSpec,
        known: &dyn KnownPaths,
        progress: &mut Progress,
    ) -> std::result::Result<Infallible, End> {
        let mut source = open(database, &self.rows).await?;
        if matches!(progress.status, Some(Status::Unreachable(_))) {
            self.report(progress, Status::Reconciling);
        }
        // Changes may have happened while the database could not be reached.
        progress.full = None;
        if progress.is_restored {
            self.sift(source.as_mut(), progress).await?;
        }
        let mut trim = tokio::time::interval(self.trim_every);
        loop {
            if let Some(full) = self.kept.full(known).await.map_err(|why| End::Failed(why.to_string()))? {
                self.hold(progress, full);
                self.report(progress, Status::Watching);
                tokio::time::sleep(self.rows.interval.min(FULL_WAIT)).await;
                continue;
            }
            self.sweep(source.as_mut(), progress).await?;
            self.report(progress, Status::Watching);
            if self.kept.is_full() {
                continue;
            }
            let rest = self.rest(source.as_mut(), progress);
            tokio::pin!(rest);
            // Trim even while nothing changes.
            loop {
                tokio::select! {
                    biased;
                    rested = &mut rest => break rested?,
                    _ = trim.tick() => {
                        self.kept.trim(known).await.map_err(|why| End::Failed(why.to_string()))?;
                    }
                }
            }
        }
    }

    /// Forgets the rows from the batches of earlier watches that no look will read again. The
    /// window got all rows of each batch, which may be more than it has room for.
    async fn sift(&self, source: &mut dyn Source, progress: &mut Progress) -> std::result::Result<(), Failure> {
        if progress.window.len() > MANY_ROWS {
            let look = Look { from: progress.cursor.from.as_ref(), settled: None, limit: ALL };
            let (window, identity) = (&progress.window, &progress.identity);
            let mut read: HashMap<RowId, u32> = HashMap::new();
            let mut failed = None;
            let mut take = |row: Row| match identity.of(&row.line) {
                Ok(id) => {
                    if window.times(&id) > 0 {
                        *read.entry(id).or_default() += 1;
                    }
                    ControlFlow::Continue(())
                }
                Err(why) => {
                    failed = Some(why);
                    ControlFlow::Break(())
                }
            };
            source.read(look, &mut take).await?;
            if let Some(why) = failed {
                return Err(why);
            }
            progress.window.retain(&read);
        }
        progress.is_restored = false;
        Ok(())
    }

    /// Waits until a sweep may find something.
    async fn rest(&self, source: &mut dyn Source, progress: &Progress) -> std::result::Result<(), End> {
        loop {
            tokio::select! {
                changed = source.changed(), if progress.held.is_none() => changed?,
                () = tokio::time::sleep(self.rows.interval) => {}
            }
            if progress.held.is_some() {
                if progress.full_is_due(self.full_every()) {
                    return Ok(());
                }
            } else if source.may_have_changed().await? {
                return Ok(());
            }
        }
    }

    fn full_every(&self) -> Duration {
        self.rows.interval.max(self.rows.overlap / FULL_PER_OVERLAP)
    }

    /// Brings everything new on record, as far as the window has room.
    async fn sweep(&self, source: &mut dyn Source, progress: &mut Progress) -> std::result::Result<(), End> {
        let full =
            progress.last.is_none() || progress.window.len() <= FEW_ROWS || progress.full_is_due(self.full_every());
        let mut greatest = None;
        if full {
            progress.full = Some(Instant::now());
            // Asked before the rows are read, so that the look sees all rows up to this value.
            greatest = source.greatest(progress.window.len() <= MANY_ROWS).await?;
            progress.cursor.note_greatest(greatest.as_ref(), SystemClock.now());
        }
        let mut from = if full { progress.cursor.from.clone() } else { progress.last.clone() };
        let mut is_first = true;
        while !self.kept.is_full() {
            let found = self.look(source, progress, from.as_ref(), full).await?;
            fault::point("sql.read");
            let (rows, last) = (found.rows, found.last.clone());
            let stopped = self.deliver(progress, found, full && is_first).await?;
            match stopped {
                None => {
                    progress.held = None;
                    if full {
                        let again = greatest.filter(|_| is_first && rows == 0);
                        self.look_below(source, progress, again).await?;
                    }
                    self.show(progress);
                    return Ok(());
                }
                Some(Stopped::Failed(why)) => return Err(why.into()),
                Some(Stopped::WindowFull) => {
                    progress.hold(last.or(from).as_ref());
                    self.show(progress);
                    return Ok(());
                }
                Some(Stopped::BatchFull) => {}
            }
            (from, is_first) = (last, false);
        }
        Ok(())
    }

    /// Reads rows until a batch is full.
    async fn look(
        &self,
        source: &mut dyn Source,
        progress: &mut Progress,
        from: Option<&Mark>,
        full: bool,
    ) -> std::result::Result<Found, Failure> {
        let settled = progress.cursor.settled(SystemClock.now(), self.rows.overlap).filter(|_| full).cloned();
        let (window, identity) = (&progress.window, &progress.identity);
        // Of this many rows, more than `max_rows` must be new.
        let limit = window.total().saturating_add(self.rows.max_rows).saturating_add(1);
        let look = Look { from, settled: settled.as_ref(), limit };
        let mut found = Found::default();
        let mut take = |row: Row| match found.take(row, window, identity, self.rows.max_rows) {
            None => ControlFlow::Continue(()),
            Some(stopped) => {
                found.stopped = Some(stopped);
                ControlFlow::Break(())
            }
        };
        source.read(look, &mut take).await?;
        if found.stopped.is_none() && found.rows >= limit {
            found.stopped = Some(Stopped::BatchFull);
        }
        Ok(found)
    }

    /// Puts what a look has found on record. `complete` says that this look began a full sweep. If
    /// it was not stopped, it has read every row that may be read again.
    async fn deliver(
        &self,
        progress: &mut Progress,
        found: Found,
        complete: bool,
    ) -> std::result::Result<Option<Stopped>, End> {
        let Found { batch, read, settled, from, last, stopped, .. } = found;
        let number = progress.cursor.next_batch;
        let kept = match batch.path(number, self.rows.format) {
            Some(path) => Some(self.keep(number, path, &batch).await?),
            None => None,
        };
        // From here on only the recording can fail, and then this progress is not used any more.
        for id in &settled {
            progress.window.forget(id);
        }
        for id in &batch.ids {
            progress.window.add(*id, number);
        }
        progress.cursor.from = from.or(progress.cursor.from.take());
        if last.is_some() {
            progress.last = last;
        }
        if complete && stopped.is_none() {
            progress.window.retain(&read);
        }
        if let Some(observation) = kept {
            progress.window.carry(number + 1);
            progress.cursor.carried = progress.window.carried();
            let oldest = progress.window.oldest_batch().unwrap_or(number + 1);
            let unneeded = progress.cursor.oldest_batch..oldest;
            progress.cursor.next_batch = number + 1;
            progress.cursor.oldest_batch = oldest;
            self.record(progress, observation).await?;
            self.recent.remove(unneeded);
        }
        Ok(stopped)
    }

    /// Keeps the bytes of a batch, and returns what to put on record.
    async fn keep(&self, number: u64, path: String, batch: &Batch) -> std::result::Result<Observation, End> {
        let file = self
            .recent
            .write(number, &batch.lines)
            .map_err(|why| End::Failed(format!("its rows cannot be kept in the state folder: {why}")))?;
        let stored = self.store(file, &batch.lines).await.map_err(|why| End::Failed(why.to_string()))?;
        fault::point("sql.kept");
        let Stored { digest, size } = stored;
        Ok(Observation::Present { path, digest: Some(digest), size, stamp: number.to_string() })
    }

    /// Stores the content of a batch. `file` holds its rows as JSON lines.
    async fn store(&self, file: PathBuf, lines: &str) -> Result<Stored> {
        match self.rows.format {
            SqlFormat::Jsonl => {
                let stored = Stored { digest: Digest::of(lines.as_bytes()), size: lines.len() as u64 };
                self.kept.link(file, stored.digest).await?;
                Ok(stored)
            }
            SqlFormat::Csv => {
                let table = csv::from_lines(lines)
                    .map_err(|why| self.unusable(format!("its rows cannot be written as CSV: {why}")))?;
                let mut draft = self.kept.draft()?;
                draft.write(table.as_bytes()).await?;
                self.kept.store(draft).await
            }
        }
    }

    async fn record(&self, progress: &Progress, observation: Observation) -> std::result::Result<(), End> {
        let cursor = progress.cursor.to_text().map_err(|why| End::Failed(why.to_string()))?;
        let as_of = self.sink.as_of();
        // No output is ever published at the path of a batch, so it is never outdated.
        match self.sink.observed(vec![observation], as_of, Some(cursor)).await {
            RecordOutcome::Recorded { .. } => {
                fault::point("sql.told");
                Ok(())
            }
            RecordOutcome::Refused => Err(End::Refused),
        }
    }

    /// Detects rows that came too late: below the value where looks begin. If no row is at or above
    /// it, the values of the column have started over, and `again` is the greatest.
    async fn look_below(
        &self,
        source: &mut dyn Source,
        progress: &mut Progress,
        again: Option<Mark>,
    ) -> std::result::Result<(), Failure> {
        let Some(from) = progress.cursor.from.clone() else { return Ok(()) };
        let known = progress.below.take().filter(|below| below.from == from);
        let Some(mut below) = known else {
            let greatest = source.greatest_between(None, &from).await?;
            let late = again.map(|mark| self.begun_again(&from, &mark));
            progress.below = Some(Below { from, greatest, late });
            return Ok(());
        };
        let above = below.greatest.as_ref();
        if let Some(mark) = again.filter(|mark| above != Some(mark) && below.late.is_none()) {
            below.late = Some(self.begun_again(&from, &mark));
        } else if let Some(mark) = source.greatest_between(above, &from).await? {
            if below.late.is_none() {
                below.late = Some(self.late(&from, &mark));
            }
            below.greatest = Some(mark);
        }
        progress.below = Some(below);
        Ok(())
    }

    /// Warns of rows that came too late, and returns what to show.
    fn late(&self, from: &Mark, mark: &Mark) -> WaitingPath {
        let column = &self.rows.high_water;
        let why = format!(
            "not delivered: they appeared more than `overlap` after `{column}` had reached {from}. If {from} is wrong, \
             correct it in the database; otherwise lengthen `overlap`. To deliver all rows, rename the resource"
        );
        self.below(mark, why)
    }

    fn begun_again(&self, from: &Mark, mark: &Mark) -> WaitingPath {
        let column = &self.rows.high_water;
        let why = format!(
            "not read, because `{column}` had already reached {from}: if its values started over, rename the resource"
        );
        self.below(mark, why)
    }

    fn below(&self, mark: &Mark, reason: String) -> WaitingPath {
        tracing::warn!("rows of {} with `{}` up to {mark} are {reason}", self.name, self.rows.high_water);
        let path = crate::base::escape(format!("rows up to {mark}").as_bytes());
        WaitingPath::of_data(path, reason)
    }

    /// Shows that no row is delivered until runs have ended.
    fn hold(&self, progress: &mut Progress, full: WaitingPath) {
        if progress.held.is_none() {
            tracing::warn!("{} of {} is {}", full.path, self.name, full.reason);
            progress.held = Some(full);
        }
        self.show(progress);
    }

    /// Shows what waits, if that has changed.
    fn show(&self, progress: &mut Progress) {
        let late = progress.below.as_ref().and_then(|below| below.late.as_ref());
        let paths: Vec<WaitingPath> = progress.held.iter().chain(late).cloned().collect();
        if paths != progress.shown {
            self.sink.waiting(Waiting { count: paths.len() as u64, paths: paths.clone() });
            progress.shown = paths;
        }
    }

    fn report(&self, progress: &mut Progress, status: Status) {
        if progress.status.as_ref() != Some(&status) {
            self.sink.status(status.clone());
            progress.status = Some(status);
        }
    }

    fn unusable(&self, why: impl Into<String>) -> ResourceError {
        ResourceError::Unusable { resource: self.name.clone(), why: why.into() }
    }
}

/// Returns the greatest number of a batch on record; 0 if there is none.
async fn last_number(known: &dyn KnownPaths) -> Result<u64> {
    let (mut last, mut cursor) = (0, None);
    loop {
        let page = known.page(cursor).await?;
        last = page.items.iter().filter_map(|it| batch::number(&it.path)).fold(last, u64::max);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(last);
        }
    }
}

impl Progress {
    fn full_is_due(&self, every: Duration) -> bool {
        self.full.is_none_or(|began| began.elapsed() >= every)
    }

    /// Notes that rows `after` this value are delivered only once other rows have settled.
    fn hold(&mut self, after: Option<&Mark>) {
        let Some(mark) = after.filter(|_| self.held.is_none()) else { return };
        let path = crate::base::escape(format!("rows after {mark}").as_bytes());
        let why = format!(
            "waiting, because {MAX_ROWS} rows arrived within `overlap`: shorten `overlap`, or choose a `high_water` \
             column with finer values"
        );
        self.held = Some(WaitingPath::of_data(path, why));
    }
}

impl Found {
    /// Takes the next row. Returns why the look ends with it, if it does.
    fn take(&mut self, row: Row, window: &Window, identity: &Identity, max_rows: u64) -> Option<Stopped> {
        self.rows += 1;
        if row.is_settled && self.from.as_ref() != Some(&row.mark) {
            // Nothing below this value is read again.
            self.settled.extend(self.read.drain().map(|(id, _)| id));
            self.batch.ids.clear();
            self.from = Some(row.mark.clone());
        }
        let id = match identity.of(&row.line) {
            Ok(id) => id,
            Err(why) => return Some(Stopped::Failed(why)),
        };
        let times = self.read.entry(id).or_default();
        *times = times.saturating_add(1);
        if *times > window.times(&id) {
            if window.len() + self.batch.ids.len() >= MAX_ROWS {
                return Some(Stopped::WindowFull);
            }
            self.last = Some(row.mark.clone());
            self.batch.push(id, row);
        } else {
            self.last = Some(row.mark);
        }
        self.batch.is_full(max_rows).then_some(Stopped::BatchFull)
    }
}
