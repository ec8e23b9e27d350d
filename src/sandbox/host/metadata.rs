//! Implements `metadata`: records facts about the work, and reads those of earlier runs.

use crate::base::bounds::{
    MAX_ARTIFACT_TAG_BYTES, MAX_ENTRIES_PER_CALL, MAX_FACT_NAME_BYTES, MAX_FACT_VALUE_BYTES, MAX_METRICS_PER_CALL,
    MAX_PAGE,
};
use crate::base::{Digest, WriteId};
use crate::model::{self, Dependency, Facts, Influence, MetricRecord, RunState};
use crate::sandbox::bindings::anacostia::pipeline::metadata::{Entry, Host, Metric, PastMetric, PastRun};
use crate::sandbox::limits;
use crate::store::{self, FactQuery, GuestRecords, PageRequest, RunQuery, repeat_briefly};

use super::GuestState;
use super::access::CallError;

/// The maximum number of metrics, params and tags of an attempt, so that a guest cannot fill the
/// store.
const MAX_FACTS: u64 = 1_000_000;
/// Maximum total size of their names and values, in bytes.
const MAX_FACT_BYTES: u64 = 64 << 20;
/// The maximum number of tags that an attempt puts on artifacts.
const MAX_ARTIFACT_TAGS: usize = 10_000;

impl Host for GuestState {
    async fn log_metrics(&mut self, metrics: Vec<Metric>) -> Result<(), CallError> {
        self.gate.enter();
        self.may_record("metadata.log-metrics")?;
        let metrics = self.checked_metrics(metrics)?;
        self.record(Facts { metrics, ..Facts::default() }).await
    }

    async fn log_params(&mut self, params: Vec<Entry>) -> Result<(), CallError> {
        self.gate.enter();
        self.may_record("metadata.log-params")?;
        let params = self.checked_entries("params", params)?;
        self.record(Facts { params, ..Facts::default() }).await
    }

    async fn set_tags(&mut self, tags: Vec<Entry>) -> Result<(), CallError> {
        self.gate.enter();
        self.may_record("metadata.set-tags")?;
        let tags = self.checked_entries("tags", tags)?;
        self.gate.note_run_tags(&tags);
        self.record(Facts { tags, ..Facts::default() }).await
    }

    async fn tag_artifact(&mut self, artifact: String, tag: String, unique: bool) -> Result<(), CallError> {
        self.gate.enter();
        self.may_record("metadata.tag-artifact")?;
        check_name("a tag", &tag, MAX_ARTIFACT_TAG_BYTES)?;
        let cpu = self.cpu.clone();
        let id = cpu.host(self.own_or_visible("metadata.tag-artifact", &artifact)).await?;
        let tag = self.masker.mask(&tag).into_owned();
        let key = (id, tag);
        if self.work.tags.len() >= MAX_ARTIFACT_TAGS && !self.work.tags.contains_key(&key) {
            return Err(self
                .gate
                .limit_reached(limits::fixed("tags_limit", "10,000 tags on artifacts in one attempt")));
        }
        self.work.tags.insert(key, unique);
        Ok(())
    }

    async fn latest_metric(&mut self, name: String) -> Result<Option<PastMetric>, CallError> {
        self.gate.enter();
        Ok(self.past_metrics(name, 1).await?.pop())
    }

    async fn metrics(&mut self, name: String, limit: u32) -> Result<Vec<PastMetric>, CallError> {
        self.gate.enter();
        self.past_metrics(name, limit.min(MAX_PAGE)).await
    }

    async fn runs(&mut self, limit: u32) -> Result<Vec<PastRun>, CallError> {
        self.gate.enter();
        self.gate.note_use(Influence::Run);
        let cpu = self.cpu.clone();
        cpu.host(self.past_runs(usize::try_from(limit.min(MAX_PAGE)).unwrap_or(0))).await
    }
}

impl GuestState {
    pub(super) fn checked_metrics(&mut self, metrics: Vec<Metric>) -> Result<Vec<model::Metric>, CallError> {
        check_count("metrics", metrics.len(), MAX_METRICS_PER_CALL)?;
        for metric in &metrics {
            check_name("the name of a metric", &metric.name, MAX_FACT_NAME_BYTES)?;
            if let Some(step) = metric.step.filter(|step| i64::try_from(*step).is_err()) {
                let name = crate::base::escape(metric.name.as_bytes());
                return Err(CallError::invalid(format!(
                    "the metric `{name}` has the step {step}: at most {} is kept",
                    i64::MAX
                )));
            }
        }
        let metrics: Vec<model::Metric> = metrics
            .into_iter()
            .map(|metric| model::Metric {
                name: self.masker.mask(&metric.name).into_owned(),
                value: metric.value,
                step: metric.step,
            })
            .collect();
        let new: std::collections::BTreeSet<&str> =
            metrics.iter().map(|m| m.name.as_str()).filter(|name| !self.work.metric_names.contains(*name)).collect();
        self.gate.check_metric_names(self.work.metric_names.len() + new.len())?;
        let new: Vec<String> = new.into_iter().map(str::to_owned).collect();
        self.work.metric_names.extend(new);
        Ok(metrics)
    }

    fn checked_entries(&self, what: &str, entries: Vec<Entry>) -> Result<Vec<model::Entry>, CallError> {
        check_count(what, entries.len(), MAX_ENTRIES_PER_CALL)?;
        entries
            .into_iter()
            .map(|Entry { name, value }| {
                check_name(&format!("a name in {what}"), &name, MAX_FACT_NAME_BYTES)?;
                if value.len() > MAX_FACT_VALUE_BYTES {
                    let name = crate::base::escape(name.as_bytes());
                    let long = value.len();
                    return Err(CallError::invalid(format!(
                        "the value of `{name}` in {what} has {long} bytes; at most {MAX_FACT_VALUE_BYTES} are kept"
                    )));
                }
                let name = self.masker.mask(&name).into_owned();
                let value = self.masker.mask(&value).into_owned();
                Ok(model::Entry { name, value })
            })
            .collect()
    }

    /// Records facts, within the bounds of an attempt.
    pub(super) async fn record(&mut self, facts: Facts) -> Result<(), CallError> {
        let count = facts.metrics.len() + facts.params.len() + facts.tags.len();
        if count == 0 {
            return Ok(());
        }
        let entries = facts.params.iter().chain(&facts.tags).map(|entry| entry.name.len() + entry.value.len());
        let bytes: usize = facts.metrics.iter().map(|metric| metric.name.len() + 8).chain(entries).sum();
        let count = self.work.facts.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        let bytes = self.work.fact_bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if count > MAX_FACTS || bytes > MAX_FACT_BYTES {
            let what = "1,000,000 metrics, params and tags, or 64 MiB of them, in one attempt";
            return Err(self.gate.limit_reached(limits::fixed("facts_limit", what)));
        }
        (self.work.facts, self.work.fact_bytes) = (count, bytes);
        let (cpu, store, now) = (self.cpu.clone(), self.services.store.clone(), self.services.clock.now());
        let (fence, id) = (self.order.fence, WriteId::new());
        Ok(cpu.host(repeat_briefly(|| store.record_facts(fence, id, facts.clone(), now))).await?)
    }

    /// Returns the number of the run whose earlier runs the guest may look at. `None` for a
    /// trigger, which may look at all.
    fn before_run(&self) -> Option<u64> {
        self.question.is_none().then_some(self.order.run_number)
    }

    async fn past_metrics(&mut self, name: String, limit: u32) -> Result<Vec<PastMetric>, CallError> {
        check_name("the name of a metric", &name, MAX_FACT_NAME_BYTES)?;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (cpu, store) = (self.cpu.clone(), self.services.store.clone());
        let found = cpu.host(earlier_metrics(&*store, self.before_run(), &name, limit)).await?;
        self.gate.note_dependency(|| Dependency::Metrics { values: digest_of_metrics(&found), name, limit });
        Ok(found.into_iter().map(past_metric).collect())
    }

    async fn past_runs(&mut self, limit: usize) -> Result<Vec<PastRun>, CallError> {
        let states = vec![RunState::Succeeded, RunState::Failed, RunState::Cancelled];
        let query = RunQuery { states, before_run: self.before_run(), ..RunQuery::default() };
        let mut found = Vec::new();
        let mut cursor = None;
        while found.len() < limit {
            let left = u32::try_from(limit - found.len()).unwrap_or(MAX_PAGE);
            let page = self.services.store.runs(query.clone(), PageRequest { cursor, limit: left }).await?;
            found.extend(page.items.iter().map(past_run));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

/// Returns the newest values of a metric from attempts that have succeeded, in runs before
/// `before_run` if one is given.
pub(in crate::sandbox) async fn earlier_metrics(
    store: &dyn GuestRecords,
    before_run: Option<u64>,
    name: &str,
    limit: u32,
) -> store::Result<Vec<MetricRecord>> {
    let query = FactQuery { before_run, name: Some(name.to_owned()), succeeded_only: true, ..FactQuery::default() };
    Ok(store.metrics(query, PageRequest { cursor: None, limit }).await?.items)
}

/// Returns the digest over the actions, values and steps of metrics: what is the same if the same
/// work was done in another run.
pub(in crate::sandbox) fn digest_of_metrics(metrics: &[MetricRecord]) -> Digest {
    let lines = metrics.iter().map(|it| format!("{} {:016x} {:?}\n", it.action, it.value.to_bits(), it.step));
    Digest::of(lines.collect::<String>().as_bytes())
}

fn past_metric(record: MetricRecord) -> PastMetric {
    PastMetric {
        run_id: record.run_id.to_string(),
        run_number: record.run_number,
        action: record.action,
        name: record.name,
        value: record.value,
        step: record.step,
        recorded_at: record.recorded_at.to_string(),
    }
}

fn past_run(run: &model::Run) -> PastRun {
    PastRun {
        run_id: run.id.to_string(),
        run_number: run.number,
        state: run.state.to_string(),
        created_at: run.created_at.to_string(),
        ended_at: run.ended_at.map(|at| at.to_string()),
    }
}

fn check_count(what: &str, count: usize, most: usize) -> Result<(), CallError> {
    if count <= most {
        return Ok(());
    }
    Err(CallError::invalid(format!("{count} {what} in one call; the maximum is {most}: pass them in parts")))
}

/// Checks the length of a name. It is bounded in characters, so that the bound is the same for all
/// scripts.
fn check_name(what: &str, name: &str, most: usize) -> Result<(), CallError> {
    let long = name.chars().count();
    if (1..=most).contains(&long) {
        return Ok(());
    }
    Err(CallError::invalid(format!("{what} must have 1 to {most} characters; this one has {long}")))
}
