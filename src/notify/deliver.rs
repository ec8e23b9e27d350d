//! Delivers what waits for one receiver, oldest first.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::channel::{Refusal, Sender};
use super::shared::Shared;
use super::time::now;
use crate::base::fault;
use crate::manifest::NotifySpec;
use crate::model::{Delivery, Notification, NotificationState};

/// The pause after the first failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Delivers to one receiver.
pub(super) struct Deliverer {
    pub(super) shared: Arc<Shared>,
    pub(super) spec: NotifySpec,
    pub(super) sender: Arc<Sender>,
    pub(super) abandon: CancellationToken,
}

impl Deliverer {
    /// Delivers until `drain`, and then once more what waits, up to the first failure.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn deliver(self, drain: CancellationToken) -> Result<(), String> {
        let mut recorded = self.shared.recorded.subscribe();
        let mut failures = 0;
        loop {
            let draining = drain.is_cancelled();
            recorded.mark_unchanged();
            let Some(next) = self.next().await? else {
                if draining {
                    return Ok(());
                }
                tokio::select! {
                    changed = recorded.changed() => if changed.is_err() { return Ok(()) },
                    () = drain.cancelled() => {}
                }
                continue;
            };
            match self.attempt(next).await? {
                Some(true) => failures = 0,
                Some(false) if !draining => {
                    let pause = pause(failures);
                    failures = failures.saturating_add(1);
                    // A drain ends the pause, and tries once more.
                    let _ = tokio::time::timeout(pause, drain.cancelled()).await;
                }
                Some(false) | None => return Ok(()),
            }
        }
    }

    /// Returns the oldest notification that waits.
    async fn next(&self) -> Result<Option<Notification>, String> {
        let waiting = self.shared.store().waiting_notifications(&self.spec.name, 1).await;
        Ok(waiting.map_err(|error| error.to_string())?.into_iter().next())
    }

    /// Sends a notification and records the result. Returns whether the receiver works: `false`
    /// after a temporary failure. `None` if the host stops meanwhile.
    async fn attempt(&self, it: Notification) -> Result<Option<bool>, String> {
        let sent = tokio::select! {
            sent = self.sender.send(&it) => sent,
            () = self.abandon.cancelled() => return Ok(None),
        };
        fault::point("notify.sent");
        let attempts = it.attempts.saturating_add(1);
        let overdue = now().since(it.created_at) >= self.spec.retry_for;
        let (state, error, works) = match sent {
            Ok(()) => (NotificationState::Delivered, None, true),
            Err(Refusal::Temporary(why)) if !overdue => (NotificationState::Waiting, Some(why), false),
            Err(Refusal::Temporary(why)) => (NotificationState::GivenUp, Some(why), false),
            Err(Refusal::Permanent(why)) => (NotificationState::GivenUp, Some(why), true),
        };
        self.log(&it, state, error.as_deref());
        let delivery = Delivery { state, attempts, error };
        let noted = self.shared.store().note_delivery(it.id, delivery, now()).await;
        noted.map_err(|error| error.to_string())?;
        Ok(Some(works))
    }

    fn log(&self, it: &Notification, state: NotificationState, error: Option<&str>) {
        let (name, why) = (&self.spec.name, error.unwrap_or_default());
        match state {
            NotificationState::Delivered => tracing::info!("{name} was notified: {}", it.title),
            NotificationState::GivenUp => tracing::error!("{name} was not notified (\"{}\"): {why}", it.title),
            // Once for each notification: further failures are on record.
            NotificationState::Waiting if it.attempts == 0 => {
                tracing::warn!("{name} could not be notified (\"{}\"): {why}; it is tried again", it.title);
            }
            NotificationState::Waiting => {}
        }
    }
}

/// Returns the pause after so many failures: doubled each time, with jitter, so that many hosts do
/// not come back to a receiver at the same moment.
fn pause(failures: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE);
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::{FIRST_PAUSE, LONGEST_PAUSE, pause};

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        for failures in 0..100 {
            let longest = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE);
            let pause = pause(failures);
            assert!(pause >= longest / 2 && pause <= longest, "{failures}: {pause:?}");
        }
        assert_ne!(pause(50), pause(50));
    }
}
