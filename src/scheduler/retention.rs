//! Keeps the number of events on record bounded.

use std::sync::Arc;

use super::shared::{Phase, Shared};

/// So many of the newest events are kept: those of the last hundred thousand runs or so.
const KEEP: u64 = 1_000_000;
/// So many more may gather before old ones are dropped: one transaction for many.
const SLACK: u64 = 10_000;

/// Drops old events now and then, until the host stops.
pub(super) async fn keep_events_bounded(shared: Arc<Shared>) {
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
