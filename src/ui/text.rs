//! Formats values for people.

use std::time::Duration;

use crate::base::Timestamp;

/// `340 ms`, `2.4 s`, `3 min 5 s`, `2 h 10 min`.
pub(super) fn span(span: Duration) -> String {
    let (seconds, millis) = (span.as_secs(), span.as_millis());
    match seconds {
        0 if millis == 0 => format!("{:.1} ms", span.as_secs_f64() * 1e3),
        0 => format!("{millis} ms"),
        1..60 => format!("{:.1} s", span.as_secs_f64().min(59.9)),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `2026-03-01 12:00:00`, UTC, without fractions.
pub(super) fn moment(moment: Timestamp) -> String {
    let text = moment.to_string();
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

/// `1 file`, `2 files`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::{moment, span};
    use std::time::Duration;

    #[test]
    fn spans_and_moments() {
        for (micros, shown) in [
            (0, "0.0 ms"),
            (400, "0.4 ms"),
            (340_000, "340 ms"),
            (2_440_000, "2.4 s"),
            (59_990_000, "59.9 s"),
            (185_000_000, "3 min 5 s"),
            (7_805_000_000, "2 h 10 min"),
        ] {
            assert_eq!(span(Duration::from_micros(micros)), shown);
        }
        assert_eq!(moment(crate::base::Timestamp::from_micros(1_772_366_400_000_001)), "2026-03-01 12:00:00");
    }
}
