//! Removes old runs.
//!
//! A run is judged in two places by the same rules: when the old runs are listed, and again in the
//! transaction that removes it, because it may have been retried, tagged or read since.
//!
//! Newer runs are looked at first. What a run reads was written by an older run, so whoever keeps
//! the lineage of a run alive has been judged before it.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::memories;
use super::models;
use super::run_list;
use super::run_rows::by_number;
use super::sql::{Work, execute, prepare};
use super::writer::Tx;
use crate::base::Timestamp;
use crate::model::{ArtifactState, Run, RunState};
use crate::store::retention::{BATCH_ROWS, Gone, LOOKED_AT, tag_of_run};
use crate::store::{OldRun, OldRuns, Removal, Removed, RemovedRows, RunsToKeep};

/// The tables with details of a run, in the order of [`RemovedRows::of_details`]: the rows of a run
/// in each.
const DETAILS: [(&str, &str); 4] = [
    ("metrics", "SELECT seq FROM metrics INDEXED BY metrics_run WHERE run = ?1"),
    ("params", "SELECT seq FROM params INDEXED BY params_run WHERE run = ?1"),
    (
        "denials",
        "SELECT d.seq FROM attempts a INDEXED BY attempts_run CROSS JOIN denials d INDEXED BY denials_attempt
         ON d.attempt = a.seq WHERE a.run = ?1",
    ),
    (
        "requests",
        "SELECT q.seq FROM attempts a INDEXED BY attempts_run CROSS JOIN requests q INDEXED BY requests_attempt
         ON q.attempt = a.seq WHERE a.run = ?1",
    ),
];

/// Lists old runs below a number. `gone` counts as removed.
pub(super) fn list(db: &Connection, keep: &RunsToKeep, gone: &BTreeSet<u64>, below: Option<u64>) -> Work<OldRuns> {
    let mut found = OldRuns::default();
    let below = match below {
        Some(below) => Some(below),
        None => first_below(db, keep)?,
    };
    let Some(below) = below else { return Ok(found) };
    let sql = "SELECT number FROM runs NOT INDEXED WHERE number < ?1 ORDER BY number DESC LIMIT ?2";
    let numbers: Vec<u64> =
        prepare(db, sql)?.query_map(params![below, LOOKED_AT], |row| row.get(0))?.collect::<Result<_, _>>()?;
    found.below = numbers.last().copied().filter(|_| numbers.len() as u64 == LOOKED_AT);
    let floor = oldest_snapshot(db)?;
    let mut gone = Gone::new(gone);
    for number in numbers {
        let Some((_, removal)) = judge(db, keep, floor, number, &gone)? else { continue };
        if removal == Removal::Whole {
            gone.add(number);
        }
        found.runs.push(OldRun { number, removal, rows: rows_of(db, number, removal)? });
    }
    Ok(found)
}

/// Returns the number below which runs may be old; `None` if all are kept.
fn first_below(db: &Connection, keep: &RunsToKeep) -> Work<Option<u64>> {
    let mut below = None;
    if let Some(newest) = keep.newest {
        let sql = "SELECT number FROM runs NOT INDEXED WHERE number > 0 ORDER BY number DESC LIMIT 1 OFFSET ?1";
        let skip = newest.saturating_sub(1).min(i64::MAX.unsigned_abs());
        match prepare(db, sql)?.query_row([skip], |row| row.get(0)).optional()? {
            Some(kept) => below = Some(kept),
            None => return Ok(None),
        }
    }
    if let Some(since) = keep.ended_since {
        // What ended before was created before.
        let sql =
            "SELECT number FROM runs INDEXED BY runs_created WHERE created_at < ?1 ORDER BY created_at DESC LIMIT 1";
        let Some(last) = prepare(db, sql)?.query_row([since], |row| row.get::<_, u64>(0)).optional()? else {
            return Ok(None);
        };
        below = Some(below.unwrap_or(u64::MAX).min(last + 1));
    }
    Ok(below)
}

/// Returns the oldest snapshot that an unfinished run may still read from.
fn oldest_snapshot(db: &Connection) -> Work<i64> {
    let mut oldest = i64::MAX;
    for state in RunState::ALL.iter().filter(|state| !state.ended()) {
        let sql = "SELECT snapshot FROM runs INDEXED BY runs_state WHERE state = ?1 ORDER BY number LIMIT 1";
        let snapshot = prepare(db, sql)?.query_row([state], |row| row.get(0)).optional()?;
        oldest = oldest.min(snapshot.unwrap_or(i64::MAX));
    }
    Ok(oldest)
}

/// Returns how a run is to be removed; `None` if it is kept, or is not there.
fn judge(db: &Connection, keep: &RunsToKeep, floor: i64, number: u64, gone: &Gone<'_>) -> Work<Option<(Run, Removal)>> {
    let Some(run) = by_number(db, number)? else { return Ok(None) };
    if keep.keeps(&run)
        || ended_after(db, number, keep.told_until)?
        || has_kept_tag(db, number, &keep.tags)?
        || models::has_version(db, number)?
    {
        return Ok(None);
    }
    if !leads_to_something(db, floor, number, gone)? {
        return Ok(Some((run, Removal::Whole)));
    }
    let has_details = run.trimmed_at.is_none() || rows_of(db, number, Removal::Details)?.details() > 0;
    Ok(has_details.then_some((run, Removal::Details)))
}

/// Returns whether a run ended after an event.
fn ended_after(db: &Connection, number: u64, event: Option<u64>) -> Work<bool> {
    let Some(event) = event else { return Ok(false) };
    let sql = "SELECT 1 FROM runs WHERE number = ?1 AND ended_seq > ?2";
    Ok(prepare(db, sql)?.exists(params![number, i64::try_from(event).unwrap_or(i64::MAX)])?)
}

/// The accesses of attempts that have done their work themselves: what a cached one has written was
/// written by another run, which its lineage leads through.
macro_rules! written {
    () => {
        "accesses x INDEXED BY accesses_run CROSS JOIN attempts w ON w.seq = x.attempt AND w.cached_from IS NULL"
    };
}

/// Returns whether a run, or an artifact that it wrote, has one of these tags.
fn has_kept_tag(db: &Connection, number: u64, tags: &[String]) -> Work<bool> {
    for tag in tags {
        let (name, value) = tag_of_run(tag);
        let sql =
            "SELECT 1 FROM tags INDEXED BY tags_run_name WHERE run = ?1 AND name = ?2 AND (?3 IS NULL OR value = ?3)";
        if prepare(db, sql)?.exists(params![number, name, value])? {
            return Ok(true);
        }
        let sql = concat!(
            "SELECT 1 FROM ",
            written!(),
            " CROSS JOIN artifact_tags t ON t.tag = ?2 AND t.artifact = x.artifact WHERE x.run = ?1 AND x.kind = 'wrote'"
        );
        if prepare(db, sql)?.exists(params![number, tag])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns whether something that a run wrote is at its path, may still be read by an unfinished
/// run, or was read by another run that is on record.
fn leads_to_something(db: &Connection, floor: i64, number: u64, gone: &Gone<'_>) -> Work<bool> {
    let sql = concat!(
        "SELECT x.artifact, a.ended FROM ",
        written!(),
        " CROSS JOIN artifacts a ON a.seq = x.artifact WHERE x.run = ?1 AND x.kind = 'wrote' AND a.state <> ?2"
    );
    let mut written = prepare(db, sql)?;
    let mut rows = written.query(params![number, ArtifactState::NotTaken])?;
    let sql = "SELECT run FROM accesses INDEXED BY accesses_artifact WHERE artifact = ?1 AND kind = 'read'";
    let mut readers = prepare(db, sql)?;
    while let Some(row) = rows.next()? {
        let (artifact, ended): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
        if ended.is_none_or(|ended| ended > floor) {
            return Ok(true);
        }
        let mut read_by = readers.query([artifact])?;
        while let Some(reader) = read_by.next()? {
            let reader: u64 = reader.get(0)?;
            if reader != number && !gone.contains(reader) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Counts the rows that are removed with a run.
fn rows_of(db: &Connection, number: u64, removal: Removal) -> Work<RemovedRows> {
    let count = |rows: &str| -> Work<u64> {
        Ok(prepare(db, &format!("SELECT count(*) FROM ({rows})"))?.query_row([number], |row| row.get(0))?)
    };
    let mut details = [0; DETAILS.len()];
    for ((_, rows), found) in DETAILS.into_iter().zip(&mut details) {
        *found = count(rows)?;
    }
    let mut found = RemovedRows::of_details(details);
    match removal {
        Removal::Details => found.trimmed = 1,
        Removal::Whole => {
            found.runs = 1;
            found.attempts = count("SELECT seq FROM attempts INDEXED BY attempts_run WHERE run = ?1")?;
            found.accesses = count("SELECT seq FROM accesses INDEXED BY accesses_run WHERE run = ?1")?;
            found.tags = count("SELECT seq FROM tags INDEXED BY tags_run WHERE run = ?1")?;
        }
    }
    Ok(found)
}

/// Removes runs in their order, until it has removed about [`BATCH_ROWS`] rows.
pub(super) fn remove(tx: &mut Tx<'_>, keep: &RunsToKeep, numbers: &[u64], now: Timestamp) -> Work<Removed> {
    let (mut removed, mut left) = (Removed::default(), BATCH_ROWS);
    let (floor, none) = (oldest_snapshot(tx.db)?, BTreeSet::new());
    for number in numbers {
        if left == 0 {
            break;
        }
        if let Some((run, removal)) = judge(tx.db, keep, floor, *number, &Gone::new(&none))? {
            // A run of which some details are gone says so.
            let sql = "UPDATE runs SET trimmed_at = ?2 WHERE number = ?1 AND trimmed_at IS NULL";
            execute(tx.db, sql, params![number, now])?;
            memories::forget(tx.db, *number)?;
            let details = remove_details(tx.db, *number, left)?;
            removed.rows += details;
            left -= details.details();
            if left == 0 && rows_of(tx.db, *number, Removal::Details)?.details() > 0 {
                break;
            }
            let rest = match removal {
                Removal::Details => RemovedRows { trimmed: 1, ..RemovedRows::default() },
                Removal::Whole => remove_rest(tx, &run)?,
            };
            removed.rows += rest;
            left = left.saturating_sub(1 + rest.attempts + rest.accesses + rest.tags);
        }
        removed.done += 1;
    }
    Ok(removed)
}

/// Removes at most `limit` details of a run.
fn remove_details(db: &Connection, number: u64, limit: u64) -> Work<RemovedRows> {
    let (mut removed, mut left) = ([0; DETAILS.len()], limit);
    for ((table, rows), count) in DETAILS.into_iter().zip(&mut removed) {
        let sql = format!("DELETE FROM {table} WHERE seq IN ({rows} LIMIT ?2)");
        *count = execute(db, &sql, params![number, left])? as u64;
        left -= *count;
    }
    Ok(RemovedRows::of_details(removed))
}

/// Removes a run whose details are removed.
fn remove_rest(tx: &mut Tx<'_>, run: &Run) -> Work<RemovedRows> {
    let number = run.number;
    if number == tx.at.run {
        // Its number is not given again.
        execute(tx.db, "UPDATE meta SET run = ?1 WHERE one = 1", [number])?;
    }
    let remove = |from: &str| -> Work<u64> {
        Ok(execute(tx.db, &format!("DELETE FROM {from} WHERE run = ?1"), [number])? as u64)
    };
    let accesses = remove("accesses INDEXED BY accesses_run")?;
    let attempts = remove("attempts INDEXED BY attempts_run")?;
    let tags = remove("tags INDEXED BY tags_run")?;
    for table in ["run_actions", "outputs", "given", "approvals INDEXED BY approvals_run"] {
        remove(table)?;
    }
    let sql = "DELETE FROM claims WHERE artifact_id IN
        (SELECT id FROM artifacts INDEXED BY artifacts_run WHERE run_id = ?1)";
    execute(tx.db, sql, [run.id])?;
    run_list::forget(tx.db, run)?;
    execute(tx.db, "DELETE FROM runs WHERE number = ?1", [number])?;
    Ok(RemovedRows { runs: 1, attempts, accesses, tags, ..RemovedRows::default() })
}
