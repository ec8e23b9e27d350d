//! Watching over the calls of one attempt: each is polled in slices, until it ends or is stopped.
//! The deadline, and the time that a cancelled attempt has left, are those of the attempt, however
//! many calls it makes.

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
    /// By itself, by a trap or by a halt.
    Guest(Ended<T>),
    /// The host stopped it in the middle.
    Stopped(Cause),
}

/// Why a call was stopped in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The attempt's wall time is used up.
    WallTime,
    /// The run is cancelled, and the grace is over.
    Cancelled,
    /// The host stops, or nobody waits for the attempt any more.
    HandedBack,
}

/// Decides how long calls may go on.
pub(super) struct Watch {
    deadline: Instant,
    /// When a cancelled attempt is stopped; absent as long as it is not cancelled.
    grace: Option<Instant>,
    stop: StopSignal,
    gone: CancellationToken,
}

impl Watch {
    /// The watch over an attempt that begins now. `gone` is cancelled when nobody waits for its
    /// report any more.
    pub(super) fn new(wall: Duration, stop: StopSignal, gone: CancellationToken) -> Self {
        Self { deadline: Instant::now() + wall, grace: None, stop, gone }
    }

    /// Whether the attempt has been told that its run is being cancelled.
    pub(super) fn is_cancelled(&self) -> bool {
        self.grace.is_some()
    }

    /// Why nothing more may be called, if it may not.
    pub(super) fn is_over(&self) -> Option<&'static str> {
        let now = Instant::now();
        if self.grace.is_some_and(|grace| grace <= now) {
            return Some("the time that a cancelled attempt has left is over");
        }
        (self.deadline <= now).then_some("the limit of wall time is reached")
    }

    /// Runs one call until it ends or is stopped.
    pub(super) async fn over<T>(&mut self, call: impl Future<Output = Ended<T>>) -> Ending<T> {
        let mut call = pin!(call);
        loop {
            // Whoever is ready first in this order counts: a guest that ends after it was told to
            // stop is stopped.
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
                ended = &mut call => return Ending::Guest(ended),
            }
        }
    }
}

/// Waits until the attempt is to stop; for being handed back only if it knows of being cancelled.
pub(super) async fn asked_to_stop(stop: &mut StopSignal, cancelled: bool) -> Stop {
    let wanted = |stop: &Stop| *stop == Stop::HandBack || (*stop == Stop::Cancel && !cancelled);
    let asked = stop.wait_for(wanted).await.map(|stop| *stop);
    match asked {
        Ok(asked) => asked,
        // Nobody is left to say stop.
        Err(_) => std::future::pending().await,
    }
}

/// Does around each slice of a guest what must be done: the ticker runs, CPU time is counted, lines
/// are written.
pub(super) struct Slices {
    ticker: Arc<Ticker>,
    cpu: Arc<CpuMeter>,
    log: Arc<AttemptLog>,
    progress: Arc<ProgressTap>,
}

impl Slices {
    /// For a guest with this state.
    pub(super) fn of(state: &GuestState, ticker: &Arc<Ticker>) -> Self {
        Self {
            ticker: Arc::clone(ticker),
            cpu: Arc::clone(&state.cpu),
            log: Arc::clone(&state.log),
            progress: Arc::clone(&state.progress),
        }
    }

    /// Polls a call of the guest to its end.
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
            // A guest that ignores that its output is closed, or whose lines cannot be written, is
            // stopped here.
            Some(halt) => Poll::Ready(Err(wasmtime::Error::new(halt))),
            None => answer,
        }
    }
}
