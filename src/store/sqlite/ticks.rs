//! Ticks: evaluations of triggers.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::sql::{Json, Work, execute, prepare};
use super::writer::Tx;
use crate::model::{Page, Tick, TickOutcome};
use crate::store::write::MAX_TICKS;
use crate::store::{PageRequest, TickQuery, page};

/// How many ticks are dropped at once, which keeps dropping rare and short.
const PRUNE_BATCH: u64 = 1_000;
/// Drops a tick and all before it.
pub(super) const PRUNE: &str = "DELETE FROM ticks WHERE seq <= ?1";

/// The beginning of a statement that reads rows for [`tick`].
macro_rules! tick_columns {
    () => {
        "SELECT seq, trigger_name, resource, time, outcome, reason, run_id, conditions FROM ticks"
    };
}

fn tick(row: &Row<'_>) -> rusqlite::Result<Tick> {
    Ok(Tick {
        seq: row.get(0)?,
        trigger: row.get(1)?,
        resource: row.get(2)?,
        time: row.get(3)?,
        outcome: row.get(4)?,
        reason: row.get(5)?,
        run_id: row.get(6)?,
        conditions: row.get::<_, Json<_>>(7)?.0,
    })
}

/// Records an evaluation, unless it equals the previous one. One that fired is always recorded,
/// because it is about another run.
pub(super) fn record(tx: &mut Tx<'_>, tick: &Tick) -> Work<()> {
    if tick.outcome != TickOutcome::Fired {
        let sql =
            concat!(tick_columns!(), " INDEXED BY ticks_trigger WHERE trigger_name = ?1 ORDER BY seq DESC LIMIT 1");
        let last = prepare(tx.db, sql)?.query_row([&tick.trigger], self::tick).optional()?;
        if last.is_some_and(|last| last.says_the_same(tick)) {
            return Ok(());
        }
    }
    // The newest is never dropped, so the next number is one more than it, and what is kept is
    // dense.
    let sql = "INSERT INTO ticks (trigger_name, resource, time, outcome, reason, run_id, conditions) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let Tick { trigger, resource, time, outcome, reason, run_id, conditions, .. } = tick;
    let conditions = serde_json::to_string(conditions)?;
    execute(tx.db, sql, params![trigger, resource, time, outcome, reason, run_id, conditions])?;
    let newest = u64::try_from(tx.db.last_insert_rowid()).unwrap_or(0);
    prune(tx, newest, MAX_TICKS)
}

/// Drops the oldest so that at most `most` are left, a batch at a time.
fn prune(tx: &mut Tx<'_>, newest: u64, most: u64) -> Work<()> {
    if newest.is_multiple_of(PRUNE_BATCH) && newest + PRUNE_BATCH > most {
        execute(tx.db, PRUNE, [(newest + PRUNE_BATCH).saturating_sub(most)])?;
    }
    Ok(())
}

/// Ticks, newest first.
pub(super) fn list(db: &Connection, query: &TickQuery, request: &PageRequest) -> Work<Page<Tick>> {
    let before = page::before(request)?;
    let limit = page::limit(request);
    let columns = tick_columns!();
    let sql = match query.trigger {
        None => format!("{columns} WHERE seq < ?1 AND ?3 IS NULL ORDER BY seq DESC LIMIT ?2"),
        Some(_) => {
            format!(
                "{columns} INDEXED BY ticks_trigger WHERE trigger_name = ?3 AND seq < ?1 ORDER BY seq DESC LIMIT ?2"
            )
        }
    };
    let mut statement = prepare(db, &sql)?;
    let rows = statement.query_map(params![before, limit + 1, query.trigger], |row| Ok((row.get(0)?, tick(row)?)))?;
    Ok(page::cut(rows.collect::<Result<_, _>>()?, limit))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{PRUNE_BATCH, prune};
    use crate::store::sqlite::migrations;
    use crate::store::sqlite::writer::{Counters, Tx};

    #[test]
    fn the_oldest_ticks_are_dropped_to_stay_within_the_bound() {
        let db = Connection::open_in_memory().unwrap();
        migrations::migrate(&db).unwrap();
        let most = 3 * PRUNE_BATCH;
        let mut tx = Tx { db: &db, at: &mut Counters::default(), epoch: 1 };
        let mut largest = 0;
        for number in 1..=5 * PRUNE_BATCH {
            let sql = "INSERT INTO ticks (trigger_name, time, outcome, reason) VALUES ('a', 1, 'held', 'paused')";
            db.prepare_cached(sql).unwrap().execute([]).unwrap();
            prune(&mut tx, number, most).unwrap();
            if number % 500 == 0 {
                largest = largest.max(db.query_row("SELECT count(*) FROM ticks", [], |row| row.get(0)).unwrap());
            }
        }
        assert!(largest <= most && largest > most - PRUNE_BATCH, "{largest}");
        let oldest: u64 = db.query_row("SELECT min(seq) FROM ticks", [], |row| row.get(0)).unwrap();
        assert_eq!(oldest, 3 * PRUNE_BATCH + 1);
    }
}
