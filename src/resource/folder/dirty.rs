//! The paths that events ask to check.
//!
//! The handler runs on the thread that empties the kernel's queue, so it must be quick and never
//! wait for the observer: it only puts paths into a bounded set. An event is a hint where to look;
//! the truth is on the disk. When the set is full, or the kernel's queue overflowed, the observer
//! scans the whole folder.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{ErrorKind, Event};

use super::names::Names;
use super::rename_trail::{HALF_RENAME, MAX_PATHS, RenameTrail};

/// How long a file that was made or written may take to be closed before it is looked at all the
/// same: some of what is made (FIFO, hard link, link) is never closed.
const UNCLOSED: Duration = Duration::from_millis(20);

/// Why single events are not enough any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lost {
    /// More paths than the set holds.
    Set,
    /// More events than the kernel's queue holds: the watches may be at the wrong paths now.
    Queue,
    /// More folders than the system lets us watch.
    Limit,
    /// Something failed while events were read.
    Failed(String),
}

/// What is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Something was finished there, or went.
    pub(super) now: HashSet<OsString>,
    /// Something was begun there a while ago.
    pub(super) late: Vec<OsString>,
    pub(super) lost: Option<Lost>,
    /// When there is more to take, if nothing happens.
    pub(super) next: Option<Instant>,
}

/// Filled by the handler, emptied by the observer.
#[derive(Debug)]
pub(super) struct Dirty {
    state: Mutex<State>,
    /// Rings when there is something to take.
    pub(super) wake: tokio::sync::Notify,
    root: PathBuf,
    names: Arc<Names>,
    #[cfg(test)]
    gate: Mutex<()>,
    /// How often the observer has looked at a path.
    #[cfg(test)]
    looks: Mutex<HashMap<OsString, usize>>,
}

#[derive(Debug, Default)]
struct State {
    now: HashSet<OsString>,
    later: HashMap<OsString, Instant>,
    /// When the first of `later` is due, or sooner.
    next: Option<Instant>,
    /// The first half of a rename: its cookie and path.
    moved: Option<(usize, OsString)>,
    rename_trail: RenameTrail,
    lost: Option<Lost>,
}

impl Dirty {
    pub(super) fn new(root: PathBuf, names: Arc<Names>) -> Self {
        Self {
            state: Mutex::default(),
            wake: tokio::sync::Notify::new(),
            root,
            names,
            #[cfg(test)]
            gate: Mutex::default(),
            #[cfg(test)]
            looks: Mutex::default(),
        }
    }

    /// Takes an event in, from the kernel.
    pub(super) fn handle(&self, event: notify::Result<Event>) {
        #[cfg(test)]
        let _open = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_in(event);
    }

    /// Takes an event in.
    pub(super) fn take_in(&self, event: notify::Result<Event>) {
        let mut state = self.lock();
        let ring = match event {
            Ok(event) if event.need_rescan() => state.lose(Lost::Queue),
            Ok(event) => self.sort_in(&mut state, &event),
            Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => state.lose(Lost::Limit),
            Err(error) => state.lose(Lost::Failed(error.to_string())),
        };
        drop(state);
        if ring {
            self.wake.notify_one();
        }
    }

    /// Puts paths back that could not be dealt with.
    pub(super) fn put_back(&self, paths: impl IntoIterator<Item = OsString>) {
        let mut state = self.lock();
        for path in paths {
            state.mark(path);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Takes what is due.
    pub(super) fn take(&self, now: Instant) -> Taken {
        let mut state = self.lock();
        let mut late = Vec::new();
        if state.next.is_some_and(|next| next <= now) {
            late.extend(state.later.extract_if(|_, due| *due <= now).map(|(path, _)| path));
            state.next = state.later.values().min().copied();
        }
        Taken { now: std::mem::take(&mut state.now), late, lost: state.lost.take(), next: state.next }
    }

    /// Whether there is something to take now.
    pub(super) fn rings(&self) -> bool {
        let state = self.lock();
        !state.now.is_empty() || state.lost.is_some()
    }

    /// Where the file that was at a path must be now: see [`RenameTrail::end`].
    pub(super) fn end_of(&self, path: &OsStr, now: Instant) -> Option<OsString> {
        self.lock().rename_trail.end(path, now).map(OsStr::to_owned)
    }

    /// Whether an event has said that what lay at a path was removed.
    pub(super) fn was_removed(&self, path: &OsStr) -> bool {
        self.lock().rename_trail.was_removed(path)
    }

    /// Forgets everything: the whole folder is about to be looked through.
    pub(super) fn clear(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets no event of the kernel through for as long as the guard lives.
    #[cfg(test)]
    pub(super) fn stall(&self) -> impl Drop + '_ {
        struct Stalled<'a>(#[expect(dead_code, reason = "held, not read")] MutexGuard<'a, ()>);
        impl Drop for Stalled<'_> {
            fn drop(&mut self) {}
        }
        Stalled(self.gate.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that the observer looks at a path.
    #[cfg(test)]
    pub(super) fn looked_at(&self, path: &OsStr) {
        *self.looks.lock().unwrap_or_else(PoisonError::into_inner).entry(path.to_owned()).or_insert(0) += 1;
    }

    /// How often the observer has looked at a path.
    #[cfg(test)]
    pub(super) fn looks_at(&self, path: &OsStr) -> usize {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied().unwrap_or(0)
    }

    /// Returns whether the observer is to be woken.
    fn sort_in(&self, state: &mut State, event: &Event) -> bool {
        let Some(path) = event.paths.first() else { return false };
        let Ok(path) = path.strip_prefix(&self.root) else { return false };
        let about = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Create(CreateKind::Folder)
            | EventKind::Modify(ModifyKind::Metadata(_)) => About::Now,
            EventKind::Remove(_) => About::Removed,
            EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => About::Later,
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) => About::MovedFrom(event.tracker()),
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => About::MovedTo(event.tracker()),
            _ => return false,
        };
        if path.as_os_str().is_empty() {
            // The folder itself was moved, removed or changed: the observer looks at it whenever it
            // wakes.
            return !matches!(about, About::Later);
        }
        self.mark(state, path, about)
    }

    fn mark(&self, state: &mut State, path: &Path, about: About) -> bool {
        let path = path.as_os_str();
        let counts = self.names.reaches(path);
        let now = Instant::now();
        match about {
            About::Removed => {
                state.rename_trail.removed(path, now);
                counts && state.mark(path.to_owned())
            }
            About::Now => counts && state.mark(path.to_owned()),
            About::Later => counts && state.mark_later(path, now + UNCLOSED),
            About::MovedFrom(Some(cookie)) => {
                state.moved = Some((cookie, path.to_owned()));
                state.now.remove(path);
                state.later.remove(path);
                state.rename_trail.left(path, now);
                counts && state.mark_later(path, now + HALF_RENAME)
            }
            // A folder that has moved says so itself once more; whoever lost and got it has said so
            // before.
            About::MovedFrom(None) => false,
            About::MovedTo(cookie) => {
                let from = state.moved.take_if(|(of, _)| Some(*of) == cookie);
                match &from {
                    Some((_, from)) => state.rename_trail.went(from, path, now),
                    None => state.rename_trail.came(path),
                }
                let from = from.filter(|(_, from)| state.later.contains_key(from));
                // Both at once, so that the observer sees the rename and not its halves.
                let from = from.is_some_and(|(_, from)| state.mark(from));
                let to = counts && state.mark(path.to_owned());
                from || to
            }
        }
    }
}

/// What an event asks for.
#[derive(Debug, Clone, Copy)]
enum About {
    Now,
    Removed,
    Later,
    MovedFrom(Option<usize>),
    MovedTo(Option<usize>),
}

impl State {
    fn lose(&mut self, lost: Lost) -> bool {
        // The queue's loss is the one that asks for the most.
        if self.lost != Some(Lost::Queue) {
            self.lost = Some(lost);
        }
        true
    }

    fn mark(&mut self, path: OsString) -> bool {
        self.later.remove(&path);
        if self.now.len() >= MAX_PATHS {
            return self.lose(Lost::Set);
        }
        self.now.insert(path);
        true
    }

    /// Returns whether the observer has to set its clock.
    fn mark_later(&mut self, path: &OsStr, due: Instant) -> bool {
        if self.now.contains(path) || self.later.contains_key(path) {
            return false;
        }
        if self.later.len() >= MAX_PATHS {
            return self.lose(Lost::Set);
        }
        self.later.insert(path.to_owned(), due);
        let sooner = self.next.is_none_or(|next| due < next);
        if sooner {
            self.next = Some(due);
        }
        sooner
    }
}
