//! What a trigger decided, over time: a lane for each outcome, with a mark for each decision.

use std::time::Duration;

use serde::Serialize;

use super::axis::{Axis, Tick as Label};
use crate::base::Timestamp;
use crate::model::{Tick, TickOutcome};
use crate::ui::text::{self, Moment};
use crate::ui::tone;

/// Most labels of the axis.
const LABELS: u64 = 6;
/// How much longer the time of the decisions is than the room before the first and after the last.
const MARGIN: u32 = 23;
/// How many marks have room beside each other in a lane. Decisions that are closer share one.
const PLACES: u32 = 32;
/// From how many decisions on a mark is larger, and from how many on it is largest.
const LARGER: [usize; 2] = [2, 10];

/// The lanes, from the one that matters most.
const OUTCOMES: [TickOutcome; 4] = [TickOutcome::Fired, TickOutcome::NotReady, TickOutcome::Held, TickOutcome::Error];

/// The picture.
#[derive(Debug, Serialize)]
pub(in crate::ui) struct Decisions {
    /// The oldest decision, and the newest.
    from: Moment,
    to: Moment,
    /// None if all decisions were at one moment.
    labels: Vec<Label>,
    lanes: Vec<Lane>,
    count: usize,
    /// Whether a mark stands for several.
    is_grouped: bool,
}

/// The decisions with one outcome.
#[derive(Debug, Serialize)]
struct Lane {
    tone: &'static str,
    outcome: &'static str,
    count: usize,
    marks: Vec<Mark>,
}

/// Decisions with one outcome that are close to each other.
#[derive(Debug, Serialize)]
struct Mark {
    x: String,
    /// Half of its width, in pixels.
    half: u32,
    title: String,
    /// The line of the newest of them, in the list.
    href: String,
}

/// Draws decisions, newest first. `href` returns the address of the line of one. `None` if there
/// are none.
pub(in crate::ui) fn draw(ticks: &[Tick], href: impl Fn(&Tick) -> String) -> Option<Decisions> {
    // By their times: a clock that was set back makes another order than that of recording.
    let from = ticks.iter().map(|tick| tick.time).min()?;
    let to = ticks.iter().map(|tick| tick.time).max()?;
    let span = to.since(from);
    // What is at the edges is drawn whole, and a single moment is in the middle.
    let margin = (span / MARGIN).max(Duration::from_micros(1));
    let axis = Axis::new(earlier(from, margin), to.after(margin));
    let lanes = OUTCOMES.into_iter().filter_map(|outcome| {
        let mine: Vec<&Tick> = ticks.iter().filter(|tick| tick.outcome == outcome).collect();
        let (tone, name) = tone::of_tick(outcome);
        let marks = groups(&mine, axis).iter().filter_map(|group| mark(group, axis, name, &href)).collect();
        (!mine.is_empty()).then_some(Lane { tone, outcome: name, count: mine.len(), marks })
    });
    let lanes: Vec<Lane> = lanes.collect();
    Some(Decisions {
        from: text::both(from),
        to: text::both(to),
        labels: if span.is_zero() { Vec::new() } else { axis.moments(LABELS) },
        is_grouped: lanes.iter().any(|lane| lane.marks.len() < lane.count),
        lanes,
        count: ticks.len(),
    })
}

fn earlier(at: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_sub_unsigned(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
}

/// Puts decisions that are close to each other together, the oldest first.
fn groups<'t>(ticks: &[&'t Tick], axis: Axis) -> Vec<Vec<&'t Tick>> {
    let mut groups: Vec<Vec<&Tick>> = vec![Vec::new(); PLACES as usize];
    for tick in ticks {
        if let Some(group) = groups.get_mut(place(axis.share(tick.time))) {
            group.push(tick);
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is from 0 to 1")]
fn place(share: f64) -> usize {
    ((share * f64::from(PLACES)) as usize).min(PLACES as usize - 1)
}

fn mark(group: &[&Tick], axis: Axis, outcome: &str, href: impl Fn(&Tick) -> String) -> Option<Mark> {
    let newest = group.iter().max_by_key(|tick| (tick.time, tick.seq))?;
    let oldest = group.iter().map(|tick| tick.time).min()?;
    let at = text::moment(newest.time);
    let title = match group.len() {
        1 => format!("{at} UTC: {outcome}, {}", newest.reason),
        count => {
            format!("{} to {at} UTC: {outcome} {count} times, at last {}", text::moment(oldest), newest.reason)
        }
    };
    let half = 7 + 2 * u32::try_from(LARGER.iter().filter(|least| group.len() >= **least).count()).unwrap_or_default();
    Some(Mark { x: axis.x(newest.time), half, title, href: href(newest) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tick(seq: u64, outcome: TickOutcome, seconds: u64) -> Tick {
        Tick {
            seq,
            trigger: "raw".to_owned(),
            resource: None,
            time: Timestamp::from_micros(1_772_366_400_000_000).after(Duration::from_secs(seconds)),
            outcome,
            reason: format!("<b> {seq}"),
            run_id: None,
            conditions: Vec::new(),
        }
    }

    fn drawn(ticks: &[Tick]) -> Decisions {
        draw(ticks, |tick| format!("#tick-{}", tick.seq)).unwrap()
    }

    #[test]
    fn each_outcome_has_a_lane_and_each_decision_a_mark_at_its_time() {
        use TickOutcome::{Error, Fired, Held, NotReady};
        let outcomes = [Held, Error, Fired, NotReady];
        let ticks: Vec<Tick> = (0..).zip(outcomes).map(|(at, outcome)| tick(4 - at, outcome, 300 - 100 * at)).collect();
        let drawn = drawn(&ticks);
        let lanes: Vec<_> = drawn.lanes.iter().map(|lane| (lane.tone, lane.outcome, lane.count)).collect();
        assert_eq!(
            lanes,
            [("run", "fired", 1), ("wait", "not yet", 1), ("stop", "held back", 1), ("bad", "cannot decide", 1)]
        );
        let marks: Vec<_> = drawn.lanes.iter().map(|lane| (lane.marks[0].x.as_str(), lane.marks[0].half)).collect();
        assert_eq!(marks, [("34.667%", 7), ("4.000%", 7), ("96.000%", 7), ("65.333%", 7)]);
        let fired = &drawn.lanes[0].marks[0];
        assert_eq!((fired.title.as_str(), fired.href.as_str()), ("2026-03-01 12:01:40 UTC: fired, <b> 2", "#tick-2"));
        assert_eq!((drawn.from.1.as_str(), drawn.to.1.as_str()), ("2026-03-01 12:00:00", "2026-03-01 12:05:00"));
        assert!(!drawn.is_grouped);
        let labels: Vec<_> = drawn.labels.iter().map(|label| label.label.as_str()).collect();
        assert_eq!(labels, ["12:00", "12:01", "12:02", "12:03", "12:04", "12:05"]);
    }

    #[test]
    fn decisions_that_are_close_share_a_mark_that_leads_to_the_newest() {
        let mut ticks: Vec<Tick> = (1..=500).map(|number| tick(number, TickOutcome::NotReady, number)).collect();
        ticks.push(tick(501, TickOutcome::NotReady, 1_000_000));
        ticks.reverse();
        let drawn = drawn(&ticks);
        let [first, last] = &drawn.lanes[0].marks[..] else { panic!("two marks: {:?}", drawn.lanes) };
        assert_eq!((first.half, last.half, first.href.as_str()), (11, 7, "#tick-500"));
        assert!(drawn.is_grouped);
        assert_eq!(first.title, "2026-03-01 12:00:01 to 2026-03-01 12:08:20 UTC: not yet 500 times, at last <b> 500");
        // However many there are, a lane has few marks.
        let many: Vec<Tick> = (0..5_000).map(|number| tick(number, TickOutcome::Held, number)).collect();
        assert!(super::tests::drawn(&many).lanes[0].marks.len() <= PLACES as usize);
    }

    #[test]
    fn one_decision_stands_in_the_middle_and_none_is_no_picture() {
        let drawn = drawn(&[tick(1, TickOutcome::Fired, 0)]);
        assert_eq!((drawn.lanes[0].marks[0].x.as_str(), drawn.labels.len()), ("50.000%", 0));
        assert!(draw(&[], |_| String::new()).is_none());
    }
}
