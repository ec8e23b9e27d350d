//! The list of runs: filtered, in an order, in pages.
//!
//! A page walks the range of one index, which is in the order of the list, and compares each run
//! with the filters that the index does not cover. The walk ends when the page is full, or after
//! [`MAX_RUNS_LOOKED_AT`] runs. Without such an index, the planner would sort all runs that fit,
//! because this store keeps no statistics.

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, params, params_from_iter};

use super::run_rows::{RUN_FIELDS, run, run_fields};
use super::sql::{Work, execute, prepare};
use crate::base::Timestamp;
use crate::base::bounds::MAX_FILTER_VALUE_CHARS;
use crate::model::{Page, Run, RunState};
use crate::store::run_key::{Key, Walked};
use crate::store::{MAX_RUNS_LOOKED_AT, PageRequest, ParamFilter, RunQuery, TagFilter, page};

/// How many runs at each end of a time range are searched for the lowest and the highest number:
/// more than one, because setting the clock back breaks their order.
const AT_EACH_END: usize = 1_000;

/// Adds a new run to the tables by which filters find it.
pub(super) fn index(db: &Connection, run: &Run) -> Work<()> {
    for name in &run.fired_by {
        execute(db, "INSERT OR IGNORE INTO run_triggers (name, run) VALUES (?1, ?2)", params![name, run.number])?;
    }
    for (name, value) in run.params.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if value.chars().count() <= MAX_FILTER_VALUE_CHARS {
            let sql = "INSERT OR IGNORE INTO run_params (name, value, run) VALUES (?1, ?2, ?3)";
            execute(db, sql, params![name, value, run.number])?;
        }
    }
    Ok(())
}

/// Undoes [`index`].
pub(super) fn forget(db: &Connection, run: &Run) -> Work<()> {
    for name in &run.fired_by {
        execute(db, "DELETE FROM run_triggers WHERE name = ?1 AND run = ?2", params![name, run.number])?;
    }
    for (name, value) in run.params.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let sql = "DELETE FROM run_params WHERE name = ?1 AND value = ?2 AND run = ?3";
        execute(db, sql, params![name, value, run.number])?;
    }
    Ok(())
}

/// Lists the runs that fit a query.
pub(super) fn list(db: &Connection, query: &RunQuery, request: &PageRequest) -> Work<Page<Run>> {
    let limit = page::limit(request);
    let from = Key::read(query.sort, request.cursor.as_deref())?;
    let Some(numbers) = numbers(db, query)? else { return Ok(Page { items: Vec::new(), next_cursor: None }) };
    let mut walked = Walked::default();
    for range in Range::of(query) {
        walked.add(walk(db, query, &range, from, numbers, limit + 1)?, query.sort);
    }
    Ok(walked.into_page(query.sort, limit))
}

/// The first and the last number that a run of the query can have; `None` if it can have none.
fn numbers(db: &Connection, query: &RunQuery) -> Work<Option<(i64, i64)>> {
    let mut bounds = (1, i64::MAX);
    if let Some(before) = query.before_run {
        bounds.1 = i64::try_from(before).unwrap_or(i64::MAX).saturating_sub(1);
    }
    let near = |sql: &str, time: Timestamp| -> Work<Vec<i64>> {
        let mut statement = prepare(db, sql)?;
        let rows = statement.query_map(params![time, AT_EACH_END], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    if let Some(since) = query.since {
        let sql = "SELECT number FROM runs INDEXED BY runs_created WHERE created_at >= ?1 ORDER BY created_at LIMIT ?2";
        let Some(first) = near(sql, since)?.into_iter().min() else { return Ok(None) };
        bounds.0 = first;
    }
    if let Some(until) = query.until {
        let sql =
            "SELECT number FROM runs INDEXED BY runs_created WHERE created_at < ?1 ORDER BY created_at DESC LIMIT ?2";
        let Some(last) = near(sql, until)?.into_iter().max() else { return Ok(None) };
        bounds.1 = bounds.1.min(last);
    }
    Ok((bounds.0 <= bounds.1).then_some(bounds))
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
            // One range for each state, merged here: SQLite would sort them all.
            let states = RunState::ALL.iter().filter(|state| query.states.contains(state));
            states.map(|state| Self::State(*state)).collect()
        }
    }

    /// Returns the table, the index and its equality terms. Adds the values of these terms.
    fn source(&self, values: &mut Values) -> String {
        // `CROSS JOIN` fixes the order: the index of the filter first.
        let joined =
            |table: &str, terms: String| format!("{table} CROSS JOIN runs r ON r.number = d.run WHERE {terms}");
        match self {
            Self::All => "runs r NOT INDEXED WHERE 1".to_owned(),
            Self::ByDuration => "runs r INDEXED BY runs_duration WHERE r.duration IS NOT NULL".to_owned(),
            Self::State(state) => {
                format!("runs r INDEXED BY runs_state WHERE r.state = {}", values.text(state.as_str()))
            }
            Self::Trigger(name) => joined("run_triggers d", format!("d.name = {}", values.text(name))),
            Self::Tag(TagFilter { name, value: None }) => {
                joined("tags d INDEXED BY tags_name_run", format!("d.name = {}", values.text(name)))
            }
            Self::Tag(TagFilter { name, value: Some(value) }) => {
                joined("tags d INDEXED BY tags_value", named("d.", name, value, values))
            }
            Self::Given(ParamFilter { name, value }) => {
                joined("run_params d", format!("d.name = {} AND d.value = {}", values.text(name), values.text(value)))
            }
            Self::Recorded(ParamFilter { name, value }) => {
                joined("params d INDEXED BY params_value", named("d.", name, value, values))
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
        "{table}name = {} AND {table}value = {} AND length({table}value) <= {MAX_FILTER_VALUE_CHARS}",
        values.text(name),
        values.text(value)
    )
}

/// The values of a statement.
#[derive(Debug, Default)]
struct Values(Vec<SqlValue>);

impl Values {
    /// Adds a value, and returns its parameter.
    fn add(&mut self, value: impl Into<SqlValue>) -> String {
        self.0.push(value.into());
        format!("?{}", self.0.len())
    }

    fn text(&mut self, text: &str) -> String {
        self.add(text.to_owned())
    }
}

/// The condition for a run `r`: every filter that is set.
fn fits(query: &RunQuery, numbers: (i64, i64), values: &mut Values) -> String {
    let mut terms = Vec::new();
    if query.sort.by_duration() {
        terms.push(format!("r.number BETWEEN {} AND {}", values.add(numbers.0), values.add(numbers.1)));
    }
    if !query.states.is_empty() {
        let states: Vec<String> = query.states.iter().map(|state| values.text(state.as_str())).collect();
        terms.push(format!("r.state IN ({})", states.join(", ")));
    }
    if let Some(since) = query.since {
        terms.push(format!("r.created_at >= {}", values.add(since.as_micros())));
    }
    if let Some(until) = query.until {
        terms.push(format!("r.created_at < {}", values.add(until.as_micros())));
    }
    if let Some(trigger) = &query.trigger {
        let name = values.text(trigger);
        terms.push(format!("EXISTS (SELECT 1 FROM run_triggers t WHERE t.name = {name} AND t.run = r.number)"));
    }
    if let Some(TagFilter { name, value }) = &query.tag {
        let name = values.text(name);
        let value = value.as_ref().map_or_else(String::new, |value| format!(" AND t.value = {}", values.text(value)));
        terms.push(format!(
            "EXISTS (SELECT 1 FROM tags t INDEXED BY tags_run_name WHERE t.run = r.number AND t.name = {name}{value})"
        ));
    }
    if let Some(ParamFilter { name, value }) = &query.param {
        let recorded = named("p.", name, value, values);
        let (name, value) = (values.text(name), values.text(value));
        terms.push(format!(
            "(EXISTS (SELECT 1 FROM run_params g WHERE g.name = {name} AND g.value = {value} AND g.run = r.number)
            OR EXISTS (SELECT 1 FROM params p INDEXED BY params_value WHERE {recorded} AND p.run = r.number))"
        ));
    }
    if terms.is_empty() { "1".to_owned() } else { terms.join(" AND ") }
}

/// Walks a range from a place, until `enough` runs are found.
fn walk(
    db: &Connection,
    query: &RunQuery,
    range: &Range<'_>,
    Key((duration, number)): Key,
    (first, last): (i64, i64),
    enough: usize,
) -> Work<Walked> {
    let mut values = Values::default();
    let (source, order) = (range.source(&mut values), range.order());
    let fits = fits(query, (first, last), &mut values);
    let descends = query.sort.descends();
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
    let direction = if descends { " DESC" } else { "" };
    let by = if query.sort.by_duration() {
        format!("r.duration{direction}, r.number{direction}")
    } else {
        format!("{order}{direction}")
    };
    let sql = format!(
        "SELECT {}, {fits}, duration FROM {source} AND {place} ORDER BY {by} LIMIT {MAX_RUNS_LOOKED_AT}",
        run_fields!()
    );
    let mut statement = prepare(db, &sql)?;
    let mut rows = statement.query(params_from_iter(values.0))?;
    let (mut found, mut looked_at, mut end) = (Vec::new(), 0, Key((0, 0)));
    while let Some(row) = rows.next()? {
        looked_at += 1;
        let duration = if query.sort.by_duration() { row.get(RUN_FIELDS + 1)? } else { 0 };
        end = Key((duration, row.get(0)?));
        // Several attempts of a run may have recorded the same param. Their rows are adjacent here.
        let again = found.last().is_some_and(|(key, _)| *key == end);
        if row.get(RUN_FIELDS)? && !again {
            found.push((end, run(row)?));
            if found.len() == enough {
                return Ok(Walked { found, given_up: None });
            }
        }
    }
    Ok(Walked { found, given_up: (looked_at == MAX_RUNS_LOOKED_AT).then_some(end) })
}
