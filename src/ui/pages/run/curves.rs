//! The charts of a run: each metric that an action has recorded several times, alone or beside
//! other runs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::bounds::{MAX_PAGE, cut};
use crate::base::escape;
use crate::model::{MetricRecord, Run};
use crate::scheduler::View;
use crate::store::{FactQuery, PageRequest, RunQuery};
use crate::ui::chart::{self, Chart, Line, MAX_LINES, Over, Point};
use crate::ui::page::{Params, Refusal, Result};

/// Most charts of a run.
const CHARTS: usize = 24;
/// How many values are read for all charts, and for those of one run.
const VALUES: usize = 24_000;
const VALUES_OF_A_RUN: usize = 10_000;
/// The choices of how many runs before this one are drawn too.
const BEFORE: [u32; 4] = [0, 1, 3, 7];
/// Longest list of runs, in bytes.
const MAX_LIST: usize = 200;

/// What the reader wants to see.
#[derive(Debug, Default)]
pub(super) struct Asked {
    over: Over,
    is_log: bool,
    /// How many runs before this one.
    before: u32,
    /// Numbers of other runs.
    runs: Vec<u64>,
    /// The same as it was written.
    list: String,
}

/// The charts, and the form that changes them.
#[derive(Debug, Serialize)]
pub(super) struct Curves {
    charts: Vec<Chart>,
    over: Over,
    is_log: bool,
    /// How many runs before this one, and whether that is chosen.
    before: Vec<(u32, bool)>,
    list: String,
    /// Runs that were asked for and do not exist.
    missing: Vec<u64>,
    /// Whether there are values, or charts, that are not drawn.
    is_cut: bool,
}

impl Asked {
    /// Reads the query of the address.
    pub(super) fn of(params: &Params) -> Result<Self> {
        let over = match params.text("over") {
            None | Some("step") => Over::Step,
            Some("time") => Over::Time,
            Some(other) => return Err(invalid("over", other, "step or time")),
        };
        let is_log = match params.text("scale") {
            None | Some("linear") => false,
            Some("log") => true,
            Some(other) => return Err(invalid("scale", other, "linear or log")),
        };
        let before = match params.text("before") {
            None => 0,
            Some(text) => text.parse().map_err(|_| invalid("before", text, "a number of runs"))?,
        };
        let list = params.text("runs").unwrap_or_default();
        let words = cut(list, MAX_LIST).into_owned();
        let words = words.split([',', ' ']).filter(|word| !word.is_empty()).take(MAX_LINES - 1);
        let runs = words.map(|word| word.parse().map_err(|_| invalid("runs", word, "the number of a run")));
        Ok(Self {
            over,
            is_log,
            before: before.min(BEFORE.last().copied().unwrap_or_default()),
            runs: runs.collect::<Result<_>>()?,
            list: list.to_owned(),
        })
    }
}

fn invalid(field: &str, text: &str, wanted: &str) -> Refusal {
    let text = escape(cut(text, 60).as_bytes());
    Refusal::Invalid(format!("The field {field} is not valid: {text} is not {wanted}."))
}

/// The name of a metric and the action that recorded it.
type Key = (String, String);

impl Curves {
    /// Gathers the charts of a run.
    pub(super) async fn gather(view: &View, run: &Run, asked: Asked) -> Result<Self> {
        let (others, missing) = others(view, run, &asked).await?;
        let (own, mut is_cut) = values(view, run, VALUES_OF_A_RUN).await?;
        let own: BTreeMap<Key, Line> =
            curves(run, asked.over, own).into_iter().filter(|(_, line)| line.points.len() > 1).collect();
        let mut lines: BTreeMap<Key, Vec<Line>> = own.into_iter().map(|(key, line)| (key, vec![line])).collect();
        let most = VALUES.checked_div(others.len()).unwrap_or_default().min(VALUES_OF_A_RUN);
        let others: &[Run] = if lines.is_empty() { &[] } else { &others };
        for other in others {
            let (values, is_part) = values(view, other, most).await?;
            is_cut |= is_part;
            for (key, line) in curves(other, asked.over, values) {
                lines.entry(key).and_modify(|lines| lines.push(line));
            }
        }
        is_cut |= lines.len() > CHARTS;
        let charts = lines.into_iter().take(CHARTS);
        Ok(Self {
            charts: charts
                .map(|((name, action), it)| chart::draw(&name, &action, asked.over, asked.is_log, it))
                .collect(),
            over: asked.over,
            is_log: asked.is_log,
            before: BEFORE.map(|before| (before, before == asked.before)).into(),
            list: asked.list,
            missing,
            is_cut,
        })
    }
}

/// Returns the other runs to draw, and the numbers of those that do not exist.
async fn others(view: &View, run: &Run, asked: &Asked) -> Result<(Vec<Run>, Vec<u64>)> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for number in &asked.runs {
        let id = view.store.run_by_number(*number).await?;
        let other = match id {
            Some(id) => view.store.run_summary(id).await?,
            None => None,
        };
        match other {
            Some(other) => found.push(other),
            None => missing.push(*number),
        }
    }
    if asked.before > 0 {
        let query = RunQuery { before_run: Some(run.number), ..RunQuery::default() };
        found.extend(view.store.runs(query, PageRequest { cursor: None, limit: asked.before }).await?.items);
    }
    let mut seen = vec![run.number];
    found.retain(|other| {
        let is_new = !seen.contains(&other.number);
        seen.push(other.number);
        is_new
    });
    found.truncate(MAX_LINES - 1);
    Ok((found, missing))
}

/// Returns the newest values of a run, newest first, and whether there are older ones.
async fn values(view: &View, run: &Run, most: usize) -> Result<(Vec<MetricRecord>, bool)> {
    let (mut values, mut cursor) = (Vec::new(), None);
    loop {
        let query = FactQuery { run: Some(run.id), ..FactQuery::default() };
        let page = view.store.metrics(query, PageRequest { cursor, limit: MAX_PAGE }).await?;
        values.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() || values.len() >= most {
            return Ok((values, cursor.is_some()));
        }
    }
}

/// Returns the line of each metric, of the last attempt that has recorded it.
fn curves(run: &Run, over: Over, newest_first: Vec<MetricRecord>) -> BTreeMap<Key, Line> {
    let start = run.started_at.unwrap_or(run.created_at);
    let mut records: BTreeMap<Key, Vec<MetricRecord>> = BTreeMap::new();
    for record in newest_first {
        let of = records.entry((record.name.clone(), record.action.clone())).or_default();
        if of.first().is_none_or(|newest| newest.attempt_id == record.attempt_id) {
            of.push(record);
        }
    }
    let line = |records: Vec<MetricRecord>| {
        let points = (1..).zip(records.into_iter().rev()).map(|(count, record)| {
            let row = record.step.unwrap_or(count);
            let x = if over == Over::Time { record.recorded_at.since(start).as_secs_f64() } else { chart::place(row) };
            Point { row, x, y: record.value }
        });
        Line {
            name: format!("run {}", run.number),
            href: Some(format!("/runs/{}/metrics", run.number)),
            points: points.collect(),
        }
    };
    records.into_iter().map(|(key, records)| (key, line(records))).collect()
}

#[cfg(test)]
mod tests {
    use super::Asked;
    use crate::ui::chart::Over;
    use crate::ui::page::Params;

    fn asked(query: &str) -> Result<Asked, String> {
        let params = Params::of(&format!("/runs/7/metrics?{query}").parse().unwrap()).unwrap();
        Asked::of(&params).map_err(|refusal| format!("{refusal:?}"))
    }

    #[test]
    fn the_address_says_what_is_drawn() {
        let some = asked("over=time&scale=log&before=3&runs=5,+6+4").unwrap();
        assert_eq!((some.over, some.is_log, some.before), (Over::Time, true, 3));
        assert_eq!((some.runs, some.list.as_str()), (vec![5, 6, 4], "5, 6 4"));
        let none = asked("over=&scale=&before=&runs=").unwrap();
        assert_eq!((none.over, none.is_log, none.before, none.runs.len()), (Over::Step, false, 0, 0));
        assert_eq!(asked("before=4000").unwrap().before, 7);
        assert_eq!(asked(&format!("runs={}", "1,".repeat(500))).unwrap().runs.len(), 7);
    }

    #[test]
    fn what_is_no_choice_is_said() {
        for (query, why) in [
            ("over=space", "The field over is not valid: space is not step or time."),
            ("scale=ln", "The field scale is not valid: ln is not linear or log."),
            ("before=-1", "The field before is not valid: -1 is not a number of runs."),
            ("runs=1,x", "The field runs is not valid: x is not the number of a run."),
        ] {
            assert!(asked(query).unwrap_err().contains(why), "{query}");
        }
    }
}
