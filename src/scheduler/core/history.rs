//! What conditions on time, metrics and runs look at, and what trigger components have answered.
//!
//! A mark says what a condition has accounted for: until when, or up to which record. Marks are in
//! the store, so that a restarted host neither repeats nor forgets a fire. Metrics and ended runs
//! are copies of what the store has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::answers::{Answers, Asked};
use crate::base::{Moment, Now, Timestamp};
use crate::manifest::{AfterRun, Condition, MetricTest, Missed, Pipeline};
use crate::model::{EndedRun, MetricRecord, TriggerMark};

/// A mark further in the future than this was set while the clock was wrong.
const MAX_AHEAD: Duration = Duration::from_hours(24);

/// What conditions on time, metrics and runs look at.
#[derive(Debug, Clone, Default)]
pub struct History {
    marks: BTreeMap<(String, String), Mark>,
    metrics: BTreeMap<String, MetricSeen>,
    ended: BTreeMap<(String, String), EndedRun>,
    looked: BTreeMap<(String, String), Looked>,
    answers: Answers,
}

/// How far the ends of runs have been searched for a condition.
#[derive(Debug, Clone, Copy)]
struct Looked {
    /// Up to this event, no end counts except the one that is stored.
    until: u64,
    /// Whether runs that the trigger led to counted.
    retrigger: bool,
}

/// What a condition has accounted for; see [`TriggerMark`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mark {
    pub(super) at: Timestamp,
    /// The moment of `at`.
    pub(super) moment: Moment,
    pub(super) seq: u64,
    pub(super) value: Option<f64>,
}

/// The newest value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MetricSeen {
    pub(super) value: f64,
    pub(super) seq: u64,
    pub(super) run: u64,
    pub(super) recorded_at: Timestamp,
    /// The moment of `recorded_at`.
    pub(super) moment: Moment,
    /// The triggers that led to its run.
    pub(super) fired_by: Vec<String>,
}

/// A condition on the ends of runs, or a component that is asked again when a run has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AfterRunCondition {
    /// The trigger.
    pub trigger: String,
    /// Its key among marks.
    pub condition: String,
    /// How runs must end.
    pub how: AfterRun,
    /// Whether runs that the trigger led to count.
    pub retrigger: bool,
    /// Ends up to this event need not be looked at: each is accounted for, or stored, or does not
    /// count.
    pub after: u64,
}

/// Returns every condition of every trigger, with the trigger's name and its `retrigger`.
fn conditions(pipeline: &Pipeline) -> impl Iterator<Item = (&str, bool, &Condition)> {
    let watched = pipeline.resources.iter().filter(|resource| resource.watch);
    let of_resources = watched.map(|it| (it.name.as_str(), it.trigger.retrigger, &it.trigger.when));
    let others = pipeline.triggers.iter().map(|it| (it.name.as_str(), it.retrigger, &it.when));
    of_resources.chain(others).flat_map(|(name, retrigger, when)| {
        when.iter().flat_map(Condition::flat).map(move |condition| (name, retrigger, condition))
    })
}

fn moment(at: Timestamp, now: Now) -> Moment {
    now.moment.before(now.time.since(at))
}

impl History {
    /// Returns whether a pipeline has triggers that look at the history.
    #[must_use]
    pub fn is_needed(pipeline: &Pipeline) -> bool {
        conditions(pipeline).next().is_some()
    }

    /// Creates the history of a host that starts, from the marks on record. Times of schedules with
    /// `missed = "none"` that have passed are accounted for.
    #[must_use]
    pub fn new(marks: &[TriggerMark], pipeline: &Pipeline, now: Now) -> Self {
        let mut history = Self::default();
        history.set(marks, now);
        for (trigger, _, condition) in conditions(pipeline) {
            if let Condition::Cron { missed: Missed::None, .. } = condition
                && let Some(mark) = history.marks.get_mut(&(trigger.to_owned(), condition.describe()))
                && mark.at < now.time
            {
                (mark.at, mark.moment) = (now.time, now.moment);
            }
        }
        history
    }

    /// Sets marks.
    pub fn set(&mut self, marks: &[TriggerMark], now: Now) {
        for TriggerMark { trigger, condition, at, seq, value } in marks {
            let at = if *at > now.time.after(MAX_AHEAD) { now.time } else { *at };
            let mark = Mark { at, moment: moment(at, now), seq: *seq, value: *value };
            self.marks.insert((trigger.clone(), condition.clone()), mark);
        }
    }

    /// Returns all marks, for the store.
    #[must_use]
    pub fn marks(&self) -> Vec<TriggerMark> {
        let marks = self.marks.iter();
        marks
            .map(|((trigger, condition), mark)| TriggerMark {
                trigger: trigger.clone(),
                condition: condition.clone(),
                at: mark.at,
                seq: mark.seq,
                value: mark.value,
            })
            .collect()
    }

    /// Gives each new condition a mark, and drops those of conditions that are gone. For a new
    /// condition, runs that ended before `newest_event` do not count, and time counts from now on.
    /// A metric that is already beyond its bound does count.
    pub fn arm(&mut self, pipeline: &Pipeline, newest_event: u64, now: Now) {
        let mut needed = BTreeSet::new();
        for (trigger, _, condition) in conditions(pipeline) {
            let seq = match condition {
                Condition::Every(_) | Condition::Cron { .. } | Condition::Metric { .. } => 0,
                Condition::AfterRun(_) | Condition::Component(_) => newest_event,
                _ => continue,
            };
            let key = (trigger.to_owned(), condition.describe());
            let fresh = Mark { at: now.time, moment: now.moment, seq, value: None };
            let mark = self.marks.entry(key.clone()).or_insert(fresh);
            needed.insert(key);
            if let Condition::Metric { name, test: MetricTest::ChangedBy(_) } = condition
                && mark.value.is_none()
            {
                // The first value is what later ones are compared with.
                mark.value = self.metrics.get(name).map(|metric| metric.value).filter(|value| !value.is_nan());
            }
        }
        self.marks.retain(|key, _| needed.contains(key));
        self.ended.retain(|key, _| needed.contains(key));
        self.looked.retain(|key, _| needed.contains(key));
        self.answers.retain(|key| needed.contains(key));
    }

    /// Returns what trigger components have answered.
    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Returns the answers of trigger components, to be changed.
    pub fn answers_mut(&mut self) -> &mut Answers {
        &mut self.answers
    }

    /// Notes that a run was created, which uses up the answers of the components in its triggers
    /// that have marks.
    pub fn use_up(&mut self, marks: &[TriggerMark]) {
        for mark in marks {
            self.answers.use_up(&(mark.trigger.clone(), mark.condition.clone()));
        }
    }

    /// Returns when a component last led to a run.
    #[must_use]
    pub fn fired_at(&self, asked: &Asked) -> Option<Timestamp> {
        self.marks.get(asked).filter(|mark| mark.value.is_some()).map(|mark| mark.at)
    }

    /// Returns the names of the metrics that conditions look at.
    #[must_use]
    pub fn metric_names(pipeline: &Pipeline) -> BTreeSet<String> {
        let name = |condition: &Condition| match condition {
            Condition::Metric { name, .. } => Some(name.clone()),
            _ => None,
        };
        conditions(pipeline).filter_map(|(_, _, condition)| name(condition)).collect()
    }

    /// Stores the newest value of a metric, and the triggers that led to its run.
    pub fn note_metric(&mut self, record: &MetricRecord, fired_by: Vec<String>, now: Now) {
        if self.metrics.get(&record.name).is_some_and(|known| known.seq == record.seq) {
            return;
        }
        let seen = MetricSeen {
            value: record.value,
            seq: record.seq,
            run: record.run_number,
            recorded_at: record.recorded_at,
            moment: moment(record.recorded_at, now),
            fired_by,
        };
        self.metrics.insert(record.name.clone(), seen);
    }

    /// Returns the conditions on the ends of runs, and the components, each with the event after
    /// which to look for ends. While the host drains, no run counts for a trigger that led to it.
    #[must_use]
    pub fn after_runs(&self, pipeline: &Pipeline, draining: bool) -> Vec<AfterRunCondition> {
        conditions(pipeline)
            .filter_map(|(trigger, retrigger, condition)| {
                let how = match condition {
                    Condition::AfterRun(how) => *how,
                    Condition::Component(_) => AfterRun::Ended,
                    _ => return None,
                };
                let key = (trigger.to_owned(), condition.describe());
                let retrigger = retrigger && !draining;
                // A reload may have changed which runs count: then all are looked at again.
                let looked = self.looked.get(&key).filter(|looked| looked.retrigger == retrigger);
                let after = self.marks.get(&key)?.seq.max(looked.map_or(0, |looked| looked.until));
                let (trigger, condition) = key;
                Some(AfterRunCondition { trigger, condition, how, retrigger, after })
            })
            .collect()
    }

    /// Stores the newest run that ended as a condition wants.
    pub fn note_ended(&mut self, condition: AfterRunCondition, run: EndedRun) {
        self.ended.insert((condition.trigger, condition.condition), run);
    }

    /// Notes that all ends up to an event have been looked at for a condition. Otherwise, the cost
    /// of each look would grow with the number of runs that do not count.
    pub fn note_looked(&mut self, condition: &AfterRunCondition, until: u64) {
        let key = (condition.trigger.clone(), condition.condition.clone());
        self.looked.insert(key, Looked { until: until.max(condition.after), retrigger: condition.retrigger });
    }

    /// Returns the event up to which a condition has accounted for the ends of runs, if it leads to
    /// a run now. This includes ends that do not count, so that a host that starts does not look at
    /// them again.
    pub(super) fn ends_seen(&self, trigger: &str, condition: &Condition) -> u64 {
        let key = (trigger.to_owned(), condition.describe());
        let ended = self.ended.get(&key).map_or(0, |run| run.seq);
        let looked = self.looked.get(&key).map_or(0, |looked| looked.until);
        self.marks.get(&key).map_or(0, |mark| mark.seq).max(ended).max(looked)
    }

    pub(super) fn mark(&self, trigger: &str, condition: &Condition) -> Option<Mark> {
        self.marks.get(&(trigger.to_owned(), condition.describe())).copied()
    }

    pub(super) fn metric(&self, name: &str) -> Option<&MetricSeen> {
        self.metrics.get(name)
    }

    /// Returns the newest run that ended as a condition wants and that is not accounted for.
    pub(super) fn ended(&self, trigger: &str, condition: &Condition) -> Option<&EndedRun> {
        let after = self.mark(trigger, condition)?.seq;
        self.ended.get(&(trigger.to_owned(), condition.describe())).filter(|run| run.seq > after)
    }

    /// Returns when a trigger last fired, or was first seen; `None` if neither is known.
    pub(super) fn last_fire(&self, trigger: &str) -> Option<Timestamp> {
        let of_it = self.marks.iter().filter(|((name, _), _)| name == trigger);
        of_it.map(|(_, mark)| mark.at).max()
    }
}
