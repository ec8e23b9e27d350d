//! Supervises the calls of one attempt. Each call is polled in slices until it ends or is stopped.
//! The deadline, and the grace period of a cancelled attempt, apply to the attempt as a whole, not
//! to each call.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::cpu::CpuMeter;
use super::ended::Ended;
use super::engine::Ticker;
use super::host::GuestState;
use super::logs::AttemptLog;
use super::order::{CANCEL_GRACE, Stop, StopSignal};
use super::progress::ProgressTap;

/// How a call ended.
pub(super) enum Ending<T> {
    /// The guest ended: it returned, trapped, or was halted.
    Guest(Ended<T>),
    /// The host stopped the call.
    Stopped(Cause),
}

/// Why the host stopped a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The attempt's wall time is used up.
    WallTime,
    /// The run is cancelled, and the grace period is over.
    Cancelled,
    /// The host is shutting down, or the caller no longer waits for the attempt.
    HandedBack,
}

/// Decides how long calls may continue.
pub(super) struct Watch {
    deadline: Instant,
    /// When a cancelled attempt is stopped. `None` while it is not cancelled.
    grace: Option<Instant>,
    stop: StopSignal,
    gone: CancellationToken,
}

impl Watch {
    /// Creates the watch for an attempt that begins now. `gone` is cancelled when the caller no
    /// longer waits for its report.
    pub(super) fn new(wall: Duration, stop: StopSignal, gone: CancellationToken) -> Self {
        Self { deadline: Instant::now() + wall, grace: None, stop, gone }
    }

    /// Returns whether the attempt was notified that its run is being cancelled.
    pub(super) fn is_cancelled(&self) -> bool {
        self.grace.is_some()
    }

    /// Returns why no further call may be made, if none may.
    pub(super) fn is_over(&self) -> Option<&'static str> {
        let now = Instant::now();
        if self.grace.is_some_and(|grace| grace <= now) {
            return Some("the grace period of the cancelled attempt is over");
        }
        (self.deadline <= now).then_some("the limit of wall time is reached")
    }

    /// Runs one call until it ends or is stopped.
    pub(super) async fn over<T>(&mut self, call: impl Future<Output = Ended<T>>) -> Ending<T> {
        let mut call = pin!(call);
        loop {
            // The first ready branch in this order wins: a guest that ends after it was told to
            // stop counts as stopped.
            tokio::select! {
                biased;
                () = self.gone.cancelled() => return Ending::Stopped(Cause::HandedBack),
                asked = asked_to_stop(&mut self.stop, self.grace.is_some()) => match asked {
                    Stop::HandBack => return Ending::Stopped(Cause::HandedBack),
                    _ => self.grace = Some(Instant::now() + CANCEL_GRACE),
                },
                () = sleep_until(self.grace.map_or(self.deadline, |grace| grace.min(self.deadline))) => {
                    return Ending::Stopped(if self.grace.is_some() { Cause::Cancelled } else { Cause::WallTime });
                }
                ended = &mut call => {
                    self.take_late_cancel();
                    return Ending::Guest(ended);
                }
            }
        }
    }

    /// Notes a cancel that came while the guest was running. The guest reads the same signal, so it
    /// may have ended because of it before this watch was woken.
    fn take_late_cancel(&mut self) {
        if self.grace.is_none() && *self.stop.borrow() == Stop::Cancel {
            self.grace = Some(Instant::now() + CANCEL_GRACE);
        }
    }
}

/// Waits until the attempt is asked to stop. If it already knows that it is cancelled, waits only
/// for `HandBack`.
pub(super) async fn asked_to_stop(stop: &mut StopSignal, cancelled: bool) -> Stop {
    let wanted = |stop: &Stop| *stop == Stop::HandBack || (*stop == Stop::Cancel && !cancelled);
    let asked = stop.wait_for(wanted).await.map(|stop| *stop);
    match asked {
        Ok(asked) => asked,
        // The sender is gone, so no stop can follow.
        Err(_) => std::future::pending().await,
    }
}

/// Does the work around each slice of a guest: runs the ticker, counts CPU time, and writes log
/// lines.
pub(super) struct Slices {
    ticker: Arc<Ticker>,
    cpu: Arc<CpuMeter>,
    log: Arc<AttemptLog>,
    progress: Arc<ProgressTap>,
}

impl Slices {
    /// Creates the slices for a guest with this state.
    pub(super) fn of(state: &GuestState, ticker: &Arc<Ticker>) -> Self {
        Self {
            ticker: Arc::clone(ticker),
            cpu: Arc::clone(&state.cpu),
            log: Arc::clone(&state.log),
            progress: Arc::clone(&state.progress),
        }
    }

    /// Polls a call of the guest until it ends.
    pub(super) async fn poll<T>(self, call: impl Future<Output = Ended<T>>) -> Ended<T> {
        let mut call = pin!(call);
        std::future::poll_fn(|context| self.slice(call.as_mut(), context)).await
    }

    fn slice<T>(&self, call: Pin<&mut impl Future<Output = Ended<T>>>, context: &mut Context<'_>) -> Poll<Ended<T>> {
        let slice = self.ticker.enter();
        self.cpu.begin();
        let answer = call.poll(context);
        self.cpu.end();
        drop(slice);
        self.log.flush();
        self.progress.flush();
        match self.log.halt() {
            // A guest that ignores a closed output, or whose lines cannot be written, is stopped
            // here.
            Some(halt) => Poll::Ready(Err(wasmtime::Error::new(halt))),
            None => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    #[tokio::test]
    async fn a_guest_that_ends_in_the_slice_in_which_it_is_cancelled_is_cancelled() {
        let (cancel, stop) = watch::channel(Stop::No);
        let mut watch = Watch::new(Duration::from_mins(1), stop, CancellationToken::new());
        let ending = watch
            .over(async {
                cancel.send_replace(Stop::Cancel);
                Ok(Ok(()))
            })
            .await;
        assert!(matches!(ending, Ending::Guest(Ok(Ok(())))));
        assert!(watch.is_cancelled());
    }

    #[tokio::test]
    async fn a_guest_that_ends_by_itself_is_not_cancelled() {
        let (_cancel, stop) = watch::channel(Stop::No);
        let mut watch = Watch::new(Duration::from_mins(1), stop, CancellationToken::new());
        assert!(matches!(watch.over(async { Ok(Ok(())) }).await, Ending::Guest(Ok(Ok(())))));
        assert!(!watch.is_cancelled());
    }
}
