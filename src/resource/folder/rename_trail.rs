//! Follows files through chains of renames, by the events that have been read so far.
//!
//! A file that is renamed several times in a row is ahead of its events: it is neither at the path
//! on record nor at the path that the last event names. That does not mean that it is gone, because
//! the event for its next rename has not been read yet. How long that takes depends on the load of
//! the machine. So the observer waits for as long as the events say that a file must be somewhere,
//! and a clock only bounds the wait, in case an event was lost.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

/// The most paths that are followed, and also the most that wait in [`super::dirty::Dirty`].
pub(super) const MAX_PATHS: usize = 8_192;
/// How long to wait for the second half of a rename. The kernel raises both halves at once, but a
/// busy machine may deliver the second one late.
pub(super) const HALF_RENAME: Duration = Duration::from_millis(250);
/// The longest wait for the next event about a file.
const LATE: Duration = Duration::from_secs(5);

/// What happened to the file at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hop {
    /// It was renamed. The second half of the event has not been read yet, or the target is outside
    /// the folder.
    Left,
    /// It was renamed to this path.
    To(OsString),
    /// It was removed.
    Removed,
}

/// See the module. Holds at most [`MAX_PATHS`] paths; a file beyond that is not waited for.
#[derive(Debug, Default)]
pub(super) struct RenameTrail {
    paths: HashMap<OsString, (Hop, Instant)>,
    /// When to remove old entries next.
    sweep_at: Option<Instant>,
}

impl RenameTrail {
    /// Records that the file at `path` was renamed, to a path that is not known yet.
    pub(super) fn left(&mut self, path: &OsStr, now: Instant) {
        self.put(path, Hop::Left, now);
    }

    /// Records that the file at `from` was renamed to `to`.
    pub(super) fn went(&mut self, from: &OsStr, to: &OsStr, now: Instant) {
        self.came(to);
        self.put(from, Hop::To(to.to_owned()), now);
    }

    /// Records that another file is at `path` now.
    pub(super) fn came(&mut self, path: &OsStr) {
        self.paths.remove(path);
    }

    /// Records that the file at `path` was removed.
    pub(super) fn removed(&mut self, path: &OsStr, now: Instant) {
        self.put(path, Hop::Removed, now);
    }

    /// Returns whether the last event about the path was the removal of its file.
    pub(super) fn was_removed(&self, path: &OsStr) -> bool {
        matches!(self.paths.get(path), Some((Hop::Removed, _)))
    }

    /// Returns where the file that was at `path` must be now. If it is not there, an event about
    /// that path has not been read yet. `None` if the events do not say where it is.
    pub(super) fn end<'a>(&'a self, path: &'a OsStr, now: Instant) -> Option<&'a OsStr> {
        let mut end = None;
        let mut at = path;
        // The target of a rename has no entry of its own, so this ends; the bound guards against a
        // bug.
        for _ in 0..=self.paths.len() {
            match self.paths.get(at) {
                Some((Hop::To(to), since)) => (at, end) = (to, (now < *since + LATE).then_some(to.as_os_str())),
                Some((Hop::Left, since)) => return (now < *since + HALF_RENAME).then_some(at),
                Some((Hop::Removed, _)) => return None,
                None => break,
            }
        }
        end
    }

    fn put(&mut self, path: &OsStr, hop: Hop, now: Instant) {
        if self.sweep_at.is_none_or(|at| at <= now) {
            self.paths.retain(|_, (_, since)| now < *since + LATE);
            self.sweep_at = Some(now + LATE);
        }
        if self.paths.len() < MAX_PATHS || self.paths.contains_key(path) {
            self.paths.insert(path.to_owned(), (hop, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::time::Instant;

    use super::{HALF_RENAME, LATE, RenameTrail};

    #[test]
    fn a_renamed_file_is_followed_until_it_is_removed_or_its_trail_expires() {
        let (mut rename_trail, now) = (RenameTrail::default(), Instant::now());
        let [a, b, c] = ["a", "b", "c"].map(OsStr::new);
        assert_eq!(rename_trail.end(a, now), None);
        rename_trail.left(a, now);
        assert_eq!(rename_trail.end(a, now), Some(a), "the other half of the rename has yet to come");
        assert_eq!(rename_trail.end(a, now + HALF_RENAME), None);
        rename_trail.went(a, b, now);
        assert_eq!(rename_trail.end(a, now), Some(b));
        rename_trail.left(b, now);
        rename_trail.went(b, c, now);
        assert_eq!((rename_trail.end(a, now), rename_trail.end(b, now)), (Some(c), Some(c)));
        assert_eq!(rename_trail.end(a, now + LATE), None);
        rename_trail.removed(c, now);
        assert_eq!(rename_trail.end(a, now), None);
        assert_eq!([a, b, c].map(|path| rename_trail.was_removed(path)), [false, false, true]);
    }

    #[test]
    fn a_file_renamed_back_does_not_cause_a_loop() {
        let (mut rename_trail, now) = (RenameTrail::default(), Instant::now());
        let [a, b] = ["a", "b"].map(OsStr::new);
        for (from, to) in [(a, b), (b, a), (a, b)] {
            rename_trail.left(from, now);
            rename_trail.went(from, to, now);
        }
        assert_eq!((rename_trail.end(a, now), rename_trail.end(b, now)), (Some(b), None));
    }
}
