//! Bars of the last runs: the height is the duration, and a sign below says how a run ended.

use std::fmt::Write as _;

use crate::ui::html::shown;

/// How many runs are drawn.
pub(in crate::ui) const BARS: u32 = 30;
const STEP: u32 = 16;
const BAR: u32 = 10;
/// Height of the longest bar, and of the shortest.
const TALL: f64 = 64.0;
const SHORT: f64 = 3.0;
/// Room above the bars.
const TOP: f64 = 4.0;
/// Room for the signs below.
const SIGNS: f64 = 16.0;

/// One run.
#[derive(Debug, Clone)]
pub(in crate::ui) struct Bar {
    /// Its address.
    pub(in crate::ui) href: String,
    /// The colour and sign of its state.
    pub(in crate::ui) tone: &'static str,
    /// Everything about it, in one line.
    pub(in crate::ui) title: String,
    /// How long it took, in seconds; `None` if it has not started.
    pub(in crate::ui) seconds: Option<f64>,
}

/// Draws bars, the oldest first. Free places stay on the left, so that the newest is always on the
/// right.
pub(in crate::ui) fn draw(bars: &[Bar], label: &str) -> String {
    let places = usize::try_from(BARS).unwrap_or_default();
    let bars = bars.get(bars.len().saturating_sub(places)..).unwrap_or(bars);
    let longest = bars.iter().filter_map(|bar| bar.seconds).filter(|it| it.is_finite()).fold(0.0, f64::max);
    let width = BARS * STEP;
    let ground = TOP + TALL;
    let mut svg = format!(
        r#"<svg class="bars" role="group" aria-label="{}" viewBox="0 0 {width} {}" width="{width}" height="{1}"><path class="ground" d="M0 {}.5H{width}"/>"#,
        shown(label),
        ground + SIGNS,
        ground,
    );
    let free = u32::try_from(places - bars.len()).unwrap_or_default();
    for (place, bar) in (free..).zip(bars) {
        let seconds = bar.seconds.filter(|it| it.is_finite());
        let height =
            seconds.map_or(SHORT, |it| if longest > 0.0 { SHORT + it / longest * (TALL - SHORT) } else { SHORT });
        let (left, title) = (place * STEP, shown(&bar.title));
        let _ = write!(
            svg,
            r#"<a class="bar {}" href="{}" aria-label="{title}"><title>{title}</title><rect class="room" x="{left}" y="0" width="{STEP}" height="{}"/><rect class="fill" x="{}" y="{:.1}" width="{BAR}" height="{height:.1}" rx="2"/>"#,
            bar.tone,
            shown(&bar.href),
            ground + SIGNS,
            left + (STEP - BAR) / 2,
            ground - height,
        );
        // What went well needs no sign.
        if bar.tone != "ok" {
            let _ = write!(
                svg,
                r##"<use class="sign" href="#i-{}" x="{}" y="{}" width="11" height="11"/>"##,
                bar.tone,
                f64::from(left) + 2.5,
                ground + 4.0
            );
        }
        svg.push_str("</a>");
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(number: u32, tone: &'static str, seconds: Option<f64>) -> Bar {
        Bar { href: format!("/runs/{number}"), tone, title: format!("run {number} <b>"), seconds }
    }

    #[test]
    fn the_height_is_the_duration_and_the_newest_is_on_the_right() {
        let svg = draw(&[bar(1, "ok", Some(1.0)), bar(2, "bad", Some(4.0)), bar(3, "wait", None)], "Last runs");
        assert_eq!(svg.matches("<a ").count(), 3);
        for text in [
            r#"href="/runs/1" aria-label="run 1 &lt;b&gt;""#,
            r#"<rect class="fill" x="435" y="49.8" width="10" height="18.2""#,
            r#"<rect class="fill" x="451" y="4.0" width="10" height="64.0""#,
            r#"<rect class="fill" x="467" y="65.0" width="10" height="3.0""#,
            r##"<use class="sign" href="#i-bad" x="450.5""##,
        ] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
        assert!(!svg.contains("#i-ok") && !svg.contains("style="), "{svg}");
    }

    #[test]
    fn there_are_never_more_than_fit() {
        let bars: Vec<Bar> = (1..=40).map(|number| bar(number, "ok", Some(0.0))).collect();
        let svg = draw(&bars, "");
        assert_eq!(svg.matches("<a ").count(), 30);
        assert!(svg.contains("/runs/40\"") && !svg.contains("/runs/10\""));
        assert_eq!(draw(&[], "").matches("<a ").count(), 0);
        assert!(!draw(&[bar(1, "ok", Some(f64::NAN))], "").contains("NaN"));
    }
}
