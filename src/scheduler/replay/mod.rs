//! Runs what an action has done once more, and compares the outputs.
//!
//! An attempt is replayed with its component, its inputs and its params, as they are on record, and
//! with what its clocks and its random numbers told it. Everything that it writes goes to a scratch
//! folder, and nothing goes on record. It reads what the actions before it have published in its
//! run, not what their replays make: so each action is judged alone.

mod compare;
mod scratch;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use self::compare::{first_difference, outputs_of};
use self::scratch::{AsRecorded, resources_to_replay};
use super::definition::{Definition, resources};
use super::error::StartError;
use crate::base::bounds::MAX_PAGE;
use crate::base::{AttemptId, Clock, Digest, escape};
use crate::manifest::Pipeline;
use crate::model::{
    AccessKind, Artifact, Attempt, AttemptState, Dependency, Fence, MAX_TOLD, Outcome, Recording, RunDetail,
};
use crate::sandbox::{AttemptOrder, AttemptReport, Executor, Services, Stop};
use crate::store::components::ComponentStore;
use crate::store::logs::LogStore;
use crate::store::{LineageEdge, MetadataStore, PageRequest, StoreError};

pub use self::compare::Difference;

/// What is needed to replay attempts.
pub struct Replays<'a> {
    /// The manifest in force. It says where the folders of the pipeline are.
    pub pipeline: &'a Pipeline,
    /// The records. Nothing is written to them.
    pub store: Arc<dyn MetadataStore>,
    /// Takes the log lines.
    pub logs: Arc<dyn LogStore>,
    /// The components that runs are bound to.
    pub components: Arc<dyn ComponentStore>,
    /// Runs components.
    pub executor: Arc<dyn Executor>,
    /// The clock of the log lines.
    pub clock: Arc<dyn Clock>,
    /// The folder for what is written.
    pub scratch: &'a Path,
}

/// What the replay of an action has shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    /// The action.
    pub action: String,
    /// The attempt of it that was replayed: the last one.
    pub attempt: u32,
    /// The result.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The result of a replay.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Verdict {
    /// It has written the same.
    Identical {
        /// How many outputs there are.
        outputs: u64,
    },
    /// It has written something else.
    Different {
        /// The first difference.
        difference: Difference,
        /// What may be the reason.
        hints: Vec<String>,
    },
    /// It has not succeeded this time.
    Failed {
        /// Why.
        reason: String,
        /// What may be the reason of that.
        hints: Vec<String>,
    },
    /// It cannot be replayed.
    Impossible {
        /// What is missing.
        reason: String,
    },
}

impl Replays<'_> {
    /// Replays the actions of a run that have succeeded, in their order in the manifest; only
    /// `action` if it is set.
    ///
    /// # Errors
    /// The records or the manifest of the run cannot be read.
    pub async fn run(&self, run: &RunDetail, action: Option<&str>) -> Result<Vec<Replayed>, StartError> {
        let definition = self.definition(run.run.revision).await?;
        let inputs: Arc<[Artifact]> = self.inputs(run).await?.into();
        let lineage = self.lineage(run).await?;
        let mut all = Vec::new();
        for place in 0..definition.graph.len() {
            let name = definition.graph.name(place);
            let of_action = run.attempts.iter().filter(|attempt| attempt.action == name);
            let last = of_action.max_by_key(|attempt| attempt.number);
            let Some(attempt) = last.filter(|_| action.is_none_or(|action| action == name)) else { continue };
            let verdict = match self.order(&definition, run, &inputs, place, attempt, &lineage).await? {
                Ok(order) => self.replay(&definition, order).await?,
                Err(reason) => Verdict::Impossible { reason },
            };
            all.push(Replayed { action: name.to_owned(), attempt: attempt.number, verdict });
        }
        Ok(all)
    }

    /// Returns the definition that the run is bound to.
    async fn definition(&self, revision: Digest) -> Result<Definition, StartError> {
        let missing = || StoreError::Corrupt(format!("there is no manifest {revision} on record"));
        let record = self.store.revision(revision).await?.ok_or_else(missing)?;
        let variable = |name: &str| std::env::var(name).ok();
        let (folder, file) = (&self.pipeline.folder, &self.pipeline.file);
        let pipeline = crate::manifest::parse_pinned(&record.manifest, folder, file, &variable)
            .map_err(|problems| StartError::Manifest(problems.to_string()))?;
        let services = Services {
            store: Arc::new(AsRecorded(Arc::clone(&self.store))),
            resources: Arc::new(resources_to_replay(&resources(&pipeline, None)?, self.scratch)?),
            logs: Arc::clone(&self.logs),
            clock: Arc::clone(&self.clock),
            progress: Arc::new(|_, _| {}),
        };
        Ok(Definition::new(Arc::new(pipeline), record.components.into_iter().collect(), revision, services))
    }

    /// Returns what has to be done again, or why that cannot be done.
    async fn order(
        &self,
        definition: &Definition,
        run: &RunDetail,
        inputs: &Arc<[Artifact]>,
        place: usize,
        attempt: &Attempt,
        lineage: &[LineageEdge],
    ) -> Result<Result<AttemptOrder, String>, StartError> {
        if attempt.state != AttemptState::Succeeded {
            return Ok(Err(format!("its last attempt has not succeeded: it is `{}`", attempt.state)));
        }
        if let Some(cache) = attempt.cache.as_ref().filter(|_| attempt.is_cached()) {
            return Ok(Err(format!("it did not run in this run ({}): replay the run in which it did", cache.reason)));
        }
        if attempt.usage.http_requests > 0 {
            let reason = "it sent requests over the network, and the answers are not on record";
            return Ok(Err(reason.to_owned()));
        }
        let read = lineage.iter().filter(|edge| edge.attempt_id == attempt.id && edge.kind == AccessKind::Read);
        if let Some(gone) = read.map(|edge| &edge.artifact).find(|artifact| !artifact.is_readable()) {
            let Artifact { resource, path, version, .. } = gone;
            let path = escape(path.as_bytes());
            return Ok(Err(format!(
                "it read version {version} of `{resource}/{path}`, which was replaced or removed since"
            )));
        }
        let fence = Fence { attempt_id: AttemptId::new(), epoch: 0, token: 0 };
        let Some(order) = definition.order(&run.run, inputs, place, attempt.number, fence) else {
            return Ok(Err("its component is not on record".to_owned()));
        };
        if let Err(why) = self.load(order.component).await {
            return Ok(Err(why));
        }
        let mut order = order;
        order.replay = Some(self.store.recording(attempt.id).await?.unwrap_or_default());
        // What it depends on helps to explain a difference.
        order.cache = Some(Vec::new());
        // It sent no requests, so it sends none now.
        order.header_secrets = Vec::new();
        order.limits.http_requests = 0;
        Ok(Ok(order))
    }

    /// Prepares a component.
    async fn load(&self, digest: Digest) -> Result<(), String> {
        let components = Arc::clone(&self.components);
        let found = move || components.get(digest).map(|file| file.exists().then_some(file));
        let found = tokio::task::spawn_blocking(found).await.map_err(std::io::Error::other).flatten();
        let failed = |why: String| format!("its component {digest} cannot be used: {why}");
        let Some(file) = found.map_err(|why| failed(why.to_string()))? else {
            return Err(format!(
                "its component {digest} is gone: those of the manifest in force are kept, and those of runs that can be retried"
            ));
        };
        self.executor.load(digest, &file).await.map_err(|why| failed(why.to_string()))
    }

    /// Does it again, and compares.
    async fn replay(&self, definition: &Definition, order: AttemptOrder) -> Result<Verdict, StartError> {
        let told = order.replay.clone().unwrap_or_default();
        let (run, action, writes) = (order.run_id, order.action.clone(), order.writes.clone());
        let replay = order.fence.attempt_id;
        let (_stop, signal) = tokio::sync::watch::channel(Stop::No);
        let report = self.executor.run(order, &definition.services, signal).await;
        let hints = hints(&told, &report);
        match &report.outcome {
            Outcome::Done(_) | Outcome::Skip(_) => {}
            Outcome::Failed(error) | Outcome::TimedOut(error) => {
                return Ok(Verdict::Failed { reason: error.message.clone(), hints });
            }
            _ => return Ok(Verdict::Failed { reason: "it was stopped".to_owned(), hints }),
        }
        let recorded = outputs_of(self.store.as_ref(), run, &action, &writes).await?;
        let difference = first_difference(definition, &recorded, &report.staged).await;
        for name in &writes {
            if let Some(resource) = definition.services.resources.get(name) {
                // The scratch folder is removed as a whole if this fails.
                let _ = resource.discard(replay).await;
            }
        }
        Ok(match difference {
            None => Verdict::Identical { outputs: recorded.len() as u64 },
            Some(difference) => Verdict::Different { difference, hints },
        })
    }

    async fn inputs(&self, run: &RunDetail) -> Result<Vec<Artifact>, StoreError> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.store.run_inputs(run.run.id, PageRequest { cursor, limit: MAX_PAGE }).await?;
            all.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }

    async fn lineage(&self, run: &RunDetail) -> Result<Vec<LineageEdge>, StoreError> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.store.lineage(run.run.id, PageRequest { cursor, limit: MAX_PAGE }).await?;
            all.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }
}

/// Returns what may have made a replay different.
fn hints(told: &Recording, report: &AttemptReport) -> Vec<String> {
    let mut hints = Vec::new();
    let mut hint = |applies: bool, text: &str| {
        if applies {
            hints.push(text.to_owned());
        }
    };
    let now = &report.recording;
    hint(
        told.secure_random || now.secure_random,
        "it uses secure random numbers, which are never on record, because keys are made of them",
    );
    hint(
        told.is_cut,
        &format!(
            "it read a clock, or saw artifacts with tags, more than {MAX_TOLD} times, and only these are on record"
        ),
    );
    hint(
        told.is_empty() && !now.is_empty(),
        "it asked for the time, insecure random numbers or tags, and what it was told then is not on record",
    );
    let Some(trace) = &report.trace else { return hints };
    let reads_metrics = trace.dependencies.iter().any(|it| matches!(it, Dependency::Metrics { .. }));
    hint(reads_metrics, "it reads metrics of earlier runs, as they are now");
    hints.extend(trace.irregular.clone());
    hints
}
