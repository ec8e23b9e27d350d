//! Fault points: named places at which a test makes the process die as if by `kill -9`, or makes a
//! task panic.
//!
//! `ANACOSTIA_FAULT=publish.renamed:3` kills the process the third time that it passes
//! `publish.renamed`. `ANACOSTIA_FAULT=panic:publish.renamed:3` makes whatever passes it for the
//! third time panic; with `3+` instead of `3`, whatever passes it from then on. The points are in
//! debug builds only; in a release build [`point`] does nothing.
//!
//! `ANACOSTIA_LOSE_ANSWERS=claim,finish` makes the store lose the first answer of each of these
//! writes after it is committed, as a connection to a server does.
//!
//! At a [`panic_point`] it is not the process that dies but the thread or task that panics, as a
//! bug would make it.

/// A place at which the process may be made to die, or a task to panic.
#[inline]
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Whether a test wants the answer of this write to be lost: once for each name in
/// `ANACOSTIA_LOSE_ANSWERS`, separated by commas. `false` in a release build.
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

/// A place at which the calling thread or task may be made to panic.
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
        /// Whether it panics, and does not kill the process.
        panics: bool,
        /// Whether it goes on after the first time.
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
        assert!(struck(name).is_none(), "made to panic at {name} by a test");
    }

    #[expect(clippy::panic, clippy::manual_assert, reason = "it is what the test asks for")]
    pub(super) fn pass(name: &str) {
        if let Some(fault) = struck(name) {
            if fault.panics {
                panic!("fault point {name}");
            }
            // Not abort: nothing must get a chance to run, not even a signal handler.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}
