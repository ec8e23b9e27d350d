//! Facts that actions record: metrics, params, tags.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::{ArtifactId, AttemptId, RunId, Timestamp};

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Name of the metric.
    pub name: String,
    /// Any double; see [`crate::base::double`] for its JSON form. Negative zero becomes zero.
    #[serde(with = "crate::base::double")]
    pub value: f64,
    /// Position on the curve.
    pub step: Option<u64>,
}

/// A name with a text value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// The facts that one call of a guest records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Metrics.
    pub metrics: Vec<Metric>,
    /// Params that the action chose; the last value of a name is used.
    pub params: Vec<Entry>,
    /// Tags of the run; the last value of a name is used.
    pub tags: Vec<Entry>,
}

/// A tag that an attempt sets on an artifact when it publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactTag {
    /// The tagged artifact.
    pub artifact_id: ArtifactId,
    /// The tag.
    pub tag: String,
    /// Whether the tag is removed from every other artifact of the same resource.
    pub unique: bool,
}

/// A recorded metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Metric)]
pub struct MetricRecord {
    /// Sequence number, for order and paging.
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
    /// Name of the metric.
    pub name: String,
    /// Any double. Negative zero becomes zero.
    #[serde(with = "crate::base::double")]
    #[schema(value_type = crate::base::double::Number)]
    pub value: f64,
    /// Position on the curve.
    #[schema(required)]
    pub step: Option<u64>,
    /// Time of the record.
    pub recorded_at: Timestamp,
}

/// A recorded param.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Param)]
pub struct ParamRecord {
    /// Sequence number, for order and paging.
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
    /// The value.
    pub value: String,
    /// Time of the record.
    pub recorded_at: Timestamp,
}

/// A recorded tag of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Tag)]
pub struct RunTag {
    /// Sequence number, for order and paging.
    pub seq: u64,
    /// The run.
    pub run_id: RunId,
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// Time of the record.
    pub recorded_at: Timestamp,
}
