//! Facts that actions record, and their lists.

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use serde_json::json;

use super::attempts::{Fenced, at_work};
use super::events::{NewEvent, emit};
use super::sql::{Work, execute, prepare};
use super::writer::Tx;
use crate::base::{Timestamp, WriteId};
use crate::model::{AttemptState, EventKind, Facts, Fence, MetricRecord, Page, ParamRecord, RunTag};
use crate::store::{FactQuery, PageRequest, page};

/// Records metrics, params and tags of an active attempt. A repeat does nothing.
pub(super) fn record(tx: &mut Tx<'_>, fence: Fence, id: WriteId, facts: &Facts, now: Timestamp) -> Work<()> {
    let attempt = at_work(tx.db, fence)?;
    let Facts { metrics, params, tags } = facts;
    if metrics.is_empty() && params.is_empty() && tags.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE attempts SET facts = ?2 WHERE seq = ?1 AND facts IS NOT ?2";
    if execute(tx.db, sql, params![attempt.seq, id])? == 0 {
        return Ok(());
    }
    insert(tx.db, &attempt, facts, now)?;
    let data = json!({ "metrics": metrics.len(), "params": params.len(), "tags": tags.len() });
    let event = NewEvent::of(EventKind::FactsRecorded, data);
    emit(tx, now, event.run(attempt.run_id).action(&attempt.action).attempt(attempt.id))
}

fn insert(db: &Connection, attempt: &Fenced, facts: &Facts, now: Timestamp) -> Work<()> {
    let sql = "INSERT INTO metrics (run, attempt, name, value, step, recorded_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    for metric in &facts.metrics {
        // SQLite stores a NaN as NULL.
        let value = Some(metric.value).filter(|value| !value.is_nan());
        execute(db, sql, params![attempt.run, attempt.seq, metric.name, value, metric.step, now])?;
    }
    // `REPLACE` assigns a new number, so a value that is set again counts as new.
    let sql = "INSERT OR REPLACE INTO params (run, attempt, name, value, recorded_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    for param in &facts.params {
        execute(db, sql, params![attempt.run, attempt.seq, param.name, param.value, now])?;
    }
    let sql = "INSERT OR REPLACE INTO tags (run, name, value, recorded_at) VALUES (?1, ?2, ?3, ?4)";
    for tag in &facts.tags {
        execute(db, sql, params![attempt.run, tag.name, tag.value, now])?;
    }
    Ok(())
}

/// The end of a statement for a list of facts in `table` (with an alias `f`), and its values;
/// `None` if it names a run that does not exist.
fn select(
    db: &Connection,
    table: &str,
    query: &FactQuery,
    request: &PageRequest,
    columns: &str,
    joins: &str,
) -> Work<Option<(String, Vec<SqlValue>)>> {
    let mut values: Vec<SqlValue> = vec![page::before(request)?.into()];
    let mut terms = vec!["f.seq < ?1".to_owned()];
    let mut term = |text: &str, value: SqlValue| {
        values.push(value);
        terms.push(format!("{text} ?{}", values.len()));
    };
    if let Some(run) = query.run {
        let sql = "SELECT number FROM runs WHERE id = ?1";
        let Some(number) = prepare(db, sql)?.query_row([run], |row| row.get::<_, i64>(0)).optional()? else {
            return Ok(None);
        };
        term("f.run =", number.into());
    }
    if let Some(name) = &query.name {
        term("f.name =", name.clone().into());
    }
    if let Some(before) = query.before_run {
        term("f.run <", i64::try_from(before).unwrap_or(i64::MAX).into());
    }
    if query.succeeded_only && !joins.is_empty() {
        term("t.state =", AttemptState::Succeeded.as_str().to_owned().into());
    }
    let index = match (query.run.is_some(), query.name.is_some()) {
        (true, true) => format!("INDEXED BY {table}_run_name"),
        (true, false) => format!("INDEXED BY {table}_run"),
        (false, true) => format!("INDEXED BY {table}_name"),
        (false, false) => "NOT INDEXED".to_owned(),
    };
    let sql = format!(
        "SELECT {columns} FROM {table} f {index} {joins} WHERE {} ORDER BY f.seq DESC LIMIT {}",
        terms.join(" AND "),
        page::limit(request) + 1
    );
    Ok(Some((sql, values)))
}

/// Joins a fact with its run and attempt. `CROSS JOIN` fixes the order: facts first, by their
/// index.
const RUN_AND_ATTEMPT: &str = "CROSS JOIN runs r ON r.number = f.run CROSS JOIN attempts t ON t.seq = f.attempt";

fn list<T>(
    db: &Connection,
    selected: Option<(String, Vec<SqlValue>)>,
    request: &PageRequest,
    item: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Work<Page<T>> {
    let Some((sql, values)) = selected else { return Ok(Page { items: Vec::new(), next_cursor: None }) };
    let mut statement = prepare(db, &sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| Ok((row.get(0)?, item(row)?)))?;
    Ok(page::cut(rows.collect::<Result<_, _>>()?, page::limit(request)))
}

/// Metrics, newest first.
pub(super) fn metrics(db: &Connection, query: &FactQuery, request: &PageRequest) -> Work<Page<MetricRecord>> {
    let columns = "f.seq, r.id, f.run, t.action, t.id, t.state, f.name, f.value, f.step, f.recorded_at";
    let selected = select(db, "metrics", query, request, columns, RUN_AND_ATTEMPT)?;
    list(db, selected, request, |row| {
        Ok(MetricRecord {
            seq: row.get(0)?,
            run_id: row.get(1)?,
            run_number: row.get(2)?,
            action: row.get(3)?,
            attempt_id: row.get(4)?,
            succeeded: row.get::<_, AttemptState>(5)? == AttemptState::Succeeded,
            name: row.get(6)?,
            value: row.get::<_, Option<f64>>(7)?.unwrap_or(f64::NAN),
            step: row.get(8)?,
            recorded_at: row.get(9)?,
        })
    })
}

/// Params, newest first.
pub(super) fn params(db: &Connection, query: &FactQuery, request: &PageRequest) -> Work<Page<ParamRecord>> {
    let columns = "f.seq, r.id, t.action, t.id, t.state, f.name, f.value, f.recorded_at";
    let selected = select(db, "params", query, request, columns, RUN_AND_ATTEMPT)?;
    list(db, selected, request, |row| {
        Ok(ParamRecord {
            seq: row.get(0)?,
            run_id: row.get(1)?,
            action: row.get(2)?,
            attempt_id: row.get(3)?,
            succeeded: row.get::<_, AttemptState>(4)? == AttemptState::Succeeded,
            name: row.get(5)?,
            value: row.get(6)?,
            recorded_at: row.get(7)?,
        })
    })
}

/// Tags of runs, newest first. They belong to runs, not attempts, so `succeeded_only` does not
/// apply.
pub(super) fn tags(db: &Connection, query: &FactQuery, request: &PageRequest) -> Work<Page<RunTag>> {
    let columns = "f.seq, (SELECT id FROM runs r WHERE r.number = f.run), f.name, f.value, f.recorded_at";
    let selected = select(db, "tags", query, request, columns, "")?;
    list(db, selected, request, |row| {
        Ok(RunTag {
            seq: row.get(0)?,
            run_id: row.get(1)?,
            name: row.get(2)?,
            value: row.get(3)?,
            recorded_at: row.get(4)?,
        })
    })
}
