//! The set of paths that file system events ask the observer to check.
//!
//! The event handler runs on the thread that empties the kernel's queue. It must be quick and must
//! never wait for the observer, so it only adds paths to a bounded set. An event only says where to
//! look; the observer reads the state from the disk. When the set is full, or the kernel's queue
//! has overflowed, the observer scans the whole folder.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{ErrorKind, Event};

use super::rename_trail::{HALF_RENAME, MAX_PATHS, RenameTrail};
use crate::resource::names::Names;

/// How long to wait for the close of a created or written file before checking it anyway: some
/// created entries (FIFO, hard link, symbolic link) are never closed.
const UNCLOSED: Duration = Duration::from_millis(20);

/// Why the events are incomplete, so that a scan is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lost {
    /// There were more paths than the set holds.
    Set,
    /// There were more events than the kernel's queue holds. The watches may be at the wrong paths
    /// now.
    Queue,
    /// There are more folders than the system allows watches.
    Limit,
    /// Reading the events failed.
    Failed(String),
}

/// The paths to check.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Paths where something was completed or removed.
    pub(super) now: HashSet<OsString>,
    /// Paths where something was begun a while ago.
    pub(super) late: Vec<OsString>,
    pub(super) lost: Option<Lost>,
    /// When more paths become due if no event arrives before.
    pub(super) next: Option<Instant>,
}

/// The set of paths to check. The event handler fills it, the observer empties it.
#[derive(Debug)]
pub(super) struct Dirty {
    state: Mutex<State>,
    /// Notified when there is something to take.
    pub(super) wake: tokio::sync::Notify,
    root: PathBuf,
    names: Arc<Names>,
    #[cfg(test)]
    gate: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    now: HashSet<OsString>,
    later: HashMap<OsString, Instant>,
    /// A lower bound of when the first of `later` is due.
    next: Option<Instant>,
    /// The first half of a rename whose second half has not arrived: its cookie and path.
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
        }
    }

    /// Handles an event from the kernel.
    pub(super) fn handle(&self, event: notify::Result<Event>) {
        #[cfg(test)]
        let _open = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.accept(event);
    }

    /// Handles an event. Tests call this directly to bypass [`Dirty::stall`].
    pub(super) fn accept(&self, event: notify::Result<Event>) {
        let mut state = self.lock();
        let wake = match event {
            Ok(event) if event.need_rescan() => state.lose(Lost::Queue),
            Ok(event) => self.classify(&mut state, &event),
            Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => state.lose(Lost::Limit),
            Err(error) => state.lose(Lost::Failed(error.to_string())),
        };
        drop(state);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Puts back paths that could not be handled.
    pub(super) fn put_back(&self, paths: impl IntoIterator<Item = OsString>) {
        let mut state = self.lock();
        for path in paths {
            state.mark(path);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Takes the paths that are due at `now`.
    pub(super) fn take(&self, now: Instant) -> Taken {
        let mut state = self.lock();
        let mut late = Vec::new();
        if state.next.is_some_and(|next| next <= now) {
            late.extend(state.later.extract_if(|_, due| *due <= now).map(|(path, _)| path));
            state.next = state.later.values().min().copied();
        }
        Taken { now: std::mem::take(&mut state.now), late, lost: state.lost.take(), next: state.next }
    }

    /// Returns whether there is something to take now.
    pub(super) fn is_due(&self) -> bool {
        let state = self.lock();
        !state.now.is_empty() || state.lost.is_some()
    }

    /// Returns where the file that was at a path must be now; see [`RenameTrail::end`].
    pub(super) fn end_of(&self, path: &OsStr, now: Instant) -> Option<OsString> {
        self.lock().rename_trail.end(path, now).map(OsStr::to_owned)
    }

    /// Returns whether the last event about a path was its removal.
    pub(super) fn was_removed(&self, path: &OsStr) -> bool {
        self.lock().rename_trail.was_removed(path)
    }

    /// Forgets everything, because a scan of the whole folder is about to begin.
    pub(super) fn clear(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks the kernel's events until the guard is dropped.
    #[cfg(test)]
    pub(super) fn stall(&self) -> impl Drop + '_ {
        struct Stalled<'a>(#[expect(dead_code, reason = "held, not read")] MutexGuard<'a, ()>);
        impl Drop for Stalled<'_> {
            fn drop(&mut self) {}
        }
        Stalled(self.gate.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Marks the path that an event is about. Returns whether to wake the observer.
    fn classify(&self, state: &mut State, event: &Event) -> bool {
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
            // The folder itself was moved, removed or changed. The observer checks it whenever it
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
            // A moved folder raises this event itself, in addition to the events of its old and its
            // new parent, which came before.
            About::MovedFrom(None) => false,
            About::MovedTo(cookie) => {
                let from = state.moved.take_if(|(of, _)| Some(*of) == cookie);
                match &from {
                    Some((_, from)) => state.rename_trail.went(from, path, now),
                    None => state.rename_trail.came(path),
                }
                let from = from.filter(|(_, from)| state.later.contains_key(from));
                // Mark both at once, so that the observer sees the rename and not its halves.
                let from = from.is_some_and(|(_, from)| state.mark(from));
                let to = counts && state.mark(path.to_owned());
                from || to
            }
        }
    }
}

/// What an event says about a path.
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
        // `Lost::Queue` needs the most work, so it takes precedence.
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

    /// Marks a path as due later. Returns whether the observer must wake earlier than planned.
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
