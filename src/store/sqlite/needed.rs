//! Which artifacts runs need, so that their content is kept.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::sql::{Work, prepare};
use crate::base::Digest;
use crate::model::{ArtifactState, RunState};

/// The digests of the artifacts of a resource that runs need.
pub(super) fn digests(db: &Connection, resource: &str) -> Work<BTreeSet<Digest>> {
    let mut found = BTreeSet::new();
    // Claimed by a run that has not ended: its artifacts become `old` when it does.
    for state in [ArtifactState::New, ArtifactState::Current] {
        let sql = "SELECT digest FROM artifacts INDEXED BY artifacts_waiting WHERE resource = ?1 AND state = ?2";
        let mut statement = prepare(db, sql)?;
        for digest in statement.query_map((resource, state), |row| row.get(0))? {
            found.extend::<Option<Digest>>(digest?);
        }
    }
    let given = "SELECT a.digest FROM given g CROSS JOIN artifacts a ON a.seq = g.artifact
        WHERE g.run = ?1 AND a.resource = ?2";
    let written = "SELECT a.digest FROM outputs o CROSS JOIN artifacts a ON a.seq = o.artifact
        WHERE o.run = ?1 AND o.resource = ?2";
    for run in unfinished(db)? {
        for sql in [given, written] {
            let mut statement = prepare(db, sql)?;
            for digest in statement.query_map((run, resource), |row| row.get(0))? {
                found.extend::<Option<Digest>>(digest?);
            }
        }
    }
    Ok(found)
}

/// The numbers of the runs that have not ended.
fn unfinished(db: &Connection) -> Work<Vec<i64>> {
    let mut numbers = Vec::new();
    for state in RunState::ALL.iter().filter(|state| !state.ended()) {
        let mut statement = prepare(db, "SELECT number FROM runs INDEXED BY runs_state WHERE state = ?1")?;
        for number in statement.query_map([state], |row| row.get(0))? {
            numbers.push(number?);
        }
    }
    Ok(numbers)
}
