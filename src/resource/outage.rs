//! What keeps committed outputs from being published at the moment. It is not on record: only the
//! host that tries knows it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use utoipa::ToSchema;

use crate::base::{AttemptId, Clock as _, SystemClock, Timestamp};

/// Why the outputs of an attempt, which are committed, are not published yet. The host goes on
/// trying.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct Outage {
    /// The resource that does not take them.
    pub resource: String,
    /// Why the last try has failed.
    pub reason: String,
    /// How often this host has tried.
    pub tries: u32,
    /// When the first try failed.
    pub since: Timestamp,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = if self.tries == 1 { "once" } else { "times" };
        let count = if self.tries == 1 { String::new() } else { format!("{} ", self.tries) };
        write!(f, "outputs wait for {}: {} (tried {count}{times} since {})", self.resource, self.reason, self.since)
    }
}

/// The outages that attempts are waiting out. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Outages(Arc<Mutex<BTreeMap<AttemptId, Outage>>>);

impl Outages {
    /// Notes that a try has failed.
    pub fn failed(&self, attempt: AttemptId, resource: &str, reason: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (tries, since) = match all.get(&attempt).filter(|known| known.resource == resource) {
            Some(known) => (known.tries.saturating_add(1), known.since),
            None => (1, SystemClock.now()),
        };
        all.insert(attempt, Outage { resource: resource.to_owned(), reason: reason.to_owned(), tries, since });
    }

    /// Notes that an attempt waits no longer.
    pub fn over(&self, attempt: AttemptId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&attempt);
    }

    /// Returns all outages.
    #[must_use]
    pub fn all(&self) -> BTreeMap<AttemptId, Outage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::Outages;
    use crate::base::AttemptId;

    #[test]
    fn tries_are_counted_from_the_first_failure_until_it_is_over() {
        let (outages, attempt) = (Outages::default(), AttemptId::new());
        outages.failed(attempt, "models", "no");
        let first = outages.all()[&attempt].clone();
        assert_eq!(first.to_string(), format!("outputs wait for models: no (tried once since {})", first.since));
        outages.failed(attempt, "models", "never");
        let second = outages.all()[&attempt].clone();
        assert_eq!(second.to_string(), format!("outputs wait for models: never (tried 2 times since {})", first.since));
        outages.failed(attempt, "other", "no");
        assert_eq!(outages.all()[&attempt].tries, 1, "another resource is another outage");
        outages.over(attempt);
        assert!(outages.all().is_empty());
    }
}
