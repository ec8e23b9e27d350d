//! Keeps the history that triggers look at: reads it, and puts its marks on record.

use std::sync::Arc;

use super::at_work::AtWork;
use super::core::{AfterRunCondition, History};
use super::definition::triggers;
use super::dispatcher::Dispatcher;
use super::shared::{persist, read_on};
use crate::base::Now;
use crate::manifest::{AfterRun, Pipeline};
use crate::model::{EndedRun, RunState, TickOutcome, TriggerMark};
use crate::store::{FactQuery, MetadataStore, PageRequest, StoreError, TickQuery};

/// How many runs are read at once to find one that counts.
const ENDS: u32 = 100;

impl Dispatcher {
    /// Reads the last tick of each trigger that waited under the last host.
    pub(super) async fn recall_ticks(&self, work: &mut AtWork) -> Result<(), StoreError> {
        let pipeline = Arc::clone(&self.library.current().pipeline);
        for (name, _) in triggers(&pipeline) {
            let query = TickQuery { trigger: Some(name.to_owned()) };
            let newest = PageRequest { cursor: None, limit: 1 };
            let read = || self.shared.store.ticks(query.clone(), newest.clone());
            let last = read_on(&self.shared, read).await?.items.pop();
            let waited = last.filter(|tick| tick.outcome != TickOutcome::Fired);
            work.last_ticks.extend(waited.map(|tick| (name.to_owned(), tick)));
        }
        Ok(())
    }

    /// Reads the newest metrics and the ends of runs that triggers look at, if runs have ended
    /// since, and puts the marks of new conditions on record. Does nothing if no trigger looks at
    /// them.
    pub(super) async fn look_back(&mut self, work: &mut AtWork) -> Result<(), StoreError> {
        if std::mem::replace(&mut work.is_history_read, true) {
            return Ok(());
        }
        let pipeline = Arc::clone(&self.library.current().pipeline);
        if !History::is_needed(&pipeline) && self.marks.is_empty() {
            return Ok(());
        }
        let (shared, now) = (Arc::clone(&self.shared), self.shared.clock.both());
        let newest = *shared.store.newest_event().borrow();
        let (known, draining) = (self.history.clone(), self.draining);
        let store = shared.store.as_ref();
        let read = read_on(&shared, || look_back(store, &pipeline, known.clone(), newest, draining, now));
        self.history = self.wait_for(work, read).await?;
        self.record_marks(work).await
    }

    /// Puts the marks on record, if they have changed.
    pub(super) async fn record_marks(&mut self, work: &AtWork) -> Result<(), StoreError> {
        let marks = self.history.marks();
        if marks == self.marks {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let record = persist(&shared, || shared.store.set_trigger_marks(marks.clone()));
        self.wait_for(work, record).await?;
        self.marks = marks;
        Ok(())
    }

    /// Notes the marks of a run that was created with them.
    pub(super) fn fired(&mut self, marks: &[TriggerMark]) {
        if !marks.is_empty() {
            self.history.set(marks, self.shared.clock.both());
            self.history.use_up(marks);
            self.marks = self.history.marks();
        }
    }
}

/// Returns the history with the newest metrics and ends of runs, and with a mark for each
/// condition.
pub(super) async fn look_back(
    store: &dyn MetadataStore,
    pipeline: &Pipeline,
    mut history: History,
    newest_event: u64,
    draining: bool,
    now: Now,
) -> Result<History, StoreError> {
    for name in History::metric_names(pipeline) {
        let query = FactQuery { name: Some(name), succeeded_only: true, ..FactQuery::default() };
        let newest = store.metrics(query, PageRequest { cursor: None, limit: 1 }).await?;
        if let Some(record) = newest.items.first() {
            let run = store.run_summary(record.run_id).await?;
            history.note_metric(record, run.map(|run| run.fired_by).unwrap_or_default(), now);
        }
    }
    history.arm(pipeline, newest_event, now);
    for condition in history.after_runs(pipeline, draining) {
        // Ends up to this event were on record before the look began.
        history.note_looked(&condition, newest_event);
        if let Some(run) = newest_end(store, &condition).await? {
            history.note_ended(condition, run);
        }
    }
    Ok(history)
}

/// Returns the newest run that ended as a condition wants and counts for it.
async fn newest_end(store: &dyn MetadataStore, condition: &AfterRunCondition) -> Result<Option<EndedRun>, StoreError> {
    let states: &[RunState] = match condition.how {
        AfterRun::Succeeded => &[RunState::Succeeded],
        AfterRun::Failed => &[RunState::Failed],
        AfterRun::Ended => &[RunState::Succeeded, RunState::Failed, RunState::Cancelled],
    };
    let counts = |run: &EndedRun| condition.retrigger || !run.fired_by.contains(&condition.trigger);
    let mut newest: Option<EndedRun> = None;
    for state in states {
        let mut before = u64::MAX;
        loop {
            let page = store.ended_runs(*state, condition.after, before, ENDS).await?;
            let is_last = page.len() < ENDS as usize;
            before = page.last().map_or(0, |run| run.seq);
            if let Some(run) = page.into_iter().find(counts) {
                newest = newest.into_iter().chain([run]).max_by_key(|run| run.seq);
                break;
            }
            if is_last {
                break;
            }
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::look_back;
    use crate::base::{Moment, Now, Timestamp};
    use crate::manifest::{StoreSpec, parse_pinned};
    use crate::model::Durability;
    use crate::scheduler::core::History;
    use crate::store::open;

    #[tokio::test]
    async fn a_look_begins_where_the_one_before_ended() {
        let folder = tempfile::tempdir().unwrap();
        let now = Now { time: Timestamp::from_micros(0), moment: Moment::from_micros(0) };
        let spec = StoreSpec::Sqlite { path: folder.path().join("metadata.db") };
        let store = open(&spec, Durability::Normal, now.time).await.unwrap().store;
        let manifest = "manifest_version = 1\n[pipeline]\nname = \"p\"\n[resources.raw]\nkind = \"folder\"\n\
                        path = \"raw\"\nwatch = true\ntrigger = { component = \"a.wasm\" }\n\
                        [actions.act]\ncomponent = \"a.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\n";
        let pipeline = parse_pinned(manifest, Path::new("/p"), Path::new("/p/anacostia.toml"), &|_| None).unwrap();
        let mut history = History::default();
        for newest_event in [7, 50, 60] {
            history = look_back(store.as_ref(), &pipeline, history, newest_event, false, now).await.unwrap();
            assert_eq!(history.after_runs(&pipeline, false)[0].after, newest_event);
        }
        assert_eq!(history.marks()[0].seq, 7, "which costs no write");
    }
}
