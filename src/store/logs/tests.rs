use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::LogStore as _;
use super::segment::{find_segments, path_of};
use super::segments::SegmentLog;
use crate::base::{AttemptId, Freed, Timestamp};
use crate::model::{LogLevel, LogLine, LogPosition, LogRange, LogStream};
use crate::store::StoreError;

fn line(attempt: AttemptId, n: u64, text: &str) -> LogLine {
    LogLine {
        t: Timestamp::from_micros(1_772_366_400_000_000),
        attempt,
        n,
        level: LogLevel::Info,
        stream: LogStream::Log,
        text: text.to_owned(),
        fields: vec![("k".to_owned(), "v".to_owned())],
    }
}

/// All lines of an attempt, page by page, and how many pages it took.
fn read_all(
    log: &SegmentLog,
    attempt: AttemptId,
    from: LogPosition,
    to: Option<LogPosition>,
    limit: u32,
) -> (Vec<u64>, usize) {
    let (mut numbers, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let page = log.read(attempt, LogRange { from, to }, cursor.as_deref(), limit).unwrap();
        pages += 1;
        let empty = page.items.is_empty();
        numbers.extend(page.items.iter().map(|line| line.n));
        match page.next_cursor {
            None => return (numbers, pages),
            Some(_) if empty && to.is_none() => return (numbers, pages),
            next => cursor = next,
        }
    }
}

#[test]
fn lines_of_one_attempt_are_paged_across_segments() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentLog::open_with(&folder.path().join("logs"), u64::MAX, 2_000).unwrap();
    let (ours, theirs) = (AttemptId::new(), AttemptId::new());
    log.append(&[line(theirs, 1, "before")]).unwrap();
    let from = log.end();
    let mut bytes = 0;
    for n in 1..=50 {
        bytes += log.append(&[line(ours, n, "a \"quoted\" line\u{1b}")]).unwrap();
        log.append(&[line(theirs, n, &format!("it names {ours}: \",\"attempt\":\"{ours}\""))]).unwrap();
    }
    let to = log.end();
    log.append(&[line(ours, 51, "after")]).unwrap();
    assert!(find_segments(&folder.path().join("logs")).unwrap().len() > 5);
    assert!(bytes > 50 * 100);
    let expected: Vec<u64> = (1..=50).collect();
    for limit in [1, 7, 50, 1000] {
        assert_eq!(read_all(&log, ours, from, Some(to), limit).0, expected, "pages of {limit}");
    }
    assert_eq!(read_all(&log, ours, from, None, 7).0, (1..=51).collect::<Vec<_>>());
    let first = log.read(ours, LogRange { from, to: Some(to) }, None, 1).unwrap().items.remove(0);
    assert_eq!(first, line(ours, 1, "a \"quoted\" line\u{1b}"));
    let beside = SegmentLog::open_read_only(&folder.path().join("logs")).unwrap();
    assert_eq!(read_all(&beside, ours, from, Some(to), 7).0, expected);
    assert_eq!(beside.end(), log.end());
    assert!(matches!(beside.append(&[line(ours, 1, "x")]), Err(StoreError::Conflict(_))));
}

#[test]
fn the_last_lines_are_found_from_the_end_and_paged_backwards() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentLog::open_with(&folder.path().join("logs"), u64::MAX, 2_000).unwrap();
    let (ours, theirs) = (AttemptId::new(), AttemptId::new());
    log.append(&[line(theirs, 1, "before")]).unwrap();
    let from = log.end();
    for n in 1..=50 {
        // Longer than a block.
        let text = if n == 20 { "x".repeat(600 << 10) } else { format!("line {n}") };
        log.append(&[line(ours, n, &text), line(theirs, n, "between")]).unwrap();
    }
    let to = log.end();
    log.append(&[line(ours, 51, "after")]).unwrap();
    let numbers = |before: Option<&str>, to, limit| {
        let tail = log.tail(ours, LogRange { from, to }, before, limit).unwrap();
        (tail.items.iter().map(|line| line.n).collect::<Vec<_>>(), tail)
    };
    assert_eq!(numbers(None, None, 2).0, [50, 51]);
    for limit in [1, 7, 50, 1000] {
        let (mut found, mut before, mut more) = (Vec::new(), None, true);
        while more {
            let (page, tail) = numbers(before.as_deref(), Some(to), limit);
            let count = u32::try_from(tail.items.len()).unwrap();
            let again = log.read(ours, LogRange { from, to: Some(to) }, Some(&tail.first), count).unwrap();
            assert_eq!(again.items, tail.items, "the first line's cursor leads to the same page");
            found.splice(0..0, page);
            (before, more) = (Some(tail.first), tail.earlier);
            assert!(!tail.removed);
        }
        assert_eq!(found, (1..=50).collect::<Vec<_>>(), "pages of {limit}");
    }
    assert!(matches!(log.tail(ours, LogRange { from, to: None }, Some("x"), 5), Err(StoreError::Invalid(_))));
    let nobody = log.tail(AttemptId::new(), LogRange { from, to: Some(to) }, None, 5).unwrap();
    assert!(nobody.items.is_empty() && !nobody.earlier);
    let logs = folder.path().join("logs");
    std::fs::remove_file(path_of(&logs, find_segments(&logs).unwrap()[0])).unwrap();
    assert!(numbers(None, Some(to), 1000).1.removed);
}

#[test]
fn a_cursor_at_the_end_finds_later_lines() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentLog::open(folder.path(), u64::MAX).unwrap();
    let attempt = AttemptId::new();
    let from = log.end();
    let open = LogRange { from, to: None };
    let empty = log.read(attempt, open, None, 10).unwrap();
    assert_eq!(empty.items, []);
    log.append(&[line(attempt, 1, "one")]).unwrap();
    let page = log.read(attempt, open, empty.next_cursor.as_deref(), 10).unwrap();
    assert_eq!(page.items.len(), 1);
    log.append(&[line(AttemptId::new(), 1, "a sibling"), line(attempt, 2, "two")]).unwrap();
    let page = log.read(attempt, open, page.next_cursor.as_deref(), 10).unwrap();
    assert_eq!(page.items.iter().map(|line| line.n).collect::<Vec<_>>(), [2]);
    let page = log.read(attempt, LogRange { from, to: Some(log.end()) }, page.next_cursor.as_deref(), 10).unwrap();
    assert_eq!((page.items.len(), page.next_cursor), (0, None));
    for bad in ["", "1", "x-1", "1-x", "1-2-3"] {
        assert!(matches!(log.read(attempt, open, Some(bad), 10), Err(StoreError::Invalid(_))), "{bad}");
    }
}

#[test]
fn opening_truncates_a_partial_line_and_later_lines_are_complete() {
    let folder = tempfile::tempdir().unwrap();
    let attempt = AttemptId::new();
    let log = SegmentLog::open(folder.path(), u64::MAX).unwrap();
    log.append(&[line(attempt, 1, "whole")]).unwrap();
    let end = log.end();
    drop(log);
    for left in ["{\"t\":\"20", &"x".repeat(200_000)] {
        let mut file = std::fs::File::options().append(true).open(path_of(folder.path(), 1)).unwrap();
        file.write_all(left.as_bytes()).unwrap();
        let beside = SegmentLog::open_read_only(folder.path()).unwrap();
        assert_eq!(
            read_all(&beside, attempt, LogPosition::default(), None, 10).0,
            [1],
            "a partial line does not count"
        );
        let log = SegmentLog::open(folder.path(), u64::MAX).unwrap();
        assert_eq!(log.end(), end);
    }
    let log = SegmentLog::open(folder.path(), u64::MAX).unwrap();
    log.append(&[line(attempt, 2, "next")]).unwrap();
    assert_eq!(read_all(&log, attempt, LogPosition::default(), Some(log.end()), 10).0, [1, 2]);
    std::fs::write(path_of(folder.path(), 2), "no line feed at all").unwrap();
    let log = SegmentLog::open(folder.path(), u64::MAX).unwrap();
    assert_eq!(log.end(), LogPosition::from_parts((2, 0)));
}

#[test]
fn a_range_that_ends_after_the_log_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentLog::open(folder.path(), u64::MAX).unwrap();
    let attempt = AttemptId::new();
    log.append(&[line(attempt, 1, "kept")]).unwrap();
    let lost = LogPosition::from_parts((1, log.end().parts().1 + 1_000));
    assert_eq!(read_all(&log, attempt, LogPosition::default(), Some(lost), 10), (vec![1], 1));
}

#[test]
fn readers_see_complete_lines_in_order_during_writes() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(SegmentLog::open_with(folder.path(), u64::MAX, 50_000).unwrap());
    let (ours, theirs) = (AttemptId::new(), AttemptId::new());
    let stop = Arc::new(AtomicBool::new(false));
    let flood = {
        let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                log.append(&[line(theirs, 1, &"noise".repeat(50))]).unwrap();
            }
        })
    };
    let writer = {
        let log = Arc::clone(&log);
        std::thread::spawn(move || {
            for n in 1..=500 {
                log.append(&[line(ours, n, "ours")]).unwrap();
            }
        })
    };
    let beside = SegmentLog::open_read_only(folder.path()).unwrap();
    let (mut seen, mut cursor) = (Vec::new(), None);
    let everything = LogRange { from: LogPosition::default(), to: None };
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while seen.len() < 500 && std::time::Instant::now() < deadline {
        let page = beside.read(ours, everything, cursor.as_deref(), 16).unwrap();
        seen.extend(page.items.iter().map(|line| line.n));
        cursor = page.next_cursor;
    }
    stop.store(true, Ordering::SeqCst);
    writer.join().unwrap();
    flood.join().unwrap();
    assert_eq!(seen, (1..=500).collect::<Vec<_>>());
}

/// A log of ten attempts, one after another, each of which fills two and a half segments, and the
/// ranges of their lines.
fn ten_attempts(folder: &std::path::Path, max_bytes: u64) -> (SegmentLog, Vec<(AttemptId, LogRange)>) {
    let log = SegmentLog::open_with(folder, max_bytes, 2_000).unwrap();
    let attempts = (0..10).map(|_| {
        let (attempt, from) = (AttemptId::new(), log.end());
        let bytes: u64 = (1..=20).map(|n| log.append(&[line(attempt, n, &"x".repeat(100))]).unwrap()).sum();
        assert!((4_000..6_000).contains(&bytes), "{bytes}");
        (attempt, LogRange { from, to: Some(log.end()) })
    });
    let attempts = attempts.collect();
    (log, attempts)
}

/// How many lines of an attempt are left, and whether the log says that some were removed.
fn left(log: &SegmentLog, (attempt, range): &(AttemptId, LogRange)) -> (usize, bool) {
    let (mut lines, mut removed, mut cursor) = (0, false, None::<String>);
    loop {
        let page = log.read(*attempt, *range, cursor.as_deref(), 7).unwrap();
        lines += page.items.len();
        removed |= page.removed;
        cursor = page.next_cursor;
        if cursor.is_none() {
            return (lines, removed);
        }
    }
}

fn bytes_in(folder: &std::path::Path) -> u64 {
    find_segments(folder).unwrap().iter().map(|it| std::fs::metadata(path_of(folder, *it)).unwrap().len()).sum()
}

#[test]
fn trimming_removes_the_oldest_segments_and_readers_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (log, attempts) = ten_attempts(folder.path(), 20_000);
    let before = bytes_in(folder.path());
    assert!(before > 40_000, "{before}");
    let all: Vec<_> = attempts.iter().map(|attempt| left(&log, attempt)).collect();
    assert_eq!(all, [(20, false); 10]);
    let dry = log.trim(&[], None, true).unwrap();
    assert_eq!(bytes_in(folder.path()), before, "nothing was removed");
    let freed = log.trim(&[], None, false).unwrap();
    assert_eq!(freed, dry);
    let after = bytes_in(folder.path());
    assert_eq!(before - after, freed.bytes);
    assert!((17_500..=20_000).contains(&after), "{after}");
    let kept: Vec<_> = attempts.iter().map(|attempt| left(&log, attempt)).collect();
    assert_eq!((kept[0], kept[1]), ((0, true), (0, true)));
    assert_eq!((kept[8], kept[9]), ((20, false), (20, false)));
    let cut = kept.iter().find(|(lines, _)| (1..20).contains(lines));
    assert!(cut.is_none_or(|(_, removed)| *removed), "{kept:?}");
    assert!(kept.iter().all(|(lines, removed)| *removed == (*lines < 20)), "{kept:?}");
    assert_eq!(log.trim(&[], None, false).unwrap(), Freed::default(), "the log is within the bound");
    drop(log);
    let beside = SegmentLog::open_read_only(folder.path()).unwrap();
    assert_eq!(left(&beside, &attempts[0]), (0, true));
    assert!(matches!(beside.trim(&[], None, false), Err(StoreError::Conflict(_))));
    let log = SegmentLog::open_with(folder.path(), 20_000, 2_000).unwrap();
    assert_eq!(log.end(), attempts[9].1.to.unwrap(), "the next host continues where the last one ended");
}

#[test]
fn logs_of_unfinished_runs_are_kept_beyond_the_bound() {
    let folder = tempfile::tempdir().unwrap();
    let (log, attempts) = ten_attempts(folder.path(), 1);
    let (third, sixth) = (attempts[2].1, LogRange { to: None, ..attempts[5].1 });
    log.trim(&[third, sixth], None, false).unwrap();
    let kept: Vec<_> = attempts.iter().map(|attempt| left(&log, attempt)).collect();
    for number in [2, 5, 6, 7, 8, 9] {
        assert_eq!(kept[number], (20, false), "{number}: {kept:?}");
    }
    for number in [0, 1, 3, 4] {
        assert!(kept[number].0 < 20 && kept[number].1, "{number}: {kept:?}");
    }
    assert!(log.read(attempts[4].0, attempts[4].1, None, 1).unwrap().removed, "there is a gap");
    log.trim(&[], None, false).unwrap();
    assert_eq!(find_segments(folder.path()).unwrap().len(), 2, "the newest and the one before it");
}

#[test]
fn old_lines_are_removed_within_the_bound_and_a_slow_segment_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (log, attempts) = ten_attempts(folder.path(), 1 << 30);
    log.append(&[line(AttemptId::new(), 1, "of another")]).unwrap();
    let (day, (newest, offset)) = (Duration::from_hours(24), log.end().parts());
    assert!(offset > 0, "the newest segment has lines");
    assert_eq!(log.trim(&[], Some(day), true).unwrap(), Freed::default(), "nothing is old");
    assert_eq!(log.end().parts(), (newest, offset));
    // The lines say that they were written long ago.
    assert_eq!(log.trim(&[], Some(day), false).unwrap(), Freed::default());
    assert_eq!(log.end().parts(), (newest + 1, 0));
    for segment in 1..=newest / 2 {
        let file = std::fs::File::options().append(true).open(path_of(folder.path(), segment)).unwrap();
        file.set_modified(SystemTime::now() - day * 2).unwrap();
    }
    let (needed, before) = ([attempts[1].1], bytes_in(folder.path()));
    let told = log.trim(&needed, Some(day), true).unwrap();
    assert_eq!(bytes_in(folder.path()), before, "nothing was removed");
    assert_eq!(log.trim(&needed, Some(day), false).unwrap(), told);
    assert_eq!(before - bytes_in(folder.path()), told.bytes);
    let kept: Vec<_> = attempts.iter().map(|attempt| left(&log, attempt)).collect();
    assert!(kept[0].0 < 20 && kept[0].1 && kept[2].0 < 20, "{kept:?}");
    assert_eq!((kept[1], kept[8], kept[9]), ((20, false), (20, false), (20, false)));
    log.append(&[line(attempts[9].0, 21, "goes on")]).unwrap();
    assert_eq!(log.end().parts().0, newest + 1);
}

#[test]
fn each_full_segment_is_announced() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentLog::open_with(folder.path(), 1, 2_000).unwrap();
    let mut grown = log.grown();
    let attempt = AttemptId::new();
    log.append(&[line(attempt, 1, "short")]).unwrap();
    assert!(!grown.has_changed().unwrap());
    log.append(&[line(attempt, 2, &"long".repeat(500))]).unwrap();
    assert!(grown.has_changed().unwrap());
    grown.borrow_and_update();
    assert_eq!(log.end(), LogPosition::from_parts((2, 0)));
    drop(log);
    std::fs::write(path_of(folder.path(), 2), "x".repeat(1_999) + "\n").unwrap();
    let log = SegmentLog::open_with(folder.path(), 1, 2_000).unwrap();
    assert_eq!(log.end(), LogPosition::from_parts((3, 0)), "a host crashed before it began the next segment");
}

#[test]
fn a_probe_says_whether_lines_can_be_appended_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("logs");
    let log = SegmentLog::open_with(&place, u64::MAX, 2_000).unwrap();
    let attempt = AttemptId::new();
    let from = log.end();
    log.append(&[line(attempt, 1, "before")]).unwrap();
    let (end, bytes) = (log.end(), std::fs::metadata(path_of(&place, 1)).unwrap().len());
    log.probe().unwrap();
    assert_eq!((log.end(), std::fs::metadata(path_of(&place, 1)).unwrap().len()), (end, bytes));
    log.append(&[line(attempt, 2, "after")]).unwrap();
    assert_eq!(read_all(&log, attempt, from, None, 10).0, [1, 2]);
    let read_only = SegmentLog::open_read_only(&place).unwrap();
    assert!(matches!(read_only.probe(), Err(StoreError::Conflict(_))));
}

#[test]
fn what_a_probe_leaves_when_it_is_killed_is_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("logs");
    let attempt = AttemptId::new();
    let from = {
        let log = SegmentLog::open_with(&place, u64::MAX, 2_000).unwrap();
        log.append(&[line(attempt, 1, "before")]).unwrap();
        LogPosition::default()
    };
    let mut segment = std::fs::OpenOptions::new().append(true).open(path_of(&place, 1)).unwrap();
    segment.write_all(&vec![b' '; 256 << 10]).unwrap();
    let beside = SegmentLog::open_read_only(&place).unwrap();
    assert_eq!(read_all(&beside, attempt, from, None, 10).0, [1]);
    let tail = beside.tail(attempt, LogRange { from, to: None }, None, 10).unwrap();
    assert_eq!(tail.items.iter().map(|line| line.n).collect::<Vec<_>>(), [1]);
    let log = SegmentLog::open_with(&place, u64::MAX, 2_000).unwrap();
    log.append(&[line(attempt, 2, "after")]).unwrap();
    assert_eq!(read_all(&log, attempt, from, None, 10).0, [1, 2]);
}
