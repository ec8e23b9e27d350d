//! What the attempts of an action have used, how long they took, and how they failed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::base::bounds::cut;
use crate::base::{ByteSize, Timestamp};
use crate::manifest::Limits;
use crate::model::AttemptState;
use crate::scheduler::View;
use crate::store::{ActionAttempt, PageRequest, StoreError};
use crate::ui::svg::bars::{self, BARS, Bar};
use crate::ui::{look, text};

/// How many of the newest attempts are summed up.
const SUMMED: u32 = 200;
/// Most groups of failures.
const GROUPS: usize = 10;
/// Longest message of a group of failures, in bytes.
const MESSAGE: usize = 400;

/// The attempts, summed up.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    count: usize,
    succeeded: usize,
    failed: usize,
    p50: Option<String>,
    p95: Option<String>,
    longest: Option<String>,
    bars: String,
}

/// A limit, and the most that an attempt has used of it.
#[derive(Debug, Serialize)]
pub(super) struct LimitRow {
    name: &'static str,
    limit: String,
    used: Option<String>,
    /// The used part in percent, at most 100.
    percent: Option<u64>,
    /// `ok`, `wait` from 70 % on, `bad` from 90 % on.
    tone: &'static str,
}

/// Failures with the same code, and the same first line of the message except for numbers.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    /// What tells it apart from the other groups.
    key: String,
    code: String,
    count: usize,
    /// The newest one.
    message: String,
    run: u64,
    at: text::Moment,
}

/// An attempt in the table.
#[derive(Debug, Serialize)]
pub(super) struct AttemptRow {
    run: u64,
    number: u32,
    tone: &'static str,
    state: String,
    why: Option<String>,
    started: text::Moment,
    duration: String,
    memory: String,
    cpu: String,
    bytes: String,
}

/// Returns the newest attempts of an action, newest first.
pub(super) async fn newest(view: &View, action: &str) -> Result<Vec<ActionAttempt>, StoreError> {
    Ok(view.store.action_attempts(action, PageRequest { cursor: None, limit: SUMMED }).await?.items)
}

fn took(attempt: &ActionAttempt, now: Timestamp) -> Duration {
    let attempt = &attempt.attempt;
    match attempt.ended_at {
        Some(_) if attempt.usage.wall_time_us > 0 => Duration::from_micros(attempt.usage.wall_time_us),
        ended => ended.unwrap_or(now).since(attempt.started_at),
    }
}

/// Returns the value that `percent` of the sorted values do not exceed (the nearest rank).
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

pub(super) fn summary(seen: &[ActionAttempt], now: Timestamp) -> Summary {
    let of = |state: AttemptState| move |it: &&ActionAttempt| it.attempt.state == state;
    let mut succeeded: Vec<Duration> =
        seen.iter().filter(of(AttemptState::Succeeded)).map(|it| took(it, now)).collect();
    succeeded.sort_unstable();
    let failed = |it: &&ActionAttempt| look::attempt(it.attempt.state).0 == "bad";
    let places = usize::try_from(BARS).unwrap_or_default();
    let bar = |it: &ActionAttempt| {
        let (number, state) = (it.attempt.number, words(it.attempt.state));
        let title = format!("run {}, attempt {number}: {state}, {}", it.run_number, text::span(took(it, now)));
        Bar {
            href: format!("/runs/{}", it.run_number),
            tone: look::attempt(it.attempt.state).0,
            title,
            seconds: Some(took(it, now).as_secs_f64()),
        }
    };
    let drawn: Vec<Bar> = seen.iter().take(places).rev().map(bar).collect();
    Summary {
        count: seen.len(),
        succeeded: succeeded.len(),
        failed: seen.iter().filter(failed).count(),
        p50: percentile(&succeeded, 50).map(text::span),
        p95: percentile(&succeeded, 95).map(text::span),
        longest: succeeded.last().copied().map(text::span),
        bars: bars::draw(&drawn, "Duration of the last attempts, the newest last"),
    }
}

fn words(state: AttemptState) -> String {
    state.as_str().replace('_', " ")
}

/// Compares limits with the most that an attempt has used.
pub(super) fn limits(limits: &Limits, seen: &[ActionAttempt]) -> Vec<LimitRow> {
    let most = |used: fn(&crate::model::Usage) -> u64| seen.iter().map(|it| used(&it.attempt.usage)).max();
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let bytes = |bytes: u64| ByteSize(bytes).to_string();
    let span = |micros: u64| text::span(Duration::from_micros(micros));
    let row = |name, limit: u64, used: Option<u64>, shown: &dyn Fn(u64) -> String| {
        let percent = used
            .filter(|_| limit > 0)
            .map(|used| u64::try_from(u128::from(used) * 100 / u128::from(limit)).unwrap_or(u64::MAX).min(100));
        let tone = match percent {
            Some(90..) => "bad",
            Some(70..) => "wait",
            _ => "ok",
        };
        LimitRow { name, limit: shown(limit), used: used.map(shown), percent, tone }
    };
    vec![
        row("memory", limits.memory_bytes, most(|used| used.peak_memory_bytes), &bytes),
        row("cpu", micros(limits.cpu), most(|used| used.cpu_time_us), &span),
        row("wall", micros(limits.wall), most(|used| used.wall_time_us), &span),
        row("output", limits.output_bytes, most(|used| used.bytes_written), &bytes),
        row("log", limits.log_bytes, most(|used| used.log_bytes), &bytes),
        row("http_requests", u64::from(limits.http_requests), most(|used| used.http_requests), &|it| it.to_string()),
        row("handles", u64::from(limits.handles), None, &|it| it.to_string()),
        row("metric_names", u64::from(limits.metric_names), None, &|it| it.to_string()),
    ]
}

/// Groups failures by their code and what the first line of the message says, the most frequent
/// first.
pub(super) fn failures(seen: &[ActionAttempt]) -> Vec<Failure> {
    let mut groups: BTreeMap<String, Failure> = BTreeMap::new();
    for it in seen {
        let Some(error) = &it.attempt.error else { continue };
        let key = format!("{} {}", error.code, without_numbers(&error.message));
        let group = groups.entry(key).or_insert_with_key(|key| Failure {
            key: key.clone(),
            code: error.code.clone(),
            count: 0,
            message: cut(&error.message, MESSAGE).into_owned(),
            run: it.run_number,
            at: text::both(it.attempt.ended_at.unwrap_or(it.attempt.started_at)),
        });
        group.count += 1;
    }
    let mut groups: Vec<Failure> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups.truncate(GROUPS);
    groups
}

/// Returns the first line of a message with one `0` in place of each number, so that messages that
/// only count differently are equal.
fn without_numbers(message: &str) -> String {
    let line = cut(message.trim().lines().next().unwrap_or_default(), MESSAGE);
    let mut last_is_digit = false;
    let mut kept = String::with_capacity(line.len());
    for letter in line.chars() {
        let is_digit = letter.is_ascii_digit();
        if !is_digit {
            kept.push(letter);
        } else if !last_is_digit {
            kept.push('0');
        }
        last_is_digit = is_digit;
    }
    kept
}

pub(super) fn row(it: ActionAttempt, now: Timestamp) -> AttemptRow {
    let duration = text::span(took(&it, now));
    let ActionAttempt { run_number, attempt } = it;
    let usage = attempt.usage;
    AttemptRow {
        run: run_number,
        number: attempt.number,
        tone: look::attempt(attempt.state).0,
        state: words(attempt.state),
        why: attempt.error.map(|error| cut(&error.message, MESSAGE).into_owned()).or(attempt.message),
        started: text::both(attempt.started_at),
        duration,
        memory: ByteSize(usage.peak_memory_bytes).to_string(),
        cpu: text::span(Duration::from_micros(usage.cpu_time_us)),
        bytes: format!("{} / {}", ByteSize(usage.bytes_read), ByteSize(usage.bytes_written)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{AttemptId, Digest, RunId};
    use crate::model::{Attempt, ErrorInfo, LogPosition, Usage};

    fn attempt(run_number: u64, state: AttemptState, millis: u64, code: Option<&str>) -> ActionAttempt {
        let started_at = Timestamp::from_micros(1_772_366_400_000_000);
        let attempt = Attempt {
            id: AttemptId::new(),
            run_id: RunId::new(),
            action: "train".to_owned(),
            number: 1,
            state,
            started_at,
            ended_at: Some(started_at.after(Duration::from_millis(millis))),
            component_digest: Digest::of(b"train"),
            grants: serde_json::json!({}),
            error: code.map(|code| ErrorInfo::permanent(code, format!("{code} in run {run_number}"))),
            message: None,
            usage: Usage { wall_time_us: millis * 1_000, peak_memory_bytes: millis << 20, ..Usage::default() },
            log_from: LogPosition::from_parts((1, 0)),
            log_to: None,
            fence: None,
            cache: None,
        };
        ActionAttempt { run_number, attempt }
    }

    #[test]
    fn percentiles_are_of_what_succeeded() {
        let mut seen: Vec<_> = (1..=20).map(|n| attempt(n, AttemptState::Succeeded, n * 10, None)).collect();
        seen.push(attempt(21, AttemptState::Failed, 9_000, Some("trap")));
        let summary = summary(&seen, Timestamp::from_micros(0));
        assert_eq!((summary.count, summary.succeeded, summary.failed), (21, 20, 1));
        assert_eq!(summary.p50.as_deref(), Some("100 ms"));
        assert_eq!(summary.p95.as_deref(), Some("190 ms"));
        assert_eq!(summary.longest.as_deref(), Some("200 ms"));
        assert!(summary.bars.contains("run 21, attempt 1: failed, 9.0 s"));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn failures_are_grouped_by_code_and_what_the_first_line_says_without_its_numbers() {
        let mut seen = [
            attempt(4, AttemptState::Failed, 1, Some("trap")),
            attempt(3, AttemptState::TimedOut, 1, Some("wall_limit")),
            attempt(2, AttemptState::Failed, 1, Some("trap")),
            attempt(1, AttemptState::Succeeded, 1, None),
            attempt(1, AttemptState::Failed, 1, Some("trap")),
        ];
        // The same code, and something else that went wrong.
        seen[4].attempt.error = Some(ErrorInfo::permanent("trap", "no rows\nin 3 of 10 files"));
        let groups = failures(&seen);
        let shown: Vec<_> = groups.iter().map(|it| (it.code.as_str(), it.count, it.message.as_str(), it.run)).collect();
        let expected = [
            ("trap", 2, "trap in run 4", 4),
            ("trap", 1, "no rows\nin 3 of 10 files", 1),
            ("wall_limit", 1, "wall_limit in run 3", 3),
        ];
        assert_eq!(shown, expected);
        assert_eq!(without_numbers(" row 17 of 2026-03-01: 0.5\nmore"), "row 0 of 0-0-0: 0.0");
    }

    #[test]
    fn limits_are_compared_with_the_most_that_was_used() {
        let seen = [attempt(1, AttemptState::Succeeded, 64, None), attempt(2, AttemptState::Failed, 250, None)];
        let rows = limits(&Limits::default(), &seen);
        let memory = &rows[0];
        assert_eq!(
            (memory.name, memory.limit.as_str(), memory.used.as_deref()),
            ("memory", "256 MiB", Some("250 MiB"))
        );
        assert_eq!((memory.percent, memory.tone), (Some(97), "bad"));
        let none = limits(&Limits::default(), &[]);
        assert!(none.iter().all(|row| row.used.is_none() && row.percent.is_none()));
    }
}
