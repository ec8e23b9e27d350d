//! Bars that compare values by their length.

use std::time::Duration;

/// Returns the width of a bar for a duration, beside one for the longest. It is never zero: what
/// took no time was there.
pub(in crate::ui) fn width(span: Duration, longest: Duration) -> String {
    let share = if longest.is_zero() { 0.0 } else { span.as_secs_f64() / longest.as_secs_f64() };
    format!("{:.1}%", share.clamp(0.01, 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::width;
    use std::time::Duration;

    #[test]
    fn the_longest_is_full_and_the_shortest_is_seen() {
        let width = |one, other| width(Duration::from_millis(one), Duration::from_millis(other));
        assert_eq!([width(50, 100), width(100, 100), width(0, 100), width(0, 0)], ["50.0%", "100.0%", "1.0%", "1.0%"]);
        assert_eq!(width(200, 100), "100.0%");
    }
}
