//! Steps that record facts about the work, and query those of earlier runs.

use std::collections::BTreeMap;

use anacostia_guest::metadata::{self, Entry, Metric};
use anacostia_guest::{Outcome, Result, log, resources};
use serde::Deserialize;

use crate::Then;
use crate::text::fill;

/// Logs `values` as the metric `name`; with `first_step`, as a curve that starts there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    name: String,
    values: Vec<f64>,
    first_step: Option<u64>,
}

impl Metrics {
    pub fn perform(&self) -> Result<()> {
        let metrics: Vec<_> = (0..)
            .zip(&self.values)
            .map(|(n, &value)| Metric { name: self.name.clone(), value, step: self.first_step.map(|first| first + n) })
            .collect();
        metadata::log_metrics(&metrics)
    }
}

/// Records the params in `entries`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    entries: BTreeMap<String, String>,
}

impl Params {
    pub fn perform(&self) -> Result<()> {
        metadata::log_params(&entries(&self.entries))
    }
}

/// Sets the tags in `entries` on the run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tags {
    entries: BTreeMap<String, String>,
}

impl Tags {
    pub fn perform(&self) -> Result<()> {
        metadata::set_tags(&entries(&self.entries))
    }
}

/// Adds `tag` to each input in `from`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagInputs {
    from: String,
    tag: String,
    #[serde(default)]
    unique: bool,
}

impl TagInputs {
    pub fn perform(&self) -> Result<()> {
        for input in resources::inputs(&self.from)? {
            metadata::tag_artifact(&input.id, &fill(&self.tag), self.unique)?;
        }
        Ok(())
    }
}

/// Logs the newest value of the metric `name` in earlier runs, as
/// `latest NAME VALUE of run NUMBER`, or `latest NAME is not there`, and the number of values.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latest {
    name: String,
}

impl Latest {
    pub fn perform(&self) -> Result<()> {
        let all = metadata::metrics(&self.name, 1000)?.len();
        let line = match metadata::latest_metric(&self.name)? {
            Some(metric) => format!("latest {} {} of run {}", self.name, metric.value, metric.run_number),
            None => format!("latest {} is not there", self.name),
        };
        log::info(&line, &[("values", &all)]);
        Ok(())
    }
}

/// Logs each of the last `limit` runs, as `run NUMBER STATE`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runs {
    limit: u32,
}

impl Runs {
    pub fn perform(&self) -> Result<()> {
        for run in metadata::runs(self.limit)? {
            log::info(&format!("run {} {}", run.run_number, run.state), &[]);
        }
        Ok(())
    }
}

/// Logs `value` as the metric `name`, and skips the following actions unless it is higher than the
/// newest value in earlier runs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipUnlessBetter {
    name: String,
    value: f64,
}

impl SkipUnlessBetter {
    pub fn perform(&self) -> Result<Then> {
        let before = metadata::latest_metric(&self.name)?;
        metadata::log_metrics(&[Metric { name: self.name.clone(), value: self.value, step: None }])?;
        Ok(before.filter(|before| before.value >= self.value).map(|before| {
            Outcome::Skip(format!(
                "{} {} is not above the {} of run {}",
                self.name, self.value, before.value, before.run_number
            ))
        }))
    }
}

fn entries(entries: &BTreeMap<String, String>) -> Vec<Entry> {
    entries.iter().map(|(name, value)| Entry { name: name.clone(), value: fill(value) }).collect()
}
