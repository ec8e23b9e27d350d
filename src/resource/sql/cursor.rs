//! The cursor of a watched database, which is on record with each batch.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::source::Mark;
use crate::base::{Digest, Timestamp};

/// How far the rows have been delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Which rows it belongs to: their database, their table or query, and the column that grows.
    of: Digest,
    /// The number of the next batch.
    pub(super) next_batch: u64,
    /// The oldest batch that may contain a row from `from` on. Its rows, and those of later
    /// batches, must not be delivered again.
    pub(super) oldest_batch: u64,
    /// The value at which a full sweep has to begin: all rows below it are delivered. Absent until
    /// a row has settled.
    pub(super) from: Option<Mark>,
    /// The greatest values that looks have seen, each with the time at which a look first saw it.
    /// The first entry is the newest that is older than the overlap; if none is, the oldest.
    greatest: VecDeque<Seen>,
    /// See [`super::window::Window::carry`].
    #[serde(default)]
    pub(super) carried: Vec<String>,
}

/// A greatest value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Seen {
    at: Timestamp,
    mark: Mark,
}

impl Cursor {
    /// The cursor before the first look. `next_batch` is above the numbers on record.
    pub(super) fn new(of: Digest, next_batch: u64) -> Self {
        Self { of, next_batch, oldest_batch: next_batch, from: None, greatest: VecDeque::new(), carried: Vec::new() }
    }

    /// Reads a cursor from the record. If the cursor belongs to other rows, the rows are read from
    /// the start, and only the numbers of batches continue. `None` if the text is the cursor of
    /// another kind of resource.
    pub(super) fn read(text: &str, of: Digest) -> Option<Self> {
        let read: Self = serde_json::from_str(text).ok()?;
        Some(if read.of == of { read } else { Self::new(of, read.next_batch) })
    }

    /// Returns whether it is about to read the rows from the start.
    pub(super) fn is_new(&self) -> bool {
        self.oldest_batch == self.next_batch && self.greatest.is_empty()
    }

    /// Returns the text for the record.
    ///
    /// # Errors
    /// If a value cannot be serialized, which does not happen.
    pub(super) fn to_text(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Notes the greatest value that a look sees at `now`. Returns the one before, if it differs.
    pub(super) fn note_greatest(&mut self, mark: Option<&Mark>, now: Timestamp) -> Option<Mark> {
        let last = self.greatest.back().map(|seen| seen.mark.clone());
        if let Some(mark) = mark.filter(|mark| last.as_ref() != Some(*mark)) {
            self.greatest.push_back(Seen { at: now, mark: mark.clone() });
            return last;
        }
        None
    }

    /// Returns the value that a look saw as the greatest at least `overlap` before `now`: no
    /// transaction that wrote a value up to it is still under way.
    pub(super) fn settled(&mut self, now: Timestamp, overlap: Duration) -> Option<&Mark> {
        // A clock that was set back must not make a value wait for years.
        for seen in &mut self.greatest {
            seen.at = seen.at.min(now);
        }
        let is_old = |seen: &Seen| now.since(seen.at) >= overlap;
        while self.greatest.get(1).is_some_and(is_old) {
            self.greatest.pop_front();
        }
        self.greatest.front().filter(|seen| is_old(seen)).map(|seen| &seen.mark)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Cursor;
    use crate::base::{Digest, Timestamp};
    use crate::resource::sql::source::Mark;

    const OVERLAP: Duration = Duration::from_secs(10);

    fn new() -> Cursor {
        Cursor::new(Digest::of(b"rows"), 1)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn settled(cursor: &mut Cursor, second: i64) -> Option<i64> {
        match cursor.settled(at(second), OVERLAP)? {
            Mark::Integer(value) => Some(*value),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_value_is_settled_once_it_was_the_greatest_an_overlap_ago() {
        let mut cursor = new();
        assert_eq!(settled(&mut cursor, 0), None);
        cursor.note_greatest(Some(&Mark::Integer(5)), at(0));
        cursor.note_greatest(Some(&Mark::Integer(5)), at(4));
        assert_eq!(cursor.note_greatest(Some(&Mark::Integer(9)), at(6)), Some(Mark::Integer(5)));
        assert_eq!(settled(&mut cursor, 9), None);
        assert_eq!(settled(&mut cursor, 10), Some(5));
        assert_eq!(settled(&mut cursor, 15), Some(5));
        assert_eq!(settled(&mut cursor, 16), Some(9));
        assert_eq!(settled(&mut cursor, 1_000), Some(9), "it stays until a greater one is old enough");
    }

    #[test]
    fn a_clock_that_is_set_back_delays_by_one_overlap_at_most() {
        let mut cursor = new();
        cursor.note_greatest(Some(&Mark::Integer(5)), at(1_000));
        assert_eq!(settled(&mut cursor, 100), None);
        assert_eq!(settled(&mut cursor, 110), Some(5));
    }

    #[test]
    fn a_cursor_of_other_rows_begins_again_with_the_next_batch() {
        let mut cursor = Cursor { next_batch: 7, oldest_batch: 5, from: Some(Mark::Integer(3)), ..new() };
        cursor.note_greatest(Some(&Mark::Integer(5)), at(0));
        let text = cursor.to_text().unwrap();
        assert_eq!(Cursor::read(&text, Digest::of(b"rows")).unwrap(), cursor);
        let other = Digest::of(b"other rows");
        let read = Cursor::read(&text, other).unwrap();
        assert_eq!(read, Cursor::new(other, 7));
        assert!(read.is_new() && !cursor.is_new());
        let of_http = format!("{{\"of\":\"{other}\",\"pages\":[]}}");
        assert_eq!(Cursor::read(&of_http, other), None);
    }
}
