//! Polls at an interval, backs off while polls fail, and reports what is new.

use std::time::Duration;

use reqwest::Url;
use tokio_util::sync::CancellationToken;

use super::Endpoint;
use super::client::{Failure, back_off};
use super::poll::{Found, Source, poll};
use super::progress::Progress;
use crate::base::fault;
use crate::manifest::HttpForm;
use crate::resource::kept::FULL_WAIT;
use crate::resource::{
    KnownPaths, ObservationSink, RecordOutcome, ResourceError, Result, Status, Waiting, WaitingPath,
};

/// The first wait after a failure, unless the interval is shorter.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after a failure, unless the interval is longer or the server asks for more.
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// The shortest time between two removals of content that no run needs.
pub(super) const TRIM_EVERY: Duration = Duration::from_mins(1);

/// Watches an endpoint until `stop`; see [`crate::resource::Resource::watch`].
pub(super) async fn watch(
    endpoint: &Endpoint,
    known: &dyn KnownPaths,
    cursor: Option<&str>,
    sink: &dyn ObservationSink,
    stop: &CancellationToken,
) -> Result<()> {
    let HttpForm::Poll { url, path, interval, paging } = &endpoint.spec.form else { return Ok(()) };
    let url = Url::parse(url).map_err(|error| endpoint.unusable(&format!("`url` is not a valid URL: {error}")))?;
    let source = Source { url, path, paging: paging.as_ref() };
    let mut progress = Progress::read(cursor, source.digest());
    let mut rounds = Rounds { sink, failures: 0, last: None, is_held: false };
    let mut trimmed = None;
    endpoint.kept.remove_drafts().await?;
    while !stop.is_cancelled() {
        if trimmed.is_none_or(|at: tokio::time::Instant| at.elapsed() >= TRIM_EVERY) {
            endpoint.kept.trim(known).await?;
            trimmed = Some(tokio::time::Instant::now());
        }
        if let Some(full) = endpoint.kept.full(known).await? {
            rounds.hold(&endpoint.name, full);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(FULL_WAIT.min(*interval)) => continue,
            }
        }
        rounds.go_on();
        let as_of = sink.as_of();
        // Held from storing a body until it is on record.
        let recording = endpoint.kept.recording().await;
        let found = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            found = poll(endpoint, &source, &progress) => found,
        };
        let Found { seen, progress: after, failure, more } = found;
        if !seen.is_empty() || after != progress {
            fault::point("http.kept");
            if rounds.record(seen, as_of, &after).await.is_err() {
                return if stop.is_cancelled() { Ok(()) } else { Err(endpoint.refused()) };
            }
            fault::point("http.recorded");
            progress = after;
        }
        drop(recording);
        let wait = rounds.end(failure, *interval);
        if !more {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
    Ok(())
}

impl Endpoint {
    /// Returns the error of a watch whose observations the sink refuses.
    pub(super) fn refused(&self) -> ResourceError {
        ResourceError::Unavailable {
            resource: self.name.to_string(),
            doing: "record what is new".to_owned(),
            why: "nothing more can be recorded".to_owned(),
        }
    }
}

/// The results of polls.
struct Rounds<'a> {
    sink: &'a dyn ObservationSink,
    /// How many polls have failed since the last success.
    failures: u32,
    /// The last status.
    last: Option<Status>,
    /// Whether polling waits for runs to end.
    is_held: bool,
}

impl Rounds<'_> {
    /// Records what was found, and how far the polls have come, in one transaction.
    async fn record(
        &self,
        seen: Vec<crate::model::Observation>,
        as_of: u64,
        progress: &Progress,
    ) -> std::result::Result<(), ()> {
        match self.sink.observed(seen, as_of, Some(progress.to_cursor())).await {
            // No action writes here, so nothing is outdated.
            RecordOutcome::Recorded { .. } => Ok(()),
            RecordOutcome::Refused => Err(()),
        }
    }

    /// Shows that nothing is polled until runs have ended. The endpoint counts as watched, so that
    /// runs start.
    fn hold(&mut self, name: &str, full: WaitingPath) {
        if self.is_held {
            return;
        }
        tracing::warn!("{} of {name} is {}", full.path, full.reason);
        self.is_held = true;
        self.sink.waiting(Waiting { count: 1, paths: vec![full] });
        self.report(Status::Watching);
    }

    /// Shows that polling continues, if it was held.
    fn go_on(&mut self) {
        if std::mem::take(&mut self.is_held) {
            self.sink.waiting(Waiting::default());
        }
    }

    fn report(&mut self, status: Status) {
        if self.last.as_ref() != Some(&status) {
            self.sink.status(status.clone());
            self.last = Some(status);
        }
    }

    /// Ends a poll: reports the status, and returns how long to wait.
    fn end(&mut self, failure: Option<Failure>, interval: Duration) -> Duration {
        let (status, wait) = match failure {
            None => {
                self.failures = 0;
                (Status::Watching, interval)
            }
            Some(failure) => {
                self.failures += 1;
                let (first, most) = (FIRST_WAIT.min(interval), LONGEST_WAIT.max(interval));
                let wait = back_off(self.failures, first, most, failure.retry_after);
                (Status::Unreachable(failure.reason), wait)
            }
        };
        self.report(status);
        wait
    }
}
