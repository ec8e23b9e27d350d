//! The metrics that a pipeline has recorded lately, by name.

use crate::base::AttemptId;
use crate::base::bounds::MAX_PAGE;
use crate::model::MetricRecord;
use crate::scheduler::View;
use crate::store::{FactQuery, PageRequest, StoreError};

/// A metric by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MetricName {
    pub(super) name: String,
    /// Whether it is recorded in steps, as during training. Others say what a run has come to.
    pub(super) has_steps: bool,
    /// The actions that have recorded it.
    pub(super) actions: Vec<String>,
}

/// Returns the metrics among the newest values of succeeded attempts: those without steps first,
/// and of each kind those of the attempt that has recorded something last, in the order in which it
/// has recorded them. Authors write first what matters most.
pub(super) async fn recent(view: &View) -> Result<Vec<MetricName>, StoreError> {
    let query = FactQuery { succeeded_only: true, ..FactQuery::default() };
    let newest = view.store.metrics(query, PageRequest { cursor: None, limit: MAX_PAGE }).await?;
    Ok(names(&newest.items))
}

fn names(newest_first: &[MetricRecord]) -> Vec<MetricName> {
    let mut attempts: Vec<AttemptId> = Vec::new();
    // Each name with the place of its attempt, and the number of its newest value.
    let mut names: Vec<(usize, u64, MetricName)> = Vec::new();
    for record in newest_first {
        let has_steps = record.step.is_some();
        let known = attempts.iter().position(|attempt| *attempt == record.attempt_id);
        let place = known.unwrap_or(attempts.len());
        if known.is_none() {
            attempts.push(record.attempt_id);
        }
        if let Some((.., known)) = names.iter_mut().find(|(.., known)| known.name == record.name) {
            known.has_steps |= has_steps;
            if !known.actions.contains(&record.action) {
                known.actions.push(record.action.clone());
            }
        } else {
            let (name, actions) = (record.name.clone(), vec![record.action.clone()]);
            names.push((place, record.seq, MetricName { name, has_steps, actions }));
        }
    }
    names.sort_by_key(|(place, seq, name)| (name.has_steps, *place, *seq));
    names.into_iter().map(|(.., name)| name).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::names;
    use crate::base::{AttemptId, RunId, Timestamp};
    use crate::model::MetricRecord;

    /// Returns a value of a metric, newer the larger its number is.
    pub(in crate::ui::pages) fn record(seq: u64, run: u64, name: &str, value: f64, step: Option<u64>) -> MetricRecord {
        MetricRecord {
            seq,
            run_id: RunId::new(),
            run_number: run,
            action: if name == "loss" { "train" } else { "evaluate" }.to_owned(),
            attempt_id: AttemptId::new(),
            succeeded: true,
            name: name.to_owned(),
            value,
            step,
            recorded_at: Timestamp::from_micros(0),
        }
    }

    #[test]
    fn the_last_attempt_comes_first_in_its_own_order_and_steps_come_after() {
        let mut records = [
            record(6, 2, "loss", 0.1, Some(2)),
            record(5, 2, "loss", 0.2, Some(1)),
            record(4, 2, "recall", 0.9, None),
            record(3, 2, "accuracy", 0.8, None),
            record(2, 1, "recall", 0.7, None),
            record(1, 1, "area", 0.6, None),
        ];
        records[3].attempt_id = records[2].attempt_id;
        records[5].attempt_id = records[4].attempt_id;
        let found: Vec<_> = names(&records).into_iter().map(|it| (it.name, it.has_steps, it.actions)).collect();
        let name = |name: &str, steps, action: &str| (name.to_owned(), steps, vec![action.to_owned()]);
        assert_eq!(
            found,
            [
                name("accuracy", false, "evaluate"),
                name("recall", false, "evaluate"),
                name("area", false, "evaluate"),
                name("loss", true, "train")
            ]
        );
    }
}
