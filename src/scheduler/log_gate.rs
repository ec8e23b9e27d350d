//! Whether log lines can be written. While they cannot, no attempt starts: a run without its log is
//! not fully recorded, so each attempt would be stopped at its first line.
//!
//! An attempt that loses lines closes the gate, and so does the check of `/readyz`. A task of the
//! host checks a closed gate every second, and opens it. An open one is not checked: that would
//! cost each attempt, or an idle host, writes that nobody needs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::supervise::supervise;
use crate::base::TimeSpan;
use crate::store::logs::LogStore;

/// How long a check waits for the log store.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// How often a closed gate is checked.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Holds back attempts while the log store cannot write. Cheap to clone; clones share their state.
#[derive(Debug, Clone, Default)]
pub(super) struct LogGate {
    /// Why it is closed. `None` while it is open.
    why: watch::Sender<Option<String>>,
    /// Held during a check, so that a disk that hangs blocks one thread and not many.
    turn: Arc<Mutex<()>>,
}

impl LogGate {
    /// Closes the gate.
    pub(super) fn close(&self, why: String) {
        let known = self.closed();
        if known.is_none() {
            tracing::error!("the host {why}; no attempt starts until it can");
        }
        // A change wakes the drivers of all runs.
        if known.as_ref() != Some(&why) {
            self.why.send_replace(Some(why));
        }
    }

    fn open(&self) {
        if self.closed().is_some() {
            self.why.send_replace(None);
            tracing::warn!("the log can be written again");
        }
    }

    /// Returns why it is closed, if it is.
    pub(super) fn closed(&self) -> Option<String> {
        self.why.borrow().clone()
    }

    /// Returns a receiver that is woken when it opens or closes.
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<String>> {
        self.why.subscribe()
    }

    /// Opens or closes it, as the log store can write now or not.
    pub(super) async fn check(&self, logs: &Arc<dyn LogStore>) {
        let (logs, turn) = (Arc::clone(logs), Arc::clone(&self.turn));
        let answer = tokio::time::timeout(ANSWERS_WITHIN, async {
            let turn = turn.lock_owned().await;
            let probe = move || {
                let _turn = turn;
                logs.probe()
            };
            tokio::task::spawn_blocking(probe).await
        });
        match answer.await {
            Ok(Ok(Ok(()))) => self.open(),
            Ok(Ok(Err(error))) => self.close(error.reason()),
            Ok(Err(panic)) => self.close(format!("failed to check the log: {panic}")),
            Err(_) => self.close(format!("has waited for its log for {}", TimeSpan(ANSWERS_WITHIN))),
        }
    }
}

/// Checks the gate every second while it is closed, until `stop`.
pub(super) async fn reopen(gate: LogGate, logs: Arc<dyn LogStore>, stop: CancellationToken) {
    let begin = || {
        let (gate, logs, stop) = (gate.clone(), Arc::clone(&logs), stop.clone());
        async move {
            stop.run_until_cancelled(check_while_closed(&gate, &logs)).await;
            Ok(())
        }
    };
    supervise("the check of the log", stop.clone(), begin, |_| {}).await;
}

async fn check_while_closed(gate: &LogGate, logs: &Arc<dyn LogStore>) {
    let mut why = gate.subscribe();
    while why.wait_for(Option::is_some).await.is_ok() {
        tokio::time::sleep(CHECK_EVERY).await;
        gate.check(logs).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::LogGate;
    use crate::store::logs::{self, LogStore};

    #[tokio::test]
    async fn a_check_closes_the_gate_and_opens_it() {
        let state = tempfile::tempdir().unwrap();
        let writable = logs::open(state.path(), u64::MAX).unwrap();
        let read_only: Arc<dyn LogStore> = logs::open_read_only(state.path()).unwrap();
        let gate = LogGate::default();
        gate.check(&read_only).await;
        let folder = state.path().join("logs");
        let why = format!("the log in {} is open for reading only", folder.display());
        assert_eq!(gate.closed(), Some(why));
        gate.check(&writable).await;
        assert_eq!(gate.closed(), None);
    }
}
