//! Implements `trigger-context`: what a trigger component is asked about, and the artifacts that it
//! may look at.

use crate::base::ArtifactId;
use crate::base::bounds::MAX_PAGE;
use crate::model::Artifact;
use crate::sandbox::bindings::anacostia::pipeline::trigger_context::{
    Host, NewArtifacts, PresentArtifact, TriggerInfo,
};
use crate::sandbox::bindings::anacostia::pipeline::types;
use crate::store::PageRequest;

use super::GuestState;
use super::access::CallError;
use super::question::PageEnd;
use super::resources::{artifact_id, record};

impl Host for GuestState {
    async fn info(&mut self) -> wasmtime::Result<TriggerInfo> {
        self.gate.enter();
        let question = self.question.as_ref().ok_or_else(no_question)?;
        Ok(TriggerInfo {
            pipeline: self.order.pipeline.clone(),
            trigger: question.trigger.clone(),
            resources: question.resources.clone(),
            now: question.now.to_string(),
            fired_at: question.fired_at.map(|at| at.to_string()),
        })
    }

    async fn params(&mut self) -> wasmtime::Result<String> {
        self.gate.enter();
        Ok(self.order.params.clone())
    }

    async fn count_new(&mut self, resource: String) -> Result<NewArtifacts, CallError> {
        self.gate.enter();
        self.may_look("trigger-context.count-new", &resource)?;
        let (cpu, store) = (self.cpu.clone(), self.services.store.clone());
        let pending = cpu.host(store.pending(&resource)).await?;
        Ok(NewArtifacts {
            count: pending.count,
            bytes: pending.bytes,
            oldest_at: pending.oldest_at.map(|at| at.to_string()),
            newest_at: pending.newest_at.map(|at| at.to_string()),
        })
    }

    async fn list_new(
        &mut self,
        resource: String,
        after: Option<String>,
        limit: Option<u32>,
    ) -> Result<Vec<types::Artifact>, CallError> {
        self.gate.enter();
        self.may_look("trigger-context.list-new", &resource)?;
        let cursor = match after {
            None => None,
            Some(after) => match self.cursor(&resource, artifact_id(&after)?)? {
                Some(cursor) => Some(cursor),
                None => return Ok(Vec::new()),
            },
        };
        let limit = limit.unwrap_or(MAX_PAGE).min(MAX_PAGE);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (cpu, store) = (self.cpu.clone(), self.services.store.clone());
        let page = cpu.host(store.pending_artifacts(&resource, PageRequest { cursor, limit })).await?;
        if let Some(question) = &mut self.question {
            let end = |last| PageEnd { resource, last, next: page.next_cursor.clone() };
            question.page = page.items.last().map(|artifact| artifact.id).map(end);
        }
        Ok(page.items.iter().map(record).collect())
    }

    async fn list_present(
        &mut self,
        resource: String,
        after: Option<String>,
        limit: Option<u32>,
    ) -> Result<Vec<PresentArtifact>, CallError> {
        self.gate.enter();
        self.may_look("trigger-context.list-present", &resource)?;
        let limit = limit.unwrap_or(MAX_PAGE).min(MAX_PAGE);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (cpu, store) = (self.cpu.clone(), self.services.store.clone());
        let page = cpu.host(store.present_artifacts(&resource, PageRequest { cursor: after, limit })).await?;
        let present = |it: &Artifact| PresentArtifact { artifact: record(it), state: it.state.as_str().to_owned() };
        Ok(page.items.iter().map(present).collect())
    }
}

impl GuestState {
    /// Returns the cursor of the page after the last one, which must have ended with `after`.
    /// `None` if there is nothing more.
    fn cursor(&self, resource: &str, after: ArtifactId) -> Result<Option<String>, CallError> {
        let page = self.question.as_ref().and_then(|question| question.page.as_ref());
        match page.filter(|page| page.resource == resource && page.last == after) {
            Some(page) => Ok(page.next.clone()),
            None => Err(CallError::invalid(format!(
                "the last page of `{resource}` did not end with the artifact {after}: read the pages one after another"
            ))),
        }
    }

    /// Checks that the question is about a resource.
    fn may_look(&mut self, call: &str, resource: &str) -> Result<(), CallError> {
        let resources = self.question.as_ref().map(|question| question.resources.as_slice()).unwrap_or_default();
        if resources.iter().any(|known| known == resource) {
            return Ok(());
        }
        let list: Vec<String> = resources.iter().map(|name| format!("`{name}`")).collect();
        let message = format!("it is not one of this trigger's resources ({})", list.join(", "));
        Err(CallError::Refused(self.gate.deny(call, resource, message)))
    }

    /// Checks that the guest may record facts: a trigger has no run that they would belong to.
    pub(super) fn may_record(&mut self, call: &str) -> Result<(), CallError> {
        if self.question.is_none() {
            return Ok(());
        }
        let message = "a trigger only reads: there is no run yet that this could be recorded for".to_owned();
        Err(CallError::Refused(self.gate.deny(call, "metadata", message)))
    }
}

/// Returns the error for a guest without a question. Only trigger components can import this
/// interface.
fn no_question() -> wasmtime::Error {
    wasmtime::Error::msg("only a trigger component has a question")
}
