//! Asks a trigger component whether a run starts: one call in a fresh instance, with the limits of
//! an attempt.
//!
//! A decision has no attempt on record: it writes nothing, and claims nothing. So its log lines are
//! gathered in memory, within its `log` limit, and returned with the answer. The state of the guest
//! is that of an attempt without any grant. Rejected: a state of its own, because then each limit
//! would be enforced in two places.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::base::bounds::cut;
use crate::base::{AttemptId, Freed};
use crate::model::{ErrorInfo, LogLevel, LogLine, LogPosition, LogRange};
use crate::store::Result as StoreResult;
use crate::store::logs::{LogPage, LogStore, LogTail};

use super::bindings::exports::anacostia::pipeline::decider;
use super::decision_order::{Decision, DecisionOrder, DecisionReport};
use super::host::GuestState;
use super::host::http::HeaderValues;
use super::host::question::Question;
use super::setup::Attempt;
use super::watch::{Cause, Ending, Slices, Watch};
use super::{limits, outcome};

/// Maximum length of a reason, in bytes.
const MAX_REASON_BYTES: usize = 1_000;
/// The shortest time after which a component is asked again.
const MIN_ASK_AGAIN: Duration = Duration::from_secs(1);
/// The longest time after which a component is asked again.
const MAX_ASK_AGAIN: Duration = Duration::from_hours(366 * 24);

impl Attempt {
    /// Asks a trigger component. The log of `services` must be `lines`.
    pub(super) async fn decide(self, order: &DecisionOrder, lines: Arc<Lines>) -> DecisionReport {
        let began = Instant::now();
        let (mut state, outputs) = self.state(&[], &Arc::new(HeaderValues::none()));
        state.question = Some(Question::new(order, self.services.clock.now()));
        let mut watch = Watch::new(self.order.limits.wall, self.stop.clone(), self.gone.clone());
        let mut store = self.store(state);
        let slices = Slices::of(store.data(), &self.ticker);
        let ending = watch.over(slices.poll(self.component.decide(&mut store))).await;
        for output in &outputs {
            output.finish();
        }
        let state = store.into_data();
        let decision = match ending {
            Ending::Guest(ended) => outcome::value(ended, &state).map(|decision| read(decision, &state)),
            Ending::Stopped(Cause::WallTime) => Err(limits::wall(&self.order.action, &self.order.limits)),
            Ending::Stopped(Cause::Cancelled | Cause::HandedBack) => Err(stopping()),
        };
        for denial in state.gate.denials() {
            state.log.host(LogLevel::Warn, &format!("denied: {}: {}", denial.call, denial.message));
        }
        state.log.flush();
        DecisionReport { decision, lines: lines.take(), took: began.elapsed() }
    }
}

/// Returns the error of a component whose host is stopping.
pub(super) fn stopping() -> ErrorInfo {
    ErrorInfo::retryable("unavailable", "the host is stopping")
}

fn read(decision: decider::Decision, state: &GuestState) -> Decision {
    match decision {
        decider::Decision::Fire(why) => Decision::Fire(reason(&why, state)),
        decider::Decision::Skip(skipped) => Decision::Skip {
            reason: reason(&skipped.reason, state),
            ask_again: skipped
                .ask_again_ms
                .map(|after| Duration::from_millis(after).clamp(MIN_ASK_AGAIN, MAX_ASK_AGAIN)),
        },
    }
}

/// Returns a reason on one line.
fn reason(text: &str, state: &GuestState) -> String {
    let clean = outcome::clean(&state.masker, text);
    let line = clean.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    if line.is_empty() { "it gave no reason".to_owned() } else { cut(&line, MAX_REASON_BYTES).into_owned() }
}

/// The log lines of one decision.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<Vec<LogLine>>);

impl Lines {
    fn take(&self) -> Vec<LogLine> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl LogStore for Lines {
    fn end(&self) -> LogPosition {
        LogPosition::default()
    }

    fn append(&self, lines: &[LogLine]) -> StoreResult<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(lines);
        Ok(0)
    }

    fn probe(&self) -> StoreResult<()> {
        Ok(())
    }

    fn read(&self, _: AttemptId, _: LogRange, _: Option<&str>, _: u32) -> StoreResult<LogPage> {
        Ok(LogPage::default())
    }

    fn tail(&self, _: AttemptId, _: LogRange, _: Option<&str>, _: u32) -> StoreResult<LogTail> {
        Ok(LogTail::default())
    }

    fn trim(&self, _: &[LogRange], _: Option<std::time::Duration>, _: bool) -> StoreResult<Freed> {
        Ok(Freed::default())
    }

    fn grown(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    async fn lost(&self) -> String {
        std::future::pending().await
    }
}
