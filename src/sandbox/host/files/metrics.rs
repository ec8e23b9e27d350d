//! `/out/metrics.jsonl`: a file of which nothing is kept but what its lines say.
//!
//! A line is `{"name": "loss", "value": 0.5, "step": 3}`, where `step` may be left out and other
//! keys are let be: many tools write such lines, with a time in them. A line that says nothing is
//! told in the log, with its number, and harms nothing else.

use crate::base::bounds::cut;
use crate::base::escape;
use crate::model::Facts;
use crate::sandbox::host::GuestState;
use crate::sandbox::host::access::CallError;

use super::metric_lines::Read;
use super::state::METRICS;

/// Most bad lines that are told.
const MAX_BAD_LINES: u64 = 20;

impl GuestState {
    /// The program writes to the file.
    pub(super) async fn write_metrics(&mut self, bytes: &[u8]) -> Result<(), CallError> {
        let lines = self.files.metrics.take(bytes);
        self.keep_metrics(lines).await
    }

    /// The program is done with the file, as far as can be told.
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
                Err(CallError::Refused(error)) if error.code == "invalid" => self.tell_bad_line(number, &error.message),
                Err(error) => {
                    reached = Some(error);
                    break;
                }
            }
        }
        self.record(Facts { metrics: good, ..Facts::default() }).await?;
        reached.map_or(Ok(()), Err)
    }

    fn tell_bad_line(&mut self, number: u64, why: &str) {
        self.files.metrics.bad += 1;
        match self.files.metrics.bad {
            ..=MAX_BAD_LINES => {
                let why = escape(cut(why, 400).as_bytes());
                self.tell(&format!("out/{METRICS}"), &format!("line {number} is no metric: {why}"));
            }
            bad if bad == MAX_BAD_LINES + 1 => {
                self.tell(&format!("out/{METRICS}"), "more lines are no metrics; they are not told");
            }
            _ => {}
        }
    }
}
