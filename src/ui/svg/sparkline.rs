//! A small line: how a number has developed.

use std::fmt::Write as _;

use crate::ui::html::shown;

const WIDTH: f64 = 132.0;
const HEIGHT: f64 = 36.0;
/// Room for the stroke and the dot at the end.
const MARGIN: f64 = 4.0;

/// Draws numbers in their order. Numbers that are not finite are gaps. `label` says what they show.
pub(in crate::ui) fn draw(numbers: &[f64], label: &str) -> String {
    let finite = || numbers.iter().copied().filter(|number| number.is_finite());
    let (least, most) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let mut svg = format!(
        r#"<svg class="sparkline" role="img" aria-label="{}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">"#,
        shown(label)
    );
    let steps = numbers.len().saturating_sub(1);
    let x = |index: usize| {
        let part = if steps == 0 { 1.0 } else { count(index) / count(steps) };
        MARGIN + part * (WIDTH - 2.0 * MARGIN)
    };
    let y = |number: f64| {
        // Halved first: the distance of the largest numbers is not finite.
        let range = most / 2.0 - least / 2.0;
        let part = if range > 0.0 { (number / 2.0 - least / 2.0) / range } else { 0.5 };
        HEIGHT - MARGIN - part * (HEIGHT - 2.0 * MARGIN)
    };
    let (mut line, mut is_gap, mut last) = (String::new(), true, None);
    for (index, number) in numbers.iter().enumerate() {
        if number.is_finite() {
            let point = (x(index), y(*number));
            let _ = write!(line, "{}{:.1} {:.1}", if is_gap { 'M' } else { 'L' }, point.0, point.1);
            last = Some(point);
        }
        is_gap = !number.is_finite();
    }
    if let Some((x, y)) = last {
        let _ = write!(svg, r#"<path class="line" d="{line}"/><circle class="dot" cx="{x:.1}" cy="{y:.1}" r="3"/>"#);
    }
    svg.push_str("</svg>");
    svg
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn a_line_leads_from_the_oldest_to_the_newest() {
        let svg = draw(&[0.0, 10.0, 5.0], "loss of <the> model");
        assert!(svg.contains(r#"d="M4.0 32.0L66.0 4.0L128.0 18.0"/>"#), "{svg}");
        assert!(svg.contains(r#"<circle class="dot" cx="128.0" cy="18.0" r="3"/>"#));
        assert!(svg.contains(r#"aria-label="loss of &lt;the&gt; model""#));
        assert!(!svg.contains("style="));
    }

    #[test]
    fn what_is_not_a_number_is_a_gap() {
        let svg = draw(&[1.0, f64::NAN, 2.0, 3.0, f64::INFINITY], "");
        assert!(svg.contains(r#"d="M4.0 32.0M66.0 18.0L97.0 4.0"/>"#), "{svg}");
        for numbers in [&[][..], &[f64::NAN], &[7.0], &[7.0, 7.0], &[f64::MAX, f64::MIN]] {
            let svg = draw(numbers, "");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{numbers:?}: {svg}");
        }
        assert!(draw(&[7.0], "").contains(r#"d="M128.0 18.0""#));
    }
}
