//! What became of the paths that something has left, as far as events tell.
//!
//! A file that is renamed on and on is ahead of its events: it is not at the path on record, nor where the last event that was read says
//! that it went. That it is nowhere is then no sign that it is gone; the event that tells where it went from there has yet to be read.
//! How long that takes depends on how busy the machine is, so whether it is waited for is decided by what events have told,
//! and a clock only bounds it, in case that an event was lost.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

use super::dirty::{HALF_RENAME, MAX_DIRTY};

/// How long the next event about a file is waited for at most.
const LATE: Duration = Duration::from_secs(5);

/// What became of what lay at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// It was renamed; where to is not known yet, or it is out of the folder.
    Left,
    /// It was renamed to this path.
    To(OsString),
    /// It was removed.
    Removed,
}

/// See the module. At most [`MAX_DIRTY`] paths; what has no room is not waited for.
#[derive(Debug, Default)]
pub(super) struct Fates {
    paths: HashMap<OsString, (Fate, Instant)>,
    /// When those that are too old are to be cleared away.
    sweep_at: Option<Instant>,
}

impl Fates {
    /// It was renamed.
    pub(super) fn left(&mut self, path: &OsStr, now: Instant) {
        self.put(path, Fate::Left, now);
    }

    /// What has left `from` came to `to`.
    pub(super) fn went(&mut self, from: &OsStr, to: &OsStr, now: Instant) {
        self.came(to);
        self.put(from, Fate::To(to.to_owned()), now);
    }

    /// Something else lies there now.
    pub(super) fn came(&mut self, path: &OsStr) {
        self.paths.remove(path);
    }

    /// It was removed.
    pub(super) fn removed(&mut self, path: &OsStr, now: Instant) {
        self.put(path, Fate::Removed, now);
    }

    /// Where what lay at a path must be, as far as events tell: if it is not there, an event about that path has yet to come. `None` if
    /// it is not known to be anywhere.
    pub(super) fn end<'a>(&'a self, path: &'a OsStr, now: Instant) -> Option<&'a OsStr> {
        let mut end = None;
        let mut at = path;
        // A path that is come to has no fate, so this does not go round in circles; the bound is for peace of mind.
        for _ in 0..=self.paths.len() {
            match self.paths.get(at) {
                Some((Fate::To(to), since)) => (at, end) = (to, (now < *since + LATE).then_some(to.as_os_str())),
                Some((Fate::Left, since)) => return (now < *since + HALF_RENAME).then_some(at),
                Some((Fate::Removed, _)) => return None,
                None => break,
            }
        }
        end
    }

    fn put(&mut self, path: &OsStr, fate: Fate, now: Instant) {
        if self.sweep_at.is_none_or(|at| at <= now) {
            self.paths.retain(|_, (_, since)| now < *since + LATE);
            self.sweep_at = Some(now + LATE);
        }
        if self.paths.len() < MAX_DIRTY || self.paths.contains_key(path) {
            self.paths.insert(path.to_owned(), (fate, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::time::Instant;

    use super::{Fates, HALF_RENAME, LATE};

    #[test]
    fn a_file_is_followed_until_it_is_removed_or_nothing_tells_of_it_for_long() {
        let (mut fates, now) = (Fates::default(), Instant::now());
        let [a, b, c] = ["a", "b", "c"].map(OsStr::new);
        assert_eq!(fates.end(a, now), None);
        fates.left(a, now);
        assert_eq!(fates.end(a, now), Some(a), "the other half of the rename has yet to come");
        assert_eq!(fates.end(a, now + HALF_RENAME), None);
        fates.went(a, b, now);
        assert_eq!(fates.end(a, now), Some(b));
        fates.left(b, now);
        fates.went(b, c, now);
        assert_eq!((fates.end(a, now), fates.end(b, now)), (Some(c), Some(c)));
        assert_eq!(fates.end(a, now + LATE), None);
        fates.removed(c, now);
        assert_eq!(fates.end(a, now), None);
    }

    #[test]
    fn a_file_that_comes_back_goes_round_in_no_circle() {
        let (mut fates, now) = (Fates::default(), Instant::now());
        let [a, b] = ["a", "b"].map(OsStr::new);
        for (from, to) in [(a, b), (b, a), (a, b)] {
            fates.left(from, now);
            fates.went(from, to, now);
        }
        assert_eq!((fates.end(a, now), fates.end(b, now)), (Some(b), None));
    }
}
