//! Runs one attempt and reports it.

use std::sync::Arc;
use std::time::Instant;

use crate::base::fault;
use crate::model::{ArtifactTag, Denial, ErrorInfo, Influence, LogLevel, Outcome, Recording, Usage};

use super::Services;
use super::hooks::Calls;
use super::host::http::{HeaderValues, Requests};
use super::host::{GuestState, database};
use super::order::{AttemptOrder, AttemptReport};
use super::setup::Attempt;
use super::watch::Watch;

/// The most facts of an attempt that is remembered: they would all be copied in one transaction.
const MAX_FACTS_REMEMBERED: u64 = 100_000;

impl Attempt {
    /// Runs the attempt. Unless the outcome is `Done` or `Skip`, no staged files remain afterwards.
    pub(super) async fn run(self) -> AttemptReport {
        let began = Instant::now();
        let secrets = match secrets(&self.order) {
            Ok(secrets) => secrets,
            Err(error) => return ended_early(&self.services, Outcome::Failed(error)),
        };
        let headers = match HeaderValues::read(&self.order) {
            Ok(headers) => Arc::new(headers),
            Err(error) => return ended_early(&self.services, Outcome::Failed(error)),
        };
        let (state, outputs) = self.state(&secrets, &headers);
        let watch = Watch::new(self.order.limits.wall, self.stop.clone(), self.gone.clone());
        let calls = Calls { attempt: &self, secrets: &secrets, outputs: &outputs, watch };
        // Boxed because the future holds all data for a call of a guest.
        let (state, outcome) = Box::pin(calls.make(state)).await;
        fault::point("attempt.guest_done");
        report(state, outcome, began).await
    }
}

/// Reads the secrets of an attempt: the name that the guest sees, and the value.
fn secrets(order: &AttemptOrder) -> Result<Vec<(String, String)>, ErrorInfo> {
    order
        .secrets
        .iter()
        .map(|(name, variable)| match std::env::var(variable) {
            Ok(value) => Ok((name.clone(), value)),
            Err(_) => Err(ErrorInfo::permanent(
                "secret_missing",
                format!(
                    "the secret `{name}` of `{}` comes from the environment variable `{variable}`, which is not set for the host",
                    order.action
                ),
            )),
        })
        .collect()
}

/// Returns the report of an attempt whose guest never ran.
pub(super) fn ended_early(services: &Services, outcome: Outcome) -> AttemptReport {
    AttemptReport {
        outcome,
        usage: Usage::default(),
        accesses: Vec::new(),
        denials: Vec::new(),
        requests: Vec::new(),
        tags: Vec::new(),
        trace: None,
        recording: Recording::default(),
        staged: Vec::new(),
        log_to: services.logs.end(),
        log_lost: None,
    }
}

async fn report(state: GuestState, outcome: Outcome, began: Instant) -> AttemptReport {
    let GuestState { order, services, memory, cpu, mut gate, http, log, table, tape, mut work, .. } = state;
    let Requests { recorded: requests, totals, denials } = http.close();
    for Denial { call, target, message } in denials {
        gate.deny(&call, &target, message);
    }
    // Dropped first, because an unfinished writer removes its file when it is dropped.
    drop(table);
    let mut outcome = outcome;
    let journals = std::mem::take(&mut work.journals);
    if matches!(outcome, Outcome::Done(_) | Outcome::Skip(_)) {
        match database::finish(journals, &cpu, &mut gate).await {
            Ok(finished) => work.staged.extend(finished),
            Err(error) => outcome = Outcome::Failed(error),
        }
    } else {
        drop(journals);
    }
    for denial in gate.denials() {
        log.host(LogLevel::Warn, &format!("denied: {} on {}: {}", denial.call, denial.target, denial.message));
    }
    if let Outcome::Failed(error) | Outcome::TimedOut(error) = &outcome {
        log.host(LogLevel::Error, &format!("{}: {}", error.code, error.message));
    }
    log.flush();
    let log_lost = log.lost();
    if log_lost.is_some() && outcome != Outcome::Cancelled {
        outcome = Outcome::HandedBack;
    }
    let succeeded = matches!(outcome, Outcome::Done(_) | Outcome::Skip(_));
    let staged = if succeeded { work.staged } else { Vec::new() };
    if !succeeded {
        discard(&order, &services, work.touched.iter()).await;
    }
    if totals.requests > 0 {
        gate.note_use(Influence::Network);
    }
    if work.facts > MAX_FACTS_REMEMBERED {
        gate.note_irregular(|| "it has recorded more than 100,000 metrics, params and tags".to_owned());
    }
    let trace = gate.take_trace();
    let (host_calls, bytes_read, bytes_written) = gate.counts();
    let usage = Usage {
        peak_memory_bytes: memory.peak(),
        cpu_time_us: micros(cpu.used()),
        wall_time_us: micros(began.elapsed()),
        bytes_read,
        bytes_written,
        log_bytes: log.counted(),
        host_calls,
        http_requests: totals.requests,
        http_bytes_sent: totals.sent,
        http_bytes_received: totals.received,
    };
    let tags = work.tags.into_iter().map(|((artifact_id, tag), unique)| ArtifactTag { artifact_id, tag, unique });
    let (tags, (accesses, denials)) = (tags.collect(), gate.into_records());
    AttemptReport {
        outcome,
        usage,
        accesses,
        denials,
        requests,
        tags,
        trace,
        recording: tape.recording(),
        staged,
        log_to: log.end(),
        log_lost,
    }
}

/// Removes the staged files of an attempt. Files that cannot be removed now are removed at the next
/// start.
pub(super) async fn discard(order: &AttemptOrder, services: &Services, resources: impl Iterator<Item = &String>) {
    for name in resources {
        if let Some(resource) = services.resources.get(name)
            && let Err(why) = resource.discard(order.fence.attempt_id).await
        {
            tracing::warn!("staged files of attempt {} are left until the next start: {why}", order.fence.attempt_id);
        }
    }
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
