//! The actions of a run with their attempts, in full.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::base::bounds::{MAX_DECIDER_CHARS, MAX_NOTE_CHARS, cut};
use crate::base::{AttemptId, ByteSize, Timestamp};
use crate::graph::Graph;
use crate::model::{Attempt, RunAction, RunDetail, Usage};
use crate::resource::Outage;
use crate::sandbox::Progress;
use crate::ui::{look, text};

use super::top::Retry;

/// Most attempts of an action that are listed, the last ones.
const ATTEMPTS: usize = 20;
/// Most bytes of an error that are shown before the whole error is opened.
const MOST_OF_LINE: usize = 400;

/// An action of the run.
#[derive(Debug, Serialize)]
pub(super) struct ActionRow {
    name: String,
    kind: &'static str,
    state: &'static str,
    reason: Option<String>,
    retry_at: Option<text::Moment>,
    /// What a retry from here runs again, if there can be one.
    from: Option<Retry>,
    /// What it asks a person for, if it waits for that.
    approval: Option<Asked>,
    /// How approvals were decided.
    decided: Vec<String>,
    attempts: Vec<AttemptRow>,
    /// How many attempts are left out.
    more: usize,
}

#[derive(Debug, Serialize)]
struct Asked {
    who: String,
    since: text::Moment,
    until: Option<text::Moment>,
    max_by: usize,
    max_note: usize,
}

#[derive(Debug, Serialize)]
struct AttemptRow {
    id: String,
    number: u32,
    kind: &'static str,
    state: &'static str,
    started: text::Moment,
    took: String,
    message: Option<String>,
    /// Why its result was, or was not, taken from an earlier attempt.
    cache: Option<String>,
    /// The first line of its error, and the whole error if it has more.
    error: Option<(String, Option<String>)>,
    code: Option<String>,
    progress: Option<Reported>,
    outage: Option<String>,
    /// What it used: name and value.
    usage: Vec<(&'static str, String)>,
    component: String,
}

#[derive(Debug, Serialize)]
struct Reported {
    percent: String,
    message: String,
}

/// What only the host knows about active attempts.
pub(super) struct Live {
    pub(super) progress: BTreeMap<AttemptId, Progress>,
    pub(super) outages: BTreeMap<AttemptId, Outage>,
}

/// Returns the actions of a run. Without its graph they offer no retry.
pub(super) fn rows(detail: &RunDetail, graph: Option<&Graph>, live: &Live, now: Timestamp) -> Vec<ActionRow> {
    let from = |action| Retry::from(detail, graph, action);
    detail.actions.iter().map(|action| ActionRow { from: from(action), ..row(detail, action, live, now) }).collect()
}

fn row(detail: &RunDetail, action: &RunAction, live: &Live, now: Timestamp) -> ActionRow {
    let (kind, state) = look::action(action);
    let attempts: Vec<&Attempt> = detail.attempts.iter().filter(|it| it.action == action.name).collect();
    let more = attempts.len().saturating_sub(ATTEMPTS);
    let shown = attempts.get(more..).unwrap_or_default();
    let said = |reason: &String| !attempts.last().is_some_and(|last| says(last, reason));
    ActionRow {
        name: action.name.clone(),
        kind,
        state,
        reason: action.reason.clone().filter(|reason| !reason.is_empty() && said(reason)),
        retry_at: action.retry_at.map(text::both),
        from: None,
        approval: action.undecided().map(|approval| Asked {
            who: approval.who.clone(),
            since: text::both(approval.since),
            until: approval.until.map(text::both),
            max_by: MAX_DECIDER_CHARS,
            max_note: MAX_NOTE_CHARS,
        }),
        decided: action.approvals.iter().filter_map(crate::model::Approval::outcome).collect(),
        attempts: shown.iter().map(|attempt| attempt_row(attempt, live, now)).collect(),
        more,
    }
}

/// Whether an attempt says already why its action is in its state.
fn says(attempt: &Attempt, reason: &str) -> bool {
    let error = attempt.error.as_ref().is_some_and(|error| reason.contains(error.message.trim()));
    error || attempt.message.as_deref() == Some(reason)
}

fn attempt_row(attempt: &Attempt, live: &Live, now: Timestamp) -> AttemptRow {
    let (kind, state) = look::attempt(attempt.state);
    let error = attempt.error.as_ref().map(|error| {
        let whole = error.message.trim();
        let first = cut(whole.lines().next().unwrap_or_default(), MOST_OF_LINE).into_owned();
        let more = (first.len() < whole.len()).then(|| whole.to_owned());
        (first, more)
    });
    AttemptRow {
        id: attempt.id.to_string(),
        number: attempt.number,
        kind,
        state,
        started: text::both(attempt.started_at),
        took: text::span(attempt.ended_at.unwrap_or(now).since(attempt.started_at)),
        message: attempt.message.clone().filter(|message| !message.is_empty()),
        cache: attempt.cache.as_ref().map(|cache| cache.reason.clone()),
        error,
        code: attempt.error.as_ref().map(|error| error.code.clone()),
        progress: live.progress.get(&attempt.id).map(|progress| Reported {
            percent: format!("{:.0}%", progress.fraction.clamp(0.0, 1.0) * 100.0),
            message: progress.message.clone(),
        }),
        outage: live.outages.get(&attempt.id).map(ToString::to_string),
        usage: if attempt.ended_at.is_some() && !attempt.is_cached() { used(&attempt.usage) } else { Vec::new() },
        component: attempt.component_digest.hex().chars().take(12).collect(),
    }
}

fn used(usage: &Usage) -> Vec<(&'static str, String)> {
    let mut used = vec![
        ("CPU", text::span(Duration::from_micros(usage.cpu_time_us))),
        ("Memory", ByteSize(usage.peak_memory_bytes).to_string()),
    ];
    let bytes = [
        ("Read", usage.bytes_read),
        ("Wrote", usage.bytes_written),
        ("Sent", usage.http_bytes_sent),
        ("Received", usage.http_bytes_received),
    ];
    used.extend(
        bytes.iter().filter(|(_, bytes)| *bytes > 0).map(|(name, bytes)| (*name, ByteSize(*bytes).to_string())),
    );
    if usage.http_requests > 0 {
        used.push(("Requests", usage.http_requests.to_string()));
    }
    used
}
