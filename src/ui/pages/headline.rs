//! Numbers at a glance: how long the last runs took, and how metrics have developed.

use std::fmt::Write as _;

use serde::Serialize;

use super::metric_names::{self, MetricName};
use crate::base::{Timestamp, double};
use crate::model::{MetricRecord, Run};
use crate::scheduler::View;
use crate::store::{FactQuery, PageRequest, StoreError};
use crate::ui::svg::bars::{self, Bar};
use crate::ui::svg::sparkline;
use crate::ui::{look, text};

/// Most metrics with a line.
const LINES: usize = 6;
/// Most runs of a line.
const RUNS: usize = 30;
/// How many of the newest values of a metric are looked at for its line.
const NEWEST: u32 = 300;

/// The bars of the last runs.
#[derive(Debug, Serialize)]
pub(super) struct RunBars {
    svg: String,
    count: usize,
    longest: Option<String>,
    median: Option<String>,
}

/// A metric with its line.
#[derive(Debug, Serialize)]
pub(super) struct Headline {
    name: String,
    href: String,
    value: String,
    /// The change from the run before, such as `+0.02`.
    change: Option<String>,
    run: u64,
    svg: String,
}

/// Draws runs, which are in the order of lists: newest first.
pub(super) fn bars(runs: &[Run], now: Timestamp) -> RunBars {
    let newest: Vec<&Run> = runs.iter().take(usize::try_from(bars::BARS).unwrap_or_default()).collect();
    let bar = |run: &&Run| {
        let took = run.started_at.map(|started| run.ended_at.unwrap_or(now).since(started));
        let mut title = format!("run {}: {}", run.number, run.state);
        if let Some(took) = took {
            let _ = write!(title, ", {}", text::span(took));
        }
        let _ = write!(title, ", {} UTC", text::moment(run.started_at.unwrap_or(run.created_at)));
        let seconds = took.map(|took| took.as_secs_f64());
        Bar { href: format!("/runs/{}", run.number), tone: look::run(run.state).0, title, seconds }
    };
    let mut ended: Vec<_> = newest.iter().filter_map(|run| Some(run.ended_at?.since(run.started_at?))).collect();
    ended.sort_unstable();
    let drawn: Vec<Bar> = newest.iter().rev().map(bar).collect();
    RunBars {
        svg: bars::draw(&drawn, "Duration of the last runs, the newest last"),
        count: drawn.len(),
        longest: ended.last().map(|took| text::span(*took)),
        median: ended.get(ended.len() / 2).map(|took| text::span(*took)),
    }
}

/// Returns the metrics of succeeded attempts, in the order of [`metric_names::recent`].
pub(super) async fn metrics(view: &View) -> Result<Vec<Headline>, StoreError> {
    let mut lines = Vec::new();
    for MetricName { name, .. } in metric_names::recent(view).await?.into_iter().take(LINES) {
        let query = FactQuery { name: Some(name.clone()), succeeded_only: true, ..FactQuery::default() };
        let records = view.store.metrics(query, PageRequest { cursor: None, limit: NEWEST }).await?.items;
        lines.extend(line(name, &records));
    }
    Ok(lines)
}

/// Draws one metric from its records, newest first. A run counts with its last value.
fn line(name: String, records: &[MetricRecord]) -> Option<Headline> {
    let mut runs: Vec<(u64, f64)> = Vec::new();
    for record in records {
        if runs.last().is_none_or(|(run, _)| *run != record.run_number) {
            runs.push((record.run_number, record.value));
        }
    }
    runs.truncate(RUNS);
    let (run, value) = *runs.first()?;
    let before = runs.get(1).map(|(_, value)| *value);
    let change = before.map(|before| value - before).filter(|change| change.is_finite());
    let values: Vec<f64> = runs.iter().rev().map(|(_, value)| *value).collect();
    let first = values.first().copied().unwrap_or(value);
    let count = text::count(values.len() as u64, "run", "runs");
    let label = format!("{name}: from {} to {} over {count}", short(first), short(value));
    Some(Headline {
        href: format!("/runs/metrics?name={}", text::encoded(&name)),
        value: short(value),
        change: change.map(changed),
        run,
        svg: sparkline::draw(&values, &label),
        name,
    })
}

/// Formats a change, with its sign.
pub(super) fn changed(change: f64) -> String {
    match short(change.abs()).as_str() {
        "0" => "±0".to_owned(),
        text => format!("{}{text}", if change < 0.0 { '−' } else { '+' }),
    }
}

/// Formats a number with about four digits.
pub(super) fn short(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() || size != 0.0 && !(1e-4..1e6).contains(&size) {
        return if number.is_finite() { format!("{number:.2e}") } else { double::text(number) };
    }
    let digits = match size {
        _ if size >= 1_000.0 => 0,
        _ if size >= 100.0 => 1,
        _ if size >= 10.0 => 2,
        _ if size >= 1.0 => 3,
        _ if size >= 1e-3 => 4,
        _ => 6,
    };
    let text = format!("{number:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::metric_names::tests::record;
    use super::{line, short};

    #[test]
    fn numbers_are_short() {
        for (number, shown) in [
            (0.0, "0"),
            (0.97368, "0.9737"),
            (1.5, "1.5"),
            (-12.345, "-12.35"),
            (123.456, "123.5"),
            (98_765.4, "98765"),
            (1e9, "1.00e9"),
            (0.000_408, "0.000408"),
            (0.000_012, "1.20e-5"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(short(number), shown);
        }
    }

    #[test]
    fn a_run_counts_with_its_last_value() {
        let record = |seq: u64, run: u64, value: f64| record(seq, run, "loss", value, Some(seq));
        let records = [record(5, 3, 0.25), record(4, 3, 0.5), record(3, 2, 0.75), record(2, 1, f64::NAN)];
        let line = line("loss".to_owned(), &records).unwrap();
        assert_eq!((line.value.as_str(), line.change.as_deref(), line.run), ("0.25", Some("−0.5"), 3));
        assert!(line.svg.contains("loss: from NaN to 0.25 over 3 runs"), "{}", line.svg);
        assert!(super::line("loss".to_owned(), &[]).is_none());
    }
}
