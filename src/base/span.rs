//! Spans of time, as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A span of time. As text one whole number and a unit, `ms`, `s`, `m`, `h` or `d`: `500ms`, `10m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(pub Duration);

/// A text that is no span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no span of time: write a whole number and a unit (ms, s, m, h, d), such as \"500ms\", \"30s\" or \"10m\""
)]
pub struct SpanError(String);

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl FromStr for TimeSpan {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || SpanError(super::bounds::cut(text, 100).into_owned());
        let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit)).ok_or_else(refuse)?;
        let number = text.strip_suffix(unit).unwrap_or_default().trim();
        let millis = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor)).ok_or_else(refuse)?;
        // A hundred years: more is a slip of the pen, and would overflow a clock.
        if millis > 100 * 366 * 86_400_000 {
            return Err(refuse());
        }
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
    use super::TimeSpan;

    #[test]
    fn spans_read_and_show() {
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
        for bad in ["", "5", "s", "-1s", "1.5s", "1w", "999999999999d"] {
            assert!(bad.parse::<TimeSpan>().is_err(), "{bad}");
        }
    }
}
