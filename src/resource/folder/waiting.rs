//! Holds files to check again after a delay, because no event reliably announces the right moment.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

use crate::base::filestamp::FileStamp;

/// The most files that wait; the next scan finds any others.
const MAX_WAITING: usize = 16_384;
/// The first delay for a file that is open for writing. Short, because the close event comes a
/// moment before the file counts as closed.
const FIRST: Duration = Duration::from_millis(1);
/// The longest delay. If the file is still open after it, the close event or a scan follows.
const LAST: Duration = Duration::from_secs(8);
/// The delay for an output that is being published.
const PUBLISHING: Duration = Duration::from_secs(1);

/// The files that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    due: BTreeSet<(Instant, OsString)>,
    files: HashMap<OsString, Wait>,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    due: Instant,
    /// The length of the delay.
    span: Duration,
    /// Its stamp when it was last seen to change.
    like: Option<FileStamp>,
    /// Whether it waits for its writer, for an unknown time.
    busy: bool,
}

impl Waiting {
    /// Waits for a file that is open for writing, twice as long each time. Returns `false` if there
    /// is no room.
    pub(super) fn busy(&mut self, path: &OsStr, now: Instant) -> bool {
        let span = self.files.get(path).map_or(FIRST, |wait| wait.span * 2);
        if span > LAST {
            self.done(path);
            return true;
        }
        self.put(path, Wait { due: now + span, span, like: None, busy: true })
    }

    /// Waits until a file has not changed for `settle`. Returns `false` if there is no room.
    pub(super) fn settle(&mut self, path: &OsStr, like: FileStamp, settle: Duration, now: Instant) -> bool {
        // It has changed since the last call, so someone writes to it.
        let busy = self.files.get(path).is_some_and(|wait| wait.like.is_some_and(|before| before != like));
        self.put(path, Wait { due: now + settle, span: FIRST, like: Some(like), busy })
    }

    /// Waits for `span`. Returns `false` if there is no room.
    pub(super) fn for_span(&mut self, path: &OsStr, span: Duration, now: Instant) -> bool {
        self.put(path, Wait { due: now + span, span: FIRST, like: None, busy: false })
    }

    /// Waits for an output that is being published at a path, which takes an unknown time. Returns
    /// `false` if there is no room.
    pub(super) fn publishing(&mut self, path: &OsStr, now: Instant) -> bool {
        self.put(path, Wait { due: now + PUBLISHING, span: FIRST, like: None, busy: true })
    }

    /// Returns the stamp with which a file began to wait, if it has waited long enough.
    pub(super) fn settled(&self, path: &OsStr, now: Instant) -> Option<FileStamp> {
        self.files.get(path).filter(|wait| wait.due <= now).and_then(|wait| wait.like)
    }

    /// Returns whether a path waits.
    pub(super) fn has(&self, path: &OsStr) -> bool {
        self.files.contains_key(path)
    }

    /// Returns whether a path waits for a known time.
    pub(super) fn ends(&self, path: &OsStr) -> bool {
        self.files.get(path).is_some_and(|wait| !wait.busy)
    }

    /// Returns the paths that wait for a known time.
    pub(super) fn ending(&self) -> impl Iterator<Item = &OsString> {
        self.files.iter().filter(|(_, wait)| !wait.busy).map(|(path, _)| path)
    }

    /// Removes a path that does not wait any more.
    pub(super) fn done(&mut self, path: &OsStr) {
        if let Some((path, wait)) = self.files.remove_entry(path) {
            self.due.remove(&(wait.due, path));
        }
    }

    /// Returns the files whose delay is over. They stay, with the length of their delay, until they
    /// wait again or are done.
    pub(super) fn take(&mut self, now: Instant) -> Vec<OsString> {
        let mut due = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(self.due.pop_first().map(|(_, path)| path));
        }
        due
    }

    /// Returns when the next file is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    fn put(&mut self, path: &OsStr, wait: Wait) -> bool {
        self.done(path);
        if self.files.len() >= MAX_WAITING {
            return false;
        }
        self.due.insert((wait.due, path.to_owned()));
        self.files.insert(path.to_owned(), wait);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::time::{Duration, Instant};

    use super::{LAST, Waiting};

    #[test]
    fn a_busy_file_is_checked_with_backoff_and_finally_not_at_all() {
        let (mut waiting, path, start) = (Waiting::default(), OsStr::new("a"), Instant::now());
        let (mut now, mut checks) = (start, 0);
        assert!(waiting.busy(path, now));
        while let Some(next) = waiting.next() {
            now = next;
            assert_eq!(waiting.take(now), [path]);
            waiting.busy(path, now);
            checks += 1;
        }
        assert!((8..20).contains(&checks), "{checks}");
        assert!(now - start < LAST * 2);
        assert!(waiting.files.is_empty());
    }

    #[test]
    fn finished_files_are_not_due() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        waiting.for_span(OsStr::new("a"), Duration::from_secs(1), now);
        waiting.for_span(OsStr::new("b"), Duration::from_secs(2), now);
        waiting.done(OsStr::new("a"));
        assert_eq!(waiting.next(), Some(now + Duration::from_secs(2)));
        assert!(waiting.take(now + Duration::from_secs(1)).is_empty());
    }
}
