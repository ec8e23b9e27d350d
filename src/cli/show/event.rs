//! Formats the events of a running host, one line each. They are the events that HTTP clients get
//! too.

use std::time::Duration;

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::fit::{headline, wrap};
use super::{Cell, duration, plain, plural, state_mark, styles};
use crate::model::{Event, EventKind};

/// The indentation of continuation lines: as wide as a time.
const INDENT: &str = "           ";
/// How the reason of an action begins whose approval timed out.
const NOBODY: &str = "nobody decided";
/// The end of a message line after which the host proposes manifest lines.
const PROPOSES: &str = "write in anacostia.toml:\n";
/// Most manifest lines that are shown; no message proposes more.
const MAX_ADVICE_LINES: usize = 6;

/// Formats an event that is of interest to a person; `None` for others. If the event is the end of
/// a run that had started, `took` is how long the run took, and `next` says what to do about it if
/// it failed. Text that is too long for a terminal
/// with `width` columns continues on the next lines.
pub(crate) fn event_line(event: &Event, took: Option<Duration>, next: Option<String>, width: usize) -> Option<String> {
    let text = |key: &str| event.data.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = event.data.get("number").and_then(Value::as_u64).unwrap_or_default();
    let run = Cell::new(format!("run #{number}")).style(styles::STRONG);
    let time: String = event.time.to_string().chars().skip(11).take(8).collect();
    let line = match event.kind {
        EventKind::RunCreated => {
            let inputs = event.data.get("inputs").and_then(Value::as_u64).unwrap_or_default();
            let trigger = Cell::new(text("trigger"));
            format!("{run}  {}  {trigger}, works on {}", Cell::new("○ created"), plural(inputs, "artifact"))
        }
        EventKind::RunState if matches!(text("state"), "succeeded" | "failed" | "cancelled") => {
            let took = took.map(|span| format!("  {}", Cell::new(duration(span)).style(styles::FAINT)));
            let reason = Some(text("reason")).filter(|reason| !reason.is_empty());
            let line = format!("{run}  {}{}", state_mark(text("state")), took.unwrap_or_default());
            let more = reason.map(advice).unwrap_or_default();
            let why = reason.map(|reason| headline(reason).into_owned()).into_iter().chain(next);
            let why = why.collect::<Vec<_>>().join("; ");
            if why.is_empty() { line } else { format!("{}{more}", with_reason(&line, &why, width)) }
        }
        EventKind::RunState if event.data.get("retried").is_some() => format!("{run}  {}", Cell::new("○ retried")),
        EventKind::ActionState if text("state") == "retrying" => {
            let action = Cell::new(event.action.as_deref().unwrap_or_default());
            with_reason(&format!("{action}  {}", state_mark("retrying")), text("reason"), width)
        }
        // The event of the decision does not say how long it was waited for.
        EventKind::ActionState if text("state") == "failed" && text("reason").starts_with(NOBODY) => {
            let action = Cell::new(event.action.as_deref().unwrap_or_default());
            with_reason(&format!("{action}  {}", state_mark("failed")), text("reason"), width)
        }
        EventKind::ApprovalRequested => {
            let action = Cell::new(event.action.as_deref().unwrap_or_default());
            let who = format!("{}, see `anacostia runs show {number}`", text("who"));
            with_reason(&format!("{run}  {action}  {}", state_mark("awaiting_approval")), &who, width)
        }
        EventKind::ApprovalDecided if text("verdict") != "timed_out" => {
            let action = Cell::new(event.action.as_deref().unwrap_or_default());
            let by = Some(text("by")).filter(|by| !by.is_empty()).map(|by| format!("by {by}"));
            let note = Some(text("note")).filter(|note| !note.is_empty()).map(str::to_owned);
            let reason = by.into_iter().chain(note).collect::<Vec<_>>().join(": ");
            let line = format!("{run}  {action}  {}", state_mark(text("verdict")));
            if reason.is_empty() { line } else { with_reason(&line, &reason, width) }
        }
        EventKind::ArtifactIgnored => {
            let place = Cell::new(format!("{}/{}", text("resource"), text("path")));
            with_reason(&format!("{}  {place}", state_mark("ignored")), text("reason"), width)
        }
        EventKind::Paused => "the pipeline is paused: nothing new starts".to_owned(),
        EventKind::Resumed => "the pipeline is resumed".to_owned(),
        EventKind::NodePaused => {
            let line = format!("{}  {}", Cell::new(text("name")).style(styles::STRONG), Cell::new("paused"));
            Some(text("reason")).filter(|it| !it.is_empty()).map_or(line.clone(), |it| with_reason(&line, it, width))
        }
        EventKind::NodeResumed => format!("{}  is resumed", Cell::new(text("name")).style(styles::STRONG)),
        _ => return None,
    };
    Some(format!("{}  {line}\n", Cell::new(format!("{time}Z")).style(styles::FAINT)))
}

/// A line with its reason: on the same line if there is room, else below.
fn with_reason(line: &str, reason: &str, width: usize) -> String {
    let reason = plain(&headline(reason));
    let taken = INDENT.len() + anstream::adapter::strip_str(line).to_string().width();
    if taken + 2 + reason.width() <= width {
        return format!("{line}  {reason}");
    }
    let lines = wrap(&reason, width.saturating_sub(INDENT.len()));
    lines.iter().fold(line.to_owned(), |text, line| format!("{text}\n{INDENT}{line}"))
}

/// Returns the manifest lines that the host proposes in a message, if there are any, because they
/// are the user's next step; `runs show` has the rest. Proposed lines begin in the first column,
/// where text of a guest never does: an action must not be able to propose grants for itself.
fn advice(message: &str) -> String {
    let proposed = message.split_once(PROPOSES).map(|(_, lines)| lines).filter(|lines| lines.starts_with('['));
    let Some(lines) = proposed else { return String::new() };
    let lines = lines.lines().take_while(|line| line.starts_with('[') || line.contains(" = ")).take(MAX_ADVICE_LINES);
    let heading = format!("\n{INDENT}to allow it, write in anacostia.toml:");
    lines.fold(heading, |text, line| format!("{text}\n{INDENT}  {}", Cell::new(line)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::samples;
    use super::event_line;
    use crate::model::{Decision, Event, EventKind, Page, Run, Verdict};

    fn event(kind: EventKind, data: serde_json::Value) -> Event {
        Event {
            seq: 1,
            epoch: 1,
            time: samples::at(5),
            kind,
            v: 1,
            run_id: None,
            action: Some("train".to_owned()),
            attempt: None,
            artifact_id: None,
            data,
        }
    }

    #[test]
    fn a_retry_is_shown_and_a_start_is_not() {
        let running = |data| event_line(&event(EventKind::RunState, data), None, None, 80);
        assert_eq!(running(json!({"number": 3, "state": "running"})), None);
        let line = running(json!({"number": 3, "state": "running", "retried": true})).unwrap();
        assert_eq!(anstream::adapter::strip_str(&line).to_string(), "12:00:05Z  run #3  ○ retried\n");
    }

    #[test]
    fn events_are_shown_as_lines() {
        let mut timed_out = samples::approval();
        timed_out.decision = Some(Decision::new(Verdict::TimedOut, None, None, samples::at(86_403)));
        let events = [
            event(EventKind::RunCreated, json!({"number": 3, "trigger": "data_store: 1 new artifact", "inputs": 1})),
            event(EventKind::AttemptStarted, json!({"number": 1})),
            event(EventKind::ActionState, json!({"state": "retrying", "reason": "unavailable, attempt 2 in 1 s"})),
            event(EventKind::RunState, json!({"number": 3, "state": "running"})),
            event(EventKind::RunState, json!({"number": 3, "state": "succeeded", "reason": null})),
            event(EventKind::RunState, json!({"number": 4, "state": "failed", "reason": "`train` failed"})),
            event(
                EventKind::RunState,
                json!({"number": 5, "state": "failed", "reason": "train failed: it trapped: x\n  at y"}),
            ),
            event(EventKind::RunState, json!({"number": 6, "state": "failed", "reason": samples::LIMIT})),
            event(EventKind::ApprovalRequested, json!({"number": 3, "who": "data team", "until": null})),
            event(EventKind::ApprovalDecided, json!({"number": 3, "verdict": "approved", "by": "ann", "note": null})),
            event(
                EventKind::ApprovalDecided,
                json!({"number": 3, "verdict": "rejected", "by": "ann", "note": "too few rows"}),
            ),
            event(EventKind::ApprovalDecided, json!({"number": 3, "verdict": "timed_out", "by": null, "note": null})),
            event(EventKind::ActionState, json!({"state": "failed", "reason": timed_out.outcome()})),
            event(EventKind::ActionState, json!({"state": "failed", "reason": "no luck"})),
            event(EventKind::ArtifactIgnored, json!({"resource": "raw", "path": "pipe", "reason": "it is a FIFO"})),
            event(EventKind::Paused, json!({})),
            event(EventKind::NodePaused, json!({"type": "action", "name": "train", "reason": "the GPU is away"})),
            event(EventKind::NodePaused, json!({"type": "resource", "name": "raw", "reason": null})),
            event(EventKind::NodeResumed, json!({"type": "resource", "name": "raw"})),
        ];
        let text = [usize::MAX, 60].map(|width| {
            let inputs = Page { items: samples::inputs().to_vec(), next_cursor: None };
            let lines = events.iter().filter_map(|event| {
                let number = event.data["number"].as_u64().filter(|_| event.data["state"] == "failed");
                let next = number.map(|number| Run::what_next(number, " lab", &inputs));
                event_line(event, Some(Duration::from_millis(12)), next, width)
            });
            lines.collect::<String>()
        });
        insta::assert_snapshot!(anstream::adapter::strip_str(&text.join("\n")));
    }
}
