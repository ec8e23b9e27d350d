//! Facts that actions record: metrics, params, tags.

use serde::{Deserialize, Serialize};

use crate::base::{ArtifactId, AttemptId, RunId, Timestamp};

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// What was measured.
    pub name: String,
    /// Any double; see [`crate::base::double`] for what stands in JSON. A negative zero becomes
    /// zero.
    #[serde(with = "crate::base::double")]
    pub value: f64,
    /// Where on the curve.
    pub step: Option<u64>,
}

/// A name and a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// The text.
    pub value: String,
}

/// What one call of a guest records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Measurements.
    pub metrics: Vec<Metric>,
    /// Params that the action chose; the last value of a name counts.
    pub params: Vec<Entry>,
    /// Tags of the run; the last value of a name counts.
    pub tags: Vec<Entry>,
}

/// A tag that an attempt puts on an artifact when it publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactTag {
    /// What is tagged.
    pub artifact_id: ArtifactId,
    /// The tag.
    pub tag: String,
    /// Whether it is taken off every other artifact of the same resource.
    pub unique: bool,
}

/// A measurement on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricRecord {
    /// Orders and pages.
    pub seq: u64,
    /// The run.
    pub run_id: RunId,
    /// The run's number.
    pub run_number: u64,
    /// The action.
    pub action: String,
    /// The attempt.
    pub attempt_id: AttemptId,
    /// Whether that attempt succeeded.
    pub succeeded: bool,
    /// What was measured.
    pub name: String,
    /// Any double; see [`crate::base::double`] for what stands in JSON. A negative zero becomes
    /// zero.
    #[serde(with = "crate::base::double")]
    pub value: f64,
    /// Where on the curve.
    pub step: Option<u64>,
    /// When.
    pub recorded_at: Timestamp,
}

/// A param on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParamRecord {
    /// Orders and pages.
    pub seq: u64,
    /// The run.
    pub run_id: RunId,
    /// The action.
    pub action: String,
    /// The attempt.
    pub attempt_id: AttemptId,
    /// Whether that attempt succeeded.
    pub succeeded: bool,
    /// The name.
    pub name: String,
    /// The text.
    pub value: String,
    /// When.
    pub recorded_at: Timestamp,
}

/// A tag of a run on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunTag {
    /// Orders and pages.
    pub seq: u64,
    /// The run.
    pub run_id: RunId,
    /// The name.
    pub name: String,
    /// The text.
    pub value: String,
    /// When.
    pub recorded_at: Timestamp,
}
