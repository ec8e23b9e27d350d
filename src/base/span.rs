//! Time spans with units.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A time span. Its text form is a whole number and a unit, `ms`, `s`, `m`, `h` or `d`: `500ms`,
/// `10m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(pub Duration);

/// The error for a text that is not a time span, or a too long one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// The text is not a time span.
    #[error(
        "`{0}` is not a duration: write a whole number and a unit (ms, s, m, h, d), such as \"500ms\", \"30s\" or \"10m\""
    )]
    NoSpan(String),
    /// The span is above the bound.
    #[error("`{0}` is too long: the maximum is {max}d", max = MAX_MILLIS / DAY_MILLIS)]
    TooLong(String),
}

const DAY_MILLIS: u64 = 86_400_000;
/// A hundred years. A longer span is a typing error, and would overflow a clock.
const MAX_MILLIS: u64 = 100 * 366 * DAY_MILLIS;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", DAY_MILLIS)];

impl FromStr for TimeSpan {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || super::bounds::cut(text, 100).into_owned();
        let refuse = || SpanError::NoSpan(shown());
        let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit)).ok_or_else(refuse)?;
        let number = text.strip_suffix(unit).unwrap_or_default().trim();
        if number.is_empty() || !number.bytes().all(|c| c.is_ascii_digit()) {
            return Err(refuse());
        }
        // Digits fail to parse as `u64` only if the number is too large.
        let millis = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor));
        let millis = millis.filter(|millis| *millis <= MAX_MILLIS).ok_or_else(|| SpanError::TooLong(shown()))?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (unit, factor) = UNITS
            .iter()
            .rev()
            .find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor))
            .copied()
            .unwrap_or(("ms", 1));
        write!(f, "{}{unit}", millis / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::{SpanError, TimeSpan};

    #[test]
    fn spans_parse_and_display() {
        for (text, millis, shown) in [
            ("500ms", 500, "500ms"),
            ("60s", 60_000, "1m"),
            ("90 s", 90_000, "90s"),
            ("2h", 7_200_000, "2h"),
            ("0s", 0, "0ms"),
        ] {
            let span: TimeSpan = text.parse().unwrap();
            assert_eq!(span.0.as_millis(), millis, "{text}");
            assert_eq!(span.to_string(), shown);
        }
        for bad in ["", "5", "s", "-1s", "+1s", "1.5s", "1w"] {
            assert_eq!(bad.parse::<TimeSpan>(), Err(SpanError::NoSpan(bad.to_owned())));
        }
        for long in ["36601d", "999999999999d", "99999999999999999999999ms"] {
            assert_eq!(long.parse::<TimeSpan>(), Err(SpanError::TooLong(long.to_owned())));
        }
        assert_eq!("36600d".parse::<TimeSpan>().unwrap().to_string(), "36600d");
    }
}
