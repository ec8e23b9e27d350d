//! Points in time as people write them in filters.

use std::fmt;
use std::str::FromStr;

use super::bounds::cut;
use super::{TimeSpan, Timestamp};

/// A point in time: `2026-03-01` (its first moment, in UTC), `2026-03-01T12:00` (UTC, the form of
/// HTML forms), RFC 3339 such as `2026-03-01T12:00:00+01:00`, or how long ago it was: `24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At this time.
    At(Timestamp),
    /// This long before now.
    Ago(TimeSpan),
}

/// The error for a text that is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a time: write a date such as 2026-03-01, a time such as 2026-03-01T12:00:00Z, or how long ago it was, such as 24h"
)]
pub struct WhenError(String);

impl When {
    /// Returns the time that it means at `now`.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(TimeSpan(span)) => {
                let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
                Timestamp::from_micros(now.as_micros().saturating_sub(micros))
            }
        }
    }
}

impl FromStr for When {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(span) = text.parse() {
            return Ok(Self::Ago(span));
        }
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        // A time without an offset is in UTC, like the records that it is compared with.
        let civil: Option<jiff::civil::DateTime> = text.parse().ok();
        let utc = civil.and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC).ok());
        utc.map(|zoned| Self::At(Timestamp::from_micros(zoned.timestamp().as_microsecond())))
            .ok_or_else(|| WhenError(cut(text, 100).into_owned()))
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(time) => time.fmt(f),
            Self::Ago(span) => span.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Timestamp, When};

    #[test]
    fn dates_times_and_spans_are_points_in_time() {
        let now: Timestamp = "2026-03-02T00:00:00Z".parse().unwrap();
        for (text, time) in [
            ("2026-03-01", "2026-03-01T00:00:00Z"),
            ("2026-03-01T12:00", "2026-03-01T12:00:00Z"),
            ("2026-03-01T12:00:00.5", "2026-03-01T12:00:00.5Z"),
            ("2026-03-01T12:00:00+01:00", "2026-03-01T11:00:00Z"),
            ("24h", "2026-03-01T00:00:00Z"),
        ] {
            assert_eq!(text.parse::<When>().unwrap().at(now), time.parse().unwrap(), "{text}");
        }
        for bad in ["", "yesterday", "2026", "2026-13-01", "12:00", "-1h"] {
            assert_eq!(
                bad.parse::<When>().unwrap_err().to_string(),
                format!(
                    "`{bad}` is not a time: write a date such as 2026-03-01, a time such as 2026-03-01T12:00:00Z, or how long ago it was, such as 24h"
                )
            );
        }
    }
}
