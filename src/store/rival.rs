//! What a starting host finds out about the host that has the lease of a store on a server.

use std::time::{Duration, Instant};

use super::Holder;

/// After this time without a renewal, a lease has ended whatever the server's clock says: someone
/// may have set it back.
const STALE_AFTER: Duration = Duration::from_secs(10);
/// How often a starting host looks whether the lease of another one is renewed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The host that has the lease.
#[derive(Debug, Default)]
pub(super) struct Rival {
    /// Its lease when it was first seen, and when that was.
    seen: Option<(String, Instant)>,
    has_ended: bool,
}

impl Rival {
    /// Returns the lease that may be taken although it has time left: its host has ended, or has
    /// not renewed it for long.
    pub(super) fn stale(&self) -> Option<&str> {
        let (lease, since) = self.seen.as_ref()?;
        (self.has_ended || since.elapsed() > STALE_AFTER).then_some(lease)
    }

    /// Notes that the lease is held. Returns whether its host has renewed it, so it is running;
    /// otherwise waits until it is time to look again.
    pub(super) async fn is_running(&mut self, lease: String, holder: Option<&str>) -> bool {
        if self.seen.as_ref().is_some_and(|(before, _)| *before != lease) {
            return true;
        }
        self.seen.get_or_insert_with(|| (lease, Instant::now()));
        self.has_ended = Holder::read(holder).is_some_and(|holder| holder.has_ended());
        if !self.has_ended {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        false
    }
}
