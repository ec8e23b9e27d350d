//! The conditions of triggers.

use std::time::Duration;

use super::decider::Decider;
use crate::base::{ByteSize, Schedule, TimeSpan};

/// A trigger that is not bound to a resource: `[triggers.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerSpec {
    /// Its name.
    pub name: String,
    /// All of these must be met; at least one.
    pub when: Vec<Condition>,
    /// `retrigger`: whether runs that it led to count for its own `after_run`, `metric`
    /// and `component`.
    pub retrigger: bool,
}

/// A condition of a trigger.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// `min_artifacts`: at least this many new artifacts in the resource.
    MinArtifacts(u64),
    /// `min_bytes`: the new artifacts have at least this many bytes.
    MinBytes(u64),
    /// `quiet_for`: no new artifact has arrived for this long.
    QuietFor(Duration),
    /// `max_wait`: the oldest new artifact has waited for this long.
    MaxWait(Duration),
    /// `every`: this much time has passed since the trigger fired last.
    Every(Duration),
    /// `cron`: a time of the schedule has come.
    Cron {
        /// The schedule.
        schedule: Box<Schedule>,
        /// What happens to times that passed while nothing could fire.
        missed: Missed,
    },
    /// `metric`: a metric that succeeded attempts recorded.
    Metric {
        /// The name of the metric.
        name: String,
        /// What its newest value must be.
        test: MetricTest,
    },
    /// `after_run`: a run has ended in this way.
    AfterRun(AfterRun),
    /// `component`: a component decides so.
    Component(Box<Decider>),
    /// `all`: each of these is met.
    All(Vec<Condition>),
    /// `any`: one of these is met.
    Any(Vec<Condition>),
}

/// What happens to times of a schedule that passed while the host was down, or while nothing could
/// start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// One run for all of them.
    #[default]
    Once,
    /// One run for each, for the last 100 of them at most.
    All,
    /// No run for those that passed while the host was down.
    None,
}

/// What the newest value of a metric must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricTest {
    /// Less than this.
    Below(f64),
    /// More than this.
    Above(f64),
    /// At least this far from the value at the last fire.
    ChangedBy(f64),
    /// Recorded at least this long ago.
    NoUpdateFor(Duration),
}

/// How a run must have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterRun {
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// In any way; also cancelled.
    Ended,
}

impl AfterRun {
    /// Returns the word in the manifest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Ended => "ended",
        }
    }
}

impl Condition {
    /// Returns its key in the manifest.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::MinArtifacts(_) => "min_artifacts",
            Self::MinBytes(_) => "min_bytes",
            Self::QuietFor(_) => "quiet_for",
            Self::MaxWait(_) => "max_wait",
            Self::Every(_) => "every",
            Self::Cron { .. } => "cron",
            Self::Metric { .. } => "metric",
            Self::AfterRun(_) => "after_run",
            Self::Component(_) => "component",
            Self::All(_) => "all",
            Self::Any(_) => "any",
        }
    }

    /// Describes what it waits for, without its key.
    #[must_use]
    pub fn wanted(&self) -> String {
        match self {
            Self::MinArtifacts(least) => least.to_string(),
            Self::MinBytes(least) => ByteSize(*least).to_string(),
            Self::QuietFor(span) | Self::MaxWait(span) | Self::Every(span) => TimeSpan(*span).to_string(),
            Self::Cron { schedule, .. } => schedule.to_string(),
            Self::Metric { name, test } => match test {
                MetricTest::Below(bound) => format!("{name} below {bound}"),
                MetricTest::Above(bound) => format!("{name} above {bound}"),
                MetricTest::ChangedBy(step) => format!("{name} changed by {step}"),
                MetricTest::NoUpdateFor(span) => format!("{name} not updated for {}", TimeSpan(*span)),
            },
            Self::AfterRun(how) => how.as_str().to_owned(),
            Self::Component(decider) => decider.to_string(),
            Self::All(conditions) => format!("{0} of {0}", conditions.len()),
            Self::Any(conditions) => format!("1 of {}", conditions.len()),
        }
    }

    /// Describes it in one line: `any (cron 0 6 * * * UTC, metric accuracy below 0.9)`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::All(conditions) | Self::Any(conditions) => {
                let inner: Vec<String> = conditions.iter().map(Self::describe).collect();
                format!("{} ({})", self.key(), inner.join(", "))
            }
            _ => format!("{} {}", self.key(), self.wanted()),
        }
    }

    /// Returns the condition and all conditions in it, outermost first.
    #[must_use]
    pub fn flat(&self) -> Vec<&Self> {
        let mut all = vec![self];
        if let Self::All(conditions) | Self::Any(conditions) = self {
            all.extend(conditions.iter().flat_map(Self::flat));
        }
        all
    }

    /// Returns how many new bytes there are at least whenever the condition is met.
    #[must_use]
    pub fn least_bytes(&self) -> u64 {
        match self {
            Self::MinBytes(least) => *least,
            Self::All(conditions) => conditions.iter().map(Self::least_bytes).max().unwrap_or(0),
            Self::Any(conditions) => conditions.iter().map(Self::least_bytes).min().unwrap_or(0),
            _ => 0,
        }
    }

    /// Returns whether it is due at times of the machine's clock, which can be set.
    #[must_use]
    pub fn follows_clock(&self) -> bool {
        matches!(self, Self::Cron { .. })
    }

    /// Returns the component that decides, if the condition is one.
    #[must_use]
    pub fn decider(&self) -> Option<&Decider> {
        if let Self::Component(decider) = self { Some(decider) } else { None }
    }

    /// Calls `each` with every component in the condition, outermost first.
    pub(super) fn each_decider(&mut self, each: &mut impl FnMut(&mut Decider)) {
        match self {
            Self::Component(decider) => each(decider),
            Self::All(conditions) | Self::Any(conditions) => {
                for condition in conditions {
                    condition.each_decider(each);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{AfterRun, Condition, MetricTest};

    #[test]
    fn a_condition_is_described_in_one_line() {
        let metric = Condition::Metric { name: "accuracy".to_owned(), test: MetricTest::Below(0.9) };
        let either = Condition::Any(vec![Condition::Every(Duration::from_hours(1)), metric]);
        let both = Condition::All(vec![either, Condition::AfterRun(AfterRun::Failed)]);
        assert_eq!(both.describe(), "all (any (every 1h, metric accuracy below 0.9), after_run failed)");
        assert_eq!(both.flat().len(), 5);
    }
}
