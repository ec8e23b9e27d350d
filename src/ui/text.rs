//! Formats values for people.

use std::fmt::Write as _;
use std::time::Duration;

use minijinja::Value;

use super::html;
use crate::base::bounds::cut;
use crate::base::{ArtifactId, Timestamp, double};

/// `340 ms`, `2.4 s`, `3 min 5 s`, `2 h 10 min`, `33 d 17 h`.
pub(super) fn span(span: Duration) -> String {
    let (seconds, millis) = (span.as_secs(), span.as_millis());
    match seconds {
        0 if millis == 0 => format!("{:.1} ms", span.as_secs_f64() * 1e3),
        0 => format!("{millis} ms"),
        1..60 => format!("{:.1} s", span.as_secs_f64().min(59.9)),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// `2026-03-01 12:00:00`, UTC, without fractions.
pub(super) fn moment(moment: Timestamp) -> String {
    let text = moment.to_string();
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

/// A moment, in full and as displayed.
pub(super) type Moment = (String, String);

/// Returns a moment in full and as displayed.
pub(super) fn both(at: Timestamp) -> Moment {
    (at.to_string(), moment(at))
}

/// A number: as it is displayed, and in full.
pub(super) type Numeral = (String, String);

/// Returns a number with six significant digits, or all those before its point, and in full.
pub(super) fn numeral(number: f64) -> Numeral {
    (six_digits(number), double::text(number))
}

fn six_digits(number: f64) -> String {
    let rounded = match number.abs() {
        1e5..1e16 => number.round(),
        size if size.is_finite() => format!("{number:.5e}").parse().unwrap_or(number),
        _ => number,
    };
    double::text(rounded)
}

/// Encodes a text as a part of an address (RFC 3986).
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Sets what stands between backticks in a text as code, as the messages of the host mean it, and
/// escapes everything.
#[expect(clippy::needless_pass_by_value, reason = "a template calls it")]
pub(super) fn ticks(text: String) -> Value {
    let parts: Vec<&str> = text.split('`').collect();
    let last = parts.len() - 1;
    let mut set = String::with_capacity(text.len() + 32);
    for (number, part) in parts.into_iter().enumerate() {
        // A tick without a partner stays.
        let (open, close) = match (number % 2 == 1, number == last) {
            (true, false) => ("<code>", "</code>"),
            (true, true) => ("`", ""),
            _ => ("", ""),
        };
        set.push_str(open);
        set.push_str(&html::shown(part));
        set.push_str(close);
    }
    Value::from_safe_string(set)
}

/// Returns the beginning of a reason, for a list: the page of the run has all of it.
pub(super) fn in_list(reason: &str) -> String {
    cut(reason, 300).into_owned()
}

/// Returns the address of the page of an artifact.
pub(super) fn artifact_address(id: ArtifactId) -> String {
    format!("/artifacts/{id}")
}

/// `1 file`, `2 files`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::{encoded, moment, numeral, span, ticks};
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
            (172_799_000_000, "47 h 59 min"),
            (2_914_261_000_000, "33 d 17 h"),
        ] {
            assert_eq!(span(Duration::from_micros(micros)), shown);
        }
        assert_eq!(moment(crate::base::Timestamp::from_micros(1_772_366_400_000_001)), "2026-03-01 12:00:00");
    }

    #[test]
    fn numbers_have_six_digits() {
        for (number, shown) in [
            (0.0, "0"),
            (0.3, "0.3"),
            (0.1 + 0.2, "0.3"),
            (0.973_684_210_526_315_8, "0.973684"),
            (-123_456.789, "-123457"),
            (1_234_567.0, "1234567"),
            (1_234_567.8, "1234568"),
            (1e-9 / 3.0, "3.33333e-10"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
        ] {
            assert_eq!(numeral(number).0, shown);
        }
        assert_eq!(numeral(0.1 + 0.2).1, "0.30000000000000004");
    }

    #[test]
    fn text_is_encoded_for_addresses() {
        assert_eq!(encoded("a b/ä?&=#%\"'<"), "a%20b%2F%C3%A4%3F%26%3D%23%25%22%27%3C");
        assert_eq!(encoded("safe-._~09aZ"), "safe-._~09aZ");
    }

    #[test]
    fn code_between_ticks_is_set_as_code_and_all_text_is_escaped() {
        let html = |text: &str| ticks(text.to_owned()).to_string();
        assert_eq!(html("`a` and `b<i>` & 'c'"), "<code>a</code> and <code>b&lt;i&gt;</code> &amp; &#x27;c&#x27;");
        assert_eq!(html("one ` alone"), "one ` alone");
        assert_eq!(html("`<script>"), "`&lt;script&gt;");
        assert_eq!(html(""), "");
    }
}
