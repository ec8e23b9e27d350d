//! `wait=`: delays the answer until a run has ended.
//!
//! A client that polls learns of the end late, by half its interval on average, and each poll reads
//! the record. The event stream reports the end at once, but needs a second connection that is open
//! before the run starts. `PUT /api/v1/runs/{id}?wait=30s` needs one request.
//!
//! The server subscribes to events before it reads the state of the run, so that it cannot miss the
//! end in between.

use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::base::{RunId, TimeSpan};
use crate::http::App;
use crate::http::problem::{Problem, Result};
use crate::http::query::Query;

/// The longest allowed wait: shorter than the usual timeouts of proxies.
const MAX_WAIT: TimeSpan = TimeSpan(Duration::from_mins(1));

/// A request that waits for the end of a run.
#[derive(Debug)]
pub(super) struct Waiting {
    ends: Receiver<RunId>,
    until: Instant,
}

impl Waiting {
    /// Subscribes to events, if the query has a `wait`.
    pub(super) fn begin(app: &App, query: &Query) -> Result<Option<Self>> {
        let Some(span) = query.value::<TimeSpan>("wait")? else { return Ok(None) };
        if span > MAX_WAIT {
            return Err(Problem::bad_parameter("wait", format!("it must be at most {MAX_WAIT}; ask again after that")));
        }
        Ok(Some(Self { ends: app.view.control.ended_runs(), until: Instant::now() + span.0 }))
    }

    /// Waits until the run has ended, the time is over, or the server stops. The caller then reads
    /// the state of the run.
    pub(super) async fn until_ended(mut self, app: &App, run: RunId) -> Result<()> {
        loop {
            let end = tokio::select! {
                end = self.ends.recv() => end,
                () = tokio::time::sleep_until(self.until) => return Ok(()),
                () = app.stop.cancelled() => return Ok(()),
            };
            match end {
                Ok(ended) if ended == run => return Ok(()),
                Ok(_) => {}
                // The end of the run may be among the missed events.
                Err(RecvError::Lagged(_)) => {
                    if app.view.store.run_summary(run).await?.is_none_or(|run| run.state.ended()) {
                        return Ok(());
                    }
                }
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }
}
