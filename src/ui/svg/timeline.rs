//! The timeline of a run: a lane for each action, with its attempts as boxes on one axis of time,
//! and what lies between them.

use serde::Serialize;

use super::axis::{Axis, Tick};
use crate::base::{AttemptId, Timestamp};
use crate::model::{ActionState, Attempt, AttemptState, RunAction, RunDetail};
use crate::scheduler::core::WAITS_FOR;
use crate::ui::look;
use crate::ui::text::{self, Moment};

/// Most ticks besides the one at the start.
const TICKS: u64 = 6;
/// Most boxes in a lane: an action that was retried more often shows its last attempts.
const BOXES: usize = 200;
/// Most badges in a lane.
const BADGES: usize = 50;
/// The least share of the time that a run, or an action in it, waited for its start, if the wait is
/// to be drawn.
const SHORTEST_WAIT: f64 = 0.01;

/// An artifact that an attempt has written.
#[derive(Debug, Clone)]
pub(in crate::ui) struct Output {
    pub(in crate::ui) attempt: AttemptId,
    pub(in crate::ui) name: String,
    pub(in crate::ui) at: Timestamp,
    pub(in crate::ui) href: String,
}

/// A time in which an action was ready and did not start: it waited for a named limit, the end of a
/// pause, or a free slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ui) struct Held {
    pub(in crate::ui) action: String,
    pub(in crate::ui) from: Timestamp,
    pub(in crate::ui) to: Timestamp,
    /// What it waited for at first, as the action says it.
    pub(in crate::ui) why: Option<String>,
}

/// The picture.
#[derive(Debug, Serialize)]
pub(in crate::ui) struct Timeline {
    from: Moment,
    span: String,
    ticks: Vec<Tick>,
    /// Where the time is that the run waited for its start: position, width and text.
    queued: Option<(String, String, String)>,
    lanes: Vec<Lane>,
    /// Whether its end is the present.
    active: bool,
}

#[derive(Debug, Serialize)]
struct Lane {
    action: String,
    kind: &'static str,
    state: &'static str,
    /// What stands in place of boxes, if there are none.
    note: Option<String>,
    boxes: Vec<Mark>,
    waits: Vec<Mark>,
    badges: Vec<Mark>,
    /// How many attempts are left out.
    more: usize,
}

/// Something in a lane.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Mark {
    x: String,
    width: String,
    kind: &'static str,
    /// What it is, in full.
    title: String,
    href: Option<String>,
}

/// Draws a run. `now` is its end while it is active.
pub(in crate::ui) fn draw(detail: &RunDetail, outputs: &[Output], held: &[Held], now: Timestamp) -> Timeline {
    let run = &detail.run;
    let begun = detail.attempts.first().map(|attempt| attempt.started_at);
    let end = run.ended_at.unwrap_or(now);
    let axis = Axis::new(run.created_at, end);
    let started = begun.or(run.started_at).unwrap_or(end);
    let (x, width) = axis.part(run.created_at, started);
    let waited = format!("waited {} to start", text::span(started.since(run.created_at)));
    let lanes = detail.actions.iter().map(|action| {
        let attempts: Vec<&Attempt> = detail.attempts.iter().filter(|it| it.action == action.name).collect();
        let held = held.iter().filter(|it| it.action == action.name);
        lane(Lot { axis, end, run: run.number }, action, &attempts, outputs, held)
    });
    Timeline {
        from: text::both(run.created_at),
        span: text::span(axis.span()),
        ticks: axis.ticks(TICKS),
        queued: (axis.share(started) >= SHORTEST_WAIT).then_some((x, width, waited)),
        lanes: lanes.collect(),
        active: !run.state.ended(),
    }
}

/// What all lanes share.
#[derive(Clone, Copy)]
struct Lot {
    axis: Axis,
    end: Timestamp,
    run: u64,
}

fn lane<'a>(
    lot: Lot,
    action: &RunAction,
    attempts: &[&Attempt],
    outputs: &[Output],
    held: impl Iterator<Item = &'a Held>,
) -> Lane {
    let more = attempts.len().saturating_sub(BOXES);
    let shown = attempts.get(more..).unwrap_or_default();
    let mut waits = between(lot, shown);
    waits.extend(approvals(lot, action));
    waits.extend(next_attempt(lot, action, shown));
    // Without an attempt, the lane says in words what the action waits for, or why it was not
    // reached.
    if !shown.is_empty() {
        waits.extend(held.filter_map(|held| hold(lot, held)));
    }
    let mine = |output: &&Output| shown.iter().any(|attempt| attempt.id == output.attempt);
    let badges = outputs.iter().filter(mine).take(BADGES).map(|output| Mark {
        x: lot.axis.x(output.at),
        width: String::new(),
        kind: "artifact",
        title: format!("wrote {}", output.name),
        href: Some(output.href.clone()),
    });
    let boxes: Vec<Mark> = shown.iter().map(|attempt| attempt_box(lot, attempt)).collect();
    Lane {
        action: action.name.clone(),
        kind: look::action(action).0,
        state: look::action(action).1,
        note: (boxes.is_empty() && waits.is_empty()).then(|| note(action)),
        boxes,
        waits,
        badges: badges.collect(),
        more,
    }
}

fn attempt_box(lot: Lot, attempt: &Attempt) -> Mark {
    let ended = attempt.ended_at.unwrap_or(lot.end);
    let (x, width) = lot.axis.part(attempt.started_at, ended);
    let (kind, state) = look::attempt(attempt.state);
    let span = text::span(ended.since(attempt.started_at));
    let title = format!("{}, attempt {}: {state} after {span}", attempt.action, attempt.number);
    let title = if matches!(attempt.state, AttemptState::Running | AttemptState::Publishing) {
        format!("{}, attempt {}: {state} for {span}", attempt.action, attempt.number)
    } else {
        title
    };
    Mark { x, width, kind, title, href: Some(format!("/runs/{}/logs?attempt={}", lot.run, attempt.id)) }
}

/// Returns the times between attempts: an action that has failed waits before it is tried again.
fn between(lot: Lot, attempts: &[&Attempt]) -> Vec<Mark> {
    let pairs = attempts.iter().zip(attempts.iter().skip(1));
    pairs
        .filter_map(|(before, after)| {
            let ended = before.ended_at?;
            let waited = text::span(after.started_at.since(ended));
            let title = format!("waited {waited} before attempt {}", after.number);
            Some(mark(lot, (ended, after.started_at), "retry", title))
        })
        .collect()
}

/// Returns the times in which the action waited for a person.
fn approvals(lot: Lot, action: &RunAction) -> Vec<Mark> {
    let waits = action.approvals.iter().map(|approval| {
        let until = approval.decision.as_ref().map_or(lot.end, |decision| decision.at);
        let title = match approval.outcome() {
            Some(outcome) => format!("waited for approval: {outcome}"),
            None => format!("waits for approval: {}", approval.who),
        };
        mark(lot, (approval.since, until), "ask", title)
    });
    waits.collect()
}

/// Returns the wait for an attempt that is due.
fn next_attempt(lot: Lot, action: &RunAction, attempts: &[&Attempt]) -> Option<Mark> {
    let due = action.retry_at.filter(|_| action.state == ActionState::Retrying)?;
    let ended = attempts.last()?.ended_at?;
    let title = format!("the next attempt follows at {} UTC", text::moment(due));
    Some(mark(lot, (ended, lot.end), "retry", title))
}

/// Returns the time in which an action was held back. `None` if it is too short to be seen.
fn hold(lot: Lot, held: &Held) -> Option<Mark> {
    let Held { from, to, why, .. } = held;
    if lot.axis.share(*to) - lot.axis.share(*from) < SHORTEST_WAIT {
        return None;
    }
    let waited = text::span(to.since(*from));
    let title = match why.as_deref() {
        None => format!("waited {waited} for a free slot"),
        Some(why) => match why.strip_prefix(WAITS_FOR) {
            Some(what) => format!("waited {waited} for {what}"),
            None => format!("waited {waited}: {why}"),
        },
    };
    Some(mark(lot, (*from, *to), "wait", title))
}

fn mark(lot: Lot, (from, to): (Timestamp, Timestamp), kind: &'static str, title: String) -> Mark {
    let (x, width) = lot.axis.part(from, to);
    Mark { x, width, kind, title, href: None }
}

/// Says why a lane has nothing in it.
fn note(action: &RunAction) -> String {
    let reason = action.reason.as_deref().filter(|reason| !reason.trim().is_empty());
    match (action.state, reason) {
        (ActionState::Skipped, _) if action.not_triggered() => "not triggered".to_owned(),
        (ActionState::Skipped, Some(why)) => format!("skipped: {why}"),
        (ActionState::Cancelled, _) => "not reached: the run was cancelled".to_owned(),
        (ActionState::Pending, None) => "waits for the actions before it".to_owned(),
        (ActionState::Ready, None) => "is about to start".to_owned(),
        (state, Some(why)) => format!("{state}: {why}"),
        (state, None) => state.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Held, Output, draw};
    use crate::base::{AttemptId, Digest, RunId, Timestamp};
    use crate::model::{
        ActionState, Approval, Attempt, AttemptState, LogPosition, Run, RunAction, RunDetail, RunState, Usage,
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_772_366_400_000_000).after(Duration::from_secs(seconds))
    }

    fn run(state: RunState, ended: Option<u64>) -> Run {
        Run {
            id: RunId::new(),
            number: 7,
            state,
            trigger: String::new(),
            params: serde_json::json!({}),
            revision: Digest::of(b""),
            snapshot: 0,
            created_at: at(0),
            started_at: Some(at(10)),
            ended_at: ended.map(at),
            reason: None,
            rerun_of: None,
            fired_by: Vec::new(),
            partition: None,
            trimmed_at: None,
        }
    }

    fn attempt(action: &str, number: u32, state: AttemptState, from: u64, to: Option<u64>) -> Attempt {
        Attempt {
            id: AttemptId::new(),
            run_id: RunId::new(),
            action: action.to_owned(),
            number,
            state,
            started_at: at(from),
            ended_at: to.map(at),
            component_digest: Digest::of(b""),
            grants: serde_json::json!({}),
            error: None,
            message: None,
            usage: Usage::default(),
            log_from: LogPosition::default(),
            log_to: None,
            fence: None,
            cache: None,
        }
    }

    fn action(name: &str, state: ActionState) -> RunAction {
        RunAction { state, ..RunAction::pending(name) }
    }

    #[test]
    fn attempts_retries_and_artifacts_stand_on_one_axis() {
        let attempts = vec![
            attempt("train", 1, AttemptState::Failed, 10, Some(20)),
            attempt("train", 2, AttemptState::Succeeded, 40, Some(90)),
        ];
        let output = Output {
            attempt: attempts[1].id,
            name: "models/a.onnx".to_owned(),
            at: at(90),
            href: "/artifact".to_owned(),
        };
        let mut skipped = action("publish", ActionState::Skipped);
        skipped.reason = Some("`train` failed".to_owned());
        let actions = vec![action("train", ActionState::Succeeded), skipped];
        let detail = RunDetail { run: run(RunState::Succeeded, Some(100)), actions, attempts };
        let drawn = draw(&detail, &[output], &[], at(500));
        assert_eq!(drawn.span, "1 min 40 s");
        assert_eq!(drawn.queued.unwrap(), ("0.000%".into(), "10.000%".into(), "waited 10.0 s to start".into()));
        let [train, publish] = &drawn.lanes[..] else { panic!("two lanes") };
        let boxes: Vec<_> = train.boxes.iter().map(|it| (it.x.as_str(), it.width.as_str(), it.kind)).collect();
        assert_eq!(boxes, [("10.000%", "10.000%", "bad"), ("40.000%", "50.000%", "ok")]);
        assert_eq!(train.boxes[0].title, "train, attempt 1: failed after 10.0 s");
        let waits: Vec<_> =
            train.waits.iter().map(|it| (it.x.as_str(), it.width.as_str(), it.title.as_str())).collect();
        assert_eq!(waits, [("20.000%", "20.000%", "waited 20.0 s before attempt 2")]);
        assert_eq!((train.badges[0].x.as_str(), train.badges[0].title.as_str()), ("90.000%", "wrote models/a.onnx"));
        assert_eq!((publish.boxes.len(), publish.note.as_deref()), (0, Some("skipped: `train` failed")));
    }

    #[test]
    fn an_active_run_ends_now() {
        let mut asked = action("publish", ActionState::AwaitingApproval);
        asked.approvals = vec![Approval { who: "data team".to_owned(), since: at(50), until: None, decision: None }];
        let attempts = vec![attempt("train", 1, AttemptState::Running, 0, None)];
        let actions = vec![action("train", ActionState::Running), asked];
        let detail = RunDetail { run: run(RunState::Running, None), actions, attempts };
        let drawn = draw(&detail, &[], &[], at(100));
        assert!(drawn.active && drawn.queued.is_none());
        assert_eq!(drawn.lanes[0].boxes[0].width, "100.000%");
        assert_eq!(drawn.lanes[0].boxes[0].title, "train, attempt 1: running for 1 min 40 s");
        let wait = &drawn.lanes[1].waits[0];
        assert_eq!(
            (wait.x.as_str(), wait.kind, wait.title.as_str()),
            ("50.000%", "ask", "waits for approval: data team")
        );
    }

    #[test]
    fn what_an_action_waited_for_before_an_attempt_stays() {
        let held = |action: &str, from, to, why: Option<&str>| Held {
            action: action.to_owned(),
            from: at(from),
            to: at(to),
            why: why.map(str::to_owned),
        };
        let attempts = vec![attempt("train", 1, AttemptState::Succeeded, 40, Some(90))];
        let actions = vec![action("train", ActionState::Succeeded), action("publish", ActionState::Cancelled)];
        let detail = RunDetail { run: run(RunState::Cancelled, Some(100)), actions, attempts };
        let all = [
            held("train", 10, 20, Some("waits for gpu (1 of 1 in use)")),
            held("train", 20, 30, Some("paused since 2026-03-01 12:00 UTC: no GPU")),
            held("train", 30, 40, None),
            held("publish", 90, 100, Some("waits for gpu")),
        ];
        let drawn = draw(&detail, &[], &all, at(500));
        let waits: Vec<_> =
            drawn.lanes[0].waits.iter().map(|it| (it.x.as_str(), it.width.as_str(), it.title.as_str())).collect();
        assert_eq!(
            waits,
            [
                ("10.000%", "10.000%", "waited 10.0 s for gpu (1 of 1 in use)"),
                ("20.000%", "10.000%", "waited 10.0 s: paused since 2026-03-01 12:00 UTC: no GPU"),
                ("30.000%", "10.000%", "waited 10.0 s for a free slot"),
            ]
        );
        // An action without an attempt says in words why.
        let note = drawn.lanes[1].note.as_deref();
        assert_eq!((drawn.lanes[1].waits.len(), note), (0, Some("not reached: the run was cancelled")));
        // A wait that nobody would see is left out.
        let short = Held { to: at(10).after(Duration::from_millis(900)), ..held("train", 10, 10, None) };
        assert_eq!(draw(&detail, &[], &[short], at(500)).lanes[0].waits.len(), 0);
    }
}
