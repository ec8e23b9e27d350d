//! Steers a running pipeline: what is asked for is put on record first, and the dispatcher is told then.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::control::Control;
use super::dispatcher::Message;
use super::recorder::StatusBoard;
use super::shared::{Phase, ProgressBoard, Shared, stopping};
use crate::base::{AttemptId, RunId, WriteId};
use crate::model::Run;
use crate::resource::{Status, Waiting};
use crate::sandbox::Progress;
use crate::store::{StoreError, repeat_briefly};

/// Steers a running pipeline.
#[derive(Clone)]
pub(super) struct Steering {
    pub(super) shared: Arc<Shared>,
    pub(super) dispatcher: mpsc::Sender<Message>,
    pub(super) statuses: StatusBoard,
    pub(super) progress: ProgressBoard,
}

impl Steering {
    async fn tell(&self, message: Message) -> Result<(), StoreError> {
        self.dispatcher.send(message).await.map_err(|_| stopping())
    }

    /// Does `work` to its end, also when whoever asked goes away half-way: what is on record and not told would wait for the next start.
    async fn to_the_end<T, F>(&self, work: impl FnOnce(Self) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        match tokio::spawn(work(self.clone())).await {
            Ok(answer) => answer,
            Err(_) => Err(stopping()),
        }
    }
}

#[async_trait]
impl Control for Steering {
    async fn cancel(&self, run: RunId) -> Result<Option<Run>, StoreError> {
        self.to_the_end(move |this: Self| async move {
            let cancelled = repeat_briefly(|| this.shared.store.request_cancel(run, this.shared.clock.now())).await?;
            if cancelled.as_ref().is_some_and(|run| !run.state.ended()) {
                this.tell(Message::Cancel(run)).await?;
            }
            Ok(cancelled)
        })
        .await
    }

    async fn retry(&self, run: RunId) -> Result<Option<Run>, StoreError> {
        self.to_the_end(move |this: Self| async move {
            let id = WriteId::new();
            let retried = repeat_briefly(|| this.shared.store.request_retry(run, id, this.shared.clock.now())).await?;
            if retried.is_some() {
                this.tell(Message::TakeUp(run)).await?;
            }
            Ok(retried)
        })
        .await
    }

    async fn start(&self, run: RunId, params: serde_json::Value) -> Result<Run, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.tell(Message::Start { run, params, answer }).await?;
        answered.await.unwrap_or_else(|_| Err(stopping()))
    }

    async fn set_paused(&self, paused: bool) -> Result<(), StoreError> {
        self.to_the_end(move |this: Self| async move {
            repeat_briefly(|| this.shared.store.set_paused(paused, this.shared.clock.now())).await?;
            this.tell(Message::Paused(paused)).await
        })
        .await
    }

    fn ended_runs(&self) -> broadcast::Receiver<RunId> {
        self.shared.ends.subscribe()
    }

    fn watches(&self) -> BTreeMap<String, Status> {
        self.statuses.known()
    }

    fn waiting(&self) -> BTreeMap<String, Waiting> {
        self.statuses.waiting()
    }

    fn progress(&self) -> BTreeMap<AttemptId, Progress> {
        self.progress.all()
    }

    fn not_ready(&self) -> Vec<String> {
        let mut reasons = self.statuses.not_ready();
        if *self.shared.phase.borrow() != Phase::Running {
            reasons.push("the host is stopping".to_owned());
        }
        if self.dispatcher.is_closed() {
            reasons.push("the dispatcher has ended; see the host's log".to_owned());
        }
        reasons
    }
}
