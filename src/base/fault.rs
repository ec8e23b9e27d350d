//! Fault points: named places at which a test kills the process as `kill -9` does, or makes a task
//! panic.
//!
//! `ANACOSTIA_FAULT=publish.renamed:3` kills the process the third time that it passes
//! `publish.renamed`. `ANACOSTIA_FAULT=panic:publish.renamed:3` makes the thread or task that
//! passes it for the third time panic; with `3+` instead of `3`, all later ones panic too. The
//! points exist only in debug builds; in a release build [`point`] does nothing.
//!
//! `ANACOSTIA_LOSE_ANSWERS=claim,finish` makes the store lose the first answer of each of these
//! writes after it is committed, as can happen on a connection to a server.
//!
//! A [`panic_point`] does not kill the process; it makes the thread or task panic, as a bug would.

/// A place at which a test can kill the process or make a task panic.
#[inline]
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Returns whether a test wants to lose the answer of this write: once for each name in the
/// comma-separated `ANACOSTIA_LOSE_ANSWERS`. Always `false` in a release build.
#[must_use]
pub fn loses_answer(write: &str) -> bool {
    #[cfg(debug_assertions)]
    return armed::loses_answer(write);
    #[cfg(not(debug_assertions))]
    {
        let _ = write;
        false
    }
}

/// A place at which a test can make the calling thread or task panic.
#[inline]
pub fn panic_point(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass_or_panic(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Mutex, OnceLock, PoisonError};

    struct Fault {
        name: String,
        /// Whether it panics instead of killing the process.
        panics: bool,
        /// Whether it repeats after the first time.
        repeats: bool,
        left: AtomicU64,
    }

    impl Fault {
        fn is_due(&self) -> bool {
            let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            left == Ok(1) || (left.is_err() && self.repeats)
        }
    }

    fn fault() -> Option<&'static Fault> {
        static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
        FAULT
            .get_or_init(|| {
                let text = std::env::var("ANACOSTIA_FAULT").ok()?;
                let (panics, point) = text.strip_prefix("panic:").map_or((false, &*text), |point| (true, point));
                let (name, count) = point.rsplit_once(':').unwrap_or((point, "1"));
                let (repeats, count) = count.strip_suffix('+').map_or((false, count), |count| (true, count));
                let left = AtomicU64::new(count.parse().unwrap_or(1));
                Some(Fault { name: name.to_owned(), panics, repeats, left })
            })
            .as_ref()
    }

    pub(super) fn loses_answer(write: &str) -> bool {
        static TO_LOSE: OnceLock<Mutex<BTreeSet<String>>> = OnceLock::new();
        let to_lose = TO_LOSE.get_or_init(|| {
            let names = std::env::var("ANACOSTIA_LOSE_ANSWERS").unwrap_or_default();
            Mutex::new(names.split(',').map(str::to_owned).collect())
        });
        to_lose.lock().unwrap_or_else(PoisonError::into_inner).remove(write)
    }

    fn struck(name: &str) -> Option<&'static Fault> {
        fault().filter(|fault| fault.name == name && fault.is_due())
    }

    pub(super) fn pass_or_panic(name: &str) {
        assert!(struck(name).is_none(), "a test requested a panic at {name}");
    }

    #[expect(clippy::panic, clippy::manual_assert, reason = "it is what the test asks for")]
    pub(super) fn pass(name: &str) {
        if let Some(fault) = struck(name) {
            if fault.panics {
                panic!("fault point {name}");
            }
            // SIGKILL instead of abort, so that no code runs afterwards, not even a signal handler.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}
