//! Charts of numbers: as data for the script `charts.js`, as a small picture where no script runs,
//! and as a table.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::svg::sparkline;
use super::text;
use crate::base::double;

/// Most lines of a chart: as many as `charts.css` has colours for.
pub(super) const MAX_LINES: usize = 8;
/// Most points of a line that are drawn. More would not be seen.
const POINTS: usize = 400;
/// Most rows of a chart's table.
const ROWS: usize = 100;

/// What goes from left to right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Over {
    /// The steps that an action has counted.
    #[default]
    Step,
    /// Seconds since the start of the run.
    Time,
    /// Numbers of runs.
    Run,
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// The step or run that it belongs to, in the table.
    pub(super) row: u64,
    /// Where it is from left to right.
    pub(super) x: f64,
    /// The value, which may be not finite.
    pub(super) y: f64,
}

/// A line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// What it is of.
    pub(super) name: String,
    /// The page of that.
    pub(super) href: Option<String>,
    /// Its points, in any order. The last of those at one place counts.
    pub(super) points: Vec<Point>,
}

/// A chart, as templates show it.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    key: String,
    title: String,
    /// What it is of, besides its title.
    about: String,
    /// The lines as JSON.
    data: String,
    picture: String,
    lines: Vec<Legend>,
    rows: Vec<Row>,
    /// Points that are not in the table.
    left_out: usize,
    /// Values that a logarithmic scale has no place for.
    hidden: usize,
}

#[derive(Debug, Serialize)]
struct Legend {
    name: String,
    href: Option<String>,
    last: String,
}

#[derive(Debug, Serialize)]
struct Row {
    row: u64,
    /// The value of each line.
    values: Vec<Option<String>>,
}

/// Draws lines. A logarithmic scale has no place for values that are not above 0.
pub(super) fn draw(title: &str, about: &str, over: Over, is_log: bool, lines: Vec<Line>) -> Chart {
    let lines: Vec<Line> = lines.into_iter().take(MAX_LINES).map(in_order).collect();
    let fits = |y: f64| y.is_finite() && (!is_log || y > 0.0);
    let all = || lines.iter().flat_map(|line| &line.points);
    let hidden = all().filter(|point| point.y.is_finite() && !fits(point.y)).count();
    let data: Vec<Value> = lines
        .iter()
        .map(|line| {
            let points = thinned(&line.points);
            let x: Vec<Value> = points.iter().map(|point| number(point.x)).collect();
            let y: Vec<Value> =
                points.iter().map(|point| if fits(point.y) { number(point.y) } else { Value::Null }).collect();
            json!([x, y])
        })
        .collect();
    let first: Vec<f64> = lines.first().iter().flat_map(|line| thinned(&line.points)).map(|point| point.y).collect();
    let (rows, left_out) = table(&lines);
    let last = |line: &Line| line.points.last().map(|point| text::numeral(point.y).0).unwrap_or_default();
    Chart {
        key: format!("{about} {title}"),
        title: title.to_owned(),
        about: about.to_owned(),
        data: json!({ "over": over, "log": is_log, "lines": data }).to_string(),
        picture: sparkline::draw(&first, &label(title, &lines)),
        rows,
        left_out,
        hidden,
        lines: lines.iter().map(|it| Legend { last: last(it), name: it.name.clone(), href: it.href.clone() }).collect(),
    }
}

impl Chart {
    /// Leaves out the table, for a page that has one of its own.
    pub(super) fn without_table(self) -> Self {
        Self { rows: Vec::new(), left_out: 0, ..self }
    }
}

fn label(title: &str, lines: &[Line]) -> String {
    let ends = lines.first().and_then(|line| Some((line.points.first()?.y, line.points.last()?.y)));
    let more = match lines.len() {
        0 | 1 => String::new(),
        lines => format!(", beside {}", text::count(lines as u64 - 1, "other line", "other lines")),
    };
    ends.map_or_else(
        || title.to_owned(),
        |(from, to)| format!("{title}: from {} to {}{more}", text::numeral(from).0, text::numeral(to).0),
    )
}

/// Puts the points of a line in order, with one at each place.
fn in_order(mut line: Line) -> Line {
    line.points.retain(|point| point.x.is_finite());
    line.points.sort_by(|a, b| a.x.total_cmp(&b.x));
    let mut points: Vec<Point> = Vec::with_capacity(line.points.len());
    for point in line.points {
        match points.last_mut() {
            Some(last) if last.x.total_cmp(&point.x).is_eq() => *last = point,
            _ => points.push(point),
        }
    }
    Line { points, ..line }
}

/// Leaves out points that would not be seen: of neighbours, the lowest and the highest stay.
fn thinned(points: &[Point]) -> Vec<Point> {
    if points.len() <= POINTS {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(POINTS + 1);
    for part in points.chunks(points.len().div_ceil(POINTS / 2)) {
        let order = |a: &&Point, b: &&Point| a.y.total_cmp(&b.y);
        let (low, high) = (part.iter().min_by(order), part.iter().max_by(order));
        let mut ends: Vec<Point> = low.into_iter().chain(high).copied().collect();
        ends.sort_by(|a, b| a.x.total_cmp(&b.x));
        ends.dedup();
        kept.extend(ends);
    }
    // The last value is what a line has come to.
    let last = points.last().filter(|last| kept.last() != Some(last)).copied();
    kept.extend(last);
    kept
}

/// Returns the values by row, and how many rows are left out.
fn table(lines: &[Line]) -> (Vec<Row>, usize) {
    let columns: Vec<BTreeMap<u64, f64>> =
        lines.iter().map(|line| line.points.iter().map(|point| (point.row, point.y)).collect()).collect();
    let all: BTreeSet<u64> = columns.iter().flat_map(|column| column.keys().copied()).collect();
    let every = all.len().div_ceil(ROWS).max(1);
    let last = all.len().saturating_sub(1);
    let shown = all.iter().enumerate().filter(|(at, _)| at % every == 0 || *at == last);
    let rows: Vec<Row> = shown
        .map(|(_, row)| {
            let values = columns.iter().map(|column| column.get(row).map(|value| double::text(*value)));
            Row { row: *row, values: values.collect() }
        })
        .collect();
    let left_out = all.len() - rows.len();
    (rows, left_out)
}

/// Returns a number as JSON, a whole one without a point.
fn number(number: f64) -> Value {
    // Whole numbers up to here are exact.
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
    if number.fract() == 0.0 && number.abs() <= WHOLE { json!(number as i64) } else { json!(number) }
}

/// Returns a count as a place from left to right.
#[expect(clippy::cast_precision_loss, reason = "a picture needs no more than a few digits")]
pub(super) fn place(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{Line, Over, POINTS, Point, ROWS, draw, place};

    fn line(name: &str, values: &[f64]) -> Line {
        let points = (1..).zip(values).map(|(row, y)| Point { row, x: place(row), y: *y });
        Line { name: name.to_owned(), href: None, points: points.collect() }
    }

    #[test]
    fn what_is_no_number_is_a_gap() {
        let drawn = draw("loss", "train", Over::Step, false, vec![line("run 1", &[0.5, f64::NAN, -1.0])]);
        assert_eq!(drawn.data, r#"{"lines":[[[1,2,3],[0.5,null,-1]]],"log":false,"over":"step"}"#);
        assert_eq!((drawn.lines[0].last.as_str(), drawn.hidden), ("-1", 0));
        let values: Vec<_> = drawn.rows.iter().map(|row| row.values[0].as_deref().unwrap()).collect();
        assert_eq!(values, ["0.5", "NaN", "-1"]);
    }

    #[test]
    fn a_logarithmic_scale_says_what_it_does_not_show() {
        let drawn = draw("loss", "", Over::Step, true, vec![line("run 1", &[0.5, 0.0, -1.0, f64::NAN])]);
        assert!(drawn.data.contains("[0.5,null,null,null]"), "{}", drawn.data);
        assert_eq!(drawn.hidden, 2);
    }

    #[test]
    fn a_long_line_keeps_its_peaks_and_its_end() {
        let mut values: Vec<f64> = (0..10_000).map(|at| f64::from(at % 7)).collect();
        (values[5_001], values[7_003], values[9_999]) = (99.0, -99.0, 5.5);
        let drawn = draw("loss", "", Over::Step, false, vec![line("run 1", &values)]);
        let data: serde_json::Value = serde_json::from_str(&drawn.data).unwrap();
        let [x, y] = [0, 1].map(|axis| data["lines"][0][axis].as_array().unwrap());
        assert!(x.len() == y.len() && (POINTS / 2..=POINTS + 1).contains(&x.len()), "{}", x.len());
        assert!(x.windows(2).all(|pair| pair[0].as_f64() < pair[1].as_f64()));
        assert!(y.contains(&99.into()) && y.contains(&(-99).into()) && y.last().unwrap() == 5.5);
        assert!(drawn.rows.len() <= ROWS + 1 && drawn.rows.len() + drawn.left_out == 10_000);
        assert_eq!(drawn.rows.last().unwrap().row, 10_000);
    }

    #[test]
    fn lines_stand_beside_each_other_in_the_table() {
        let mut second = line("run 2", &[7.0]);
        second.points.push(Point { row: 1, x: 1.0, y: 8.0 });
        let drawn = draw("loss", "", Over::Step, false, vec![line("run 1", &[1.0, 2.0]), second]);
        let rows: Vec<_> = drawn.rows.iter().map(|row| (row.row, row.values.clone())).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(rows, [(1, vec![text("1"), text("8")]), (2, vec![text("2"), None])]);
        assert!(drawn.picture.contains("loss: from 1 to 2, beside 1 other line"), "{}", drawn.picture);
        assert!(drawn.without_table().rows.is_empty());
    }

    #[test]
    fn nothing_is_drawn_as_nothing() {
        let drawn = draw("loss", "", Over::Run, false, vec![]);
        assert_eq!((drawn.data.as_str(), drawn.rows.len()), (r#"{"lines":[],"log":false,"over":"run"}"#, 0));
    }
}
