//! Keeps track of connections without a request, so that the longest idle one can make room.
//!
//! Programs keep connections open in case they need them again. Without this, a few hundred of them
//! would keep every other client, and the probe of `/readyz`, waiting until they time out.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio_util::sync::CancellationToken;

/// How long a connection must have been idle before it is closed to make room. A new one gets this
/// long to send its request.
const MIN_IDLE: Duration = Duration::from_millis(250);

/// When a connection became idle, and its number, which distinguishes those of one instant.
type Since = (Instant, u64);

/// The idle connections of a server. Clones share their state.
#[derive(Debug, Clone, Default)]
pub(super) struct IdleConnections(Arc<Mutex<BTreeMap<Since, CancellationToken>>>);

impl IdleConnections {
    /// Adds a new connection, which is idle.
    pub(super) fn add(&self, number: u64) -> Arc<Seat> {
        let seat = Seat { all: self.clone(), number, since: Mutex::default(), leave: CancellationToken::new() };
        seat.set_idle();
        Arc::new(seat)
    }

    /// Asks the connection that has been idle the longest to close, if it has been idle for at
    /// least [`MIN_IDLE`] at `now`.
    pub(super) fn close_longest(&self, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(longest) = all.first_entry().filter(|entry| entry.key().0 + MIN_IDLE <= now) {
            longest.remove().cancel();
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Seat {
    all: IdleConnections,
    number: u64,
    /// Since when it has been idle; `None` during a request.
    since: Mutex<Option<Since>>,
    leave: CancellationToken,
}

impl Seat {
    /// Begins a request, which ends when the result is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.forget();
        Busy(Arc::clone(self))
    }

    /// Returns whether no request is in progress.
    pub(super) fn is_idle(&self) -> bool {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Waits until the connection is asked to make room.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.cancelled().await;
    }

    fn set_idle(&self) {
        let now = (Instant::now(), self.number);
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).insert(now, self.leave.clone());
    }

    fn forget(&self) {
        if let Some(since) = self.since.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&since);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.forget();
    }
}

/// A request in progress.
#[derive(Debug)]
pub(super) struct Busy(Arc<Seat>);

impl Busy {
    /// Wraps the body of the answer: the request ends when the body is dropped, sent or not.
    pub(super) fn until_sent(self, body: Body) -> Body {
        Body::new(Sending { body, _busy: self })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.set_idle();
    }
}

struct Sending {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::{IdleConnections, MIN_IDLE};

    #[test]
    fn only_the_longest_idle_connection_makes_room() {
        let (all, began) = (IdleConnections::default(), Instant::now());
        let seats: Vec<_> = (0..3).map(|number| all.add(number)).collect();
        let asked = || seats.iter().map(|seat| seat.leave.is_cancelled()).collect::<Vec<_>>();
        all.close_longest(began);
        assert_eq!(asked(), [false; 3], "each has a moment to send its first request");
        let busy = seats[0].begin();
        all.close_longest(Instant::now() + MIN_IDLE);
        assert_eq!(asked(), [false, true, false]);
        let then = Instant::now() + MIN_IDLE;
        drop(busy);
        assert!(seats[0].is_idle());
        all.close_longest(then);
        all.close_longest(then);
        assert_eq!(asked(), [false, true, true], "the first was at work until a moment ago");
        let gone = all.add(9);
        drop(gone);
        assert_eq!(all.0.lock().unwrap().len(), 1);
        assert_eq!(Arc::strong_count(&seats[0]), 1);
    }
}
