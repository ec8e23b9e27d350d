//! Keeps the number of events on record bounded.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::shared::{Phase, Shared};
use super::supervise::supervise;

/// So many of the newest events are kept: those of the last hundred thousand runs or so.
const KEEP: u64 = 1_000_000;
/// So many more may gather before old ones are dropped: one transaction for many.
const SLACK: u64 = 10_000;

/// Drops old events now and then until `stop`. While this does not work, events gather and nothing
/// else suffers, so it does not make the host unready.
pub(super) async fn prune_events(shared: Arc<Shared>, stop: CancellationToken) {
    let begin = || {
        let shared = Arc::clone(&shared);
        async move {
            keep_events_bounded(shared).await;
            Ok(())
        }
    };
    supervise("the retention of events", stop, begin, |_| {}).await;
}

async fn keep_events_bounded(shared: Arc<Shared>) {
    let (mut newest, mut phase) = (shared.store.newest_event(), shared.phase.clone());
    let mut pruned_at = 0;
    loop {
        let now = *newest.borrow_and_update();
        if now >= pruned_at + SLACK {
            pruned_at = now;
            if let Err(error) = shared.store.prune_events(KEEP).await {
                tracing::warn!("{error}; old events are dropped later");
            }
        }
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { return },
            _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
        }
    }
}
