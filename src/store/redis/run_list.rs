//! The list of runs: filtered, in an order, in pages.
//!
//! A page walks the range of one list, which is in the order of the page, and compares each run
//! with the filters that the range does not cover. The walk ends when the page is full, or after
//! [`MAX_RUNS_LOOKED_AT`] runs. One call of the script looks at a part of them, so it never holds
//! up other clients for long.

use serde_json::{Value, json};

use super::arguments::{MAX_NUMBER, bound, is_short, time, with};
use super::reader::Reader;
use super::reply::{Reply, Work};
use super::runs::run;
use crate::model::{Page, Run, RunState};
use crate::store::run_key::{Key, Walked};
use crate::store::{MAX_RUNS_LOOKED_AT, PageRequest, ParamFilter, RunQuery, TagFilter, page};

/// Lists the runs that fit a query.
pub(super) async fn list(db: &Reader<'_>, query: &RunQuery, request: &PageRequest) -> Work<Page<Run>> {
    let limit = page::limit(request);
    let from = Key::read(query.sort, request.cursor.as_deref())?;
    let Some(numbers) = numbers(db, query).await? else { return Ok(Page { items: Vec::new(), next_cursor: None }) };
    let mut walked = Walked::default();
    for range in Range::of(query) {
        walked.add(walk(db, query, range, from, numbers, limit + 1).await?, query.sort);
    }
    Ok(walked.into_page(query.sort, limit))
}

/// The first and the last number that a run of the query can have; `None` if it can have none.
async fn numbers(db: &Reader<'_>, query: &RunQuery) -> Work<Option<(i64, i64)>> {
    let mut bounds = (1, MAX_NUMBER.cast_signed());
    if let Some(before) = query.before_run {
        bounds.1 = bound(i64::try_from(before).unwrap_or(i64::MAX)).saturating_sub(1);
    }
    if let Some(since) = query.since {
        let Some(first) = near(db, json!({ "since": time(since) })).await? else { return Ok(None) };
        bounds.0 = first;
    }
    if let Some(until) = query.until {
        let Some(last) = near(db, json!({ "until": time(until) })).await? else { return Ok(None) };
        bounds.1 = bounds.1.min(last);
    }
    Ok((bounds.0 <= bounds.1).then_some(bounds))
}

async fn near(db: &Reader<'_>, arguments: Value) -> Work<Option<i64>> {
    db.ask("near", arguments).await?.first()?.map(Reply::value).transpose()
}

/// A range of a list, in the order of a page.
#[derive(Debug, Clone, Copy)]
enum Range {
    All,
    ByDuration,
    State(RunState),
    Trigger,
    Tag,
    /// A param that runs were given.
    Given,
    /// A param that actions recorded.
    Recorded,
}

impl Range {
    /// Returns the ranges that together have all runs of a query.
    fn of(query: &RunQuery) -> Vec<Self> {
        if query.sort.by_duration() {
            vec![Self::ByDuration]
        } else if query.param.is_some() {
            vec![Self::Given, Self::Recorded]
        } else if query.tag.is_some() {
            vec![Self::Tag]
        } else if query.trigger.is_some() {
            vec![Self::Trigger]
        } else if query.states.is_empty() {
            vec![Self::All]
        } else {
            // One range for each state, merged here.
            let states = RunState::ALL.iter().filter(|state| query.states.contains(state));
            states.map(|state| Self::State(*state)).collect()
        }
    }

    /// Returns the name that the script has for it.
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::ByDuration => "duration",
            Self::State(_) => "state",
            Self::Trigger => "trigger",
            Self::Tag => "tag",
            Self::Given => "given",
            Self::Recorded => "recorded",
        }
    }
}

/// The arguments of a walk that stay the same in all of its calls.
fn arguments(query: &RunQuery, range: Range, (first, last): (i64, i64)) -> Value {
    let RunQuery { states, trigger, since, until, param, tag, before_run: _, sort } = query;
    let param = param
        .as_ref()
        .map(|ParamFilter { name, value }| json!({ "name": name, "value": value, "is_short": is_short(value) }));
    let tag = tag.as_ref().map(|TagFilter { name, value }| json!({ "name": name, "value": value }));
    let in_state = if let Range::State(state) = range { Some(state) } else { None };
    json!({
        "range": range.name(), "in_state": in_state, "states": states, "trigger": trigger, "since": since.map(time),
        "until": until.map(time), "param": param, "tag": tag, "first": first, "last": last, "descends": sort.descends(),
    })
}

/// Where a call of the script begins.
fn place(query: &RunQuery, Key((duration, number)): Key, (first, last): (i64, i64)) -> Vec<(&'static str, Value)> {
    if query.sort.by_duration() {
        let duration = match duration {
            i64::MAX => "+inf".to_owned(),
            i64::MIN => "-inf".to_owned(),
            duration => duration.to_string(),
        };
        return vec![("duration", json!(duration)), ("number", json!(bound(number)))];
    }
    let (above, below) = if query.sort.descends() {
        (first.saturating_sub(1), number.min(last.saturating_add(1)))
    } else {
        (number.max(first.saturating_sub(1)), last.saturating_add(1))
    };
    vec![("above", json!(above)), ("below", json!(bound(below)))]
}

/// Walks a range from a place, until `enough` runs are found.
async fn walk(
    db: &Reader<'_>,
    query: &RunQuery,
    range: Range,
    mut from: Key,
    numbers: (i64, i64),
    enough: usize,
) -> Work<Walked> {
    let (mut found, mut looked_at) = (Vec::new(), 0);
    let by_duration = query.sort.by_duration();
    let key = |duration: Option<i64>, number| Key((duration.filter(|_| by_duration).unwrap_or(0), number));
    loop {
        let place = place(query, from, numbers).into_iter().chain([("limit", json!(enough - found.len()))]);
        let arguments = with(arguments(query, range, numbers), place);
        let [rows, end] = db.ask("runs", arguments).await?.parts()?;
        for row in rows.each(Reply::row)? {
            found.push((key(row.opt("duration")?, row.get("number")?), run(&row)?));
        }
        let end = end.list()?;
        if end.is_empty() || found.len() >= enough {
            return Ok(Walked { found, given_up: None });
        }
        let [count, duration, number] = Reply::List(end).parts()?;
        looked_at += count.value::<usize>()?;
        from = key(Some(duration.value()?), number.value()?);
        if looked_at >= MAX_RUNS_LOOKED_AT {
            return Ok(Walked { found, given_up: Some(from) });
        }
    }
}
