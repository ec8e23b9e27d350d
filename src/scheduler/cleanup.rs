//! Decides when a host frees disk space: at its start, every hour, after many runs, and when a
//! person asks for it; log lines also whenever a segment of the log is full. See [`Space`] for what
//! it removes.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::control::InForce;
use super::shared::{Phase, Shared};
use super::space::{GivenBack, Space};
use super::supervise::supervise;
use crate::base::{ByteSize, Freed, RunId};
use crate::store::RemovedRows;

/// The time between two rounds of freeing disk space.
const EVERY: Duration = Duration::from_hours(1);
/// After this many ended runs a round is due too, because each may have been the last that needed a
/// component.
const AFTER_RUNS: u64 = 10_000;

/// Frees disk space.
#[derive(Clone)]
pub(super) struct Cleaner {
    pub(super) space: Space,
    pub(super) in_force: watch::Receiver<InForce>,
    /// Held while a manifest comes into force, because until then its components are neither in
    /// force nor needed by a run.
    pub(super) binding: Arc<Mutex<()>>,
    /// Held by a round, so that a round that a person asks for does not count what another one
    /// removes.
    pub(super) round: Arc<Mutex<()>>,
    /// Ends a round early.
    pub(super) stop: CancellationToken,
}

/// What to free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Everything,
    Logs,
}

/// Frees disk space until `stop`. A failure only lets the disk fill, and affects nothing else, so
/// it does not make the host unready.
pub(super) async fn run_cleanup(cleaner: Cleaner, shared: Arc<Shared>, stop: CancellationToken) {
    let begin = || {
        let cleaner = cleaner.clone();
        let (ends, grown, phase) = (shared.ends.subscribe(), cleaner.space.logs.grown(), shared.phase.clone());
        let mut moments = Moments::new(ends, grown, phase, EVERY, AFTER_RUNS);
        async move {
            let mut due = Due::Everything;
            loop {
                cleaner.clean_up(due).await;
                match moments.next().await {
                    Some(next) => due = next,
                    None => return Ok(()),
                }
            }
        }
    };
    supervise("the task that frees disk space", stop, begin, |_| {}).await;
}

impl Cleaner {
    async fn clean_up(&self, due: Due) {
        if due == Due::Logs {
            let pipeline = Arc::clone(&self.in_force.borrow().pipeline);
            return log_result("log segments", self.space.trim_logs(&pipeline, false).await);
        }
        let GivenBack { runs, components, logs, compiled_code } = self.give_back(false).await;
        match runs {
            Ok(RemovedRows { runs: 0, trimmed: 0, .. }) => {}
            Ok(RemovedRows { runs, trimmed, .. }) => {
                tracing::info!("removed {runs} old runs, and the details of {trimmed} whose lineage is needed");
            }
            Err(error) => tracing::warn!("{error}; old runs are removed later"),
        }
        log_result("components that no run needs any more", components);
        log_result("log segments", logs);
        log_result("files of compiled code", compiled_code);
    }

    /// Removes what nothing needs any more; see [`Space::give_back`].
    pub(super) async fn give_back(&self, dry_run: bool) -> GivenBack {
        let _round = self.round.lock().await;
        let pipeline = Arc::clone(&self.in_force.borrow().pipeline);
        let runs = self.space.remove_old_runs(&pipeline, dry_run, &self.stop).await;
        let _binding = self.binding.lock().await;
        let in_force = self.in_force.borrow().components.values().map(|component| component.digest).collect();
        self.space.give_back_files(&pipeline, &in_force, runs, dry_run).await
    }
}

fn log_result<E: Display>(what: &str, freed: Result<Freed, E>) {
    match freed {
        Ok(Freed { files: 0, .. }) => {}
        Ok(Freed { files, bytes }) => tracing::info!("removed {files} {what} ({})", ByteSize(bytes)),
        Err(error) => tracing::warn!("{error}; {what} are removed later"),
    }
}

/// The moments at which freeing disk space is due.
struct Moments {
    ends: broadcast::Receiver<RunId>,
    grown: watch::Receiver<u64>,
    phase: watch::Receiver<Phase>,
    every: Duration,
    after_runs: u64,
    /// When a full round is due at the latest.
    at: Instant,
    /// The number of runs that have ended since the last full round.
    ended: u64,
}

impl Moments {
    /// Starts after a full round. The next is due after `every`, or after `after_runs` runs.
    fn new(
        ends: broadcast::Receiver<RunId>,
        grown: watch::Receiver<u64>,
        phase: watch::Receiver<Phase>,
        every: Duration,
        after_runs: u64,
    ) -> Self {
        Self { ends, grown, phase, every, after_runs, at: Instant::now() + every, ended: 0 }
    }

    /// Waits for the next moment; `None` once the host stops.
    async fn next(&mut self) -> Option<Due> {
        while self.ended < self.after_runs {
            tokio::select! {
                biased;
                _ = self.phase.wait_for(|phase| *phase != Phase::Running) => return None,
                Ok(()) = self.grown.changed() => return Some(Due::Logs),
                end = self.ends.recv() => self.ended += match end {
                    Ok(_) => 1,
                    Err(RecvError::Lagged(missed)) => missed,
                    Err(RecvError::Closed) => return None,
                },
                () = tokio::time::sleep_until(self.at) => break,
            }
        }
        (self.at, self.ended) = (Instant::now() + self.every, 0);
        Some(Due::Everything)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::{broadcast, watch};

    use super::{Due, Moments};
    use crate::base::RunId;
    use crate::scheduler::shared::Phase;

    /// Returns the next moment; fails the test if there is none within a minute.
    async fn next(moments: &mut Moments) -> Option<Due> {
        tokio::time::timeout(Duration::from_mins(1), moments.next()).await.expect("nothing is due")
    }

    #[tokio::test]
    async fn it_is_due_after_a_period_after_many_runs_and_when_the_log_has_grown() {
        let (ends, grown, phase) =
            (broadcast::Sender::new(2), watch::Sender::new(0), watch::Sender::new(Phase::Running));
        let moments =
            |every, after_runs| Moments::new(ends.subscribe(), grown.subscribe(), phase.subscribe(), every, after_runs);
        let (soon, never) = (Duration::from_millis(1), Duration::from_hours(24));

        let mut often = moments(soon, u64::MAX);
        assert_eq!([next(&mut often).await, next(&mut often).await], [Some(Due::Everything); 2]);

        let mut counting = moments(never, 3);
        let run_ends = || assert!(ends.send(RunId::new()).is_ok());
        run_ends();
        grown.send_modify(|sealed| *sealed += 1);
        assert_eq!(next(&mut counting).await, Some(Due::Logs));
        // Five in total, of which the channel holds the last two. The missed ones count too.
        for _ in 0..4 {
            run_ends();
        }
        assert_eq!(next(&mut counting).await, Some(Due::Everything));
        let early = tokio::time::timeout(Duration::ZERO, counting.next()).await;
        assert!(early.is_err(), "{early:?}");
        run_ends();
        assert_eq!(next(&mut counting).await, Some(Due::Everything));

        phase.send_replace(Phase::Finishing);
        assert_eq!(next(&mut counting).await, None);
    }
}
