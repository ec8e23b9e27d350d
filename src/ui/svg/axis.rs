//! An axis of time.

use std::time::Duration;

use serde::Serialize;

use crate::base::Timestamp;

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Distances of ticks from one second to one day, in microseconds. Shorter and longer ones are 1, 2
/// and 5 times a power of ten.
const STEPS: [u64; 16] = [
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
];

/// A period that is drawn from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ui) struct Axis {
    from: Timestamp,
    /// Its length in microseconds, at least 1.
    micros: u64,
}

/// A mark on an axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::ui) struct Tick {
    /// Its position.
    pub(in crate::ui) x: String,
    /// How long after the start it is, or when.
    pub(in crate::ui) label: String,
    /// Whether its label would not fit after the start.
    pub(in crate::ui) first: bool,
    /// Whether its label would not fit before the end.
    pub(in crate::ui) last: bool,
}

impl Tick {
    fn at(share: f64, label: String) -> Self {
        Self { x: percent(share), label, first: share < 0.07, last: share > 0.93 }
    }
}

impl Axis {
    /// Creates the axis of a period.
    pub(in crate::ui) fn new(from: Timestamp, to: Timestamp) -> Self {
        Self { from, micros: micros(to.since(from)).max(1) }
    }

    /// Returns the length of the period.
    pub(in crate::ui) fn span(self) -> Duration {
        Duration::from_micros(self.micros)
    }

    /// Returns the position of a moment. A moment outside of the period is moved to its edge.
    pub(in crate::ui) fn x(self, at: Timestamp) -> String {
        percent(self.share(at))
    }

    /// Returns the position and the width of a part of the period.
    pub(in crate::ui) fn part(self, from: Timestamp, to: Timestamp) -> (String, String) {
        let (start, end) = (self.share(from), self.share(to));
        (percent(start), percent((end - start).max(0.0)))
    }

    /// Returns which part of the period a moment is after, from 0 to 1.
    pub(in crate::ui) fn share(self, at: Timestamp) -> f64 {
        ratio(micros(at.since(self.from)), self.micros).clamp(0.0, 1.0)
    }

    /// Returns marks at round distances from the start, `most` of them at most, besides the one at
    /// the start.
    pub(in crate::ui) fn ticks(self, most: u64) -> Vec<Tick> {
        let step = step(self.micros, most.max(1));
        let marks = (0..=self.micros / step).map(|number| number * step);
        marks.map(|at| Tick::at(ratio(at, self.micros), offset(at))).collect()
    }

    /// Returns marks at round times, `most` and one more of them at most, and half as many if their
    /// labels have parts of a second.
    pub(in crate::ui) fn moments(self, most: u64) -> Vec<Tick> {
        let step = match step(self.micros, most.max(1)) {
            // Labels with parts of a second are twice as wide.
            ..SECOND => step(self.micros, most.div_ceil(2).max(1)),
            step => step,
        };
        let from = self.from.as_micros();
        let distance = i64::try_from(step).unwrap_or(i64::MAX);
        let marks = (0..=most).filter_map(|number| {
            let first = from.checked_add(distance - 1)?.div_euclid(distance).checked_mul(distance)?;
            first.checked_add(distance.checked_mul(i64::try_from(number).ok()?)?)
        });
        let within = marks.map(Timestamp::from_micros).filter(|at| micros(at.since(self.from)) <= self.micros);
        within.map(|at| Tick::at(self.share(at), moment(at, step, self.micros))).collect()
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a picture needs no more than a few digits")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn percent(share: f64) -> String {
    format!("{:.3}%", share * 100.0)
}

/// Returns the shortest round distance of which at most `most` fit into a length.
fn step(length: u64, most: u64) -> u64 {
    let fits = |step: &u64| length / step <= most;
    let decimal = |from: u64| {
        (0..19).flat_map(move |power| [1, 2, 5].map(|digit| from.saturating_mul(digit * 10_u64.pow(power))))
    };
    let below = decimal(1).take_while(|step| *step < SECOND);
    below.chain(STEPS).chain(decimal(DAY)).find(fits).unwrap_or(u64::MAX)
}

/// `0`, `250 ms`, `2.5 s`, `1 min 30 s`, `2 h 30 min`, `3 d 12 h`.
fn offset(at: u64) -> String {
    let two = |whole: u64, unit: &str, rest: u64, small: &str| match rest {
        0 => format!("{whole} {unit}"),
        rest => format!("{whole} {unit} {rest} {small}"),
    };
    match at {
        0 => "0".to_owned(),
        1..1_000 => format!("{at} µs"),
        1_000..SECOND => format!("{} ms", decimal(at, 1_000)),
        SECOND..MINUTE => format!("{} s", decimal(at, SECOND)),
        MINUTE..HOUR => two(at / MINUTE, "min", at % MINUTE / SECOND, "s"),
        HOUR..DAY => two(at / HOUR, "h", at % HOUR / MINUTE, "min"),
        _ => two(at / DAY, "d", at % DAY / HOUR, "h"),
    }
}

/// `12:05`, `Mar 2` for a whole day; with seconds, or the year, where the axis is short or long.
fn moment(at: Timestamp, step: u64, length: u64) -> String {
    let is_day = at.as_micros().rem_euclid(DAY.cast_signed()) == 0;
    let form = match step {
        _ if length > 300 * DAY => "%Y-%m-%d",
        _ if is_day => "%b %-d",
        MINUTE.. => "%H:%M",
        SECOND.. => "%H:%M:%S",
        1_000.. => "%H:%M:%S%.3f",
        _ => "%H:%M:%S%.6f",
    };
    jiff::Timestamp::from_microsecond(at.as_micros())
        .map_or_else(|_| at.to_string(), |at| at.strftime(form).to_string())
}

/// Returns a quotient without zeros at its end.
fn decimal(part: u64, whole: u64) -> String {
    let text = format!("{:.3}", ratio(part, whole));
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Axis, DAY, HOUR, MINUTE, SECOND, offset, step};
    use crate::base::Timestamp;

    fn axis(span: Duration) -> Axis {
        let from = Timestamp::from_micros(1_772_366_400_000_000);
        Axis::new(from, from.after(span))
    }

    fn labels(span: Duration) -> Vec<String> {
        axis(span).ticks(6).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(
            labels(Duration::from_millis(340)),
            ["0", "50 ms", "100 ms", "150 ms", "200 ms", "250 ms", "300 ms"]
        );
        assert_eq!(labels(Duration::from_micros(900)), ["0", "200 µs", "400 µs", "600 µs", "800 µs"]);
        assert_eq!(labels(Duration::from_millis(12_500)), ["0", "2 s", "4 s", "6 s", "8 s", "10 s", "12 s"]);
        assert_eq!(labels(Duration::from_secs(95)), ["0", "15 s", "30 s", "45 s", "1 min", "1 min 15 s", "1 min 30 s"]);
        assert_eq!(labels(Duration::from_hours(30)), ["0", "6 h", "12 h", "18 h", "1 d", "1 d 6 h"]);
        assert_eq!(labels(Duration::from_hours(2_400)), ["0", "20 d", "40 d", "60 d", "80 d", "100 d"]);
    }

    #[test]
    fn moments_are_round_times() {
        let moments = |after: Duration, span: Duration| -> Vec<String> {
            let from = Timestamp::from_micros(1_772_366_400_000_000).after(after);
            Axis::new(from, from.after(span)).moments(6).into_iter().map(|tick| tick.label).collect()
        };
        let minutes = |count: u64| Duration::from_secs(60 * count);
        assert_eq!(moments(minutes(7), minutes(33)), ["12:10", "12:15", "12:20", "12:25", "12:30", "12:35", "12:40"]);
        let night = moments(minutes(610), minutes(350));
        assert_eq!(night, ["23:00", "Mar 2", "01:00", "02:00", "03:00", "04:00"]);
        assert_eq!(moments(minutes(0), minutes(60 * 24 * 18)), ["Mar 3", "Mar 8", "Mar 13", "Mar 18"]);
        let years = moments(minutes(0), Duration::from_hours(24 * 700));
        assert_eq!(years, ["2026-05-27", "2026-12-13", "2027-07-01", "2028-01-17"]);
        assert_eq!(moments(minutes(1), Duration::from_secs(7)), ["12:01:00", "12:01:02", "12:01:04", "12:01:06"]);
        let short = moments(minutes(0), Duration::from_millis(5));
        assert_eq!(short, ["12:00:00.000", "12:00:00.002", "12:00:00.004"]);
        assert!(
            Axis::new(Timestamp::from_micros(i64::MAX - 5), Timestamp::from_micros(i64::MAX)).moments(5).len() <= 6
        );
    }

    #[test]
    fn any_length_has_a_bounded_number_of_ticks_in_order() {
        for length in [0, 1, 7, 999, SECOND, 61 * SECOND, 59 * MINUTE, 25 * HOUR, 400 * DAY, u64::MAX / 2] {
            let ticks = axis(Duration::from_micros(length)).ticks(6);
            assert!((1..=7).contains(&ticks.len()), "{length}: {ticks:?}");
            let at: Vec<f64> = ticks.iter().map(|tick| tick.x.trim_end_matches('%').parse().unwrap()).collect();
            assert!(at.is_sorted() && at.iter().all(|x| (0.0..=100.0).contains(x)), "{length}: {at:?}");
        }
        assert!(step(u64::MAX, 1) > 0);
    }

    #[test]
    fn positions_are_shares_of_the_period_and_stay_in_it() {
        let axis = axis(Duration::from_secs(10));
        let at = |seconds: i64| Timestamp::from_micros(1_772_366_400_000_000 + seconds * 1_000_000);
        assert_eq!(axis.x(at(0)), "0.000%");
        assert_eq!(axis.x(at(5)), "50.000%");
        assert_eq!(axis.part(at(1), at(4)), ("10.000%".to_owned(), "30.000%".to_owned()));
        assert_eq!([axis.x(at(-3)), axis.x(at(30))], ["0.000%", "100.000%"]);
        assert_eq!(axis.part(at(4), at(1)).1, "0.000%", "a clock that was set back makes no negative width");
    }

    #[test]
    fn offsets_have_two_units_at_most() {
        for (at, shown) in [
            (0, "0"),
            (750, "750 µs"),
            (1_500, "1.5 ms"),
            (2_500_000, "2.5 s"),
            (90 * SECOND, "1 min 30 s"),
            (150 * MINUTE, "2 h 30 min"),
            (DAY, "1 d"),
            (36 * HOUR, "1 d 12 h"),
        ] {
            assert_eq!(offset(at), shown);
        }
    }
}
