//! Fault points: named places at which a test makes the process die as if by `kill -9`.
//!
//! `ANACOSTIA_FAULT=publish.renamed:3` kills the process the third time that it passes `publish.renamed`. The points are in
//! debug builds only; in a release build [`point`] is nothing. `ANACOSTIA_LOSE_ANSWERS=claim,finish` makes the store lose the first answer of
//! each of these writes after it is committed, as a connection to a server does.
//!
//! At a [`panic_point`] it is not the process that dies but the thread or task that panics, as a bug would make it.

/// A place at which the process may be made to die.
#[inline]
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Whether a test wants the answer of this write to be lost: once for each name in `ANACOSTIA_LOSE_ANSWERS`, separated by commas. `false` in a
/// release build.
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

/// A place at which whoever passes may be made to panic.
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
        left: AtomicU64,
    }

    fn fault() -> Option<&'static Fault> {
        static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
        FAULT
            .get_or_init(|| {
                let text = std::env::var("ANACOSTIA_FAULT").ok()?;
                let (name, count) = text.rsplit_once(':').unwrap_or((&text, "1"));
                Some(Fault { name: name.to_owned(), left: AtomicU64::new(count.parse().unwrap_or(1)) })
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

    fn strikes(name: &str) -> bool {
        fault().is_some_and(|fault| fault.name == name && fault.left.fetch_sub(1, Ordering::SeqCst) == 1)
    }

    pub(super) fn pass_or_panic(name: &str) {
        assert!(!strikes(name), "made to panic at {name} by a test");
    }

    pub(super) fn pass(name: &str) {
        if strikes(name) {
            // Not abort: nothing must get a chance to run, not even a signal handler.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}
