//! Checks the plan of every statement that the store runs: an index for every table, and no sort of
//! a whole table.
//!
//! The tables of the tests are small, and the planner would scan them. The settings of the store's
//! connections keep it from that, and show what it does when it has no other choice.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::connect::{Place, Use};
use super::migrations::migrate;
use super::tests::{Schema, world};
use crate::model::Durability;
use crate::store::conformance::{CASES, run_case};

static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Notes a statement that was prepared.
pub(super) fn note(sql: &str) {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(sql.to_owned());
}

/// Steps of plans that are allowed although they look too expensive: a part of the statement, a
/// part of the step, and why.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("FROM trigger_marks", "Seq Scan on trigger_marks", "one row for each condition of the manifest"),
    ("a.ended > $2 AND a.path", "Sort", "sorts what has changed since a run began"),
    ("FROM old_places p JOIN", "Sort", "sorts what was renamed since a run began"),
    ("FROM outputs o JOIN artifacts", "Sort", "sorts what one run has written to a resource"),
    ("GROUP BY x.attempt, x.kind", "Sort", "sums the newest reads and writes, up to a bound"),
    ("SELECT DISTINCT r.run FROM accesses x", "Sort", "sorts who has read what one run wrote"),
    ("ORDER BY r.number DESC, a.number DESC", "Sort", "sorts the attempts of one run"),
    ("WHERE t.run = $1 ORDER BY t.action", "Sort", "sorts what one run was refused or asked for"),
];

/// Returns what is wrong with the plan of a statement. Adds to `used` the [`ALLOWED`] that it
/// needs.
async fn complaints(client: &tokio_postgres::Client, sql: &str, used: &mut BTreeSet<usize>) -> Vec<String> {
    let count = client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).params().len();
    let nulls = if count == 0 { String::new() } else { format!("({})", vec!["NULL"; count].join(", ")) };
    client.batch_execute(&format!("DEALLOCATE ALL; PREPARE looked_at AS {sql}")).await.unwrap();
    let plan = client.simple_query(&format!("EXPLAIN (COSTS OFF) EXECUTE looked_at{nulls}")).await.unwrap();
    let steps = plan.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let mut found = Vec::new();
    for step in steps.map(|step| step.trim().trim_start_matches("-> ").trim()) {
        if !["Seq Scan", "Sort", "Bitmap", "Hash Join", "Merge Join"].iter().any(|bad| step.starts_with(bad))
            || ["Sort Key", "Sort Method"].iter().any(|detail| step.starts_with(detail))
        {
            continue;
        }
        match ALLOWED.iter().position(|(part, allowed, _)| sql.contains(part) && step.starts_with(allowed)) {
            Some(place) => _ = used.insert(place),
            None => found.push(step.to_owned()),
        }
    }
    found
}

async fn client() -> tokio_postgres::Client {
    let schema = Schema::new();
    let place = Place::of(&schema.url(), None, schema.name()).await.unwrap();
    let (client, _) = place.connect(Use::Write(Durability::Normal)).await.unwrap();
    migrate(&client, &place).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_scans_or_sorts_a_table() {
    for case in CASES {
        run_case(case, &mut world().await).await;
    }
    let seen: Vec<String> = SEEN.lock().unwrap().iter().cloned().collect();
    let client = client().await;
    let (mut bad, mut looked_at, mut used) = (Vec::new(), 0, BTreeSet::new());
    for sql in
        seen.iter().filter(|sql| !["BEGIN", "COMMIT", "ROLLBACK", "SET"].iter().any(|word| sql.starts_with(word)))
    {
        looked_at += 1;
        let wrong = complaints(&client, sql, &mut used).await;
        bad.extend(wrong.into_iter().map(|step| format!("{step}\n    {sql}")));
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    let unused: Vec<_> = (0..ALLOWED.len()).filter(|place| !used.contains(place)).map(|place| ALLOWED[place]).collect();
    assert!(unused.is_empty(), "allowed, but not needed by any statement: {unused:?}");
    assert!(looked_at > 90, "only {looked_at} statements: the suite covers fewer than before");
}

#[tokio::test]
async fn a_scan_and_a_sort_are_found() {
    let client = client().await;
    for (sql, is_wrong) in [
        ("SELECT seq FROM artifacts WHERE size = 1", true),
        ("SELECT seq FROM artifacts WHERE resource = 'a' ORDER BY size", true),
        ("SELECT seq FROM artifacts WHERE seq = 1", false),
    ] {
        assert_eq!(!complaints(&client, sql, &mut BTreeSet::new()).await.is_empty(), is_wrong, "{sql}");
    }
}
