//! Bounds the readers and writers that are open in all guests together. Each holds open files of
//! the host, and a process has a limited number of them. If guests could use all of them, the host
//! could not accept connections, open logs or watch folders.
//!
//! The bound and the count belong to the process. `host::access` counts the limit of one action
//! (`handles`).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files that are reserved for the host: its connections, logs and watches, and the
/// connections of guests, of which each guest has a few.
const RESERVED_FILES: u64 = 2_048;
/// The number of open files of a writer: the file, and the folder that contains it. A reader has
/// one.
const FILES_PER_HANDLE: u64 = 2;

/// Counts handles, up to a bound.
#[derive(Debug)]
pub(super) struct Handles {
    most: usize,
    open: AtomicUsize,
}

impl Handles {
    /// Returns the handles of this process.
    pub(super) fn of_process() -> &'static Self {
        static ALL: OnceLock<Handles> = OnceLock::new();
        ALL.get_or_init(|| Self { most: share(open_files()), open: AtomicUsize::new(0) })
    }

    /// Returns the maximum number of handles that are open at once.
    pub(super) fn most(&self) -> usize {
        self.most
    }
}

/// The handles of one attempt. Dropping it gives them back.
#[derive(Debug)]
pub(super) struct Held {
    all: &'static Handles,
    count: usize,
}

impl Held {
    /// Creates an empty set of handles, taken from `all`.
    pub(super) fn none(all: &'static Handles) -> Self {
        Self { all, count: 0 }
    }

    /// Takes one handle. Returns `false` if none is left.
    pub(super) fn take(&mut self) -> bool {
        let taken = self.all.open.fetch_update(SeqCst, SeqCst, |open| (open < self.all.most).then_some(open + 1));
        self.count += usize::from(taken.is_ok());
        taken.is_ok()
    }

    /// Gives one handle back.
    pub(super) fn give_back(&mut self) {
        if self.count > 0 {
            self.count -= 1;
            self.all.open.fetch_sub(1, SeqCst);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.open.fetch_sub(self.count, SeqCst);
    }
}

/// Returns how many files this process may have open, after raising the limit as far as possible:
/// many systems set it to 1,024 by default.
fn open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Returns how many handles guests may have if the process may open `files` files.
fn share(files: u64) -> usize {
    let guests = files.saturating_sub(RESERVED_FILES.min(files / 2)) / FILES_PER_HANDLE;
    usize::try_from(guests).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_share_a_part_of_the_file_handles_and_return_them() {
        let all: &'static Handles = Box::leak(Box::new(Handles { most: 3, open: AtomicUsize::new(0) }));
        let (mut one, mut other) = (Held::none(all), Held::none(all));
        assert!(one.take() && one.take() && other.take());
        assert!(!one.take() && !other.take());
        one.give_back();
        assert!(other.take() && !other.take());
        drop(other);
        assert!(one.take() && one.take() && !one.take());
        drop(one);
        assert_eq!(all.open.load(SeqCst), 0);
    }

    #[test]
    fn the_host_always_reserves_file_handles_for_itself() {
        assert_eq!([share(0), share(1), share(256), share(1024), share(20_000)], [0, 0, 64, 256, 8_976]);
    }
}
