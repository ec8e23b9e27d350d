//! `wait=`: an answer that comes when a run has ended.
//!
//! Who asks again and again learns of the end half a pause late, and costs a look at the record
//! each time; the event stream tells at once, but is a second connection that has to be open before
//! the run starts. With `PUT /api/v1/runs/{id}?wait=30s` the result is one request away.
//!
//! Listening begins before the state of the run is looked at, so that no end falls in between.

use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::base::{RunId, TimeSpan};
use crate::http::App;
use crate::http::problem::{Problem, Result};
use crate::http::query::Query;

/// The longest wait that can be asked for: less than what proxies let a request take.
const MAX_WAIT: TimeSpan = TimeSpan(Duration::from_mins(1));

/// Someone who waits for the end of a run.
#[derive(Debug)]
pub(super) struct Waiting {
    ends: Receiver<RunId>,
    until: Instant,
}

impl Waiting {
    /// Begins to listen, if the query has a `wait`.
    pub(super) fn begin(app: &App, query: &Query) -> Result<Option<Self>> {
        let Some(span) = query.value::<TimeSpan>("wait")? else { return Ok(None) };
        if span > MAX_WAIT {
            return Err(Problem::bad_parameter("wait", format!("it must be at most {MAX_WAIT}; ask again after that")));
        }
        Ok(Some(Self { ends: app.view.control.ended_runs(), until: Instant::now() + span.0 }))
    }

    /// Waits until the run has ended, the time is over, or the server stops: whoever asked looks at
    /// the run then.
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
                // Its end may be among those that were missed.
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
