//! The place of a run in a list, which is what a cursor of the list says, and the page that walks
//! of ranges make.

use super::{Result, RunSort, page};
use crate::model::{Page, Run};

/// The place of a run in a list: its duration in microseconds, or 0 in a list by number, and its
/// number.
pub(super) type Place = (i64, i64);

/// Where a run is in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) Place);

impl Key {
    /// Reads a cursor: the place after which the page begins.
    pub(super) fn read(sort: RunSort, cursor: Option<&str>) -> Result<Self> {
        let Some(text) = cursor else {
            return Ok(Self(if sort.descends() { (i64::MAX, i64::MAX) } else { (i64::MIN, 0) }));
        };
        let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number > 0);
        let place = if sort.by_duration() {
            // The duration is negative if the clock was set back.
            text.rsplit_once('.').and_then(|(duration, run)| Some((duration.parse().ok()?, number(run)?)))
        } else {
            number(text).map(|run| (0, run))
        };
        place.map(Self).ok_or_else(|| page::refuse(text))
    }

    /// Writes it as a cursor.
    pub(super) fn write(self, sort: RunSort) -> String {
        let Self((duration, number)) = self;
        if sort.by_duration() { format!("{duration}.{number}") } else { number.to_string() }
    }
}

impl RunSort {
    /// Whether the greatest key comes first.
    pub(super) fn descends(self) -> bool {
        matches!(self, Self::Newest | Self::Longest)
    }

    /// Whether keys begin with the duration.
    pub(super) fn by_duration(self) -> bool {
        matches!(self, Self::Longest | Self::Shortest)
    }

    /// Returns whether `one` comes before `other` in the list.
    pub(super) fn is_before(self, one: Key, other: Key) -> bool {
        if self.descends() { one > other } else { one < other }
    }
}

/// What walks of ranges of a list have found.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) found: Vec<(Key, Run)>,
    /// The last run that was looked at, if a walk was given up before its range ended. Runs after
    /// it may be missing.
    pub(super) given_up: Option<Key>,
}

impl Walked {
    /// Adds what the walk of another range has found.
    pub(super) fn add(&mut self, other: Self, sort: RunSort) {
        self.found.extend(other.found);
        self.given_up = match (self.given_up, other.given_up) {
            (Some(one), Some(other)) if sort.is_before(other, one) => Some(other),
            (one, other) => one.or(other),
        };
    }

    /// Makes a page of at most `limit` runs.
    pub(super) fn into_page(self, sort: RunSort, limit: usize) -> Page<Run> {
        let Self { mut found, given_up } = self;
        found.sort_by_key(|(key, _)| *key);
        if sort.descends() {
            found.reverse();
        }
        // A param may be given to a run, and be recorded by it too.
        found.dedup_by_key(|(key, _)| *key);
        if let Some(end) = given_up {
            found.retain(|(key, _)| !sort.is_before(end, *key));
        }
        let full = found.len() > limit;
        found.truncate(limit);
        let next = if full { found.last().map(|(key, _)| *key) } else { given_up };
        let next_cursor = next.map(|key| key.write(sort));
        Page { items: found.into_iter().map(|(_, run)| run).collect(), next_cursor }
    }
}
