//! Log lines: append-only segments of JSON lines.
//!
//! Segments are `00000001.jsonl` and so on. A new one begins at 64 MiB, or earlier if the bound of
//! the log is small. They contain the lines of all attempts in the order in which they came. An
//! attempt's record says where its lines begin and end, and that is the only index: reading scans
//! the bytes in between, and recognises the lines of other attempts by their first 90 bytes,
//! without parsing them. A page's cursor is the position at which reading stopped, even if it found
//! nothing. So all pages of an attempt together scan its bytes once, however many other lines lie
//! in between, and one call scans at most 64 MiB. Rejected: a file per attempt (a million runs, a
//! million files), rows in the database (they would also pass through its log), and a finer index
//! (it would save one pass at memory speed, which is not worth the upkeep).
//!
//! What [`LogStore::append`] has returned survives the death of the process. Nobody sees a partial
//! line: a reader skips a line without its end, and a host that opens the segments for writing cuts
//! off a line that a crash left incomplete.
//!
//! Removing whole segments, oldest first, keeps the log within its bounds. A position whose segment
//! is missing, while a later segment exists, lies in a removed part: so removals need no record.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::base::bounds::{MAX_PAGE, cut};
use crate::base::{AttemptId, Clock as _, Freed, SystemClock, escape};
use crate::model::{LogLine, LogPosition, LogRange};

use super::backward::last_lines;
use super::segment::{cut_at_last_line, find_segments, first_time, path_of};
use super::{LogPage, LogStore, LogTail};
use crate::store::presence::{LOOK_EVERY, identity, lost};
use crate::store::{Result, StoreError};

/// A segment of this size, in bytes, gets no more lines. A small bound of the log requires smaller
/// segments.
const MAX_SEGMENT_BYTES: u64 = 64 << 20;
/// The smallest size of a segment, in bytes.
const MIN_SEGMENT_BYTES: u64 = 64 << 10;
/// How many segments the bound of the log is divided into. Trimming removes one at a time.
const SEGMENTS: u64 = 16;
/// How many segments the lines of the time for which they are kept are divided into. The newest two
/// always stay.
const SEGMENTS_OF_AGE: u32 = 8;
/// The most bytes that one call of [`LogStore::read`] scans.
const MAX_SCAN_BYTES: u64 = 64 << 20;
/// How many bytes [`LogStore::probe`] writes: about as many as an attempt appends at once.
const PROBE_BYTES: usize = 256 << 10;
/// The most bytes of a line that is read. The host writes no longer lines.
const MAX_LINE_BYTES: u64 = 8 << 20;

/// The log segments of a pipeline.
#[derive(Debug)]
pub(super) struct SegmentLog {
    folder: PathBuf,
    /// Absent if it was opened for reading only.
    writer: Option<Mutex<Writer>>,
    segment_bytes: u64,
    max_bytes: u64,
    /// How many segments were completed since the log was opened.
    sealed: watch::Sender<u64>,
}

/// A position in the segments, which a [`LogPosition`] of this log encodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct SegmentOffset {
    /// The segment's number, from 1; 0 is before everything.
    segment: u64,
    /// The byte in it.
    offset: u64,
}

impl From<LogPosition> for SegmentOffset {
    fn from(position: LogPosition) -> Self {
        let (segment, offset) = position.parts();
        Self { segment, offset }
    }
}

impl From<SegmentOffset> for LogPosition {
    fn from(position: SegmentOffset) -> Self {
        Self::from_parts((position.segment, position.offset))
    }
}

/// The segment that is being written.
#[derive(Debug)]
struct Writer {
    file: File,
    end: SegmentOffset,
}

impl SegmentLog {
    /// Opens the segments in `folder` for appending; makes the folder if need be; cuts the last
    /// segment at its last whole line.
    pub(super) fn open(folder: &Path, max_bytes: u64) -> Result<Self> {
        let segment_bytes = (max_bytes / SEGMENTS).clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES);
        Self::open_with(folder, max_bytes, segment_bytes)
    }

    pub(super) fn open_with(folder: &Path, max_bytes: u64, segment_bytes: u64) -> Result<Self> {
        let failed = |error| unavailable("open the log in", folder, &error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let segment = find_segments(folder).map_err(failed)?.last().copied().unwrap_or(1);
        let mut file = open_segment(folder, segment).map_err(failed)?;
        let offset = cut_at_last_line(&mut file).map_err(failed)?;
        let writer = Some(Mutex::new(Writer { file, end: SegmentOffset { segment, offset } }));
        let log = Self { folder: folder.to_owned(), writer, segment_bytes, max_bytes, sealed: watch::Sender::new(0) };
        if let Some(mut writer) = log.writer() {
            log.seal_if_full(&mut writer).map_err(failed)?;
        }
        Ok(log)
    }

    /// Opens the segments for reading only, while a host may write them.
    pub(super) fn open_read_only(folder: &Path) -> Result<Self> {
        std::fs::read_dir(folder).map_err(|error| unavailable("open the log in", folder, &error))?;
        let (segment_bytes, max_bytes) = (MAX_SEGMENT_BYTES, u64::MAX);
        Ok(Self { folder: folder.to_owned(), writer: None, segment_bytes, max_bytes, sealed: watch::Sender::new(0) })
    }

    fn writer(&self) -> Option<MutexGuard<'_, Writer>> {
        Some(self.writer.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The error of a write to a log that is opened for reading only.
    fn is_read_only(&self) -> StoreError {
        StoreError::Conflict(format!("the log in {} is open for reading only", self.folder.display()))
    }

    /// Begins the next segment if this one is full.
    fn seal_if_full(&self, writer: &mut Writer) -> std::io::Result<()> {
        if writer.end.offset >= self.segment_bytes {
            writer.roll(&self.folder)?;
            self.sealed.send_modify(|sealed| *sealed += 1);
        }
        Ok(())
    }

    /// Begins the next segment if the first line of this one is older than `age`: a segment that
    /// fills slowly would keep its oldest lines for as long as its newest.
    fn seal_if_old(&self, age: Duration) -> std::io::Result<()> {
        let Some(mut writer) = self.writer() else { return Ok(()) };
        let began = first_time(&path_of(&self.folder, writer.end.segment))?;
        if began.is_some_and(|began| SystemClock.now().since(began) > age) {
            writer.roll(&self.folder)?;
        }
        Ok(())
    }

    fn end_of_files(&self) -> Option<SegmentOffset> {
        let segment = find_segments(&self.folder).ok()?.last().copied()?;
        let offset = std::fs::metadata(path_of(&self.folder, segment)).ok()?.len();
        Some(SegmentOffset { segment, offset })
    }
}

#[async_trait]
impl LogStore for SegmentLog {
    fn end(&self) -> LogPosition {
        match self.writer() {
            Some(writer) => writer.end.into(),
            None => self.end_of_files().unwrap_or_default().into(),
        }
    }

    fn append(&self, lines: &[LogLine]) -> Result<u64> {
        let Some(writer) = &self.writer else { return Err(self.is_read_only()) };
        let mut bytes = Vec::with_capacity(lines.len() * 256);
        for line in lines {
            serde_json::to_writer(&mut bytes, line)
                .map_err(|error| StoreError::Invalid(format!("a log line cannot be written as JSON: {error}")))?;
            bytes.push(b'\n');
        }
        let failed = |error| unavailable("write the log in", &self.folder, &error);
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.seal_if_full(&mut writer).map_err(failed)?;
        writer.append(&bytes).map_err(failed)?;
        // Seal now, so that the end of the log is in the segment that gets the next line. The lines
        // are written: if the next segment cannot be created now, the next call creates it.
        let _ = self.seal_if_full(&mut writer);
        Ok(bytes.len() as u64)
    }

    fn probe(&self) -> Result<()> {
        let Some(mut writer) = self.writer() else { return Err(self.is_read_only()) };
        let failed = |error| unavailable("write the log in", &self.folder, &error);
        self.seal_if_full(&mut writer).map_err(failed)?;
        writer.probe().map_err(failed)
    }

    fn read(&self, attempt: AttemptId, range: LogRange, cursor: Option<&str>, limit: u32) -> Result<LogPage> {
        let failed = |error| unavailable("read the log in", &self.folder, &error);
        let (from, to) = (SegmentOffset::from(range.from), range.to);
        let at = cursor.map(parse_cursor).transpose()?.unwrap_or(from).max(from);
        let mut scan = Scan {
            attempt: mark_of(attempt),
            to: to.map_or(SegmentOffset { segment: u64::MAX, offset: u64::MAX }, SegmentOffset::from),
            at,
            left: MAX_SCAN_BYTES,
            limit: limit.clamp(1, MAX_PAGE) as usize,
            lines: Vec::new(),
            removed: false,
        };
        let mut expected = at.segment.max(1);
        let segments = find_segments(&self.folder).map_err(failed)?;
        for segment in segments.into_iter().filter(|segment| *segment >= at.segment) {
            if scan.is_done() {
                break;
            }
            scan.removed |= segment > expected;
            expected = segment + 1;
            if segment > scan.to.segment {
                break;
            }
            if segment > scan.at.segment {
                scan.at = SegmentOffset { segment, offset: 0 };
            }
            match File::open(path_of(&self.folder, segment)) {
                Ok(file) => scan.segment(file).map_err(failed)?,
                // It was removed since the folder was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => scan.removed = true,
                Err(error) => return Err(failed(error)),
            }
        }
        // `to` may lie beyond the end: a power cut loses the last lines, and no others will follow.
        let reached = scan.at >= scan.to || (!scan.is_done() && to.is_some());
        let next_cursor = (!reached).then(|| format!("{}-{}", scan.at.segment, scan.at.offset));
        Ok(LogPage { items: scan.lines, next_cursor, removed: scan.removed })
    }

    fn tail(&self, attempt: AttemptId, range: LogRange, before: Option<&str>, limit: u32) -> Result<LogTail> {
        let failed = |error| unavailable("read the log in", &self.folder, &error);
        let (from, to) = (SegmentOffset::from(range.from), SegmentOffset::from(range.to.unwrap_or_else(|| self.end())));
        let end = before.map(parse_cursor).transpose()?.map_or(to, |before| before.min(to));
        let (places, mark) = (((from.segment, from.offset), (end.segment, end.offset)), mark_of(attempt));
        let limit = limit.clamp(1, MAX_PAGE) as usize;
        let found = last_lines(&self.folder, places, limit, &|line| is_of_attempt(&mark, line)).map_err(failed)?;
        let first = found.stopped.or_else(|| found.lines.last().map(|(place, _)| *place)).unwrap_or(places.1);
        let lines = found.lines.iter().rev().filter_map(|(_, line)| serde_json::from_slice(line).ok());
        Ok(LogTail {
            items: lines.collect(),
            first: format!("{}-{}", first.0, first.1),
            earlier: found.stopped.is_some_and(|place| place > places.0),
            removed: found.removed,
        })
    }

    fn trim(&self, needed: &[LogRange], keep_for: Option<Duration>, dry_run: bool) -> Result<Freed> {
        let failed = |error| unavailable("look at the log in", &self.folder, &error);
        let Some(newest) = self.writer().map(|writer| writer.end.segment) else { return Err(self.is_read_only()) };
        let is_needed = |segment: u64| {
            needed.iter().any(|range| {
                let to = range.to.map_or(u64::MAX, |to| SegmentOffset::from(to).segment);
                (SegmentOffset::from(range.from).segment..=to).contains(&segment)
            })
        };
        let now = SystemTime::now();
        let mut segments = Vec::new();
        for segment in find_segments(&self.folder).map_err(failed)? {
            let file = path_of(&self.folder, segment);
            let about = std::fs::metadata(&file).map_err(failed)?;
            let age = about.modified().ok().and_then(|written| now.duration_since(written).ok());
            let is_old = keep_for.zip(age).is_some_and(|(keep_for, age)| age > keep_for);
            segments.push((segment, file, about.len(), is_old));
        }
        let mut left: u64 = segments.iter().map(|(_, _, bytes, _)| bytes).sum();
        let mut freed = Freed::default();
        // Keep the newest and the one before it: an attempt whose start is being recorded may begin
        // in them.
        let may_go = segments.iter().filter(|(segment, ..)| segment + 1 < newest && !is_needed(*segment));
        for (_, file, bytes, is_old) in may_go {
            if (left > self.max_bytes || *is_old) && (dry_run || std::fs::remove_file(file).is_ok()) {
                left -= bytes;
                freed.add(*bytes);
            }
        }
        if let Some(keep_for) = keep_for.filter(|_| !dry_run) {
            self.seal_if_old(keep_for / SEGMENTS_OF_AGE).map_err(failed)?;
        }
        Ok(freed)
    }

    fn grown(&self) -> watch::Receiver<u64> {
        self.sealed.subscribe()
    }

    async fn lost(&self) -> String {
        let Some(writer) = &self.writer else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let segment = {
                let writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                writer.file.metadata().map(|about| (path_of(&self.folder, writer.end.segment), identity(&about)))
            };
            if let Some(what) = segment.ok().and_then(|(path, before)| lost(&path, before)) {
                return what;
            }
        }
    }
}

fn open_segment(folder: &Path, segment: u64) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path_of(folder, segment))
}

fn unavailable(doing: &str, folder: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable { doing: format!("{doing} {}", folder.display()), why: error.to_string() }
}

fn parse_cursor(cursor: &str) -> Result<SegmentOffset> {
    let parts =
        cursor.split_once('-').and_then(|(segment, offset)| Some((segment.parse().ok()?, offset.parse().ok()?)));
    let (segment, offset) = parts.ok_or_else(|| {
        let shown = escape(cut(cursor, 100).as_bytes());
        StoreError::Invalid(format!("`{shown}` is not a cursor of a log; use `next_cursor` of the previous page"))
    })?;
    Ok(SegmentOffset { segment, offset })
}

impl Writer {
    /// Begins the next segment.
    fn roll(&mut self, folder: &Path) -> std::io::Result<()> {
        let segment = self.end.segment + 1;
        self.file = open_segment(folder, segment)?;
        self.end = SegmentOffset { segment, offset: 0 };
        Ok(())
    }

    /// Writes and takes back what is no line: readers and the next start ignore it.
    fn probe(&mut self) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end.offset))?;
        let written = self.file.write_all(&vec![b' '; PROBE_BYTES]);
        self.file.set_len(self.end.offset)?;
        written
    }

    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        // Start at the known end, not where the last write stopped, to overwrite the partial line
        // of a failed write.
        self.file.seek(SeekFrom::Start(self.end.offset))?;
        if let Err(error) = self.file.write_all(bytes) {
            // If that fails as well, the next write or the next start cuts the line off.
            let _ = self.file.set_len(self.end.offset);
            return Err(error);
        }
        self.end.offset += bytes.len() as u64;
        Ok(())
    }
}

/// A pass through the segments.
struct Scan {
    /// The mark of the attempt's lines.
    attempt: String,
    to: SegmentOffset,
    at: SegmentOffset,
    /// How many bytes may still be read.
    left: u64,
    limit: usize,
    lines: Vec<LogLine>,
    /// Whether segments that belong to the pass were removed.
    removed: bool,
}

impl Scan {
    fn is_done(&self) -> bool {
        self.at >= self.to || self.lines.len() == self.limit || self.left == 0
    }

    /// Reads one segment, from the current position.
    fn segment(&mut self, mut file: File) -> std::io::Result<()> {
        file.seek(SeekFrom::Start(self.at.offset))?;
        let mut reader = BufReader::with_capacity(256 << 10, file);
        let mut line = Vec::with_capacity(1024);
        while !self.is_done() {
            line.clear();
            let taken = std::io::Read::take(&mut reader, MAX_LINE_BYTES).read_until(b'\n', &mut line)? as u64;
            if line.last() != Some(&b'\n') && taken < MAX_LINE_BYTES {
                // The end, or a line that is being written.
                return Ok(());
            }
            self.at.offset += taken;
            self.left = self.left.saturating_sub(taken);
            if is_of_attempt(&self.attempt, &line)
                && let Ok(parsed) = serde_json::from_slice(&line)
            {
                self.lines.push(parsed);
            }
        }
        Ok(())
    }
}

/// Returns the text that follows the time in every line of an attempt.
fn mark_of(attempt: AttemptId) -> String {
    format!(",\"attempt\":\"{attempt}\"")
}

/// Returns whether a line has the mark of an attempt, without parsing it: every line begins with
/// `{"t":"…","attempt":"…"`.
fn is_of_attempt(mark: &str, line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"{\"t\":\"") else { return false };
    let Some(end) = rest.iter().take(64).position(|byte| *byte == b'"') else { return false };
    rest.get(end + 1..).is_some_and(|rest| rest.starts_with(mark.as_bytes()))
}
