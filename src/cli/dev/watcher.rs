//! Notices that something was saved, and when the save is complete.
//!
//! An event is only a hint to look: comparing shows what changed ([`super::fingerprint`]). So lost,
//! late and doubled events do no harm, and a change that comes while a build is running is found
//! after it.
//!
//! A condition decides when to look, not a pause that may be too short: a file that
//! someone has begun to write counts when it is closed or renamed. Programs that keep a file open
//! forever are the exception, for which there is [`SETTLE`].

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::cli::sources::Products;
use crate::cli::{Failure, out, show};

/// A file that is open for writing counts anyway when nothing was written to it for this long.
const SETTLE: Duration = Duration::from_secs(2);
/// What is saved at once (by an editor that saves all, by `git checkout`) comes with less than this
/// in between. The wait only saves a build: later changes are built afterwards.
const GATHER: Duration = Duration::from_millis(30);
/// Longest wait while events keep coming.
const MAX_GATHER: Duration = Duration::from_secs(1);
/// Most files being written that are remembered.
const MAX_WRITING: usize = 10_000;

/// Notices that something was saved.
pub(super) struct Watcher {
    inner: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    /// Folders that could not be watched, which was reported.
    unwatched: BTreeSet<PathBuf>,
    shared: Arc<Shared>,
}

/// State that the watcher's thread updates.
#[derive(Default)]
struct Shared {
    heard: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    products: Products,
    /// Files that are being written, and since when.
    writing: HashMap<PathBuf, Instant>,
    last: Option<Instant>,
    /// Whether there was an event since the last look.
    was_told: bool,
}

impl Watcher {
    pub(super) fn new() -> Result<Self, Failure> {
        let shared = Arc::new(Shared::default());
        let handler = Arc::clone(&shared);
        let config = Config::default().with_follow_symlinks(false);
        let inner = RecommendedWatcher::new(move |event| handler.on_event(event), config)
            .map_err(|why| Failure::work(format!("failed to watch for changes: {why}")))?;
        Ok(Self { inner, watched: BTreeSet::new(), unwatched: BTreeSet::new(), shared })
    }

    /// What is not a source from now on.
    pub(super) fn ignore(&self, products: Products) {
        self.shared.state().products = products;
    }

    /// Watches a folder without its subfolders. Called again at each look, because a folder that
    /// was recreated under its old name is a different one.
    pub(super) fn watch(&mut self, folder: &Path) {
        match self.inner.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(folder.to_owned());
            }
            // Removed; the parent folder reports when it comes back.
            Err(_) if !folder.exists() => {}
            Err(why) if self.unwatched.insert(folder.to_owned()) => {
                let line = format!("changes in {} are not seen: {why}", folder.display());
                out::error(&format!(
                    "{} {}\n",
                    show::Cell::new("warning:").style(show::styles::WARN),
                    show::plain(&line)
                ));
            }
            Err(_) => {}
        }
    }

    /// Watches no other folders than these.
    pub(super) fn only(&mut self, folders: &BTreeSet<PathBuf>) {
        for gone in self.watched.extract_if(.., |folder| !folders.contains(folder)) {
            let _ = self.inner.unwatch(&gone);
        }
    }

    /// Waits for the next event. An event since the last call counts.
    pub(super) async fn changed(&self) {
        self.shared.heard.notified().await;
    }

    /// Returns whether there was an event since the last call.
    pub(super) fn was_told(&self) -> bool {
        std::mem::take(&mut self.shared.state().was_told)
    }

    /// Waits until writers have finished whose events are on the way.
    pub(super) async fn caught_up(&self) {
        tokio::time::sleep(GATHER).await;
        self.settled().await;
    }

    /// Waits until writers have finished.
    pub(super) async fn settled(&self) {
        let began = Instant::now();
        loop {
            let wait = self.shared.state().wait(began, Instant::now());
            let Some(wait) = wait else { return };
            let _ = tokio::time::timeout(wait, self.shared.heard.notified()).await;
        }
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_event(&self, event: notify::Result<Event>) {
        if self.state().take_in(event, Instant::now()) {
            self.heard.notify_one();
        }
    }
}

impl State {
    /// Whether an event is worth a look.
    fn take_in(&mut self, event: notify::Result<Event>, now: Instant) -> bool {
        let Ok(event) = event else { return true };
        if event.need_rescan() {
            // The lost events may include those that closed files.
            self.writing.clear();
            self.was_told = true;
            return true;
        }
        // Looking opens files: those events must not count, or looking would never end.
        let is_close = matches!(event.kind, EventKind::Access(AccessKind::Close(AccessMode::Write)));
        if matches!(event.kind, EventKind::Access(_)) && !is_close {
            return false;
        }
        let products = &self.products;
        let sources: Vec<PathBuf> =
            event.paths.into_iter().filter(|path| !products.contains(path.parent().unwrap_or(path), path)).collect();
        for path in &sources {
            match event.kind {
                EventKind::Create(CreateKind::File) | EventKind::Modify(ModifyKind::Data(_))
                    if self.writing.len() < MAX_WRITING =>
                {
                    self.writing.insert(path.clone(), now);
                }
                _ => {
                    self.writing.remove(path);
                }
            }
        }
        if !sources.is_empty() {
            self.last = Some(now);
            self.was_told = true;
        }
        !sources.is_empty()
    }

    /// How long to wait for the next look; `None` when it is time.
    fn wait(&mut self, began: Instant, now: Instant) -> Option<Duration> {
        self.writing.retain(|_, since| now.duration_since(*since) < SETTLE);
        if let Some(newest) = self.writing.values().max() {
            return Some(SETTLE.saturating_sub(now.duration_since(*newest)));
        }
        let quiet = now.duration_since(self.last?);
        (quiet < GATHER && now.duration_since(began) < MAX_GATHER).then(|| GATHER.saturating_sub(quiet))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use notify::Event;
    use notify::event::{
        AccessKind, AccessMode, CreateKind, DataChange, EventKind, MetadataKind, ModifyKind, RenameMode,
    };

    use super::{GATHER, MAX_GATHER, SETTLE, State};

    const WRITE: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSE: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));

    fn tell(state: &mut State, kind: EventKind, path: &str, now: Instant) -> bool {
        state.take_in(Ok(Event::new(kind).add_path(Path::new(path).to_owned())), now)
    }

    #[test]
    fn a_file_counts_as_changed_when_it_is_closed_or_renamed() {
        let (mut state, now) = (State::default(), Instant::now());
        assert_eq!(state.wait(now, now), None, "no event has arrived");
        assert!(tell(&mut state, EventKind::Create(CreateKind::File), "/a/x", now));
        assert!(tell(&mut state, WRITE, "/a/y", now));
        assert_eq!(state.wait(now, now + GATHER), SETTLE.checked_sub(GATHER));
        assert!(tell(&mut state, CLOSE, "/a/x", now));
        assert!(tell(&mut state, EventKind::Modify(ModifyKind::Name(RenameMode::Any)), "/a/y", now));
        assert_eq!(state.wait(now, now), Some(GATHER), "more events may follow");
        assert_eq!(state.wait(now, now + GATHER), None);
        tell(&mut state, CLOSE, "/a/z", now + MAX_GATHER);
        assert_eq!(state.wait(now, now + MAX_GATHER), None, "endless events do not delay the scan forever");
        tell(&mut state, WRITE, "/a/open for ever", now);
        assert_eq!(state.wait(now, now + SETTLE), None);
        assert!(tell(&mut state, EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), "/a/x", now));
    }

    #[test]
    fn reads_and_files_that_are_not_sources_are_ignored() {
        let (mut state, now) = (State::default(), Instant::now());
        for kind in [AccessKind::Open(AccessMode::Any), AccessKind::Close(AccessMode::Read), AccessKind::Read] {
            assert!(!tell(&mut state, EventKind::Access(kind), "/a/x", now));
        }
        assert!(!tell(&mut state, WRITE, "/a/lib.rs~", now));
        assert!(!tell(&mut state, EventKind::Create(CreateKind::Folder), "/a/target", now));
        assert_eq!(state.wait(now, now), None);
        let lost = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        tell(&mut state, WRITE, "/a/x", now);
        assert!(state.take_in(Ok(lost), now));
        assert_eq!(state.wait(now, now + Duration::from_secs(1)), None);
    }
}
