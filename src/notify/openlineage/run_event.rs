//! Derives OpenLineage events from the events on record.
//!
//! A pipeline is a job, and each of its actions is one. A run of the pipeline is a run of its job.
//! Each attempt of an action is a run of the action's job, with the pipeline's run as its parent: a
//! run of OpenLineage starts once and ends once, and an attempt does. Their ids are those on
//! record. A run that is retried has ended before, so from then on it is another run, whose id is
//! made of the run and of the event of the retry: it is the same whenever it is sent.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::columns::{columns, is_table};
use super::dataset::dataset;
use super::facets;
use crate::base::bounds::MAX_PAGE;
use crate::base::{AttemptId, Digest, RunId, Timestamp};
use crate::manifest::Pipeline;
use crate::model::{AccessKind, ArtifactState, Attempt, Event, EventKind};
use crate::scheduler::View;
use crate::store::{LineageEdge, PageRequest, StoreError};

/// The most datasets of one event. The others are in events of type `RUNNING` before it.
const MAX_DATASETS: usize = 1_000;
/// The most tables of one attempt whose columns are read.
const MAX_TABLES: usize = 100;

/// Writes the events for one receiver.
pub(super) struct Writer {
    view: View,
    namespace: String,
    /// The event of the last retry of each run that goes on, if it was retried.
    retried: HashMap<RunId, Option<u64>>,
}

impl Writer {
    pub(super) fn new(view: View, namespace: &str) -> Self {
        Self { view, namespace: namespace.to_owned(), retried: HashMap::new() }
    }

    /// Returns what an event leads to, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn follow(&mut self, event: &Event) -> Result<Vec<Value>, StoreError> {
        let Some(run) = event.run_id else { return Ok(Vec::new()) };
        let state = event.data.get("state").and_then(Value::as_str).unwrap_or_default();
        match event.kind {
            EventKind::RunCreated => {
                self.retried.insert(run, None);
                self.of_run(event, run, "START").await
            }
            EventKind::RunState if event.data.get("retried").is_some() => {
                self.retried.insert(run, Some(event.seq));
                self.of_run(event, run, "START").await
            }
            EventKind::RunState => {
                let Some(kind) = end_of_run(state) else { return Ok(Vec::new()) };
                let events = self.of_run(event, run, kind).await?;
                self.retried.remove(&run);
                Ok(events)
            }
            EventKind::AttemptStarted => self.of_attempt(event, run, "START").await,
            EventKind::AttemptEnded => {
                let Some(kind) = end_of_attempt(state) else { return Ok(Vec::new()) };
                self.of_attempt(event, run, kind).await
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Writes about a run of the pipeline.
    async fn of_run(&mut self, event: &Event, id: RunId, kind: &str) -> Result<Vec<Value>, StoreError> {
        // Without a record of it there is nothing to say.
        let Some(run) = self.view.store.run_summary(id).await? else { return Ok(Vec::new()) };
        let retried = self.retried_at(id, event.seq).await?;
        let mut facets = Map::new();
        facets.insert("processingEngine".to_owned(), facets::processing_engine());
        let tags = [("run", id.to_string()), ("run_number", run.number.to_string()), ("trigger", run.trigger)];
        facets.insert("tags".to_owned(), facets::run_tags(&tags));
        let reason = event.data.get("reason").and_then(Value::as_str);
        if let Some(reason) = reason.filter(|_| matches!(kind, "FAIL" | "ABORT")) {
            facets.insert("errorMessage".to_owned(), facets::error_message(reason));
        }
        let head =
            Head { time: event.time, run_id: run_id(id, retried), facets, job: self.pipeline_job(), of: "PIPELINE" };
        Ok(vec![head.event(kind, &Datasets::default())])
    }

    /// Writes about an attempt of an action.
    async fn of_attempt(&mut self, event: &Event, run: RunId, kind: &str) -> Result<Vec<Value>, StoreError> {
        let (Some(id), Some(action)) = (event.attempt, &event.action) else { return Ok(Vec::new()) };
        let Some(detail) = self.view.store.run_progress(run).await? else { return Ok(Vec::new()) };
        let Some(attempt) = detail.attempts.iter().find(|attempt| attempt.id == id) else { return Ok(Vec::new()) };
        let parent = run_id(run, self.retried_at(run, event.seq).await?);
        let head = self.attempt_head(event, (detail.run.number, action), attempt, &parent);
        if kind == "START" {
            return Ok(vec![head.event(kind, &Datasets::default())]);
        }
        let mut events = Vec::new();
        let (mut request, mut sets, mut tables) =
            (PageRequest { cursor: None, limit: MAX_PAGE }, Datasets::default(), 0);
        loop {
            let page = self.view.store.lineage(run, request.clone()).await?;
            for edge in page.items.iter().filter(|edge| counts(edge, id)) {
                if sets.len() >= MAX_DATASETS {
                    events.push(head.event("RUNNING", &std::mem::take(&mut sets)));
                }
                tables += usize::from(is_table(&edge.artifact));
                let columns = if tables > MAX_TABLES { None } else { columns(&self.view, &edge.artifact).await };
                sets.add(edge.kind, dataset(&self.view.pipeline(), &self.namespace, edge, columns.as_deref()));
            }
            request.cursor = page.next_cursor;
            if request.cursor.is_none() {
                break;
            }
        }
        events.push(head.event(kind, &sets));
        Ok(events)
    }

    fn attempt_head(&self, event: &Event, (number, action): (u64, &str), attempt: &Attempt, parent: &str) -> Head {
        let mut facets = Map::new();
        facets.insert("processingEngine".to_owned(), facets::processing_engine());
        facets.insert("parent".to_owned(), facets::parent(parent, &self.pipeline_job()));
        let tags = [
            ("run_number", number.to_string()),
            ("attempt", attempt.number.to_string()),
            ("component", attempt.component_digest.to_string()),
        ];
        facets.insert("tags".to_owned(), facets::run_tags(&tags));
        let message = event.data.pointer("/error/message").and_then(Value::as_str);
        if let Some(message) = message {
            facets.insert("errorMessage".to_owned(), facets::error_message(message));
        }
        let name = format!("{}.{action}", self.pipeline().name);
        let job = json!({ "namespace": self.namespace, "name": name });
        Head { time: event.time, run_id: attempt.id.to_string(), facets, job, of: "ACTION" }
    }

    fn pipeline(&self) -> std::sync::Arc<Pipeline> {
        self.view.pipeline()
    }

    fn pipeline_job(&self) -> Value {
        json!({ "namespace": self.namespace, "name": self.pipeline().name })
    }

    /// Returns the event of the last retry of a run before `seq`. A host that has not followed the
    /// run from its beginning looks it up.
    async fn retried_at(&mut self, run: RunId, seq: u64) -> Result<Option<u64>, StoreError> {
        if let Some(known) = self.retried.get(&run) {
            return Ok(*known);
        }
        let (mut after, mut retried) = (0, None);
        'pages: loop {
            let events = self.view.store.events(after, Some(run), MAX_PAGE).await?;
            let Some(last) = events.last() else { break };
            after = last.seq;
            for event in &events {
                if event.seq > seq {
                    break 'pages;
                }
                if event.kind == EventKind::RunState && event.data.get("retried").is_some() {
                    retried = Some(event.seq);
                }
            }
        }
        self.retried.insert(run, retried);
        Ok(retried)
    }
}

/// Returns whether an attempt read or wrote an artifact, and it is there.
fn counts(edge: &LineageEdge, attempt: AttemptId) -> bool {
    edge.attempt_id == attempt && (edge.kind == AccessKind::Read || edge.artifact.state != ArtifactState::NotTaken)
}

fn end_of_run(state: &str) -> Option<&'static str> {
    match state {
        "succeeded" => Some("COMPLETE"),
        "failed" => Some("FAIL"),
        "cancelled" => Some("ABORT"),
        _ => None,
    }
}

/// `ABORT` is for what was stopped, by a person or because the host died.
fn end_of_attempt(state: &str) -> Option<&'static str> {
    match state {
        "succeeded" => Some("COMPLETE"),
        "failed" | "timed_out" => Some("FAIL"),
        "cancelled" | "crashed" => Some("ABORT"),
        _ => None,
    }
}

/// Returns the id of a run of the pipeline. After a retry it is a UUID of version 8 (RFC 9562).
fn run_id(run: RunId, retried: Option<u64>) -> String {
    let Some(retried) = retried else { return run.to_string() };
    let digest = Digest::of(format!("{run} retried at {retried}").as_bytes());
    let mut bytes = *run.as_bytes();
    for (byte, of_digest) in bytes.iter_mut().zip(digest.as_bytes()) {
        *byte = *of_digest;
    }
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
    (*version, *variant) = (*version & 0x0f | 0x80, *variant & 0x3f | 0x80);
    RunId::from_bytes(bytes).to_string()
}

/// The inputs and outputs of an event.
#[derive(Default)]
struct Datasets {
    inputs: Vec<Value>,
    outputs: Vec<Value>,
}

impl Datasets {
    fn len(&self) -> usize {
        self.inputs.len() + self.outputs.len()
    }

    fn add(&mut self, kind: AccessKind, dataset: Value) {
        match kind {
            AccessKind::Read => self.inputs.push(dataset),
            AccessKind::Wrote => self.outputs.push(dataset),
        }
    }
}

/// What all events about one run have in common.
struct Head {
    time: Timestamp,
    run_id: String,
    facets: Map<String, Value>,
    /// Namespace and name.
    job: Value,
    /// The type of the job.
    of: &'static str,
}

impl Head {
    /// Returns an event.
    fn event(&self, kind: &str, sets: &Datasets) -> Value {
        let mut job = self.job.clone();
        if let Some(job) = job.as_object_mut() {
            job.insert("facets".to_owned(), json!({ "jobType": facets::job_type(self.of) }));
        }
        json!({
            "eventTime": self.time,
            "eventType": kind,
            "producer": facets::PRODUCER,
            "schemaURL": facets::EVENT_SCHEMA,
            "run": { "runId": self.run_id, "facets": self.facets },
            "job": job,
            "inputs": sets.inputs,
            "outputs": sets.outputs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::run_id;
    use crate::base::RunId;

    #[test]
    fn a_retried_run_has_another_id_which_is_the_same_each_time() {
        let run: RunId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        assert_eq!(run_id(run, None), run.to_string());
        let again = run_id(run, Some(7));
        assert_eq!(again, run_id(run, Some(7)));
        assert_ne!(again, run_id(run, Some(8)));
        assert!(&again[14..15] == "8" && "89ab".contains(&again[19..20]), "{again}");
    }
}
