//! Delivers what waits for one receiver, oldest first.
//!
//! A notification that its receiver cannot take must not hold up the others. So after a failure the
//! next one is tried. If that works, the one that failed is put aside, and tried again after
//! growing pauses of its own. If it fails too, the receiver is down, and the two are tried in turn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::channel::{Refusal, Sender};
use super::shared::Shared;
use super::time::now;
use crate::base::{NotificationId, fault};
use crate::manifest::NotifySpec;
use crate::model::{Delivery, Notification, NotificationState};

/// The pause after the first failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// How many failures in a row show that the receiver is down, while the host stops. They are of
/// different notifications, because a failed one is put aside then.
const DOWN: u32 = 2;

/// Delivers to one receiver.
pub(super) struct Deliverer {
    pub(super) shared: Arc<Shared>,
    pub(super) spec: NotifySpec,
    pub(super) sender: Arc<Sender>,
    pub(super) abandon: CancellationToken,
}

impl Deliverer {
    /// Delivers until `drain`. Then tries each waiting notification once more, unless the receiver
    /// is down.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn deliver(self, drain: CancellationToken) -> Result<(), String> {
        let mut recorded = self.shared.recorded.subscribe();
        let mut order = Order::default();
        let mut draining = false;
        loop {
            if drain.is_cancelled() && !draining {
                (draining, order) = (true, Order::default());
            }
            recorded.mark_unchanged();
            let next = order.next(self.waiting(order.enough()).await?, Instant::now(), draining);
            let it = match next {
                Next::Now(it) => it,
                Next::Later(_) if draining => return Ok(()),
                Next::Later(at) => {
                    tokio::select! {
                        changed = recorded.changed() => if changed.is_err() { return Ok(()) },
                        () = sleep_until(at) => {}
                        () = drain.cancelled() => {}
                    }
                    continue;
                }
            };
            let (id, tries) = (it.id, it.attempts.saturating_add(1));
            let Some(works) = self.attempt(*it).await? else { return Ok(()) };
            order.note(id, tries, works, Instant::now());
            if draining && !works {
                if order.failures >= DOWN {
                    return Ok(());
                }
                order.aside.insert(id, Instant::now());
            }
        }
    }

    /// Returns the oldest notifications that wait.
    async fn waiting(&self, limit: u32) -> Result<Vec<Notification>, String> {
        let waiting = self.shared.store().waiting_notifications(&self.spec.name, limit).await;
        waiting.map_err(|error| error.to_string())
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
            NotificationState::GivenUp => tracing::error!("gave up notifying {name} (\"{}\"): {why}", it.title),
            // Log this once for each notification; further failures are on record.
            NotificationState::Waiting if it.attempts == 0 => {
                tracing::warn!("{name} could not be notified (\"{}\"): {why}; it is tried again", it.title);
            }
            NotificationState::Waiting => {}
        }
    }
}

/// What is tried next.
#[derive(Debug, PartialEq)]
enum Next {
    Now(Box<Notification>),
    /// Nothing until then; without a time, until something is recorded.
    Later(Option<Instant>),
}

/// Decides in which order notifications are tried.
#[derive(Default)]
struct Order {
    /// Those that failed while the receiver took others, and when they are tried again.
    aside: BTreeMap<NotificationId, Instant>,
    /// The one that failed last, unless another one was taken since, and how often it was tried.
    failed: Option<(NotificationId, u32)>,
    /// How many tries in a row have failed.
    failures: u32,
    /// When the next try is due.
    due: Option<Instant>,
    /// Whether the last one was the only one to try. The next one is then tried as soon as it is
    /// there.
    alone: bool,
}

impl Order {
    /// Returns how many of the oldest to look at, so that at least two of them are not put aside.
    fn enough(&self) -> u32 {
        u32::try_from(self.aside.len()).unwrap_or(u32::MAX).saturating_add(2)
    }

    /// Chooses from the oldest that wait. At the end (`last`) there are no pauses, and what is put
    /// aside stays there.
    fn next(&mut self, waiting: Vec<Notification>, now: Instant, last: bool) -> Next {
        self.aside.retain(|id, _| waiting.iter().any(|it| it.id == *id));
        let is_ready = |it: &Notification| self.aside.get(&it.id).is_none_or(|at| !last && *at <= now);
        let mut ready = waiting.into_iter().filter(is_ready);
        let (first, second) = (ready.next(), ready.next());
        let is_alone = second.is_none();
        let failed = |it: &Notification| self.failed.is_some_and(|(id, _)| id == it.id);
        let Some(chosen) = (if first.as_ref().is_some_and(failed) { second.or(first) } else { first }) else {
            return Next::Later(self.aside.values().min().copied());
        };
        let early = last || (self.alone && !failed(&chosen));
        if let Some(due) = self.due.filter(|due| *due > now && !early) {
            return Next::Later(Some(due));
        }
        self.alone = is_alone;
        Next::Now(Box::new(chosen))
    }

    /// Notes a try, the `tries`th of this one, and whether the receiver works.
    fn note(&mut self, id: NotificationId, tries: u32, works: bool, now: Instant) {
        if !works {
            self.due = Some(now + pause(self.failures));
            self.failures = self.failures.saturating_add(1);
            self.failed = Some((id, tries));
            return;
        }
        (self.failures, self.due) = (0, None);
        if let Some((other, tries)) = self.failed.take().filter(|(other, _)| *other != id) {
            self.aside.insert(other, now + pause(tries.saturating_sub(1)));
        }
    }
}

/// Waits until `at`; forever if it is `None`.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Returns the pause after this many failures: doubled each time, with jitter, so that many hosts
/// do not return to a receiver at the same moment.
pub(super) fn pause(failures: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE);
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{FIRST_PAUSE, LONGEST_PAUSE, Next, Order, pause};
    use crate::base::{NotificationId, Timestamp};
    use crate::model::{Notification, NotificationState, NotifyCause};

    fn notification(title: &str) -> Notification {
        Notification {
            id: NotificationId::new(),
            name: "ops".to_owned(),
            channel: "webhook".to_owned(),
            cause: NotifyCause::RunFailed,
            event: None,
            run_id: None,
            run_number: None,
            resource: None,
            title: title.to_owned(),
            text: String::new(),
            state: NotificationState::Waiting,
            attempts: 0,
            error: None,
            created_at: Timestamp::from_micros(0),
            ended_at: None,
        }
    }

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        for failures in 0..100 {
            let longest = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE);
            let pause = pause(failures);
            assert!(pause >= longest / 2 && pause <= longest, "{failures}: {pause:?}");
        }
        assert_ne!(pause(50), pause(50));
    }

    #[test]
    fn one_that_fails_while_others_are_taken_is_put_aside_and_tried_again_later() {
        let [bad, second, third] = ["bad", "second", "third"].map(notification);
        let (mut order, now) = (Order::default(), Instant::now());
        let later = now + FIRST_PAUSE;
        assert_eq!(order.next(vec![bad.clone()], now, false), Next::Now(Box::new(bad.clone())));
        order.note(bad.id, 1, false, now);
        assert!(matches!(order.next(vec![bad.clone()], now, false), Next::Later(Some(at)) if at <= later));
        let two = vec![bad.clone(), second.clone()];
        assert_eq!(
            order.next(two, now, false),
            Next::Now(Box::new(second.clone())),
            "what arrives then is tried at once"
        );
        order.note(second.id, 1, true, now);
        let two = vec![bad.clone(), third.clone()];
        assert_eq!(order.next(two, now, false), Next::Now(Box::new(third.clone())));
        order.note(third.id, 1, true, now);
        assert!(matches!(order.next(vec![bad.clone()], now, false), Next::Later(Some(at)) if at <= later));
        assert_eq!(order.next(vec![bad.clone()], later, false), Next::Now(Box::new(bad.clone())));
    }

    #[test]
    fn a_receiver_that_takes_no_other_either_is_down_and_gets_two_in_turn_after_growing_pauses() {
        let [first, second, third] = ["first", "second", "third"].map(notification);
        let all = vec![first.clone(), second.clone(), third];
        let (mut order, mut now) = (Order::default(), Instant::now());
        for failures in 0..20 {
            let expected = if failures % 2 == 0 { &first } else { &second };
            assert_eq!(order.next(all.clone(), now, false), Next::Now(Box::new(expected.clone())));
            order.note(expected.id, failures, false, now);
            let Next::Later(Some(at)) = order.next(all.clone(), now, false) else { panic!("there is no pause") };
            let longest = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE);
            assert!(at >= now + longest / 2 && at <= now + longest);
            now = at + Duration::from_millis(1);
        }
        order.note(first.id, 21, true, now);
        assert_eq!(order.failures, 0);
    }

    #[test]
    fn at_the_end_each_is_tried_once_without_a_pause() {
        let [bad, second] = ["bad", "second"].map(notification);
        let (mut order, now) = (Order::default(), Instant::now());
        let both = vec![bad.clone(), second.clone()];
        assert_eq!(order.next(both.clone(), now, true), Next::Now(Box::new(bad.clone())));
        order.note(bad.id, 1, false, now);
        order.aside.insert(bad.id, now);
        assert_eq!(order.next(both, now, true), Next::Now(Box::new(second.clone())));
        order.note(second.id, 1, true, now);
        assert!(matches!(order.next(vec![bad], now, true), Next::Later(_)));
    }
}
