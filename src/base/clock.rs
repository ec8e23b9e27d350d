//! Clocks. They never define an order; the store's sequence does.
//!
//! [`Timestamp`] is for records. It follows the machine's clock, which people and NTP adjust.
//! [`Moment`] is for waiting. It runs steadily, and has no meaning in another process.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A point in time: microseconds since 1970-01-01T00:00:00Z. Its text form is RFC 3339 in UTC with
/// six digits, such as `2026-03-01T12:00:00.000000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(value_type = String, format = DateTime, examples("2026-03-01T12:00:00.000000Z"))]
pub struct Timestamp(i64);

impl Timestamp {
    /// Creates a timestamp from microseconds since the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns microseconds since the epoch.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Returns the time `span` later. Saturates.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Returns how long ago `earlier` was; zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Returns the time in UTC for people, without parts of a second: `2026-03-01 12:00 UTC`.
    #[must_use]
    pub fn in_utc(self) -> String {
        let Ok(moment) = jiff::Timestamp::from_microsecond(self.0) else { return self.to_string() };
        let shown = moment.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string();
        // Schedules are mostly due at whole minutes.
        format!("{} UTC", shown.strip_suffix(":00").unwrap_or(&shown))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(moment) => write!(f, "{moment:.6}"),
            Err(_) => write!(f, "{}µs", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.parse::<jiff::Timestamp>()?.as_microsecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A point on a monotonic clock: microseconds since this process first read it. Never recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

impl Moment {
    /// Creates a moment from microseconds since the first reading; negative for earlier moments.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns the moment `span` later. Saturates.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Returns the moment `span` earlier.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Returns how long ago `earlier` was; zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The current time on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The time for records.
    pub time: Timestamp,
    /// The time for waiting.
    pub moment: Moment,
}

/// A source of time. Tests have their own.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Returns the current time for records.
    fn now(&self) -> Timestamp;

    /// Returns the current moment of the monotonic clock.
    fn moment(&self) -> Moment {
        static START: OnceLock<Instant> = OnceLock::new();
        let elapsed = START.get_or_init(Instant::now).elapsed();
        Moment(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
    }

    /// Returns the current time on both clocks.
    fn both(&self) -> Now {
        Now { time: self.now(), moment: self.moment() }
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn text_is_utc_with_microseconds_and_round_trips() {
        let moment = Timestamp::from_micros(1_772_366_400_000_001);
        assert_eq!(moment.to_string(), "2026-03-01T12:00:00.000001Z");
        assert_eq!("2026-03-01T12:00:00.000001Z".parse::<Timestamp>().unwrap(), moment);
        assert_eq!("2026-03-01T13:00:00.000001+01:00".parse::<Timestamp>().unwrap(), moment);
    }
}
