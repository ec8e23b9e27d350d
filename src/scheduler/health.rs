//! Whether the host can do its work, for `/readyz`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::Timestamp;

/// What keeps the host from its work at the moment. Cheap to clone: all clones share one record.
#[derive(Debug, Clone, Default)]
pub(super) struct Health(Arc<Board>);

#[derive(Debug, Default)]
struct Board {
    /// Whether the last write failed. Looked at after every write, so it must cost nothing.
    failing: AtomicBool,
    /// Since when nothing could be recorded, and why.
    unrecordable: Mutex<Option<(Timestamp, String)>>,
    /// Parts that do not work, with the reason.
    troubles: Mutex<BTreeMap<&'static str, String>>,
}

impl Health {
    /// A write failed for the moment.
    pub(super) fn write_failed(&self, now: Timestamp, why: &str) {
        let mut unrecordable = self.0.unrecordable.lock().unwrap_or_else(PoisonError::into_inner);
        let since = unrecordable.as_ref().map_or(now, |(since, _)| *since);
        *unrecordable = Some((since, why.to_owned()));
        self.0.failing.store(true, Ordering::SeqCst);
    }

    /// A write was answered, so the store takes writes.
    pub(super) fn write_answered(&self) {
        if self.0.failing.swap(false, Ordering::SeqCst) {
            *self.0.unrecordable.lock().unwrap_or_else(PoisonError::into_inner) = None;
            tracing::warn!("the metadata store takes records again");
        }
    }

    /// A part does not work, for a reason that fits "{part}: {why}".
    pub(super) fn trouble(&self, part: &'static str, why: String) {
        self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner).insert(part, why);
    }

    /// A part works again.
    pub(super) fn mended(&self, part: &'static str) {
        self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner).remove(part);
    }

    /// Why the host is not ready, if it is not.
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
    fn the_reason_names_the_first_failure_and_goes_away_with_the_first_answer() {
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
