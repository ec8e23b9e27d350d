//! Implements [`Control`]: puts each request on record first, then informs the dispatcher.
//!
//! A caller gets an answer within [`ANSWER_WITHIN`], even while the store does not work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::cleanup::Cleaner;
use super::control::{Control, Inputs};
use super::core::SlotUse;
use super::definition::Resources;
use super::messages::Message;
use super::new_run::{Given, ManualRun};
use super::recorder::StatusBoard;
use super::shared::{Phase, ProgressBoard, Shared, stopping};
use super::space::FreedSpace;
use crate::base::bounds::MAX_PAGE;
use crate::base::{ArtifactId, AttemptId, RunId, WriteId};
use crate::model::{AliasMove, Artifact, Decision, NodeKind, Pause, Run, Verdict};
use crate::resource::{Content, Outage, Status, Waiting};
use crate::sandbox::Progress;
use crate::store::{AliasTarget, NewModelVersion, PageRequest, StoreError, repeat_briefly};

/// How long a request waits for the store. SQLite itself waits up to 5 s for a lock of another
/// program.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);

/// Controls a running pipeline; see the module.
#[derive(Clone)]
pub(super) struct HostControl {
    pub(super) shared: Arc<Shared>,
    pub(super) resources: Arc<Resources>,
    pub(super) cleaner: Cleaner,
    pub(super) dispatcher: mpsc::Sender<Message>,
    pub(super) statuses: StatusBoard,
    pub(super) progress: ProgressBoard,
}

impl HostControl {
    async fn send(&self, message: Message) -> Result<(), StoreError> {
        self.dispatcher.send(message).await.map_err(|_| stopping())
    }

    /// Runs `work` to completion, even if the caller is dropped or gets its answer earlier.
    /// Otherwise a request could be on record without the dispatcher knowing, and would wait for
    /// the next start.
    async fn to_completion<T, F>(&self, work: impl FnOnce(Self) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        match tokio::time::timeout(ANSWER_WITHIN, tokio::spawn(work(self.clone()))).await {
            Ok(Ok(answer)) => answer,
            // It panicked, or the runtime is shutting down.
            Ok(Err(_)) => Err(stopping()),
            Err(_) => Err(self.no_answer("record the request")),
        }
    }

    /// Returns a run that works on the inputs of the run `old` again.
    async fn repeat(&self, id: RunId, params: Option<Value>, old: RunId) -> Result<ManualRun, StoreError> {
        let store = &self.shared.store;
        let Some(run) = store.run_summary(old).await? else {
            return Err(StoreError::Conflict(format!("there is no run {old} to start again")));
        };
        // The answer to an earlier request may have been lost, and the old run retried since.
        let exists = store.run_summary(id).await?.is_some();
        if !exists && !run.state.ended() {
            let number = run.number;
            return Err(StoreError::Conflict(format!("run #{number} has not ended: cancel it, or wait for its end")));
        }
        let (mut inputs, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.run_inputs(old, PageRequest { cursor, limit: MAX_PAGE }).await?;
            for input in page.items {
                self.check_kept(&input).await?;
                inputs.push(input.into());
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        let trigger = format!("run #{} again", run.number);
        let given = Given { repeats: Some((old, run.partition)), trigger, artifacts: inputs };
        Ok(ManualRun { id, params: params.unwrap_or(run.params), resource: None, given: Some(given) })
    }

    /// Returns a run that works on these artifacts.
    async fn give(&self, id: RunId, params: Option<Value>, ids: &[ArtifactId]) -> Result<ManualRun, StoreError> {
        let mut artifacts = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(artifact) = self.shared.store.artifact(*id).await? else {
                return Err(StoreError::Conflict(format!("there is no artifact {id}")));
            };
            self.check_kept(&artifact).await?;
            artifacts.push(artifact.into());
        }
        let plural = if ids.len() == 1 { "" } else { "s" };
        let trigger = format!("started by hand on {} artifact{plural}", ids.len());
        let given = Given { repeats: None, trigger, artifacts };
        Ok(ManualRun { given: Some(given), ..ManualRun::claiming(id, params, None) })
    }

    /// Refuses a run on an artifact whose content is no longer kept, because the run could not read
    /// it.
    async fn check_kept(&self, artifact: &Artifact) -> Result<(), StoreError> {
        let Some(resource) = self.resources.get(&artifact.resource) else { return Ok(()) };
        let Artifact { path, size, digest, stamp, .. } = artifact;
        let content = Content { path: path.clone(), size: *size, digest: *digest, stamp: stamp.clone() };
        resource.check_kept(&content).await.map_err(|gone| {
            StoreError::Conflict(format!("no run can use it again: {gone}; raise `keep` in the manifest to keep more"))
        })
    }

    /// Returns the error for a request that was not answered in time, with the reason if it is
    /// known.
    fn no_answer(&self, doing: &str) -> StoreError {
        let reasons = self.shared.health.not_ready();
        let why = if reasons.is_empty() { "the host does not answer".to_owned() } else { reasons.join("; ") };
        StoreError::Unavailable { doing: doing.to_owned(), why }
    }
}

#[async_trait]
impl Control for HostControl {
    async fn cancel(&self, run: RunId) -> Result<Option<Run>, StoreError> {
        self.to_completion(move |this: Self| async move {
            let cancelled = repeat_briefly(|| this.shared.store.request_cancel(run, this.shared.clock.now())).await?;
            if cancelled.as_ref().is_some_and(|run| !run.state.ended()) {
                this.send(Message::Cancel(run)).await?;
            }
            Ok(cancelled)
        })
        .await
    }

    async fn retry(&self, run: RunId, again: Vec<String>) -> Result<Option<Run>, StoreError> {
        self.to_completion(move |this: Self| async move {
            let id = WriteId::new();
            let retried = repeat_briefly(|| {
                this.cleaner.space.components.request_retry(run, &again, id, this.shared.clock.now())
            })
            .await?;
            if retried.is_some() {
                this.send(Message::Resume(run)).await?;
            }
            Ok(retried)
        })
        .await
    }

    async fn decide(
        &self,
        run: RunId,
        action: &str,
        verdict: Verdict,
        by: Option<&str>,
        note: Option<&str>,
    ) -> Result<Option<Run>, StoreError> {
        let (action, id) = (action.to_owned(), WriteId::new());
        let decision = Decision::new(verdict, by, note, self.shared.clock.now());
        self.to_completion(move |this: Self| async move {
            let write = || this.shared.store.decide_approval(run, &action, decision.clone(), id);
            let decided = repeat_briefly(write).await?;
            if decided.is_some() {
                this.send(Message::Decided(run)).await?;
            }
            Ok(decided)
        })
        .await
    }

    async fn start(&self, run: RunId, params: Option<Value>, inputs: Inputs) -> Result<Run, StoreError> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            let run = match inputs {
                Inputs::New => ManualRun::claiming(run, params, None),
                Inputs::NewIn(resource) => ManualRun::claiming(run, params, Some(resource)),
                Inputs::Of(old) => self.repeat(run, params, old).await?,
                Inputs::Given(artifacts) => self.give(run, params, &artifacts).await?,
            };
            self.send(Message::Start { run, answer }).await?;
            answered.await.unwrap_or_else(|_| Err(stopping()))
        };
        match tokio::time::timeout(ANSWER_WITHIN, asked).await {
            Ok(started) => started,
            Err(_) => Err(self.no_answer("start a run")),
        }
    }

    async fn set_paused(&self, paused: bool) -> Result<(), StoreError> {
        self.to_completion(move |this: Self| async move {
            repeat_briefly(|| this.shared.store.set_paused(paused, this.shared.clock.now())).await?;
            this.send(Message::Paused(paused)).await
        })
        .await
    }

    async fn pause_node(&self, kind: NodeKind, name: &str, reason: Option<String>) -> Result<Pause, StoreError> {
        let name = name.to_owned();
        self.to_completion(move |this: Self| async move {
            let Shared { store, clock, pauses, .. } = &*this.shared;
            let _turn = pauses.turn().await;
            let paused = repeat_briefly(|| store.pause_node(kind, &name, reason.clone(), clock.now())).await?;
            pauses.set(paused.clone());
            Ok(paused)
        })
        .await
    }

    async fn resume_node(&self, kind: NodeKind, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.to_completion(move |this: Self| async move {
            let Shared { store, clock, pauses, .. } = &*this.shared;
            let _turn = pauses.turn().await;
            repeat_briefly(|| store.resume_node(kind, &name, clock.now())).await?;
            pauses.clear(kind, &name);
            Ok(())
        })
        .await
    }

    async fn set_model_card(&self, model: &str, card: &str) -> Result<(), StoreError> {
        let (model, card) = (model.to_owned(), card.to_owned());
        self.to_completion(move |this: Self| async move {
            let Shared { store, clock, .. } = &*this.shared;
            repeat_briefly(|| store.set_model_card(&model, &card, clock.now())).await
        })
        .await
    }

    async fn register_version(&self, new: NewModelVersion) -> Result<u64, StoreError> {
        self.to_completion(move |this: Self| async move {
            let Shared { store, clock, .. } = &*this.shared;
            repeat_briefly(|| store.register_version(new.clone(), clock.now())).await
        })
        .await
    }

    async fn move_alias(&self, to: AliasTarget) -> Result<AliasMove, StoreError> {
        let id = WriteId::new();
        self.to_completion(move |this: Self| async move {
            let Shared { store, clock, .. } = &*this.shared;
            repeat_briefly(|| store.move_alias(to.clone(), id, clock.now())).await
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

    fn outages(&self) -> BTreeMap<AttemptId, Outage> {
        let mut all = self.shared.outages.all();
        all.extend(self.resources.values().flat_map(|resource| resource.outages()));
        all
    }

    fn progress(&self) -> BTreeMap<AttemptId, Progress> {
        self.progress.all()
    }

    fn concurrency(&self) -> BTreeMap<String, SlotUse> {
        self.shared.named.used()
    }

    async fn give_back(&self, dry_run: bool) -> Result<FreedSpace, StoreError> {
        let cleaner = self.cleaner.clone();
        // To completion, even if the caller does not wait.
        let given_back = tokio::spawn(async move { cleaner.give_back(dry_run).await.whole() }).await;
        given_back.unwrap_or_else(|_| Err(stopping()))
    }

    async fn check_logs(&self) {
        self.shared.log_gate.check(&self.shared.logs).await;
    }

    fn not_ready(&self) -> Vec<String> {
        let mut reasons = self.statuses.not_ready();
        reasons.extend(self.shared.health.not_ready());
        reasons.extend(self.shared.log_gate.closed().map(|why| format!("no attempt starts: the host {why}")));
        if *self.shared.phase.borrow() != Phase::Running {
            reasons.push("the host is stopping".to_owned());
        }
        if self.dispatcher.is_closed() {
            reasons.push("the dispatcher has ended; see the host's log".to_owned());
        }
        reasons
    }
}
