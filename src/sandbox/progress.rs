//! Limits how often the progress of an attempt is reported, because a guest may call as often as it
//! likes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::base::AttemptId;

use super::order::Progress;

/// Minimum time between two reports of one attempt.
const APART: Duration = Duration::from_millis(100);

/// Forwards the newest report of one attempt at a limited rate.
pub(super) struct ProgressTap {
    attempt: AttemptId,
    sink: Arc<dyn Fn(AttemptId, Progress) + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Option<Progress>,
    handed_on: Option<Instant>,
}

impl ProgressTap {
    /// Creates a tap that forwards to `sink`.
    pub(super) fn new(attempt: AttemptId, sink: Arc<dyn Fn(AttemptId, Progress) + Send + Sync>) -> Self {
        Self { attempt, sink, state: Mutex::default() }
    }

    /// Stores a report of the guest. It replaces an earlier report that was not forwarded yet.
    pub(super) fn report(&self, progress: Progress) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).waiting = Some(progress);
        self.flush();
    }

    /// Forwards the stored report if enough time has passed. Called at the end of each slice.
    pub(super) fn flush(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.waiting.is_none() || state.handed_on.is_some_and(|at| at.elapsed() < APART) {
            return;
        }
        if let Some(progress) = state.waiting.take() {
            state.handed_on = Some(Instant::now());
            (self.sink)(self.attempt, progress);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reports_are_throttled_and_the_newest_is_kept() {
        let seen: Arc<Mutex<Vec<f64>>> = Arc::default();
        let sink = Arc::clone(&seen);
        let tap = ProgressTap::new(AttemptId::new(), Arc::new(move |_, p| sink.lock().unwrap().push(p.fraction)));
        for step in 0..1_000 {
            tap.report(Progress { fraction: f64::from(step), message: String::new() });
        }
        let handed_on = seen.lock().unwrap().clone();
        assert_eq!(handed_on[0].to_bits(), 0.0_f64.to_bits());
        assert!(handed_on.len() < 500, "{}", handed_on.len());
        let deadline = Instant::now() + Duration::from_secs(30);
        while seen.lock().unwrap().last() != Some(&999.0) {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(1));
            tap.flush();
        }
    }
}
