//! `kill -9` at every step between a row and its record: no row is lost, and none comes twice.

use super::{KEYS, Lab};

/// The steps: read, kept, recorded, and the claim that follows.
const POINTS: [&str; 8] = [
    "sql.read",
    "sql.kept",
    "record.observed",
    "record.in_transaction",
    "record.committed",
    "sql.told",
    "claim.in_transaction",
    "claim.committed",
];

#[test]
fn a_host_that_dies_at_any_step_loses_no_row_and_delivers_none_twice() {
    for mut lab in Lab::both(&format!("{KEYS}\nmax_rows = 2")) {
        let mut last = 0;
        for point in POINTS {
            // The second batch of five rows is the one that the host dies with.
            let count = if point.starts_with("claim") { 1 } else { 2 };
            lab.add(last + 1..=last + 5);
            last += 5;
            lab.app.die_at(&format!("{point}:{count}"));
        }
        lab.app.start();
        lab.wait_for_exactly(1..=last);
        assert!(lab.app.wait_for_runs(1).iter().all(|run| run["state"] == "succeeded"));
    }
}

#[test]
fn hosts_that_are_killed_while_rows_come_lose_none() {
    for mut lab in Lab::both(&format!("{KEYS}\nmax_rows = 7")) {
        let mut last = 0;
        for round in 0..6_i64 {
            lab.app.start();
            for _ in 0..10 {
                lab.add(last + 1..=last + round + 1);
                last += round + 1;
            }
            lab.app.kill();
        }
        lab.app.start();
        // A run that was killed too often has failed, and keeps what it has claimed.
        for run in lab.app.wait_for_runs(1).iter().filter(|run| run["state"] == "failed") {
            assert_eq!(lab.app.post(&format!("/api/v1/runs/{}/retry", run["number"])).0, 200, "{run:#}");
        }
        lab.wait_for_exactly(1..=last);
    }
}
