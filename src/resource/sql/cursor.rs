//! The cursor of a watched database, which is on record with each batch.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::source::Mark;
use crate::base::Timestamp;

/// How far the rows are delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The high-water column that the values belong to.
    column: String,
    /// The number of the next batch.
    pub(super) next_batch: u64,
    /// The oldest batch that may contain a row from `from` on. Its rows, and those of later
    /// batches, must not be delivered again.
    pub(super) oldest_batch: u64,
    /// The value from which on a look has to read: all rows below it are delivered. Absent until
    /// then.
    pub(super) from: Option<Mark>,
    /// The greatest values that looks have seen, each with the time at which one saw it first. The
    /// first is the newest that is older than the overlap, or the oldest of all.
    greatest: VecDeque<Seen>,
}

/// A greatest value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Seen {
    at: Timestamp,
    mark: Mark,
}

impl Cursor {
    /// The cursor before the first look.
    pub(super) fn new(column: &str) -> Self {
        Self { column: column.to_owned(), next_batch: 1, oldest_batch: 1, from: None, greatest: VecDeque::new() }
    }

    /// Reads a cursor from the record. If it is about another column, its values mean nothing: the
    /// rows are read from the start, and only the numbers of batches go on.
    ///
    /// # Errors
    /// If the text is no cursor.
    pub(super) fn read(text: &str, column: &str) -> serde_json::Result<Self> {
        let read: Self = serde_json::from_str(text)?;
        if read.column == column {
            return Ok(read);
        }
        Ok(Self { next_batch: read.next_batch, oldest_batch: read.next_batch, ..Self::new(column) })
    }

    /// Returns the text for the record.
    ///
    /// # Errors
    /// If a value cannot be written, which is the case for none of them.
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
    use crate::base::Timestamp;
    use crate::resource::sql::source::Mark;

    const OVERLAP: Duration = Duration::from_secs(10);

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
        let mut cursor = Cursor::new("id");
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
        let mut cursor = Cursor::new("id");
        cursor.note_greatest(Some(&Mark::Integer(5)), at(1_000));
        assert_eq!(settled(&mut cursor, 100), None);
        assert_eq!(settled(&mut cursor, 110), Some(5));
    }

    #[test]
    fn a_cursor_of_another_column_begins_again_with_the_next_batch() {
        let mut cursor = Cursor { next_batch: 7, oldest_batch: 5, from: Some(Mark::Integer(3)), ..Cursor::new("id") };
        cursor.note_greatest(Some(&Mark::Integer(5)), at(0));
        let text = cursor.to_text().unwrap();
        assert_eq!(Cursor::read(&text, "id").unwrap(), cursor);
        let other = Cursor { next_batch: 7, oldest_batch: 7, ..Cursor::new("at") };
        assert_eq!(Cursor::read(&text, "at").unwrap(), other);
        assert!(Cursor::read("5", "id").is_err());
    }
}
