//! The list of runs: filtered, in an order, in pages.
//!
//! A page walks the range of one index, which is in the order of the list, and compares each run
//! with the filters that the index does not cover. The walk ends when the page is full, or after
//! [`MAX_RUNS_LOOKED_AT`] runs. Without such an index, the planner would sort all runs that fit,
//! because that can look cheaper from its statistics.

use super::db::Db;
use super::run_rows::{RUN_FIELDS, run, run_fields};
use super::sql::{Bind, Row, Value, Work, params};
use crate::base::Timestamp;
use crate::base::bounds::MAX_FILTER_VALUE_CHARS;
use crate::model::{Page, Run, RunState};
use crate::store::run_key::{Key, Walked};
use crate::store::{MAX_RUNS_LOOKED_AT, PageRequest, ParamFilter, RunQuery, TagFilter, page};

/// How many runs at each end of a time range are searched for the lowest and the highest number:
/// more than one, because setting the clock back breaks their order.
const AT_EACH_END: usize = 1_000;

/// The longest name of a param, in bytes, by which runs are found: an index takes no long texts.
const MAX_NAME_BYTES: usize = 1_000;
/// The most bytes that a value has, as it is stored, if a filter can name it.
const MAX_VALUE_BYTES: usize = 4 * MAX_FILTER_VALUE_CHARS;

/// Adds a new run to the tables by which filters find it.
pub(super) fn index(db: &Db, run: &Run) {
    for name in &run.fired_by {
        let sql = "INSERT INTO run_triggers (name, run) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        db.later(sql, &params![name, run.number]);
    }
    for (name, value) in run.params.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if value.chars().count() <= MAX_FILTER_VALUE_CHARS && name.len() <= MAX_NAME_BYTES {
            let sql = "INSERT INTO run_params (name, value, run) VALUES ($1, $2, $3)";
            db.later(sql, &params![name, value, run.number]);
        }
    }
}

/// Undoes [`index`].
pub(super) fn forget(db: &Db, run: &Run) {
    for name in &run.fired_by {
        db.later("DELETE FROM run_triggers WHERE name = $1 AND run = $2", &params![name, run.number]);
    }
    for (name, value) in run.params.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let sql = "DELETE FROM run_params WHERE name = $1 AND value = $2 AND run = $3";
        db.later(sql, &params![name, value, run.number]);
    }
}

/// Lists the runs that fit a query.
pub(super) async fn list(db: &Db, query: &RunQuery, request: &PageRequest) -> Work<Page<Run>> {
    let limit = page::limit(request);
    let from = Key::read(query.sort, request.cursor.as_deref())?;
    let Some(numbers) = numbers(db, query).await? else { return Ok(Page { items: Vec::new(), next_cursor: None }) };
    let mut walked = Walked::default();
    for range in Range::of(query) {
        walked.add(walk(db, query, &range, from, numbers, limit + 1).await?, query.sort);
    }
    Ok(walked.into_page(query.sort, limit))
}

/// The first and the last number that a run of the query can have; `None` if it can have none.
async fn numbers(db: &Db, query: &RunQuery) -> Work<Option<(i64, i64)>> {
    let mut bounds = (1, i64::MAX);
    if let Some(before) = query.before_run {
        bounds.1 = i64::try_from(before).unwrap_or(i64::MAX).saturating_sub(1);
    }
    if let Some(since) = query.since {
        let sql = "SELECT number FROM runs WHERE created_at >= $1 ORDER BY created_at LIMIT $2";
        let Some(first) = near(db, sql, since).await?.into_iter().min() else { return Ok(None) };
        bounds.0 = first;
    }
    if let Some(until) = query.until {
        let sql = "SELECT number FROM runs WHERE created_at < $1 ORDER BY created_at DESC LIMIT $2";
        let Some(last) = near(db, sql, until).await?.into_iter().max() else { return Ok(None) };
        bounds.1 = bounds.1.min(last);
    }
    Ok((bounds.0 <= bounds.1).then_some(bounds))
}

async fn near(db: &Db, sql: &str, time: Timestamp) -> Work<Vec<i64>> {
    db.rows(sql, &params![time, AT_EACH_END]).await?.iter().map(|row| row.get(0)).collect()
}

/// A range of an index, in the order of a list.
#[derive(Debug)]
enum Range<'q> {
    All,
    ByDuration,
    State(RunState),
    Trigger(&'q str),
    Tag(&'q TagFilter),
    /// A param that runs were given.
    Given(&'q ParamFilter),
    /// A param that actions recorded.
    Recorded(&'q ParamFilter),
}

impl<'q> Range<'q> {
    /// Returns the ranges that together have all runs of a query.
    fn of(query: &'q RunQuery) -> Vec<Self> {
        if query.sort.by_duration() {
            vec![Self::ByDuration]
        } else if let Some(param) = &query.param {
            vec![Self::Given(param), Self::Recorded(param)]
        } else if let Some(tag) = &query.tag {
            vec![Self::Tag(tag)]
        } else if let Some(trigger) = &query.trigger {
            vec![Self::Trigger(trigger)]
        } else if query.states.is_empty() {
            vec![Self::All]
        } else {
            // One range for each state, merged here: the server would sort them all.
            let states = RunState::ALL.iter().filter(|state| query.states.contains(state));
            states.map(|state| Self::State(*state)).collect()
        }
    }

    /// Returns the table, the index and its equality terms, for a list in this direction. Adds the
    /// values of these terms.
    fn source(&self, direction: &str, values: &mut Values) -> String {
        let joined = |table: &str, terms: String| format!("{table} JOIN runs r ON r.number = d.run WHERE {terms}");
        match self {
            Self::All => "runs r WHERE true".to_owned(),
            Self::ByDuration => "runs r WHERE r.duration IS NOT NULL".to_owned(),
            Self::State(state) => {
                format!("runs r WHERE r.state = {}", values.add(state))
            }
            Self::Trigger(name) => joined("run_triggers d", format!("d.name = {}", values.text(name))),
            Self::Tag(TagFilter { name, value: None }) => joined("tags d", format!("d.name = {}", values.text(name))),
            Self::Tag(TagFilter { name, value: Some(value) }) => joined("tags d", named("d.", name, value, values)),
            Self::Given(ParamFilter { name, value }) => {
                joined("run_params d", format!("d.name = {} AND d.value = {}", values.text(name), values.text(value)))
            }
            Self::Recorded(ParamFilter { name, value }) => {
                // Several attempts of a run may have recorded the same param.
                let named = named("d.", name, value, values);
                // In the order of the list, because the server sorts them otherwise.
                let runs = format!("SELECT DISTINCT d.run FROM params d WHERE {named} ORDER BY d.run{direction}");
                joined(&format!("({runs}) d"), "true".to_owned())
            }
        }
    }

    /// Returns the column that the range is ordered by.
    fn order(&self) -> &'static str {
        match self {
            Self::All | Self::State(_) => "r.number",
            Self::ByDuration => "(r.duration, r.number)",
            Self::Trigger(_) | Self::Tag(_) | Self::Given(_) | Self::Recorded(_) => "d.run",
        }
    }
}

/// The terms of an index over names and short values.
fn named(table: &str, name: &str, value: &str, values: &mut Values) -> String {
    format!(
        "{table}name = {} AND {table}value = {} AND octet_length({table}value) <= {MAX_VALUE_BYTES}",
        values.text(name),
        values.text(value)
    )
}

/// The values of a statement.
#[derive(Debug, Default)]
struct Values(Vec<Value>);

impl Values {
    /// Adds a value, and returns its parameter.
    fn add(&mut self, value: impl Bind) -> String {
        self.0.push(value.bind());
        format!("${}", self.0.len())
    }

    fn text(&mut self, text: &str) -> String {
        self.add(text)
    }
}

/// The condition for a run `r`: every filter that is set.
fn fits(query: &RunQuery, numbers: (i64, i64), values: &mut Values) -> String {
    let mut terms = Vec::new();
    if query.sort.by_duration() {
        terms.push(format!("r.number BETWEEN {} AND {}", values.add(numbers.0), values.add(numbers.1)));
    }
    if !query.states.is_empty() {
        let states: Vec<String> = query.states.iter().map(|state| values.add(state)).collect();
        terms.push(format!("r.state IN ({})", states.join(", ")));
    }
    if let Some(since) = query.since {
        terms.push(format!("r.created_at >= {}", values.add(since)));
    }
    if let Some(until) = query.until {
        terms.push(format!("r.created_at < {}", values.add(until)));
    }
    if let Some(trigger) = &query.trigger {
        let name = values.text(trigger);
        terms.push(format!("EXISTS (SELECT 1 FROM run_triggers t WHERE t.name = {name} AND t.run = r.number)"));
    }
    if let Some(TagFilter { name, value }) = &query.tag {
        let name = values.text(name);
        let value = value.as_ref().map_or_else(String::new, |value| format!(" AND t.value = {}", values.text(value)));
        terms.push(format!("EXISTS (SELECT 1 FROM tags t WHERE t.run = r.number AND t.name = {name}{value})"));
    }
    if let Some(ParamFilter { name, value }) = &query.param {
        let recorded = named("p.", name, value, values);
        let (name, value) = (values.text(name), values.text(value));
        terms.push(format!(
            "(EXISTS (SELECT 1 FROM run_params g WHERE g.name = {name} AND g.value = {value} AND g.run = r.number)
            OR EXISTS (SELECT 1 FROM params p WHERE {recorded} AND p.run = r.number))"
        ));
    }
    if terms.is_empty() { "true".to_owned() } else { terms.join(" AND ") }
}

/// Walks a range from a place, until `enough` runs are found.
async fn walk(
    db: &Db,
    query: &RunQuery,
    range: &Range<'_>,
    Key((duration, number)): Key,
    (first, last): (i64, i64),
    enough: usize,
) -> Work<Walked> {
    let mut values = Values::default();
    let descends = query.sort.descends();
    let direction = if descends { " DESC" } else { "" };
    let (source, order) = (range.source(direction, &mut values), range.order());
    let fits = fits(query, (first, last), &mut values);
    let place = if query.sort.by_duration() {
        let than = if descends { "<" } else { ">" };
        format!("{order} {than} ({}, {})", values.add(duration), values.add(number))
    } else {
        let (above, below) = if descends {
            (first.saturating_sub(1), number.min(last.saturating_add(1)))
        } else {
            (number.max(first.saturating_sub(1)), last.saturating_add(1))
        };
        format!("{order} > {} AND {order} < {}", values.add(above), values.add(below))
    };
    let by = if query.sort.by_duration() {
        format!("r.duration{direction}, r.number{direction}")
    } else {
        format!("{order}{direction}")
    };
    let walk = format!("FROM {source} AND {place} ORDER BY {by}");
    let outer = if query.sort.by_duration() { by } else { format!("r.number{direction}") };
    let sql = format!(
        "SELECT {}, r.duration FROM (SELECT r.*, {fits} AS fits {walk} LIMIT {MAX_RUNS_LOOKED_AT}) r
        WHERE r.fits ORDER BY {outer} LIMIT ${}",
        run_fields!(),
        values.0.len() + 1
    );
    let key = |row: &Row, duration: usize| -> Work<Key> {
        Ok(Key((if query.sort.by_duration() { row.get(duration)? } else { 0 }, row.get(0)?)))
    };
    let with_limit: Vec<Value> = values.0.iter().cloned().chain([enough.bind()]).collect();
    let rows = db.rows(&sql, &with_limit).await?;
    let found = rows.iter().map(|row| Ok((key(row, RUN_FIELDS)?, run(row)?))).collect::<Work<Vec<_>>>()?;
    if found.len() == enough {
        return Ok(Walked { found, given_up: None });
    }
    // All terms stay, because the values of a statement have no gaps.
    let sql =
        format!("SELECT r.number, r.duration, {fits} {walk} LIMIT 1 OFFSET {}", MAX_RUNS_LOOKED_AT.saturating_sub(1));
    let last = db.row(&sql, &values.0).await?;
    Ok(Walked { found, given_up: last.map(|row| key(&row, 1)).transpose()? })
}
