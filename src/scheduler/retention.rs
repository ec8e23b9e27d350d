//! Bounds the number of events on record.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::shared::{Phase, Shared};
use super::supervise::supervise;
use crate::base::fault;

/// The number of newest events to keep: about those of the last hundred thousand runs.
const KEEP: u64 = 1_000_000;
/// How many more may accumulate before old ones are dropped, so that one transaction drops many.
const SLACK: u64 = 10_000;

/// Drops old events from time to time until `stop`. A failure only lets events accumulate, and
/// affects nothing else, so it does not make the host unready.
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
        fault::panic_point("events.prune");
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
