//! Looks at the plan of every statement that the store runs: none may cost what is on record.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Notes a statement that was prepared.
pub(super) fn note(sql: &str) {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(sql.to_owned());
}

/// All statements that were prepared in this process.
pub(super) fn seen() -> Vec<String> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}
