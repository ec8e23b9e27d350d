//! Durations of runs as points: in the order of the runs from left to right, the longer the higher.

use std::time::Duration;

use serde::Serialize;

use crate::ui::text;

/// Height of the picture, in pixels.
const HEIGHT: f64 = 120.0;
/// Distance of the first and the last line from its edges, in pixels.
const MARGIN: f64 = 10.0;
/// The fewest points that say something together.
const FEWEST: usize = 3;

/// A run.
#[derive(Debug, Clone)]
pub(in crate::ui) struct Took {
    pub(in crate::ui) number: u64,
    pub(in crate::ui) kind: &'static str,
    pub(in crate::ui) state: &'static str,
    pub(in crate::ui) span: Duration,
}

/// The picture.
#[derive(Debug, Serialize)]
pub(in crate::ui) struct Scatter {
    height: f64,
    points: Vec<Point>,
    /// Lines across: their place, and what they stand for.
    lines: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
struct Point {
    x: String,
    y: String,
    kind: &'static str,
    number: u64,
    title: String,
}

/// Draws runs, the newest first. `None` if there are too few.
pub(in crate::ui) fn draw(runs: &[Took]) -> Option<Scatter> {
    let longest = runs.iter().map(|run| run.span).max().filter(|longest| !longest.is_zero())?;
    if runs.len() < FEWEST {
        return None;
    }
    let y = |share: f64| format!("{:.1}", HEIGHT - MARGIN - share * (HEIGHT - 2.0 * MARGIN));
    let points = runs.iter().rev().enumerate().map(|(at, run)| Point {
        x: format!("{:.2}%", 5.0 + 94.0 * share(at, runs.len() - 1)),
        y: y(run.span.as_secs_f64() / longest.as_secs_f64()),
        kind: run.kind,
        number: run.number,
        title: format!("run {}: {} after {}", run.number, run.state, text::span(run.span)),
    });
    let lines = [1.0, 0.5].map(|share| (y(share), text::span(longest.mul_f64(share))));
    Some(Scatter { height: HEIGHT, points: points.collect(), lines: lines.into() })
}

#[expect(clippy::cast_precision_loss, reason = "a page has few runs")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Took, draw};

    fn took(number: u64, millis: u64) -> Took {
        Took { number, kind: "ok", state: "succeeded", span: Duration::from_millis(millis) }
    }

    #[test]
    fn the_oldest_is_left_and_the_longest_is_high() {
        let drawn = draw(&[took(3, 500), took(2, 1_000), took(1, 0)]).unwrap();
        let points: Vec<_> = drawn.points.iter().map(|it| (it.number, it.x.as_str(), it.y.as_str())).collect();
        assert_eq!(points, [(1, "5.00%", "110.0"), (2, "52.00%", "10.0"), (3, "99.00%", "60.0")]);
        assert_eq!(drawn.points[1].title, "run 2: succeeded after 1.0 s");
        assert_eq!(drawn.lines, [("10.0".into(), "1.0 s".into()), ("60.0".into(), "500 ms".into())]);
    }

    #[test]
    fn few_runs_and_runs_without_length_make_no_picture() {
        assert!(draw(&[]).is_none());
        assert!(draw(&[took(2, 5), took(1, 5)]).is_none());
        assert!(draw(&[took(3, 0), took(2, 0), took(1, 0)]).is_none());
    }
}
