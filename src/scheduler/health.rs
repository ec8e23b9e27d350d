//! Tracks whether the host can do its work, for `/readyz`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::Timestamp;

/// What prevents the host from working at the moment. Cheap to clone; clones share their state.
#[derive(Debug, Clone, Default)]
pub(super) struct Health(Arc<Board>);

#[derive(Debug, Default)]
struct Board {
    /// Whether the last write failed. Checked after every write, so it must be cheap.
    failing: AtomicBool,
    /// Since when nothing can be recorded, and why.
    unrecordable: Mutex<Option<(Timestamp, String)>>,
    /// The parts that do not work, each with the reason.
    troubles: Mutex<BTreeMap<&'static str, String>>,
}

impl Health {
    /// Records that a write failed temporarily.
    pub(super) fn write_failed(&self, now: Timestamp, why: &str) {
        let mut unrecordable = self.0.unrecordable.lock().unwrap_or_else(PoisonError::into_inner);
        let since = unrecordable.as_ref().map_or(now, |(since, _)| *since);
        *unrecordable = Some((since, why.to_owned()));
        self.0.failing.store(true, Ordering::SeqCst);
    }

    /// Records that the store answered a write, so it takes writes.
    pub(super) fn write_answered(&self) {
        if self.0.failing.swap(false, Ordering::SeqCst) {
            *self.0.unrecordable.lock().unwrap_or_else(PoisonError::into_inner) = None;
            tracing::warn!("the metadata store takes records again");
        }
    }

    /// Records that a part does not work. The reason is displayed as "{part}: {why}".
    pub(super) fn trouble(&self, part: &'static str, why: String) {
        self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner).insert(part, why);
    }

    /// Records that a part works again.
    pub(super) fn mended(&self, part: &'static str) {
        self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner).remove(part);
    }

    /// Returns the reasons why the host is not ready; empty if it is.
    pub(super) fn not_ready(&self) -> Vec<String> {
        let unrecordable = self.0.unrecordable.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let troubles = self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let unrecordable = unrecordable.map(|(since, why)| format!("nothing can be recorded since {since}: {why}"));
        unrecordable.into_iter().chain(troubles.iter().map(|(part, why)| format!("{part}: {why}"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Health;
    use crate::base::Timestamp;

    #[test]
    fn the_reason_names_the_first_failure_and_is_cleared_by_the_first_success() {
        let health = Health::default();
        health.write_failed(Timestamp::from_micros(0), "the disk is full");
        health.write_failed(Timestamp::from_micros(9_000_000), "database is locked");
        let reason = "nothing can be recorded since 1970-01-01T00:00:00.000000Z: database is locked";
        assert_eq!(health.not_ready(), [reason]);
        health.write_answered();
        assert!(health.not_ready().is_empty());
        health.trouble("new runs", "no such table".to_owned());
        assert_eq!(health.not_ready(), ["new runs: no such table"]);
        health.mended("new runs");
        assert!(health.not_ready().is_empty());
    }
}
