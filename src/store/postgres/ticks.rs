//! Ticks: evaluations of triggers.

use super::db::Db;
use super::sql::{Json, Row, Work, params};
use super::writer::Tx;
use crate::model::{Page, Tick, TickOutcome};
use crate::store::write::MAX_TICKS;
use crate::store::{PageRequest, TickQuery, page};

/// How many ticks are dropped at once, which keeps dropping rare and short.
const PRUNE_BATCH: u64 = 1_000;

/// The beginning of a statement that reads rows for [`tick`].
macro_rules! tick_columns {
    () => {
        "SELECT seq, trigger_name, resource, time, outcome, reason, run_id, conditions FROM ticks"
    };
}

fn tick(row: &Row) -> Work<Tick> {
    Ok(Tick {
        seq: row.get(0)?,
        trigger: row.get(1)?,
        resource: row.get(2)?,
        time: row.get(3)?,
        outcome: row.get(4)?,
        reason: row.get(5)?,
        run_id: row.get(6)?,
        conditions: row.get::<Json<_>>(7)?.0,
    })
}

/// Records an evaluation, unless it equals the previous one. One that fired is always recorded,
/// because it is about another run.
pub(super) async fn record(tx: &Tx, tick: &Tick) -> Work<()> {
    if tick.outcome != TickOutcome::Fired {
        let sql = concat!(tick_columns!(), " WHERE trigger_name = $1 ORDER BY seq DESC LIMIT 1");
        let last = tx.db.row(sql, &params![tick.trigger]).await?.as_ref().map(self::tick).transpose()?;
        if last.is_some_and(|last| last.says_the_same(tick)) {
            return Ok(());
        }
    }
    // The newest is never dropped, so the next number is one more than it, and what is kept is
    // dense.
    let sql = "INSERT INTO ticks (seq, trigger_name, resource, time, outcome, reason, run_id, conditions)
        VALUES ((SELECT coalesce(max(seq), 0) + 1 FROM ticks), $1, $2, $3, $4, $5, $6, $7) RETURNING seq";
    let Tick { trigger, resource, time, outcome, reason, run_id, conditions, .. } = tick;
    let conditions = serde_json::to_string(conditions)?;
    let values = params![trigger, resource, time, outcome, reason, run_id, conditions];
    prune(tx, tx.db.one(sql, &values).await?.get(0)?, MAX_TICKS);
    Ok(())
}

/// Drops the oldest so that at most `most` are left, a batch at a time.
fn prune(tx: &Tx, newest: u64, most: u64) {
    if newest.is_multiple_of(PRUNE_BATCH) && newest + PRUNE_BATCH > most {
        tx.db.later("DELETE FROM ticks WHERE seq <= $1", &params![(newest + PRUNE_BATCH).saturating_sub(most)]);
    }
}

/// Ticks, newest first.
pub(super) async fn list(db: &Db, query: &TickQuery, request: &PageRequest) -> Work<Page<Tick>> {
    let (before, limit) = (page::before(request)?, page::limit(request));
    let columns = tick_columns!();
    let rows = match &query.trigger {
        None => {
            let sql = format!("{columns} WHERE seq < $1 ORDER BY seq DESC LIMIT $2");
            db.rows(&sql, &params![before, limit + 1]).await?
        }
        Some(name) => {
            let sql = format!("{columns} WHERE trigger_name = $3 AND seq < $1 ORDER BY seq DESC LIMIT $2");
            db.rows(&sql, &params![before, limit + 1, name]).await?
        }
    };
    let items: Work<Vec<_>> = rows.iter().map(|row| Ok((row.get(0)?, tick(row)?))).collect();
    Ok(page::cut(items?, limit))
}
