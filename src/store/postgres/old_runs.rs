//! Removes old runs.
//!
//! A run is judged in two places by the same rules: when the old runs are listed, and again in the
//! transaction that removes it, because it may have been retried, tagged or read since.
//!
//! Newer runs are looked at first. What a run reads was written by an older run, so whoever keeps
//! the lineage of a run alive has been judged before it.

use std::collections::BTreeSet;

use super::db::Db;
use super::memories;
use super::models;
use super::run_list;
use super::run_rows::by_number;
use super::sql::{Work, params};
use super::writer::Tx;
use crate::base::Timestamp;
use crate::model::{ArtifactState, Run, RunState};
use crate::store::retention::{BATCH_ROWS, Gone, LOOKED_AT, tag_of_run};
use crate::store::{OldRun, OldRuns, Removal, Removed, RemovedRows, RunsToKeep};

/// The tables with details of a run, in the order of [`RemovedRows::of_details`]: the rows of a run
/// in each.
const DETAILS: [(&str, &str); 4] = [
    ("metrics", "SELECT seq FROM metrics WHERE run = $1"),
    ("params", "SELECT seq FROM params WHERE run = $1"),
    ("denials", "SELECT d.seq FROM attempts a JOIN denials d ON d.attempt = a.seq WHERE a.run = $1"),
    ("requests", "SELECT q.seq FROM attempts a JOIN requests q ON q.attempt = a.seq WHERE a.run = $1"),
];

/// Lists old runs below a number. `gone` counts as removed.
pub(super) async fn list(db: &Db, keep: &RunsToKeep, gone: &BTreeSet<u64>, below: Option<u64>) -> Work<OldRuns> {
    let mut found = OldRuns::default();
    let below = match below {
        Some(below) => Some(below),
        None => first_below(db, keep).await?,
    };
    let Some(below) = below else { return Ok(found) };
    let sql = "SELECT number FROM runs WHERE number < $1 ORDER BY number DESC LIMIT $2";
    let rows = db.rows(sql, &params![below, LOOKED_AT]).await?;
    let numbers: Vec<u64> = rows.iter().map(|row| row.get(0)).collect::<Work<_>>()?;
    found.below = numbers.last().copied().filter(|_| numbers.len() as u64 == LOOKED_AT);
    let floor = oldest_snapshot(db).await?;
    let mut gone = Gone::new(gone);
    for number in numbers {
        let Some((_, removal)) = judge(db, keep, floor, number, &gone).await? else { continue };
        if removal == Removal::Whole {
            gone.add(number);
        }
        found.runs.push(OldRun { number, removal, rows: rows_of(db, number, removal).await? });
    }
    Ok(found)
}

/// Returns the number below which runs may be old; `None` if all are kept.
async fn first_below(db: &Db, keep: &RunsToKeep) -> Work<Option<u64>> {
    let mut below = None;
    if let Some(newest) = keep.newest {
        let sql = "SELECT number FROM runs ORDER BY number DESC OFFSET $1 LIMIT 1";
        let skip = newest.saturating_sub(1).min(i64::MAX.unsigned_abs());
        let Some(kept) = db.row(sql, &params![skip]).await? else { return Ok(None) };
        below = Some(kept.get(0)?);
    }
    if let Some(since) = keep.ended_since {
        // What ended before was created before.
        let sql = "SELECT number FROM runs WHERE created_at < $1 ORDER BY created_at DESC LIMIT 1";
        let Some(last) = db.row(sql, &params![since]).await? else { return Ok(None) };
        below = Some(below.unwrap_or(u64::MAX).min(last.get::<u64>(0)? + 1));
    }
    Ok(below)
}

/// Returns the oldest snapshot that an unfinished run may still read from.
async fn oldest_snapshot(db: &Db) -> Work<i64> {
    let mut oldest = i64::MAX;
    for state in RunState::ALL.iter().filter(|state| !state.ended()) {
        let sql = "SELECT snapshot FROM runs WHERE state = $1 ORDER BY number LIMIT 1";
        if let Some(row) = db.row(sql, &params![state]).await? {
            oldest = oldest.min(row.get(0)?);
        }
    }
    Ok(oldest)
}

/// Returns how a run is to be removed; `None` if it is kept, or is not there.
async fn judge(db: &Db, keep: &RunsToKeep, floor: i64, number: u64, gone: &Gone<'_>) -> Work<Option<(Run, Removal)>> {
    let Some(run) = by_number(db, number).await? else { return Ok(None) };
    if keep.keeps(&run)
        || ended_after(db, number, keep.told_until).await?
        || has_kept_tag(db, number, &keep.tags).await?
        || models::has_version(db, number).await?
    {
        return Ok(None);
    }
    if !leads_to_something(db, floor, number, gone).await? {
        return Ok(Some((run, Removal::Whole)));
    }
    let has_details = run.trimmed_at.is_none() || rows_of(db, number, Removal::Details).await?.details() > 0;
    Ok(has_details.then_some((run, Removal::Details)))
}

/// Returns whether a run ended after an event.
async fn ended_after(db: &Db, number: u64, event: Option<u64>) -> Work<bool> {
    let Some(event) = event else { return Ok(false) };
    db.exists("SELECT 1 FROM runs WHERE number = $1 AND ended_seq > $2", &params![number, event]).await
}

/// The accesses of attempts that have done their work themselves: what a cached one has written was
/// written by another run, which its lineage leads through.
macro_rules! written {
    () => {
        "accesses x JOIN attempts w ON w.seq = x.attempt AND w.cached_from IS NULL"
    };
}

/// Returns whether a run, or an artifact that it wrote, has one of these tags.
async fn has_kept_tag(db: &Db, number: u64, tags: &[String]) -> Work<bool> {
    for tag in tags {
        let (name, value) = tag_of_run(tag);
        let sql = "SELECT 1 FROM tags WHERE run = $1 AND name = $2 AND ($3::text IS NULL OR value = $3)";
        if db.exists(sql, &params![number, name, value]).await? {
            return Ok(true);
        }
        let sql = concat!(
            "SELECT 1 FROM ",
            written!(),
            " JOIN artifact_tags t ON t.tag = $2 AND t.artifact = x.artifact
            WHERE x.run = $1 AND x.kind = 'wrote' LIMIT 1"
        );
        if db.exists(sql, &params![number, tag]).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns whether something that a run wrote is at its path, may still be read by an unfinished
/// run, or was read by another run that is on record.
async fn leads_to_something(db: &Db, floor: i64, number: u64, gone: &Gone<'_>) -> Work<bool> {
    let sql = concat!(
        "SELECT 1 FROM ",
        written!(),
        " JOIN artifacts a ON a.seq = x.artifact WHERE x.run = $1 AND x.kind = 'wrote' AND a.state <> $2
        AND (a.ended IS NULL OR a.ended > $3) LIMIT 1"
    );
    if db.exists(sql, &params![number, ArtifactState::NotTaken, floor]).await? {
        return Ok(true);
    }
    let readers = concat!(
        "SELECT DISTINCT r.run FROM ",
        written!(),
        " JOIN accesses r ON r.artifact = x.artifact AND r.kind = 'read'
        WHERE x.run = $1 AND x.kind = 'wrote' AND r.run <> $1"
    );
    if gone.is_empty() {
        return db.exists(&format!("{readers} LIMIT 1"), &params![number]).await;
    }
    for row in db.rows(readers, &params![number]).await? {
        if !gone.contains(row.get(0)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Counts the rows that are removed with a run.
async fn rows_of(db: &Db, number: u64, removal: Removal) -> Work<RemovedRows> {
    let counts = DETAILS.map(|(_, rows)| format!("(SELECT count(*) FROM ({rows}) d)")).join(", ");
    let row = db.one(&format!("SELECT {counts}"), &params![number]).await?;
    let found = RemovedRows::of_details([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]);
    match removal {
        Removal::Details => Ok(RemovedRows { trimmed: 1, ..found }),
        Removal::Whole => {
            let sql = "SELECT (SELECT count(*) FROM attempts WHERE run = $1),
                (SELECT count(*) FROM accesses WHERE run = $1), (SELECT count(*) FROM tags WHERE run = $1)";
            let row = db.one(sql, &params![number]).await?;
            Ok(RemovedRows { runs: 1, attempts: row.get(0)?, accesses: row.get(1)?, tags: row.get(2)?, ..found })
        }
    }
}

/// Removes runs in their order, until it has removed about [`BATCH_ROWS`] rows.
pub(super) async fn remove(tx: &mut Tx, keep: &RunsToKeep, numbers: &[u64], now: Timestamp) -> Work<Removed> {
    let (mut removed, mut left) = (Removed::default(), BATCH_ROWS);
    let (floor, none) = (oldest_snapshot(&tx.db).await?, BTreeSet::new());
    for number in numbers {
        if left == 0 {
            break;
        }
        if let Some((run, removal)) = judge(&tx.db, keep, floor, *number, &Gone::new(&none)).await? {
            // A run of which some details are gone says so.
            let sql = "UPDATE runs SET trimmed_at = $2 WHERE number = $1 AND trimmed_at IS NULL";
            tx.db.later(sql, &params![number, now]);
            memories::forget(&tx.db, *number);
            let gone = remove_details(&tx.db, *number, left).await?;
            removed.rows += gone;
            left -= gone.details();
            if left == 0 && rows_of(&tx.db, *number, Removal::Details).await?.details() > 0 {
                break;
            }
            let rest = match removal {
                Removal::Details => RemovedRows { trimmed: 1, ..RemovedRows::default() },
                Removal::Whole => remove_rest(&tx.db, &run).await?,
            };
            removed.rows += rest;
            left = left.saturating_sub(1 + rest.attempts + rest.accesses + rest.tags);
        }
        removed.done += 1;
    }
    Ok(removed)
}

/// Removes at most `limit` details of a run.
async fn remove_details(db: &Db, number: u64, limit: u64) -> Work<RemovedRows> {
    let (mut removed, mut left) = ([0; DETAILS.len()], limit);
    for ((table, rows), count) in DETAILS.into_iter().zip(&mut removed) {
        let sql = format!("DELETE FROM {table} WHERE seq IN ({rows} LIMIT $2)");
        *count = db.execute(&sql, &params![number, left]).await?;
        left -= *count;
    }
    Ok(RemovedRows::of_details(removed))
}

/// Removes a run whose details are removed.
async fn remove_rest(db: &Db, run: &Run) -> Work<RemovedRows> {
    let number = run.number;
    for table in ["run_actions", "outputs", "given", "approvals"] {
        db.later(format!("DELETE FROM {table} WHERE run = $1"), &params![number]);
    }
    let sql = "DELETE FROM claims WHERE artifact_id IN (SELECT id FROM artifacts WHERE run_id = $1)";
    db.later(sql, &params![run.id]);
    run_list::forget(db, run);
    db.later("DELETE FROM runs WHERE number = $1", &params![number]);
    let accesses = db.execute("DELETE FROM accesses WHERE run = $1", &params![number]).await?;
    let attempts = db.execute("DELETE FROM attempts WHERE run = $1", &params![number]).await?;
    let tags = db.execute("DELETE FROM tags WHERE run = $1", &params![number]).await?;
    Ok(RemovedRows { runs: 1, attempts, accesses, tags, ..RemovedRows::default() })
}
