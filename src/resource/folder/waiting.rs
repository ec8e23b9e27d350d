//! Files to check again after a while, because no event is certain to announce the right moment.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

use crate::base::filestamp::FileStamp;

/// Most files that wait; beyond it the next scan finds them.
const MAX_WAITING: usize = 16_384;
/// The first wait for a file that is open for writing. Short, because the event of closing comes a
/// moment before the file counts as closed.
const FIRST: Duration = Duration::from_millis(1);
/// When it is still open after this long, closing it will tell, or a scan.
const LAST: Duration = Duration::from_secs(8);
/// The wait for an output that is being published.
const PUBLISHING: Duration = Duration::from_secs(1);

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    due: BTreeSet<(Instant, OsString)>,
    files: HashMap<OsString, Wait>,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    due: Instant,
    /// How long it waited for this.
    span: Duration,
    /// Its stamp when it stopped changing.
    like: Option<FileStamp>,
    /// It waits for its writer, for an unknown time.
    busy: bool,
}

impl Waiting {
    /// Waits for a file that is open for writing: twice as long each time. Returns `false` if there
    /// is no room.
    pub(super) fn busy(&mut self, path: &OsStr, now: Instant) -> bool {
        let span = self.files.get(path).map_or(FIRST, |wait| wait.span * 2);
        if span > LAST {
            self.done(path);
            return true;
        }
        self.put(path, Wait { due: now + span, span, like: None, busy: true })
    }

    /// Waits until a file has stood still for `settle`.
    pub(super) fn settle(&mut self, path: &OsStr, like: FileStamp, settle: Duration, now: Instant) -> bool {
        // It has not stood still so far: someone writes to it.
        let busy = self.files.get(path).is_some_and(|wait| wait.like.is_some_and(|before| before != like));
        self.put(path, Wait { due: now + settle, span: FIRST, like: Some(like), busy })
    }

    /// Waits for this long.
    pub(super) fn for_span(&mut self, path: &OsStr, span: Duration, now: Instant) -> bool {
        self.put(path, Wait { due: now + span, span: FIRST, like: None, busy: false })
    }

    /// Waits for an output that is being published at a path, which takes an unknown time.
    pub(super) fn publishing(&mut self, path: &OsStr, now: Instant) -> bool {
        self.put(path, Wait { due: now + PUBLISHING, span: FIRST, like: None, busy: true })
    }

    /// What a file was like when it began to stand still, if it has done so for long enough.
    pub(super) fn settled(&self, path: &OsStr, now: Instant) -> Option<FileStamp> {
        self.files.get(path).filter(|wait| wait.due <= now).and_then(|wait| wait.like)
    }

    /// Whether it waits.
    pub(super) fn has(&self, path: &OsStr) -> bool {
        self.files.contains_key(path)
    }

    /// Whether it waits for time alone.
    pub(super) fn ends(&self, path: &OsStr) -> bool {
        self.files.get(path).is_some_and(|wait| !wait.busy)
    }

    /// What waits for time alone.
    pub(super) fn ending(&self) -> impl Iterator<Item = &OsString> {
        self.files.iter().filter(|(_, wait)| !wait.busy).map(|(path, _)| path)
    }

    /// It does not wait any more.
    pub(super) fn done(&mut self, path: &OsStr) {
        if let Some((path, wait)) = self.files.remove_entry(path) {
            self.due.remove(&(wait.due, path));
        }
    }

    /// The files that have waited long enough. They stay, with how long they have waited, until
    /// they wait anew or are done.
    pub(super) fn take(&mut self, now: Instant) -> Vec<OsString> {
        let mut due = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(self.due.pop_first().map(|(_, path)| path));
        }
        due
    }

    /// When the next is due.
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
    fn a_busy_file_is_looked_at_ever_more_rarely_and_then_no_more() {
        let (mut waiting, path, start) = (Waiting::default(), OsStr::new("a"), Instant::now());
        let (mut now, mut looks) = (start, 0);
        assert!(waiting.busy(path, now));
        while let Some(next) = waiting.next() {
            now = next;
            assert_eq!(waiting.take(now), [path]);
            waiting.busy(path, now);
            looks += 1;
        }
        assert!((8..20).contains(&looks), "{looks}");
        assert!(now - start < LAST * 2);
        assert!(waiting.files.is_empty());
    }

    #[test]
    fn what_is_done_is_not_due() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        waiting.for_span(OsStr::new("a"), Duration::from_secs(1), now);
        waiting.for_span(OsStr::new("b"), Duration::from_secs(2), now);
        waiting.done(OsStr::new("a"));
        assert_eq!(waiting.next(), Some(now + Duration::from_secs(2)));
        assert!(waiting.take(now + Duration::from_secs(1)).is_empty());
    }
}
