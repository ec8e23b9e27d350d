//! Formats single values: times, spans, states, and text from outside.

use std::time::Duration;

use anstyle::{AnsiColor, Style};

use crate::base::{Digest, Timestamp, escape};

/// The text styles in use. Colour never carries information that the text does not.
pub(crate) mod styles {
    use super::{AnsiColor, Style};

    /// Unstyled.
    pub(crate) const PLAIN: Style = Style::new();
    /// Headings.
    pub(crate) const STRONG: Style = Style::new().bold();
    /// Secondary text.
    pub(crate) const FAINT: Style = Style::new().dimmed();
    /// Success.
    pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
    /// Failed.
    pub(crate) const BAD: Style = AnsiColor::Red.on_default();
    /// A warning.
    pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
    /// Active.
    pub(crate) const BUSY: Style = AnsiColor::Cyan.on_default();
}

/// Escapes control and direction characters in `text`, so that it cannot act on the terminal.
/// Backslashes are kept.
pub(crate) fn plain(text: &str) -> String {
    text.split('\\').map(|part| escape(part.as_bytes())).collect::<Vec<_>>().join("\\")
}

/// `1 run`, `2 runs`.
pub(crate) fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A digest shortened for display: its first 19 characters.
pub(crate) fn short_digest(digest: Digest) -> String {
    digest.to_string().chars().take(19).collect()
}

/// Formats how long ago `then` was, in the largest suitable unit; a date after 31 days.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0..2 => "just now".to_owned(),
        2..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        86_400..2_678_400 => format!("{} d ago", seconds / 86_400),
        _ => then.to_string().chars().take(10).collect(),
    }
}

/// Formats a duration with about two significant digits.
pub(crate) fn duration(span: Duration) -> String {
    let micros = span.as_micros();
    let seconds = span.as_secs();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{}.{} ms", micros / 1_000, micros / 100 % 10),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{}.{} s", seconds, micros / 100_000 % 10),
        _ if seconds < 3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ if seconds < 86_400 => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ago, duration, plain};
    use crate::base::Timestamp;

    #[test]
    fn times_and_spans_are_shortened() {
        let now = Timestamp::from_micros(1_772_366_400_000_000);
        let before = |seconds: i64| ago(Timestamp::from_micros(now.as_micros() - seconds * 1_000_000), now);
        assert_eq!(
            [0, 59, 60, 3_599, 7_200, 86_400, 40 * 86_400, -5].map(before),
            ["just now", "59 s ago", "1 min ago", "59 min ago", "2 h ago", "1 d ago", "2026-01-20", "just now"]
        );
        assert_eq!(
            [7, 1_250, 12_345, 1_290_000, 59_999_999, 61_000_000, 7_380_000_000, 90_000_000_000]
                .map(|micros| duration(Duration::from_micros(micros))),
            ["7 µs", "1.2 ms", "12 ms", "1.2 s", "59.9 s", "1 min 01 s", "2 h 03 min", "1 d 01 h"]
        );
    }

    #[test]
    fn text_from_outside_is_escaped() {
        assert_eq!(plain("a\\b\u{1b}[2J\u{202e}x"), "a\\b\\u{1b}[2J\\u{202e}x");
    }
}
