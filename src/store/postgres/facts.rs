//! Facts that actions record, and their lists.

use serde_json::json;

use super::attempts::{Fenced, at_work};
use super::db::Db;
use super::events::{NewEvent, emit};
use super::sql::{Bind as _, Row, Value, Work, params};
use super::writer::Tx;
use crate::base::{Timestamp, WriteId};
use crate::model::{AttemptState, EventKind, Facts, Fence, MetricRecord, Page, ParamRecord, RunTag};
use crate::store::{FactQuery, PageRequest, page};

/// Records metrics, params and tags of an active attempt. A repeat does nothing.
pub(super) async fn record(tx: &mut Tx, fence: Fence, id: WriteId, facts: &Facts, now: Timestamp) -> Work<()> {
    let attempt = at_work(&tx.db, fence).await?;
    let Facts { metrics, params, tags } = facts;
    if metrics.is_empty() && params.is_empty() && tags.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE attempts SET facts = $2 WHERE seq = $1 AND facts IS DISTINCT FROM $2";
    if tx.db.execute(sql, &params![attempt.seq, id]).await? == 0 {
        return Ok(());
    }
    insert(&tx.db, &attempt, facts, now);
    let data = json!({ "metrics": metrics.len(), "params": params.len(), "tags": tags.len() });
    let event = NewEvent::of(EventKind::FactsRecorded, data);
    emit(tx, now, event.run(attempt.run_id).action(&attempt.action).attempt(attempt.id));
    Ok(())
}

fn insert(db: &Db, attempt: &Fenced, facts: &Facts, now: Timestamp) {
    let sql = "INSERT INTO metrics (run, attempt, name, value, step, recorded_at) VALUES ($1, $2, $3, $4, $5, $6)";
    for metric in &facts.metrics {
        db.later(sql, &params![attempt.run, attempt.seq, metric.name, metric.value, metric.step, now]);
    }
    // A value that is set again gets a new number, so it counts as new.
    let sql = "INSERT INTO params (run, attempt, name, value, recorded_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (attempt, name)
        DO UPDATE SET seq = excluded.seq, value = excluded.value, recorded_at = excluded.recorded_at";
    for param in &facts.params {
        db.later(sql, &params![attempt.run, attempt.seq, param.name, param.value, now]);
    }
    let sql = "INSERT INTO tags (run, name, value, recorded_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (run, name)
        DO UPDATE SET seq = excluded.seq, value = excluded.value, recorded_at = excluded.recorded_at";
    for tag in &facts.tags {
        db.later(sql, &params![attempt.run, tag.name, tag.value, now]);
    }
}

/// Reads a page of facts in `table` (with an alias `f`).
async fn list<T>(
    db: &Db,
    table: &str,
    columns: &str,
    joins: &str,
    (query, request): (&FactQuery, &PageRequest),
    item: impl Fn(&Row) -> Work<T>,
) -> Work<Page<T>> {
    let mut values = vec![Value::Int(page::before(request)?)];
    let mut terms = vec!["f.seq < $1".to_owned()];
    let mut term = |text: &str, value: Value| {
        values.push(value);
        terms.push(format!("{text} ${}", values.len()));
    };
    if let Some(run) = query.run {
        let Some(number) = db.row("SELECT number FROM runs WHERE id = $1", &params![run]).await? else {
            return Ok(Page { items: Vec::new(), next_cursor: None });
        };
        term("f.run =", Value::Int(number.get(0)?));
    }
    if let Some(name) = &query.name {
        term("f.name =", Value::Text(name.clone()));
    }
    if let Some(before) = query.before_run {
        term("f.run <", Value::Int(i64::try_from(before).unwrap_or(i64::MAX)));
    }
    if query.succeeded_only && !joins.is_empty() {
        term("t.state =", Value::Text(AttemptState::Succeeded.as_str().to_owned()));
    }
    let limit = page::limit(request);
    values.push((limit + 1).bind());
    let sql = format!(
        "SELECT {columns} FROM {table} f {joins} WHERE {} ORDER BY f.seq DESC LIMIT ${}",
        terms.join(" AND "),
        values.len()
    );
    let rows = db.rows(&sql, &values).await?;
    let items: Work<Vec<_>> = rows.iter().map(|row| Ok((row.get(0)?, item(row)?))).collect();
    Ok(page::cut(items?, limit))
}

/// Joins a fact with its run and attempt. `LATERAL` and `OFFSET` fix the order: facts first, by
/// their index.
const RUN_AND_ATTEMPT: &str = "CROSS JOIN LATERAL (SELECT id FROM runs WHERE number = f.run OFFSET 0) r
    CROSS JOIN LATERAL (SELECT id, action, state FROM attempts WHERE seq = f.attempt OFFSET 0) t";

/// Metrics, newest first.
pub(super) async fn metrics(db: &Db, query: &FactQuery, request: &PageRequest) -> Work<Page<MetricRecord>> {
    let columns = "f.seq, r.id, f.run, t.action, t.id, t.state, f.name, f.value, f.step, f.recorded_at";
    list(db, "metrics", columns, RUN_AND_ATTEMPT, (query, request), |row| {
        Ok(MetricRecord {
            seq: row.get(0)?,
            run_id: row.get(1)?,
            run_number: row.get(2)?,
            action: row.get(3)?,
            attempt_id: row.get(4)?,
            succeeded: row.get::<AttemptState>(5)? == AttemptState::Succeeded,
            name: row.get(6)?,
            value: row.get(7)?,
            step: row.get(8)?,
            recorded_at: row.get(9)?,
        })
    })
    .await
}

/// Params, newest first.
pub(super) async fn params(db: &Db, query: &FactQuery, request: &PageRequest) -> Work<Page<ParamRecord>> {
    let columns = "f.seq, r.id, t.action, t.id, t.state, f.name, f.value, f.recorded_at";
    list(db, "params", columns, RUN_AND_ATTEMPT, (query, request), |row| {
        Ok(ParamRecord {
            seq: row.get(0)?,
            run_id: row.get(1)?,
            action: row.get(2)?,
            attempt_id: row.get(3)?,
            succeeded: row.get::<AttemptState>(4)? == AttemptState::Succeeded,
            name: row.get(5)?,
            value: row.get(6)?,
            recorded_at: row.get(7)?,
        })
    })
    .await
}

/// Tags of runs, newest first. They belong to runs, not attempts, so `succeeded_only` does not
/// apply.
pub(super) async fn tags(db: &Db, query: &FactQuery, request: &PageRequest) -> Work<Page<RunTag>> {
    let columns = "f.seq, (SELECT r.id FROM runs r WHERE r.number = f.run), f.name, f.value, f.recorded_at";
    list(db, "tags", columns, "", (query, request), |row| {
        Ok(RunTag {
            seq: row.get(0)?,
            run_id: row.get(1)?,
            name: row.get(2)?,
            value: row.get(3)?,
            recorded_at: row.get(4)?,
        })
    })
    .await
}
