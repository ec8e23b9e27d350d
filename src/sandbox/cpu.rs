//! Measures the CPU time of a guest: the thread's CPU clock around each slice, minus the time in
//! host functions that do work.
//!
//! Rejected: counting epochs, which follow wall time, so a guest would be charged for the time in
//! which the machine was busy with others; and fuel, which counts instructions rather than time,
//! and costs more. Host functions that only answer from memory are charged to the guest. Reading
//! the clock twice would cost more than they do, and a guest that calls them in a loop is using the
//! CPU.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The CPU time of one guest, in nanoseconds. Shared between the guest's store and the code that
/// polls it, both on one thread at a time.
#[derive(Debug)]
pub(super) struct CpuMeter {
    limit: u64,
    /// Time used in finished slices.
    used: AtomicU64,
    /// The reading of the thread's CPU clock at the start of the slice.
    slice_began: AtomicU64,
    /// Time spent in host functions in this slice.
    host: AtomicU64,
}

impl CpuMeter {
    /// Creates a meter with this limit.
    pub(super) fn new(limit: Duration) -> Self {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        Self { limit, used: AtomicU64::new(0), slice_began: AtomicU64::new(0), host: AtomicU64::new(0) }
    }

    /// Begins a slice on this thread.
    pub(super) fn begin(&self) {
        self.slice_began.store(thread_cpu_ns(), Relaxed);
        self.host.store(0, Relaxed);
    }

    /// Ends the slice.
    pub(super) fn end(&self) {
        self.used.fetch_add(self.slice(), Relaxed);
    }

    /// Returns whether the limit is exceeded. Valid during a slice.
    pub(super) fn is_over(&self) -> bool {
        self.used.load(Relaxed).saturating_add(self.slice()) > self.limit
    }

    /// Returns whether the limit is used up. Valid between slices.
    pub(super) fn is_used_up(&self) -> bool {
        self.used.load(Relaxed) >= self.limit
    }

    /// Returns the time used in finished slices.
    pub(super) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Relaxed))
    }

    /// Runs the work of a host function, without charging its time to the guest.
    pub(super) async fn host<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            let began = thread_cpu_ns();
            let answer = work.as_mut().poll(context);
            self.host.fetch_add(thread_cpu_ns().saturating_sub(began), Relaxed);
            answer
        })
        .await
    }

    fn slice(&self) -> u64 {
        let since = thread_cpu_ns().saturating_sub(self.slice_began.load(Relaxed));
        since.saturating_sub(self.host.load(Relaxed))
    }
}

fn thread_cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burn(span: Duration) {
        let began = thread_cpu_ns();
        while thread_cpu_ns() - began < u64::try_from(span.as_nanos()).unwrap() {
            std::hint::black_box(0);
        }
    }

    #[test]
    fn host_work_and_waiting_are_not_charged() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let meter = CpuMeter::new(Duration::from_millis(30));
        meter.begin();
        burn(Duration::from_millis(10));
        runtime.block_on(meter.host(async { burn(Duration::from_millis(50)) }));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!meter.is_over());
        meter.end();
        let used = meter.used();
        assert!((Duration::from_millis(10)..Duration::from_millis(30)).contains(&used), "{used:?}");
        meter.begin();
        burn(Duration::from_millis(25));
        assert!(meter.is_over());
    }
}
