//! Which attempts used a resource, from the newest reads, writes and denied calls.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::sql::{Work, prepare};
use crate::model::{AccessKind, Denial};
use crate::store::{ACCESSES_LOOKED_AT, AccessSum, ResourceAccess};

/// What one attempt did, before the attempt itself is read.
#[derive(Debug, Default)]
struct Done {
    read: AccessSum,
    wrote: AccessSum,
    denied: Vec<Denial>,
}

/// Lists the attempts that used a resource, newest first.
pub(super) fn of_resource(db: &Connection, resource: &str, limit: u32) -> Work<Vec<ResourceAccess>> {
    // By the attempt's number, which grows in the order of their starts.
    let mut done: BTreeMap<u64, Done> = BTreeMap::new();
    add_uses(db, resource, &mut done)?;
    add_denials(db, resource, &mut done)?;
    let sql = "SELECT r.number, t.id, t.action, t.number, t.ended_at
        FROM attempts t CROSS JOIN runs r ON r.number = t.run WHERE t.seq = ?1";
    let mut statement = prepare(db, sql)?;
    let newest = done.into_iter().rev().take(limit as usize);
    newest
        .map(|(attempt, Done { read, wrote, denied })| {
            let access = statement.query_row([attempt], |row| {
                Ok(ResourceAccess {
                    run_number: row.get(0)?,
                    attempt_id: row.get(1)?,
                    action: row.get(2)?,
                    attempt: row.get(3)?,
                    ended_at: row.get(4)?,
                    read,
                    wrote,
                    denied,
                })
            })?;
            Ok(access)
        })
        .collect()
}

fn add_uses(db: &Connection, resource: &str, done: &mut BTreeMap<u64, Done>) -> Work<()> {
    let sql = "SELECT x.attempt, x.kind, count(*), sum(x.bytes)
        FROM accesses x CROSS JOIN artifacts a ON a.seq = x.artifact
        WHERE x.seq > (SELECT max(seq) FROM accesses) - ?2 AND a.resource = ?1 GROUP BY x.attempt, x.kind";
    let mut statement = prepare(db, sql)?;
    let mut rows = statement.query(params![resource, ACCESSES_LOOKED_AT])?;
    while let Some(row) = rows.next()? {
        let sum = AccessSum { artifacts: row.get(2)?, bytes: row.get(3)? };
        let done = done.entry(row.get(0)?).or_default();
        match row.get(1)? {
            AccessKind::Read => done.read = sum,
            AccessKind::Wrote => done.wrote = sum,
        }
    }
    Ok(())
}

fn add_denials(db: &Connection, resource: &str, done: &mut BTreeMap<u64, Done>) -> Work<()> {
    let sql = "SELECT attempt, call, target, message FROM denials
        WHERE seq > (SELECT max(seq) FROM denials) - ?2 AND target = ?1 ORDER BY seq";
    let mut statement = prepare(db, sql)?;
    let mut rows = statement.query(params![resource, ACCESSES_LOOKED_AT])?;
    while let Some(row) = rows.next()? {
        let denial = Denial { call: row.get(1)?, target: row.get(2)?, message: row.get(3)? };
        done.entry(row.get(0)?).or_default().denied.push(denial);
    }
    Ok(())
}
