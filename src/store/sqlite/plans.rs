//! Checks the plan of every statement that the store runs: no cost may grow with the record.
//!
//! A benchmark could show the same, but only on a quiet machine with a million rows. The planner
//! needs no rows, because every list names its index.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use super::migrations::migrate;
use super::tests::world;
use super::ticks;
use crate::store::conformance::{CASES, run_case};

static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Notes a statement that was prepared.
pub(super) fn note(sql: &str) {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(sql.to_owned());
}

/// Steps of plans that are allowed although they look too expensive: a part of the statement, a
/// part of the plan, and why.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("INDEXED BY artifacts_ended", "USE TEMP B-TREE FOR ORDER BY", "sorts what has changed since a run began"),
    (
        "FROM outputs o CROSS JOIN artifacts",
        "USE TEMP B-TREE FOR ORDER BY",
        "sorts what one run has written to a resource",
    ),
    ("WHERE f.seq < ?1 ORDER BY f.seq DESC LIMIT", "(rowid<?)", "a page of all facts, which its limit ends"),
    ("AND t.state = ?2 ORDER BY f.seq DESC LIMIT", "(rowid<?)", "passes over facts of attempts in another state"),
    ("FROM runs r NOT INDEXED WHERE 1 AND", "(rowid>? AND rowid<?)", "a page of all runs"),
    ("FROM runs NOT INDEXED WHERE number <", "(rowid<?)", "a page of old runs"),
    ("FROM runs NOT INDEXED WHERE number >", "(rowid>?)", "the newest runs, as many as are kept"),
    ("WHERE r.duration IS NOT NULL AND", "runs_duration (", "a page of all runs by duration"),
    ("INDEXED BY runs_created", "runs_created (created_at", "a thousand runs at one end of a time"),
    ("FROM runs r CROSS JOIN attempts a INDEXED BY attempts_run", "(rowid>? AND rowid<?)", "the newest 1,000 runs"),
    ("FROM ticks WHERE seq < ?1 AND ?3 IS NULL ORDER BY seq DESC LIMIT", "(rowid<?)", "a page of all ticks"),
    (
        "FROM notifications WHERE seq < ?1 AND ?3 IS NULL ORDER BY seq DESC LIMIT",
        "(rowid<?)",
        "a page of all notifications",
    ),
    ("FROM events WHERE seq > ?1 ORDER BY seq LIMIT", "(rowid>?)", "a page of all events"),
    ("DELETE FROM events WHERE seq <= ?1", "(rowid<?)", "walks what it drops"),
    (ticks::PRUNE, "(rowid<?)", "walks what it drops"),
    ("FROM artifacts a WHERE a.seq < ?1 ORDER BY a.seq DESC LIMIT", "(rowid<?)", "a page of all artifacts"),
    ("FROM events WHERE seq > 0 ORDER BY seq", "(rowid>?)", "the first event, or the last"),
    ("WHERE resource > ?1 ORDER BY resource LIMIT 1", "(resource>?)", "the next resource"),
    ("FROM models WHERE name > ?1 ORDER BY name LIMIT", "(name>?)", "a page of all models"),
    ("FROM trigger_marks ORDER BY", "SCAN trigger_marks", "one row for each condition of the manifest"),
    ("FROM paused_nodes ORDER BY", "SCAN paused_nodes", "one row for each paused node"),
    ("FROM told_outages ORDER BY", "SCAN told_outages", "one row for each resource and receiver, at most"),
    ("WHERE a.open = 1 AND a.seq > ?1 ORDER BY", "approvals_open (seq>?)", "the index has only those that are open"),
    ("(SELECT max(seq) FROM accesses) - ?2", "(rowid>?)", "the newest reads and writes, up to a bound"),
    ("(SELECT max(seq) FROM accesses) - ?2", "USE TEMP B-TREE FOR GROUP BY", "sums these for each attempt"),
    ("(SELECT max(seq) FROM denials) - ?2", "(rowid>?)", "the newest denied calls, up to a bound"),
    ("WHERE i.attempt > 0 ORDER BY i.attempt", "(attempt>?)", "all intents that are open, at a start"),
];

fn allows((part, plan, _): &(&str, &str, &str), sql: &str, detail: &str) -> bool {
    sql.contains(part) && detail.contains(plan)
}

/// Returns whether a step of a plan walks a range of a table or an index that no equality narrows
/// down. If the bound excludes nothing, that is a full scan.
fn is_open_range(detail: &str) -> bool {
    let terms = detail.rsplit_once('(').map_or("", |(_, terms)| terms);
    detail.starts_with("SEARCH") && terms.contains(['<', '>']) && !terms.contains('=')
}

/// Returns what is wrong with the plan of a statement. Adds to `used` the [`ALLOWED`] that it
/// needs.
fn complaints(db: &Connection, sql: &str, used: &mut BTreeSet<usize>) -> Vec<String> {
    let mut statement =
        db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap_or_else(|error| panic!("{sql}: {error}"));
    for parameter in 1..=statement.parameter_count() {
        statement.raw_bind_parameter(parameter, 1).unwrap();
    }
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let detail: String = row.get(3).unwrap();
        let scan = detail.starts_with("SCAN") && detail != "SCAN CONSTANT ROW";
        let bad = scan || detail.contains("TEMP B-TREE") || is_open_range(&detail);
        if !bad {
            continue;
        }
        match ALLOWED.iter().position(|allowed| allows(allowed, sql, &detail)) {
            Some(place) => {
                used.insert(place);
            }
            None => found.push(detail),
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_scans_or_sorts_a_table() {
    for case in CASES {
        run_case(case, &mut world().await).await;
    }
    // No case makes so many ticks that some are dropped. Another test of this process may do so.
    note(ticks::PRUNE);
    let seen: Vec<String> = SEEN.lock().unwrap().iter().cloned().collect();
    let db = Connection::open_in_memory().unwrap();
    migrate(&db).unwrap();
    let is_plan = |sql: &&String| ["SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|word| sql.starts_with(word));
    let mut bad = Vec::new();
    let mut looked_at = 0;
    let mut used = BTreeSet::new();
    for sql in seen.iter().filter(is_plan) {
        looked_at += 1;
        bad.extend(complaints(&db, sql, &mut used).into_iter().map(|detail| format!("{detail}\n    {sql}")));
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    let unused: Vec<_> = (0..ALLOWED.len()).filter(|place| !used.contains(place)).map(|place| ALLOWED[place]).collect();
    assert!(unused.is_empty(), "allowed, but not needed by any statement: {unused:?}");
    assert!(looked_at > 90, "only {looked_at} statements: the suite covers fewer than before");
}

#[test]
fn a_scan_a_sort_and_an_open_range_are_found() {
    let db = Connection::open_in_memory().unwrap();
    migrate(&db).unwrap();
    let wrong = |sql| !complaints(&db, sql, &mut BTreeSet::new()).is_empty();
    assert!(wrong("SELECT seq FROM artifacts WHERE size = 1"));
    assert!(wrong("SELECT seq FROM artifacts WHERE resource = 'a' ORDER BY size"));
    assert!(wrong("SELECT seq FROM artifacts WHERE seq > 1"));
    assert!(!wrong("SELECT seq FROM artifacts WHERE seq = 1"));
}
