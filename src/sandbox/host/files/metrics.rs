//! `/out/metrics.jsonl`: a file whose lines are recorded as metrics, and which is not kept itself.
//!
//! A line is `{"name": "loss", "value": 0.5, "step": 3}`. `step` is optional and other keys are
//! ignored, because many tools write such lines with a time in them. A line that is not a metric is
//! reported in the log with its number, and has no other effect.

use crate::base::bounds::cut;
use crate::base::escape;
use crate::model::Facts;
use crate::sandbox::host::GuestState;
use crate::sandbox::host::access::CallError;

use super::metric_lines::Read;
use super::state::METRICS;

/// The maximum number of invalid lines that are logged.
const MAX_BAD_LINES: u64 = 20;

impl GuestState {
    /// Handles a write to the file.
    pub(super) async fn write_metrics(&mut self, bytes: &[u8]) -> Result<(), CallError> {
        let lines = self.files.metrics.take(bytes);
        self.keep_metrics(lines).await
    }

    /// Ends the last line. Called when the program has closed the file.
    pub(super) async fn end_metrics(&mut self) -> Result<(), CallError> {
        let last = self.files.metrics.end();
        self.keep_metrics(last.into_iter().collect()).await
    }

    async fn keep_metrics(&mut self, lines: Vec<(u64, Read)>) -> Result<(), CallError> {
        let mut good = Vec::new();
        let mut reached = None;
        for (number, line) in lines {
            let checked = match line {
                Ok(None) => continue,
                Ok(Some(metric)) => self.checked_metrics(vec![metric]),
                Err(why) => Err(CallError::invalid(why)),
            };
            match checked {
                Ok(metrics) => good.extend(metrics),
                Err(CallError::Refused(error)) if error.code == "invalid" => self.log_bad_line(number, &error.message),
                Err(error) => {
                    reached = Some(error);
                    break;
                }
            }
        }
        self.record(Facts { metrics: good, ..Facts::default() }).await?;
        reached.map_or(Ok(()), Err)
    }

    fn log_bad_line(&mut self, number: u64, why: &str) {
        self.files.metrics.bad += 1;
        match self.files.metrics.bad {
            ..=MAX_BAD_LINES => {
                let why = escape(cut(why, 400).as_bytes());
                self.log_once(&format!("out/{METRICS}"), &format!("line {number} is not a metric: {why}"));
            }
            bad if bad == MAX_BAD_LINES + 1 => {
                self.log_once(&format!("out/{METRICS}"), "more lines are not metrics; they are not logged");
            }
            _ => {}
        }
    }
}
