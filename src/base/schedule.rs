//! Schedules: when something is due by the calendar.

use std::fmt;

use croner::Cron;
use jiff::tz::TimeZone;

use super::{Timestamp, bounds::cut, escape};

/// A cron schedule in a time zone.
///
/// When the clocks go forward, a schedule with one fixed time of day that falls into the skipped
/// hour is due at the first moment after it, and a repeating one (`*/5`) leaves the hour out. When
/// the clocks go back, a fixed time is due once, at the first of the two, and a repeating one in
/// both hours.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    zone: String,
    cron: Cron,
    time_zone: TimeZone,
}

/// Why a text is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The schedule does not parse.
    #[error("`{0}` is not a cron schedule: {1}")]
    NoSchedule(String, String),
    /// The schedule is never due.
    #[error("`{0}` is never due")]
    Never(String),
    /// No time zone has this name.
    #[error("there is no time zone `{0}`")]
    NoZone(String),
}

impl Schedule {
    /// Parses a schedule (five fields, with seconds six, or a word such as `@daily`) and the name
    /// of its time zone.
    ///
    /// # Errors
    /// [`ScheduleError`] says which of the two is invalid, and why.
    pub fn parse(text: &str, zone: &str) -> Result<Self, ScheduleError> {
        let shown = |text: &str| escape(cut(text, 100).as_bytes());
        let time_zone = TimeZone::get(zone).map_err(|_| ScheduleError::NoZone(shown(zone)))?;
        let refuse = |why: &str| ScheduleError::NoSchedule(shown(text), escape(why.as_bytes()));
        if text.trim().is_empty() || text.len() > 200 {
            return Err(refuse(if text.len() > 200 { "it is too long" } else { "it is empty" }));
        }
        let is_word = text.trim_start().starts_with('@');
        // The library would accept a seventh field, for the year.
        if !is_word && !(5..=6).contains(&text.split_whitespace().count()) {
            return Err(refuse("it must have five fields, or six with seconds first"));
        }
        let cron: Cron = text.parse().map_err(|error: croner::errors::CronError| {
            if is_word {
                return refuse("it must be `@hourly`, `@daily`, `@weekly`, `@monthly` or `@yearly`");
            }
            let why = error.to_string();
            let why = why.split_once(": ").map_or(&*why, |(_, why)| why);
            refuse(why.trim_end_matches('.'))
        })?;
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let schedule = Self { text, zone: zone.to_owned(), cron, time_zone };
        // Any schedule that is due at all is due within 28 years of any date before 2100.
        match schedule.next_after(Timestamp::from_micros(0)) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never(shown(&schedule.text))),
        }
    }

    /// Returns a time for people, by the clocks of its time zone and in UTC: `2026-03-02 06:00
    /// Europe/Berlin (05:00 UTC)`. If the date is another one in UTC, both have it.
    #[must_use]
    pub fn shown(&self, at: Timestamp) -> String {
        let utc = at.in_utc();
        let Ok(moment) = jiff::Timestamp::from_microsecond(at.as_micros()) else { return utc };
        if self.zone == "UTC" {
            return utc;
        }
        let there = moment.to_zoned(self.time_zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
        let there = there.strip_suffix(":00").unwrap_or(&there);
        let date = there.split_inclusive(' ').next().unwrap_or_default();
        format!("{there} {} ({})", self.zone, utc.strip_prefix(date).unwrap_or(&utc))
    }

    /// Returns the first time after `at` at which it is due. `None` if there is none.
    #[must_use]
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        // A schedule is due at whole seconds only.
        let second = at.as_micros().div_euclid(1_000_000);
        let after = jiff::Timestamp::from_second(second).ok()?.to_zoned(self.time_zone.clone());
        let next = self.cron.find_next_occurrence(&after, false).ok()?;
        Some(Timestamp::from_micros(next.timestamp().as_microsecond())).filter(|next| *next > at)
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, &self.zone) == (&other.text, &other.zone)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.text, self.zone)
    }
}

#[cfg(test)]
mod tests {
    use super::{Schedule, ScheduleError};
    use crate::base::Timestamp;

    /// Returns the first `count` times after `from` at which a schedule is due.
    fn due(schedule: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(schedule, zone).unwrap();
        let mut at: Timestamp = from.parse().unwrap();
        let mut all = Vec::new();
        for _ in 0..count {
            at = schedule.next_after(at).unwrap();
            all.push(at.to_string().replace(".000000Z", ""));
        }
        all
    }

    #[test]
    fn a_schedule_is_due_by_the_clocks_of_its_time_zone() {
        let weekdays = due("0 6 * * 1-5", "Europe/Berlin", "2026-03-27T12:00:00.5Z", 2);
        assert_eq!(weekdays, ["2026-03-30T04:00:00", "2026-03-31T04:00:00"], "summer time began on the 29th");
        let weekdays = due("0 6 * * 1-5", "Europe/Berlin", "2026-10-23T03:59:59.9Z", 2);
        assert_eq!(weekdays, ["2026-10-23T04:00:00", "2026-10-26T05:00:00"], "summer time ended on the 25th");
        assert_eq!(due("0 6 * * *", "UTC", "2026-03-29T06:00:00Z", 1), ["2026-03-30T06:00:00"], "not the same again");
        assert_eq!(due("*/20 * * * * *", "UTC", "2026-03-29T06:00:01Z", 2)[0], "2026-03-29T06:00:20", "with seconds");
        assert_eq!(
            due("@daily", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
            ["2026-03-28T23:00:00", "2026-03-29T22:00:00"]
        );
        for (word, first) in [("@hourly", "03-01T01"), ("@weekly", "03-08T00"), ("@monthly", "04-01T00")] {
            assert_eq!(due(word, "UTC", "2026-03-01T00:00:00Z", 1), [format!("2026-{first}:00:00")], "{word}");
        }
        for word in ["@yearly", "@annually"] {
            assert_eq!(due(word, "UTC", "2026-03-01T00:00:00Z", 1), ["2027-01-01T00:00:00"], "{word}");
        }
        assert_eq!(due("0 6 * * *", "Asia/Kolkata", "2026-01-01T00:00:00Z", 1), ["2026-01-01T00:30:00"]);
        assert_eq!(due("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1), ["2104-02-29T00:00:00"]);
    }

    #[test]
    fn a_time_is_shown_by_the_clocks_of_the_time_zone_and_in_utc() {
        let shown = |zone, at: &str| Schedule::parse("0 6 * * *", zone).unwrap().shown(at.parse().unwrap());
        assert_eq!(
            shown("America/New_York", "2026-11-28T07:30:00.000001Z"),
            "2026-11-28 02:30 America/New_York (07:30 UTC)"
        );
        assert_eq!(
            shown("America/New_York", "2026-11-28T01:30:05Z"),
            "2026-11-27 20:30:05 America/New_York (2026-11-28 01:30:05 UTC)"
        );
        assert_eq!(shown("UTC", "2026-11-28T07:30:00Z"), "2026-11-28 07:30 UTC");
    }

    #[test]
    fn a_time_that_the_clocks_skip_is_due_once_right_after_it() {
        // 02:00 becomes 03:00, which is 01:00 UTC.
        let fixed = due("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
        assert_eq!(fixed, ["2026-03-29T01:00:00", "2026-03-30T00:30:00"]);
        let hourly = due("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 2);
        assert_eq!(hourly, ["2026-03-29T00:30:00", "2026-03-29T01:30:00"], "each hour that there is, once");
    }

    #[test]
    fn a_time_that_the_clocks_repeat_is_due_once_and_an_hourly_one_in_both_hours() {
        // 03:00 becomes 02:00, which is 01:00 UTC.
        let fixed = due("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(fixed, ["2026-10-25T00:30:00", "2026-10-26T01:30:00"]);
        let hourly = due("30 * * * *", "Europe/Berlin", "2026-10-24T23:59:00Z", 3);
        assert_eq!(hourly, ["2026-10-25T00:30:00", "2026-10-25T01:30:00", "2026-10-25T02:30:00"]);
        let west = due("30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", 2);
        assert_eq!(west, ["2026-11-01T05:30:00", "2026-11-02T06:30:00"]);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_the_reason() {
        let refused = |text, zone| Schedule::parse(text, zone).unwrap_err();
        assert_eq!(refused("0 6 * * *", "Europe/Berln"), ScheduleError::NoZone("Europe/Berln".to_owned()));
        assert_eq!(refused("0 6 * * *", "../../etc/passwd"), ScheduleError::NoZone("../../etc/passwd".to_owned()));
        assert_eq!(refused("0 0 30 2 *", "UTC"), ScheduleError::Never("0 0 30 2 *".to_owned()));
        for text in [
            "",
            "6",
            "0 0 6 * * * 2027",
            "@reboot",
            "@daily 6",
            "0 25 * * *",
            "0 6 * * MON-FRY",
            "every day",
            &"0 ".repeat(5_000),
        ] {
            assert!(matches!(refused(text, "UTC"), ScheduleError::NoSchedule(..)), "{text}");
        }
    }
}
